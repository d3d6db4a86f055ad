//! MADT.
#![no_main]

use bedframe_firmware::tables::acpi::Madt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for data in bedframe_firmware_fuzz::tables(b"APIC", data) {
        match Madt::new(&data) {
            Ok(madt) => {
                assert!(madt.entries().count() <= data.len() / 2);
                assert!(madt.processors().count() <= madt.entries().count());
                let _ = madt.local_apic_address();
            }
            Err(error) => assert!(error.to_string().starts_with("MADT")),
        }
    }
});
