//! What each rule for logs does, line by line.

use super::*;
use crate::machine::Source;
use alloc::string::String;
use bedframe::NodeId;

const LOW: &str = "BIOS-e820: [mem 0x0000000000100000-0x00000000001fffff] usable\n";
const HIGH: &str = "BIOS-e820: [mem 0x0000000100000000-0x00000001000fffff] usable\n";

fn read(text: &str) -> Result<Machine, MapError> {
    parse_text("t.log", text)
}

fn error(text: &str) -> String {
    read(text).expect_err("an error").to_string()
}

fn nodes(machine: &Machine) -> Vec<(u32, u64)> {
    machine.nodes().into_iter().map(|n| (n.0, machine.ram_frames_on(n))).collect()
}

#[test]
fn pasted_logs_are_read() {
    let text = format!(
        "On Monday somebody wrote:\r\n> [    0.000000] {}\r\n> something else\r\n>> <6>[    0.1] {}",
        LOW.trim(),
        HIGH.trim()
    );
    let machine = read(&text).unwrap();
    assert_eq!(machine.ram_frames(), 0x200);
    let lines: Vec<_> = machine.listed.iter().map(|listed| listed.line).collect();
    assert_eq!(lines, [Some(2), Some(4)]);
}

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
fn srat_gives_nodes_and_no_ram() {
    let text = format!(
        "{LOW}{HIGH}ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]\n\
             ACPI: SRAT: Node 3 PXM 9 [mem 0x100000000-0x1000fffff]\n\
             ACPI: SRAT: Node 4 PXM 4 [mem 0x200000000-0x2ffffffff]\n\
             ACPI: SRAT: Node 5 PXM 5 [mem 0x00000000-0xffffffffff] hotplug\n"
    );
    assert_eq!(nodes(&read(&text).unwrap()), [(0, 0x100), (3, 0x100)]);
}

#[test]
fn hot_pluggable_ranges_give_nodes_after_the_normal_ones() {
    let text = format!(
        "{LOW}{HIGH}ACPI: SRAT: Node 5 PXM 5 [mem 0x00000000-0xffffffffff] hotplug\n\
             ACPI: SRAT: Node 1 PXM 1 [mem 0x00000000-0x7fffffff]\n"
    );
    assert_eq!(nodes(&read(&text).unwrap()), [(1, 0x100), (5, 0x100)]);
}

#[test]
fn without_srat_the_kernels_ranges_give_the_nodes() {
    let text = format!(
        "{LOW}{HIGH}  node   2: [mem 0x100000-0x1fffff]\n  node   7: [mem 0x100000000-0x1000fffff]\n"
    );
    let machine = read(&text).unwrap();
    assert_eq!(machine.source, Source::E820);
    assert_eq!(nodes(&machine), [(2, 0x100), (7, 0x100)]);
    assert_eq!(nodes(&read(LOW).unwrap()), [(0, 0x100)]);
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
fn distances_are_read_from_remarks() {
    let machine = read(&format!("# SLIT 10 20\n# SLIT 30 10\n{LOW}")).unwrap();
    let distances = machine.distances.unwrap();
    assert_eq!(distances.get(NodeId(1), NodeId(0)), Some(30));
    let machine = read(&format!("# SLIT 10 20\n{LOW}")).unwrap();
    assert_eq!((machine.distances, machine.warnings.len()), (None, 1));
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

#[test]
fn wrapped_lines_are_put_together_again() {
    let log = "[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x00000000001fffff] usable\n\
                   [    0.000000] BIOS-e820: [mem 0x0000000000200000-0x00000000002fffff] ACPI data\n\
                   [    0.000000] ACPI: SRAT: Node 3 PXM 3 [mem 0x00000000-0x7fffffff] hotplug\n\
                   [    0.000000] ACPI: SRAT: Node 4 PXM 4 [mem 0x00000000-0x7fffffff]\n";
    let efi = "[    0.000000] efi: mem00: [Conventional Memory|   |  |MR|   |WB|WT|WC|UC] \
                   range=[0x0000000000100000-0x00000000001fffff] (1MB)\n";
    let xen = "(XEN)  [0000000000100000, 00000000001fffff] (usable)\n\
                   (XEN)  [0000000000200000, 00000000002fffff] (ACPI data)\n";
    let arm = "(XEN) RAM: 0000000000100000 - 00000000001fffff\n\
                   (XEN) MODULE[0]: 0000000000110000 - 0000000000114fff Device Tree\n";
    for text in [log, efi, xen, arm] {
        let expected = read(text).unwrap();
        let same = |wrapped: &str| {
            let machine = read(wrapped).unwrap_or_else(|error| panic!("{wrapped}: {error}"));
            assert_eq!(machine.ram, expected.ram, "{wrapped}");
            assert_eq!(machine.late, expected.late, "{wrapped}");
            assert_eq!(machine.mirrored, expected.mirrored, "{wrapped}");
            assert_eq!(machine.reserved.len(), expected.reserved.len(), "{wrapped}");
            assert_eq!(machine.warnings, [], "{wrapped}");
        };
        // Mail: at blanks, behind the first words, quoted or not.
        for width in [36, 44, 52, 60, 72] {
            for quote in ["", "> "] {
                same(&wrap(text, width, quote));
            }
        }
        // Terminals: anywhere.
        for width in 40..80 {
            let hard: Vec<_> = text
                .lines()
                .map(|line| {
                    let cut = line.len().min(width);
                    format!("{}\n{}\n", &line[..cut], &line[cut..])
                })
                .collect();
            same(&hard.concat());
        }
    }
}

/// Wraps lines at blanks, so that they have at most `width` bytes where they can.
fn wrap(text: &str, width: usize, quote: &str) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let mut column = 0;
        wrapped += quote;
        for word in line.split_inclusive(' ') {
            // What stands in front of a line is short, and stays with its first words.
            if column > 20 && column + word.len() > width {
                wrapped = wrapped + "\n" + quote;
                column = 0;
            }
            wrapped += word;
            column += word.len();
        }
        wrapped += "\n";
    }
    wrapped
}

