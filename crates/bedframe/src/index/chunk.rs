//! One chunk: its entry and its planes, and every step that changes them.
//!
//! # The one rule
//!
//! *A word of the free plane changes either by a compare-exchange that expects some frame of it to
//! be free, or by the holder of Busy.* While a chunk is whole its free plane is zero, so whoever
//! acts on an old look at the entry finds nothing to change: a stale allocation takes nothing, a
//! stale free (the loser of two frees of one frame) has to become the holder of Busy first, and
//! then sees that the chunk is whole. No step has ever to be undone on a guess.
//!
//! # Orderings
//!
//! Taking a frame is Acquire and pairs with the Release by which it was freed: what the last user
//! wrote happens before what the next one does. Entries are read with Acquire and written with
//! Release: who sees a chunk Broken sees the planes that were written before.

use super::entry::{ChunkState, Entry};
use super::records::{CountRefusal, Records};
use super::span::{FULL, Span, WORDS, find_aligned};
use crate::platform::{InterruptMask, Platform};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence_after_rmw};

/// The three bit planes of a chunk, a cache line each. They mean something while the entry says
/// Broken.
#[repr(C, align(64))]
pub(crate) struct Planes {
    /// The frame is free: the only truth about it.
    pub(crate) free: [AtomicU64; WORDS],
    /// The frame has been in the heap. Where neither this nor `free` is set the frame is
    /// Uninitialised, or was never RAM to hand out: the ledger knows which.
    pub(crate) initialised: [AtomicU64; WORDS],
    /// The frame is to be scrubbed before another owner sees it.
    pub(crate) dirty: [AtomicU64; WORDS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Planes>() == 192 && align_of::<Planes>() == 64);

/// A chunk, wherever its words are kept.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) entry: &'a AtomicU32,
    pub(crate) planes: &'a Planes,
    /// `None` where the embedder asked for no records.
    pub(crate) records: Option<&'a Records>,
}

/// What a successful change means for the hints above the chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    /// The chunk's entry had no hint, or was whole, and has hints now.
    pub(crate) some_appeared: bool,
    /// Some word became full: the chunk may be ready to merge.
    pub(crate) word_filled: bool,
    /// The chunk became whole and free.
    pub(crate) became_whole_free: bool,
    /// The chunk was whole and free, and is not any more.
    pub(crate) was_whole_free: bool,
}

impl Change {
    pub(crate) const NONE: Change = Change {
        some_appeared: false,
        word_filled: false,
        became_whole_free: false,
        was_whole_free: false,
    };
}

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

/// What came of taking a hint back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HintCleared {
    /// The chunk has other hints, or the hint was right, or the chunk is not Broken.
    SomeLeft,
    /// The chunk has no hint left.
    NoneLeft,
    /// A free came between: the hint is back, and the summary must say so again.
    Restored,
}

/// A put that failed: why, how many frames of the span were put before that, and what their
/// coming means for the hints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PutFailed {
    pub(crate) refusal: PutRefusal,
    pub(crate) put: u32,
    pub(crate) change: Change,
}

/// What a look at a span of a chunk found, at one moment during the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    pub(crate) state: ChunkState,
    /// Frames of the whole chunk that are free, and that have been in the heap.
    pub(crate) free: [u64; WORDS],
    pub(crate) initialised: [u64; WORDS],
}

/// How far [`Chunk::put_words`] came.
struct PutWords {
    hints: u8,
    word_filled: bool,
    /// The frame that was free already, and the frames put before its word.
    stopped: Option<(u32, u32)>,
}

impl Look {
    pub(crate) fn free_word(&self, word: usize) -> u64 {
        self.free.get(word).copied().unwrap_or(0)
    }

    pub(crate) fn initialised_word(&self, word: usize) -> u64 {
        self.initialised.get(word).copied().unwrap_or(0)
    }
}

/// A chunk in state Busy, held by this CPU with interrupts masked.
struct Held<'a, 'p, P: Platform> {
    chunk: Chunk<'a>,
    platform: &'p P,
    mask: InterruptMask,
    /// The entry as it was.
    was: Entry,
}

