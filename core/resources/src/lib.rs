//! Dapr resource files (YAML or JSON) as typed values: read as `daprd` reads them, without acting on them.
//!
//! A file goes through four steps, one module each: [`yaml`] splits it into documents and resolves scalars,
//! [`load`] picks the documents of a known kind, [`component`], [`configuration`] and the other kinds' modules type them, and
//! [`selection`] keeps what concerns one application. Nothing here reads the environment or a clock; what a value may refer to
//! is passed in.
//!
//! # Adding a kind
//! 1. One file with the type, its `Deserialize` (or a `parse`), and [`selection::Selectable`] if it has a name.
//! 2. One variant in [`Resource`] and one line in the table of `resource.rs`.

pub mod component;
pub mod configuration;
pub mod duration;
mod error;
pub mod http_endpoint;
mod lenient;
pub mod load;
pub mod resiliency;
mod resource;
pub mod selection;
pub mod subscription;
pub mod yaml;

pub use component::{Component, MetadataItem, SecretKeyRef};
pub use configuration::Configuration;
pub use error::{FileError, FileErrorKind};
pub use http_endpoint::HttpEndpoint;
pub use load::{ByKind, Loaded, is_resource_file, load_dir, load_file};
pub use resiliency::Resiliency;
pub use resource::Resource;
pub use selection::{Changes, Duplicates, Selectable, select_for};
pub use subscription::{BulkSubscribe, Subscription, SubscriptionRule};
