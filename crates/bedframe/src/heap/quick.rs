//! The quick paths: what most calls come down to, one compare-exchange and the words that say where.
//!
//! Each has changed nothing where it says that something is out of the ordinary. What they are told
//! fits in registers, and so does what they say: that they are called costs no store.

use super::Heap;
use super::holes::{note_shared_hole, put_in_empty};
use super::whole::next_whole;
use crate::addr::{FrameRange, Mfn};
use crate::index::{
    Bank, CHUNK_FRAMES, Chunk, Directory, Entry, Place, PlaceKind, Segment, Slot, Words,
};
use crate::node::NodeId;
use crate::platform::Platform;
use crate::request::{Pool, Request};
use crate::sync::{AtomicU32, Ordering, fence_after_rmw};

/// A request for which there is a quick path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Quick {
    /// One frame of a heap, and nothing else is named.
    Frame(Pool),
    /// A chunk of the domain heap, and nothing else is named.
    Chunk,
}

impl Quick {
    /// That of a request. Where the request is made in place the compiler knows, and nothing is left
    /// of this.
    #[inline(always)]
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        if !request.is_plain() || request.wants_clean() {
            return None;
        }
        match (request.length(), request.alignment(), request.heap()) {
            (1, 1, pool) => Some(Quick::Frame(pool)),
            (CHUNK_FRAMES, CHUNK_FRAMES, Pool::Domain) => Some(Quick::Chunk),
            _ => None,
        }
    }

    pub(crate) const fn frames(self) -> u64 {
        match self {
            Quick::Frame(_) => 1,
            Quick::Chunk => CHUNK_FRAMES,
        }
    }

    /// The block that begins at `start`.
    #[inline(always)]
    pub(crate) const fn block(self, start: u64) -> Option<FrameRange> {
        FrameRange::from_len(Mfn::new(start), self.frames())
    }
}

/// What a quick allocation has done; a fence has come behind its step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// Nothing: something is out of the ordinary.
    No,
    /// It took the block that begins here.
    Yes(u64),
    /// The same, and whether it is the caller's is not certain: [`Heap::vet`] knows.
    Doubtful(u64),
}

/// What a quick free has done; a fence has come behind its step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freed {
    /// Nothing: something is out of the ordinary.
    No,
    /// It freed the range.
    Yes,
    /// The same, and free frames are counted since: what is counted is in doubt.
    Counted,
    /// It freed the range, and whether it may be free is not certain: [`Heap::review`] knows.
    Doubtful,
}

/// Where a CPU takes single frames for requests that name nothing but a heap: its slot, its place there,
/// and the place's bank.
pub(crate) type Home<'a> = (&'a Slot, Place, &'a Bank);

/// That of this CPU; `None` before it has taken any.
#[inline]
pub(crate) fn home<'a, P: Platform>(directory: Directory<'a, P>, pool: Pool) -> Option<Home<'a>> {
    home_in(directory, directory.slot(directory.platform().cpu())?, pool)
}

/// The same if the CPU shares its slot with none. Calls nothing.
#[inline(always)]
pub(crate) fn own_home<'a, P: Platform>(
    directory: Directory<'a, P>,
    pool: Pool,
) -> Option<Home<'a>> {
    home_in(directory, directory.own_slot(directory.platform().cpu())?, pool)
}

#[inline(always)]
fn home_in<'a, P: Platform>(
    directory: Directory<'a, P>,
    slot: &'a Slot,
    pool: Pool,
) -> Option<Home<'a>> {
    // It serves the heap, since it was found for such a request.
    let place = slot.place(PlaceKind::single(pool))?;
    Some((slot, place, directory.banks().get(place.bank as usize)?))
}

/// Takes one frame out of the word in which this CPU allocates.
///
/// Cost: one compare-exchange; reads of the CPU's slot, a bank, an entry, and the header that says where
/// they lie. Calls nothing, so that its caller has nothing to save, and so serves no bank of several segments.
#[inline(always)]
pub(crate) fn take_quickly<P: Platform>(
    directory: Directory<'_, P>,
    (_, home, bank): Home<'_>,
) -> Taken {
    if bank.segments != 1 {
        return Taken::No;
    }
    let Some((free, entry)) = directory.at_place(bank, home) else { return Taken::No };
    let Some(old) = Chunk::take_one(free) else { return Taken::No };
    taken(entry, bank.base.wrapping_add(home.index() * 64 + u64::from(old.trailing_zeros())))
}

/// What a step that took `frame` out of a chunk comes to.
#[inline(always)]
pub(super) fn taken(entry: &AtomicU32, frame: u64) -> Taken {
    // Behind the compare-exchange: see "Records" in `index/chunk.rs`.
    fence_after_rmw();
    if Entry(entry.load(Ordering::Acquire)).is_plain() {
        Taken::Yes(frame)
    } else {
        Taken::Doubtful(frame)
    }
}

/// The node of which a quick path would take, if any would.
pub(crate) fn quick_node<P: Platform>(
    directory: Directory<'_, P>,
    request: Quick,
) -> Option<NodeId> {
    let bank = match request {
        Quick::Frame(pool) => home(directory, pool)?.2,
        Quick::Chunk => next_whole(directory, directory.slot(directory.platform().cpu())?)?.1,
    };
    Some(NodeId(directory.nodes().get(bank.node as usize)?.id))
}

