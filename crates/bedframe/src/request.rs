//! What a caller asks for.

use core::fmt;

use crate::addr::{FRAME_SHIFT, FrameRange, Mfn};
use crate::node::NodeId;
use crate::order::Order;
use crate::zone::Zone;

/// Which of the two heaps a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Pool {
    /// The Xen heap: memory that is always mapped, for the hypervisor's own data.
    Xen,
    /// The domain heap: memory that need not be mapped, for guests. In both unified variants it
    /// reaches all memory, and prefers what the Xen heap cannot use. During boot, when there are no
    /// heaps yet, any memory serves it.
    #[default]
    Domain,
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pool::Xen => "Xen heap",
            Pool::Domain => "domain heap",
        })
    }
}

/// On which nodes the frames may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Nodes<'a> {
    /// Anywhere. The heap takes what is nearest to the calling CPU's node; the boot allocator what
    /// lies first in the request's [`Direction`].
    #[default]
    Any,
    /// Anywhere, nearest to this node first.
    Prefer(NodeId),
    /// On this node or not at all.
    Exact(NodeId),
    /// On one of these nodes, in this order.
    OneOf(&'a [NodeId]),
}

/// From which end of memory the boot allocator takes a range.
///
/// The heap packs by its own rules and does not look at this: there, the highest zone comes first
/// and within it the chunk that is fullest by position.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Direction {
    /// The highest range that fits: keeps low memory free.
    #[default]
    TopDown,
    /// The lowest range that fits.
    BottomUp,
}

/// A request for frames: a builder that starts from a size and is narrowed from there.
///
/// The same request means the same thing before, during and after hand-over. A block that the
/// heap hands out lies in one segment: it never straddles a zone, a node, a pool or a hole.
///
/// ```
/// use bedframe::{Mfn, NodeId, Order, Pool, Request};
/// // 2 MiB for a device with 32 address bits, near node 1.
/// let dma = Request::order(Order::new(9).unwrap()).width(32).prefer(NodeId(1));
/// assert_eq!(dma.within().end(), Mfn::from_address(1 << 32));
/// // Three frames, at an even frame number, from the Xen heap.
/// let odd = Request::frames(3).align(2).pool(Pool::Xen);
/// assert_eq!((odd.length(), odd.alignment()), (3, 2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Request<'a> {
    length: u64,
    alignment: u64,
    nodes: Nodes<'a>,
    within: FrameRange,
    pool: Pool,
    direction: Direction,
    spares_reserve: bool,
    clean: bool,
}

impl<'a> Request<'a> {
    /// A naturally aligned block of `2^order` frames.
    pub const fn order(order: Order) -> Self {
        Self::frames(order.frames()).align(order.frames())
    }

    /// `length` contiguous frames at any frame number. No frames at all is refused when the
    /// request is made.
    pub const fn frames(length: u64) -> Self {
        Self {
            length,
            alignment: 1,
            nodes: Nodes::Any,
            within: FrameRange::ALL,
            pool: Pool::Domain,
            direction: Direction::TopDown,
            spares_reserve: false,
            clean: false,
        }
    }

    /// Exactly the frames of `range`, or none.
    pub const fn exactly(range: FrameRange) -> Self {
        Self::frames(range.frames()).inside(range)
    }

    /// The first frame's number must be a multiple of `frames`, a power of two; anything else is
    /// refused when the request is made.
    pub const fn align(mut self, frames: u64) -> Self {
        self.alignment = frames;
        self
    }

    /// Which nodes the frames may lie on.
    pub const fn nodes(mut self, nodes: Nodes<'a>) -> Self {
        self.nodes = nodes;
        self
    }

    /// Anywhere, nearest to `node` first.
    pub const fn prefer(self, node: NodeId) -> Self {
        self.nodes(Nodes::Prefer(node))
    }

    /// On `node` or not at all.
    pub const fn on(self, node: NodeId) -> Self {
        self.nodes(Nodes::Exact(node))
    }

