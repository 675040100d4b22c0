//! The HTTP edge: a request is limited, authorised, traced, routed, answered and measured, in this order.

mod handler;
pub(crate) mod json;
pub(crate) mod request;
pub(crate) mod response;
mod router;

pub(crate) use handler::Edge;
