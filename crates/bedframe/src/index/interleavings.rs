//! Every interleaving of pairs of steps on a chunk, by loom, over the code that ships. Run with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p bedframe --lib interleavings`.

use std::sync::Arc;

use loom::thread;

use super::arena::{Arena, Wanted};
use super::chunk::{Chunk, FreePlane, Marks, PutRefusal, Words};
use super::entry::{ChunkState, Entry};
use super::records::Records;
use super::slot::{Cpu, Slot, windows_closed, windows_opened};
use super::span::{FULL, Span, WORDS};
use super::summary::Summary;
use crate::addr::Mfn;
use crate::platform::Platform;
use crate::sync::checked::{begin, end};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence_after_rmw};

/// A machine that has nothing but CPUs which wait for one another.
struct Waiting;

// SAFETY: 1. No frame is mapped, and the index under test asks for none. 2, 3. Nothing else runs.
#[allow(unsafe_code)]
unsafe impl Platform for Waiting {
    fn frame_ptr(&self, _: Mfn) -> *mut u8 {
        unreachable!("the words of this index lie in a list")
    }

    fn frame_of(&self, _: *const u8) -> Option<Mfn> {
        None
    }

    fn pause(&self) {
        thread::yield_now();
    }
}

/// One chunk under one word of each summary.
struct World {
    entries: [AtomicU32; 1],
    free: [FreePlane; 1],
    marks: [Marks; 1],
    records: [Records; 0],
    some: [AtomicU64; 1],
    whole: [AtomicU64; 1],
    slots: [Slot; 2],
}

impl World {
    /// A Broken chunk with these frames free, all others in use.
    fn broken(free: [u64; WORDS]) -> Arc<Self> {
        let hints = (0..WORDS).fold(0, |hints, w| hints | u8::from(free[w] != 0) << w);
        let entry = Entry::UNTOUCHED.with_state(ChunkState::Broken).with_hints(hints);
        Self::new(entry, free, FULL, u64::from(hints != 0), 0)
    }

    /// A chunk with the same entry, words and summaries whatever else.
    fn new(entry: Entry, free: [u64; WORDS], known: u64, some: u64, whole: u64) -> Arc<Self> {
        let marks = Marks {
            initialised: [known; WORDS].map(AtomicU64::new),
            dirty: [0; WORDS].map(AtomicU64::new),
        };
        Arc::new(World {
            entries: [AtomicU32::new(entry.0)],
            free: [FreePlane(free.map(AtomicU64::new))],
            marks: [marks],
            records: [],
            some: [AtomicU64::new(some)],
            whole: [AtomicU64::new(whole)],
            slots: [Slot::new(), Slot::new()],
        })
    }

