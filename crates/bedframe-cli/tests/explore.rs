//! `bedframe explore` as a person or a script meets it.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::{Run, Scratch, bedframe};
use serde_json::Value;

/// Counterexamples by name, and mistakes made on purpose.
const STORIES: [&str; 10] = [
    "own-tables",
    "kernel-text",
    "in-use",
    "separate",
    "in-use-ledger",
    "zone-edge",
    "frame-0-not-enough",
    "frame-0-twice",
    "no-ledger",
    "words-only",
];
const MISTAKES: [&str; 6] = ["trap-1", "trap-2", "trap-4", "trap-8", "plain-or", "stage"];

/// Exit code 0, and nothing on standard error.
fn told(run: &Run) -> &str {
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!run.stdout.contains('\u{1b}'), "colours are for terminals");
    &run.stdout
}

/// One short run of the program for both: the object, and the page.
#[test]
fn what_is_found_is_one_object_and_the_page_of_the_cures_as_it_is() {
    let scratch = Scratch::new("explore-markdown");
    let folder = scratch.path("docs");
    fs::create_dir_all(&folder).unwrap();
    let run = bedframe(&["explore", "--quick", "--json", "--markdown", folder.to_str().unwrap()]);
    is_the_object(told(&run));
    is_the_page(&folder);
}

fn is_the_object(text: &str) {
    let object: Value = serde_json::from_str(text).unwrap();
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(names(&object), BTreeSet::from(["cures".into()]));
    let fields =
        ["cure", "target", "states", "depth", "counterexample", "boot_bytes", "free_instructions"];
    let cures = object["cures"].as_array().unwrap();
    for cure in cures {
        assert_eq!(names(cure), BTreeSet::from(fields.map(String::from)));
        for field in ["states", "depth", "boot_bytes", "free_instructions"] {
            assert!(cure[field].as_u64().unwrap() > 0, "{field}: {cure}");
        }
    }
    let found: Vec<_> = cures
        .iter()
        .map(|cure| {
            let [name, target] = ["cure", "target"].map(|field| cure[field].as_str().unwrap());
            (name, target, cure["counterexample"].is_null())
        })
        .collect();
    let expected = [
        ("count-zero", "design", false),
        ("uninitialised", "design", true),
        ("uninitialised", "library", true),
        ("all-ones", "design", true),
    ];
    assert_eq!(found, expected);
    let way = cures[0]["counterexample"].as_array().unwrap();
    assert_eq!(way[0], "start");
    let bytes = |at: usize| cures[at]["boot_bytes"].as_u64().unwrap();
    assert!(bytes(1) * 1000 < bytes(0) && bytes(0) == bytes(3));
}

/// The page of the cures is what the program finds, but for the numbers of states of a longer run.
fn is_the_page(folder: &Path) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let read = |folder: &Path| fs::read_to_string(folder.join("cures.md")).unwrap();
    let same = |text: &str| text.split_once("## What was explored").unwrap().0.to_string();
    let hint = "cargo run --release -- explore --markdown docs";
    assert_eq!(same(&read(&docs)), same(&read(folder)), "{hint}");
    let pictures = |folder: &Path| -> BTreeSet<String> {
        let files = fs::read_dir(folder.join("cures")).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(pictures(&docs), BTreeSet::from(STORIES.map(|name| format!("{name}.svg"))));
    for name in pictures(folder) {
        let read = |folder: &Path| fs::read_to_string(folder.join("cures").join(&name)).unwrap();
        assert_eq!(read(&docs), read(folder), "{name}: {hint}");
        roxmltree::Document::parse(&read(folder)).unwrap();
    }
    // The long run's numbers: as many states as were promised, and no world cut out.
    let explored = read(&docs).split_once("## What was explored").unwrap().1.to_string();
    let states = |target: &str| -> u64 {
        let rows = explored.lines().filter(|line| line.starts_with(&format!("| {target} |")));
        let states = rows.map(|row| row.split('|').nth(3).unwrap().trim().replace(',', ""));
        states.map(|states| states.parse::<u64>().unwrap()).sum()
    };
    assert!(states("design") > 1_000_000 && states("library") > 100_000, "{explored}");
}

