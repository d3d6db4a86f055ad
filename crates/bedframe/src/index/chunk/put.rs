//! Putting frames back into a chunk: check, then commit.

use super::{Chunk, Contents, Held, Words};
use crate::index::entry::{ChunkState, Entry};
use crate::index::record::Kept;
use crate::index::span::{FULL, Span, WORDS};
use crate::index::summary::{GROUP, Summary};
use crate::platform::Platform;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// What stands against putting a span back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PutRefusal {
    /// This frame of the chunk is free.
    Free(u32),
    /// This frame has never been in the heap, and was not said to be new.
    New(u32),
    /// This frame has been in the heap, and was said to be new.
    Known(u32),
    /// This frame's record keeps it.
    Kept(u32, Kept),
}

/// A put: whether a word became full, and how many of the frames were withdrawn instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Put {
    pub(crate) filled: bool,
    pub(crate) withdrawn: u32,
}

/// A put that failed: why, how many frames of the span were put before that, and whether one of
/// their words became full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PutFailed {
    pub(crate) refusal: PutRefusal,
    pub(crate) put: u32,
    pub(crate) filled: bool,
}

/// How far [`Chunk::put_words`] came.
pub(super) struct PutWords {
    pub(super) hints: u8,
    pub(super) filled: bool,
    /// The frame that was free already, and the frames put before its word.
    stopped: Option<(u32, u32)>,
}

