//! What the fuzzer has found worth keeping, given to the same functions: `tests/seeds` has a
//! folder for each target.
#![cfg(all(feature = "std", feature = "tables"))]

use std::fs;
use std::path::Path;

mod entries;

#[test]
fn every_seed_is_read_without_panic() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    for (target, entry) in entries::ALL {
        let mut count = 0;
        for file in fs::read_dir(seeds.join(target)).unwrap() {
            entry(&fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{target} has no seeds");
    }
}