#[test]
fn the_story_fits_the_screen_and_names_what_there_is() {
    let run = bedframe(&["explore", "--quick"]);
    let text = told(&run);
    for name in STORIES.into_iter().chain(MISTAKES) {
        assert!(text.lines().any(|line| line.trim().starts_with(name)), "{name}: {text}");
    }
    for words in ["worlds", "states", "to the end", "wrong-free", "count-zero", "nothing found"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains('\u{2717}'), "{text}");
}

#[test]
fn every_counterexample_can_be_replayed_by_name() {
    let mut pictures = 0;
    for name in STORIES.into_iter().chain(MISTAKES) {
        let run = bedframe(&["explore", "--replay", name]);
        assert!(told(&run).contains("What must hold"), "{name}: {}", run.stdout);
        let drawn = bedframe(&["explore", "--replay", name, "--svg", "-"]);
        if STORIES.contains(&name) {
            assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
            assert!(drawn.stdout.starts_with("<svg"), "{name}");
            pictures += 1;
        } else {
            assert_eq!((drawn.code, drawn.stdout.as_str()), (Some(2), ""), "{name}");
        }
    }
    assert_eq!(pictures, STORIES.len());
}

/// What the program answers to a file.
fn replay(text: &str) -> Run {
    let scratch = Scratch::new(&format!("explore-replay-{}", text.len()));
    let file = scratch.file("calls.txt", text);
    bedframe(&["explore", "--replay", file.to_str().unwrap()])
}

#[test]
fn a_file_is_replayed_and_held_to_what_it_says() {
    let calls = "count-zero zone-check # as proposed otherwise\n\nstart\nfree 11 1 # kernel text\n";
    let expected = replay(&format!("{calls}breaks wrong-free\n"));
    assert!(told(&expected).contains("it is kernel text"), "{}", expected.stdout);
    let unexpected = replay(calls);
    assert_eq!(unexpected.code, Some(1), "{}", unexpected.stderr);
    assert!(unexpected.stderr.contains("breaks what must hold"), "{}", unexpected.stderr);
    let other = replay(&format!("{calls}breaks edges\n"));
    assert_eq!(other.code, Some(1), "{}", other.stderr);
    let refused = replay("uninitialised\nstart\nfree 11 1\n");
    assert!(told(&refused).contains("it is reserved"), "{}", refused.stdout);
    assert!(refused.stdout.contains("nothing is broken"), "{}", refused.stdout);
}

/// Exit code 2, nothing on standard output, and these words on standard error.
#[track_caller]
fn is_refused(run: &Run, words: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{word}: {}", run.stderr);
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    is_refused(&replay(""), &["calls.txt:1", "a cure"]);
    is_refused(&replay("count-nought\nstart\n"), &["calls.txt:1", "count-nought", "all-ones"]);
    is_refused(
        &replay("all-ones\nstart\n\nfree x 1\n"),
        &["calls.txt:4", "free x 1", "alloc order"],
    );
    is_refused(
        &replay("all-ones\nstart\nbreaks hearts\n"),
        &["calls.txt:3", "hearts", "invariant"],
    );
    is_refused(
        &bedframe(&["explore", "--replay", "trap-99"]),
        &["trap-99", "own-tables", "trap-8"],
    );
    is_refused(&bedframe(&["explore", "--depth", "3"]), &["--depth"]);
    is_refused(&bedframe(&["explore", "--quick", "--replay", "in-use"]), &["--quick"]);
    is_refused(&bedframe(&["explore", "--svg", "x.svg"]), &["--replay"]);
    let nowhere = ["explore", "--replay", "in-use", "--svg", "/nowhere/at/all.svg"];
    is_refused(&bedframe(&nowhere), &["/nowhere/at/all.svg"]);
}
