//! What follows a step that did not look at the records: are the frames that were taken the taker's,
//! and may those that were freed be free?

use super::free::kept_error;
use super::{Heap, Piece, Quick, Taken};
use crate::addr::FrameRange;
use crate::credits::Toll;
use crate::error::FreeError;
use crate::index::{
    Arena, ChunkState, Contents, Entry, OfflineRefusal, PutRefusal, Span, Vetted, WORDS,
};
use crate::platform::Platform;
use crate::sync::{AtomicU32, Ordering, fence_after_rmw};
use crate::tlb::{Stamp, TlbClock};

impl<P: Platform> Heap<'_, P> {
    /// The block that a quick path has taken, if it is the caller's; `toll` is told of one that is not.
    pub(crate) fn vetted(&self, taken: Taken, quick: Quick, toll: &dyn Toll) -> Option<FrameRange> {
        let (Taken::Yes(start) | Taken::Doubtful(start)) = taken else { return None };
        let found = quick.block(start)?;
        if matches!(taken, Taken::Doubtful(_)) && !self.vet(found) {
            toll.lost(found);
            return None;
        }
        Some(found)
    }

    /// Whether all frames of `taken`, which the caller has just taken, are his. If not, those that are
    /// are free again, and the others are left to whom they belong. If they are, no CPU reaches them
    /// through its TLB any more.
    ///
    /// Cost: an entry for each chunk, and where that is exceptional a look at the records.
    pub(crate) fn vet(&self, taken: FrameRange) -> bool {
        let Some(newest) = self.vet_unflushed(taken) else { return false };
        if newest != Stamp::NONE {
            self.flush(taken, newest);
        }
        true
    }

    /// The same, but that CPUs that were not flushed since the stamp that it answers may reach them;
    /// `None` if they are not the taker's.
    pub(super) fn vet_unflushed(&self, taken: FrameRange) -> Option<Stamp> {
        // The frames were taken before, by a read-modify-write; the entries are read behind it. Pairs
        // with the fence of who gives a frame a record.
        fence_after_rmw();
        let (start, end) = (taken.start().get(), taken.end().get());
        let (mut at, mut newest) = (start, Stamp::NONE);
        while let Some(piece) = self.piece_before(at, end) {
            at = piece.end();
            // Nearly all are ordinary, and then the entry is all that is looked for.
            let words = self.directory.words_in(piece.segment, piece.start);
            if words.is_some_and(|words| is_ordinary(words.entry)) {
                continue;
            }
            let Some(chunk) = self.chunk_of(&piece) else { continue };
            let Vetted { spoiled, stamp } = chunk.vet(self.cpu.platform, piece.span);
            if spoiled != [0; WORDS] {
                self.put_rest(start, end);
                return None;
            }
            newest = newest.max(stamp);
        }
        Some(newest)
    }

    /// Has the CPUs flushed that have not been since `stamp`, with nothing held.
    pub(crate) fn flush_since(&self, stamp: Stamp) {
        if stamp != Stamp::NONE
            && let Some(clock) = self.directory.clock()
        {
            clock.settle(self.cpu.platform, self.directory.slots(), stamp);
        }
    }

    /// Whether some CPU has not been flushed since `stamp`.
    pub(crate) fn is_stale(&self, stamp: Stamp) -> bool {
        let pending = |clock: &TlbClock| clock.is_pending(self.directory.slots(), stamp);
        stamp != Stamp::NONE && self.directory.clock().is_some_and(pending)
    }

    /// Has the CPUs flushed that may reach frames of `taken`, the newest stamp of whose chunks this is.
    #[cold]
    fn flush(&self, taken: FrameRange, newest: Stamp) {
        self.flush_since(newest);
        let Some(clock) = self.directory.clock() else { return };
        let (mut at, end) = (taken.start().get(), taken.end().get());
        while let Some(piece) = self.piece_before(at, end) {
            at = piece.end();
            if let Some(chunk) = self.chunk_of(&piece)
                && chunk.settled(self.cpu.platform).is_exceptional()
            {
                let slots = self.directory.slots();
                chunk.forget_stamp(self.cpu.platform, |stamp| clock.is_pending(slots, stamp));
            }
        }
    }

    fn piece_before(&self, at: u64, end: u64) -> Option<Piece<'_>> {
        if at < end { self.piece(at, end) } else { None }
    }

    /// The frames of a piece that are not who has taken it's.
    fn spoiled(&self, piece: &Piece<'_>) -> [u64; WORDS] {
        self.chunk_of(piece)
            .map_or([0; WORDS], |chunk| chunk.vet(self.cpu.platform, piece.span).spoiled)
    }

    /// Puts those frames of `[start, end)` back that are not spoiled.
    fn put_rest(&self, start: u64, end: u64) {
        let mut at = start;
        while let Some(piece) = self.piece_before(at, end) {
            let spoiled = self.spoiled(&piece);
            let is_spoiled = |bit: &u32| {
                spoiled.get((*bit / 64) as usize).is_some_and(|word| word >> (bit % 64) & 1 != 0)
            };
            let Some(arena) = self.arena_of(&piece) else { return };
            let mut first = piece.span.first;
            while let Some(from) = (first..piece.span.end()).find(|bit| !is_spoiled(bit)) {
                let behind = (from..piece.span.end()).find(is_spoiled).unwrap_or(piece.span.end());
                first = self.put_up_to_kept(&arena, piece.chunk, from, behind);
            }
            at = piece.end();
        }
    }

    /// Puts frames `from` up to `behind` of a chunk back, the caller's since a moment ago, up to one that somebody
    /// refers to since, having guessed its number; that one is passed over. Returns where to go on.
    fn put_up_to_kept(&self, arena: &Arena<'_>, chunk: u32, from: u32, behind: u32) -> u32 {
        let mut behind = behind;
        loop {
            let span = Span::new(from, behind - from);
            match arena.put_span(&self.cpu, chunk, span, &[0; WORDS], Contents::AsTaken) {
                Err((PutRefusal::Kept(kept, _), _)) if kept > from => behind = kept,
                Err((PutRefusal::Kept(..), _)) => return from + 1,
                _ => return behind,
            }
        }
    }

    /// Lets a piece's first frame come back.
    pub(crate) fn online(&self, piece: &Piece<'_>) -> Result<(), OfflineRefusal> {
        let arena = self.arena_of(piece).ok_or(OfflineRefusal::State)?;
        arena.online(&self.cpu, piece.chunk, piece.span.first)
    }

    /// Looks at what a quick free of `freed`, frames of one word, did not look at. `Err`: a frame was
    /// not to be freed, and it and those behind it are in use again, but for what others have taken
    /// since.
    pub(crate) fn review(&self, freed: FrameRange) -> Result<(), FreeError> {
        let (start, end) = (freed.start().get(), freed.end().get());
        let Some(piece) = self.piece(start, end) else { return Ok(()) };
        let Some(arena) = self.arena_of(&piece) else { return Ok(()) };
        let Some(chunk) = arena.chunk(piece.chunk) else { return Ok(()) };
        let result = chunk.review(self.cpu.platform, piece.span);
        // Who else saw the word full may have found the chunk not to be merged for a record's sake.
        arena.merge_ripe(&self.cpu, piece.chunk);
        result.map_err(|(bit, kept)| {
            kept_error(piece.frame(bit), kept, u64::from(bit - piece.span.first))
        })
    }
}

/// Whether nobody is Busy with a chunk, and no frame of it is exceptional.
fn is_ordinary(entry: &AtomicU32) -> bool {
    // Acquire, as in `Chunk::settled`, whose answer this is where nobody is Busy.
    let now = Entry(entry.load(Ordering::Acquire));
    !now.is(ChunkState::Busy) && !now.is_exceptional()
}
