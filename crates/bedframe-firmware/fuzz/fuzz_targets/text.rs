//! Boot logs.
#![no_main]

use bedframe_firmware::parse_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match parse_text("input", &String::from_utf8_lossy(data)) {
        Ok(machine) => {
            assert!(machine.ram_frames() > 0);
            assert!(machine.ram.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            assert!(machine.reserved.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            assert!(machine.late.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            machine.warnings.iter().for_each(|warning| assert!(!warning.to_string().is_empty()));
        }
        Err(error) => assert!(error.to_string().starts_with("input")),
    }
});
