//! Binary tables: what is read from tables that are whole.
#![cfg(all(feature = "std", feature = "tables"))]

mod bytes;

use std::cmp::Ordering;

use bedframe_firmware::tables::acpi::{
    Header, Hmat, HmatEntry, LocalApic, Madt, MadtEntry, ProcessorId, RootTable, Rsdp, Slit, Srat,
    SratEntry,
};
use bedframe_firmware::tables::multiboot2::{BootInformation, Tag};
use bedframe_firmware::tables::uefi::MemoryMap;
use bedframe_firmware::tables::{
    Assembly, Availability, Region, RegionKind, TableError, limine, pvh,
};
use bedframe_firmware::{FrameRange, Kind, MapError, NodeId, ReservationKind, Source};
use bytes::{Bytes, acpi, memory};

#[test]
fn srat_gives_memory_and_cpus() {
    let data = bytes::srat();
    let srat = Srat::new(&data).unwrap();
    assert_eq!(srat.header().signature, *b"SRAT");
    assert_eq!(srat.header(), Header::new(&data).unwrap());
    let found: Vec<_> =
        srat.memory().map(|m| (m.node.0, m.start, m.end(), m.hot_pluggable)).collect();
    let expected = [
        (0, 0, 0xa_0000, false),
        (0, 0x10_0000, 0xc000_0000, false),
        (0, 0x1_0000_0000, 0x1_4000_0000, false),
        (1, 0x1_4000_0000, 0x2_4000_0000, false),
        (1, 0x2_4000_0000, 0x6_4000_0000, true),
        (2, 0xa_0000_0000, 0xb_0000_0000, false),
    ];
    assert_eq!(found, expected);
    assert!(srat.memory().last().unwrap().non_volatile);
    let processors: Vec<_> = srat.processors().map(|p| (p.id, p.node.0, p.clock_domain)).collect();
    let expected = [
        (ProcessorId::Apic(4), 0x0102_0300, 7),
        (ProcessorId::Apic(0x100), 1, 8),
        (ProcessorId::Gicc(5), 1, 9),
        (ProcessorId::Rintc(6), 2, 10),
    ];
    assert_eq!(processors, expected);
    assert_eq!(srat.node_of_processor(ProcessorId::Gicc(5)), Some(NodeId(1)));
    assert_eq!(srat.node_of_processor(ProcessorId::Apic(0x101)), None);
    assert_eq!(srat.entries().count(), 13);
    assert!(matches!(srat.entries().last(), Some(SratEntry::Other(4, other)) if other.len() == 12));
    assert_eq!(srat.node_of(0x1_3fff_ffff), Some(NodeId(0)));
    assert_eq!(srat.node_of(0x1_4000_0000), Some(NodeId(1)));
    assert_eq!(srat.node_of(0x9_0000_0000), None);
}

#[test]
fn domains_have_eight_bits_before_revision_2() {
    let body = Bytes::new().u32(1).u64(0);
    let body = memory(body, 0xffff_ff01, 0, 0x1000, 1);
    let body = body.u8(0).u8(16).u8(2).u8(4).u32(1).u8(0).raw(&[3, 2, 1]).u32(0);
    let nodes = |revision| {
        let data = acpi(b"SRAT", revision, body.clone());
        let srat = Srat::new(&data).unwrap();
        (srat.memory().next().unwrap().node.0, srat.processors().next().unwrap().node.0)
    };
    assert_eq!(nodes(1), (1, 2));
    assert_eq!(nodes(2), (0xffff_ff01, 0x0102_0302));
}

#[test]
fn a_region_is_cut_by_node() {
    let data = bytes::srat();
    let srat = Srat::new(&data).unwrap();
    let pieces = |region: Region, srat: Option<&Srat<'_>>| -> Vec<_> {
        let pieces = region.pieces(srat);
        pieces.map(|piece| (piece.start, piece.end, piece.node.map(|node| node.0))).collect()
    };
    let region = Region::new(0x1_0000_0000, 0x8_0000_0000, RegionKind::Usable);
    let expected = [
        (0x1_0000_0000, 0x1_4000_0000, Some(0)),
        (0x1_4000_0000, 0x2_4000_0000, Some(1)),
        (0x2_4000_0000, 0x6_4000_0000, Some(1)),
        (0x6_4000_0000, 0x9_0000_0000, None),
    ];
    assert_eq!(pieces(region, Some(&srat)), expected);
    assert_eq!(pieces(region, None), [(0x1_0000_0000, 0x9_0000_0000, None)]);
    let placed = Region { node: Some(NodeId(7)), ..region };
    assert_eq!(pieces(placed, Some(&srat))[3].2, Some(7));
    assert_eq!(pieces(Region::new(5, 0, RegionKind::Usable), Some(&srat)), []);
}

