//! Reads all that a table gives, and checks what it promises. Fuzzing reads tables so as well
//! (`bedframe-fuzz`).

use bedframe_firmware::tables::acpi::{Hmat, HmatEntry, Madt, Slit, Srat};
use bedframe_firmware::tables::{Assembly, Region, RegionKind};
use bedframe_firmware::{Machine, MapError, NodeId, Source};

/// What holds of every machine and every error.
pub fn check(result: &Result<Machine, MapError>) {
    match result {
        Ok(machine) => {
            assert!(machine.ram_frames() > 0);
            assert!(machine.ram_frames() >= machine.reserved_frames());
            assert!(machine.ram.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            assert!(machine.reserved.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            assert!(machine.late.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            assert!(machine.mirrored.windows(2).all(|p| p[0].end() < p[1].start()));
            machine.warnings.iter().for_each(|warning| assert!(!warning.to_string().is_empty()));
        }
        Err(error) => assert!(error.to_string().starts_with("input")),
    }
}

/// SRAT, of so many bytes.
pub fn srat(srat: &Srat<'_>, len: usize) {
    assert!(srat.entries().count() <= len / 2);
    for memory in srat.memory() {
        assert!(memory.start < memory.end());
        assert!(srat.node_of(memory.start).is_some());
    }
    for processor in srat.processors() {
        assert!(srat.node_of_processor(processor.id).is_some());
    }
    let all = Region { start: 0, end: u64::MAX, ..Region::new(0, 0, RegionKind::Usable) };
    let mut end = 0;
    for piece in all.pieces(Some(srat)) {
        assert!(piece.start == end && piece.end > piece.start);
        assert_eq!(piece.node, srat.node_of(piece.start));
        end = piece.end;
    }
    assert_eq!(end, u64::MAX);
    machine(&[Region::new(0, 1 << 40, RegionKind::Usable)], Some(srat), None);
}

/// SLIT.
pub fn slit(slit: &Slit<'_>) {
    assert_eq!(slit.rows().len(), slit.localities());
    for (from, row) in (0..).zip(slit.rows()) {
        for (to, &distance) in (0..).zip(row) {
            assert_eq!(slit.get(from, to), Some(distance));
        }
    }
    machine(&[Region::new(0, 1 << 20, RegionKind::Usable)], None, Some(slit));
}

/// MADT, of so many bytes.
pub fn madt(madt: &Madt<'_>, len: usize) {
    assert!(madt.entries().count() <= len / 2);
    assert!(madt.processors().count() <= madt.entries().count());
    let _ = madt.local_apic_address();
}

/// HMAT, of so many bytes.
pub fn hmat(hmat: &Hmat<'_>, len: usize) {
    assert!(hmat.entries().count() <= len / 8);
    for entry in hmat.entries() {
        match entry {
            HmatEntry::Memory(memory) => {
                let _ = hmat.initiator_of(memory.memory);
            }
            HmatEntry::LatencyBandwidth(table) => {
                for (from, to) in table.initiators().zip(table.targets()) {
                    let _ = table.get(from, to);
                    let _ = hmat.compare(from, to, NodeId(0));
                }
            }
            _ => {}
        }
    }
}

/// A machine of these regions, or an error.
pub fn machine(regions: &[Region], srat: Option<&Srat<'_>>, slit: Option<&Slit<'_>>) {
    let mut assembly = Assembly::new("input", Source::E820).regions(regions.iter().copied());
    if let Some(srat) = srat {
        assembly = assembly.srat(srat);
    }
    if let Some(slit) = slit {
        assembly = assembly.slit(slit);
    }
    check(&assembly.machine());
    for region in regions {
        assert!(region.whole_frames().frames() <= region.frames().frames());
    }
}
