//! The lists of `/proc/iomem`, of EFI and of Xen.

use super::*;

#[test]
fn iomem_is_a_tree_of_which_the_top_counts() {
    let text = "00000000-00000fff : Reserved\n\
                    00001000-0009ffff : System RAM\n\
                    00100000-01ffffff : System RAM\n  01000000-010fffff : Kernel code\n\
                    \x20\x2001100000-011fffff : reserved\n\
                    02000000-020fffff : ACPI Tables\n\
                    10000000-1fffffff : Persistent Memory\n  10000000-1fffffff : dax0.0\n\
                    \x20\x20\x20\x2010000000-1fffffff : System RAM\n";
    let expected = read(text).unwrap();
    assert_eq!(expected.source, Source::Iomem);
    assert_eq!((expected.ram_frames(), expected.late_frames()), (0x9f + 0x1f00, 0x100));
    assert_eq!(expected.listed.len(), 5);
    assert_eq!(expected.warnings, []);
    // Whether the blanks in front survive does not matter, nor what is pasted in front.
    let flat = text.lines().map(|line| format!("> {}\r\n", line.trim())).collect::<String>();
    assert_eq!(read(&flat).unwrap(), expected);
    let mut indented = String::new();
    for line in text.lines() {
        indented += &format!("    {line}\n");
    }
    assert_eq!(read(&indented).unwrap(), expected);
    // It may stand behind a boot log, which counts then.
    let machine = read(&format!("{LOW}00100000-001fffff : System RAM\n")).unwrap();
    assert_eq!((machine.source, machine.warnings), (Source::E820, Vec::new()));
}

#[test]
fn iomem_that_shows_no_addresses_needs_root() {
    let zeros = "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n\
                     \x20\x2000000000-00000000 : Kernel code\n";
    let shown = error(zeros);
    assert!(shown.starts_with("t.log:1: \"00000000-00000000 : Reserved"), "{shown}");
    assert!(shown.contains("root"), "{shown}");
    assert!(matches!(read(zeros), Err(MapError::NeedsRoot { .. })));
    let machine = read(&format!("{LOW}{zeros}")).unwrap();
    assert_eq!(machine.ram_frames(), 0x100);
    assert!(machine.warnings[0].text.contains("zeros to all but root"));
}

#[test]
fn two_copies_of_iomem_are_two_boots() {
    let one = "00001000-0009ffff : System RAM\n00100000-01ffffff : System RAM\n";
    let two = "00001000-0009ffff : System RAM\n00100000-01efffff : System RAM\n";
    let machine = read(&format!("{one}{two}")).unwrap();
    assert_eq!(machine.ram_frames(), 0x9f + 0x1e00);
    assert_eq!(machine.warnings[0].line, Some(3));
}

fn frames(start: u64, end: u64) -> bedframe::FrameRange {
    bedframe::FrameRange::new(bedframe::Mfn::new(start), bedframe::Mfn::new(end)).unwrap()
}

#[test]
fn efi_lists_are_read_in_every_format() {
    let numbers = "efi: mem00: type=7, attr=0xf, range=[0x100000-0x200000) (1MB)\n\
                       efi: mem01: type=4, attr=0x1000f, range=[0x200000-0x300000) (1MB)\n\
                       efi: mem02: type=5, attr=0xf, range=[0x300000-0x400000) (1MB)\n\
                       efi: mem03: type=9, attr=0xf, range=[0x400000-0x500000) (1MB)\n\
                       efi: mem04: type=7, attr=0x4000f, range=[0x500000-0x600000) (1MB)\n";
    let names = "efi: mem00: [Conventional Memory|   |  |WB|UC] range=[0x100000-0x1fffff] (1MB)\n\
                     efi: mem01: [Boot Data          |   |MR|WB|UC] range=[0x200000-0x2fffff] (1MB)\n\
                     efi: mem02: [Runtime Code       |RUN|  |WB|UC] range=[0x300000-0x3fffff] (1MB)\n\
                     efi: mem03: [ACPI Reclaim Memory|   |  |WB|UC] range=[0x400000-0x4fffff] (1MB)\n\
                     efi: mem04: [Conventional Memory|   |SP|WB|UC] range=[0x500000-0x5fffff] (1MB)\n\
                     efi: Remove mem04: MMIO range=[0x100000-0x1fffff] (1MB) from e820 map\n";
    let pairs = "efi: Processing EFI memory map:\n\
                     efi:   0x000000100000-0x0000001fffff [Conventional Memory|   |  |WB|UC]\n\
                     efi:   0x000000200000-0x0000002fffff [Boot Data          |   |MR|WB|UC]*\n\
                     efi:   0x000000300000-0x0000003fffff [Runtime Code       |RUN|  |WB|UC]*\n\
                     efi:   0x000000400000-0x0000004fffff [ACPI Reclaim Memory|   |  |WB|UC]*\n\
                     efi:   0x000000500000-0x0000005fffff [Conventional Memory|   |SP|WB|UC]\n";
    for text in [numbers, names, pairs] {
        let machine = read(text).unwrap();
        assert_eq!(machine.source, Source::Efi);
        assert_eq!((machine.ram_frames(), machine.late_frames()), (0x200, 0x100));
        let mirrored = frames(0x200, 0x300);
        assert_eq!(machine.mirrored, [mirrored]);
        assert_eq!(machine.warnings, []);
        // Where another list decides, this one still says what is mirrored there.
        let list = "BIOS-e820: [mem 0x280000-0x2fffff] usable\n";
        let machine = read(&format!("{list}{text}")).unwrap();
        assert_eq!((machine.source, machine.ram_frames()), (Source::E820, 0x80));
        assert_eq!(machine.mirrored, [frames(0x280, 0x300)]);
        assert!(machine.warnings[0].text.starts_with("BIOS-e820 and EFI disagree"));
    }
}

