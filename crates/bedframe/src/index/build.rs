//! Building a directory and its arenas: what hand-over and hot-add share.
//!
//! First the tables are sized and metadata is carved for them, then they are written. Nothing is
//! assumed about what the memory holds. Per frame nothing is written at all, but for chunks that
//! are free in part.

mod entries;
mod tables;

use tables::{order_banks, write_windows};

use super::directory::Directory;
use super::layout::{ArenaDesc, Bank, Header, Node, Segment};
use super::raw::{self, Far, Local, Plain, Table, align};
use super::segments::{Found, segments};
use super::slot::Slot;
use super::span::CHUNK_FRAMES;
use crate::addr::{FRAME_SHIFT, FRAME_SIZE, FrameRange, Mfn};
use crate::credits::{Level, Toll};
use crate::error::MapError;
use crate::heap::{Heap, Putting};
use crate::ledger::{Attr, Kind, Ledger};
use crate::node::NodeId;
use crate::platform::Platform;
use crate::pools::XenHeap;
use crate::request::{Pool, Request};
use crate::tlb::{Stamp, TlbClock};

/// Arenas of fewer bytes lie behind the directory instead of on their own node: a node that small
/// would lose a large part of itself to a frame that is hardly used.
const OWN_NODE_BYTES: u64 = 4 * FRAME_SIZE;

/// The most windows that the locating table has.
const WINDOW_BITS: u32 = 12;

/// The most segments: the windows say in 32 bits where they lie, and they lie right behind the header.
const MOST_SEGMENTS: u64 = (u32::MAX as u64 - FRAME_SIZE) / size_of::<Segment>() as u64;

const fn can_be_located(segments: u64) -> bool {
    segments <= MOST_SEGMENTS
}

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
    /// Told of frames that are taken from the running heap.
    pub(crate) toll: &'a dyn Toll,
}

/// Why nothing was built.
pub(crate) enum Unbuilt {
    /// It cannot be.
    Refused(MapError),
    /// Some CPU may reach frames that are to be metadata, having not been flushed since: to be tried again
    /// once all have been.
    Stale(Stamp),
}

