//! Writing the directory's tables.

use super::{Build, chunks};
use crate::index::layout::{ArenaDesc, Bank, Node, Segment};
use crate::index::segments::Found;
use crate::index::summary::GROUP;
use crate::node::NodeId;
use crate::platform::Platform;

impl<P: Platform> Build<'_, P> {
    /// All segments, by address. Banks and chunks come later. From the old header everything is `shift` bytes
    /// nearer than from the new one.
    pub(super) fn write_segments(&self, segments: &mut [Segment], shift: u64) {
        const NOWHERE: u32 = u32::MAX;
        let mut old = self.old_segments().iter().peekable();
        let mut found = self.found().peekable();
        for segment in segments {
            let fresh_first = match (old.peek(), found.peek()) {
                (Some(old), Some(found)) => found.frames.start().get() < old.start,
                (None, Some(_)) => true,
                _ => false,
            };
            if fresh_first {
                if let Some(found) = found.next() {
                    *segment = Segment {
                        start: found.frames.start().get(),
                        end: found.frames.end().get(),
                        entries: 0,
                        free: 0,
                        marks: 0,
                        bank: NOWHERE,
                        first_chunk: NOWHERE,
                    };
                }
            } else if let Some(old) = old.next() {
                let moved = |distance: u64| distance.wrapping_add(shift);
                *segment = Segment {
                    free: moved(old.free),
                    entries: moved(old.entries),
                    marks: moved(old.marks),
                    ..*old
                };
            }
        }
    }

    /// All nodes, by number.
    pub(super) fn write_nodes(&self, nodes: &mut [Node]) {
        let old_above = |last: Option<u32>| {
            let ids = self.old_nodes().iter().map(|node| node.id);
            ids.filter(|id| last.is_none_or(|l| *id > l)).min()
        };
        let mut last = None;
        for node in nodes {
            let next = match (old_above(last), self.next_node(last)) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            *node = Node { id: next.unwrap_or(u32::MAX), first_bank: 0, banks: 0 };
            last = next;
        }
    }

    /// The banks: the old ones, renumbered nowhere, then those of the fresh segments. Numbers the
    /// fresh chunks, bank by bank, and lists each bank's segments. Returns how many banks there
    /// are.
    pub(super) fn write_banks(
        &self,
        segments: &mut [Segment],
        nodes: &[Node],
        banks: &mut [Bank],
        by_chunk: &mut [u32],
        arenas: &[ArenaDesc],
        shift: u64,
    ) -> usize {
        let mut count = 0;
        for (bank, old) in banks.iter_mut().zip(self.old_banks()) {
            *bank = *old;
            bank.free = old.free.wrapping_add(shift);
            bank.entries = old.entries.wrapping_add(shift);
            bank.some = old.some.wrapping_add(shift);
            bank.whole = old.whole.wrapping_add(shift);
            bank.node = self.node_of_old_bank(old, nodes);
            count += 1;
        }
        let mut arena = self.old_arenas().len() as u32;
        let mut node = self.next_node(None);
        while let Some(id) = node {
            let index = nodes.iter().position(|node| node.id == id).unwrap_or(0) as u32;
            let mut next_chunk = 0;
            for found in self.found().filter(|found| found.node.0 == id) {
                let (zone, pools) = (u32::from(found.zone.get()), found.pools.0);
                let words = arenas.get(arena as usize);
                let same =
                    |bank: &Bank| bank.arena == arena && bank.zone == zone && bank.pools == pools;
                if banks.iter().take(count).any(same) {
                    continue;
                }
                let mut bank = Bank {
                    start: found.frames.start().get(),
                    end: found.frames.end().get(),
                    arena,
                    node: index,
                    zone,
                    pools,
                    first_chunk: next_chunk,
                    end_chunk: next_chunk,
                    first_segment: 0,
                    segments: 0,
                    free: words.map_or(0, |words| words.distance_of(words.free)),
                    entries: words.map_or(0, |words| words.distance_of(words.entries)),
                    base: 0,
                    some: words.map_or(0, |words| words.distance_of(words.some)),
                    whole: words.map_or(0, |words| words.distance_of(words.whole)),
                    summary_words: words.map_or(0, |words| words.some.len) as u32,
                    groups: words.map_or(0, |words| words.chunks().div_ceil(GROUP)) as u32,
                };
                let mine = |other: &Found| {
                    other.node == found.node
                        && other.zone == found.zone
                        && other.pools == found.pools
                };
                for frames in self.found().filter(mine).map(|found| found.frames) {
                    let start = frames.start().get();
                    let at = segments.partition_point(|segment| segment.start < start);
                    if let Some(segment) = segments.get_mut(at) {
                        segment.bank = count as u32;
                        segment.first_chunk = next_chunk;
                        if let Some(words) = words {
                            let of = |table, bytes: u64| {
                                words.distance_of(table).wrapping_add(u64::from(next_chunk) * bytes)
                            };
                            segment.free = of(words.free, 64);
                            segment.entries = of(words.entries, 4);
                            segment.marks = of(words.marks, 128);
                        }
                        if bank.segments == 0 {
                            bank.base = segment.base().wrapping_sub(u64::from(next_chunk) << 9);
                        }
                    }
                    next_chunk += chunks(frames) as u32;
                    bank.end = frames.end().get();
                    bank.segments += 1;
                }
                bank.end_chunk = next_chunk;
                if let Some(to) = banks.get_mut(count) {
                    *to = bank;
                    count += 1;
                }
            }
            arena += 1;
            node = self.next_node(Some(id));
        }
        let mut listed = 0;
        for (number, bank) in banks.iter_mut().take(count).enumerate() {
            bank.first_segment = listed as u32;
            let mine = segments.iter().enumerate().filter(|(_, s)| s.bank == number as u32);
            for (index, _) in mine {
                if let Some(to) = by_chunk.get_mut(listed) {
                    *to = index as u32;
                }
                listed += 1;
            }
        }
        count
    }

    /// Where an old bank's node is now: a new node may have come before it.
    pub(super) fn node_of_old_bank(&self, bank: &Bank, nodes: &[Node]) -> u32 {
        let id = self.old_nodes().get(bank.node as usize).map(|node| node.id);
        nodes.iter().position(|node| Some(node.id) == id).unwrap_or(0) as u32
    }

    /// For each node all nodes, by distance and then by number.
    pub(super) fn order_nodes(&self, nodes: &[Node], fallback: &mut [u32]) {
        if nodes.is_empty() {
            return;
        }
        for (from, row) in nodes.iter().zip(fallback.chunks_exact_mut(nodes.len())) {
            let distance = |index: u32| {
                let to = nodes.get(index as usize).map_or(0, |node| node.id);
                self.platform.distance(NodeId(from.id), NodeId(to))
            };
            for index in 0..nodes.len() {
                // Insertion: nodes are few, and come nearly in order.
                let mut place = index;
                let own = distance(index as u32);
                while place > 0 {
                    let Some(before) = row.get(place - 1).copied() else { break };
                    if distance(before) <= own {
                        break;
                    }
                    if let Some(to) = row.get_mut(place) {
                        *to = before;
                    }
                    place -= 1;
                }
                if let Some(to) = row.get_mut(place) {
                    *to = index as u32;
                }
            }
        }
    }
}

