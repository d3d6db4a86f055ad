//! The heap: lists of free blocks for each node, pool, zone and order, that split and merge.
//!
//! # Background
//!
//! ```text
//! heap[node 0, both pools, zone 20] ── order 0 ── {}
//!                                  ├─ order 1 ── { 0x80006 }
//!                                  ├─ order 2 ── {}
//!                                  └─ order 3 ── { 0x80008, 0x80020 }
//! ```
//!
//! *Taking* four frames from here means: take a block of order 3 from its list, hand out one half
//! of it and list the other. *Giving* a block means: as long as its buddy is listed as well, take
//! the buddy from its list and give the two as one. Frame 0x80004, given when 0x80005 is free, becomes
//! order 1, then with 0x80006 order 2, and so on.
//!
//! # The rule
//!
//! Before the buddy is looked for, ask whether it lies in the same segment. A buddy in the next
//! zone, on the next node, or in the other pool is free memory too, and listed; nothing else here
//! would stop the two from becoming one block that belongs nowhere. A buddy in a hole is
//! listed nowhere, but a check that asks about holes never has to rely on that.

use std::collections::{BTreeMap, BTreeSet};

use bedframe::{FrameRange, Mfn, NodeId, Order, Pool, Zone};

use crate::block::{Block, blocks};
use crate::mutant::Mutant;
use crate::ranges::span;
use crate::segment::{PoolSet, Ram, Segment};

/// Which lists a block belongs to. Sorted so that a node's zones lie together, lowest first.
type Shelf = (NodeId, PoolSet, Zone);

/// The lists of one shelf: for each order the first frames of its free blocks.
type Lists = Vec<BTreeSet<Mfn>>;

const ORDERS: usize = Order::MAX.get() as usize + 1;

/// The lists of free blocks of a running heap.
///
/// A shelf stays once it was used, even when all its lists are empty, and is made for RAM and not
/// for free memory: so a heap that gets back what it gave is equal to what it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Buddy {
    shelves: BTreeMap<Shelf, Lists>,
    mutant: Option<Mutant>,
}

impl Buddy {
    pub(crate) fn new(mutant: Option<Mutant>) -> Self {
        Self { shelves: BTreeMap::new(), mutant }
    }

    /// Makes the shelves that the RAM in `range` needs.
    pub(crate) fn know(&mut self, ram: &Ram, range: FrameRange) {
        for segment in ram.segments_in(range) {
            self.lists(shelf_of(&segment));
        }
    }

    /// Lists all of `range`, RAM that is not listed yet: cut at segment edges, each piece cut into
    /// blocks, each block merged as far as it goes.
    pub(crate) fn give(&mut self, ram: &Ram, range: FrameRange) {
        for segment in ram.segments_in(range) {
            for block in blocks(segment.range.intersect(range)) {
                self.merge(ram, block);
            }
        }
    }

    /// Lists `block`, together with its buddy if that is listed, and so on upwards.
    fn merge(&mut self, ram: &Ram, mut block: Block) {
        let mergeable = self.mergeable(ram, block);
        while let Some(parent) = block.parent() {
            // The check comes first: the same hole-less RAM, node, zone and pool, or no merging.
            if !mergeable.covers(block.buddy().range()) || !self.unlist(ram, block.buddy()) {
                break;
            }
            block = parent;
        }
        self.list(ram, block);
    }

    /// The frames that `block` may merge with: those of its segment.
    fn mergeable(&self, ram: &Ram, block: Block) -> FrameRange {
        match self.mutant {
            None => ram.segment_at(block.start).map_or(FrameRange::EMPTY, |s| s.range),
            Some(mutant) => mutant.mergeable(ram, block),
        }
    }

    /// Takes exactly `range`, all of which is listed, whatever blocks it lies in.
    pub(crate) fn take(&mut self, ram: &Ram, range: FrameRange) {
        let mut rest = range;
        while !rest.is_empty() {
            let block = self
                .holding(ram, rest.start())
                .unwrap_or_else(|| panic!("free frame {} is in no list", rest.start()));
            self.carve(ram, block, rest.intersect(block.range()));
            rest = span(block.range().end(), range.end());
        }
    }

