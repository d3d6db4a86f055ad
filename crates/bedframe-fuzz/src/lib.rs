//! What the fuzz targets do with their bytes: plain functions, which panic where something does not hold.
//!
//! A fuzzer calls them (the package in the repository's folder `fuzz`, by `cargo xtask fuzz`), and so does
//! a test of this crate, which needs no fuzzer: it replays what is committed in `fuzz/seeds`. What each
//! target checks, how long each has run and what it found is in `docs/fuzzing.md`.
//!
//! One target is not here: `scripts`, concurrent scripts under shuttle, which needs a build of its own. It
//! is in the library, in `src/interleavings/scripts.rs`.

mod books;
mod bytes;
mod calls;
mod ledger;
mod live;
mod machine;
mod model;
mod owners;
mod parsers;
mod scenario;
mod world;

pub use books::{books, handover};
pub use live::{live, stream};
pub use model::model;
pub use parsers::{bytes, fdt, hmat, limine, madt, multiboot2, pvh, root, slit, srat, text, uefi};
pub use scenario::scenario;

/// What is done with the bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 18] = [
    ("model", model),
    ("books", books),
    ("handover", handover),
    ("live", live),
    ("stream", stream),
    ("scenario", scenario),
    ("text", text),
    ("fdt", fdt),
    ("bytes", bytes),
    ("srat", srat),
    ("slit", slit),
    ("madt", madt),
    ("hmat", hmat),
    ("root", root),
    ("multiboot2", multiboot2),
    ("pvh", pvh),
    ("uefi", uefi),
    ("limine", limine),
];
