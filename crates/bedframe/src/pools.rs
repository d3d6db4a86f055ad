//! The three variants of the Xen heap, and which memory is mapped under each.

use crate::addr::{FrameRange, Mfn};

/// How the Xen heap and the domain heap share memory. Said once, before the first RAM is added;
/// it also declares which RAM is mapped, and so where Bedframe may keep its own data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum XenHeap {
    /// One heap; all RAM is mapped when it is added and serves both.
    #[default]
    Unified,
    /// One heap, but only RAM below `limit` is mapped. It serves both; RAM from `limit` on serves
    /// the domain heap alone, which therefore looks there first and leaves mapped memory to those
    /// who need it.
    Limited {
        /// The first frame that is not mapped.
        limit: Mfn,
    },
    /// Two heaps: the RAM in `range` is mapped and serves the Xen heap alone, all other RAM serves
    /// the domain heap alone.
    Separate {
        /// The Xen heap's frames.
        range: FrameRange,
    },
}

impl XenHeap {
    /// The frames that are mapped where they are RAM.
    #[must_use]
    pub const fn mapped(self) -> FrameRange {
        match self {
            XenHeap::Unified => FrameRange::ALL,
            XenHeap::Limited { limit } => match FrameRange::new(Mfn::ZERO, limit) {
                Some(range) => range,
                None => FrameRange::EMPTY,
            },
            XenHeap::Separate { range } => range,
        }
    }
}