#[test]
fn hot_pluggable_ranges_come_after_the_others() {
    let body = memory(Bytes::new().u32(1).u64(0), 4, 0, 0x9000, 3);
    let body = memory(body, 5, 0, 0x8000, 3);
    let body = memory(body, 6, 0x1000, 0x1000, 1);
    let data = acpi(b"SRAT", 3, body);
    let srat = Srat::new(&data).unwrap();
    assert_eq!(srat.node_of(0), Some(NodeId(4)));
    assert_eq!(srat.node_of(0x1fff), Some(NodeId(6)));
    assert_eq!(srat.node_of(0x2000), Some(NodeId(4)));
    assert_eq!(srat.node_of(u64::MAX), None);
}

#[test]
fn a_range_over_64_bits_is_an_error_if_it_counts() {
    let table = |flags| {
        let body = memory(Bytes::new().u32(1).u64(0), 0, u64::MAX - 0xfff, 0x1000, flags);
        acpi(b"SRAT", 3, body)
    };
    let error = Srat::new(&table(1)).unwrap_err();
    assert_eq!((error.offset(), error.value()), (48 + 16, Some(0x1000)));
    assert_eq!(Srat::new(&table(0)).unwrap().memory().count(), 0);
}

#[test]
fn slit_is_a_matrix() {
    let data = bytes::slit();
    let slit = Slit::new(&data).unwrap();
    assert_eq!(slit.localities(), 3);
    assert_eq!((slit.get(0, 1), slit.get(1, 0), slit.get(2, 1)), (Some(21), Some(22), Some(41)));
    assert_eq!((slit.get(0, 3), slit.get(3, 0)), (None, None));
    assert_eq!(slit.rows().map(<[u8]>::to_vec).collect::<Vec<_>>()[1], [22, 10, 31]);
    assert!(slit.is_plausible());
    let odd = acpi(b"SLIT", 1, Bytes::new().u64(2).raw(&[10, 10, 20, 10]));
    assert!(!Slit::new(&odd).unwrap().is_plausible());
    let odd = acpi(b"SLIT", 1, Bytes::new().u64(1).raw(&[20]));
    assert!(!Slit::new(&odd).unwrap().is_plausible());
    let none = acpi(b"SLIT", 1, Bytes::new().u64(0));
    assert_eq!(Slit::new(&none).unwrap().rows().len(), 0);
    for count in [4, 1 << 32, 1 << 33, u64::MAX] {
        let data = acpi(b"SLIT", 1, Bytes::new().u64(count).zeros(15));
        let error = Slit::new(&data).unwrap_err();
        assert_eq!((error.offset(), error.value()), (36, Some(count)), "{error}");
    }
}

#[test]
fn madt_lists_cpus() {
    let data = bytes::madt();
    let madt = Madt::new(&data).unwrap();
    assert_eq!(madt.local_apic_address(), 0x1_fee0_0000);
    let usable: Vec<_> = madt.processors().collect();
    let expected = [
        ProcessorId::Apic(4),
        ProcessorId::Apic(0x100),
        ProcessorId::Gicc(5),
        ProcessorId::Gicc(9),
        ProcessorId::Rintc(6),
    ];
    assert_eq!(usable, expected);
    let entries: Vec<_> = madt.entries().collect();
    let apic = LocalApic { id: 6, uid: 2, enabled: false, online_capable: true, x2apic: false };
    assert_eq!(entries[1], MadtEntry::LocalApic(apic));
    assert!(matches!(entries[2], MadtEntry::Other(1, _)));
    assert!(matches!(entries[3], MadtEntry::LocalApic(cpu) if cpu.x2apic && cpu.uid == 3));
    let MadtEntry::Gicc(gicc) = entries[4] else { panic!("{:?}", entries[4]) };
    assert_eq!((gicc.interface, gicc.mpidr, gicc.online_capable), (7, Some(0x8000_0001), true));
    assert!(matches!(entries[5], MadtEntry::Gicc(cpu) if cpu.mpidr.is_none()));
    assert!(matches!(entries[6], MadtEntry::Rintc(cpu) if cpu.hart == 0x1_0000_0002));
}