impl<P: Platform> Held<'_, '_, P> {
    /// Ends Busy with the entry as it is to be; returns how it was.
    fn release(self, now: Entry) -> Entry {
        // Release: who sees the new entry sees the planes as they were left. Pairs with the
        // Acquire of every load of an entry. A swap and not a store, so that the fences which
        // follow in `Summary::set` come behind a read-modify-write.
        self.chunk.entry.swap(now.turned().0, Ordering::Release);
        self.platform.restore_interrupts(self.mask);
        self.was
    }
}

impl<'a> Chunk<'a> {
    /// The entry now.
    pub(crate) fn load(&self) -> Entry {
        Entry(self.entry.load(Ordering::Acquire))
    }

    /// The entry, once nobody is Busy with it.
    pub(crate) fn settled<P: Platform>(&self, platform: &P) -> Entry {
        loop {
            let entry = self.load();
            if !entry.is(ChunkState::Busy) {
                return entry;
            }
            platform.pause();
        }
    }

    /// Makes the chunk Busy. Interrupts are masked before it is and until it is not, so that no
    /// interrupt on this CPU can wait for what it has interrupted.
    fn hold<'p, P: Platform>(&self, platform: &'p P) -> Held<'a, 'p, P> {
        loop {
            let mask = platform.mask_interrupts();
            let was = self.load();
            if !was.is(ChunkState::Busy) {
                let busy = was.with_state(ChunkState::Busy);
                // Acquire pairs with the Release of the last change of the entry.
                if self.replace(was, busy, Ordering::Acquire) {
                    return Held { chunk: *self, platform, mask, was };
                }
            }
            platform.restore_interrupts(mask);
            platform.pause();
        }
    }

    fn replace(&self, old: Entry, new: Entry, success: Ordering) -> bool {
        self.entry.compare_exchange(old.0, new.0, success, Ordering::Relaxed).is_ok()
    }

    /// WholeFree to WholeUsed, or back; false if the chunk is not in state `from`.
    fn flip(&self, from: ChunkState, to: ChunkState) -> bool {
        let mut old = self.load();
        while old.is(from) && !old.is_referenced() {
            // Acquire and Release pair with one another across the two directions: what the last
            // user of the frames wrote happens before what the next one does.
            match self.entry.compare_exchange(
                old.0,
                old.with_state(to).with_hints(0).0,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => old = Entry(now),
            }
        }
        false
    }

    /// Puts all 512 frames back at once, if they were taken at once.
    ///
    /// Cost: one compare-exchange.
    pub(crate) fn put_whole(&self) -> bool {
        self.flip(ChunkState::WholeUsed, ChunkState::WholeFree)
    }

    /// Takes all 512 frames at once.
    ///
    /// Cost: one compare-exchange.
    pub(crate) fn take_whole(&self) -> bool {
        self.flip(ChunkState::WholeFree, ChunkState::WholeUsed)
    }

    /// Takes a naturally aligned block of `2^order` frames, order 0 to 6, out of word `word`, if
    /// the chunk is Broken and has one there. Returns the first frame's bit, and whether the word
    /// was left empty.
    ///
    /// Cost: one compare-exchange on the word.
    #[inline]
    pub(crate) fn take_in_word(&self, word: usize, order: u32) -> Option<(u32, bool)> {
        let free = self.planes.free.get(word)?;
        let mut old = free.load(Ordering::Relaxed);
        loop {
            let bit = find_aligned(old, order)?;
            let new = old & !(super::span::below(1 << order) << bit);
            // `old` is not zero. Acquire pairs with the Release of the frees.
            match free.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some((word as u32 * 64 + bit, new == 0)),
                Err(now) => old = now,
            }
        }
    }

    /// Takes exactly the frames of `span`, or nothing. The chunk must have been seen Broken.
    /// `Err` says how many frames, from the start, were taken before one was missing: the caller
    /// gives them back.
    pub(crate) fn take_span(&self, span: Span) -> Result<(), u32> {
        for word in span.words() {
            let mask = span.mask(word);
            let Some(free) = self.planes.free.get(word) else { return Err(0) };
            let mut old = free.load(Ordering::Relaxed);
            loop {
                if old & mask != mask {
                    return Err((word as u32 * 64).saturating_sub(span.first));
                }
                match free.compare_exchange_weak(
                    old,
                    old & !mask,
                    Ordering::Acquire, // Pairs with the Release of the frees.
                    Ordering::Relaxed,
                ) {
                    Ok(_) => break,
                    Err(now) => old = now,
                }
            }
        }
        Ok(())
    }

    /// Breaks a chunk that is whole and free, taking `span` of it in the same step. `None` if it
    /// is not.
    ///
    /// Cost: Busy while three cache lines are written.
    pub(crate) fn take_from_whole<P: Platform>(&self, platform: &P, span: Span) -> Option<Change> {
        if !self.load().is(ChunkState::WholeFree) {
            return None;
        }
        let held = self.hold(platform);
        let was = held.was;
        if !was.is(ChunkState::WholeFree) {
            held.release(was);
            return None;
        }
        let hints = self.write_planes(|word| (!span.mask(word), FULL));
        held.release(was.with_state(ChunkState::Broken).with_hints(hints));
        Some(Change { some_appeared: hints != 0, was_whole_free: true, ..Change::NONE })
    }

    /// Writes all three planes, for the holder of Busy; `f` says free and initialised for each
    /// word. Returns the hints that go with them.
    fn write_planes(&self, f: impl Fn(usize) -> (u64, u64)) -> u8 {
        let Planes { free, initialised, dirty } = self.planes;
        let words = free.iter().zip(initialised).zip(dirty).enumerate();
        let mut hints = 0;
        for (word, ((free_word, initialised_word), dirty_word)) in words {
            let (free, initialised) = f(word);
            dirty_word.store(0, Ordering::Relaxed);
            initialised_word.store(initialised, Ordering::Relaxed);
            // Release: a taker that still believes an older Broken may act on this word at once,
            // rightly. It pairs with its Acquire.
            free_word.store(free, Ordering::Release);
            hints |= u8::from(free != 0) << word;
        }
        hints
    }

    /// What `span`'s chunk looks like, all of it at one moment.
    pub(crate) fn look<P: Platform>(&self, platform: &P) -> Look {
        loop {
            let entry = self.settled(platform);
            let state = entry.state();
            let mut look = Look { state, free: [0; WORDS], initialised: [0; WORDS] };
            match state {
                ChunkState::Broken => {}
                ChunkState::WholeFree => {
                    return Look { free: [FULL; WORDS], initialised: [FULL; WORDS], ..look };
                }
                ChunkState::WholeUsed => return Look { initialised: [FULL; WORDS], ..look },
                ChunkState::Untouched | ChunkState::Busy => return look,
            }
            for (to, from) in look.free.iter_mut().zip(&self.planes.free) {
                *to = from.load(Ordering::Acquire);
            }
            for (to, from) in look.initialised.iter_mut().zip(&self.planes.initialised) {
                *to = from.load(Ordering::Acquire);
            }
            // The Acquire loads above keep this one behind them; had a merge zeroed a word that we
            // read, its Busy came before the zero, and we see it here.
            if entry.held_still(self.load()) {
                return look;
            }
        }
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
        if !was.is(ChunkState::Broken) {
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
    fn refuse_free<P: Platform>(
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

    /// Sets bits of a free word, for the holder of Busy; `Err` with those that were set already,
    /// and nothing changed. Says whether the word is full now.
    fn set_free(&self, word: usize, mask: u64) -> Result<bool, u64> {
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
    fn refuse(&self, was: Entry, span: Span, new: &[u64; WORDS]) -> Option<PutRefusal> {
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
    fn refuse_state(
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
    fn put_words(&self, span: Span, hints: u8) -> PutWords {
        let mut done = PutWords { hints, word_filled: false, stopped: None };
        for word in span.words() {
            let mask = span.mask(word);
            if let Some(initialised) = self.planes.initialised.get(word) {
                // Before the frames can be taken; the Release in `set_free` keeps the order.
                initialised.fetch_or(mask, Ordering::Relaxed);
            }
            match self.set_free(word, mask) {
                Ok(full) => done.word_filled |= full,
                Err(free) => {
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

    /// A word of the initialised plane, for a chunk that was seen Broken.
    #[inline]
    pub(crate) fn initialised(&self, word: usize) -> u64 {
        self.planes.initialised.get(word).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Takes a reference to frame `bit`, which is in use or, if `given`, boot-allocated: then the
    /// heap adopts it as in use. `Ok(false)`: it is neither.
    ///
    /// Cost: Busy for one word; the first time in a chunk, for its records (2 KiB) or planes.
    pub(crate) fn reference<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
        given: bool,
    ) -> Result<bool, CountRefusal> {
        let Some(records) = self.records else { return Ok(false) };
        let held = self.hold(platform);
        let was = held.was;
        let frame = Span::new(bit, 1);
        let mut new = [0; WORDS];
        for (index, word) in new.iter_mut().enumerate() {
            *word = if given { frame.mask(index) } else { 0 };
        }
        // What could be put back is what can be referred to.
        if self.refuse_state(was.state(), frame, &new).is_some() {
            held.release(was);
            return Ok(false);
        }
        if !was.is_recorded() {
            records.zero();
        }
        if let Err(refusal) = records.add(bit) {
            held.release(was);
            return Err(refusal);
        }
        let mut now = was.with_referenced(true);
        if was.is(ChunkState::Untouched) {
            self.write_planes(|word| (0, frame.mask(word)));
            now = now.with_state(ChunkState::Broken);
        } else if given && let Some(known) = self.planes.initialised.get((bit / 64) as usize) {
            known.fetch_or(frame.mask((bit / 64) as usize), Ordering::Relaxed);
        }
        held.release(now);
        Ok(true)
    }

    /// Gives a reference to frame `bit` back.
    pub(crate) fn unreference<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
    ) -> Result<(), CountRefusal> {
        let records = self.records.ok_or(CountRefusal::None)?;
        let held = self.hold(platform);
        let was = held.was;
        if !was.is_referenced() {
            held.release(was);
            return Err(CountRefusal::None);
        }
        match records.remove(bit) {
            Ok(some_left) => {
                held.release(was.with_referenced(some_left));
                Ok(())
            }
            Err(refusal) => {
                held.release(was);
                Err(refusal)
            }
        }
    }

    /// References to frame `bit`.
    pub(crate) fn references<P: Platform>(&self, platform: &P, bit: u32) -> u32 {
        match self.records {
            Some(records) if self.settled(platform).is_referenced() => records.count(bit),
            _ => 0,
        }
    }

    /// Makes `span`, whose frames are in use, Uninitialised again.
    pub(crate) fn withdraw<P: Platform>(&self, platform: &P, span: Span) {
        let held = self.hold(platform);
        let was = held.was;
        match was.state() {
            ChunkState::WholeUsed => {
                self.write_planes(|word| (0, !span.mask(word)));
            }
            ChunkState::Broken => {
                for word in span.words() {
                    if let Some(initialised) = self.planes.initialised.get(word) {
                        initialised.fetch_and(!span.mask(word), Ordering::Relaxed);
                    }
                }
            }
            ChunkState::Untouched | ChunkState::WholeFree | ChunkState::Busy => {
                held.release(was);
                return;
            }
        }
        held.release(was.with_state(ChunkState::Broken));
    }

    /// Whether word `word` has no free frame.
    pub(crate) fn word_is_empty(&self, word: usize) -> bool {
        self.planes.free.get(word).is_some_and(|free| free.load(Ordering::Relaxed) == 0)
    }

    /// Whether, at a glance, all of `span` is free.
    pub(crate) fn is_free(&self, span: Span) -> bool {
        span.words().all(|word| {
            let mask = span.mask(word);
            self.planes.free.get(word).is_some_and(|w| w.load(Ordering::Relaxed) & mask == mask)
        })
    }

    /// Whether every word of the free plane is full.
    fn is_full(&self) -> bool {
        self.planes.free.iter().all(|word| word.load(Ordering::Acquire) == FULL)
    }

    /// Whether, a word of the chunk having just become full or the chunk having just been left (by
    /// a read-modify-write in both cases), nothing is missing and nobody has adopted it.
    pub(crate) fn is_ripe(&self) -> bool {
        // Pairs with the fence of whoever fills another word at the same time, or leaves the
        // chunk: each has written (its word, or the entry) before its fence and reads after it, so
        // one of the two sees both. Holds on Arm as on x86: fences alone are relied on.
        fence_after_rmw();
        let entry = self.load();
        entry.is(ChunkState::Broken) && !entry.is_adopted() && self.is_full()
    }

    /// Whether the hints above the chunk must be told of a change, or the chunk is to be merged.
    #[inline]
    pub(crate) fn is_news(&self, change: Change) -> bool {
        // Most changes are none; and most words that become full do so where a CPU allocates.
        change != Change::NONE
            && (change != Change { word_filled: true, ..Change::NONE } || self.is_ripe())
    }

    /// Makes a Broken chunk with every frame free whole. False, with nothing changed, if some
    /// frame is not free.
    ///
    /// Cost: Busy for eight words.
    pub(crate) fn merge<P: Platform>(&self, platform: &P) -> bool {
        if !self.load().is(ChunkState::Broken) || !self.is_full() {
            return false;
        }
        let held = self.hold(platform);
        let was = held.was;
        if !was.is(ChunkState::Broken) {
            held.release(was);
            return false;
        }
        let claimed = self.planes.free.iter().take_while(|word| {
            // Acquire pairs with the Release of the frees: the whole chunk's next user comes after
            // the last user of each frame. Release pairs with the Acquire in `look`.
            word.compare_exchange(FULL, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        let claimed = claimed.count();
        if claimed < WORDS {
            // Nobody but the holder of Busy changes a word that is zero, so these are still ours.
            for word in self.planes.free.iter().take(claimed) {
                word.store(FULL, Ordering::Release);
            }
            held.release(was);
            return false;
        }
        held.release(was.with_state(ChunkState::WholeFree).with_hints(0).with_adopted(false));
        true
    }

    /// Takes back the hint that word `word` has a free frame, having found none. The caller keeps
    /// a window open.
    pub(crate) fn clear_hint<P: Platform>(&self, platform: &P, word: usize) -> HintCleared {
        let bit = 1u8 << (word & 7);
        let Some(free) = self.planes.free.get(word) else { return HintCleared::SomeLeft };
        let left = |entry: Entry| match entry.hints() {
            0 => HintCleared::NoneLeft,
            _ => HintCleared::SomeLeft,
        };
        loop {
            let old = self.settled(platform);
            if !old.is(ChunkState::Broken) {
                return HintCleared::SomeLeft;
            }
            if old.hints() & bit == 0 {
                return left(old);
            }
            if free.load(Ordering::Acquire) != 0 {
                return HintCleared::SomeLeft;
            }
            let new = old.with_hints(old.hints() & !bit);
            // AcqRel: a free into the empty word went through Busy on this very entry. Either our
            // exchange comes after its Release, and then we see its word below; or before, and
            // then it sets the hint when it ends.
            if self.replace(old, new, Ordering::AcqRel) {
                if free.load(Ordering::Acquire) != 0 {
                    self.set_hint(platform, bit);
                    return HintCleared::Restored;
                }
                return left(new);
            }
        }
    }

    fn set_hint<P: Platform>(&self, platform: &P, bit: u8) {
        loop {
            let old = self.settled(platform);
            if !old.is(ChunkState::Broken) || old.hints() & bit != 0 {
                return;
            }
            if self.replace(old, old.with_hints(old.hints() | bit), Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Marks the chunk as one that a CPU allocates in, or takes the mark away. A hint: it keeps
    /// CPUs apart and puts off a merge.
    pub(crate) fn adopt<P: Platform>(&self, platform: &P, adopted: bool) {
        loop {
            let old = self.settled(platform);
            if !old.is(ChunkState::Broken) || old.is_adopted() == adopted {
                return;
            }
            if self.replace(old, old.with_adopted(adopted), Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Whether the chunk has free frames that the hint summaries must know of.
    pub(crate) fn has_some(&self) -> bool {
        let entry = self.load();
        // Busy: its holder may be about to add hints and will say so, but may also leave them as
        // they were; so count those that are there.
        (entry.is(ChunkState::Broken) || entry.is(ChunkState::Busy)) && entry.hints() != 0
    }

    /// Whether the chunk is whole and free.
    pub(crate) fn is_whole_free<P: Platform>(&self, platform: &P) -> bool {
        self.settled(platform).is(ChunkState::WholeFree)
    }

    /// Prepares the chunk for hand-over: Broken, with no frame of it in the heap. Nobody else can
    /// reach it yet.
    pub(crate) fn format(&self) {
        self.write_planes(|_| (0, 0));
        self.entry.store(Entry::UNTOUCHED.with_state(ChunkState::Broken).0, Ordering::Relaxed);
    }

    /// Adds `span` to a chunk that was formatted, as free. Nobody else can reach it yet.
    pub(crate) fn seed(&self, span: Span) {
        let entry = self.load();
        let done = self.put_words(span, entry.hints());
        self.entry.store(entry.with_hints(done.hints).0, Ordering::Relaxed);
    }
}
