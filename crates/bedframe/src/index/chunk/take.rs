//! Taking frames of a chunk.

use super::{Chunk, Contents};
use crate::index::entry::{ChunkState, Entry};
use crate::index::span::{FULL, Span, below, find_aligned};
use crate::platform::Platform;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

impl Chunk<'_> {
    /// WholeFree to WholeUsed, or back; false if the chunk is not in state `from`, or is exceptional and
    /// may not be.
    #[inline]
    pub(super) fn flip(
        entry: &AtomicU32,
        from: ChunkState,
        to: ChunkState,
        contents: Contents,
        exceptional_too: bool,
    ) -> bool {
        let mut old = Entry(entry.load(Ordering::Acquire));
        while old.is(from) && (exceptional_too || !old.is_exceptional()) {
            // Acquire and Release pair with one another across the two directions: what the last
            // user of the frames wrote happens before what the next one does.
            match entry.compare_exchange(
                old.0,
                old.with_state(to).with_hints(0).with_clean(contents.of_whole(old)).0,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => old = Entry(now),
            }
        }
        false
    }

    /// Takes all 512 frames at once, of a chunk that is not exceptional: there is nothing to vet then. The
    /// entry goes on saying whether they were clean.
    ///
    /// Cost: one compare-exchange.
    #[inline]
    pub(crate) fn take_whole(entry: &AtomicU32) -> bool {
        let (from, to) = (ChunkState::WholeFree, ChunkState::WholeUsed);
        Self::flip(entry, from, to, Contents::AsTaken, false)
    }

    /// The same, exceptional or not.
    #[inline]
    pub(crate) fn take_any_whole(entry: &AtomicU32) -> bool {
        let (from, to) = (ChunkState::WholeFree, ChunkState::WholeUsed);
        Self::flip(entry, from, to, Contents::AsTaken, true)
    }

    /// Takes a naturally aligned block of `2^order` frames, order 0 to 6, out of a word of the free
    /// plane of a chunk that has ever been Broken, if there is one. Returns its first bit.
    ///
    /// Cost: one compare-exchange on the word.
    #[inline]
    pub(crate) fn take_in_word(free: &AtomicU64, order: u32) -> Option<u32> {
        let mut old = free.load(Ordering::Relaxed);
        loop {
            let bit = find_aligned(old, order)?;
            let new = old & !(below(1 << order) << bit);
            // `old` is not zero. Acquire pairs with the Release of the frees.
            match free.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(bit),
                Err(now) => old = now,
            }
        }
    }

    /// The same for one frame, the lowest. Returns the word as it was.
    #[inline]
    pub(crate) fn take_one(free: &AtomicU64) -> Option<u64> {
        let mut old = free.load(Ordering::Relaxed);
        loop {
            if old == 0 {
                return None;
            }
            // Acquire as above.
            let new = old & (old - 1);
            match free.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(old),
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
            let Some(free) = self.free.get(word) else { return Err(0) };
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

    /// Breaks a chunk that is whole and free, taking `span` of it in the same step, and marking it as
    /// `adopted`. False if it is not.
    ///
    /// Cost: Busy while three cache lines are written.
    pub(crate) fn take_from_whole<P: Platform>(
        &self,
        platform: &P,
        span: Span,
        adopted: bool,
    ) -> bool {
        if !self.load().is(ChunkState::WholeFree) {
            return false;
        }
        let held = self.hold(platform);
        let was = held.was;
        if !was.is(ChunkState::WholeFree) {
            held.release(was);
            return false;
        }
        let hints = self.write_planes(|word| (!span.mask(word), FULL));
        let now = was.with_state(ChunkState::Broken).with_hints(hints).with_cap(None);
        let now = now.with_complete(true).with_adopted(adopted).with_clean(was.is_clean());
        held.finish(&self.above, now);
        true
    }
}
