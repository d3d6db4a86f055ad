//! Every interleaving of pairs of steps on a chunk, by loom, over the code that ships. Run with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p bedframe --lib interleavings`.

mod frees;
mod hints;
mod merges;
mod searches;

use std::sync::Arc;

use loom::thread;

use super::arena::{Arena, Wanted};
use super::chunk::{Chunk, Contents, FreePlane, Marks, PutRefusal, Words};
use super::entry::{ChunkState, Entry};
use super::records::Records;
use super::slot::{Cpu, Slot};
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
            match arena.put_span(&cpu, 0, Span::new(bit, 1), &new, Contents::Written) {
                Ok(_) => return Ok(()),
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
            dirty: &chunk.marks.dirty[index],
        };
        let entry = chunk.load();
        if !entry.is_plain()
            || !entry.is_complete() && words.initialised.load(Ordering::Relaxed) & mask != mask
        {
            return false;
        }
        let under_busy = || {
            let (entry, place) = ((words.entry, words.free), (0, bit / 64));
            let (marks, some) = (|| Some(words), || chunk.above.some);
            Chunk::put_under_busy(cpu.platform, entry, place, mask, marks, some).is_some()
        };
        if entry.is_clean() && words.dirty.load(Ordering::Relaxed) & mask != mask {
            return under_busy();
        }
        let old = match Chunk::put_in_word(words.free, mask) {
            Some(Ok(old)) => old,
            Some(Err(_)) => return false,
            None => return under_busy(),
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