/// Each node's banks, from the highest to the lowest, and so from the highest zone to the lowest: low
/// memory is kept for those who need it, and so is mapped memory, which ends below what is not.
pub(super) fn order_banks(banks: &[Bank], nodes: &mut [Node], order: &mut [u32]) {
    let key = |bank: &Bank| bank.start;
    let mut listed = 0;
    for (number, node) in nodes.iter_mut().enumerate() {
        node.first_bank = listed as u32;
        node.banks = 0;
        for (index, bank) in banks.iter().enumerate() {
            if bank.node != number as u32 {
                continue;
            }
            let mut place = listed;
            while place > node.first_bank as usize {
                let Some(before) = order.get(place - 1).copied() else { break };
                let before_key = banks.get(before as usize).map_or(0, key);
                if before_key >= key(bank) {
                    break;
                }
                if let Some(to) = order.get_mut(place) {
                    *to = before;
                }
                place -= 1;
            }
            if let Some(to) = order.get_mut(place) {
                *to = index as u32;
            }
            listed += 1;
            node.banks += 1;
        }
    }
}

/// For each window, where the first segment lies that ends behind its start, or if there is none, the last;
/// the table of segments begins at `offset`.
pub(super) fn write_windows(segments: &[Segment], offset: u64, shift: u32, windows: &mut [u32]) {
    let last = segments.len().saturating_sub(1);
    let mut index = 0;
    for (number, window) in windows.iter_mut().enumerate() {
        let start = (number as u64) << shift;
        while segments.get(index).is_some_and(|segment| segment.end <= start) {
            index += 1;
        }
        *window = (offset + index.min(last) as u64 * size_of::<Segment>() as u64) as u32;
    }
}
