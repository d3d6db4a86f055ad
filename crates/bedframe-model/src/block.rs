//! Blocks: `2^order` frames, naturally aligned. Splitting and pairing, without any memory behind.

use std::fmt;
use std::iter;

use bedframe::{FrameRange, Mfn, Order};

use crate::ranges::span;

/// A naturally aligned block of `2^order` frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Block {
    /// The first frame: a multiple of the block's size.
    pub start: Mfn,
    /// The size.
    pub order: Order,
}

impl Block {
    /// The block of this order that `frame` lies in.
    #[must_use]
    pub fn holding(frame: Mfn, order: Order) -> Self {
        Self { start: Mfn::new(frame.get() & !(order.frames() - 1)), order }
    }

    /// The frames.
    #[must_use]
    pub fn range(self) -> FrameRange {
        span(self.start, self.start.saturating_add(self.order.frames()))
    }

    /// The block that this one was split from; `None` for the largest order.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        Order::new(self.order.get() + 1).map(|order| Self::holding(self.start, order))
    }

    /// The other half of the parent: the only block that this one can ever merge with.
    #[must_use]
    pub fn buddy(self) -> Self {
        Self { start: Mfn::new(self.start.get() ^ self.order.frames()), order: self.order }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order-{} block at {}", self.order, self.start)
    }
}

/// `range` as the largest naturally aligned blocks, in ascending order.
///
/// No two of them are buddies, and there is only one such way to cut a range. So fully coalesced
/// memory is nothing but the free runs cut by this function, which is how
/// [`World::validate`](crate::World::validate) proves that it is.
///
/// ```
/// use bedframe::{FrameRange, Mfn};
/// let range = FrameRange::new(Mfn::new(3), Mfn::new(12)).unwrap();
/// let sizes: Vec<u64> = bedframe_model::blocks(range).map(|b| b.order.frames()).collect();
/// assert_eq!(sizes, [1, 4, 4]);
/// ```
pub fn blocks(range: FrameRange) -> impl Iterator<Item = Block> {
    let mut at = range.start();
    iter::from_fn(move || {
        let left = span(at, range.end()).frames();
        let fitting = left.checked_ilog2()?;
        // Frame 0 is aligned to everything.
        let aligned = at.get().trailing_zeros();
        let order = u8::try_from(fitting.min(aligned)).ok().and_then(Order::new);
        let block = Block { start: at, order: order.unwrap_or(Order::MAX) };
        at = block.range().end();
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_there_can_be_is_two_blocks() {
        let all: Vec<_> = blocks(FrameRange::ALL).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].buddy(), all[1]);
        assert_eq!(all[1].range().end(), Mfn::MAX);
        assert_eq!(all[0].parent(), None);
    }

    proptest! {
        #[test]
        fn blocks_tile_the_range_and_no_two_are_buddies(start in 0u64..1 << 40, frames in 0u64..1 << 36) {
            let range = span(Mfn::new(start), Mfn::new(start + frames));
            let all: Vec<_> = blocks(range).collect();
            let mut at = range.start();
            for block in &all {
                prop_assert_eq!(block.start, at);
                prop_assert_eq!(Block::holding(at, block.order), *block);
                at = block.range().end();
            }
            prop_assert_eq!(at, range.end());
            prop_assert!(all.iter().all(|b| !all.contains(&b.buddy())));
        }
    }
}
