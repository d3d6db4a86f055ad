//! Running the program, and reading what it says.
#![allow(dead_code)] // Each test file uses a part of this.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub const VARIANTS: [&str; 3] = ["unified", "limited", "separate"];

/// What the program said and how it ended.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `bedframe` with these arguments.
pub fn bedframe(args: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedframe"));
    let Output { status, stdout, stderr } = command.args(args).output().unwrap();
    Run {
        code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// The same with something to read on standard input.
pub fn bedframe_reading(args: &[&str], input: &[u8]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedframe"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Run {
        code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Enough operations to see something, and few enough for a debug build.
pub fn ops() -> &'static str {
    if cfg!(debug_assertions) { "20000" } else { "1000000" }
}

/// A map of this package's tests.
pub fn map(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/maps").join(name)
}

/// The folder of real machines.
pub fn machines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bedframe-firmware/machines")
}

/// A folder for files of this test run, removed at its end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder.
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The path of a file that may not be there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A number of an object, by names of fields.
pub fn number(object: &Value, path: &[&str]) -> u64 {
    let value = path.iter().fold(object, |value, name| &value[*name]);
    value.as_u64().unwrap_or_else(|| panic!("{path:?} in {object:#}"))
}

/// Parses the one object, and checks all that must hold in every one.
pub fn check(run: &Run) -> Value {
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stderr, "");
    let object: Value = serde_json::from_str(&run.stdout).unwrap();
    let all = number(&object, &["ram_frames"]) + number(&object, &["late_released_frames"]);
    let withheld: u64 = ["frame0", "reserved", "metadata", "bad"]
        .iter()
        .map(|kind| number(&object, &["withheld", kind]))
        .sum();
    assert_eq!(number(&object, &["free_frames"]) + withheld, all, "{object:#}");
    let nodes = object["nodes"].as_array().unwrap();
    let sum = |field| nodes.iter().map(|node| number(node, &[field])).sum::<u64>();
    assert_eq!(sum("ram_frames"), number(&object, &["ram_frames"]), "{object:#}");
    assert_eq!(sum("free_frames"), number(&object, &["free_frames"]), "{object:#}");
    let boot = number(&object, &["boot_frames"]);
    assert_eq!(number(&object, &["boot_frames_freed"]), boot, "{object:#}");
    assert!(boot > 0 || all < 64, "{object:#}");
    assert!(number(&object, &["withheld", "metadata"]) > 0, "{object:#}");
    assert!(number(&object, &["handover_ns"]) > 0 && number(&object, &["handover_cold_ns"]) > 0);
    let [early, late, faults] =
        ["early_pages", "late_pages", "faults"].map(|field| number(&object, &["vmap", field]));
    // Every page once it was unmapped, and a guard on both sides of each mapping.
    let mapped = (early, late, faults) == (64, 64, 64 + 64 + 4);
    assert!(mapped || (early == 0 && all < 65_536), "{object:#}");
    check_domain(&object, all);
    assert_eq!(number(&object, &["workload", "failures"]), 0, "{object:#}");
    assert_eq!(object["validate"], "ok");
    object
}

/// One domain's life: it got all that it may have, every wrong call was refused, and all came back.
fn check_domain(object: &Value, all: u64) {
    if object["domain"].is_null() {
        assert!(all < 65_536, "{object:#}");
        return;
    }
    let of = |field| number(object, &["domain", field]);
    assert_eq!(of("allocated_frames") + of("adopted_frames"), of("quota"), "{object:#}");
    assert_eq!(
        (of("extra_frames"), of("refused"), of("referenced_frames")),
        (16, 5, 1),
        "{object:#}"
    );
    assert_eq!(of("relinquished_frames") + 1, of("quota") + 16, "{object:#}");
    assert!(of("relinquish_calls") > 1 && of("relinquish_ns") > 0, "{object:#}");
    let nodes = object["domain"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), object["nodes"].as_array().unwrap().len().min(2), "{object:#}");
}
