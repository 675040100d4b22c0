//! Subscriptions: members of a consumer group that the host pulls from.
//!
//! A message goes from librdkafka's queue of its partition straight into the host's pull (`source.rs`); `ledger.rs` keeps
//! who has which message and what may be committed. A thread a subscription (`member.rs`) does everything that waits: it
//! joins, commits, and takes part in rebalances (`rebalance.rs`), which is why neither a slow application nor a retry can
//! stop them. `watchdog.rs` replaces a member that hangs, `lag.rs` counts what waits.

mod feed;
mod lag;
mod ledger;
mod member;
mod partition;
mod rebalance;
mod source;
mod watchdog;

pub(crate) use self::feed::Feed;
pub(crate) use self::lag::Lookout;
pub(crate) use self::source::GroupSource;
