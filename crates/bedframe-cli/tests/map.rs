//! `bedframe map`: every machine in every mode, and what is no map.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use bedframe_firmware::{FrameRange, Machine, read_file};
use common::{Run, Scratch, bedframe, machines, map, number};
use serde_json::Value;

/// Boot logs, device trees and their sources.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [machines(), machines().join("../tests/dtb")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.push(map("synthetic-24node-30t.log"));
    files.sort();
    files
}

fn good_files() -> Vec<(PathBuf, Machine)> {
    let good = files().into_iter().filter_map(|path| read_file(&path).ok().map(|m| (path, m)));
    let good: Vec<_> = good.collect();
    assert!(good.len() >= 60);
    good
}

/// What the program says, and nothing on standard error.
fn said(args: &[&str]) -> String {
    let run = bedframe(args);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
    run.stdout
}

fn fits_the_screen(text: &str) {
    assert!(!text.contains('\u{1b}'), "colours are for terminals");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn every_machine_is_drawn_on_one_screen() {
    for (path, machine) in good_files() {
        let file = path.to_str().unwrap();
        let screen = said(&["map", file]);
        fits_the_screen(&screen);
        assert!(screen.lines().count() <= 66, "{screen}");
        assert!(screen.contains(&machine.name[..20.min(machine.name.len())]));
        let all = said(&["map", file, "--all"]);
        fits_the_screen(&all);
        assert!(all.lines().count() >= screen.lines().count());
        let ranges = all.lines().filter(|line| line.trim_start().starts_with("0x")).count();
        assert!(ranges >= machine.ram.len(), "{all}");
        assert!(!all.contains("\u{2026} and "), "{all}");
    }
}

#[test]
fn the_default_machine_is_the_bundled_one() {
    let screen = said(&["map"]);
    for part in [
        "hp-superdome-16node-12t.log",
        "BIOS-e820",
        "16 nodes",
        "51 segments",
        "order 27, 512 GiB",
        "node 15, zone 32",
        "late: ACPI-reclaimable",
        "hole",
    ] {
        assert!(screen.contains(part), "{part} is missing:\n{screen}");
    }
}

/// The bytes of a range, as JSON has them.
fn place(object: &Value) -> (u64, u64) {
    (number(object, &["start"]), number(object, &["end"]))
}

fn bytes(range: FrameRange) -> (u64, u64) {
    (range.start().get() << 12, range.end().get() << 12)
}

fn array<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object[name].as_array().unwrap()
}

/// What is said of `machine` is what the library read.
fn agrees(object: &Value, machine: &Machine) {
    assert_eq!(object["machine"], machine.name);
    assert_eq!(object["source"], machine.source.to_string());
    assert_eq!(number(object, &["ram_frames"]), machine.ram_frames());
    let warnings: Vec<String> = machine.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(object["warnings"], Value::from(warnings));

    let nodes = array(object, "nodes");
    let frames: u64 = nodes.iter().map(|node| number(node, &["ram_frames"])).sum();
    assert_eq!(frames, machine.ram_frames());
    for id in machine.nodes() {
        let node = nodes.iter().find(|node| node["id"] == id.0).unwrap();
        assert_eq!(number(node, &["ram_frames"]), machine.ram_frames_on(id));
        assert!(number(node, &["segments"]) > 0);
        let order = number(node, &["largest_block_order"]);
        assert!(1 << order <= machine.ram_frames_on(id) + machine.late_frames());
    }

    let ranges = array(object, "ranges");
    assert!(ranges.is_sorted_by_key(place));
    for listed in &machine.listed {
        // A listed range is there whole, or cut into pieces without a gap.
        let mut at = listed.start;
        for range in ranges {
            let same = range["kind"] == listed.kind.to_string()
                && range["line"].as_u64() == listed.line.map(|line| line as u64);
            if same && place(range).0 == at && place(range).1 <= listed.end {
                at = place(range).1;
            }
        }
        assert_eq!(at, listed.end, "{listed:?}");
    }
    for ram in &machine.ram {
        // A frame may consist of several listed ranges, but its node is known.
        let (start, end) = bytes(ram.range);
        let inside = ranges.iter().filter(|range| range["kind"] == "usable");
        let mut overlapping =
            inside.filter(|range| place(range).0 < end && start < place(range).1).peekable();
        assert!(overlapping.peek().is_some());
        assert!(overlapping.all(|range| range["node"] == ram.node.0), "{:?}", ram.range);
    }

    let reserved: Vec<_> = array(object, "reservations").iter().map(place).collect();
    let expected: Vec<_> = machine.reserved.iter().map(|r| bytes(r.range)).collect();
    assert_eq!(reserved, expected);
    let mirrored = array(object, "mirrored").iter().map(|m| [&m[0], &m[1]].map(|n| n.as_u64()));
    let expected = machine.mirrored.iter().map(|m| [bytes(*m).0, bytes(*m).1].map(Some));
    assert!(mirrored.eq(expected));
    let late: Vec<_> = array(object, "late").iter().map(place).collect();
    assert_eq!(late, machine.late.iter().map(|late| bytes(late.range)).collect::<Vec<_>>());
    let placements = array(object, "placements").iter().map(|p| number(p, &["size"]));
    assert!(placements.eq(machine.placements.iter().map(|placement| placement.size)));
    match &machine.distances {
        None => assert!(object["distances"].is_null()),
        Some(distances) => {
            let nodes = distances.nodes();
            for (row, from) in nodes.iter().enumerate() {
                for (column, to) in nodes.iter().enumerate() {
                    let got = &object["distances"]["matrix"][row][column];
                    assert_eq!(got.as_u64(), distances.get(*from, *to).map(u64::from));
                }
            }
        }
    }
}

