//! Dapr's own SDKs, unmodified, against the built `mecha` binary.
//!
//! The programs lie beside this crate, one folder a language, written as users write them. A test installs the SDK, lays a
//! [`Stage`] out with one runtime or two, and lets the programs play on it: each checks what it gets, and ends with an error
//! that names the step which went wrong.

mod child;
mod components;
mod stage;

pub use child::Program;
pub use components::{Aws, BackEnds, Servers};
pub use stage::{AppProtocol, Seat, Stage};
