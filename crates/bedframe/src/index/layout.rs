//! What the directory's tables hold.

use super::chunk::{FreePlane, Marks};
use super::place::Place;
use super::raw::{Far, Local, Table};
use super::records::Records;
use super::span::{CHUNK_FRAMES, CHUNK_SHIFT};
use super::summary::summary_words;
use crate::addr::{FrameRange, Mfn};
use crate::request::Pool;
use crate::zone::Zone;

/// A maximal run of RAM with the same node, zone and pools. No block reaches beyond it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Segment {
    /// First frame, and first frame behind.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// How far the free plane, the entry and the marks of its first chunk are mapped from the directory's
    /// header.
    pub(crate) free: u64,
    pub(crate) entries: u64,
    pub(crate) marks: u64,
    pub(crate) bank: u32,
    /// The number, in the bank's arena, of the chunk that `start` lies in.
    pub(crate) first_chunk: u32,
}

impl Segment {
    pub(crate) const fn frames(&self) -> FrameRange {
        match FrameRange::new(Mfn::new(self.start), Mfn::new(self.end)) {
            Some(range) => range,
            None => FrameRange::EMPTY,
        }
    }

    /// The first frame of the first chunk's 2 MiB, which may lie below the segment.
    pub(crate) const fn base(&self) -> u64 {
        self.start & !(CHUNK_FRAMES - 1)
    }

    pub(crate) const fn chunks(&self) -> u64 {
        (self.end - self.base()).div_ceil(CHUNK_FRAMES)
    }

    /// The chunk of a frame of this segment, and the frame's bit there.
    pub(crate) const fn chunk_of(&self, frame: u64) -> (u32, u32) {
        let offset = frame - self.base();
        (self.first_chunk + (offset >> CHUNK_SHIFT) as u32, offset as u32 & 511)
    }

    /// The word of a frame of this segment.
    #[inline(always)]
    pub(crate) const fn place_of(&self, frame: u64) -> Place {
        Place::in_chunk(self.bank, self.first_chunk, (frame - self.base()) >> 6)
    }

    /// The frame of bit 0 of one of this segment's chunks.
    pub(crate) const fn chunk_base(&self, chunk: u32) -> u64 {
        self.base() + ((chunk.wrapping_sub(self.first_chunk) as u64) << CHUNK_SHIFT)
    }
}

/// Which heaps a segment serves, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Pools(pub(crate) u32);

impl Pools {
    pub(crate) const XEN: Pools = Pools(1);
    pub(crate) const DOMAIN: Pools = Pools(2);
    pub(crate) const BOTH: Pools = Pools(3);

    pub(crate) const fn serves(self, pool: Pool) -> bool {
        self.0
            & match pool {
                Pool::Xen => 1,
                Pool::Domain => 2,
            }
            != 0
    }
}

/// A bank: the segments of one node, zone and set of pools. Their chunks are numbered in a row.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Bank {
    /// From the first frame to behind the last; other banks' frames may lie between.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) arena: u32,
    /// Index into the nodes.
    pub(crate) node: u32,
    pub(crate) zone: u32,
    pub(crate) pools: u32,
    pub(crate) first_chunk: u32,
    pub(crate) end_chunk: u32,
    /// Index of its first segment in `by_chunk`, and how many there are.
    pub(crate) first_segment: u32,
    pub(crate) segments: u32,
    /// How far the arena's free planes and its entries are mapped from the directory's header.
    pub(crate) free: u64,
    pub(crate) entries: u64,
    /// The frame of bit 0 of chunk 0 of the arena, as the first segment's chunks are numbered; it may
    /// lie below zero.
    pub(crate) base: u64,
    /// How far the arena's summaries are mapped from the directory's header; the words of each, and the groups
    /// that it is over.
    pub(crate) some: u64,
    pub(crate) whole: u64,
    pub(crate) summary_words: u32,
    pub(crate) groups: u32,
}

impl Bank {
    pub(crate) const fn serves(&self, pool: Pool) -> bool {
        Pools(self.pools).serves(pool)
    }

    pub(crate) const fn frames(&self) -> FrameRange {
        match FrameRange::new(Mfn::new(self.start), Mfn::new(self.end)) {
            Some(range) => range,
            None => FrameRange::EMPTY,
        }
    }

    pub(crate) fn zone(&self) -> Zone {
        Zone::new(self.zone as u8).unwrap_or(Zone::MAX)
    }
}

/// A node that has memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Node {
    pub(crate) id: u32,
    /// Index of its first bank in `bank_order`, and how many there are.
    pub(crate) first_bank: u32,
    pub(crate) banks: u32,
}

/// Where an arena's words lie.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ArenaDesc {
    pub(crate) free: Table,
    pub(crate) marks: Table,
    pub(crate) entries: Table,
    pub(crate) some: Table,
    pub(crate) whole: Table,
    /// Empty, or as many as there are chunks.
    pub(crate) records: Table,
    /// How far all this is mapped from the directory's header.
    pub(crate) distance: u64,
}

impl ArenaDesc {
    /// The words of `chunks` chunks from `address` on.
    pub(crate) const fn at(address: u64, chunks: u64, with_records: bool) -> Self {
        let free = Table { address, len: chunks };
        let marks = free.then(size_of::<FreePlane>(), chunks);
        let entries = marks.then(size_of::<Marks>(), chunks);
        let some = entries.then(4, summary_words(chunks));
        let whole = some.then(8, some.len);
        let records = whole.then(8, if with_records { chunks } else { 0 });
        Self { free, marks, entries, some, whole, records, distance: 0 }
    }

    /// How far one of its tables is mapped from the directory's header.
    pub(crate) const fn distance_of(&self, table: Table) -> u64 {
        self.distance.wrapping_add(table.address - self.free.address)
    }

    pub(crate) const fn chunks(&self) -> u64 {
        self.entries.len
    }

    pub(crate) const fn address(&self) -> u64 {
        self.free.address
    }

    /// Bytes that an arena of `chunks` chunks takes.
    pub(crate) const fn bytes(chunks: u64, with_records: bool) -> u64 {
        Self::at(0, chunks, with_records).records.then(size_of::<Records>(), 0).address
    }
}

/// The directory's first bytes: where its tables lie.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Header {
    /// For each window of `2^window_shift` frames, how far behind the header the first segment lies that ends
    /// behind the window's start, or if there is none, the last.
    pub(crate) windows: Local,
    pub(crate) window_shift: u64,
    pub(crate) banks: Local,
    /// In the block of the first directory, for all that follow it.
    pub(crate) slots: Far,
    /// The same: one clock.
    pub(crate) clock: Far,
    /// Sorted by address.
    pub(crate) segments: Local,
    /// Indices of segments, sorted by bank and address.
    pub(crate) by_chunk: Local,
    /// Sorted by number.
    pub(crate) nodes: Local,
    /// Indices of banks: for each node, from the highest zone to the lowest.
    pub(crate) bank_order: Local,
    /// For each node, the indices of all nodes, nearest first.
    pub(crate) fallback: Local,
    pub(crate) arenas: Local,
    /// What each node has of credits, in the order of `nodes`. Only the directory that was published
    /// last is asked.
    pub(crate) levels: Local,
}
