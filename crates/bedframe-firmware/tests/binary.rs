//! Binary tables as files: which of them are maps, and what is said of the others.
#![cfg(all(feature = "std", feature = "tables"))]

use bedframe_firmware::{MapError, ReservationKind, Source, parse_bytes};

mod bytes;

#[test]
fn acpi_tables_are_refused_by_name() {
    let of = |data: &[u8]| parse_bytes("t.dat", data, None).unwrap_err();
    let said = of(&bytes::srat());
    assert!(matches!(said, MapError::SratOnly { .. }), "{said}");
    assert!(said.to_string().starts_with("t.dat: \"SRAT: Node 0 [mem 0x0-0x9ffff]\": "), "{said}");
    for (data, table) in [
        (
            bytes::acpi(b"SRAT", 3, bytes::Bytes::new().u32(1).u64(0)),
            "ACPI table SRAT, which names",
        ),
        (bytes::slit(), "ACPI table SLIT, which says how far nodes are apart"),
        (bytes::hmat(2), "ACPI table HMAT, which says how fast memory is"),
        (bytes::madt(), "ACPI table MADT, which says which CPUs there are"),
        (bytes::acpi(b"FACP", 6, bytes::Bytes::new()), "ACPI table FACP, which does not say"),
        (bytes::acpi(b"XSDT", 1, bytes::Bytes::new()), "ACPI's root table, which says where"),
        (bytes::rsdp(2), "ACPI's root pointer, which says where"),
        (bytes::pvh(), "PVH start information, which names the address of a memory map"),
        (vec![0x78, 0xc5, 0x6e, 0x33], "PVH start information: ends at byte 4: expected 40 bytes"),
    ] {
        let said = of(&data).to_string();
        assert!(said.starts_with("t.dat: ") && said.contains(table), "{said}");
        assert!(said.contains("expected "), "{said}");
    }
    // A log that begins like a table is a log.
    let log = b"SRAT: Node 0 PXM 0 [mem 0x0-0xfff]\nBIOS-e820: [mem 0x0-0xfff] usable\n";
    assert_eq!(parse_bytes("t.log", log, None).unwrap().ram_frames(), 1);
}

#[test]
fn a_table_that_is_cut_or_corrupt_is_named_with_its_place() {
    for (data, table) in [
        (bytes::srat(), "SRAT"),
        (bytes::slit(), "SLIT"),
        (bytes::hmat(2), "HMAT"),
        (bytes::madt(), "MADT"),
        (bytes::multiboot2(), "multiboot2 boot information"),
    ] {
        let error = parse_bytes("t.dat", &data[..data.len() - 1], None).unwrap_err();
        let expected = format!("t.dat: {table}: ends at byte {}: expected", data.len() - 1);
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(matches!(error, MapError::Table { .. }), "{error}");
    }
    let mut srat = bytes::srat();
    srat[60] ^= 1;
    let shown = parse_bytes("t.dat", &srat, None).unwrap_err().to_string();
    assert!(shown.starts_with("t.dat: SRAT: checksum at byte 9: found 0x"), "{shown}");
    let mut information = bytes::multiboot2();
    information[37] = 9;
    let shown = parse_bytes("t.dat", &information, None).unwrap_err().to_string();
    assert!(shown.contains("at byte 36: found 0x919, expected a tag's size"), "{shown}");
}

#[test]
fn the_boot_information_of_multiboot2_is_a_map() {
    let machine = parse_bytes("t.mb2", &bytes::multiboot2(), None).unwrap();
    assert_eq!(machine.source, Source::Multiboot2);
    assert_eq!(machine.ram_frames(), 0x9f + 0x7fe0);
    assert_eq!(machine.late_frames(), 0x20);
    let [module] = &machine.reserved[..] else { panic!("{:?}", machine.reserved) };
    assert_eq!((module.name.as_str(), module.kind), ("initrd a", ReservationKind::Module));
    assert_eq!((module.range.start().get(), module.range.frames()), (0x200, 0x101));

    let only = |tags: &[(u32, Vec<u8>)]| {
        let info = bytes::Bytes::new().u32(0).u32(0);
        let info = tags.iter().fold(info, |info, (kind, body)| bytes::tag(info, *kind, body));
        let mut info = bytes::tag(info, 0, &[]).0;
        let len = u32::try_from(info.len()).unwrap();
        info[..4].copy_from_slice(&len.to_le_bytes());
        parse_bytes("t.mb2", &info, None)
    };
    let none = only(&[(1, b"quiet\0".to_vec())]).unwrap_err();
    assert!(matches!(none, MapError::NoMapInTable { .. }), "{none}");
    let efi = bytes::Bytes::new().u32(48).u32(1).raw(&bytes::uefi()).0;
    let machine = only(&[(17, efi)]).unwrap();
    assert!(!machine.mirrored.is_empty());
    // What is loaded where there is no RAM makes none.
    let map = bytes::Bytes::new().u32(24).u32(0).u64(0x1000).u64(0x1000).u32(1).u32(0).0;
    let module = bytes::Bytes::new().u32(0x1800).u32(0x5000).0;
    let machine = only(&[(3, module), (6, map)]).unwrap();
    assert_eq!((machine.ram_frames(), machine.reserved_frames()), (1, 1));
    assert_eq!(machine.reserved[0].name, "module");
}
