//! A named test for every point of the seed's message; docs/seed.md says which is for which.
//!
//! The seed is a thread from the Xen mailing list: two allocators in one boot, frames from the
//! first freed into the second, and the corner cases in which that goes wrong. Where the variants
//! of the Xen heap can make a difference a test exists three times, once for each.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod allocation;
mod boot_ranges;
mod content;
mod edges;
mod handover;
mod hot_add;
mod interleaved;
mod large;
mod ledger;
mod misuse;
mod owned;
mod packing;
mod refusals;
mod release;
mod review;
mod runs;
mod threads;
mod types;
mod values;
mod words;
mod xen_heap;
