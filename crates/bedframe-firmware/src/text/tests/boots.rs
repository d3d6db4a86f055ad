//! Which list counts, of several boots and of several sources.

use super::*;

#[test]
fn sources_have_their_precedence() {
    let all = [
        "user: [mem 0x1000000-0x100ffff] usable\n",
        "BIOS-e820: [mem 0x1000000-0x101ffff] usable\n",
        "BIOS-e801: 0000000001000000 - 0000000001030000 (usable)\n",
        "BIOS-88: 0000000001000000 - 0000000001040000 (usable)\n",
        "(XEN) RAM: 0000000001000000 - 000000000104ffff\n",
        "Xen: [mem 0x1000000-0x105ffff] usable\n",
        "efi: mem00: type=7, attr=0xf, range=[0x1000000-0x1070000) (0MB)\n",
        "01000000-0107ffff : System RAM\n",
        "node   0: [mem 0x1000000-0x108ffff]\n",
    ];
    let expected = [
        Source::User,
        Source::E820,
        Source::E801,
        Source::Bios88,
        Source::Xen,
        Source::XenGuest,
        Source::Efi,
        Source::Iomem,
        Source::NodeRanges,
    ];
    for (first, source) in expected.into_iter().enumerate() {
        // The order in the file does not matter.
        let text: String = all.iter().skip(first).rev().copied().collect();
        let machine = read(&text).unwrap();
        assert_eq!(machine.source, source);
        assert_eq!(machine.ram_frames(), 16 * (first as u64 + 1));
        // Every lower list disagrees.
        assert_eq!(machine.warnings.len(), all.len() - first - 1, "{:?}", machine.warnings);
    }
}

#[test]
fn the_kernels_own_changes_are_ignored() {
    let text = format!(
        "{LOW}e820: update [mem 0x00100000-0x0017ffff] usable ==> reserved\n\
             e820: remove [mem 0x00180000-0x0018ffff] usable\n\
             extended physical RAM map:\n\
             reserve setup_data: [mem 0x0000000000100000-0x0000000000100fff] reserved\n\
             modified physical RAM map:\n\
             modified: [mem 0x0000000000100000-0x0000000000100fff] reserved\n"
    );
    let machine = read(&text).unwrap();
    assert_eq!((machine.ram_frames(), machine.listed.len()), (0x100, 1));
    assert_eq!(machine.warnings, []);
}

#[test]
fn the_last_boot_counts_and_a_warning_says_so() {
    let headed = |list: &str| format!("BIOS-provided physical RAM map:\n{list}");
    let machine = read(&(headed(HIGH) + LOW + &headed(LOW))).unwrap();
    assert_eq!(machine.ram_frames(), 0x100);
    assert_eq!(machine.warnings.len(), 1);
    let shown = machine.warnings[0].to_string();
    assert_eq!(shown, "line 4: there are 2 boots in the file; this is number 2, the last");

    let versioned = |list: &str| format!("Linux version 6.1\n{}", headed(list));
    let twice = versioned(HIGH) + &versioned(LOW);
    assert_eq!(read(&twice).unwrap().warnings[0].line, Some(4));
    assert_eq!(read(&versioned(LOW)).unwrap().warnings, []);
    // A boot that breaks off before its list is not taken.
    let cut = versioned(LOW) + "Linux version 6.1\nCommand line: quiet\n";
    assert_eq!(read(&cut).unwrap().ram_frames(), 0x100);
    // Logs without a firmware's list begin anew with the kernel's ranges.
    let ranges = "Early memory node ranges\n node 0: [mem 0x0-0xfff]\n";
    let twice = format!("{ranges}{ranges}");
    assert_eq!(read(&twice).unwrap().warnings[0].line, Some(3));
}

#[test]
fn a_user_map_belongs_to_the_boot_it_follows() {
    let text = format!(
        "BIOS-provided physical RAM map:\n{LOW}user-defined physical RAM map:\n\
             user: [mem 0x0000000000100000-0x000000000010ffff] usable\n"
    );
    let machine = read(&text).unwrap();
    assert_eq!((machine.source, machine.ram_frames()), (Source::User, 16));
}

#[test]
fn any_boot_can_be_chosen() {
    let text = format!("Linux version 1\n{LOW}Linux version 2\nLinux version 3\n{HIGH}{LOW}");
    let boot = |number| parse_text_boot("t.log", &text, number);
    assert_eq!(boot(Some(1)).unwrap().ram_frames(), 0x100);
    assert_eq!(boot(Some(1)).unwrap().warnings, []);
    // The second one has no list and does not count.
    assert_eq!(boot(Some(2)).unwrap().ram_frames(), 0x200);
    assert_eq!(boot(Some(2)).unwrap().warnings, []);
    assert_eq!(boot(None).unwrap().warnings.len(), 1);
    for wrong in [0, 3, usize::MAX] {
        let error = boot(Some(wrong)).unwrap_err();
        assert_eq!(error, MapError::NoSuchBoot { file: "t.log".into(), boot: wrong, boots: 2 });
        assert!(error.to_string().contains("only 2, counted from 1"), "{error}");
    }
    assert!(matches!(parse_text_boot("t.log", "x", Some(1)), Err(MapError::NoMap { .. })));
}

#[test]
fn nothing_to_read() {
    assert_eq!(read(""), Err(MapError::Empty { file: "t.log".into() }));
    assert_eq!(read(" \r\n\n"), Err(MapError::Empty { file: "t.log".into() }));
    assert_eq!(read("# only a remark: BIOS-e820: [mem"), read("hello\n"));
    assert_eq!(read("hello\n"), Err(MapError::NoMap { file: "t.log".into() }));
    assert_eq!(read("a\0b"), Err(MapError::Binary { file: "t.log".into(), offset: 1 }));
}

#[test]
fn srat_alone_is_no_list() {
    let shown = error("x\nSRAT: Node 1 PXM 1 [mem 0x0-0xfff]\n");
    assert!(shown.starts_with("t.log:2: \"SRAT: Node 1"), "{shown}");
    assert!(shown.contains("not which memory there is"), "{shown}");
}

#[test]
fn a_list_without_ram_is_an_error() {
    let shown = error("BIOS-e820: [mem 0x2000-0x3fff] reserved\n");
    assert_eq!(
        shown,
        "t.log: the BIOS-e820 list has no RAM; expected at least one usable frame of 4 KiB"
    );
    assert!(error("BIOS-e820: [mem 0x2001-0x3ffe] usable\n").contains("has no RAM"));
}

#[test]
fn a_device_tree_source_names_the_command_to_run() {
    let shown = parse_text("a.dts", "// board\n/dts-v1/;\n/ { };\n").unwrap_err().to_string();
    assert!(shown.contains("`dtc -I dts -O dtb -o a.dts.dtb a.dts`"), "{shown}");
}
