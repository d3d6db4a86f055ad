//! Every machine there is, in every variant; and what is no machine.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bedframe_firmware::{MapError, read_file};
use common::{Scratch, VARIANTS, bedframe, check, machines, number};

/// Runs `f` on every item, on two threads.
fn each<T: Sync>(items: &[T], f: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    f(item);
                }
            });
        }
    });
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(machines()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Exit code 2, nothing on standard output, and a message that names the file.
fn is_refused(path: &Path) -> String {
    let run = bedframe(&["boot", path.to_str().unwrap(), "--json"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{path:?}: {}", run.stderr);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(run.stderr.starts_with("bedframe: ") && run.stderr.contains(name), "{}", run.stderr);
    run.stderr
}

#[test]
fn every_machine_boots_in_every_variant_or_is_refused_by_name() {
    let booted = AtomicUsize::new(0);
    each(&files(), |path| match read_file(path) {
        Ok(machine) => {
            for variant in VARIANTS {
                let file = path.to_str().unwrap();
                let args = ["boot", file, "--json", "--xenheap", variant, "--ops", "5000"];
                let object = check(&bedframe(&args));
                assert_eq!(number(&object, &["ram_frames"]), machine.ram_frames());
                assert_eq!(number(&object, &["late_released_frames"]), machine.late_frames());
                let kept = machine.reserved.iter().filter(|r| !r.kind.is_releasable());
                let kept: u64 = kept.map(|r| r.range.frames()).sum();
                let reserved = number(&object, &["withheld", "reserved"]);
                assert!(reserved + 1 >= kept, "{object:#}");
            }
            booted.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => {
            let said = is_refused(path);
            assert!(said.contains(error.expected()), "{said}");
            if matches!(error, MapError::NoCompiler { .. }) {
                eprintln!("not booted, since dtc is not installed: {path:?}");
            }
        }
    });
    assert!(booted.into_inner() >= 40);
}

/// A machine of few frames boots or says that it is too small; it is never a contradiction.
#[test]
fn tiny_machines_boot_or_are_refused() {
    let scratch = Scratch::new("tiny");
    let sizes: Vec<u64> = (1..24).chain([31, 48, 64, 100, 127, 256, 511, 513, 1000]).collect();
    let booted = AtomicUsize::new(0);
    each(&sizes, |&frames| {
        for first in [0, 1, 509] {
            let (start, last) = (first * 4096, (first + frames) * 4096 - 1);
            let log = format!("BIOS-e820: [mem {start:#x}-{last:#x}] usable\n");
            let path = scratch.file(&format!("{frames}-at-{first}.log"), log);
            for variant in VARIANTS {
                let file = path.to_str().unwrap();
                let args = ["boot", file, "--json", "--xenheap", variant, "--ops", "2000"];
                let run = bedframe(&args);
                if run.code == Some(2) {
                    assert!(run.stdout.is_empty() && run.stderr.contains("too small"));
                    assert!(frames < 16, "{frames} frames at {first}: {}", run.stderr);
                } else {
                    check(&run);
                    booted.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    assert!(booted.into_inner() > 250);
}
