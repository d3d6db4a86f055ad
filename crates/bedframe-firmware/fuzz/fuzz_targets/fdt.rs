//! Flattened device trees.
#![no_main]

use bedframe_firmware::parse_fdt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The magic number and the size, put right, so that more than these is looked at.
    let mut fixed = data.to_vec();
    if let (Ok(len), Some(field)) = (u32::try_from(data.len()), fixed.get_mut(..8)) {
        field[..4].copy_from_slice(&0xd00d_feed_u32.to_be_bytes());
        field[4..].copy_from_slice(&len.to_be_bytes());
    }
    for data in [data, &fixed] {
        match parse_fdt("input", data) {
            Ok(machine) => {
                assert!(machine.ram_frames() > 0);
                assert!(machine.ram.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
                let reserved = &machine.reserved;
                assert!(reserved.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            }
            Err(error) => assert!(error.to_string().starts_with("input")),
        }
    }
});