    /// Takes `wanted` out of the listed `block` and lists what is left of it. The pieces need no
    /// merging: what they could merge with has just been taken.
    fn carve(&mut self, ram: &Ram, block: Block, wanted: FrameRange) {
        self.unlist(ram, block);
        let before = span(block.start, wanted.start());
        let behind = span(wanted.end(), block.range().end());
        for left in blocks(before).chain(blocks(behind)) {
            self.list(ram, left);
        }
    }

    /// Takes one block of `order` inside `within` from `node`, for `pool`: from the highest zone
    /// that has one, so that low memory is kept for those who need it, and there from the smallest
    /// block that is large enough, so that large ones are kept too. O(zones × orders).
    pub(crate) fn take_order(
        &mut self,
        ram: &Ram,
        node: NodeId,
        pool: Pool,
        order: Order,
        within: FrameRange,
    ) -> Option<Block> {
        let (block, wanted) = self.find_order(node, pool, order, within)?;
        self.carve(ram, block, wanted.range());
        Some(wanted)
    }

    fn find_order(
        &self,
        node: NodeId,
        pool: Pool,
        order: Order,
        within: FrameRange,
    ) -> Option<(Block, Block)> {
        // The domain heap prefers what the Xen heap cannot use.
        let sets = [PoolSet::Xen, PoolSet::Domain, PoolSet::Both];
        for pools in sets.into_iter().filter(|pools| pools.serves(pool)) {
            let zones = (node, pools, Zone::MIN)..=(node, pools, Zone::MAX);
            for (&(_, _, zone), lists) in self.shelves.range(zones).rev() {
                if !zone.frames().overlaps(within) {
                    continue;
                }
                for (exponent, list) in lists.iter().enumerate().skip(order.get().into()) {
                    let Some(larger) = u8::try_from(exponent).ok().and_then(Order::new) else {
                        break;
                    };
                    // Only a block that reaches over an end of `within` can disappoint, so this
                    // looks at three blocks at the most.
                    let first = Block::holding(within.start(), larger).start;
                    for &start in list.range(first..within.end().max(first)) {
                        let block = Block { start, order: larger };
                        let inside = block.range().intersect(within);
                        let lowest = inside.start().get().next_multiple_of(order.frames());
                        let wanted = Block { start: Mfn::new(lowest), order };
                        if inside.covers(wanted.range()) {
                            return Some((block, wanted));
                        }
                    }
                }
            }
        }
        None
    }

    /// The listed block that `frame` lies in: of each order there is one candidate.
    fn holding(&self, ram: &Ram, frame: Mfn) -> Option<Block> {
        (0..=Order::MAX.get())
            .filter_map(Order::new)
            .map(|order| Block::holding(frame, order))
            .find(|&block| self.is_listed(ram, block))
    }

    /// Whether exactly this block is listed.
    pub(crate) fn is_listed(&self, ram: &Ram, block: Block) -> bool {
        ram.segment_at(block.start)
            .and_then(|segment| self.shelves.get(&shelf_of(&segment)))
            .is_some_and(|lists| lists[usize::from(block.order.get())].contains(&block.start))
    }

    fn list(&mut self, ram: &Ram, block: Block) {
        if let Some(segment) = ram.segment_at(block.start) {
            self.lists(shelf_of(&segment))[usize::from(block.order.get())].insert(block.start);
        }
    }

    /// Takes `block` from its list; `false` if it is not listed.
    fn unlist(&mut self, ram: &Ram, block: Block) -> bool {
        ram.segment_at(block.start)
            .and_then(|segment| self.shelves.get_mut(&shelf_of(&segment)))
            .is_some_and(|lists| lists[usize::from(block.order.get())].remove(&block.start))
    }

    fn lists(&mut self, shelf: Shelf) -> &mut Lists {
        self.shelves.entry(shelf).or_insert_with(|| vec![BTreeSet::new(); ORDERS])
    }

    /// Every listed block, with the node, pools and zone it is listed under.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (NodeId, PoolSet, Zone, Block)> + '_ {
        self.shelves.iter().flat_map(|(&(node, pools, zone), lists)| {
            (0..=Order::MAX.get()).filter_map(Order::new).flat_map(move |order| {
                let list = &lists[usize::from(order.get())];
                list.iter().map(move |&start| (node, pools, zone, Block { start, order }))
            })
        })
    }
}

fn shelf_of(segment: &Segment) -> Shelf {
    (segment.node, segment.pools, segment.zone)
}
