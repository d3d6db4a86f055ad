//! Building a directory and its arenas: what hand-over and hot-add share.
//!
//! First the tables are sized and metadata is carved for them, then they are written. Nothing is
//! assumed about what the memory holds. Per frame nothing is written at all, but for chunks that
//! are free in part.
#![allow(unsafe_code)]

use super::directory::{ArenaDesc, Bank, Directory, Header, Node, Pools, Segment};
use super::entry::Entry;
use super::raw::{self, Plain, Table, align};
use super::segments::{Found, segments};
use super::slot::Slot;
use super::span::{CHUNK_FRAMES, Span};
use super::summary::set_range;
use crate::addr::{FRAME_SHIFT, FRAME_SIZE, FrameRange, Mfn};
use crate::error::MapError;
use crate::heap::{Heap, Putting};
use crate::ledger::{Attr, Kind, Ledger};
use crate::node::NodeId;
use crate::platform::Platform;
use crate::pools::XenHeap;
use crate::request::{Pool, Request};

/// Arenas of fewer bytes lie behind the directory instead of on their own node: a node that small
/// would lose a large part of itself to a frame that is hardly used.
const OWN_NODE_BYTES: u64 = 4 * FRAME_SIZE;

/// The most windows that the locating table has.
const WINDOW_BITS: u32 = 12;

/// What is built from what.
pub(crate) struct Build<'a, P> {
    pub(crate) platform: &'a P,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) xen_heap: XenHeap,
    /// The RAM that gets an index now.
    pub(crate) fresh: FrameRange,
    /// The directory so far, if the heap runs already.
    pub(crate) old: Option<Directory<'a, P>>,
    /// How many CPUs get a slot of their own.
    pub(crate) cpus: u32,
    /// Whether there is to be space for records.
    pub(crate) with_records: bool,
}

/// How large the tables will be.
struct Sizes {
    segments: u64,
    nodes: u64,
    banks: u64,
    window_shift: u32,
    windows: u64,
    arenas: u64,
    slots: u64,
    /// Bytes of the arenas that lie behind the directory.
    small_arenas: u64,
}

/// Hands out consecutive tables, each at a cache line's beginning.
struct Cursor(u64);

impl Cursor {
    fn table<T>(&mut self, len: u64) -> Table {
        let table = Table { address: self.0, len };
        self.0 = align(self.0 + len * size_of::<T>() as u64);
        table
    }
}

