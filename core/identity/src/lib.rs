//! Who this runtime is and who its peers are: certificates, SPIFFE ids, and connections that both sides have proved themselves on.
//!
//! [`Mtls`] holds the certificates of one runtime and renews them in place; `credentials.rs` checks them, `verify.rs` looks at those
//! of peers, `spiffe.rs` reads whom they name. [`Authority`] makes certificates to try it with. What is done with a connection,
//! and when files are read again, is the business of others.

mod authority;
mod credentials;
mod error;
mod mtls;
mod source;
mod spiffe;
mod verify;

pub use authority::{Authority, IssueError, Issued};
pub use error::{Error, HandshakeError};
pub use mtls::{Expected, Mtls};
pub use source::{Field, Source, Sources};
pub use spiffe::{Identity, NoIdentity};
pub use tokio_rustls::{client, server};
pub use verify::Peer;

#[cfg(test)]
mod tests;
