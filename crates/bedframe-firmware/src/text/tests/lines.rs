//! Lines as people paste them, and lines that cannot be.

use super::*;

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
