//! `bedframe run` as a person or a script meets it.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bedframe_scenario::{SCENARIOS, reference};
use common::{Run, Scratch, bedframe, number};
use serde_json::Value;

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// The scenarios of a folder, by name.
fn scenarios(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let names = files.map(|name| name.into_string().unwrap());
    names.filter(|name| name.ends_with(".toml")).collect()
}

fn object(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
}

#[test]
fn every_bundled_scenario_holds() {
    let run = bedframe(&["run", "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let object = object(&run);
    assert_eq!(object["ok"], true);
    let told = object["scenarios"].as_array().unwrap();
    assert_eq!(told.len(), SCENARIOS.len());
    assert!(told.len() >= 12);
    for scenario in told {
        assert_eq!(
            (&scenario["ok"], &scenario["contradiction"]),
            (&Value::Bool(true), &Value::Null)
        );
        let steps = scenario["steps"].as_array().unwrap();
        // Each looks at counters on its way, and not only at its end.
        let looked = steps.iter().filter(|step| number(step, &["checks"]) > 0).count();
        assert!(looked >= 3, "{scenario:#}");
        assert!(steps.iter().any(|step| step["validated"] == true), "{scenario:#}");
    }
}

#[test]
fn the_folder_holds_what_is_bundled_and_each_begins_with_its_story() {
    let bundled: BTreeSet<String> = SCENARIOS.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(scenarios(&here("../../scenarios")), bundled);
    for (name, text) in SCENARIOS {
        let story: String = text.lines().take_while(|line| line.starts_with("# ")).collect();
        assert!(story.len() > 150, "{name}: {story}");
    }
}

#[test]
fn the_list_has_a_line_for_each() {
    let run = bedframe(&["run", "--list"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    for (name, text) in SCENARIOS {
        assert!(run.stdout.contains(name), "{name}");
        let about = text.lines().find_map(|line| line.strip_prefix("about = \"")).unwrap();
        let words: Vec<&str> = about.trim_end_matches('"').split_whitespace().collect();
        let told: Vec<&str> = run.stdout.split_whitespace().collect();
        assert!(told.windows(words.len()).any(|window| window == words), "{about}");
    }
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 92));
}

#[test]
fn a_file_is_run_from_its_folder_and_a_bundled_one_by_name() {
    let by_name = bedframe(&["run", "frame-zero", "--json"]);
    let by_path = here("../../scenarios/frame-zero.toml");
    let by_path = bedframe(&["run", by_path.to_str().unwrap(), "--json"]);
    let (mut named, mut read) = (object(&by_name), object(&by_path));
    assert_eq!(named["scenario"], "frame-zero.toml");
    (named["scenario"], read["scenario"]) = (Value::Null, Value::Null);
    assert_eq!(named, read);
    // A map beside the scenario.
    let scratch = Scratch::new("run-map");
    fs::copy(common::machines().join("zynq7000-512m.log"), scratch.path("board.log")).unwrap();
    let file = scratch.file(
        "board.toml",
        "about = \"A board.\"\n[machine]\nmap = \"board.log\"\n[[step]]\nstart = {}\nexpect = { ram = \"512 MiB\" }\n",
    );
    let run = bedframe(&["run", file.to_str().unwrap(), "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_table_shows_every_step_and_fits_the_screen() {
    let run = bedframe(&["run", "initrd-released-late"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    for part in
        ["step", "hand-over", "then the first, with the bad frame", "every frame is accounted for"]
    {
        assert!(run.stdout.contains(part), "{part} is missing:\n{}", run.stdout);
    }
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 100), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'));
}

/// Scenarios that fail: the line and the step, and what is said.
const FAILING: &[(&str, u64, &str, &str)] = &[
    ("before", 13, "3.1, turn 1", "expected free: 16118 (same); found 16120"),
    ("claimed", 14, "3", "expected unclaimed: 16"),
    ("contents", 13, "3", "expected what its holder wrote; found frame 0x3e07 holds"),
    ("counter", 10, "2", "expected in_use: 9; found 8"),
    ("done", 7, "1", "expected alloc: refused with OutOfMemory; found it was done"),
    (
        "free-order",
        10,
        "2",
        "expected 0x1001: free as part of a block of order 1; found 0 at frame 0x1001",
    ),
    ("in-a-thread", 10, "2, thread 2, step 2", "expected alloc: done; found Impossible"),
    ("leaked", 13, "3", "nothing but zeros; found 0x"),
    ("mark", 14, "3", "expected free: 16124 (@started); found 16121"),
    ("node", 10, "2", "expected here: node 1; found 0 at frame"),
    ("other-name", 7, "1", "refused with Hole; found AlreadyFree"),
    ("owner", 14, "3", "expected ram: every frame nobody's; found frame 0x"),
    ("refused", 7, "1", "expected alloc: done; found OutOfMemory"),
    ("state", 7, "1", "expected early: every frame in use; found frame 0x3ffd is uninitialised"),
];

#[test]
fn what_must_fail_fails_with_exit_code_1_and_says_where() {
    let known: BTreeSet<String> = FAILING.iter().map(|(name, ..)| format!("{name}.toml")).collect();
    assert_eq!(scenarios(&here("tests/failing")), known);
    for (name, line, step, says) in FAILING {
        let file = here(&format!("tests/failing/{name}.toml"));
        let run = bedframe(&["run", file.to_str().unwrap(), "--json"]);
        assert_eq!(run.code, Some(1), "{name}");
        let start = format!("bedframe: contradiction: {}:{line}: step {step}: ", file.display());
        assert!(run.stderr.starts_with(&start) && run.stderr.contains(says), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1);
        let object = object(&run);
        assert_eq!(
            (&object["ok"], &object["contradiction"]["step"]),
            (&false.into(), &(*step).into())
        );
        assert_eq!(number(&object, &["contradiction", "line"]), *line);
        // The step that failed is the last one that was taken.
        let top: u64 = step.split(['.', ',']).next().unwrap().parse().unwrap();
        assert_eq!(object["steps"].as_array().unwrap().len() as u64, top, "{name}");
        let told = bedframe(&["run", file.to_str().unwrap()]);
        assert_eq!(told.code, Some(1));
        assert!(told.stdout.contains(&format!("step {step}, at line {line}")), "{}", told.stdout);
    }
}

#[test]
fn one_that_fails_does_not_keep_the_others_from_running() {
    let bad = here("tests/failing/counter.toml");
    let run =
        bedframe(&["run", "frame-zero", bad.to_str().unwrap(), "initrd-released-late", "--json"]);
    assert_eq!(run.code, Some(1));
    let object = object(&run);
    let ok: Vec<_> = object["scenarios"].as_array().unwrap().iter().map(|one| &one["ok"]).collect();
    assert_eq!(ok, [true, false, true]);
    assert_eq!(object["ok"], false);
}

/// A line, and what stands there.
type Place = (u64, &'static str);

/// Files that are no scenarios: where, if it is about one place, and what is said.
const BAD: &[(&str, Option<Place>, &str)] = &[
    ("bad-range", Some((6, "\"2 GiB..1 GiB\"")), "expected frames: a name"),
    ("bad-size", Some((5, "\"3 KiB\"")), "expected a number of frames, or a size"),
    ("bad-state", Some((6, "\"lost\"")), "expected a state: absent, reserved"),
    ("both-lengths", Some((4, "[[step]]")), "expected `order` or `frames` to say how many"),
    ("expect-in-thread", Some((8, "{ in_use = 1 }")), "expected no `expect` inside a thread"),
    ("later-name", Some((5, "a")), "expected the name of frames that an earlier step gave"),
    ("negative", Some((6, "-3")), "expected a number, a size, \"same\""),
    ("no-machine", None, "missing field `machine`"),
    ("no-steps", None, "expected at least one [[step]]"),
    ("no-such-map", Some((2, "\"toaster.log\"")), "expected a map: "),
    ("not-toml", Some((1, "about = \"No table at all")), "invalid basic string"),
    ("nothing", Some((4, "[[step]]")), "expected an action, `steps`, `threads`"),
    ("overlapping", Some((3, "[machine]")), "frame 0x2000 was added before on node 0"),
    ("two-actions", Some((4, "[[step]]")), "expected one action in a step, not start and alloc"),
    ("two-maps", Some((4, "\"vmware-vm-8g.log\"")), "expected either `map` or `ram`"),
    ("unknown-action", Some((5, "explode")), "unknown field `explode`, expected one of"),
    (
        "unknown-domain",
        Some((6, "guest")),
        "expected the name of a domain that an earlier step gave",
    ),
    ("unknown-error", Some((6, "\"OutOfMemry\"")), "expected the name of an error: NoFrames, "),
    ("unknown-key", Some((5, "colour")), "unknown field `colour`, expected one of"),
    ("unknown-mark", Some((6, "\"@boot\"")), "expected the name of a mark that an earlier"),
    ("unknown-name", Some((7, "\"stacks\"")), "expected the name of frames that an earlier"),
];

#[test]
fn what_is_no_scenario_is_refused_with_line_value_and_expectation() {
    let known: BTreeSet<String> = BAD.iter().map(|(name, ..)| format!("{name}.toml")).collect();
    assert_eq!(scenarios(&here("tests/bad")), known);
    for (name, place, says) in BAD {
        let file = here(&format!("tests/bad/{name}.toml"));
        let run = bedframe(&["run", "frame-zero", file.to_str().unwrap(), "--json"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{name}: {}", run.stderr);
        let start = match place {
            Some((line, text)) => format!("bedframe: {}:{line}: `{text}`: ", file.display()),
            None => format!("bedframe: {}: ", file.display()),
        };
        assert!(run.stderr.starts_with(&start) && run.stderr.contains(says), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    let run = bedframe(&["run", "no-such-file.toml"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("no-such-file.toml: expected a scenario that can be read"));
}

#[test]
fn the_page_on_the_format_is_what_the_program_reads() {
    let run = bedframe(&["run", "--format"]);
    assert_eq!(run.stdout, reference());
    let committed = fs::read_to_string(here("../../docs/scenarios.md")).unwrap();
    // Not `assert_eq`: the pages are long.
    assert!(
        committed == reference(),
        "docs/scenarios.md is old: `bedframe run --format` writes it"
    );
}