#[test]
fn json_says_what_the_library_read() {
    let (mut distances, mut placements) = (0, 0);
    for (path, machine) in good_files() {
        let text = said(&["map", "--json", path.to_str().unwrap()]);
        agrees(&serde_json::from_str(&text).unwrap(), &machine);
        distances += usize::from(machine.distances.is_some());
        placements += machine.placements.len();
    }
    assert!(distances > 0 && placements > 0);
    let files = [map("synthetic-24node-30t.log"), machines().join("vmware-vm-8g.log")];
    let [first, second] = files.each_ref().map(|path| path.to_str().unwrap());
    let list: Value = serde_json::from_str(&said(&["map", "--json", first, second])).unwrap();
    for (object, path) in list.as_array().unwrap().iter().zip(&files) {
        agrees(object, &read_file(path).unwrap());
    }
}

#[test]
fn pictures_are_well_formed_and_inside_their_page() {
    for (path, machine) in good_files() {
        let text = said(&["map", path.to_str().unwrap(), "--svg", "-"]);
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        assert_eq!(root.tag_name().name(), "svg");
        let size = |name| root.attribute(name).unwrap().parse::<f64>().unwrap();
        let (width, height) = (size("width"), size("height"));
        let mut ram = 0;
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let value = |name| node.attribute(name).map_or(0.0, |v| v.parse::<f64>().unwrap());
            let (x, y) = (value("x"), value("y"));
            if node.tag_name().name() == "rect" {
                assert!(value("width") > 0.0 && x + value("width") <= width, "{path:?}");
                assert!(y + value("height") <= height, "{path:?}");
                ram += usize::from(node.attribute("class") == Some("ram"));
            } else {
                assert!((0.0..=width).contains(&x) && (0.0..=height).contains(&y));
            }
        }
        // One more is in the legend.
        assert!(ram > machine.ram.len(), "{path:?}: {ram}");
    }
}

#[test]
fn a_picture_goes_into_its_file_and_nothing_on_standard_output() {
    let scratch = Scratch::new("picture");
    let (file, log) = (scratch.path("map.svg"), machines().join("vmware-vm-8g.log"));
    let log = log.to_str().unwrap();
    assert_eq!(said(&["map", log, "--svg", file.to_str().unwrap()]), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), said(&["map", log, "--svg", "-"]));
    // No name can break the document.
    let name = scratch.file("a<b>&'\"\u{1}.log", fs::read(log).unwrap());
    let text = said(&["map", name.to_str().unwrap(), "--svg", "-"]);
    assert!(roxmltree::Document::parse(&text).is_ok(), "{text}");
}

#[test]
fn several_machines_make_a_table() {
    let good = good_files();
    let mut args = vec!["map"];
    args.extend(good.iter().map(|(path, _)| path.to_str().unwrap()));
    let table = said(&args);
    fits_the_screen(&table);
    assert_eq!(table.lines().count(), good.len() + 1);
    let default = table.lines().find(|line| line.starts_with("hp-superdome")).unwrap();
    let words: Vec<&str> = default.split_whitespace().collect();
    let expected = ["BIOS-e820", "12.0", "TiB", "16", "51", "512", "GiB", "0", "-", "0"];
    assert_eq!(words[1..], expected);
}