impl<'a, P: Platform> Build<'a, P> {
    fn found(&self) -> impl Iterator<Item = Found> + '_ {
        segments(self.ledger.pieces(self.platform, self.fresh), self.xen_heap)
    }

    fn old_segments(&self) -> &'a [Segment] {
        self.old.map_or(&[], |old| old.segments())
    }

    fn old_nodes(&self) -> &'a [Node] {
        self.old.map_or(&[], |old| old.nodes())
    }

    fn old_arenas(&self) -> &'a [ArenaDesc] {
        self.old.map_or(&[], |old| old.arenas())
    }

    fn old_banks(&self) -> &'a [Bank] {
        self.old.map_or(&[], |old| old.banks())
    }

    /// The fresh memory's nodes, in ascending order: the lowest above `last`.
    fn next_node(&self, last: Option<u32>) -> Option<u32> {
        let above =
            self.found().map(|found| found.node.0).filter(|id| last.is_none_or(|l| *id > l));
        above.min()
    }

    fn fresh_nodes(&self) -> impl Iterator<Item = u32> + '_ {
        core::iter::successors(self.next_node(None), |last| self.next_node(Some(*last)))
    }

    /// Chunks that a node's fresh segments need.
    fn chunks_of(&self, node: u32) -> u64 {
        self.found().filter(|found| found.node.0 == node).map(|found| chunks(found.frames)).sum()
    }

    fn sizes(&self) -> Result<Sizes, MapError> {
        let mut last = Mfn::ZERO;
        let mut segments = 0;
        for found in self.found() {
            segments += 1;
            last = found.frames.end();
        }
        if segments == 0 {
            return Err(MapError::NoMemory);
        }
        if let Some(old) = self.old_segments().last() {
            last = last.max(Mfn::new(old.end));
        }
        let mut small_arenas = 0;
        let (mut nodes, mut fresh_nodes) = (self.old_nodes().len() as u64, 0);
        for node in self.fresh_nodes() {
            fresh_nodes += 1;
            nodes += u64::from(self.old_nodes().iter().all(|old| old.id != node));
            let chunks = self.chunks_of(node);
            if chunks > u64::from(u32::MAX) {
                return Err(MapError::BadRange { range: self.fresh });
            }
            let bytes = ArenaDesc::bytes(chunks, self.with_records);
            if bytes < OWN_NODE_BYTES {
                small_arenas += bytes;
            }
        }
        let bits = u64::BITS - last.get().leading_zeros();
        let window_shift = bits.saturating_sub(WINDOW_BITS).max(CHUNK_FRAMES.trailing_zeros());
        Ok(Sizes {
            segments: segments + self.old_segments().len() as u64,
            nodes,
            // Every fresh segment may need a bank of its own.
            banks: segments + self.old_banks().len() as u64,
            window_shift,
            windows: (last.get() >> window_shift) + 1,
            arenas: fresh_nodes + self.old_arenas().len() as u64,
            slots: u64::from(self.cpus.max(1)),
            small_arenas,
        })
    }

    /// Lays the directory's tables out from `address` on; returns its end too.
    fn lay_out(&self, address: u64, sizes: &Sizes) -> (Header, u64) {
        let mut cursor = Cursor(address);
        let _ = cursor.table::<Header>(1);
        let header = Header {
            segments: cursor.table::<Segment>(sizes.segments),
            windows: cursor.table::<u32>(sizes.windows),
            window_shift: u64::from(sizes.window_shift),
            banks: cursor.table::<Bank>(sizes.banks),
            by_chunk: cursor.table::<u32>(sizes.segments),
            nodes: cursor.table::<Node>(sizes.nodes),
            bank_order: cursor.table::<u32>(sizes.banks),
            fallback: cursor.table::<u32>(sizes.nodes * sizes.nodes),
            arenas: cursor.table::<ArenaDesc>(sizes.arenas),
            slots: match self.old {
                Some(old) => old.header().slots,
                None => cursor.table::<Slot>(sizes.slots),
            },
        };
        (header, cursor.0)
    }

    /// Takes `bytes` of mapped memory for metadata, on `node` if there is room: of the fresh memory
    /// if it is mapped, else of the heap's. The frames are Bedframe's own from now on.
    fn carve(&mut self, bytes: u64, node: NodeId) -> Result<u64, MapError> {
        let frames = bytes.div_ceil(FRAME_SIZE).max(1);
        let request = Request::frames(frames).prefer(node).pool(Pool::Xen);
        let failed = MapError::NoMetadata { frames };
        let mapped = self.xen_heap.mapped();
        let within = self.fresh.intersect(mapped);
        let found = match self.ledger.find_boot(self.platform, &request, within) {
            Some(found) => found,
            None => self.take_from_heap(&request).ok_or(failed)?,
        };
        let own = |attr: Attr| attr.with_kind(Kind::Metadata);
        if self.ledger.set(self.platform, mapped, found, own).is_err() {
            self.give_to_heap(found);
            return Err(failed);
        }
        Ok(found.start().address())
    }

    /// Gives back what was carved for `bytes` at `address`.
    fn uncarve(&mut self, address: u64, bytes: u64) {
        let frames = bytes.div_ceil(FRAME_SIZE).max(1);
        let Some(range) = FrameRange::from_len(Mfn::from_address(address), frames) else { return };
        let kind = if self.fresh.covers(range) { Kind::Open } else { Kind::Given };
        // It fits: the steps at both ends are there since it was carved, or were never needed.
        let mapped = self.xen_heap.mapped();
        let _ = self.ledger.set(self.platform, mapped, range, |attr| attr.with_kind(kind));
        self.give_to_heap(range);
    }

    fn heap(&self) -> Option<Heap<'a, P>> {
        Heap::new(self.platform, self.old?)
    }

    /// Frames of the running heap, as if they had never been in it.
    fn take_from_heap(&self, request: &Request<'_>) -> Option<FrameRange> {
        let heap = self.heap()?;
        let range = heap.alloc(request).ok()?;
        heap.withdraw(range);
        Some(range)
    }

    /// Undoes that; does nothing with fresh memory.
    fn give_to_heap(&self, range: FrameRange) {
        if let Some(heap) = self.heap()
            && !self.fresh.covers(range)
        {
            // They were free a moment ago and nobody knows of them: not refused.
            let _ = heap.commit(range, 0, Putting::New);
        }
    }

    /// Builds everything; returns the address of the header. An error leaves the ledger as it was.
    pub(crate) fn build(mut self) -> Result<u64, MapError> {
        let sizes = self.sizes()?;
        let (_, end) = self.lay_out(0, &sizes);
        let bytes = end + sizes.small_arenas;
        let home = self.next_node(None).unwrap_or(0);
        let address = self.carve(bytes, NodeId(home))?;
        let (header, small) = self.lay_out(address, &sizes);
        if let Err(error) = self.carve_arenas(&header, small) {
            self.uncarve(address, bytes);
            return Err(error);
        }
        self.write(address, header, &sizes);
        Ok(address)
    }

    /// A table of the new directory.
    fn table<T: Plain>(&self, table: Table) -> &'a mut [T] {
        // SAFETY: 1. The table was laid out in memory that `carve` took: mapped, Bedframe's own.
        // 2. Nobody knows of the directory yet, and this file makes one reference to a table at a
        // time.
        unsafe { raw::unique(self.platform, table) }
    }

    /// Carves each arena, small ones from `small` on, and writes where they are.
    fn carve_arenas(&mut self, header: &Header, small: u64) -> Result<(), MapError> {
        let old = self.old_arenas();
        let arenas = self.table::<ArenaDesc>(header.arenas);
        for (arena, old) in arenas.iter_mut().zip(old) {
            *arena = *old;
        }
        let mut small = small;
        let mut node = self.next_node(None);
        let mut done = old.len();
        while let Some(id) = node {
            let chunks = self.chunks_of(id);
            let bytes = ArenaDesc::bytes(chunks, self.with_records);
            let address = if bytes < OWN_NODE_BYTES {
                small += bytes;
                Ok(small - bytes)
            } else {
                self.carve(bytes, NodeId(id))
            };
            match (address, arenas.get_mut(done)) {
                (Ok(address), Some(arena)) => {
                    *arena = ArenaDesc::at(address, chunks, self.with_records)
                }
                (Err(error), _) => {
                    let carved = arenas.iter().take(done).skip(old.len());
                    for arena in carved {
                        let bytes = ArenaDesc::bytes(arena.chunks(), self.with_records);
                        if bytes >= OWN_NODE_BYTES {
                            self.uncarve(arena.address(), bytes);
                        }
                    }
                    return Err(error);
                }
                (Ok(_), None) => {}
            }
            done += 1;
            node = self.next_node(Some(id));
        }
        Ok(())
    }

    fn write(&mut self, address: u64, header: Header, sizes: &Sizes) {
        let segments = self.table::<Segment>(header.segments);
        self.write_segments(segments);
        let nodes = self.table::<Node>(header.nodes);
        self.write_nodes(nodes);
        let banks = self.table::<Bank>(header.banks);
        let by_chunk = self.table::<u32>(header.by_chunk);
        let bank_count = self.write_banks(segments, nodes, banks, by_chunk);
        let bank_order = self.table::<u32>(header.bank_order);
        order_banks(banks.get(..bank_count).unwrap_or(&[]), nodes, bank_order);
        self.order_nodes(nodes, self.table::<u32>(header.fallback));
        write_windows(segments, sizes.window_shift, self.table::<u32>(header.windows));
        if self.old.is_none() {
            for slot in self.table::<Slot>(header.slots) {
                slot.reset();
            }
        }
        let arenas = self.table::<ArenaDesc>(header.arenas);
        self.write_arenas(arenas, segments, banks);
        let banks = Table { len: bank_count as u64, ..header.banks };
        for to in self.table::<Header>(Table { address, len: 1 }) {
            *to = Header { banks, ..header };
        }
    }

    /// All segments, by address. Banks and chunks come later.
    fn write_segments(&self, segments: &mut [Segment]) {
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
                        bank: NOWHERE,
                        first_chunk: NOWHERE,
                    };
                }
            } else if let Some(old) = old.next() {
                *segment = *old;
            }
        }
    }

    /// All nodes, by number.
    fn write_nodes(&self, nodes: &mut [Node]) {
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
    fn write_banks(
        &self,
        segments: &mut [Segment],
        nodes: &[Node],
        banks: &mut [Bank],
        by_chunk: &mut [u32],
    ) -> usize {
        let mut count = 0;
        for (bank, old) in banks.iter_mut().zip(self.old_banks()) {
            *bank = *old;
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
    fn node_of_old_bank(&self, bank: &Bank, nodes: &[Node]) -> u32 {
        let id = self.old_nodes().get(bank.node as usize).map(|node| node.id);
        nodes.iter().position(|node| Some(node.id) == id).unwrap_or(0) as u32
    }

    /// For each node all nodes, by distance and then by number.
    fn order_nodes(&self, nodes: &[Node], fallback: &mut [u32]) {
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

    /// The entries, summaries and, where a chunk is free in part, planes of every fresh arena.
    fn write_arenas(&self, arenas: &[ArenaDesc], segments: &[Segment], banks: &[Bank]) {
        for (number, arena) in arenas.iter().enumerate().skip(self.old_arenas().len()) {
            self.table::<u64>(arena.some).fill(0);
            self.table::<u64>(arena.whole).fill(0);
            let fresh = segments.iter().filter(|segment| {
                banks.get(segment.bank as usize).is_some_and(|b| b.arena == number as u32)
            });
            for segment in fresh {
                self.write_segment(arena, segment);
            }
        }
    }

    fn write_segment(&self, arena: &ArenaDesc, segment: &Segment) {
        let last = segment.first_chunk as u64 + segment.chunks();
        // Chunks below `next` are written; of these, the last may be open to more free frames.
        let mut next = segment.first_chunk as usize;
        let mut open = usize::MAX;
        let fill = |from: usize, to: usize, value: Entry| {
            if let Some(part) = self.table::<u32>(arena.entries).get_mut(from..to) {
                part.fill(value.0);
            }
        };
        for (frames, _) in self.ledger.boot_free(self.platform, segment.frames()) {
            let mut at = frames.start().get();
            let end = frames.end().get();
            while at < end {
                let (chunk, bit) = segment.chunk_of(at);
                let chunk = chunk as usize;
                if chunk > next {
                    fill(next, chunk, Entry::UNTOUCHED);
                }
                let left = end - at;
                if bit == 0 && left >= CHUNK_FRAMES {
                    let count = (left / CHUNK_FRAMES) as usize;
                    fill(chunk, chunk + count, Entry::WHOLE_FREE);
                    let whole = self.table::<u64>(arena.whole);
                    set_range(whole, arena.chunks(), chunk as u64, (chunk + count) as u64);
                    next = chunk + count;
                    at += count as u64 * CHUNK_FRAMES;
                    continue;
                }
                let count = left.min(CHUNK_FRAMES - u64::from(bit));
                self.seed(arena, chunk as u32, Span::new(bit, count as u32), open != chunk);
                open = chunk;
                next = chunk + 1;
                at += count;
            }
        }
        fill(next, last as usize, Entry::UNTOUCHED);
    }

    /// Makes `span` of a chunk free.
    fn seed(&self, arena: &ArenaDesc, number: u32, span: Span, format: bool) {
        let some = self.table::<u64>(arena.some);
        set_range(some, arena.chunks(), u64::from(number), u64::from(number) + 1);
        let planes = self.table::<super::chunk::Planes>(arena.planes);
        // The entry too through an atomic, as whoever reads it later will.
        let entries = self.table::<crate::sync::AtomicU32>(arena.entries);
        if let (Some(entry), Some(planes)) =
            (entries.get(number as usize), planes.get(number as usize))
        {
            let chunk = super::chunk::Chunk { entry, planes, records: None };
            if format {
                chunk.format();
            }
            chunk.seed(span);
        }
    }
}

/// Chunks of a segment with these frames.
fn chunks(frames: FrameRange) -> u64 {
    let (start, end) = (frames.start().get(), frames.end().get());
    (end - (start & !(CHUNK_FRAMES - 1))).div_ceil(CHUNK_FRAMES)
}

/// Each node's banks, from the highest zone to the lowest, and within a zone those that only the
/// domain heap can use first: low memory and mapped memory are kept for those who need them.
fn order_banks(banks: &[Bank], nodes: &mut [Node], order: &mut [u32]) {
    let key = |bank: &Bank| (bank.start, u32::from(bank.pools == Pools::DOMAIN.0));
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
                let before_key = banks.get(before as usize).map_or((0, 0), key);
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

/// For each window, the first segment that ends behind its start.
fn write_windows(segments: &[Segment], shift: u32, windows: &mut [u32]) {
    let mut index = 0;
    for (number, window) in windows.iter_mut().enumerate() {
        let start = (number as u64) << shift;
        while segments.get(index).is_some_and(|segment| segment.end <= start) {
            index += 1;
        }
        *window = index as u32;
    }
}

const _: () = assert!(FRAME_SHIFT == 12 && CHUNK_FRAMES * FRAME_SIZE == 2 << 20);
