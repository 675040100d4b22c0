//! Schedules as a Mecha plugin: the input binding `bindings.cron`, as Dapr defines it.
//!
//! `schedule.rs` reads a schedule and says when it fires next, `binding.rs` waits for that time.

mod binding;
mod schedule;

use mecha_plugin_api::Plugin;

use crate::binding::CronBinding;

mecha_plugin_api::export!(plugin);

fn plugin() -> Plugin {
    Plugin::new("cron", env!("CARGO_PKG_VERSION")).input_binding("bindings.cron", CronBinding::open)
}