#[test]
fn hmat_orders_nodes() {
    let data = bytes::hmat(2);
    let hmat = Hmat::new(&data).unwrap();
    let [zero, one, two] = [0, 1, 2].map(NodeId);
    assert_eq!((hmat.initiator_of(two), hmat.initiator_of(one)), (Some(one), None));
    assert_eq!((hmat.latency(zero, one), hmat.bandwidth(zero, one)), (Some(900), Some(51200)));
    assert_eq!((hmat.latency(one, two), hmat.bandwidth(one, two)), (None, None));
    assert_eq!(hmat.latency(two, zero), None);
    assert_eq!(hmat.compare(zero, zero, one), Ordering::Less);
    // The same latency; node 2 has more bandwidth.
    assert_eq!(hmat.compare(zero, one, two), Ordering::Greater);
    assert_eq!(hmat.compare(one, two, zero), Ordering::Greater);
    let mut order = [one, two, zero];
    order.sort_by(|&a, &b| hmat.compare(zero, a, b));
    assert_eq!(order, [zero, two, one]);
    assert_eq!(hmat.entries().count(), 6);
    assert!(matches!(hmat.entries().last(), Some(HmatEntry::Other(2, other)) if other.len() == 32));
    // Revision 1 counts in nanoseconds.
    let data = bytes::hmat(1);
    assert_eq!(Hmat::new(&data).unwrap().latency(zero, one), Some(900_000));
}

#[test]
fn the_way_to_the_tables() {
    let old = Rsdp::new(&bytes::rsdp(0)).unwrap();
    assert_eq!(old, Rsdp { revision: 0, rsdt: 0x7000, xsdt: None });
    assert_eq!(Rsdp::new(&bytes::rsdp(2)).unwrap().xsdt, Some(0x1_0000_8000));
    let addresses = |data: &[u8]| RootTable::new(data).map(|t| t.addresses().collect::<Vec<_>>());
    let xsdt = acpi(b"XSDT", 1, Bytes::new().u64(1 << 40).u64(7));
    assert_eq!(addresses(&xsdt), Ok(vec![1 << 40, 7]));
    let rsdt = acpi(b"RSDT", 1, Bytes::new().u32(1 << 30).u32(7).u32(8));
    assert_eq!(addresses(&rsdt), Ok(vec![1 << 30, 7, 8]));
    let odd = acpi(b"XSDT", 1, Bytes::new().u32(7));
    assert_eq!(addresses(&odd).unwrap_err().offset(), 4);
}

#[test]
fn bytes_behind_a_table_are_ignored_and_errors_name_what_they_found() {
    let mut data = bytes::srat();
    data.extend([0xff; 100]);
    assert_eq!(Srat::new(&data).unwrap().entries().count(), 13);
    data[20] ^= 1;
    let error = Srat::new(&data).unwrap_err();
    assert!(matches!(error, TableError::Checksum { offset: 9, .. }));
    let shown = error.to_string();
    assert!(shown.starts_with("SRAT: checksum at byte 9: found 0x"), "{shown}");
    let error = Srat::new(&bytes::slit()).unwrap_err().to_string();
    assert_eq!(error, "SRAT: at byte 0: found 0x54494c53, expected the table's signature");
    let error = Madt::new(b"APIC").unwrap_err().to_string();
    assert_eq!(error, "MADT: ends at byte 4: expected a header of 36 bytes");
}

