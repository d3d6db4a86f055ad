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
//! # Records
//!
//! Whoever gives a frame a record (a reference, an order to withdraw it) becomes the holder of Busy
//! first, by a compare-exchange, and reads the plane behind a fence. Whoever takes or frees a frame
//! without Busy does his step first, by a compare-exchange on the plane, and reads the entry behind a
//! fence. So at least one of the two sees the other: either the record's setter sees the frame as it is
//! now, or the other sees an entry that is not plain, and looks at the records (`vet.rs`) before he
//! returns.
//!
//! # Orderings
//!
//! Taking a frame is Acquire and pairs with the Release by which it was freed: what the last user
//! wrote happens before what the next one does. Entries are read with Acquire and written with
//! Release: who sees a chunk Broken sees the planes that were written before.

mod carve;
mod hints;
mod merge;
mod offline;
mod open;
mod put;
mod refer;
mod scrub;
mod take;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod vet;

pub(crate) use offline::OfflineRefusal;
pub(crate) use open::Opened;
pub(crate) use put::{Put, PutFailed, PutRefusal};
pub(crate) use refer::CountRefusal;
pub(crate) use scrub::{Contents, Unit};
pub(crate) use vet::Vetted;

use super::entry::{ChunkState, Entry};
use super::records::Records;
use super::span::{FULL, Span, WORDS};
use super::summary::{GROUP, Summary};
use crate::platform::{InterruptMask, Platform};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The free plane of a chunk, a cache line: a set bit says that the frame is free, and nothing
/// else does. It means something while the entry says Broken.
#[repr(C, align(64))]
pub(crate) struct FreePlane(pub(crate) [AtomicU64; WORDS]);

/// The other planes of a chunk, a cache line each. They mean something while the entry says Broken,
/// and lie apart from the free planes, since a free of a frame seldom looks at them.
#[repr(C, align(64))]
pub(crate) struct Marks {
    /// The frame has been in the heap. Where neither this nor `free` is set the frame is
    /// Uninitialised, or was never RAM to hand out: the ledger knows which.
    pub(crate) initialised: [AtomicU64; WORDS],
    /// The frame is to be scrubbed before another owner sees it; where it is not initialised, it was
    /// withdrawn from the heap, for Bedframe's own use or to be scrubbed, and is not to be put back.
    /// Written by the holder of Busy alone.
    pub(crate) dirty: [AtomicU64; WORDS],
}

const _: () = assert!(size_of::<FreePlane>() == 64 && size_of::<Marks>() == 128);

/// A chunk, wherever its words are kept.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) entry: &'a AtomicU32,
    pub(crate) free: &'a [AtomicU64; WORDS],
    pub(crate) marks: &'a Marks,
    /// `None` where the embedder asked for no records.
    pub(crate) records: Option<&'a Records>,
    pub(crate) above: Above<'a>,
}

/// The summaries above a chunk, and the chunk's number in them.
#[derive(Clone, Copy)]
pub(crate) struct Above<'a> {
    pub(crate) number: u64,
    /// Groups with a chunk that is Broken with some frame free.
    pub(crate) some: Summary<'a>,
    /// Groups with a chunk that is WholeFree.
    pub(crate) whole: Summary<'a>,
}

impl Above<'_> {
    /// Of a chunk that no summary tells of yet.
    pub(crate) const NONE: Above<'static> =
        Above { number: 0, some: Summary::over(&[], 0), whole: Summary::over(&[], 0) };

    /// Tells the summaries what the entry is going to be, for the holder of Busy. Busy counts as
    /// worth a look in both, and was written by a read-modify-write.
    #[inline]
    fn announce(&self, was: Entry, now: Entry) {
        if now.is_some() && !was.is_some() {
            self.some.set(self.number / GROUP);
        }
        if now.is(ChunkState::WholeFree) && !was.is(ChunkState::WholeFree) {
            self.whole.set(self.number / GROUP);
        }
    }
}

/// What a look at a span of a chunk found, at one moment during the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    pub(crate) state: ChunkState,
    /// Frames of the whole chunk that are free, and that have been in the heap.
    pub(crate) free: [u64; WORDS],
    pub(crate) initialised: [u64; WORDS],
}

impl Look {
    pub(crate) fn free_word(&self, word: usize) -> u64 {
        self.free.get(word).copied().unwrap_or(0)
    }

    pub(crate) fn initialised_word(&self, word: usize) -> u64 {
        self.initialised.get(word).copied().unwrap_or(0)
    }
}

/// The words that say what a frame is: all that the quick paths look at.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) entry: &'a AtomicU32,
    pub(crate) free: &'a AtomicU64,
    pub(crate) initialised: &'a AtomicU64,
    pub(crate) dirty: &'a AtomicU64,
}

