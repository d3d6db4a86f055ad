//! `bedframe bench` as a person or a script meets it. No test looks at a time.

mod common;

use std::collections::BTreeSet;

use common::{Run, Scratch, bedframe};
use serde_json::Value;

const ALLOCATORS: [&str; 9] = [
    "bedframe",
    "sketch",
    "magazine",
    "cache",
    "bitmap-allocator",
    "buddy_system_allocator",
    "free-list",
    "model",
    "bedframe-domain",
];

fn object(run: &Run) -> Value {
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    serde_json::from_str(&run.stdout).unwrap()
}

/// The values of a field in all results.
fn all<'a>(results: &'a [Value], field: &str) -> BTreeSet<&'a str> {
    results.iter().map(|result| result[field].as_str().unwrap()).collect()
}

#[test]
fn everything_is_measured_and_written_as_one_object() {
    let object = object(&bedframe(&["bench", "--tiny", "--threads", "2", "--json"]));
    let results = object["results"].as_array().unwrap();
    for result in results {
        let figure = |field: &str| result[field].as_f64().unwrap();
        assert!(figure("min") <= figure("median") && figure("median") <= figure("max"));
        assert!(figure("min") >= 0.0, "{result}");
        assert!([0, 9].contains(&result["order"].as_u64().unwrap()), "{result}");
        assert!([1, 2].contains(&result["threads"].as_u64().unwrap()), "{result}");
        assert!(result["occupancy"].as_u64().unwrap() <= 100, "{result}");
        let handover = result["workload"].as_str().unwrap().starts_with("handover");
        assert_eq!(result["tib"].is_u64(), handover, "{result}");
        if result["allocator"] == "sketch" {
            assert_eq!(result["to_floor"], 1.0, "{result}");
        }
    }
    assert_eq!(all(results, "allocator"), BTreeSet::from(ALLOCATORS));
    let workloads = [
        "repeat",
        "repeat-half",
        "bulk",
        "random-free",
        "churn",
        "churn-64",
        "churn-listed",
        "mixed",
        "checkerboard",
        "exhaustion",
        "refusal",
        "cross-thread",
        "fragmentation",
        "fragmentation-mixed",
        "metadata",
        "handover",
        "handover-cold",
        "owned",
        "assign",
        "relinquish",
        "scrub",
        "latency",
        "latency-clean",
        "offline",
    ];
    assert_eq!(all(results, "workload"), BTreeSet::from(workloads));
    let metrics = [
        "pair_ns",
        "alloc_ns",
        "free_ns",
        "order9_percent",
        "handover_ns",
        "bytes_per_frame",
        "assign_ns",
        "steal_ns",
        "relinquish_ns",
        "total_ns",
        "longest_ns",
        "scrub_ns",
        "memset_ns",
        "p50_ns",
        "p99_ns",
        "scrubbing_p50_ns",
        "scrubbing_p99_ns",
        "scrubbed_p50_ns",
        "scrubbed_p99_ns",
        "clock_ns",
        "offline_ns",
        "online_ns",
    ];
    assert_eq!(all(results, "metric"), BTreeSet::from(metrics));
    let occupancies = |workload: &str| -> BTreeSet<u64> {
        let of = results.iter().filter(|result| result["workload"] == workload);
        of.map(|result| result["occupancy"].as_u64().unwrap()).collect()
    };
    assert_eq!(occupancies("fragmentation"), BTreeSet::from([25, 50, 75, 90]));
    assert_eq!(occupancies("offline"), BTreeSet::from([0, 50, 100]));
    // A domain's frames stand beside nobody's.
    let owned: Vec<Value> =
        results.iter().filter(|result| result["workload"] == "owned").cloned().collect();
    assert_eq!(all(&owned, "allocator"), BTreeSet::from(["bedframe", "bedframe-domain"]));
    assert_eq!(owned.len(), 2 * 2 * 3, "two orders of two with three figures");
    let aims = object["aims"].as_array().unwrap();
    assert!(aims.len() >= 15, "{aims:#?}");
    // All but those that are no times.
    let beside_floor =
        aims.iter().filter(|aim| aim["to_floor"].as_f64().is_some_and(|to| to > 0.0));
    assert_eq!(beside_floor.count(), aims.len() - 3, "{aims:#?}");
    assert_eq!(object["debug_build"], cfg!(debug_assertions));
}

#[test]
fn workloads_and_allocators_can_be_chosen() {
    let run = bedframe(&[
        "bench",
        "--tiny",
        "--json",
        "--workload",
        "bulk",
        "--workload",
        "churn",
        "--allocator",
        "magazine",
        "--threads",
        "1",
    ]);
    let object = object(&run);
    let results = object["results"].as_array().unwrap();
    assert_eq!(all(results, "workload"), BTreeSet::from(["bulk", "churn"]));
    assert_eq!(all(results, "allocator"), BTreeSet::from(["magazine"]));
    assert!(results.iter().all(|result| result["threads"] == 1));
    assert_eq!(object["aims"], Value::Array(Vec::new()));
}

#[test]
fn the_table_fits_the_screen_and_the_picture_is_one() {
    let scratch = Scratch::new("bench-svg");
    let file = scratch.path("times.svg");
    let run = bedframe(&["bench", "--tiny", "--threads", "1", "--svg", file.to_str().unwrap()]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'), "colours are for terminals");
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for words in [
        "order 9, 1 thread",
        "churn-64",
        "churn-listed",
        "50 % in use",
        "1 TiB, warm",
        "at most",
        "times the sketch",
        "order 0, for a domain",
        "relinquish, order 9: the longest call of 64 steps",
        "memset, a frame",
    ] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    assert_eq!(run.stdout.contains("a debug build"), cfg!(debug_assertions));
    let picture = std::fs::read_to_string(&file).unwrap();
    let document = roxmltree::Document::parse(&picture).unwrap();
    let dots = document.descendants().filter(|node| node.has_tag_name("circle")).count();
    assert!(dots > 60, "{dots}");
}

/// Exit code 2, nothing on standard output, and these words on standard error.
fn is_refused(args: &[&str], words: &[&str]) {
    let run = bedframe(args);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{args:?}: {}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{word}: {}", run.stderr);
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    is_refused(&["bench", "--tiny", "--workload", "nap"], &["nap", "repeat-half", "churn-64"]);
    is_refused(&["bench", "--tiny", "--allocator", "malloc"], &["malloc", "magazine", "model"]);
    is_refused(&["bench", "--tiny", "--threads", "0"], &["0"]);
    is_refused(&["bench", "--tiny", "--svg", "/nowhere/at/all.svg"], &["/nowhere/at/all.svg"]);
    let nothing = ["bench", "--tiny", "--workload", "handover", "--allocator", "magazine"];
    is_refused(&nothing, &["nothing to measure"]);
}
