//! The protocol's messages and services, generated from `proto/`.
//!
//! Names and numbers in the `.proto` files are the protocol's and never change; payload fields are [`bytes::Bytes`], so
//! that a value travels from the socket to a plugin without a copy. The richer error model of gRPC (`ErrorInfo`,
//! `ResourceInfo`, `BadRequest`, `Help` inside a `google.rpc.Status`) is [`error_model`].

/// Types shared by several services: state items and options, invocation, configuration items.
pub mod common {
    /// Package `dapr.proto.common.v1`.
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("dapr.proto.common.v1");
    }
}

/// The API that applications call.
pub mod runtime {
    /// Package `dapr.proto.runtime.v1`: the service `Dapr` with its messages.
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("dapr.proto.runtime.v1");
    }
}

/// Object stores, which are Mecha's own.
pub mod objects {
    /// Package `mecha.objects.v1`: the service `Objects` with its messages.
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("mecha.objects.v1");
    }
}

/// What pluggable components answer.
pub mod components {
    /// Package `dapr.proto.components.v1`: a service for each building block.
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("dapr.proto.components.v1");
    }
}

/// What runtimes say to each other.
pub mod internals {
    /// Package `dapr.proto.internals.v1`: the service `ServiceInvocation` with its messages.
    #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("dapr.proto.internals.v1");
    }
}

/// What every message can do; its length is measured per call.
pub use prost::Message;
/// A message of any type, with the type's name.
pub use prost_types::Any;
/// A JSON object as a message.
pub use prost_types::Struct;
/// A JSON value as a message.
pub use prost_types::Value;
/// What a JSON value within a message is.
pub use prost_types::value::Kind;
/// Error details as gRPC's richer error model carries them; `StatusExt` puts them into a `tonic::Status`.
pub use tonic_types as error_model;

/// The encoded `FileDescriptorSet` of the pluggable components' files, for the reflection service of such a component.
pub const COMPONENTS_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/components.bin"));

/// The encoded `FileDescriptorSet` of every file that this runtime serves, with its imports, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn descriptors() -> FileDescriptorSet {
        FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the build wrote it")
    }

    #[test]
    fn the_descriptor_set_holds_each_file_under_its_public_path_with_its_imports() {
        let set = descriptors();
        let names: Vec<_> = set.file.iter().map(|file| file.name()).collect();
        for expected in [
            "google/protobuf/any.proto",
            "google/protobuf/empty.proto",
            "dapr/proto/common/v1/common.proto",
            "dapr/proto/runtime/v1/state.proto",
            "dapr/proto/runtime/v1/dapr.proto",
        ] {
            assert!(names.contains(&expected), "{expected} is not in {names:?}");
        }
        assert!(set.file.iter().all(|file| file.source_code_info.is_none()));
    }

    #[test]
    fn the_service_lists_the_methods_that_are_served() {
        let set = descriptors();
        let file =
            set.file.iter().find(|file| file.name().ends_with("/dapr.proto")).expect("the service's file");
        assert_eq!(file.package(), "dapr.proto.runtime.v1");
        let methods: Vec<_> = file.service[0].method.iter().map(|method| method.name()).collect();
        assert_eq!(
            methods,
            [
                "InvokeService",
                "GetState",
                "GetBulkState",
                "SaveState",
                "QueryStateAlpha1",
                "DeleteState",
                "DeleteBulkState",
                "ExecuteStateTransaction",
                "PublishEvent",
                "BulkPublishEventAlpha1",
                "BulkPublishEvent",
                "SubscribeTopicEventsAlpha1",
                "InvokeBinding",
                "GetSecret",
                "GetBulkSecret",
                "GetConfigurationAlpha1",
                "GetConfiguration",
                "SubscribeConfigurationAlpha1",
                "SubscribeConfiguration",
                "UnsubscribeConfigurationAlpha1",
                "UnsubscribeConfiguration",
                "TryLockAlpha1",
                "UnlockAlpha1",
                "EncryptAlpha1",
                "DecryptAlpha1",
                "GetMetadata",
                "SetMetadata",
                "Shutdown",
                "ConverseAlpha1",
                "ConverseAlpha2"
            ]
        );
    }

    #[test]
    fn a_save_request_has_the_protocol_s_bytes() {
        let options = common::v1::StateOptions { concurrency: 1, consistency: 2 };
        let item = common::v1::StateItem {
            key: "k".into(),
            value: bytes::Bytes::from_static(b"v"),
            etag: Some(common::v1::Etag { value: "7".into() }),
            metadata: [("t".to_owned(), "1".to_owned())].into(),
            options: Some(options),
        };
        let request = runtime::v1::SaveStateRequest { store_name: "s".into(), states: vec![item] };
        let expected = [
            &b"\x0a\x01s\x12\x19"[..],
            b"\x0a\x01k\x12\x01v\x1a\x03\x0a\x017",
            b"\x22\x06\x0a\x01t\x12\x011",
            b"\x2a\x04\x08\x01\x10\x02",
        ]
        .concat();
        assert_eq!(request.encode_to_vec(), expected);
    }

    #[test]
    fn decoding_shares_the_payload_with_the_received_buffer() {
        let sent = runtime::v1::GetStateResponse { data: vec![7u8; 64].into(), ..Default::default() };
        let received = bytes::Bytes::from(sent.encode_to_vec());
        let decoded = runtime::v1::GetStateResponse::decode(received.clone()).expect("it was just encoded");
        assert!(received.as_ptr_range().contains(&decoded.data.as_ptr()));
    }
}
