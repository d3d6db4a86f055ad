//! Walking the index: what is free, frame by frame.

use super::{Heap, piece_in};
use crate::addr::{FrameRange, Mfn};
use crate::index::{ChunkState, Segment, WORDS};
use crate::platform::Platform;

/// A segment's free memory as a walk finds it.
pub(crate) struct Walk<'h, 'a, P> {
    heap: &'h Heap<'a, P>,
    segment: &'a Segment,
    at: u64,
}

impl<'a, P: Platform> Heap<'a, P> {
    /// The maximal runs of free frames of a segment, in ascending order.
    pub(crate) fn free_runs<'h>(&'h self, segment: &'a Segment) -> Walk<'h, 'a, P> {
        Walk { heap: self, segment, at: segment.start }
    }

    /// Of the frames in `range`: how many are free, and how many have been in the heap.
    pub(crate) fn count(&self, range: FrameRange) -> (u64, u64) {
        let (mut at, end) = (range.start().get(), range.end().get());
        let (mut free, mut initialised) = (0, 0);
        while at < end {
            let Some(piece) = self.piece(at, end) else { break };
            let Some(chunk) = self.chunk_of(&piece) else { break };
            at = piece.end();
            let frames = u64::from(piece.span.count);
            match chunk.settled(self.cpu.platform).state() {
                ChunkState::Untouched => continue,
                ChunkState::WholeUsed => {
                    initialised += frames;
                    continue;
                }
                ChunkState::WholeFree => {
                    free += frames;
                    initialised += frames;
                    continue;
                }
                ChunkState::Broken | ChunkState::Busy => {}
            }
            let look = chunk.look(self.cpu.platform);
            for word in 0..WORDS {
                let mask = piece.span.mask(word);
                free += u64::from((look.free_word(word) & mask).count_ones());
                initialised += u64::from((look.initialised_word(word) & mask).count_ones());
            }
        }
        (free, initialised)
    }
}

impl<P: Platform> Iterator for Walk<'_, '_, P> {
    type Item = FrameRange;

    fn next(&mut self) -> Option<FrameRange> {
        let end = self.segment.end;
        let mut start = None;
        while self.at < end {
            let piece = piece_in(self.segment, self.at, end);
            let next = self.heap.next_free(self.segment, self.at, piece.end());
            match (start, next) {
                (None, Some((from, to))) => {
                    start = Some(from);
                    self.at = to;
                }
                // Goes on in the next chunk, or ends here.
                (Some(_), Some((from, to))) if from == self.at => self.at = to,
                (Some(_), _) => break,
                (None, None) => self.at = piece.end(),
            }
        }
        FrameRange::new(Mfn::new(start?), Mfn::new(self.at))
    }
}
