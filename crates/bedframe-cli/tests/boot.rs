//! `bedframe boot` as a person or a script meets it.

mod common;

use common::{VARIANTS, bedframe, check, map, number, ops};
use serde_json::Value;

#[test]
fn the_default_machine_boots_in_all_variants() {
    for variant in VARIANTS {
        let object = check(&bedframe(&["boot", "--json", "--xenheap", variant, "--ops", ops()]));
        assert_eq!(object["machine"], "hp-superdome-16node-12t.log");
        assert_eq!(object["source"], "BIOS-e820");
        assert_eq!(object["nodes"].as_array().unwrap().len(), 16);
        assert_eq!(number(&object, &["ram_frames"]), 3_221_195_661);
        assert_eq!(number(&object, &["late_released_frames"]), 512);
        assert_eq!(number(&object, &["withheld", "frame0"]), 1);
        assert!(number(&object, &["workload", "ops"]) >= ops().parse().unwrap());
        // Under half a byte for each frame.
        let metadata = number(&object, &["withheld", "metadata"]) * 4096;
        assert!(metadata * 2 < number(&object, &["ram_frames"]), "{object:#}");
    }
}

#[test]
fn thirty_tebibytes_boot_on_a_small_computer() {
    let file = map("synthetic-24node-30t.log");
    let object = check(&bedframe(&["boot", file.to_str().unwrap(), "--json", "--ops", "5000"]));
    assert!(number(&object, &["ram_frames"]) >= 30 << 28);
    assert_eq!(object["nodes"].as_array().unwrap().len(), 24);
}

/// Everything but the times.
fn without_times(mut object: Value) -> Value {
    for time in ["handover_ns", "handover_cold_ns"] {
        object[time] = Value::Null;
    }
    object["domain"]["relinquish_ns"] = Value::Null;
    object
}

#[test]
fn the_same_seed_gives_the_same_boot_and_another_one_another() {
    let boot = |seed| {
        let file = common::machines().join("vmware-vm-8g.log");
        let file = file.to_str().unwrap();
        let args = ["boot", file, "--json", "--seed", seed, "--ops", "50000"];
        without_times(check(&bedframe(&args)))
    };
    assert_eq!(boot("7"), boot("7"));
    assert_ne!(boot("7"), boot("8"));
}

#[test]
fn without_a_subcommand_the_program_boots() {
    let object = check(&bedframe(&["--json", "--ops", "1000"]));
    assert_eq!(object["machine"], "hp-superdome-16node-12t.log");
}

#[test]
fn the_story_tells_all_and_fits_the_screen() {
    for variant in VARIANTS {
        let run = bedframe(&["boot", "--xenheap", variant, "--seed", "42", "--ops", "5000"]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        for part in [
            "hp-superdome-16node-12t.log",
            "BIOS-e820",
            "seed 42",
            "page tables",
            "zone 9|10",
            "node 1|2",
            "bytes for each of",
            "cold",
            "mapped by boot and unmapped after hand-over: 64 pages of 64 runs",
            "until a device gave its reference back",
            "free memory",
            "largest order",
            "peak resident memory",
            "validate: ok",
        ] {
            assert!(run.stdout.contains(part), "{part} is missing:\n{}", run.stdout);
        }
        assert_eq!(run.stdout.contains("pool"), variant != "unified");
        // Colours are for terminals.
        assert!(!run.stdout.contains('\u{1b}'));
        for line in run.stdout.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn usage_errors_say_nothing_on_standard_output() {
    for args in [&["boot", "--xenheap", "none"][..], &["boot", "--seed", "x"], &["--what"]] {
        let run = bedframe(args);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{args:?}");
    }
}
