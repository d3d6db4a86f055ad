//! Putting frames back: check all of them, then commit.

use super::{Heap, Piece};
use crate::addr::{FrameRange, Mfn};
use crate::error::{FreeError, FreeRefusal};
use crate::index::{
    Arena, CHUNK_FRAMES, Chunk, ChunkState, Contents, Entry, GROUP, Kept, Look, PutRefusal, WORDS,
};
use crate::ledger::Attr;
use crate::platform::Platform;
use crate::sync::Ordering;

/// What the ledger says of a frame that was never in the heap: asked one stretch at a time, under
/// its lock.
pub(crate) trait AskLedger {
    /// What is known of `frame`, and up to where the same holds.
    fn ask(&self, frame: Mfn) -> (FrameRange, Attr);
}

impl<'a, P: Platform> Heap<'a, P> {
    /// Frees `range`, whatever it is made of: heap blocks, parts of them, boot-allocated frames. `Ok` says
    /// how many frames were withdrawn instead.
    pub(crate) fn free(
        &self,
        range: FrameRange,
        ledger: &impl AskLedger,
    ) -> Result<u64, FreeError> {
        self.free_as(range, ledger, Putting::Whatever)
    }

    /// The same, with what is known of the contents.
    pub(crate) fn free_as(
        &self,
        range: FrameRange,
        ledger: &impl AskLedger,
        putting: Putting,
    ) -> Result<u64, FreeError> {
        self.check(range, ledger)?;
        self.commit(range, 0, putting)
    }

    /// Whether every frame of `range` is in use or, if it was never in the heap, boot-allocated.
    /// The first one that is not makes the error.
    fn check(&self, range: FrameRange, ledger: &impl AskLedger) -> Result<(), FreeError> {
        let (mut at, end) = (range.start().get(), range.end().get());
        while at < end {
            if let Some(behind) = self.behind_whole(at, end, None) {
                at = behind;
                continue;
            }
            let Some((piece, look)) = self.look(at, end) else {
                return Err(error(at, FreeRefusal::Hole, 0));
            };
            let free = lowest(|word| look.free_word(word) & piece.span.mask(word));
            let kept = self.first_kept(&piece);
            let stop = piece.span.end().min(free.unwrap_or(u32::MAX));
            let stop = stop.min(kept.map_or(u32::MAX, |(bit, _)| bit));
            let mut from = piece.span.first;
            // Frames that were never in the heap: what are they?
            while let Some((first, behind)) = next_new(&look, from, stop) {
                let (first_frame, behind_frame) = (piece.frame(first), piece.frame(behind));
                let mut frame = first_frame;
                while frame < behind_frame {
                    let (known, attr) = ledger.ask(Mfn::new(frame));
                    if let Some(why) = attr.free_refusal() {
                        return Err(error(frame, why, 0));
                    }
                    frame = known.end().get().max(frame + 1);
                }
                from = behind;
            }
            // No frame that is free is kept.
            if let Some((bit, kept)) = kept.filter(|(bit, _)| *bit == stop) {
                return Err(kept_error(piece.frame(bit), kept, 0));
            }
            if let Some(bit) = free {
                return Err(error(piece.frame(bit), FreeRefusal::AlreadyFree, 0));
            }
            at = piece.end();
        }
        Ok(())
    }

    /// The first frame of `range` that has been in the heap, and why it cannot be released.
    pub(crate) fn first_known(&self, range: FrameRange) -> Option<(u64, FreeRefusal)> {
        let (mut at, end) = (range.start().get(), range.end().get());
        while at < end {
            let (piece, look) = self.look(at, end)?;
            if let Some((bit, why)) = known_in(&piece, &look) {
                return Some((piece.frame(bit), why));
            }
            at = piece.end();
        }
        None
    }

