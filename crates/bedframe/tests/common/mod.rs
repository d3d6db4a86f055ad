//! What the tests share: small machines that have every kind of edge, and a look at everything
//! that can be observed of them.
#![allow(dead_code)] // Each test program uses its own part.

mod machine;
mod random;
mod snapshot;
mod world;

pub use machine::{Machine, interleave};
pub use random::Random;
pub use snapshot::Snapshot;
pub use world::{Heap, World};

use bedframe::{FrameRange, Mfn, Order};

/// The frames from `start` up to and without `end`.
pub fn range(start: u64, end: u64) -> FrameRange {
    FrameRange::new(mfn(start), mfn(end)).unwrap()
}

pub fn mfn(number: u64) -> Mfn {
    Mfn::new(number)
}

pub fn order(exponent: u8) -> Order {
    Order::new(exponent).unwrap()
}

/// `range` in pieces of `sizes`, again and again.
pub fn pieces(range: FrameRange, sizes: &[u64]) -> Vec<FrameRange> {
    let mut pieces = Vec::new();
    let mut at = range.start();
    for size in sizes.iter().cycle() {
        if at >= range.end() {
            break;
        }
        let piece = FrameRange::from_len(at, *size).unwrap().intersect(range);
        at = piece.end();
        pieces.push(piece);
    }
    pieces
}

/// Writes a test three times, once for each variant of the Xen heap: `name::unified`,
/// `name::limited` and `name::separate`. For programs that have this module at their root.
#[macro_export]
macro_rules! in_all_variants {
    ($($(#[$doc:meta])* fn $name:ident($heap:ident) $body:block)*) => { $(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn check($heap: $crate::common::Heap) $body

            #[test]
            fn unified() {
                check($crate::common::Heap::Unified);
            }

            #[test]
            fn limited() {
                check($crate::common::Heap::Limited);
            }

            #[test]
            fn separate() {
                check($crate::common::Heap::Separate);
            }
        }
    )* };
}
