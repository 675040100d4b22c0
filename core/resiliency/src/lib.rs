//! Timeouts, retries and circuit breakers, as values and one way to run under them.
//!
//! A [`Registry`] is made once a runtime. [`Registry::apply`] gives it the Resiliency resources that hold, at the start and
//! whenever they change; it answers with the [`Policy`] of a target, and [`run`] runs an operation under it. What happens on the
//! way goes to the registry's [`Observer`], which counts and logs.
//!
//! All of it behaves as Dapr does, oddities included, for resources are written against what Dapr does: the default pause of five
//! seconds, growing pauses that end after fifteen minutes even "without end", names that apply where a target is not named. Where
//! Dapr leaves the outcome to chance (a resource with a mistake in it, a breaker shared by two policies), there is one outcome here.
//!
//! The crate is pure: it knows no file, no protocol and no metric, and of the outside only tokio's clock.

pub mod breaker;
mod codes;
mod duration;
mod error;
mod event;
mod policy;
pub mod registry;
mod retry;
mod run;
pub mod spec;

pub use breaker::{Breaker, BreakerSettings, Change, Rejection, State};
pub use codes::{Code, Codes};
pub use error::{CodesError, FieldError, PolicyError, TripError, Warning};
pub use event::{Direction, Event, Kind, Labels, Observer, Site, Unobserved};
pub use policy::Policy;
pub use registry::{BuiltIn, ComponentType, Refused, Registry, Report, ResourceName, Snapshot};
pub use retry::{Backoff, Retry};
pub use run::{Error, Failure, run, run_once};