    fn arena(&self) -> Arena<'_> {
        Arena {
            entries: &self.entries,
            free: &self.free,
            marks: &self.marks,
            records: &self.records,
            some: Summary::over(&self.some, 1),
            whole: Summary::over(&self.whole, 1),
        }
    }

    fn cpu(&self, number: u32) -> Cpu<'_, Waiting> {
        Cpu { platform: &Waiting, slot: &self.slots[number as usize], number }
    }

    fn state(&self) -> ChunkState {
        self.arena().chunk(0).unwrap().load().state()
    }

    fn free(&self) -> [u64; WORDS] {
        core::array::from_fn(|word| self.free[0].0[word].load(Ordering::Relaxed))
    }

    /// Frees one frame, as `Memory::free` does.
    fn put(&self, cpu: u32, bit: u32) -> Result<(), PutRefusal> {
        let (arena, cpu) = (self.arena(), self.cpu(cpu));
        let chunk = arena.chunk(0).unwrap();
        let word = (bit / 64) as usize;
        if self.put_quickly(&cpu, chunk, bit) {
            return Ok(());
        }
        loop {
            let look = chunk.look(cpu.platform);
            let mut new = [0; WORDS];
            new[word] = 1 << (bit % 64) & !look.initialised_word(word);
            match arena.put_span(&cpu, 0, Span::new(bit, 1), &new) {
                Ok(()) => return Ok(()),
                Err((PutRefusal::Known(_), _)) => {}
                Err((refusal, _)) => return Err(refusal),
            }
        }
    }

    /// The quick path of that.
    fn put_quickly(&self, cpu: &Cpu<'_, Waiting>, chunk: Chunk<'_>, bit: u32) -> bool {
        let (index, mask) = ((bit / 64) as usize, 1 << (bit % 64));
        let words = Words {
            entry: chunk.entry,
            free: &chunk.free[index],
            initialised: &chunk.marks.initialised[index],
        };
        let entry = chunk.load();
        if !entry.is_plain()
            || !entry.is_complete() && words.initialised.load(Ordering::Relaxed) & mask != mask
        {
            return false;
        }
        let old = match Chunk::put_in_word(words.free, mask) {
            Some(Ok(old)) => old,
            Some(Err(_)) => return false,
            None => {
                let above = || Some(chunk.above);
                let platform = cpu.platform;
                return Chunk::put_in_empty_word(platform, words, bit / 64, mask, above).is_some();
            }
        };
        if old | mask == FULL {
            fence_after_rmw();
            if !chunk.load().is_adopted() {
                self.arena().merge_ripe(cpu, 0);
            }
        }
        true
    }

    /// Takes one frame, as a search through the hints does.
    fn take(&self, cpu: u32) -> Option<u32> {
        let (arena, cpu) = (self.arena(), self.cpu(cpu));
        if arena.find(&cpu, Wanted::Some, 0, 1).is_some()
            && let Some(bit) = arena.take_small(&cpu, 0, 0, 0)
        {
            return Some(bit);
        }
        if arena.find(&cpu, Wanted::Whole, 0, 1).is_some() {
            if arena.take_span(&cpu, 0, Span::new(0, 1)) {
                return Some(0);
            }
            return arena.take_small(&cpu, 0, 0, 0);
        }
        None
    }

    /// At rest: what is free is hinted at, and a whole chunk's words are zero.
    fn check(&self) {
        let arena = self.arena();
        let entry = arena.chunk(0).unwrap().load();
        match entry.state() {
            ChunkState::Broken => {
                for (word, free) in self.free().into_iter().enumerate() {
                    let hinted = entry.hints() >> word & 1 != 0 && arena.some.is_set(0);
                    assert!(free == 0 || hinted, "word {word} is hidden");
                }
                let full = self.free() == [FULL; WORDS];
                assert!(!full || entry.is_adopted(), "a full chunk was not merged");
            }
            ChunkState::WholeFree => {
                assert!(arena.whole.is_set(0), "a whole chunk is hidden");
                assert_eq!(self.free(), [0; WORDS]);
            }
            ChunkState::WholeUsed => assert_eq!(self.free(), [0; WORDS]),
            ChunkState::Untouched | ChunkState::Busy => {}
        }
    }
}

/// Explores all interleavings of `a` and `b` with up to four preemptions.
fn explore<A: Send + 'static, B: Send + 'static>(
    world: impl Fn() -> Arc<World> + Send + Sync + 'static,
    a: fn(&World) -> A,
    b: fn(&World) -> B,
    done: fn(&World, A, B),
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(move || {
        end();
        let world = world();
        begin(64);
        let other = world.clone();
        let thread = thread::spawn(move || b(&other));
        let a = a(&world);
        let b = thread.join().unwrap();
        end();
        world.check();
        done(&world, a, b);
    });
}

/// All words full but for these bits of the last.
fn all_but(missing: u64) -> [u64; WORDS] {
    let mut free = [FULL; WORDS];
    free[WORDS - 1] = !missing;
    free
}

/// Trap 1: a free lands between a taker's step on the word and its clearing of the hint.
#[test]
fn a_hint_cleared_while_a_frame_is_freed_is_not_lost() {
    explore(
        || World::broken([1, 0, 0, 0, 0, 0, 0, 0]),
        |world| world.take(0),
        |world| world.put(1, 5),
        |world, taken, put| {
            assert!(taken.is_some());
            assert_eq!(put, Ok(()));
            assert!(world.take(0).is_some(), "one of the two frames is left");
            assert_eq!(world.take(0), None);
        },
    );
}

