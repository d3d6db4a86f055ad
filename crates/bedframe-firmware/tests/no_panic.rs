//! Whatever the input is, the readers give a machine that keeps its promises, or an error that can
//! be shown; they never panic.

use std::fs;

use bedframe_firmware::{Machine, MapError, parse_fdt, parse_text, parse_text_boot};
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn files(directory: &str, extension: &str) -> Vec<Vec<u8>> {
    let directory = format!("{}/{directory}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn check(result: Result<Machine, MapError>) {
    match result {
        Ok(machine) => {
            assert!(machine.ram_frames() > 0);
            assert!(machine.ram.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            assert!(machine.reserved.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            assert!(machine.late.windows(2).all(|p| p[0].range.end() <= p[1].range.start()));
            assert!(machine.mirrored.windows(2).all(|p| p[0].end() < p[1].start()));
            for mirrored in &machine.mirrored {
                let on_ram = machine.ram.iter().map(|ram| ram.range.intersect(*mirrored).frames());
                assert_eq!(on_ram.sum::<u64>(), mirrored.frames());
            }
            let highest = machine.ram.last().unwrap().range.end();
            assert!(highest.get() <= 1 << 40, "{highest}");
            for warning in &machine.warnings {
                assert_ne!(warning.to_string(), "");
            }
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.starts_with("input"), "{shown}");
            assert!(shown.contains(error.expected()) || shown.contains("dtc"), "{shown}");
        }
    }
}

/// Reads bytes as both readers do; text that is none is read as far as it can be.
fn read(data: &[u8]) {
    check(parse_fdt("input", data));
    check(parse_text("input", &String::from_utf8_lossy(data)));
}

/// Changes bytes of a file: each change is a place and what is put there.
fn mutate(file: &[u8], changes: &[(Index, Change)]) -> Vec<u8> {
    let mut data = file.to_vec();
    for (index, change) in changes {
        if data.is_empty() {
            break;
        }
        let at = index.index(data.len());
        match change {
            Change::Set(byte) => data[at] = *byte,
            Change::Remove(len) => drop(data.drain(at..data.len().min(at + len))),
            Change::Repeat(len) => {
                let piece = data[at..data.len().min(at + len)].to_vec();
                data.splice(at..at, piece);
            }
            Change::Word(word) => {
                let bytes = word.to_be_bytes();
                let end = data.len().min(at + 4);
                data[at..end].copy_from_slice(&bytes[..end - at]);
            }
        }
    }
    data
}

#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Remove(usize),
    Repeat(usize),
    Word(u32),
}

fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let change = prop_oneof![
        select(b"0123456789abcdefx []-@()>:\n\r\t\0".to_vec()).prop_map(Change::Set),
        any::<u8>().prop_map(Change::Set),
        (1usize..40).prop_map(Change::Remove),
        (1usize..200).prop_map(Change::Repeat),
        select(vec![0, 1, 2, 3, 4, 9, 0xff, 1 << 31, u32::MAX]).prop_map(Change::Word),
    ];
    prop::collection::vec((any::<Index>(), change), 1..24)
}

#[test]
fn every_cut_of_every_tree_is_an_error() {
    for tree in files("tests/dtb", "dtb") {
        for len in 0..tree.len() {
            let result = parse_fdt("input", &tree[..len]);
            assert!(matches!(result, Err(MapError::Tree { .. })), "{len}");
            check(result);
        }
    }
}