impl Chunk<'_> {
    /// Puts all 512 frames of a chunk back at once, if they were taken at once. The summary is to be told.
    ///
    /// Cost: one compare-exchange.
    #[inline(always)]
    pub(crate) fn put_whole(entry: &AtomicU32, contents: Contents) -> bool {
        let (from, to) = (ChunkState::WholeUsed, ChunkState::WholeFree);
        Self::flip(entry, from, to, contents, false)
    }

    /// The same for this chunk.
    fn put_all(&self, contents: Contents) -> bool {
        let put = Self::put_whole(self.entry, contents);
        if put {
            self.above.whole.set(self.above.number / GROUP);
        }
        put
    }

    /// Puts `mask` back into a word of the free plane of a Broken chunk, all of it having been in the
    /// heap, if another frame of the word is free; both of which the caller has seen. `Ok` is the word
    /// as it was, `Err` the frames that were free already; `None`: the word has no free frame.
    ///
    /// Cost: one compare-exchange.
    #[inline]
    pub(crate) fn put_in_word(free: &AtomicU64, mask: u64) -> Option<Result<u64, u64>> {
        let mut old = free.load(Ordering::Relaxed);
        while old != 0 {
            if old & mask != 0 {
                return Some(Err(old & mask));
            }
            let new = old | mask;
            // Release pairs with the Acquire of the next taker.
            match free.compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Some(Ok(old)),
                Err(now) => old = now,
            }
        }
        None
    }

    /// The same under Busy, for a word that has no free frame, word `word` of chunk `number`, or frames that
    /// have to be marked as dirty. `Some` is the word as it is now; `None`: it cannot be done so, look
    /// again. `marks` says where the other planes are, and is asked only where they matter.
    ///
    /// Cost: one compare-exchange, one more if the word has a free frame, and where the chunk had
    /// none reads of a word of summary a level.
    #[inline(always)]
    pub(crate) fn put_under_busy<'a, P: Platform>(
        platform: &P,
        (entry, free): (&AtomicU32, &AtomicU64),
        (number, word): (u32, u32),
        mask: u64,
        marks: impl Fn() -> Option<Words<'a>> + Copy,
        some: impl FnOnce() -> Summary<'a>,
    ) -> Option<u64> {
        let held = Held::new(platform, entry);
        let was = held.was;
        // What the caller saw may be over: merged, withdrawn from the heap, or free by now.
        let known = was.takes_back_any() || was.is_plain() && is_known(marks, was, mask);
        let put = if known { set_free_in(free, mask) } else { Err(mask) };
        let Ok(word_now) = put else {
            held.release(was);
            return None;
        };
        if was.is_clean() {
            mark_dirty(marks, mask);
        }
        let now = was.with_hint(word);
        if was.hints() == 0 {
            some().set(u64::from(number) / GROUP);
        }
        held.release(if was.cap().is_none() { now } else { now.uncapped_by(word_now) });
        Some(word_now)
    }

    /// The same for a word of zeros, where the entry [takes any frame back](Entry::takes_back_any), has no cap that this
    /// might raise, and has a hint, so that summaries know of the chunk. `Some` says whether a CPU allocates there;
    /// `None`: it is not so, and nothing has changed.
    #[inline(always)]
    pub(crate) fn put_in_zero<P: Platform>(
        platform: &P,
        entry: &AtomicU32,
        free: &AtomicU64,
        word: u32,
        mask: u64,
    ) -> Option<bool> {
        // One frame makes no larger block.
        let one = mask & mask.wrapping_sub(1) == 0;
        let fits =
            |was: Entry| was.takes_back_any() && was.hints() != 0 && (one || was.cap().is_none());
        let held = Held::new_if(platform, entry, fits)?;
        let was = held.was;
        if free.load(Ordering::Relaxed) != 0 {
            held.release(was);
            return None;
        }
        // As in `set_free_in`.
        free.store(mask, Ordering::Release);
        held.release(was.with_hint(word));
        Some(was.is_adopted())
    }

    /// Puts `span` back, whatever state the chunk is in, and says of what `contents`. Frames in `new`
    /// enter the heap for the first time (they were boot-allocated, or are released); the others must
    /// have been in it.
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
        contents: Contents,
    ) -> Result<Put, PutFailed> {
        let nothing_new = new.iter().all(|word| *word == 0);
        let contents = contents.of_known(nothing_new);
        if span.is_whole() && nothing_new && self.put_all(contents) {
            return Ok(Put::default());
        }
        let held = self.hold(platform);
        let was = held.was;
        if let Some(refusal) = self.refuse(was, span, new) {
            held.release(was);
            return Err(PutFailed { refusal, put: 0, filled: false });
        }
        // Checked: the words that say so change under Busy alone, except that takers may clear
        // bits of the others.
        let leaving = self.leaving(was, span);
        let stays = |word: usize| span.mask(word) & !leaving.get(word).copied().unwrap_or(0);
        if span.is_whole() && leaving == [0; WORDS] {
            // Every word is zero, or has never been written.
            let clean = match contents {
                Contents::AsTaken if was.is(ChunkState::Broken) => self.is_unmarked(was),
                _ => contents.of_whole(was),
            };
            let now = was.with_state(ChunkState::WholeFree).with_hints(0).with_adopted(false);
            held.finish(&self.above, now.with_clean(clean));
            return Ok(Put::default());
        }
        let withdrawn = leaving.iter().map(|word| word.count_ones()).sum();
        match was.state() {
            ChunkState::Untouched | ChunkState::WholeUsed => {
                let complete = was.is(ChunkState::WholeUsed);
                let all = if complete { FULL } else { 0 };
                let hints = self.write_planes(|word| (stays(word), all | stays(word)));
                let now = was.with_state(ChunkState::Broken).with_hints(hints).with_cap(None);
                let known = now.with_clean(was.is_clean() && contents == Contents::AsTaken);
                let clean = self.mark(known, span, contents);
                self.withdraw_leaving(was, span);
                held.finish(&self.above, now.with_complete(complete).with_clean(clean));
                Ok(Put { filled: false, withdrawn })
            }
            _ => {
                let done = self.put_words(span, &leaving, was.hints());
                let put = done.stopped.map_or(span.count, |(_, put)| put);
                let put = Span::new(span.first, put);
                let clean = self.mark(was, put, contents);
                self.withdraw_leaving(was, put);
                let now = was.with_hints(done.hints).with_cap(None).with_clean(clean);
                held.finish(&self.above, now);
                match done.stopped {
                    None => Ok(Put { filled: done.filled, withdrawn }),
                    Some((bit, put)) => {
                        let refusal = PutRefusal::Free(bit);
                        Err(PutFailed { refusal, put, filled: done.filled })
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
        self.first_kept(was, checked).map(|(bit, kept)| PutRefusal::Kept(bit, kept)).or(refused)
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
                ChunkState::Broken => (load(self.free), load(&self.marks.initialised)),
                ChunkState::WholeFree => (FULL, FULL),
                ChunkState::WholeUsed => (0, FULL),
                ChunkState::Untouched | ChunkState::Busy => (0, 0),
            };
            let withdrawn = match state {
                ChunkState::Broken => load(&self.marks.dirty) & !known,
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

    /// Sets the bits of `span` but for those that are `leaving` in the planes of a Broken chunk, for the
    /// holder of Busy, up to the first frame that is free already.
    pub(super) fn put_words(&self, span: Span, leaving: &[u64; WORDS], hints: u8) -> PutWords {
        let mut done = PutWords { hints, filled: false, stopped: None };
        for word in span.words() {
            let mask = span.mask(word) & !leaving.get(word).copied().unwrap_or(0);
            if mask == 0 {
                continue;
            }
            let Some(initialised) = self.marks.initialised.get(word) else { continue };
            // Before the frames can be taken; the Release in `set_free` keeps the order.
            let known = initialised.fetch_or(mask, Ordering::Relaxed);
            match self.set_free(word, mask) {
                Ok(full) => done.filled |= full,
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
        let Some(free) = self.free.get(word) else { return Err(mask) };
        set_free_in(free, mask).map(|now| now == FULL)
    }
}

/// Whether frames of a chunk with this entry have been in the heap.
#[cold]
#[inline(never)]
fn is_known<'a>(marks: impl Fn() -> Option<Words<'a>>, was: Entry, mask: u64) -> bool {
    was.is_complete()
        || marks().is_some_and(|marks| marks.initialised.load(Ordering::Relaxed) & mask == mask)
}

/// Marks frames as dirty that have just been put back by the holder of Busy. Whoever takes them in the meantime
/// asks nothing before Busy has ended.
#[cold]
#[inline(never)]
fn mark_dirty<'a>(marks: impl Fn() -> Option<Words<'a>>, mask: u64) {
    if let Some(marks) = marks() {
        marks.dirty.fetch_or(mask, Ordering::Relaxed);
    }
}

/// Sets bits of a free word, for the holder of Busy; `Err` with those that were set already, and
/// nothing changed, or the word as it is now.
#[inline]
fn set_free_in(free: &AtomicU64, mask: u64) -> Result<u64, u64> {
    let mut old = free.load(Ordering::Relaxed);
    if old == 0 {
        // Nobody but the holder of Busy changes it. Release as below.
        free.store(mask, Ordering::Release);
        return Ok(mask);
    }
    loop {
        if old & mask != 0 {
            return Err(old & mask);
        }
        // Release pairs with the Acquire of the next taker. A loop, since others may change a
        // word that is not empty while we are Busy.
        match free.compare_exchange_weak(old, old | mask, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return Ok(old | mask),
            Err(now) => old = now,
        }
    }
}