/// Trap 2: a chunk must not become whole while a CPU holds a frame of it.
#[test]
fn a_merge_and_a_take_exclude_one_another() {
    explore(
        || World::broken(all_but(1 << 63)),
        |world| world.put(0, 511),
        |world| world.arena().take_small(&world.cpu(1), 0, 0, 0),
        |world, put, taken| {
            assert_eq!(put, Ok(()));
            match taken {
                Some(bit) => {
                    assert_eq!(world.state(), ChunkState::Broken);
                    let free: u32 = world.free().iter().map(|word| word.count_ones()).sum();
                    assert_eq!(free, 511);
                    assert_eq!(world.free()[(bit / 64) as usize] >> (bit % 64) & 1, 0);
                }
                None => assert_eq!(world.state(), ChunkState::WholeFree),
            }
        },
    );
}

/// Two calls free the same frame, the last that was missing, so that the chunk is merged under the
/// loser's hands: the frame is freed once.
#[test]
fn of_two_frees_of_a_frame_that_completes_the_chunk_one_is_refused() {
    explore(
        || World::broken(all_but(1 << 63)),
        |world| world.put(0, 511),
        |world| world.put(1, 511),
        |world, a, b| {
            assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
            assert_eq!(world.state(), ChunkState::WholeFree);
        },
    );
}

/// The same where the word was empty before, so that both go through Busy.
#[test]
fn of_two_frees_into_an_empty_word_one_is_refused() {
    explore(
        || World::broken([0; WORDS]),
        |world| world.put(0, 3),
        |world| world.put(1, 3),
        |world, a, b| {
            assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
            assert_eq!(world.free()[0], 1 << 3);
        },
    );
}

/// Two boot frames of one chunk that has never been in the heap are freed at once.
#[test]
fn boot_frames_of_an_untouched_chunk_are_freed_at_once() {
    explore(
        || World::new(Entry::UNTOUCHED, [0xdead; WORDS], 0xbeef, 0, 0),
        |world| world.put(0, 0),
        |world| world.put(1, 100),
        |world, a, b| {
            assert_eq!((a, b), (Ok(()), Ok(())));
            assert_eq!(world.free(), [1, 1 << 36, 0, 0, 0, 0, 0, 0]);
        },
    );
}

/// One boot frame is freed twice at once.
#[test]
fn of_two_frees_of_a_boot_frame_one_is_refused() {
    explore(
        || World::new(Entry::UNTOUCHED, [0xdead; WORDS], 0xbeef, 0, 0),
        |world| world.put(0, 7),
        |world| world.put(1, 7),
        |world, a, b| {
            assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
            assert_eq!(world.free()[0], 1 << 7);
        },
    );
}

/// A chunk is taken whole by one CPU and broken by another.
#[test]
fn a_whole_take_and_a_break_exclude_one_another() {
    explore(
        || World::new(Entry::WHOLE_FREE, [0; WORDS], FULL, 0, 1),
        |world| world.arena().take_whole(&world.cpu(0), 0),
        |world| world.arena().take_span(&world.cpu(1), 0, Span::new(0, 1)),
        |world, whole, one| {
            assert!(whole != one);
            let state = if whole { ChunkState::WholeUsed } else { ChunkState::Broken };
            assert_eq!(world.state(), state);
        },
    );
}

/// Two CPUs each fill one word at the same time: one of them sees that both are full.
#[test]
fn of_two_that_fill_the_last_words_one_merges() {
    explore(
        || {
            let mut free = all_but(1);
            free[0] = !1;
            World::broken(free)
        },
        |world| world.put(0, 0),
        |world| world.put(1, 448),
        |world, a, b| {
            assert_eq!((a, b), (Ok(()), Ok(())));
            assert_eq!(world.state(), ChunkState::WholeFree);
        },
    );
}

