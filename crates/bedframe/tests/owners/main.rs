//! Who has which frames: domains, their quotas, their lists, and where their frames lie.
//!
//! Tests named after a commit of Xen's history check that its defect is not here.
#![cfg(target_os = "linux")]

#[allow(unused_imports)] // This program has a world of its own.
#[path = "../common/mod.rs"]
mod common;

mod assign;
mod back;
mod claims;
mod contents;
mod domains;
mod history;
mod lists;
mod placement;
mod refusals;
mod relinquish;
mod scripts;
mod threads;
mod world;