    /// Puts the frames of `range`, which have been checked, into the index. `before` frames of the
    /// caller's range have been put already. `Ok` says how many frames were withdrawn instead.
    pub(crate) fn commit(
        &self,
        range: FrameRange,
        before: u64,
        putting: Putting,
    ) -> Result<u64, FreeError> {
        let (start, end) = (range.start().get(), range.end().get());
        let (mut at, mut withdrawn) = (start, 0);
        while at < end {
            let contents = putting.contents();
            if putting != Putting::New
                && let Some(behind) = self.behind_whole(at, end, Some(contents))
            {
                at = behind;
                continue;
            }
            let Some((piece, look)) = self.look(at, end) else {
                return Err(error(at, FreeRefusal::Hole, before + (at - start)));
            };
            if putting == Putting::New
                && let Some((bit, why)) = known_in(&piece, &look)
            {
                return Err(error(piece.frame(bit), why, before + (at - start)));
            }
            // What has been in the heap stays so; what has not been was checked by the ledger.
            let new: [u64; WORDS] = core::array::from_fn(|word| {
                piece.span.mask(word) & !look.initialised_word(word) & !look.free_word(word)
            });
            let Some(arena) = self.arena_of(&piece) else {
                return Err(error(at, FreeRefusal::Hole, before + (at - start)));
            };
            match arena.put_span(&self.cpu, piece.chunk, piece.span, &new, contents) {
                Ok(some) => {
                    withdrawn += u64::from(some);
                    at = piece.end();
                }
                Err((refusal, put)) => {
                    let committed = before + (at - start) + u64::from(put);
                    return Err(refused(&piece, refusal, committed));
                }
            }
        }
        Ok(withdrawn)
    }

    /// The first frame behind a chunk that begins at `at`, lies in `[at, end)`, and was handed out
    /// whole; having put it back, if `put` says with which contents. `None` if it is anything else.
    fn behind_whole(&self, at: u64, end: u64, put: Option<Contents>) -> Option<u64> {
        let behind = at + CHUNK_FRAMES;
        if !at.is_multiple_of(CHUNK_FRAMES) || behind > end {
            return None;
        }
        let (segment, words) = self.directory.words(at, behind)?;
        let Some(contents) = put else {
            let entry = Entry(words.entry.load(Ordering::Acquire));
            return (entry.is(ChunkState::WholeUsed) && !entry.is_exceptional()).then_some(behind);
        };
        let bank = self.bank(segment)?;
        if !Chunk::put_whole(words.entry, contents) {
            return None;
        }
        let (chunk, _) = segment.chunk_of(at);
        self.directory.whole_of(bank).set(u64::from(chunk) / GROUP);
        Some(behind)
    }

    /// The first frame of a piece whose record keeps it from being freed.
    fn first_kept(&self, piece: &Piece<'_>) -> Option<(u32, Kept)> {
        let chunk = self.chunk_of(piece)?;
        chunk.first_kept(chunk.settled(self.cpu.platform), piece.span)
    }

    /// Makes frames that were just allocated Uninitialised again, for Bedframe's own use: the ledger
    /// answers for them from now on.
    pub(crate) fn withdraw(&self, range: FrameRange) {
        let (mut at, end) = (range.start().get(), range.end().get());
        while at < end {
            let Some(piece) = self.piece(at, end) else { return };
            if let Some(chunk) = self.chunk_of(&piece) {
                chunk.withdraw(self.cpu.platform, piece.span);
            }
            at = piece.end();
        }
    }

    /// Undoes that, up to the put.
    pub(crate) fn readmit(&self, range: FrameRange) {
        let (mut at, end) = (range.start().get(), range.end().get());
        while at < end {
            let Some(piece) = self.piece(at, end) else { return };
            if let Some(chunk) = self.chunk_of(&piece) {
                chunk.readmit(self.cpu.platform, piece.span);
            }
            at = piece.end();
        }
    }

    /// The piece of `[at, end)` that begins at `at`, and what its chunk looks like.
    pub(crate) fn look(&self, at: u64, end: u64) -> Option<(Piece<'a>, Look)> {
        let piece = self.piece(at, end)?;
        let chunk = self.chunk_of(&piece)?;
        Some((piece, chunk.look(self.cpu.platform)))
    }