#[test]
fn entries_of_no_length_do_not_loop() {
    let head = || Bytes::new().u32(1).u64(0);
    for len in [0, 1, 39, 41, 255] {
        let data = acpi(b"SRAT", 3, head().u8(1).u8(len).zeros(38));
        let error = Srat::new(&data).unwrap_err();
        assert_eq!((error.offset(), error.value()), (49, Some(len.into())));
        assert_eq!(error.table(), "SRAT");
    }
    for len in [0, 1, 7] {
        let data = acpi(b"APIC", 3, Bytes::new().u64(0).u8(0).u8(len).zeros(6));
        assert_eq!(Madt::new(&data).unwrap_err().offset(), 45);
    }
    // Half an entry at the end.
    assert_eq!(Srat::new(&acpi(b"SRAT", 3, head().u8(1))).unwrap_err().offset(), 49);
    for len in [0, 7, 39, 41, u32::MAX] {
        let data = acpi(b"HMAT", 2, Bytes::new().u32(0).u16(0).u16(0).u32(len).zeros(32));
        let error = Hmat::new(&data).unwrap_err();
        assert_eq!((error.offset(), error.value()), (44, Some(len.into())), "{len}");
    }
    for len in [0, 7, 9, u32::MAX] {
        let data = Bytes::new().u32(16).u32(0).u32(1).u32(len).0;
        let error = BootInformation::new(&data).unwrap_err();
        assert_eq!((error.offset(), error.value()), (12, Some(len.into())), "{len}");
    }
}

