//! Any calls, and every few of them another instance takes over.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bedframe_fuzz::live(data));
