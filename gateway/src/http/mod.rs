//! The HTTP edge: a request is traced, measured, authorised, limited, routed and answered, in `handler.rs`.

pub(crate) mod body;
mod cors;
mod handler;
pub(crate) mod json;
pub(crate) mod path;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod router;

pub(crate) use cors::Cors;
pub(crate) use handler::Edge;