/// A CPU leaves a chunk while another puts the last missing frame: one of them merges it.
#[test]
fn a_chunk_that_is_left_and_filled_at_once_is_merged() {
    explore(
        || {
            let world = World::broken(all_but(1));
            world.arena().adopt(&world.cpu(0), 0);
            world
        },
        |world| world.arena().leave(&world.cpu(0), 0),
        |world| world.put(1, 448),
        |world, (), put| {
            assert_eq!(put, Ok(()));
            assert_eq!(world.state(), ChunkState::WholeFree);
        },
    );
}

/// Frames that are free throughout a search are found, or the search knows that it cannot be
/// believed, although the chunk is merged meanwhile and moves from one summary to the other.
#[test]
fn a_search_during_a_merge_finds_a_frame_or_sees_a_window() {
    explore(
        || World::broken(all_but(1 << 63)),
        |world| world.put(0, 511),
        |world| {
            let closed = windows_closed(&world.slots);
            let found = world.take(1);
            found.is_some() || windows_opened(&world.slots) != closed
        },
        |_, _, right| assert!(right, "frame 0 was free all the time"),
    );
}

/// The same while the last hint of the chunk but one is taken back.
#[test]
fn a_search_during_a_clearing_finds_a_frame_or_sees_a_window() {
    explore(
        // Frame 64 is free all the time; word 0 is emptied and filled again.
        || World::broken([1, 1, 0, 0, 0, 0, 0, 0]),
        |world| {
            let bit = world.arena().take_small(&world.cpu(0), 0, 0, 0);
            bit.map(|bit| world.put(0, bit))
        },
        |world| {
            let closed = windows_closed(&world.slots);
            let found = world.take(1);
            found.is_some() || windows_opened(&world.slots) != closed
        },
        |_, _, right| assert!(right, "a frame was free all the time"),
    );
}

/// A chunk whose frames are all free throughout is taken, whoever merges it meanwhile.
#[test]
fn a_full_chunk_is_taken_whole_while_another_merges_it() {
    explore(
        || {
            let entry =
                Entry::UNTOUCHED.with_state(ChunkState::Broken).with_hints(0xff).with_adopted(true);
            World::new(entry, [FULL; WORDS], FULL, 1, 0)
        },
        |world| world.arena().leave(&world.cpu(0), 0),
        |world| world.arena().take_span(&world.cpu(1), 0, Span::WHOLE),
        |_, (), taken| assert!(taken, "free throughout, and not taken"),
    );
}

/// A boot frame that was not freed stays a boot frame.
#[test]
fn a_put_that_is_refused_half_way_marks_nothing() {
    explore(
        || {
            // Frame 0 is in use, frame 1 boot-allocated, frame 2 free, the rest in use.
            let world = World::broken([0b100, 0, 0, 0, 0, 0, 0, 0]);
            world.marks[0].initialised[0].store(FULL & !0b10, Ordering::Relaxed);
            world
        },
        |world| world.put(0, 0),
        |world| {
            let new = [0b10, 0, 0, 0, 0, 0, 0, 0];
            world.arena().put_span(&world.cpu(1), 0, Span::new(0, 2), &new)
        },
        |world, _, put| {
            let known = world.marks[0].initialised[0].load(Ordering::Relaxed);
            if put.is_err() {
                assert_eq!(known & 0b10, 0, "marked as in use by a free that was refused");
            }
        },
    );
}

/// A frame is taken out of a full chunk and put back while another CPU tries to merge it: the chunk is
/// merged in the end.
#[test]
fn a_merge_that_fails_is_made_up_for() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        end();
        let entry =
            Entry::UNTOUCHED.with_state(ChunkState::Broken).with_hints(0xff).with_adopted(true);
        let world = World::new(entry, [FULL; WORDS], FULL, 1, 0);
        begin(64);
        let other = world.clone();
        let thread = thread::spawn(move || other.arena().leave(&other.cpu(0), 0));
        if world.arena().take_span(&world.cpu(1), 0, Span::new(511, 1)) {
            assert_eq!(world.put(1, 511), Ok(()));
        }
        thread.join().unwrap();
        end();
        world.check();
    });
}

