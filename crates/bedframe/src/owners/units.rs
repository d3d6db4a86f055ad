//! What is done in one stretch of a chunk's Busy: a chunk as a whole, or the frames of one word.

use crate::addr::{FrameRange, Mfn};
use crate::heap::{Heap, Piece};
use crate::index::{Arena, Chunk, Links, Opened};
use crate::platform::Platform;
use crate::sync::fence_full;

/// Up to 64 frames of one word of a chunk, or all 512 of one.
pub(super) struct Unit<'a> {
    pub(super) piece: Piece<'a>,
    pub(super) chunk: Chunk<'a>,
    arena: Arena<'a>,
}

impl<'a> Unit<'a> {
    /// The unit of `[at, end)` that begins at `at`: a whole chunk only if `whole`. `None` where there is
    /// no RAM.
    pub(super) fn at<P: Platform>(
        heap: &Heap<'a, P>,
        at: u64,
        end: u64,
        whole: bool,
    ) -> Option<Self> {
        let piece = heap.piece(at, end)?;
        let piece = if whole && piece.span.is_whole() {
            piece
        } else {
            let in_word = 64 - u64::from(piece.span.first % 64);
            heap.piece(at, end.min(at.saturating_add(in_word)))?
        };
        let arena = heap.arena_of(&piece)?;
        let chunk = arena.chunk(piece.chunk)?;
        Some(Self { piece, chunk, arena })
    }

    pub(super) fn is_whole(&self) -> bool {
        self.piece.span.is_whole()
    }

    /// Its bits of its chunk.
    pub(super) fn bits(&self) -> core::ops::Range<u32> {
        self.piece.span.first..self.piece.span.end()
    }

    /// The word that its first frame lies in.
    pub(super) fn word(&self) -> usize {
        (self.piece.span.first / 64) as usize
    }

    /// The frame of one of its chunk's bits.
    pub(super) fn frame(&self, bit: u32) -> Mfn {
        Mfn::new(self.piece.frame(bit))
    }

    pub(super) fn frames(&self) -> FrameRange {
        let (start, frames) = (Mfn::new(self.piece.start), u64::from(self.piece.span.count));
        FrameRange::from_len(start, frames).unwrap_or_default()
    }

    /// The first frame of the 2 MiB that its chunk lies in: that of the chunk, if this is a full one.
    pub(super) fn chunk_start(&self) -> Mfn {
        self.frame(0)
    }

    /// The links of a frame, if it lies in the unit's chunk.
    pub(super) fn links(&self, frame: Mfn) -> Option<Links<'a>> {
        let segment = self.piece.segment;
        if frame.get() < segment.start || frame.get() >= segment.end {
            return None;
        }
        let (chunk, bit) = segment.chunk_of(frame.get());
        self.chunk.records?.links(bit).filter(|_| chunk == self.piece.chunk)
    }

    /// Ends Busy, and merges the chunk if it has become free as a whole.
    pub(super) fn close<P: Platform>(&self, heap: &Heap<'a, P>, opened: Opened<'_, '_, P>) {
        if opened.close() {
            fence_full();
            self.arena.merge_ripe(&heap.cpu, self.piece.chunk);
        }
    }
}