/// A chunk in state Busy, held by this CPU with interrupts masked.
struct Held<'a, 'p, P: Platform> {
    entry: &'a AtomicU32,
    platform: &'p P,
    mask: InterruptMask,
    /// The entry as it was.
    was: Entry,
}

impl<'a, 'p, P: Platform> Held<'a, 'p, P> {
    /// Makes a chunk Busy, once nobody else is.
    #[inline]
    fn new(platform: &'p P, entry: &'a AtomicU32) -> Self {
        loop {
            if let Some(held) = Self::new_if(platform, entry, |was| !was.is(ChunkState::Busy)) {
                return held;
            }
            platform.pause();
        }
    }

    /// The same if the entry is one that `fits`, which none does that is Busy; else nothing has changed. Interrupts
    /// are masked before the chunk is Busy and until it is not, so that no interrupt on this CPU can wait for what
    /// it has interrupted.
    #[inline(always)]
    fn new_if(platform: &'p P, entry: &'a AtomicU32, fits: impl Fn(Entry) -> bool) -> Option<Self> {
        loop {
            let mask = platform.mask_interrupts();
            let was = Entry(entry.load(Ordering::Acquire));
            let busy = was.with_state(ChunkState::Busy);
            let fitted = fits(was);
            // Acquire pairs with the Release of the last change of the entry.
            if fitted && replace(entry, was, busy, Ordering::Acquire) {
                return Some(Held { entry, platform, mask, was });
            }
            platform.restore_interrupts(mask);
            if !fitted {
                return None;
            }
        }
    }

    /// Ends Busy with the entry as it is to be, having told the summaries.
    #[inline]
    fn finish(self, above: &Above<'_>, now: Entry) {
        above.announce(self.was, now);
        self.release(now);
    }

    /// Ends Busy with the entry as it is to be, of which no summary has to be told.
    #[inline]
    fn release(self, now: Entry) {
        // Release: who sees the new entry sees the planes and the summaries as they were left. Pairs
        // with the Acquire of every load of an entry. A store: nobody else writes a Busy entry.
        self.entry.store(now.turned().0, Ordering::Release);
        self.platform.restore_interrupts(self.mask);
    }
}

#[inline]
fn replace(entry: &AtomicU32, old: Entry, new: Entry, success: Ordering) -> bool {
    entry.compare_exchange(old.0, new.0, success, Ordering::Relaxed).is_ok()
}

/// The entry, once nobody is Busy with it.
#[inline]
pub(super) fn settled<P: Platform>(platform: &P, entry: &AtomicU32) -> Entry {
    loop {
        let now = Entry(entry.load(Ordering::Acquire));
        if !now.is(ChunkState::Busy) {
            return now;
        }
        platform.pause();
    }
}

impl<'a> Chunk<'a> {
    /// The entry now.
    pub(crate) fn load(&self) -> Entry {
        Entry(self.entry.load(Ordering::Acquire))
    }

    /// The entry, once nobody is Busy with it.
    pub(crate) fn settled<P: Platform>(&self, platform: &P) -> Entry {
        settled(platform, self.entry)
    }

    fn hold<'p, P: Platform>(&self, platform: &'p P) -> Held<'a, 'p, P> {
        Held::new(platform, self.entry)
    }

    /// Writes all three planes, for the holder of Busy; `f` says free and initialised for each
    /// word. Returns the hints that go with them.
    fn write_planes(&self, f: impl Fn(usize) -> (u64, u64)) -> u8 {
        let Marks { initialised, dirty } = self.marks;
        let words = self.free.iter().zip(initialised).zip(dirty).enumerate();
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

    /// What the chunk looks like. State and planes belong together: no change of the state came
    /// between. Takes and frees of single words may have.
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
            for (to, from) in look.free.iter_mut().zip(self.free) {
                *to = from.load(Ordering::Acquire);
            }
            for (to, from) in look.initialised.iter_mut().zip(&self.marks.initialised) {
                *to = from.load(Ordering::Acquire);
            }
            // The Acquire loads above keep this one behind them; had a merge zeroed a word that we
            // read, its Busy came before the zero, and we see it here.
            if entry.held_still(self.load()) {
                return look;
            }
        }
    }

    /// Whether word `word` has no free frame.
    pub(crate) fn word_is_empty(&self, word: usize) -> bool {
        self.free.get(word).is_some_and(|free| free.load(Ordering::Relaxed) == 0)
    }

    /// Whether, at a glance, all of `span` is free.
    pub(crate) fn is_free(&self, span: Span) -> bool {
        span.words().all(|word| {
            let mask = span.mask(word);
            self.free.get(word).is_some_and(|w| w.load(Ordering::Relaxed) & mask == mask)
        })
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
        let done = self.put_words(span, &[0; WORDS], entry.hints());
        self.entry.store(entry.with_hints(done.hints).0, Ordering::Relaxed);
    }
}