impl From<MapError> for Unbuilt {
    fn from(error: MapError) -> Self {
        Unbuilt::Refused(error)
    }
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

/// Hands out consecutive tables of a directory's block, each at a cache line's beginning.
struct Cursor(u64);

impl Cursor {
    fn table<T>(&mut self, len: u64) -> Local {
        let table = Local { offset: self.0, len };
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
        let segments = segments + self.old_segments().len() as u64;
        if !can_be_located(segments) {
            return Err(MapError::BadRange { range: self.fresh });
        }
        let bits = u64::BITS - last.get().leading_zeros();
        let window_shift = bits.saturating_sub(WINDOW_BITS).max(CHUNK_FRAMES.trailing_zeros());
        Ok(Sizes {
            segments,
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

    /// Lays the directory's tables out, the header lying at `address`; returns its end too.
    fn lay_out(&self, address: u64, sizes: &Sizes) -> (Header, u64) {
        let mut cursor = Cursor(0);
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
            levels: cursor.table::<Level>(sizes.nodes),
            slots: match self.old {
                Some(old) => old.header().slots,
                None => cursor.table::<Slot>(sizes.slots).as_far(address),
            },
            clock: match self.old {
                Some(old) => old.header().clock,
                None => cursor.table::<TlbClock>(1).as_far(address),
            },
        };
        (header, address + cursor.0)
    }

    /// Takes `bytes` of mapped memory for metadata, on `node` if there is room: of the fresh memory
    /// if it is mapped, else of the heap's. The frames are Bedframe's own from now on.
    fn carve(&mut self, bytes: u64, node: NodeId) -> Result<u64, Unbuilt> {
        let frames = bytes.div_ceil(FRAME_SIZE).max(1);
        let request = Request::frames(frames).prefer(node).pool(Pool::Xen);
        let failed = || MapError::NoMetadata { frames };
        let mapped = self.xen_heap.mapped();
        let within = self.fresh.intersect(mapped);
        let found = match self.ledger.find_boot(self.platform, &request, within) {
            Some(found) => found,
            None => self.take_from_heap(frames, node)?.ok_or_else(failed)?,
        };
        let own = |attr: Attr| attr.with_kind(Kind::Metadata);
        if self.ledger.set_for_now(self.platform, found, own).is_err() {
            self.give_to_heap(found);
            return Err(failed().into());
        }
        Ok(found.start().address())
    }

    /// Gives back what was carved for `bytes` at `address`.
    fn uncarve(&mut self, address: u64, bytes: u64) {
        let frames = bytes.div_ceil(FRAME_SIZE).max(1);
        let start = Mfn::from_address(address);
        let (frames, kind) = if self.fresh.contains(start) {
            (frames, Kind::Open)
        } else {
            (whole_words(frames), Kind::Given)
        };
        let Some(range) = FrameRange::from_len(start, frames) else { return };
        // It fits: the steps at both ends are there since it was carved, or were never needed.
        if self.ledger.set_for_now(self.platform, range, |attr| attr.with_kind(kind)).is_ok() {
            self.give_to_heap(range);
        }
    }

    fn heap(&self) -> Option<Heap<'a, P>> {
        Heap::new(self.old?)
    }

    /// Frames of the running heap, as if they had never been in it.
    ///
    /// In whole words of the planes, and kept so: a second free of one of these frames that began
    /// while it was somebody's, and goes on only now, meets a word of zeros, and so has to become
    /// the holder of Busy and to see that the frame is not the heap's any more.
    fn take_from_heap(&self, frames: u64, node: NodeId) -> Result<Option<FrameRange>, Unbuilt> {
        let Some(heap) = self.heap() else { return Ok(None) };
        let request = Request::frames(whole_words(frames)).align(64).prefer(node).pool(Pool::Xen);
        let Ok((range, stamp)) = heap.alloc_unflushed(&request, self.toll) else { return Ok(None) };
        if heap.is_stale(stamp) {
            // Ours since a moment ago: not refused.
            let _ = heap.commit(range, 0, Putting::AsTaken);
            return Err(Unbuilt::Stale(stamp));
        }
        self.toll.lost(range);
        heap.withdraw(range);
        Ok(Some(range))
    }

    /// Undoes that; does nothing with fresh memory.
    fn give_to_heap(&self, range: FrameRange) {
        if let Some(heap) = self.heap()
            && !self.fresh.covers(range)
        {
            heap.readmit(range);
            // They were free a moment ago and nobody knows of them: not refused.
            let _ = heap.commit(range, 0, Putting::New);
        }
    }

    /// Builds everything; returns the frame in which the header begins. An error leaves the ledger as it was.
    pub(crate) fn build(mut self) -> Result<Mfn, Unbuilt> {
        let sizes = self.sizes()?;
        let (_, end) = self.lay_out(0, &sizes);
        let bytes = end + sizes.small_arenas;
        let home = self.next_node(None).unwrap_or(0);
        let address = self.carve(bytes, NodeId(home))?;
        let (header, small) = self.lay_out(address, &sizes);
        if let Err(error) = self.carve_arenas(address, header.arenas.at(address), small) {
            self.uncarve(address, bytes);
            return Err(error);
        }
        // Nothing can fail any more; what the ledger takes now, the index does not call free.
        self.ledger.refill(self.platform, self.xen_heap.mapped());
        self.write(address, header, &sizes);
        Ok(Mfn::from_address(address))
    }

    /// A table of the new directory.
    #[allow(unsafe_code)]
    fn table<T: Plain>(&self, table: Table) -> &'a mut [T] {
        // SAFETY: 1. The table was laid out in memory that `carve` took: mapped, Bedframe's own.
        // 2. Nobody knows of the directory yet, and this file makes one reference to a table at a
        // time.
        unsafe { raw::unique(self.platform, table) }
    }

