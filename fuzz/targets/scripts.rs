//! Concurrent scripts under shuttle.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[cfg(shuttle)]
fuzz_target!(|data: &[u8]| bedframe::SCRIPTS(data));

#[cfg(not(shuttle))]
fuzz_target!(|_data: &[u8]| panic!("this target is built with RUSTFLAGS='--cfg shuttle'"));
