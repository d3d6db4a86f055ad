//! What is committed in `fuzz/seeds`, given to the same functions as by the fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use bedframe_fuzz::TARGETS;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds")
}

#[test]
fn every_seed_is_replayed() {
    for (name, target) in TARGETS {
        let mut files: Vec<_> =
            fs::read_dir(seeds().join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no seeds");
        for file in files {
            // Shown if it fails.
            println!("{}", file.display());
            target(&fs::read(file).unwrap());
        }
    }
}

/// A folder that no target reads would be replayed by nobody. `scripts` is replayed by the library's
/// tests under shuttle.
#[test]
fn every_folder_of_seeds_has_its_target() {
    for folder in fs::read_dir(seeds()).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(name == "scripts" || TARGETS.iter().any(|(target, _)| *target == name), "{name}");
    }
}

/// Small enough to be committed.
#[test]
fn seeds_are_small() {
    let mut sum = 0;
    for folder in fs::read_dir(seeds()).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let bytes = file.metadata().unwrap().len();
            assert!(bytes <= 4096, "{} has {bytes} bytes", file.path().display());
            sum += bytes;
        }
    }
    assert!(sum <= 500_000, "{sum} bytes in all");
}