#[test]
fn lists_that_are_longer_than_their_entry_are_refused() {
    for (initiators, targets) in [(3, 3), (u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
        let body = Bytes::new().u32(0).u16(1).u16(0).u32(32 + 12 + 8 + 10).u32(0);
        let body = body.u32(initiators).u32(targets).u32(0).u64(1).zeros(30);
        assert!(Hmat::new(&acpi(b"HMAT", 2, body)).is_err());
    }
}

#[test]
fn uefi_descriptors_by_kind_and_attribute() {
    use RegionKind::*;
    let data = bytes::uefi();
    let map = MemoryMap::new(&data, 48, 1).unwrap();
    let kinds: Vec<_> = map.regions().map(|region| region.kind).collect();
    let expected = [
        Usable,
        Usable,
        Usable,
        SpecialPurpose,
        Reserved,
        AcpiReclaimable,
        AcpiNvs,
        Reserved,
        Unusable,
        Persistent,
        Unaccepted,
        Reserved,
        Other(0x8000_0001),
    ];
    assert_eq!(kinds, expected);
    let mirrored: Vec<_> = map.regions().map(|region| region.mirrored).collect();
    assert!(mirrored[1] && mirrored.iter().filter(|&&mirrored| mirrored).count() == 1);
    assert_eq!(map.regions().next().unwrap(), Region::new(0, 0xa_0000, Usable));
    assert_eq!(map.regions().last().unwrap().end, u64::MAX);
    assert!(MemoryMap::new(&data, 39, 1).is_err());
    assert!(MemoryMap::new(&data, 0, 1).is_err());
    assert!(MemoryMap::new(&data, 48, 2).is_err());
    assert!(MemoryMap::new(&data[1..], 48, 1).is_err());
    assert_eq!(MemoryMap::new(&[], 48, 1).unwrap().descriptors().len(), 0);
}

#[test]
fn multiboot2_tags() {
    let data = bytes::multiboot2();
    let info = BootInformation::new(&data).unwrap();
    let modules: Vec<_> = info.modules().collect();
    assert_eq!(modules.len(), 1);
    assert_eq!((modules[0].start, modules[0].command_line), (0x20_0000, &b"initrd a"[..]));
    assert_eq!(modules[0].region(), Region::new(0x20_0000, 0x10_0001, RegionKind::Loaded));
    let map = info.memory_map().unwrap();
    let kinds: Vec<_> = map.regions().map(|region| region.kind.availability()).collect();
    let (now, later, never) = (Availability::Now, Availability::Later, Availability::Never);
    assert_eq!(kinds, [now, never, now, later]);
    assert_eq!(info.efi_memory_map().unwrap().descriptors().len(), 13);
    let rsdp =
        info.tags().find_map(|tag| if let Tag::Rsdp(bytes) = tag { Some(bytes) } else { None });
    assert_eq!(Rsdp::new(rsdp.unwrap()).unwrap().revision, 2);
    assert_eq!(info.tags().count(), 5);
    assert!(matches!(info.tags().next(), Some(Tag::Other(1, b"console=ttyS0\0"))));

    // Without the tag at the end the list is cut.
    let mut cut = data[..data.len() - 8].to_vec();
    let len = (cut.len() as u32).to_le_bytes();
    cut[..4].copy_from_slice(&len);
    let error = BootInformation::new(&cut).unwrap_err();
    assert_eq!((error.offset(), error.expected()), (cut.len(), "the tag that ends the list"));
}

#[test]
fn multiboot2_maps_that_cannot_be() {
    let with = |kind, body: Bytes| {
        let mut info = bytes::tag(Bytes::new().u32(0).u32(0), kind, &body.0);
        info = bytes::tag(info, 0, &[]);
        let len = (info.0.len() as u32).to_le_bytes();
        info.0[..4].copy_from_slice(&len);
        BootInformation::new(&info.0).map(|_| ()).unwrap_err()
    };
    for stride in [0, 16, 23, 25, u32::MAX] {
        let error = with(6, Bytes::new().u32(stride).u32(0).zeros(48));
        assert_eq!((error.offset(), error.value()), (16, Some(stride.into())));
    }
    assert_eq!(with(6, Bytes::new().u32(24).u32(0).zeros(25)).offset(), 12);
    assert_eq!(with(6, Bytes::new().u32(24)).offset(), 12);
    assert_eq!(with(17, Bytes::new().u32(0).u32(1).zeros(48)).offset(), 16);
    assert_eq!(with(17, Bytes::new().u32(48).u32(3).zeros(48)).offset(), 20);
    assert_eq!(with(17, Bytes::new().u32(48).u32(1).zeros(47)).offset(), 12);
    assert_eq!(with(3, Bytes::new().u32(2).u32(1)).offset(), 20);
}

#[test]
fn pvh_start_information() {
    let info = pvh::StartInfo::new(&bytes::pvh()).unwrap();
    assert_eq!((info.version, info.rsdp_address, info.memory_map_address), (1, 0xf_0000, 0x6200));
    let map = bytes::pvh_map();
    let regions: Vec<_> = info.memory_map(&map).unwrap().map(|entry| entry.region()).collect();
    assert_eq!(regions[1], Region::new(0x10_0000, 0x3ff0_0000, RegionKind::Usable));
    assert_eq!((regions.len(), regions[2].kind), (3, RegionKind::Reserved));
    assert!(info.memory_map(&map[1..]).is_err());
    let modules = bytes::pvh_modules();
    let module = info.module_list(&modules).unwrap().next().unwrap();
    assert_eq!(module.region(), Region::new(0x100_0000, 0x1234, RegionKind::Loaded));
    assert_eq!(module.region().frames().frames(), 2);
    assert_eq!(module.command_line_address, 0x6300);
    // Version 0 ends behind the address of the RSDP.
    let mut old = bytes::pvh();
    old[4] = 0;
    let info = pvh::StartInfo::new(&old[..40]).unwrap();
    assert_eq!((info.memory_map_address, info.memory_map_entries), (0, 0));
    old[0] = 0;
    assert_eq!(pvh::StartInfo::new(&old).unwrap_err().value(), Some(0x336e_c500));
}

#[test]
fn kinds_by_the_numbers_of_e820() {
    use RegionKind::*;
    let kind = |kind| pvh::Entry { start: 0x1000, len: 0x1000, kind }.region().kind;
    let expected = [
        Other(0),
        Usable,
        Reserved,
        AcpiReclaimable,
        AcpiNvs,
        Unusable,
        Unusable,
        Persistent,
        Other(8),
    ];
    assert_eq!((0..9).map(kind).collect::<Vec<_>>(), expected);
}

#[test]
fn limine_kinds() {
    use RegionKind::*;
    let kind = |kind| limine::Entry { base: 0x1800, length: 0x1000, kind }.region().kind;
    let expected = [
        Usable,
        Reserved,
        AcpiReclaimable,
        AcpiNvs,
        Unusable,
        LoaderReclaimable,
        Loaded,
        Reserved,
        Reserved,
        Other(9),
    ];
    assert_eq!((0..10).map(kind).collect::<Vec<_>>(), expected);
    assert_eq!(kind(u64::MAX), Other(u32::MAX));
    let data = Bytes::new().u64(0x1800).u64(0x2000).u64(0).0;
    let region = limine::Entry::new(&data).unwrap().region();
    assert_eq!(region.frames().frames(), 1);
    assert_eq!(Region { kind: Reserved, ..region }.frames().frames(), 3);
    assert!(limine::Entry::new(&data[1..]).is_err());
}

#[test]
fn tables_become_a_machine() {
    let (map, srat, slit) = (bytes::multiboot2(), bytes::srat(), bytes::slit());
    let info = BootInformation::new(&map).unwrap();
    let machine = Assembly::new("guest", Source::E820)
        .regions(info.memory_map().unwrap().regions())
        .region(Region::new(0x1_0000_0000, 0x8000_0000, RegionKind::Usable))
        .regions(info.modules().map(|module| module.region()))
        .srat(&Srat::new(&srat).unwrap())
        .slit(&Slit::new(&slit).unwrap())
        .machine()
        .unwrap();
    assert_eq!(machine.nodes(), [NodeId(0), NodeId(1)]);
    assert_eq!(machine.ram_frames_on(NodeId(1)), 0x4_0000);
    assert_eq!(machine.ram_frames(), 0x9f + 0x7fe0 + 0x8_0000);
    assert_eq!((machine.reserved_frames(), machine.late_frames()), (0x101, 0x20));
    assert_eq!(machine.reserved[0].name, "kernel and modules");
    assert_eq!(machine.reserved[0].kind, ReservationKind::Module);
    assert_eq!(machine.distances.unwrap().get(NodeId(1), NodeId(0)), Some(22));
    assert_eq!(machine.warnings, []);
    assert_eq!(machine.listed[1].kind, Kind::Reserved);
}

#[test]
fn a_uefi_map_becomes_a_machine() {
    let data = bytes::uefi();
    let map = MemoryMap::new(&data, 48, 1).unwrap();
    let machine = Assembly::new("uefi", Source::Efi).regions(map.regions()).machine().unwrap();
    assert_eq!(machine.ram_frames(), 0xa0 + 0x100 + 0x10);
    assert_eq!(machine.mirrored, [FrameRange::inside_bytes(0x10_0000, 0x20_0000)]);
    assert_eq!(machine.late_frames(), 0x10);
    assert_eq!(machine.listed[3].kind, Kind::SoftReserved);
}

#[test]
fn machines_that_cannot_be() {
    let usable = |start, len| Region::new(start, len, RegionKind::Usable);
    let error = Assembly::new("map", Source::E820).region(usable(1 << 52, 1)).machine();
    let shown = error.unwrap_err().to_string();
    assert!(
        shown.starts_with("map: \"entry 0: 0x10000000000000-0x10000000000001 usable\""),
        "{shown}"
    );
    let high = Region::new(1 << 52, u64::MAX, RegionKind::Reserved);
    let machine =
        Assembly::new("map", Source::E820).region(usable(0, 0x1000)).region(high).machine();
    assert_eq!(machine.unwrap().ram_frames(), 1);
    let error = Assembly::new("map", Source::E820).machine().unwrap_err();
    assert!(matches!(error, MapError::NoRam { .. }));
    let body = memory(Bytes::new().u32(1).u64(0), 0, 0, 0x9000, 1);
    let data = acpi(b"SRAT", 3, memory(body, 1, 0x8000, 0x9000, 1));
    let srat = Srat::new(&data).unwrap();
    let error = Assembly::new("map", Source::E820).region(usable(0, 0x1000)).srat(&srat).machine();
    let shown = error.unwrap_err().to_string();
    assert!(shown.contains("SRAT: node 1 0x8000-0x11000"), "{shown}");
    let odd = acpi(b"SLIT", 1, Bytes::new().u64(1).raw(&[20]));
    let slit = Slit::new(&odd).unwrap();
    let assembly = Assembly::new("map", Source::E820).region(usable(0, 0x1000)).slit(&slit);
    let machine = assembly.machine().unwrap();
    assert_eq!((machine.distances, machine.warnings.len()), (None, 1));
}
