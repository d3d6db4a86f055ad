//! Orders 0 to 8: blocks inside a chunk.
//!
//! The order in which a CPU looks is the packing policy: its own chunk until that is used up; then
//! the lowest Broken chunk in which no other CPU allocates; then a chunk that is whole, each CPU
//! from its own starting point; then whatever there is.

use core::ops::Range;

use super::Heap;
use crate::addr::FrameRange;
use crate::index::{Arena, Bank, Place, PlaceKind, Span, Wanted};
use crate::platform::Platform;
use crate::request::Request;

/// Broken chunks that are looked into for a block of order 1 to 8 before a whole chunk is broken
/// for it, and the chunks, from the lowest on, among which they are looked for. A hint says that a
/// chunk has some free frame, a cap that it has no such block, and neither that it has one.
const TRIES: u32 = 512;
const REACH: u32 = 4096;

/// The same for a single frame: a hint may be left of a word that was emptied, in every chunk that was used up
/// since a search was there. What it takes to look into them, and to take the hints back, is what this bounds.
const STALE: u32 = 64;

impl<P: Platform> Heap<'_, P> {
    /// Takes a block out of the chunk in which this CPU allocates, `place`, wherever it has one.
    pub(super) fn take_from_place(
        &self,
        kind: PlaceKind,
        place: Place,
        bank: &Bank,
        order: u32,
    ) -> Option<FrameRange> {
        let arena = self.directory.arena(bank.arena)?;
        let bit = arena.take_block(&self.cpu, place.chunk(), order, place.word())?;
        if bit / 64 != place.word() {
            self.cpu.slot.note_word(kind, place, bit / 64);
        }
        self.directory.block(bank, place.chunk(), bit, order)
    }

    /// Whether a limited request may be served from `bank`, where such a request was served last.
    pub(super) fn allows(&self, request: &Request<'_>, bank: &Bank) -> bool {
        bank.serves(request.heap())
            && request.within().covers(bank.frames())
            && self.allows_node(request, bank)
    }

    /// Whether the node of `bank` is one that the request would look at first. A CPU that has
    /// adopted a chunk far away, since nothing near was left, goes on there until it is used up.
    fn allows_node(&self, request: &Request<'_>, bank: &Bank) -> bool {
        use crate::request::Nodes;
        let is = |node: crate::node::NodeId| {
            self.directory.nodes().get(bank.node as usize).is_some_and(|n| n.id == node.0)
        };
        match request.allowed_nodes() {
            Nodes::Any => true,
            Nodes::Prefer(node) | Nodes::Exact(node) => is(node),
            Nodes::OneOf(nodes) => nodes.first().is_some_and(|node| is(*node)),
        }
    }

    /// Looks for a block of `2^order` frames in one bank.
    pub(super) fn search_small(
        &self,
        id: u32,
        bank: &Bank,
        kind: PlaceKind,
        order: u32,
    ) -> Option<FrameRange> {
        let arena = self.directory.arena(bank.arena)?;
        let (end, tries) = match order {
            0 => (bank.end_chunk, STALE),
            _ => (bank.end_chunk.min(bank.first_chunk.saturating_add(REACH)), TRIES),
        };
        let (chunk, bit) = self
            .take_broken(&arena, bank.first_chunk..end, order, tries, false)
            .or_else(|| self.take_whole_part(&arena, bank, order))
            .or_else(|| {
                self.take_broken(&arena, bank.first_chunk..bank.end_chunk, order, u32::MAX, true)
            })?;
        self.settle(&arena, kind, Place::new(id, chunk, bit / 64));
        self.directory.block(bank, chunk, bit, order)
    }

    /// A block from the lowest of the Broken `chunks` that has one. `all` of them are looked into, or
    /// else those that no other CPU allocates in and that may have such a block.
    fn take_broken(
        &self,
        arena: &Arena<'_>,
        chunks: Range<u32>,
        order: u32,
        tries: u32,
        all: bool,
    ) -> Option<(u32, u32)> {
        let wanted = if all || order == 0 { Wanted::Some } else { Wanted::Block(order) };
        let mut from = u64::from(chunks.start);
        let mut tries = tries;
        while let Some(found) = arena.find(&self.cpu, wanted, from, u64::from(chunks.end)) {
            from = found + 1;
            let number = found as u32;
            let entry = arena.chunk(number)?.settled(self.cpu.platform);
            if entry.is_adopted() && !all {
                continue;
            }
            if let Some(bit) = arena.take_block(&self.cpu, number, order, 0) {
                return Some((number, bit));
            }
            tries -= 1;
            if tries == 0 {
                return None;
            }
        }
        None
    }

    /// A block out of a chunk that was whole.
    fn take_whole_part(&self, arena: &Arena<'_>, bank: &Bank, order: u32) -> Option<(u32, u32)> {
        for (from, end) in self.own_way(bank) {
            let mut from = from;
            while let Some(found) = arena.find(&self.cpu, Wanted::Whole, from, end) {
                from = found + 1;
                let number = found as u32;
                if arena.break_whole(&self.cpu, number, Span::new(0, 1 << order), true) {
                    return Some((number, 0));
                }
                // Broken by another CPU a moment ago: the next, before two share one.
            }
        }
        None
    }

    /// The chunks of a bank in the order in which this CPU looks for one that is whole: from its own
    /// starting point on, and around.
    pub(crate) fn own_way(&self, bank: &Bank) -> [(u64, u64); 2] {
        let chunks = u64::from(bank.end_chunk - bank.first_chunk);
        // The golden ratio spreads any number of CPUs evenly; CPU 0 begins at the beginning.
        let spread = u64::from(self.cpu.number.wrapping_mul(0x9e37_79b9));
        self.around(bank, bank.first_chunk + ((spread * chunks) >> 32) as u32)
    }

    /// The chunks of a bank from `start` on, and then those before it.
    pub(super) fn around(&self, bank: &Bank, start: u32) -> [(u64, u64); 2] {
        let (first, end) = (u64::from(bank.first_chunk), u64::from(bank.end_chunk));
        let start = u64::from(start).max(first).min(end);
        [(start, end), (first, start)]
    }

    /// Makes `place` the one in which this CPU allocates, and leaves the one before.
    fn settle(&self, arena: &Arena<'_>, kind: PlaceKind, place: Place) {
        // Until a full chunk that is left is merged, neither a place nor a hint tells of it.
        let _window = self.cpu.window();
        arena.adopt(&self.cpu, place.chunk());
        let Some(left) = self.cpu.slot.move_to(kind, place) else { return };
        if self.leave(left) {
            return;
        }
        // Of a newer directory than ours, and so not ours to leave: stay there instead.
        if let Some(ours) = self.cpu.slot.move_to(kind, left) {
            self.leave(ours);
        }
    }

    /// Ends the adoption of a chunk that was a CPU's place; false if this directory does not know
    /// it.
    fn leave(&self, left: Place) -> bool {
        let bank = self.directory.banks().get(left.bank as usize);
        let Some(arena) = bank.and_then(|bank| self.directory.arena(bank.arena)) else {
            return false;
        };
        arena.leave(&self.cpu, left.chunk());
        true
    }
}
