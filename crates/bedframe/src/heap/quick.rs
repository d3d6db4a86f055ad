//! The quick paths: what most calls come down to, one compare-exchange and the words that say where.
//!
//! Each has changed nothing where it says that something is out of the ordinary.

use super::Heap;
use crate::addr::{FrameRange, Mfn};
use crate::index::{
    Bank, CHUNK_FRAMES, Chunk, Contents, Directory, Entry, Place, PlaceKind, Segment, Slot, Words,
};
use crate::node::NodeId;
use crate::platform::Platform;
use crate::request::{Pool, Request};
use crate::sync::{AtomicU64, Ordering, fence_after_rmw, fence_full};

/// Free frames of a word that is called a hole. A word that has got more since is left to those who
/// look for the lowest.
const HOLE: u32 = 4;

/// What a quick allocation has done; a fence has come behind its step.
pub(crate) enum Taken {
    /// Nothing: something is out of the ordinary.
    No,
    /// It took these frames.
    Yes(FrameRange),
    /// The same, and whether they are the caller's is not certain: [`Heap::vet`] knows.
    Doubtful(FrameRange),
}

/// What a quick free has done; a fence has come behind its step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freed {
    /// Nothing: something is out of the ordinary.
    No,
    /// It freed the range.
    Yes,
    /// The same, and whether it may be free is not certain: [`Heap::review`] knows.
    Doubtful,
}

/// Where this CPU takes single frames for requests that name nothing but a heap: its slot, its place and
/// the place's bank. `None` for any other request, and before the first.
#[inline]
fn home<'a, P: Platform>(
    platform: &P,
    directory: Directory<'a, P>,
    request: &Request<'_>,
) -> Option<(&'a Slot, Place, &'a Bank)> {
    if request.length() != 1
        || request.alignment() != 1
        || !request.is_plain()
        || request.wants_clean()
    {
        return None;
    }
    let slot = directory.slot(platform.cpu())?;
    // It serves the heap, since it was found for such a request.
    let place = slot.place(PlaceKind::single(request.heap()))?;
    Some((slot, place, directory.banks().get(place.bank as usize)?))
}

/// Takes one frame for a request that names nothing but a heap, out of the latest hole or the word in
/// which this CPU allocates.
///
/// Cost: one compare-exchange; reads of the CPU's slot, a bank, an entry, and the header that says where
/// they lie. Calls nothing, so that its caller has nothing to save.
#[inline]
pub(crate) fn take_quickly<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    request: &Request<'_>,
) -> Taken {
    let taken = (|| {
        let (slot, home, bank) = home(platform, directory, request)?;
        let place = slot.hole().unwrap_or(home);
        if place.bank != home.bank || bank.segments != 1 {
            return None;
        }
        let (free, entry) = directory.free_word_and_entry(bank, place.chunk, place.word)?;
        let bit = Chunk::take_one(free)?;
        // Behind the compare-exchange: see "Records" in `index/chunk.rs`.
        fence_after_rmw();
        let plain = Entry(entry.load(Ordering::Acquire)).is_plain();
        let bit = u64::from(place.chunk) * 512 + u64::from(place.word * 64 + bit);
        Some((FrameRange::from_len(Mfn::new(bank.base.wrapping_add(bit)), 1)?, plain))
    })();
    match taken {
        None => Taken::No,
        Some((taken, true)) => Taken::Yes(taken),
        Some((taken, false)) => Taken::Doubtful(taken),
    }
}

/// The node of which [`take_quickly`], [`take_from_holes`] or [`take_whole_quickly`] would take, if any
/// of them would.
pub(crate) fn quick_node<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    request: &Request<'_>,
) -> Option<NodeId> {
    let bank = match home(platform, directory, request) {
        Some((_, _, bank)) => bank,
        None if is_whole(request) => {
            let place = directory.slot(platform.cpu())?.whole()?;
            directory.banks().get(place.bank as usize)?
        }
        None => return None,
    };
    Some(NodeId(directory.nodes().get(bank.node as usize)?.id))
}

