//! SRAT.
#![no_main]

use bedframe_firmware::Source;
use bedframe_firmware::tables::acpi::Srat;
use bedframe_firmware::tables::{Assembly, Region, RegionKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for data in bedframe_firmware_fuzz::tables(b"SRAT", data) {
        let srat = match Srat::new(&data) {
            Ok(srat) => srat,
            Err(error) => {
                assert!(error.to_string().starts_with("SRAT"));
                continue;
            }
        };
        assert!(srat.entries().count() <= data.len() / 2);
        for processor in srat.processors() {
            assert!(srat.node_of_processor(processor.id).is_some());
        }
        let all = Region::new(0, 1 << 52, RegionKind::Usable);
        let mut end = 0;
        for piece in all.pieces(Some(&srat)) {
            assert!(piece.start == end && piece.end > end);
            assert_eq!(piece.node, srat.node_of(piece.start));
            end = piece.end;
        }
        assert_eq!(end, 1 << 52);
        if let Ok(machine) = Assembly::new("input", Source::E820).region(all).srat(&srat).machine()
        {
            assert_eq!(machine.ram_frames(), 1 << 40);
        }
    }
});
