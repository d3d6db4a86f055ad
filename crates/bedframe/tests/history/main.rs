//! What went wrong in real page allocators, row by row: `rows.toml` says what, and each test here shows that it
//! does not happen in Bedframe, or cannot.
//!
//! The documentation of a test begins with the id of its row. A paragraph that begins with
//! *Answer:* says how the design answers, and one that begins with *Also:* names tests elsewhere that explore
//! the same further. `cargo xtask history` makes docs/history.md of them, and `cargo xtask test` fails if a row
//! has no test, if a test that is named is not there, or if the page is stale.
#![cfg(target_os = "linux")]

#[allow(unused_imports)] // Not every file needs all of it.
#[path = "../common/mod.rs"]
mod common;

mod claims;
mod early;
mod edges;
mod frees;
mod maps;
mod nodes;
mod offline;
mod owners;
mod races;
mod scrub;
mod sizes;
mod threads;
mod tlb;
mod vmap;
mod watched;

use bedframe::{Accounting, DomainId, Request};

/// A domain.
const A: DomainId = DomainId(1);
/// Another.
const B: DomainId = DomainId(2);
const COUNTED: Accounting = Accounting::Counted;
const EXTRA: Accounting = Accounting::Extra;
const ONE: Request<'static> = Request::frames(1);
