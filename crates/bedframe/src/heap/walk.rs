//! Walking the index: what is free, frame by frame, as fast as entries can be read.

use super::{Heap, Piece, piece_in};
use crate::addr::{FrameRange, Mfn};
use crate::index::{Arena, ChunkState, Entry, Leaving, Segment};
use crate::node::NodeId;
use crate::owners::default_width;
use crate::platform::Platform;

/// Frames in a row whose chunks are in the same state: one chunk if that is Broken, any number
/// otherwise.
pub(crate) struct Stretch {
    pub(crate) entry: Entry,
    /// The first chunk, and the first behind.
    pub(crate) chunk: u32,
    pub(crate) end_chunk: u32,
    /// The first frame behind.
    pub(crate) end: u64,
}

/// Frames that the index answers for, by their state.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counted {
    /// What is being scrubbed is counted here, and not in `free`: it may be Bedframe's own as well.
    pub(crate) withdrawn: u64,
    pub(crate) free: u64,
    /// Of those that are free: not known to be scrubbed.
    pub(crate) dirty: u64,
    pub(crate) in_use: u64,
    pub(crate) offlining: u64,
    pub(crate) offlined: u64,
    pub(crate) broken: u64,
}

impl Counted {
    pub(crate) const fn all(&self) -> u64 {
        self.free + self.in_use + self.offlining + self.offlined + self.broken
    }

    fn add(&mut self, other: Counted) {
        self.withdrawn += other.withdrawn;
        self.free += other.free;
        self.dirty += other.dirty;
        self.in_use += other.in_use;
        self.offlining += other.offlining;
        self.offlined += other.offlined;
        self.broken += other.broken;
    }
}

/// A segment's free memory as a walk finds it.
pub(crate) struct FreeRuns<'h, 'a, P> {
    heap: &'h Heap<'a, P>,
    segment: &'a Segment,
    at: u64,
    /// Free frames that have been read and not been told of.
    read: Option<(u64, u64)>,
}

impl<'a, P: Platform> Heap<'a, P> {
    /// The stretch of `[at, end)`, frames of `segment`, that begins at `at`.
    pub(crate) fn stretch(
        &self,
        arena: &Arena<'_>,
        segment: &Segment,
        at: u64,
        end: u64,
    ) -> Option<Stretch> {
        let (chunk, _) = segment.chunk_of(at);
        let (last, _) = segment.chunk_of(end.checked_sub(1)?);
        let entry = arena.chunk(chunk)?.settled(self.cpu.platform);
        let end_chunk = match entry.state() {
            ChunkState::Broken => chunk.checked_add(1)?,
            _ => arena.same_state(chunk, last.checked_add(1)?, entry),
        };
        Some(Stretch { entry, chunk, end_chunk, end: segment.chunk_base(end_chunk).min(end) })
    }