    /// How far what lies at `address` is mapped from the new header.
    fn distance(&self, header: u64, address: u64) -> u64 {
        raw::distance(self.platform, header, address)
    }

    /// Carves each arena, small ones from `small` on, and writes where they are.
    fn carve_arenas(&mut self, header: u64, arenas: Table, small: u64) -> Result<(), Unbuilt> {
        let old = self.old_arenas();
        let arenas = self.table::<ArenaDesc>(arenas);
        for (arena, old) in arenas.iter_mut().zip(old) {
            *arena = ArenaDesc { distance: self.distance(header, old.address()), ..*old };
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
                    let distance = self.distance(header, address);
                    let words = ArenaDesc::at(address, chunks, self.with_records);
                    *arena = ArenaDesc { distance, ..words };
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
        let frame = Mfn::from_address(address);
        let shift = self.old.map_or(0, |old| old.distance_from(raw::spot(self.platform, frame)));
        let segments = self.table::<Segment>(header.segments.at(address));
        self.write_segments(segments, shift);
        let nodes = self.table::<Node>(header.nodes.at(address));
        self.write_nodes(nodes);
        for (level, node) in self.table::<Level>(header.levels.at(address)).iter().zip(&*nodes) {
            level.reset(u64::from(node.id));
        }
        let banks = self.table::<Bank>(header.banks.at(address));
        let by_chunk = self.table::<u32>(header.by_chunk.at(address));
        let arenas = self.table::<ArenaDesc>(header.arenas.at(address));
        let bank_count = self.write_banks(segments, nodes, banks, by_chunk, arenas, shift);
        let bank_order = self.table::<u32>(header.bank_order.at(address));
        order_banks(banks.get(..bank_count).unwrap_or(&[]), nodes, bank_order);
        self.order_nodes(nodes, self.table::<u32>(header.fallback.at(address)));
        let windows = self.table::<u32>(header.windows.at(address));
        write_windows(segments, header.segments.offset, sizes.window_shift, windows);
        if self.old.is_none() {
            for slot in self.table::<Slot>(header.slots.table) {
                slot.reset();
            }
            for clock in self.table::<TlbClock>(header.clock.table) {
                clock.reset();
            }
        }
        self.write_arenas(arenas, segments, banks);
        let banks = Local { len: bank_count as u64, ..header.banks };
        for to in self.table::<Header>(Table { address, len: 1 }) {
            let far = |far: Far| Far { distance: far.distance.wrapping_add(shift), ..far };
            let (slots, clock) = (far(header.slots), far(header.clock));
            *to = Header { banks, slots, clock, ..header };
        }
    }
}

/// Rounds up to the frames of whole words of a plane.
fn whole_words(frames: u64) -> u64 {
    frames.next_multiple_of(64)
}

/// Chunks of a segment with these frames.
fn chunks(frames: FrameRange) -> u64 {
    let (start, end) = (frames.start().get(), frames.end().get());
    (end - (start & !(CHUNK_FRAMES - 1))).div_ceil(CHUNK_FRAMES)
}

const _: () = assert!(FRAME_SHIFT == 12 && CHUNK_FRAMES * FRAME_SIZE == 2 << 20);

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// The last segment begins where 32 bits still say so, behind a header of less than a frame.
    #[test]
    fn there_are_as_many_segments_as_windows_can_name() {
        assert!(can_be_located(MOST_SEGMENTS) && !can_be_located(MOST_SEGMENTS + 1));
        let end = size_of::<Header>() as u64 + MOST_SEGMENTS * size_of::<Segment>() as u64;
        assert!(end <= u64::from(u32::MAX) && MOST_SEGMENTS > 80_000_000, "{end}");
        assert!((size_of::<Header>() as u64) < FRAME_SIZE);
    }
}
