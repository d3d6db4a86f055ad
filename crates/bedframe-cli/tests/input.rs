//! What a map can come from, and everything that is none: both commands refuse it with exit code
//! 2, the file, the line, its text and what was expected, and write nothing on standard output.

mod common;

use std::fs;
use std::path::Path;

use common::{Run, Scratch, bedframe, bedframe_reading, check, machines, map, number};
use serde_json::Value;

const LOW: &str = "BIOS-e820: [mem 0x0000000000100000-0x00000000001fffff] usable\n";
const HIGH: &str = "BIOS-e820: [mem 0x0000000000100000-0x0000000000ffffff] usable\n";

/// What all commands say of the file, which must be the same.
fn refused(file: &Path, more: &[&str]) -> String {
    let name = file.to_str().unwrap();
    let runs = [&["map"][..], &["map", "--json"], &["boot"], &["boot", "--json"], &[]];
    let said = runs.map(|command| {
        let args = [command, &[name], more].concat();
        let Run { code, stdout, stderr } = bedframe(&args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        stderr
    });
    assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "{said:?}");
    assert!(said[0].starts_with(&format!("bedframe: {name}")), "{}", said[0]);
    assert!(said[0].is_ascii() && said[0].lines().count() == 1, "{}", said[0]);
    said[0].clone()
}

#[test]
fn lines_that_cannot_be_are_named_with_number_text_and_what_was_expected() {
    let scratch = Scratch::new("lines");
    let xen = "(XEN) Xen-e820 RAM map:\n(XEN)  [0000000000000000, 000000000009fbff] (usable)\n";
    let iomem = "00100000-001fffff : System RAM\n";
    let range = "expected a range such as";
    let reversed = "the range ends below its start; expected an end that is not below its start";
    let high = "an address is over 52 bits; expected addresses below 2^52";
    for (line, before, text, expected) in [
        // Cut.
        (2, LOW, "BIOS-e820: [mem 0x0000000000200000-0x00000", range),
        (2, LOW, "BIOS-e820: [mem 0x200000-0x2fffff]", "expected a kind of memory"),
        (2, LOW, "SRAT: Node 0 PXM 0 [mem 0x0-", range),
        (1, "", "efi: mem00: [Conventional Memory|   |  |  |  |", "expected"),
        (1, "", "node   0: [mem 0x0000000000100000-0x", range),
        (3, xen, "(XEN)  [0000000000100000, 0000000", range),
        (1, "", "(XEN) RAM: 0000000048000000 - 00000", range),
        (2, iomem, "00200000-002fffff : Syst", "expected a whole name"),
        (2, iomem, "00200000-", "expected \"START-END : name\""),
        (2, "node 0: [mem 0x100000-0x1fffff]\n", "OF: reserved mem: 0x100000..0x10", range),
        // Torn by another line.
        (2, LOW, "BIOS-e820: [mem 0x200000-\nusb 1-1: new device\n0x2fffff] usable", range),
        // Reversed.
        (1, "", "BIOS-e820: [mem 0x200000-0xfffff] usable", reversed),
        (2, LOW, "SRAT: Node 0 PXM 0 [mem 0x200000-0xfffff]", reversed),
        (3, xen, "(XEN)  [0000000000200000, 00000000000fffff] (usable)", reversed),
        (2, iomem, "00200000-000fffff : System RAM", reversed),
        (1, "", "(XEN) RAM: 0000000048000000 - 0000000040000000", reversed),
        // Absurd.
        (1, "", "BIOS-e820: [mem 0x0-0xffffffffffffffff] usable", high),
        (1, "", "BIOS-e820: [mem 0x0-0x123456789abcdef0123456789abcdef] usable", high),
        (2, iomem, "00200000-fffffffffffffff : System RAM", high),
        (3, xen, "(XEN)  [0000000000100000, ffffffffffffffff] (usable)", high),
        (2, LOW, "SRAT: Node 99999999999 PXM 0 [mem 0x0-0xfff]", "expected \"SRAT: Node N"),
        (1, "", "node 99999999999: [mem 0x100000-0x1fffff]", "expected a node number"),
        // Contradictory.
        (
            3,
            "BIOS-e820: [mem 0x100000-0x1fffff] usable\nSRAT: Node 0 PXM 0 [mem 0x0-0x1fffff]\n",
            "SRAT: Node 1 PXM 1 [mem 0x100000-0x2fffff]",
            "expected one node for each piece of memory",
        ),
        // Without addresses, or without a list.
        (1, "", "00000000-00000000 : System RAM", "read it again as root"),
        (1, "", "SRAT: Node 0 PXM 0 [mem 0x0-0xfff]", "expected a list of memory beside it"),
    ] {
        for end in ["", "\n", "\r\n"] {
            let before = before.replace('\n', if end.is_empty() { "\n" } else { end });
            let file = scratch.file("bad.log", format!("{before}{text}{end}"));
            let said = refused(&file, &[]);
            let first = text.lines().next().unwrap();
            let place = format!("bad.log:{line}: \"{first}\": ");
            assert!(said.contains(&place), "{place} is missing: {said}");
            assert!(said.contains(expected), "{expected} is missing: {said}");
        }
    }
}

