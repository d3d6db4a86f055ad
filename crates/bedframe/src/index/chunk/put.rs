//! Putting frames back into a chunk: check, then commit.

use super::{Change, Chunk};
use crate::index::entry::{ChunkState, Entry};
use crate::index::span::{FULL, Span, WORDS};
use crate::platform::Platform;
use crate::sync::{AtomicU64, Ordering};

/// What stands against putting a span back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PutRefusal {
    /// This frame of the chunk is free.
    Free(u32),
    /// This frame has never been in the heap, and was not said to be new.
    New(u32),
    /// This frame has been in the heap, and was said to be new.
    Known(u32),
    /// This frame has references.
    Referenced(u32),
}

/// A put that failed: why, how many frames of the span were put before that, and what their
/// coming means for the hints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PutFailed {
    pub(crate) refusal: PutRefusal,
    pub(crate) put: u32,
    pub(crate) change: Change,
}

/// How far [`Chunk::put_words`] came.
pub(super) struct PutWords {
    pub(super) hints: u8,
    word_filled: bool,
    /// The frame that was free already, and the frames put before its word.
    stopped: Option<(u32, u32)>,
}

impl Chunk<'_> {
    /// Puts all 512 frames back at once, if they were taken at once.
    ///
    /// Cost: one compare-exchange.
    pub(crate) fn put_whole(&self) -> bool {
        self.flip(ChunkState::WholeUsed, ChunkState::WholeFree)
    }

    /// Puts `mask` of word `word` back, if the chunk is Broken and all of `mask` has been in the
    /// heap, which the caller has seen. `None`: the state has changed, look again.
    ///
    /// Cost: one compare-exchange where the word has another free frame; else Busy for one word.
    #[inline]
    pub(crate) fn put_in_word<P: Platform>(
        &self,
        platform: &P,
        word: usize,
        mask: u64,
    ) -> Option<Result<Change, PutRefusal>> {
        let free = self.planes.free.get(word)?;
        let mut old = free.load(Ordering::Relaxed);
        while old != 0 {
            if old & mask != 0 {
                return self.refuse_free(platform, word, old & mask);
            }
            let new = old | mask;
            // Release pairs with the Acquire of the next taker.
            match free.compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Some(Ok(Change { word_filled: new == FULL, ..Change::NONE })),
                Err(now) => old = now,
            }
        }
        let held = self.hold(platform);
        let was = held.was;
        // What the caller saw may be over: merged, or withdrawn from the heap.
        if !was.is(ChunkState::Broken) || self.initialised(word) & mask != mask {
            held.release(was);
            return None;
        }
        match self.set_free(word, mask) {
            Ok(word_filled) => {
                held.release(was.with_hints(was.hints() | 1 << word));
                let some_appeared = was.hints() == 0;
                Some(Ok(Change { some_appeared, word_filled, ..Change::NONE }))
            }
            Err(free) => {
                held.release(was);
                Some(Err(PutRefusal::Free(word as u32 * 64 + free.trailing_zeros())))
            }
        }
    }

    /// A frame to be put back was seen free. True of a Broken chunk; while a chunk is being broken
    /// or merged, look again.
    #[cold]
    pub(super) fn refuse_free<P: Platform>(
        &self,
        platform: &P,
        word: usize,
        bits: u64,
    ) -> Option<Result<Change, PutRefusal>> {
        if !self.settled(platform).is(ChunkState::Broken) {
            return None;
        }
        Some(Err(PutRefusal::Free(word as u32 * 64 + bits.trailing_zeros())))
    }

    /// Puts `span` back, whatever state the chunk is in. Frames in `new` enter the heap for the
    /// first time (they were boot-allocated, or are released); the others must have been in it.
    /// Check, then commit: a refusal changes nothing, unless another call frees one of the same
    /// frames at the same time, and then the number says how many frames were put.
    ///
    /// Cost: Busy for the words of the span; for a whole chunk that was handed out whole, one
    /// compare-exchange.
    pub(crate) fn put_span<P: Platform>(
        &self,
        platform: &P,
        span: Span,
        new: &[u64; WORDS],
    ) -> Result<Change, PutFailed> {
        let nothing_new = new.iter().all(|word| *word == 0);
        if span.is_whole() && nothing_new && self.put_whole() {
            return Ok(Change { became_whole_free: true, ..Change::NONE });
        }
        let held = self.hold(platform);
        let was = held.was;
        if let Some(refusal) = self.refuse(was, span, new) {
            held.release(was);
            return Err(PutFailed { refusal, put: 0, change: Change::NONE });
        }
        // Checked: the words that say so change under Busy alone, except that takers may clear
        // bits of the others.
        if span.is_whole() {
            // Every word is zero, or has never been written.
            held.release(was.with_state(ChunkState::WholeFree).with_hints(0).with_adopted(false));
            return Ok(Change { became_whole_free: true, ..Change::NONE });
        }
        match was.state() {
            ChunkState::Untouched | ChunkState::WholeUsed => {
                let all = if was.is(ChunkState::WholeUsed) { FULL } else { 0 };
                let hints = self.write_planes(|word| (span.mask(word), all | span.mask(word)));
                held.release(was.with_state(ChunkState::Broken).with_hints(hints));
                Ok(Change { some_appeared: true, ..Change::NONE })
            }
            _ => {
                let done = self.put_words(span, was.hints());
                held.release(was.with_hints(done.hints));
                let some_appeared = was.hints() == 0 && done.hints != 0;
                let change =
                    Change { some_appeared, word_filled: done.word_filled, ..Change::NONE };
                match done.stopped {
                    None => Ok(change),
                    Some((bit, put)) => {
                        Err(PutFailed { refusal: PutRefusal::Free(bit), put, change })
                    }
                }
            }
        }
    }

    /// What stands against putting `span`, for the holder of Busy.
    pub(super) fn refuse(&self, was: Entry, span: Span, new: &[u64; WORDS]) -> Option<PutRefusal> {
        let refused = self.refuse_state(was.state(), span, new);
        let before = match refused {
            Some(PutRefusal::Free(bit) | PutRefusal::New(bit) | PutRefusal::Known(bit)) => bit,
            _ => span.end(),
        };
        // Of several reasons the one of the lowest frame.
        let checked = Span::new(span.first, before - span.first);
        self.first_referenced(was, checked).map(PutRefusal::Referenced).or(refused)
    }

    /// The first frame of `span` that has references.
    pub(crate) fn first_referenced(&self, entry: Entry, span: Span) -> Option<u32> {
        if entry.is_referenced() { self.records?.first_in(span) } else { None }
    }

    /// What the planes have against it.
    pub(super) fn refuse_state(
        &self,
        state: ChunkState,
        span: Span,
        new: &[u64; WORDS],
    ) -> Option<PutRefusal> {
        for word in span.words() {
            let mask = span.mask(word);
            let new = new.get(word).copied().unwrap_or(0) & mask;
            let load = |plane: &[AtomicU64; WORDS]| {
                plane.get(word).map_or(0, |word| word.load(Ordering::Relaxed))
            };
            let (free, known) = match state {
                ChunkState::Broken => (load(&self.planes.free), load(&self.planes.initialised)),
                ChunkState::WholeFree => (FULL, FULL),
                ChunkState::WholeUsed => (0, FULL),
                ChunkState::Untouched | ChunkState::Busy => (0, 0),
            };
            let withdrawn = match state {
                ChunkState::Broken => load(&self.planes.dirty) & !known,
                _ => 0,
            };
            let known = known | withdrawn;
            let bad = mask & (free | known & new | !known & !new);
            if bad != 0 {
                let bit = word as u32 * 64 + bad.trailing_zeros();
                let bad = bad & bad.wrapping_neg();
                return Some(if free & bad != 0 {
                    PutRefusal::Free(bit)
                } else if new & bad != 0 {
                    PutRefusal::Known(bit)
                } else {
                    PutRefusal::New(bit)
                });
            }
        }
        None
    }

    /// Sets the bits of `span` in the planes of a Broken chunk, for the holder of Busy, up to the
    /// first frame that is free already.
    pub(super) fn put_words(&self, span: Span, hints: u8) -> PutWords {
        let mut done = PutWords { hints, word_filled: false, stopped: None };
        for word in span.words() {
            let mask = span.mask(word);
            let Some(initialised) = self.planes.initialised.get(word) else { continue };
            // Before the frames can be taken; the Release in `set_free` keeps the order.
            let known = initialised.fetch_or(mask, Ordering::Relaxed);
            match self.set_free(word, mask) {
                Ok(full) => done.word_filled |= full,
                Err(free) => {
                    // Those of the word that were new are not freed, and so stay new.
                    initialised.fetch_and(known | !mask, Ordering::Relaxed);
                    let base = word as u32 * 64;
                    let put = base.saturating_sub(span.first);
                    done.stopped = Some((base + free.trailing_zeros(), put));
                    return done;
                }
            }
            done.hints |= 1 << word;
        }
        done
    }

    /// Sets bits of a free word, for the holder of Busy; `Err` with those that were set already,
    /// and nothing changed. Says whether the word is full now.
    pub(super) fn set_free(&self, word: usize, mask: u64) -> Result<bool, u64> {
        let Some(free) = self.planes.free.get(word) else { return Err(mask) };
        let mut old = free.load(Ordering::Relaxed);
        loop {
            if old & mask != 0 {
                return Err(old & mask);
            }
            // Release pairs with the Acquire of the next taker. A loop, since others may change a
            // word that is not empty while we are Busy.
            match free.compare_exchange_weak(old, old | mask, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return Ok(old | mask == FULL),
                Err(now) => old = now,
            }
        }
    }
}
