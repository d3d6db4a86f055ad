//! HMAT.
#![no_main]

use bedframe_firmware::NodeId;
use bedframe_firmware::tables::acpi::{Hmat, HmatEntry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for data in bedframe_firmware_fuzz::tables(b"HMAT", data) {
        let hmat = match Hmat::new(&data) {
            Ok(hmat) => hmat,
            Err(error) => {
                assert!(error.to_string().starts_with("HMAT"));
                continue;
            }
        };
        assert!(hmat.entries().count() <= data.len() / 8);
        for entry in hmat.entries() {
            match entry {
                HmatEntry::Memory(memory) => {
                    let _ = hmat.initiator_of(memory.memory);
                }
                HmatEntry::LatencyBandwidth(table) => {
                    for (from, to) in table.initiators().zip(table.targets()) {
                        let _ = (table.get(from, to), hmat.compare(from, to, NodeId(0)));
                    }
                }
                _ => {}
            }
        }
    }
});
