//! RSDP, RSDT and XSDT.
#![no_main]

use bedframe_firmware::tables::acpi::{Header, RootTable, Rsdp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (Header::new(data), Rsdp::new(data));
    for signature in [b"RSDT", b"XSDT"] {
        for data in bedframe_firmware_fuzz::tables(signature, data) {
            if let Ok(table) = RootTable::new(&data) {
                assert!(table.addresses().count() <= data.len() / 4);
            }
        }
    }
});