/// How far [`put_quickly`] has come; a fence has come behind its step.
#[derive(Clone, Copy)]
pub(crate) enum Put {
    /// Not far: something is out of the ordinary.
    No,
    /// The frames are free.
    Yes,
    /// Nothing has changed: [`put_marked`] may free these frames of the word.
    Marked(u64),
    /// Nothing has changed: [`put_in_empty`] frees these frames of the word.
    Empty(u64),
    /// They are free, and [`end_put`] looks after the rest: the word was this, and they are these.
    More(u64, u64),
}

/// Frees frames of `segment` that lie in one word and have been in the heap, if no frame of the chunk is
/// exceptional. The check is the step itself.
///
/// Cost: one compare-exchange; reads of a window, a segment and an entry. If the word had no free
/// frame, Busy instead. In a chunk that has scrubbed frames a read of the marks, and Busy for a frame that was handed
/// out clean.
#[inline(always)]
pub(crate) fn put_quickly<P: Platform>(
    directory: Directory<'_, P>,
    segment: &Segment,
    start: u64,
    frames: u64,
) -> Put {
    let bit = start % 64;
    if frames == 0 || frames > 64 - bit || start + frames > segment.end {
        return Put::No;
    }
    let Some(words) = directory.words_in(segment, start) else { return Put::No };
    let mask = u64::MAX >> (64 - frames) << bit;
    if !Entry(words.entry.load(Ordering::Acquire)).takes_back_any() {
        return Put::Marked(mask);
    }
    put_in(words, mask)
}

/// The same where the marks of a chunk have to be looked at.
#[inline]
pub(crate) fn put_marked<P: Platform>(
    directory: Directory<'_, P>,
    segment: &Segment,
    start: u64,
    mask: u64,
) -> Put {
    let Some(words) = directory.words_in(segment, start) else { return Put::No };
    let entry = Entry(words.entry.load(Ordering::Acquire));
    if !entry.is_plain()
        || !entry.is_complete() && words.initialised.load(Ordering::Relaxed) & mask != mask
    {
        return Put::No;
    }
    // Where something is known of contents, what is dirty is marked so before it is free.
    if entry.is_clean() && words.dirty.load(Ordering::Relaxed) & mask != mask {
        return Put::Empty(mask);
    }
    put_in(words, mask)
}

#[inline(always)]
fn put_in(words: Words<'_>, mask: u64) -> Put {
    let old = match Chunk::put_in_word(words.free, mask) {
        Some(Ok(old)) => old,
        Some(Err(_)) => return Put::No,
        None => return Put::Empty(mask),
    };
    // Behind the compare-exchange: see "Records" in `index/chunk.rs`; and since the CPU that allocates
    // here may be leaving, see `Chunk::is_ripe`.
    fence_after_rmw();
    let entry = Entry(words.entry.load(Ordering::Acquire));
    // Neither a hole nor full; or where a CPU allocates, as most of those are.
    let ordinary = entry.is_adopted() || old & (old - 1) != 0 && old | mask != u64::MAX;
    if ordinary && entry.is_plain_and_uncapped() { Put::Yes } else { Put::More(old, mask) }
}

/// [`put_quickly`], and what follows it.
pub(crate) fn put<P: Platform>(directory: Directory<'_, P>, start: u64, frames: u64) -> Freed {
    let Some(segment) = directory.locate(start) else { return Freed::No };
    let put = match put_quickly(directory, segment, start, frames) {
        Put::Marked(mask) => put_marked(directory, segment, start, mask),
        put => put,
    };
    match put {
        Put::No | Put::Marked(_) => Freed::No,
        Put::Yes => Freed::Yes,
        Put::Empty(mask) => put_in_empty(directory, segment, start, mask),
        Put::More(old, mask) => end_put(directory, segment, start, old, mask),
    }
}

/// Ends a free that made `old | mask` of the word `old` of `start`, with what few frees have to look
/// after.
#[inline]
pub(crate) fn end_put<P: Platform>(
    directory: Directory<'_, P>,
    segment: &Segment,
    start: u64,
    old: u64,
    mask: u64,
) -> Freed {
    let Some(Words { entry, .. }) = directory.words_in(segment, start) else { return Freed::Yes };
    let now = Entry(entry.load(Ordering::Acquire));
    if !now.is_plain() {
        return Freed::Doubtful;
    }
    if now.cap().is_some() {
        Chunk::raise_cap(entry, old | mask);
    }
    if old | mask == u64::MAX {
        if !now.is_adopted() {
            fill(directory, start);
        }
    } else if old & (old - 1) == 0 && !now.is_adopted() {
        note_shared_hole(directory, segment.place_of(start));
    }
    Freed::Yes
}

/// The word of `frame` has become full: merges its chunk if that was what was missing.
#[cold]
#[inline(never)]
pub(super) fn fill<P: Platform>(directory: Directory<'_, P>, frame: u64) {
    if let Some(heap) = Heap::new(directory)
        && let Some(piece) = heap.piece(frame, frame + 1)
        && let Some(arena) = heap.arena_of(&piece)
    {
        arena.merge_ripe(&heap.cpu, piece.chunk);
    }
}