/// A list that is cut inside a line is refused, unless what is left of the line is whole.
#[test]
fn every_cut_inside_a_line_of_a_list_is_refused() {
    let log = format!("{}/machines/vmware-vm-8g.log", env!("CARGO_MANIFEST_DIR"));
    let log = fs::read_to_string(log).unwrap();
    let mut refused = 0;
    let mut start = 0;
    for line in log.split_inclusive('\n') {
        if let Some(keyword) = line.find("BIOS-e820: [mem").filter(|_| !line.starts_with('#')) {
            let text = line.trim_end();
            for cut in keyword + "BIOS-e820:".len()..text.len() {
                let result = parse_text("input", &log[..start + cut]);
                assert!(matches!(result, Err(MapError::Malformed { .. })), "{}", &text[..cut]);
                check(result);
                refused += 1;
            }
        }
        start += line.len();
    }
    // The file has 12 such lines of more than 40 bytes each.
    assert!(refused > 12 * 40, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes(data in prop::collection::vec(any::<u8>(), 0..600)) {
        read(&data);
        // The same behind a magic number, so that more than the first word is looked at.
        let mut tree = vec![0xd0, 0x0d, 0xfe, 0xed];
        tree.extend(data);
        read(&tree);
    }

    #[test]
    fn random_lines(lines in prop::collection::vec(
        "(BIOS-e820:|user:|BIOS-88:|SRAT: Node [0-9]{1,12} PXM 0|node +[0-9]{1,3}:|Xen:) \
         (\\[mem 0x[0-9a-f]{1,18}-0x[0-9a-f]{1,18}\\]|[0-9a-f]{1,17} [-@>]{1,2} [0-9a-f]{1,17}) ?\
         (usable|\\(usable\\)|reserved|type [0-9]{1,11}|hotplug|ACPI data|)",
        0..12,
    )) {
        read(lines.join("\n").as_bytes());
    }

    #[test]
    fn small_ranges(lines in prop::collection::vec(
        "(BIOS-e820:|user:|SRAT: Node [0-3] PXM 0|node [0-3]:) \
         \\[mem 0x[1-3][0-9]{3}-0x[3-6][0-9]{3}\\] ?(usable|reserved|ACPI data|hotplug|)",
        0..12,
    )) {
        read(lines.join("\n").as_bytes());
    }

    #[test]
    fn random_lines_of_efi(lines in prop::collection::vec(
        "efi: (mem[0-9]{1,11}: )?(\\[(Conventional|Boot Data|type=[0-9]{1,11})(\\|(MR|SP|  |attr=0x[0-9a-f]{1,18})){0,3}\\] |type=[0-9]{1,11}, attr=0x[0-9a-f]{1,18}, )?\
         (range=)?\\[?0x[0-9a-f]{1,17}-0x[0-9a-f]{1,17}[\\])]?( \\[(Conventional|MMIO)\\|MR\\])?",
        0..12,
    )) {
        read(lines.join("\n").as_bytes());
    }

    #[test]
    fn random_lines_of_xen_and_iomem(lines in prop::collection::vec(
        "(\\(XEN\\) )?((RAM|MODULE\\[[0-9]{1,11}\\]|RESVD\\[1\\]):|Initial Xen-e820 RAM map:|EFI RAM map:|SRAT: Node 1 PXM 1|Xen version 4|) ?\
         (\\[[0-9a-f]{15,17}, [0-9a-f]{16}\\]|[0-9a-f]{8,17}[ -]{1,3}[0-9a-f]{8,17}|[0-9a-f]{13}-[0-9a-f]{13} type=[0-9]{1,11} attr=[0-9a-f]{1,17}|) ?\
         (\\(usable\\)|\\(reserved\\)|: System RAM|: ACPI Tables|: |Kernel|\\(hotplug\\)|)",
        0..12,
    )) {
        read(lines.join("\n").as_bytes());
    }

    #[test]
    fn small_ranges_of_xen_and_iomem(lines in prop::collection::vec(
        "\\(XEN\\) RAM: 0{13}[1-3][0-9]{2}[0-9] - 0{12}[3-6]fff|\
         \\(XEN\\) (MODULE|RESVD)\\[1\\]: 0{12}[1-3][0-9]{3} - 0{12}[3-6][0-9]{3}( Kernel)?|\
         \\(XEN\\)  \\[0{12}[1-3][0-9]{3}, 0{12}[3-6]fff\\] \\((usable|reserved|ACPI data)\\)|\
         efi: mem1: \\[Conventional\\|(MR|SP|)\\] range=\\[0x[1-3][0-9]{3}-0x[3-6][0-9]{3}\\]|\
         efi: mem1: \\[(ACPI Reclaim|Boot Data)\\|MR\\] range=\\[0x[1-3]000-0x[3-6]fff\\]|\
         0{4}[1-3][0-9]{3}-0{4}[3-6](fff|[0-9]{3}) : (System RAM|reserved|ACPI Tables)|\
         (usable|Kernel|hotplug|0x5000\\] usable)|\
         Linux version 1",
        0..12,
    ), boot in prop::option::of(0usize..4)) {
        let text = lines.join("\n");
        read(text.as_bytes());
        check(parse_text_boot("input", &text, boot));
    }

    #[test]
    fn wrapped_logs(log in select(files("machines", "log")), width in 1usize..100) {
        let lines = log.split(|&byte| byte == b'\n').flat_map(|line| line.chunks(width));
        read(&lines.collect::<Vec<_>>().join(&b'\n'));
    }

    #[test]
    fn changed_logs(log in select(files("machines", "log")), changes in changes()) {
        read(&mutate(&log, &changes));
    }

    #[test]
    fn changed_trees(tree in select(files("tests/dtb", "dtb")), changes in changes()) {
        let data = mutate(&tree, &changes);
        read(&data);
        // With its size put right again, so that the change is looked at.
        let mut resized = data;
        if let Some(field) = resized.len().try_into().ok().map(u32::to_be_bytes)
            && let Some(size) = resized.get_mut(4..8)
        {
            size.copy_from_slice(&field);
        }
        read(&resized);
    }

    #[test]
    fn cut_logs(log in select(files("machines", "log")), at: Index) {
        let at = at.index(log.len() + 1);
        read(&log[..at]);
        read(&log[at..]);
    }
}