#[test]
fn mirrored_memory_is_marked_everywhere() {
    let scratch = Scratch::new("mirrored");
    let line = |attribute, range| {
        format!(
            "efi: mem00: [Conventional Memory|   |  |{attribute}|  |  |  |  |   |WB|WT|WC|UC] range=[{range}] (1MB)\n"
        )
    };
    let log = line("MR", "0x0000000000100000-0x00000000001fffff")
        + &line("  ", "0x0000000000200000-0x00000000004fffff");
    let file = scratch.file("mirrored.log", log);
    let file = file.to_str().unwrap();
    let screen = said(&["map", file]);
    for part in ["1.0 MiB mirrored", "\u{256c} mirrored", "node 0, zone 9, mirrored"] {
        assert!(screen.contains(part), "{part} is missing:\n{screen}");
    }
    let text = said(&["map", file, "--json"]);
    agrees(&serde_json::from_str(&text).unwrap(), &read_file(file).unwrap());
    assert!(text.contains("1048576") && text.contains("2097152"), "{text}");
    let picture = said(&["map", file, "--svg", "-"]);
    // The range, and the legend.
    assert_eq!(picture.matches(r#"<rect class="mirrored""#).count(), 3, "{picture}");
    let table = said(&["map", file, file]);
    assert!(table.lines().nth(1).unwrap().contains(" 25% "), "{table}");
}

fn refused(run: &Run) -> &str {
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
    &run.stderr
}

#[test]
fn what_is_no_map_is_refused_and_nothing_is_written() {
    let scratch = Scratch::new("no-map");
    let good = machines().join("vmware-vm-8g.log");
    let good = good.to_str().unwrap();
    let picture = scratch.path("picture.svg");
    let picture = picture.to_str().unwrap();
    let bad = [
        scratch.file("empty.log", ""),
        scratch.file("reversed.log", "BIOS-e820: [mem 0x200000-0xfffff] usable\n"),
    ];
    for path in &bad {
        let file = path.to_str().unwrap();
        for args in [
            &["map", file, "--svg", picture][..],
            &["map", file, "--svg", "-"],
            &["map", good, file],
            &["map", "--json", file, good],
        ] {
            let run = bedframe(args);
            let said = refused(&run);
            assert!(said.starts_with("bedframe: ") && said.contains(file), "{said}");
        }
    }
    let both = bedframe(&["map", bad[0].to_str().unwrap(), good, bad[1].to_str().unwrap()]);
    assert!(refused(&both).contains("empty.log") && both.stderr.contains("reversed.log:1"));
    refused(&bedframe(&["map", good, good, "--svg", picture]));
    refused(&bedframe(&["map", good, "--json", "--svg", picture]));
    assert!(!Path::new(picture).exists());
    let nowhere = scratch.path("missing/picture.svg");
    let run = bedframe(&["map", good, "--svg", nowhere.to_str().unwrap()]);
    assert!(refused(&run).contains("cannot write"));
}

/// A page with the times left out, which are the last column of the first table.
fn without_times(page: &str) -> Vec<String> {
    let (first, rest) = page.split_once("## No machines").unwrap_or((page, ""));
    let row = |line: &str| match line.strip_suffix('|').and_then(|line| line.rsplit_once('|')) {
        Some((stable, _)) => stable.trim_end().to_string(),
        None => line.to_string(),
    };
    first.lines().map(row).chain(rest.lines().map(String::from)).collect()
}

#[test]
fn the_page_of_all_machines_is_what_the_program_writes() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/machines.md");
    let Ok(page) = fs::read_to_string(page) else {
        // Not here: this is the package alone.
        return;
    };
    // Sources need a compiler, and what it makes of them is there.
    let files: Vec<PathBuf> =
        files().into_iter().filter(|path| path.extension().is_some_and(|e| e != "dts")).collect();
    let mut args = vec!["map", "--markdown"];
    let synthetic = map("synthetic-24node-30t.log");
    args.extend(files.iter().filter(|path| **path != synthetic).map(|path| path.to_str().unwrap()));
    let now = without_times(&said(&args));
    let committed = without_times(&page);
    for (now, committed) in now.iter().zip(&committed) {
        assert_eq!(committed, now, "docs/machines.md is old: it says at its top how it is written");
    }
    assert_eq!(committed.len(), now.len());
    assert!(!page.contains(env!("CARGO_MANIFEST_DIR")));
    let bundled = said(&["map", "--markdown"]);
    assert_eq!(bundled.matches(".log |").count(), bedframe_firmware::MACHINES.len());
}
