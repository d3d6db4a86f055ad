//! Another CPU at work in the middle of hand-over, and of every other call.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bedframe_fuzz::handover(data));