#[test]
fn what_only_looks_like_the_rest_of_a_line_is_none() {
    let shown = error(&format!("BIOS-e820: [mem 0x1000-\n{LOW}"));
    assert!(shown.starts_with("t.log:1:"), "{shown}");
    assert!(error("BIOS-e820: [mem 0x1000-\n# 0x1fff] usable\n").starts_with("t.log:1:"));
    assert!(error("BIOS-e820: [mem 0x1000-\n\n0x1fff] usable\n").starts_with("t.log:1:"));
    // Any words would make a name.
    let shown = error("00100000-001fffff : System RAM\n00200000-002fffff : Sys\nhello\n");
    assert!(shown.starts_with("t.log:2:") && shown.contains("a whole name"), "{shown}");
    let machine = read("00100000-001fffff : System\nRAM\n").unwrap();
    assert_eq!(machine.ram_frames(), 0x100);
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

const OF: &str = "OF: reserved mem: 0x100000..0x10ffff (64 KiB) nomap non-reusable fw@100000\n";
const NODE: &str = "node   0: [mem 0x100000-0x1fffff]\n";

#[test]
fn reservations_of_a_tree_belong_to_their_boot() {
    let reserved = |text: &str| read(text).map(|machine| machine.reserved_frames());
    assert_eq!(reserved(&format!("{OF}{NODE}")), Ok(0x10));
    // Somebody has sorted the lines.
    assert_eq!(reserved(&format!("{NODE}{OF}")), Ok(0x10));
    let headed = format!("Early memory node ranges\n{NODE}");
    let twice = read(&format!("{OF}{headed}{OF}{headed}")).unwrap();
    assert_eq!((twice.reserved_frames(), twice.warnings.len()), (0x10, 1));
    let wrapped = OF.replace("(64 KiB) ", "(64 KiB)\n");
    assert_eq!(reserved(&format!("{wrapped}{NODE}")), Ok(0x10));
}

#[test]
fn a_reservation_that_cannot_be_is_named() {
    let cut = OF.split_at(40).0;
    let shown = error(&format!("{NODE}{cut}\nother words\n"));
    assert!(shown.starts_with("t.log:2: \"OF: reserved mem: 0x100000"), "{shown}");
    assert!(shown.contains("expected a range such as"), "{shown}");
    // A kernel above Xen does not say what is reserved below it.
    let machine = read(&format!("(XEN) RAM: 0000000000100000 - 00000000001fffff\n{OF}")).unwrap();
    assert_eq!(machine.reserved, []);
}

#[test]
fn a_line_that_cannot_be_is_named() {
    let shown = error(&format!("{LOW}BIOS-e820: [mem 0x0000000000200000-0x00000"));
    assert!(shown.starts_with("t.log:2: \"BIOS-e820: [mem 0x0"), "{shown}");
    assert!(shown.contains("expected a range such as"), "{shown}");
    let shown = error("BIOS-e820: [mem 0x2000-0x1000] usable");
    assert!(shown.contains("t.log:1:") && shown.contains("ends below its start"), "{shown}");
    let shown = error("\nBIOS-e820: [mem 0x2000-0x10000000000000] usable");
    assert!(shown.contains("t.log:2:") && shown.contains("over 52 bits"), "{shown}");
    let shown = error(&format!("{LOW}SRAT: Node 0 PXM 0 [mem 0x2000-0x1000]"));
    assert!(shown.contains("t.log:2:") && shown.contains("ends below its start"), "{shown}");
}

#[test]
fn a_line_that_cannot_be_in_a_lower_list_is_a_warning() {
    let machine = read(&format!("{LOW}node   0: [mem 0x2000-")).unwrap();
    assert_eq!(machine.warnings[0].line, Some(2));
    assert!(machine.warnings[0].text.contains("no part of the node ranges"));
    let ranges = "node   0: [mem 0x0-0xfff]\nSRAT: Node 0 PXM 0 [mem 0x2000-0x1000]";
    assert!(read(ranges).unwrap().warnings[0].text.contains("no part of the SRAT"));
    // Alone it is the list that decides.
    assert!(error("node   0: [mem 0x2000-").contains("expected a range"));
}

#[test]
fn a_contradiction_names_both_lines() {
    let shown = error(&format!(
        "{LOW}SRAT: Node 0 PXM 0 [mem 0x0-0x1fffff]\nSRAT: Node 1 PXM 1 [mem 0x100000-0x2fffff]"
    ));
    assert!(shown.starts_with("t.log:3: \"SRAT: Node 1"), "{shown}");
    assert!(shown.contains("than t.log:2: \"SRAT: Node 0"), "{shown}");
    let shown = error("node 0: [mem 0x0-0x1fff]\nnode 1: [mem 0x1000-0x1fff]\n");
    assert!(shown.starts_with("t.log:2:"), "{shown}");
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
