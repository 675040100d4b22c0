//! Looks for inputs that break the target of this name.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| (mecha_fuzz::target("settings").run)(data));