/// A double free is refused while the chunk, free as a whole, is taken: Busy for nothing hides nothing.
#[test]
fn a_whole_is_taken_whatever_is_refused_meanwhile() {
    explore(
        || World::new(Entry::WHOLE_FREE, [0; WORDS], FULL, 0, 1),
        |world| world.put(0, 5),
        |world| world.arena().take_span(&world.cpu(1), 0, Span::WHOLE),
        |_, put, taken| {
            if put.is_err() {
                assert!(taken, "free throughout, and not taken");
            }
        },
    );
}

/// The last bit of a summary's word is cleared by a search while a sibling's is set and looked for.
#[test]
fn a_sibling_is_found_or_a_window_seen() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(|| {
        end();
        let world = World::broken([0; WORDS]);
        let words: Arc<[AtomicU64; 3]> =
            Arc::new([AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(2)]);
        begin(64);
        let (other, w2) = (words.clone(), world.clone());
        // Comes by, finds the second word empty, and clears the bit above it.
        let thread = thread::spawn(move || {
            Summary::over(&other[..], 128 * 64).find(&w2.cpu(0), 0, 128);
        });
        let summary = Summary::over(&words[..], 128 * 64);
        // The change of an entry that group 71 is told of.
        words[0].fetch_or(0, Ordering::AcqRel);
        summary.set(71);
        let closed = windows_closed(&world.slots);
        let found = summary.find(&world.cpu(1), 0, 128);
        assert!(
            found.is_some() || windows_opened(&world.slots) != closed,
            "71 was put and is hidden"
        );
        thread.join().unwrap();
        end();
        assert_eq!(summary.hidden(), None);
    });
}

/// A search that finds a group empty clears its bit while a frame of the group is put.
#[test]
fn a_group_that_is_found_empty_and_filled_at_once_is_not_hidden() {
    explore(
        || {
            let world = World::broken([0; WORDS]);
            world.some[0].store(1, Ordering::Relaxed);
            world
        },
        |world| world.take(0),
        |world| {
            let put = world.put(1, 5);
            let closed = windows_closed(&world.slots);
            let found = world.take(1);
            (put, found, windows_opened(&world.slots) != closed)
        },
        |_, taken, (put, found, window)| {
            assert_eq!(put, Ok(()));
            assert!(taken.is_none() || found.is_none());
            assert!(taken.is_some() || found.is_some() || window, "frame 5 was free and is hidden");
        },
    );
}

/// The same for a chunk that is put back whole.
#[test]
fn a_chunk_put_back_whole_is_found_or_a_window_seen() {
    explore(
        || {
            let entry = Entry::UNTOUCHED.with_state(ChunkState::WholeUsed);
            World::new(entry, [0; WORDS], FULL, 0, 1)
        },
        |world| world.arena().find(&world.cpu(0), Wanted::Whole, 0, 1),
        |world| {
            let chunk = world.arena().chunk(0).unwrap();
            assert!(Chunk::put_whole(chunk.entry, || Some(chunk.above)));
            let closed = windows_closed(&world.slots);
            let found = world.arena().find(&world.cpu(1), Wanted::Whole, 0, 1);
            found.is_some() || windows_opened(&world.slots) != closed
        },
        |_, _, right| assert!(right, "put back whole, and hidden"),
    );
}

/// The hint of a word that was emptied is taken back while a frame of it is freed.
#[test]
fn a_hint_taken_back_while_a_frame_is_freed_is_not_lost() {
    explore(
        || {
            let world = World::broken([0; WORDS]);
            let entry = Entry(world.entries[0].load(Ordering::Relaxed)).with_hints(1);
            world.entries[0].store(entry.0, Ordering::Relaxed);
            world.some[0].store(1, Ordering::Relaxed);
            world
        },
        |world| world.arena().chunk(0).unwrap().clear_hint(world.cpu(0).platform, 0),
        |world| world.put(1, 5),
        |world, (), put| {
            assert_eq!(put, Ok(()));
            assert_eq!(world.take(0), Some(5));
        },
    );
}