#[test]
fn files_that_hold_no_map_say_what_would_be_one() {
    let scratch = Scratch::new("files");
    let noise: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let would_be = "expected a boot log of Linux or Xen with a memory map";
    for (name, contents, why) in [
        ("empty.log", &b""[..], "is empty"),
        ("blank.log", b" \r\n\n", "is empty"),
        ("prose.log", b"There is no map in this.\n", "there is no memory map in it"),
        ("noise.log", &noise, "is no text from byte 1 on"),
        ("zeros.log", &[0; 4096], "is no text from byte 0 on"),
        ("gzip.log", b"\x1f\x8b\x08\x00", "is no text from byte 1 on"),
        ("half.log", b"BIOS-e820: [mem 0x0-0xfff] usable\n\xff\xfe", "is no text from byte 34 on"),
    ] {
        let said = refused(&scratch.file(name, contents), &[]);
        assert!(said.contains(why) && said.contains(would_be), "{said}");
    }
    let said = refused(&scratch.file("none.log", "BIOS-e820: [mem 0x0-0xfff] reserved\n"), &[]);
    assert!(said.contains("the BIOS-e820 list has no RAM; expected at least one usable"), "{said}");
}

#[test]
fn places_that_hold_no_file_are_told_apart() {
    let scratch = Scratch::new("places");
    assert!(refused(&scratch.path(""), &[]).contains("is a directory; expected a file"));
    assert!(refused(&scratch.path("missing.log"), &[]).contains("cannot be read: No such file"));
    assert!(refused(&scratch.file("file", "").join("in-it.log"), &[]).contains("cannot be read"));
    let huge = scratch.file("huge.log", "");
    // A hole: it takes no room.
    fs::File::options().write(true).open(&huge).unwrap().set_len(1 << 32).unwrap();
    assert!(refused(&huge, &[]).contains("is over 268435456 bytes, larger than any map"));
    if cfg!(target_os = "linux") {
        assert!(refused(Path::new("/dev/null"), &[]).contains("is empty"));
        assert!(refused(Path::new("/dev/zero"), &[]).contains("larger than any map"));
        // Root may open everything, but there is nothing at address 0.
        assert!(refused(Path::new("/proc/self/mem"), &[]).contains("cannot be read: "));
    }
}

#[test]
fn trees_and_tables_that_are_cut_corrupt_or_no_map_are_named() {
    let scratch = Scratch::new("tables");
    let tree = fs::read(machines().join("../tests/dtb/hikey-hi6220-1g.dtb")).unwrap();
    let cut = refused(&scratch.file("cut.dtb", &tree[..tree.len() / 2]), &[]);
    assert!(cut.contains("the device tree is cut or corrupt at byte "), "{cut}");
    let mut corrupt = tree.clone();
    corrupt[8..12].fill(0xff);
    let said = refused(&scratch.file("corrupt.dtb", &corrupt), &[]);
    assert!(said.contains("cut or corrupt at byte 8: expected "), "{said}");

    // A SLIT of two nodes.
    let mut slit = b"SLIT\x30\0\0\0\x01\0BEDFRATESTTABL\x01\0\0\0TEST\x01\0\0\0".to_vec();
    slit.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 10, 20, 20, 10]);
    slit[9] = slit.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
    let said = refused(&scratch.file("SLIT.dat", &slit), &[]);
    assert!(said.contains("SLIT.dat: is ACPI table SLIT, which says how far nodes are"), "{said}");
    assert!(said.contains("expected a boot log"), "{said}");
    let said = refused(&scratch.file("SLIT.dat", &slit[..44]), &[]);
    assert!(said.contains("SLIT: ends at byte 44: expected as many bytes"), "{said}");
    slit[45] += 1;
    let said = refused(&scratch.file("SLIT.dat", &slit), &[]);
    assert!(said.contains("checksum at byte 9: found 0x1, expected a sum of 0x0"), "{said}");
}

