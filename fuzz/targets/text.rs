//! Boot logs, and which boot of them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bedframe_fuzz::text(data));