#[test]
fn xen_logs_are_read_old_and_new() {
    let old = "(XEN) Xen version 4.4.1 (root@host)\n(XEN) Xen-e820 RAM map:\n\
                   (XEN)  0000000000100000 - 0000000000200000 (usable)\n\
                   (XEN)  0000000000200000 - 0000000000300000 (ACPI data)\n\
                   (XEN)  0000000100000000 - 0000000100100000 (usable)\n\
                   (XEN) System RAM: 2MB (2048kB)\n\
                   (XEN) SRAT: Node 2 PXM 2 0-80000000\n\
                   (XEN) SRAT: Node 3 PXM 3 100000000-180000000\n";
    let new = "(XEN) [00000027fb4d3d1d] EFI RAM map:\n\
                   (XEN) [00000027fb4d3d1e]  [0000000000100000, 00000000001fffff] (usable)\n\
                   (XEN) [00000027fb4d3d1f]  [0000000000200000, 00000000002fffff] (ACPI data)\n\
                   (XEN) [00000027fb4d3d1f]  [0000000100000000, 00000001000fffff] (usable)\n\
                   (XEN) [00000027fb4d3d20] SRAT: Node 2 PXM 2 [0000000000000000, 000000007fffffff]\n\
                   (XEN) SRAT: Node 3 PXM 3 [0000000100000000, 00000001ffffffff] (hotplug)\n";
    let bare = new.replace("(XEN) ", "");
    for text in [old, new, &bare] {
        let machine = read(text).unwrap();
        assert_eq!(machine.source, Source::Xen);
        assert_eq!(nodes(&machine), [(2, 0x100), (3, 0x100)]);
        assert_eq!((machine.late_frames(), machine.warnings), (0x100, Vec::new()));
    }
    // A kernel above Xen belongs to the same boot, and its own view is a lower list.
    let kernel = "Linux version 6.1\nBIOS-provided physical RAM map:\n\
                      Xen: [mem 0x0000000000100000-0x00000000001fffff] usable\n";
    let machine = read(&format!("{old}{kernel}")).unwrap();
    assert_eq!((machine.source, machine.ram_frames()), (Source::Xen, 0x200));
    assert_eq!(machine.warnings.len(), 1);
    assert!(machine.warnings[0].text.starts_with("Xen and Xen guest disagree, and Xen counts"));
    assert_eq!(read(kernel).unwrap().source, Source::XenGuest);
    // Two boots of both.
    let twice = format!("{old}{kernel}{old}{kernel}");
    assert_eq!(read(&twice).unwrap().warnings[0].line, Some(12));
    let twice = format!("{new}{new}");
    assert_eq!(read(&twice).unwrap().warnings[0].line, Some(7));
}

#[test]
fn of_the_list_that_xen_prints_twice_the_second_counts() {
    let text = "(XEN) Initial Xen-e820 RAM map:\n\
                    (XEN)  [0000000000100000, 00000000002fffff] (usable)\n\
                    (XEN) Xen-e820 RAM map:\n\
                    (XEN)  [0000000000100000, 00000000001fffff] (usable)\n";
    let machine = read(text).unwrap();
    assert_eq!((machine.ram_frames(), machine.warnings), (0x100, Vec::new()));
}

#[test]
fn xen_on_arm_lists_banks_and_reservations() {
    let text = "(XEN) Checking for initrd in /chosen\n\
                    (XEN) node memory@100000: insert bank 0: 0x100000->0x900000 type: normal\n\
                    (XEN) RAM: 0000000000100000 - 00000000001fffff\n\
                    (XEN)\n\
                    (XEN) MODULE[0]: 0000000000110000 - 0000000000114080 Device Tree\n\
                    (XEN)  RESVD[0]: 0000000000110000 - 0000000000114000\n\
                    (XEN)  RESVD[1]: 0000000000120040 - 0000000000122fff\n\
                    (XEN)  RESVD[2]: 0000000000000000 - 00000000000001ff\n\
                    (XEN) Xen version 4.18.0 (root@host)\n\
                    Linux version 6.1\n";
    let machine = read(text).unwrap();
    assert_eq!((machine.source, machine.ram_frames()), (Source::Xen, 0x100));
    let reserved: Vec<_> =
        machine.reserved.iter().map(|r| (r.range.start().get(), r.range.end().get())).collect();
    assert_eq!(reserved, [(0x110, 0x115), (0x120, 0x123)]);
    assert_eq!(machine.reserved[0].name, "Device Tree");
    // The one outside RAM withholds nothing, but is drawn.
    assert_eq!((machine.listed.len(), machine.listed[4].line), (5, Some(8)));
    assert_eq!(machine.warnings, []);
    let twice = format!("{text}{text}");
    assert_eq!(read(&twice).unwrap().warnings[0].line, Some(11));
    // A reservation that is cut could be of any size.
    let cut = "(XEN) RAM: 0000000000100000 - 00000000001fffff\n\
                   (XEN)  RESVD[0]: 0000000000110000 - 00000000001140";
    assert!(error(cut).starts_with("t.log:2: \"(XEN)  RESVD[0]"));
}