/// The same where the latest hole was filled: out of the one before that has a frame and lies in the
/// bank in which this CPU allocates. Holes that do not are forgotten. What it takes is to be
/// [vetted](Heap::vet).
///
/// Cost: two compare-exchanges, one of them for the hint of the hole that was filled.
#[inline]
pub(crate) fn take_from_holes<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    request: &Request<'_>,
) -> Option<FrameRange> {
    let (slot, home, bank) = home(platform, directory, request)?;
    loop {
        let hole = slot.hole()?;
        if hole.bank == home.bank
            && let Some(free) = directory.free_word(bank, hole.chunk, hole.word)
        {
            // A word that this empties keeps its hint until the next hole comes, or the next
            // allocation: who frees and allocates one frame over and over pays for no hints.
            let old = free.load(Ordering::Relaxed);
            if old.count_ones() <= HOLE
                && let Some(bit) = Chunk::take_one(free)
            {
                return directory.block(bank, hole.chunk, hole.word * 64 + bit, 0);
            }
            if old == 0 {
                forget(platform, directory, bank, hole, free);
            }
        }
        slot.pop_hole();
    }
}

/// Frees a range that lies in one word and has been in the heap, if no frame of the chunk is exceptional.
/// The check is the step itself.
///
/// Cost: one compare-exchange; reads of a window, a segment and an entry. If the word had no free
/// frame, Busy instead, and one compare-exchange more for the hint of the hole before. In a chunk that
/// has scrubbed frames a read of the marks, and Busy for a frame that was handed out clean.
#[inline]
pub(crate) fn put_quickly<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    range: FrameRange,
) -> Freed {
    let (start, frames) = (range.start().get(), range.frames());
    let bit = start % 64;
    if frames == 0 || frames > 64 - bit {
        return Freed::No;
    }
    let Some((segment, words)) = directory.words(start, range.end().get()) else {
        return Freed::No;
    };
    let mask = u64::MAX >> (64 - frames) << bit;
    let entry = Entry(words.entry.load(Ordering::Acquire));
    if !entry.is_plain()
        || !entry.is_complete() && words.initialised.load(Ordering::Relaxed) & mask != mask
    {
        return Freed::No;
    }
    // Where something is known of contents, what is dirty is marked so before it is free.
    if entry.is_clean() && words.dirty.load(Ordering::Relaxed) & mask != mask {
        return put_under_busy(platform, directory, segment, words, start, mask);
    }
    let old = match Chunk::put_in_word(words.free, mask) {
        Some(Ok(old)) => old,
        Some(Err(_)) => return Freed::No,
        None => return put_under_busy(platform, directory, segment, words, start, mask),
    };
    // Behind the compare-exchange: see "Records" in `index/chunk.rs`; and since the CPU that allocates
    // here may be leaving, see `Chunk::is_ripe`.
    fence_after_rmw();
    let entry = Entry(words.entry.load(Ordering::Acquire));
    if !entry.is_plain() {
        return Freed::Doubtful;
    }
    if entry.cap().is_some() {
        Chunk::raise_cap(words.entry, old | mask);
    }
    if old | mask == u64::MAX {
        // Most words that become full do so where a CPU allocates.
        if !entry.is_adopted() {
            fill(platform, directory, start);
        }
    } else if old & (old - 1) == 0 && !entry.is_adopted() {
        note_hole(platform, directory, segment, start);
    }
    Freed::Yes
}

/// The same for a word of which no frame is free, or frames to be marked as dirty.
#[inline(never)]
fn put_under_busy<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    segment: &Segment,
    words: Words<'_>,
    start: u64,
    mask: u64,
) -> Freed {
    let (chunk, first) = segment.chunk_of(start);
    let above = || {
        let bank = directory.banks().get(segment.bank as usize)?;
        directory.above(bank.arena, chunk)
    };
    let adopted = Entry(words.entry.load(Ordering::Relaxed)).is_adopted();
    let Some(full) = Chunk::put_under_busy(platform, words, first / 64, mask, above) else {
        return Freed::No;
    };
    // On x86 the read-modify-write is that of Busy: who does not see the word sees Busy, and waits.
    fence_after_rmw();
    if full {
        fence_full();
        fill(platform, directory, start);
    } else if !adopted {
        note_hole(platform, directory, segment, start);
    }
    Freed::Yes
}

