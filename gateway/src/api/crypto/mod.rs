//! Cryptography: documents in Dapr's scheme, encrypted and decrypted while they pass through.
//!
//! Of a document never more than a few segments are here at a time. Over gRPC each segment goes out as it is made; over HTTP the
//! answer waits for the first ones, so that most failures still have a status ([`http`]).

pub(crate) mod grpc;
pub(crate) mod http;
mod service;
