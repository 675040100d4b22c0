//! Real servers for tests: each is found or installed, started on a free loopback port, and stopped when dropped.
//!
//! One file a back end. A new one describes its command and what an answer from a ready server looks like; finding,
//! installing, starting, waiting, stopping and restarting are shared ([`process`], [`install`]).

mod error;
mod install;
mod port;
mod process;
mod redis;

pub use error::{BackendError, Result};
pub use port::free_port;
pub use redis::{REDIS_VARIABLE, Redis};
