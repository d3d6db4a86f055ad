//! What the targets do with their bytes. A test of the crate does the same with its seeds, from
//! which the fuzzer may start: `cargo +nightly fuzz run text fuzz/corpus/text tests/seeds/text`.

#[path = "../../tests/entries/mod.rs"]
mod entries;

pub use entries::*;
