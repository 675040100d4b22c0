//! The HTTP edge: a request is traced, measured, authorised, limited, routed and answered, in `handler.rs`.

mod handler;
pub(crate) mod json;
pub(crate) mod path;
pub(crate) mod request;
pub(crate) mod response;
mod router;

pub(crate) use handler::Edge;