    /// Every byte must be reachable with `bits` address bits. 64 and more mean no limit; fewer
    /// than 12 reach no whole frame, and the request is refused when it is made.
    pub const fn width(self, bits: u32) -> Self {
        if bits >= u64::BITS {
            self
        } else if bits < FRAME_SHIFT {
            self.below(Mfn::ZERO)
        } else {
            self.below(Mfn::new(1 << (bits - FRAME_SHIFT)))
        }
    }

    /// Every frame must lie below `limit`.
    pub const fn below(self, limit: Mfn) -> Self {
        match FrameRange::new(Mfn::ZERO, limit) {
            Some(range) => self.inside(range),
            None => self,
        }
    }

    /// Every frame must lie in the zones from `lowest` to `highest`, both included; if `highest`
    /// lies below `lowest` nothing can meet the request.
    pub const fn zones(self, lowest: Zone, highest: Zone) -> Self {
        match FrameRange::new(lowest.frames().start(), highest.frames().end()) {
            Some(range) => self.inside(range),
            None => self.inside(FrameRange::EMPTY),
        }
    }

    /// Every frame must lie in `range`. Limits add up: each call narrows what those before left.
    pub const fn inside(mut self, range: FrameRange) -> Self {
        self.within = self.within.intersect(range);
        self
    }

    /// Which heap the frames come from.
    pub const fn pool(mut self, pool: Pool) -> Self {
        self.pool = pool;
        self
    }

    /// From which end the boot allocator takes them.
    pub const fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// No frame may lie in the [reserve](crate::Memory::set_dma_reserve) of low memory. Where there is
    /// none any frame will do.
    pub const fn spare_reserve(mut self) -> Self {
        self.spares_reserve = true;
        self
    }

    /// Zeros in every byte: what is not known to be [scrubbed](crate::Memory::scrub) is scrubbed by the
    /// call itself, frame by frame, and then the platform is asked to
    /// [flush](crate::Platform::flush_cache) the whole from caches. Without this, frames hold whatever
    /// they held.
    pub const fn clean(mut self) -> Self {
        self.clean = true;
        self
    }

    /// Whether every byte is to be zero.
    #[inline]
    #[must_use]
    pub const fn wants_clean(&self) -> bool {
        self.clean
    }

    /// How many frames are asked for.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Of what the first frame's number must be a multiple.
    #[must_use]
    pub const fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Where all frames must lie.
    #[must_use]
    pub const fn within(&self) -> FrameRange {
        self.within
    }

    /// Which nodes may serve the request.
    #[must_use]
    pub const fn allowed_nodes(&self) -> Nodes<'a> {
        self.nodes
    }

    /// Which heap is asked.
    #[must_use]
    pub const fn heap(&self) -> Pool {
        self.pool
    }

    /// From which end the boot allocator searches.
    #[must_use]
    pub const fn search_direction(&self) -> Direction {
        self.direction
    }

    /// Whether the reserve of low memory is to be spared.
    #[must_use]
    pub const fn spares_reserve(&self) -> bool {
        self.spares_reserve
    }

    /// The exponent of the aligned block that is asked for; `None` for any other run.
    #[inline]
    pub(crate) const fn block_order(&self) -> Option<u32> {
        if self.length == self.alignment && self.length.is_power_of_two() {
            Some(self.length.trailing_zeros())
        } else {
            None
        }
    }

    /// Whether the request names neither nodes nor limits.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.nodes, Nodes::Any) && self.within == FrameRange::ALL && !self.spares_reserve
    }

    /// The lowest place in `run` for what is asked for, if it fits.
    pub(crate) fn place_in(&self, run: FrameRange) -> Option<FrameRange> {
        let mask = self.alignment.wrapping_sub(1);
        let start = run.start().get().checked_add(mask)? & !mask;
        let block = FrameRange::from_len(Mfn::new(start), self.length)?;
        if run.covers(block) && !block.is_empty() { Some(block) } else { None }
    }
}
