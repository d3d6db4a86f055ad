//! Limine's memory map, its entries one behind the other.
#![no_main]

use bedframe_firmware::Source;
use bedframe_firmware::tables::Assembly;
use bedframe_firmware::tables::limine::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let entries = data.chunks(24).filter_map(|bytes| Entry::new(bytes).ok());
    let assembly = Assembly::new("input", Source::E820).regions(entries.map(|e| e.region()));
    if let Ok(machine) = assembly.machine() {
        assert!(machine.ram_frames() >= machine.reserved_frames());
    }
});