/// The object of a file that both commands read.
fn read(file: &Path, more: &[&str]) -> Value {
    let name = file.to_str().unwrap();
    let boot = check(&bedframe(&[&["boot", name, "--json", "--ops", "500"], more].concat()));
    let run = bedframe(&[&["map", name, "--json"], more].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let object: Value = serde_json::from_str(&run.stdout).unwrap();
    for field in ["machine", "source", "warnings", "ram_frames"] {
        assert_eq!(boot[field], object[field], "{field}");
    }
    object
}

#[test]
fn any_boot_of_a_log_can_be_chosen() {
    let scratch = Scratch::new("boots");
    let log = format!("Linux version 6.1\n{LOW}Linux version 6.6\n{HIGH}");
    let file = scratch.file("twice.log", log);
    let last = read(&file, &[]);
    assert_eq!(number(&last, &["ram_frames"]), 0xf00);
    let warning = "line 3: there are 2 boots in the file; this is number 2, the last";
    assert_eq!(last["warnings"][0], warning);
    for command in ["map", "boot"] {
        let screen = bedframe(&[command, file.to_str().unwrap()]).stdout;
        let words: Vec<&str> = screen.split_whitespace().collect();
        assert!(words.join(" ").contains(warning), "{screen}");
    }
    for (boot, frames) in [("1", 0x100), ("2", 0xf00)] {
        let chosen = read(&file, &["--boot", boot]);
        assert_eq!(number(&chosen, &["ram_frames"]), frames);
        assert_eq!(chosen["warnings"], Value::from(Vec::<String>::new()));
    }
    for boot in ["0", "3", "18446744073709551615"] {
        let said = refused(&file, &["--boot", boot]);
        let there = format!("there is no boot {boot} in it, only 2, counted from 1; expected");
        assert!(said.contains(&there), "{said}");
    }
    let tree = machines().join("../tests/dtb/hikey-hi6220-1g.dtb");
    assert!(refused(&tree, &["--boot", "2"]).contains("no boot 2 in it, only 1"));
    assert_eq!(read(&tree, &["--boot", "1"])["source"], "device tree");
    for args in [&["map", "--boot", "x"][..], &["boot", "--boot", "-1"], &["boot", "--boot"]] {
        let run = bedframe(args);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{args:?}");
    }
}

#[test]
fn standard_input_is_a_file() {
    let log = fs::read(machines().join("vmware-vm-8g.log")).unwrap();
    let object = check(&bedframe_reading(&["boot", "-", "--json", "--ops", "500"], &log));
    assert_eq!(object["machine"], "standard input");
    let screen = bedframe_reading(&["map", "-"], &log);
    assert_eq!((screen.code, screen.stderr.as_str()), (Some(0), ""));
    let cut = bedframe_reading(&["map", "-"], b"BIOS-e820: [mem 0x0-\n");
    assert_eq!((cut.code, cut.stdout.as_str()), (Some(2), ""));
    assert!(cut.stderr.starts_with("bedframe: standard input:1: \"BIOS-e820"), "{}", cut.stderr);
    let empty = bedframe_reading(&["boot", "-"], b"");
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(2), ""));
}

/// Whoever runs this may be root or not, and the computer may have any map.
#[test]
fn this_computer_is_read_or_refused_with_a_reason() {
    for args in [&["map", "--host", "--json"][..], &["boot", "--host", "--json", "--ops", "100"]] {
        let run = bedframe(args);
        if run.code == Some(0) {
            let object: Value = serde_json::from_str(&run.stdout).unwrap();
            assert_eq!(object["machine"], "/proc/iomem");
            assert!(number(&object, &["ram_frames"]) > 0);
        } else {
            assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
            let said = run.stderr;
            let hidden = said.contains("as root");
            assert!(said.starts_with("bedframe: /proc/iomem"), "{said}");
            assert!(hidden || said.contains("cannot be read") || said.contains("map"), "{said}");
        }
    }
    for args in [&["map", "x", "--host"][..], &["boot", "--host", "x"], &["--host", "--boot", "1"]]
    {
        let run = bedframe(args);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(run.stderr.contains("cannot be used with"), "{}", run.stderr);
    }
}

/// A ramdisk is withheld while the machine boots, and in the heap at the end.
#[test]
fn what_the_boot_loader_left_is_released() {
    // What dtc makes of the source beside it.
    let object = read(&map("board-with-ramdisk-64m.dtb"), &[]);
    let ramdisk = &object["reservations"][0];
    assert_eq!((&ramdisk["kind"], &ramdisk["releasable"]), (&"ramdisk".into(), &true.into()));
    assert_eq!(number(ramdisk, &["start"]), 0x8200_0000);
    assert_eq!(number(ramdisk, &["end"]), 0x8240_1000);
    let file = map("board-with-ramdisk-64m.dtb");
    let boot = check(&bedframe(&["boot", file.to_str().unwrap(), "--json", "--ops", "500"]));
    assert_eq!(number(&boot, &["ram_frames"]), 0x4000);
    assert_eq!(number(&boot, &["withheld", "reserved"]), 0);
}