    /// The maximal runs of free frames of a segment, in ascending order.
    pub(crate) fn free_runs<'h>(&'h self, segment: &'a Segment) -> FreeRuns<'h, 'a, P> {
        FreeRuns { heap: self, segment, at: segment.start, read: None }
    }

    /// Counts the frames in `range` that the index answers for.
    pub(crate) fn count(&self, range: FrameRange) -> Counted {
        let (mut at, end) = (range.start().get(), range.end().get());
        let mut counted = Counted::default();
        while at < end {
            let Some(segment) = self.directory.locate(at) else { break };
            let stop = end.min(segment.end);
            counted.add(self.count_in(segment, at, stop).unwrap_or_default());
            at = stop;
        }
        counted
    }

    /// The width of the reserve of low memory where nobody has set one, in address bits: on a machine with
    /// several nodes a quarter of the one whose memory begins lowest, which need not be node 0; else 0.
    pub(crate) fn default_reserve(&self) -> u32 {
        let segments = self.directory.segments();
        let node = |segment: &Segment| self.bank(segment).map(|bank| bank.node);
        let Some(lowest) = segments.first() else { return 0 };
        let of_node = segments.iter().filter(|segment| node(segment) == node(lowest));
        match of_node.map(|segment| segment.end).max() {
            Some(end) if self.directory.nodes().len() > 1 => {
                let frames = FrameRange::new(Mfn::new(lowest.start), Mfn::new(end));
                default_width(frames.unwrap_or(FrameRange::EMPTY))
            }
            _ => 0,
        }
    }

    /// Whether at least `frames` frames are free on the nodes that `allowed` allows: first by what is
    /// free as a whole, which costs least.
    pub(crate) fn has_free(&self, frames: u64, allowed: impl Fn(NodeId) -> bool) -> bool {
        let mut left = frames;
        for broken_too in [false, true] {
            for bank in self.directory.banks() {
                let node = self.directory.nodes().get(bank.node as usize);
                if left == 0 || !node.is_some_and(|node| allowed(NodeId(node.id))) {
                    continue;
                }
                let segments = self.directory.segments_of(bank).iter();
                for segment in segments.filter_map(|i| self.directory.segments().get(*i as usize)) {
                    let wanted =
                        if broken_too { ChunkState::Broken } else { ChunkState::WholeFree };
                    left = self.less_free(segment, wanted, left).unwrap_or(left);
                }
            }
        }
        left == 0
    }

    /// `left`, less the free frames of the segment's chunks in state `wanted`.
    fn less_free(&self, segment: &Segment, wanted: ChunkState, left: u64) -> Option<u64> {
        let arena = self.directory.arena(self.bank(segment)?.arena)?;
        let (mut left, mut at) = (left, segment.start);
        while at < segment.end && left > 0 {
            let stretch = self.stretch(&arena, segment, at, segment.end)?;
            if stretch.entry.is(wanted) {
                let free = match wanted {
                    ChunkState::WholeFree => stretch.end - at,
                    _ => self.count_in(segment, at, stretch.end)?.free,
                };
                left = left.saturating_sub(free);
            }
            at = stretch.end;
        }
        Some(left)
    }

    fn count_in(&self, segment: &Segment, at: u64, end: u64) -> Option<Counted> {
        let arena = self.directory.arena(self.bank(segment)?.arena)?;
        let mut at = at;
        let mut counted = Counted::default();
        while at < end {
            let stretch = self.stretch(&arena, segment, at, end)?;
            match stretch.entry.state() {
                ChunkState::WholeFree => {
                    let frames = stretch.end - at;
                    counted.free += frames;
                    counted.dirty += if stretch.entry.is_clean() { 0 } else { frames };
                }
                ChunkState::Untouched | ChunkState::Busy => {}
                ChunkState::WholeUsed => {
                    let mut from = at;
                    while from < stretch.end {
                        let piece = piece_in(segment, from, stretch.end);
                        counted.add(self.count_chunk(&arena, &piece)?);
                        from = piece.end();
                    }
                }
                ChunkState::Broken => {
                    counted.add(self.count_chunk(&arena, &piece_in(segment, at, end))?);
                }
            }
            at = stretch.end;
        }
        Some(counted)
    }

    fn count_chunk(&self, arena: &Arena<'_>, piece: &Piece<'_>) -> Option<Counted> {
        let chunk = arena.chunk(piece.chunk)?;
        let entry = chunk.settled(self.cpu.platform);
        let mut counted = Counted::default();
        if entry.is(ChunkState::WholeUsed) && !entry.is_exceptional() {
            counted.in_use = u64::from(piece.span.count);
            return Some(counted);
        }
        let (look, dirty) = chunk.look_at_marks(self.cpu.platform);
        for (word, dirty) in dirty.iter().enumerate() {
            let mask = piece.span.mask(word);
            let (free, known) = (look.free_word(word), look.initialised_word(word));
            counted.free += u64::from((free & mask).count_ones());
            counted.dirty += u64::from((free & dirty & mask).count_ones());
            counted.in_use += u64::from((known & !free & mask).count_ones());
            counted.withdrawn += u64::from((dirty & !known & !free & mask).count_ones());
        }
        if entry.is_exceptional() {
            for bit in piece.span.first..piece.span.end() {
                let to = match chunk.record_of(self.cpu.platform, bit).leaving() {
                    None => continue,
                    Some(Leaving::Offlining | Leaving::BrokenOfflining) => &mut counted.offlining,
                    Some(Leaving::Offlined) => &mut counted.offlined,
                    Some(Leaving::Broken) => &mut counted.broken,
                };
                *to += 1;
                // Those that were withdrawn out of boot memory have never been in the heap.
                let known = look.initialised_word((bit / 64) as usize) >> (bit % 64) & 1;
                counted.in_use = counted.in_use.saturating_sub(known);
            }
        }
        Some(counted)
    }
}

impl<P: Platform> FreeRuns<'_, '_, P> {
    fn read(&mut self) -> Option<(u64, u64)> {
        let found = self.heap.next_free(self.segment, self.at, self.segment.end);
        self.at = found.map_or(self.segment.end, |(_, end)| end);
        found
    }
}

impl<P: Platform> Iterator for FreeRuns<'_, '_, P> {
    type Item = FrameRange;

    fn next(&mut self) -> Option<FrameRange> {
        let (start, mut end) = self.read.take().or_else(|| self.read())?;
        while let Some(next) = self.read() {
            if next.0 != end {
                self.read = Some(next);
                break;
            }
            end = next.1;
        }
        FrameRange::new(Mfn::new(start), Mfn::new(end))
    }
}
