//! Cryptography over gRPC: pieces come up and go down on one stream, at the pace of the slower side.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use mecha_proto::common::v1::StreamPayload;
use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, Runtime};
use tonic::{Status, Streaming};

use super::service::{self, Encryption, Source, Work, failed, invalid};
use crate::error::ApiError;

/// What goes down to the caller.
pub(crate) type Down<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// How long the first message may take.
const FIRST: Duration = Duration::from_secs(5);

pub(crate) async fn encrypt(
    runtime: &Arc<Runtime>,
    call: &Call,
    mut stream: Streaming<pb::EncryptRequest>,
) -> Result<Down<pb::EncryptResponse>, ApiError> {
    let first = first(&mut stream).await?;
    let options = first.options.ok_or_else(no_options)?;
    for (name, value) in [("keyName", &options.key_name), ("keyWrapAlgorithm", &options.key_wrap_algorithm)] {
        if value.is_empty() {
            return Err(invalid(format_args!("missing property '{name}' in the options message")));
        }
    }
    let component = service::component(runtime, &options.component_name)?;
    let asked = Encryption {
        key_name: &options.key_name,
        algorithm: &options.key_wrap_algorithm,
        cipher: &options.data_encryption_cipher,
        omits_key_name: options.omit_decryption_key_name,
        decryption_key_name: &options.decryption_key_name,
    };
    let work = service::encrypt(call, &component, asked, Arriving::new(stream, first.payload)).await?;
    Ok(down(runtime.clone(), work, |payload| pb::EncryptResponse { payload: Some(payload) }))
}

pub(crate) async fn decrypt(
    runtime: &Arc<Runtime>,
    call: &Call,
    mut stream: Streaming<pb::DecryptRequest>,
) -> Result<Down<pb::DecryptResponse>, ApiError> {
    let first = first(&mut stream).await?;
    let options = first.options.ok_or_else(no_options)?;
    let component = service::component(runtime, &options.component_name)?;
    let source = Arriving::new(stream, first.payload);
    let work = service::decrypt(call, &component, &options.key_name, source).await?;
    Ok(down(runtime.clone(), work, |payload| pb::DecryptResponse { payload: Some(payload) }))
}

fn no_options() -> ApiError {
    invalid("first message does not contain the required options")
}

async fn first<M>(stream: &mut Streaming<M>) -> Result<M, ApiError> {
    let received = tokio::time::timeout(FIRST, stream.message()).await;
    let late = |_| invalid("error waiting for first message: context deadline exceeded");
    let broken = |reason: &str| failed(format_args!("error receiving the first message: {reason}"));
    match received.map_err(late)? {
        Ok(Some(first)) => Ok(first),
        Ok(None) => Err(broken("EOF")),
        Err(status) => Err(broken(status.message())),
    }
}

/// The parts of what is being made, counted, each in a message of its own.
fn down<S: Source + 'static, A: 'static>(
    runtime: Arc<Runtime>,
    work: Work<S>,
    message: fn(StreamPayload) -> A,
) -> Down<A> {
    let going = (runtime, work, 0);
    Box::pin(try_unfold(going, move |(runtime, mut work, seq)| async move {
        match work.next().await {
            Ok(part) => {
                let part = part.map(|data| message(StreamPayload { data, seq }));
                Ok(part.map(|part| (part, (runtime, work, seq + 1))))
            }
            Err(reason) => {
                let error = failed(reason);
                runtime.metrics().errors.record(error.code, error.category);
                tracing::debug!("{}", error.message);
                Err(error.status())
            }
        }
    }))
}

/// A message after the first.
trait Piece {
    /// Whether it has options, which only the first may have; and its payload.
    fn split(self) -> (bool, Option<StreamPayload>);
}

impl Piece for pb::EncryptRequest {
    fn split(self) -> (bool, Option<StreamPayload>) {
        (self.options.is_some(), self.payload)
    }
}

impl Piece for pb::DecryptRequest {
    fn split(self) -> (bool, Option<StreamPayload>) {
        (self.options.is_some(), self.payload)
    }
}

/// What the caller sends.
struct Arriving<M> {
    stream: Streaming<M>,
    /// The first message's payload.
    first: Option<StreamPayload>,
    /// The number that the next payload must have.
    expected: u64,
}

impl<M: Piece + Send> Arriving<M> {
    fn new(stream: Streaming<M>, first: Option<StreamPayload>) -> Self {
        Self { stream, first, expected: 0 }
    }

    async fn payload(&mut self) -> Result<Option<StreamPayload>, String> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            let message = self.stream.message().await;
            let message =
                message.map_err(|status| format!("error receiving message: {}", status.message()))?;
            let Some((has_options, payload)) = message.map(Piece::split) else { return Ok(None) };
            if has_options {
                return Err("options found in non-leading message".to_owned());
            }
            // A message without a payload says nothing, and is not counted.
            if payload.is_some() {
                return Ok(payload);
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        let Some(StreamPayload { data, seq }) = self.payload().await? else { return Ok(None) };
        if seq != self.expected {
            return Err(format!("invalid sequence number received: {seq} (expected: {})", self.expected));
        }
        self.expected += 1;
        Ok(Some(data))
    }
}

impl<M: Piece + Send> Source for Arriving<M> {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        self.piece().await.transpose()
    }
}
