//! The boot information of multiboot2.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bedframe_fuzz::multiboot2(data));
