//! The building blocks: `service` holds the semantics, `http` and `grpc` only translate.

pub(crate) mod bindings;
pub(crate) mod configuration;
pub(crate) mod conversation;
pub(crate) mod crypto;
pub(crate) mod health;
pub(crate) mod invoke;
pub(crate) mod lock;
pub(crate) mod metadata;
pub(crate) mod objects;
pub(crate) mod publish;
pub(crate) mod secrets;
pub(crate) mod shutdown;
pub(crate) mod state;
pub(crate) mod subscribe;
