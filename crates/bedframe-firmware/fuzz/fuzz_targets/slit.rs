//! SLIT.
#![no_main]

use bedframe_firmware::tables::acpi::Slit;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for data in bedframe_firmware_fuzz::tables(b"SLIT", data) {
        let slit = match Slit::new(&data) {
            Ok(slit) => slit,
            Err(error) => {
                assert!(error.to_string().starts_with("SLIT"));
                continue;
            }
        };
        let _ = slit.is_plausible();
        assert_eq!(slit.rows().len(), slit.localities());
        for (from, row) in (0..).zip(slit.rows()) {
            for (to, &distance) in (0..).zip(row) {
                assert_eq!(slit.get(from, to), Some(distance));
            }
        }
    }
});