    pub(crate) fn chunk_of(&self, piece: &Piece<'_>) -> Option<Chunk<'a>> {
        self.arena_of(piece)?.chunk(piece.chunk)
    }

    pub(crate) fn arena_of(&self, piece: &Piece<'_>) -> Option<Arena<'a>> {
        self.directory.arena(self.bank(piece.segment)?.arena)
    }
}

/// The error for a put that was refused.
#[cold]
fn refused(piece: &Piece<'_>, refusal: PutRefusal, committed: u64) -> FreeError {
    let (bit, why) = match refusal {
        PutRefusal::Kept(bit, kept) => return kept_error(piece.frame(bit), kept, committed),
        // Known: freed by another call between our look and our step, whatever became of it since.
        PutRefusal::Free(bit) | PutRefusal::New(bit) | PutRefusal::Known(bit) => {
            (bit, FreeRefusal::AlreadyFree)
        }
    };
    error(piece.frame(bit), why, committed)
}

/// The error for a frame that its record keeps.
#[cold]
pub(super) fn kept_error(frame: u64, kept: Kept, committed: u64) -> FreeError {
    let why = match kept {
        Kept::Owned => FreeRefusal::Owned,
        Kept::Referenced => FreeRefusal::Referenced,
        Kept::Offlined => FreeRefusal::Offlined,
        Kept::Broken => FreeRefusal::Bad,
    };
    error(frame, why, committed)
}

/// What a caller of [`Heap::commit`] puts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Putting {
    /// Frames in use, and boot-allocated ones.
    Whatever,
    /// Frames that were never in the heap: one that has come there since it was checked was
    /// released by another call, and may be somebody's by now.
    New,
    /// Frames that the caller has just taken and nobody has touched.
    AsTaken,
    /// Frames that are scrubbed, or whose owner need not have them scrubbed.
    Scrubbed,
}

impl From<Contents> for Putting {
    fn from(contents: Contents) -> Self {
        match contents {
            Contents::Written => Putting::Whatever,
            Contents::AsTaken => Putting::AsTaken,
            Contents::Scrubbed => Putting::Scrubbed,
        }
    }
}

impl Putting {
    const fn contents(self) -> Contents {
        match self {
            Putting::Whatever | Putting::New => Contents::Written,
            Putting::AsTaken => Contents::AsTaken,
            Putting::Scrubbed => Contents::Scrubbed,
        }
    }
}

/// The first frame of a piece that has been in the heap, and why it cannot be released.
fn known_in(piece: &Piece<'_>, look: &Look) -> Option<(u32, FreeRefusal)> {
    let bit = lowest(|word| look.initialised_word(word) & piece.span.mask(word))?;
    let free = look.free_word((bit / 64) as usize) >> (bit % 64) & 1 != 0;
    let why = if free { FreeRefusal::AlreadyFree } else { FreeRefusal::NotReleasable };
    Some((bit, why))
}

/// The lowest bit that is set in any of eight words.
fn lowest(word: impl Fn(usize) -> u64) -> Option<u32> {
    (0..WORDS).find_map(|index| {
        let bits = word(index);
        if bits == 0 { None } else { Some(index as u32 * 64 + bits.trailing_zeros()) }
    })
}

/// The first run of frames in bits `[from, stop)` that have never been in the heap.
fn next_new(look: &Look, from: u32, stop: u32) -> Option<(u32, u32)> {
    let is_new = |bit: &u32| look.initialised_word((*bit / 64) as usize) >> (*bit % 64) & 1 == 0;
    let first = (from..stop).find(is_new)?;
    let behind = (first..stop).find(|bit| !is_new(bit)).unwrap_or(stop);
    Some((first, behind))
}

pub(crate) const fn error(frame: u64, why: FreeRefusal, committed: u64) -> FreeError {
    FreeError { frame: Mfn::new(frame), why, committed }
}
