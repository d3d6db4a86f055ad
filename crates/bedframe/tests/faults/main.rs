//! What a kernel may live through, injected: refusals, CPUs that vanish, frames that break, hooks that misbehave. Afterwards
//! `validate`, and the [shadow ledger](books::Books) in full: no frame is lost, and none is anybody's twice.
//! docs/faults.md lists what is injected, and what is promised for each.
//!
//! | file | what fails |
//! |---|---|
//! | `broken.rs` | a frame: while it is scrubbed, in use, freed, a domain's, beside the index |
//! | `claimed.rs` | a frame, while frames are claimed |
//! | `hooks.rs` | what the platform says of itself, and hooks that call back |
//! | `refusals.rs` | memory for the library's own use, and the ledger, at the n-th request |
//! | `scripts.rs` | all of these at random |
//! | `stopped.rs` | a CPU, in the middle of a call, at every moment |
//! | `vanish.rs` | a CPU, between two calls |
#![cfg(target_os = "linux")]

#[allow(unused_imports)] // Not every program needs all of it.
#[path = "../common/mod.rs"]
mod common;

mod books;
mod broken;
mod claimed;
mod hooks;
mod machine;
mod refusals;
mod scripts;
mod stopped;
mod vanish;

use bedframe::{Accounting, DomainId, Order, Request};

const ONE: Request<'static> = Request::frames(1);
const COUNTED: Accounting = Accounting::Counted;
const A: DomainId = DomainId(1);
const B: DomainId = DomainId(2);

fn request(order: u8) -> Request<'static> {
    Request::order(Order::new(order).unwrap())
}
