//! Runs of any length, at any alignment, within any limits: found by looking at every chunk.
//!
//! This is the search that trusts no hint. It serves requests that are not aligned blocks, and
//! every request that found nothing while hints were moving.

use super::{Heap, piece_in, range};
use crate::addr::FrameRange;
use crate::index::{Bank, CHUNK_FRAMES, ChunkState, Contents, Segment, WORDS};
use crate::platform::Platform;
use crate::request::Request;

impl<P: Platform> Heap<'_, P> {
    /// Looks for `request` in one bank, segment by segment from the lowest frame on.
    ///
    /// Cost: one entry a chunk, and one cache line more for each that is Broken.
    pub(super) fn search_runs(
        &self,
        _id: u32,
        bank: &Bank,
        request: &Request<'_>,
    ) -> Option<FrameRange> {
        let segments = self.directory.segments();
        self.directory.segments_of(bank).iter().find_map(|index| {
            let segment = segments.get(*index as usize)?;
            let limits = request.within().intersect(segment.frames());
            request.place_in(limits)?;
            self.search_segment(segment, limits, request)
        })
    }

    fn search_segment(
        &self,
        segment: &Segment,
        limits: FrameRange,
        request: &Request<'_>,
    ) -> Option<FrameRange> {
        // The run of free frames that ends where we are.
        let mut run_start = limits.start().get();
        let mut at = run_start;
        let end = limits.end().get();
        while at < end {
            let (free_from, free_to) = self.next_free(segment, at, end)?;
            if free_from != at {
                run_start = free_from;
            }
            at = free_to;
            let run = range(run_start, at - run_start)?;
            let Some(found) = request.place_in(run) else { continue };
            match self.take_exactly(segment, found) {
                Ok(()) => return Some(found),
                // Somebody took part of it: go on behind the frame that was missing.
                Err(missing) => {
                    run_start = missing + 1;
                    at = missing + 1;
                }
            }
        }
        None
    }

    /// The first stretch of free frames in `[at, end)` that lies in one chunk.
    pub(super) fn next_free(&self, segment: &Segment, at: u64, end: u64) -> Option<(u64, u64)> {
        let bank = self.bank(segment)?;
        let arena = self.directory.arena(bank.arena)?;
        let mut at = at;
        while at < end {
            let stretch = self.stretch(&arena, segment, at, end)?;
            match stretch.entry.state() {
                ChunkState::WholeFree => return Some((at, stretch.end)),
                ChunkState::Broken => {
                    let piece = piece_in(segment, at, end);
                    let look = arena.chunk(piece.chunk)?.look(self.cpu.platform);
                    if let Some((first, stop)) = first_run(&look.free, piece.span.first) {
                        let (from, to) = (piece.frame(first), piece.frame(stop).min(end));
                        if from < end && first < piece.span.end() {
                            return Some((from, to));
                        }
                    }
                }
                _ => {}
            }
            at = stretch.end;
        }
        None
    }

    /// Takes exactly the frames of `found`, which lie in `segment`, or nothing; `Err` says a frame
    /// that was missing, or one of a block that was.
    pub(super) fn take_exactly(&self, segment: &Segment, found: FrameRange) -> Result<(), u64> {
        let (start, end) = (found.start().get(), found.end().get());
        let arena = self.bank(segment).and_then(|bank| self.directory.arena(bank.arena));
        let Some(arena) = arena else { return Err(start) };
        let mut at = start;
        while at < end {
            let piece = piece_in(segment, at, end);
            if !arena.take_span(&self.cpu, piece.chunk, piece.span) {
                // In ascending order and undone at once: two that want the same frames do not
                // wait for one another.
                let mut back = start;
                while back < at {
                    let piece = piece_in(segment, back, at);
                    // Ours since a moment ago: nobody can refuse them.
                    let (chunk, span) = (piece.chunk, piece.span);
                    let _ = arena.put_span(&self.cpu, chunk, span, &[0; WORDS], Contents::AsTaken);
                    back = piece.end();
                }
                return Err(at);
            }
            at = piece.end();
        }
        Ok(())
    }
}

/// The first run of set bits at or above bit `from`: its first bit, and the first behind.
fn first_run(words: &[u64; WORDS], from: u32) -> Option<(u32, u32)> {
    let next = |from: u32, set: bool| {
        let mut bit = from;
        while u64::from(bit) < CHUNK_FRAMES {
            let word = words.get((bit / 64) as usize).copied().unwrap_or(0);
            let word = if set { word } else { !word } >> (bit % 64);
            if word != 0 {
                return Some(bit + word.trailing_zeros());
            }
            bit = (bit / 64 + 1) * 64;
        }
        None
    };
    let first = next(from, true)?;
    Some((first, next(first, false).unwrap_or(CHUNK_FRAMES as u32)))
}

#[cfg(test)]
mod tests {
    use super::first_run;

    #[test]
    fn runs_are_found_across_words() {
        let mut words = [0; 8];
        assert_eq!(first_run(&words, 0), None);
        words[0] = 1 << 63;
        words[1] = 0b1011;
        assert_eq!(first_run(&words, 0), Some((63, 66)));
        assert_eq!(first_run(&words, 65), Some((65, 66)));
        assert_eq!(first_run(&words, 66), Some((67, 68)));
        words[7] = u64::MAX;
        assert_eq!(first_run(&words, 68), Some((448, 512)));
    }
}