/// The word of `frame` has become full: merges its chunk if that was what was missing.
#[cold]
#[inline(never)]
fn fill<P: Platform>(platform: &P, directory: Directory<'_, P>, frame: u64) {
    if let Some(heap) = Heap::new(platform, directory)
        && let Some(piece) = heap.piece(frame, frame + 1)
        && let Some(arena) = heap.arena_of(&piece)
    {
        arena.merge_ripe(&heap.cpu, piece.chunk);
    }
}

/// Notes that the word of `frame` is a hole, for the allocations to come.
#[inline(never)]
fn note_hole<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    segment: &Segment,
    frame: u64,
) {
    let Some(slot) = directory.slot(platform.cpu()) else { return };
    let (chunk, bit) = segment.chunk_of(frame);
    let hole = Place { bank: segment.bank, chunk, word: bit / 64 };
    let Some(before) = slot.push_hole(hole) else { return };
    let Some(bank) = directory.banks().get(before.bank as usize) else { return };
    match directory.free_word(bank, before.chunk, before.word) {
        // Filled by an allocation.
        Some(free) if free.load(Ordering::Relaxed) == 0 => {
            forget(platform, directory, bank, before, free);
        }
        _ => slot.keep_hole(before),
    }
}

/// Takes back the hint of a hole that was filled.
fn forget<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    bank: &Bank,
    hole: Place,
    free: &AtomicU64,
) {
    if let Some(entry) = directory.entry(bank, hole.chunk) {
        Chunk::clear_hint_of(platform, entry, free, hole.word);
    }
}

/// Whether a request is for a chunk of the domain heap, and names nothing else.
#[inline]
fn is_whole(request: &Request<'_>) -> bool {
    request.length() == CHUNK_FRAMES
        && request.alignment() == CHUNK_FRAMES
        && request.heap() == Pool::Domain
        && request.is_plain()
        && !request.wants_clean()
}

/// Takes the chunk that this CPU took whole last, if it has come back, or the next one of its bank. For
/// plain requests of the domain heap; others search.
///
/// Cost: one compare-exchange, and where others took the next ones a search for one.
#[inline]
pub(crate) fn take_whole_quickly<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    request: &Request<'_>,
) -> Option<FrameRange> {
    if !is_whole(request) {
        return None;
    }
    let slot = directory.slot(platform.cpu())?;
    let place = slot.whole()?;
    let bank = directory.banks().get(place.bank as usize)?;
    let mut chunk = place.chunk;
    if !Chunk::take_whole(directory.entry(bank, chunk)?) {
        // The next is as good as any, and its entry in the same cache line, mostly.
        chunk = chunk.checked_add(1)?;
        if !Chunk::take_whole(directory.entry(bank, chunk)?) {
            return None;
        }
        slot.set_whole(Place { chunk, ..place });
    }
    directory.block(bank, chunk, 0, 9)
}

/// Frees a chunk that was handed out whole. The check is the step itself. False if it is anything
/// else.
///
/// Cost: one compare-exchange, and reads of a word of summary a level.
#[inline]
pub(crate) fn put_whole_quickly<P: Platform>(
    platform: &P,
    directory: Directory<'_, P>,
    range: FrameRange,
) -> bool {
    let start = range.start().get();
    if range.frames() != CHUNK_FRAMES || !start.is_multiple_of(CHUNK_FRAMES) {
        return false;
    }
    let Some((segment, words)) = directory.words(start, range.end().get()) else { return false };
    let Some(bank) = directory.banks().get(segment.bank as usize) else { return false };
    let (chunk, _) = segment.chunk_of(start);
    if !Chunk::put_whole(words.entry, Contents::Written, || directory.above(bank.arena, chunk)) {
        return false;
    }
    // It is the next to be taken, being in the cache, unless this CPU allocates elsewhere.
    if let Some(slot) = directory.slot(platform.cpu())
        && slot.whole().is_some_and(|last| last.bank == segment.bank)
    {
        slot.set_whole(Place { bank: segment.bank, chunk, word: 0 });
    }
    true
}
