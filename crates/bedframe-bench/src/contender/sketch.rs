//! The bare steps of the free plane, and nothing else: the floor of any allocator whose only truth is
//! an atomic bit a frame.
//!
//! It is what locked instructions cost on the machine at hand, and the least that Bedframe's layout can
//! come to. It is no allocator that anyone could use: it has no ledger, no segments and no nodes, never
//! merges and never breaks, so it serves frames or whole chunks of 512 and not both; it packs nothing,
//! and without summaries it searches word by word. Where CPUs take from random places nothing keeps
//! them apart after the start, and there Bedframe can be below it.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

use super::cpu::{cpu, set_cpu};
use super::{Contender, Cpu, MOST_FRAMES, Machine, Nature};
use crate::plan::Workload;
use crate::trouble::Trouble;

/// Free and used, as an entry says it of a whole chunk.
const FREE: u32 = 0;
const USED: u32 = 1;

/// Where a CPU takes from: a word of the plane, or an entry. On cache lines of its own.
#[repr(align(128))]
struct Hint(AtomicUsize);

/// A flat plane of free bits, or an entry for each chunk, and a hint for each CPU.
pub struct Sketch {
    free: Box<[AtomicU64]>,
    entries: Box<[AtomicU32]>,
    hints: Box<[Hint]>,
}

/// Takes the lowest frame of a word. `lock btr` on x86: one locked instruction, of which the bit that it
/// replaced says whether someone else was first.
#[inline(always)]
fn take_bit(word: &AtomicU64) -> Option<u32> {
    loop {
        let old = word.load(Relaxed);
        if old == 0 {
            return None;
        }
        let bit = old.trailing_zeros();
        let mask = 1 << bit;
        // Pairs with `put_bit`: what the last user wrote comes before what the next one does.
        if word.fetch_and(!mask, Acquire) & mask != 0 {
            return Some(bit);
        }
    }
}

/// Puts a frame back. `lock bts` on x86. False if the bit that it replaced was set: a double free.
#[inline(always)]
fn put_bit(word: &AtomicU64, bit: u32) -> bool {
    let mask = 1 << bit;
    word.fetch_or(mask, Release) & mask == 0 // Pairs with `take_bit`.
}

/// Takes a whole chunk: `xchg`, which finds out whether there was anything to take.
#[inline(always)]
fn take_entry(entry: &AtomicU32) -> Option<u32> {
    // Pairs with the put of an entry.
    (entry.load(Relaxed) == FREE && entry.swap(USED, Acquire) == FREE).then_some(0)
}

/// Takes at this CPU's hint, or else at the next place that has something, which becomes the hint.
/// Each place stands for `1 << shift` frames.
#[inline(always)]
fn take<T>(places: &[T], hint: &Hint, shift: u32, take: impl Fn(&T) -> Option<u32>) -> Option<u32> {
    let at = hint.0.load(Relaxed);
    let (at, bit) = match take(places.get(at)?) {
        Some(bit) => (at, bit),
        None => search(places, hint, at, take)?,
    };
    Some(((at as u32) << shift) + bit)
}

#[inline(never)]
fn search<T>(
    places: &[T],
    hint: &Hint,
    from: usize,
    take: impl Fn(&T) -> Option<u32>,
) -> Option<(usize, u32)> {
    let (before, after) = places.split_at_checked(from)?;
    let after = (from..).zip(after);
    let found = after.chain((0..).zip(before)).find_map(|(at, place)| Some((at, take(place)?)))?;
    hint.0.store(found.0, Relaxed);
    Some(found)
}

impl Contender for Sketch {
    const NAME: &'static str = "sketch";
    const NATURE: Nature = Nature {
        about: "a locked instruction a call on bare bits: what the layout costs at the least",
        shares: true,
        hides: false,
        orders: false,
        most_frames: MOST_FRAMES,
    };

    type Cpu<'a> = &'a Sketch;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        let whole = machine.order > 0;
        let (words, chunks) = ((machine.frames / 64) as usize, (machine.frames / 512) as usize);
        let (words, chunks) = if whole { (0, chunks) } else { (words, 0) };
        let share = (words + chunks) / machine.cpus;
        Ok(Self {
            free: (0..words).map(|_| AtomicU64::new(u64::MAX)).collect(),
            entries: (0..chunks).map(|_| AtomicU32::new(FREE)).collect(),
            hints: (0..machine.cpus).map(|cpu| Hint(AtomicUsize::new(cpu * share))).collect(),
        })
    }

    fn cpu(&self, number: usize) -> &Sketch {
        set_cpu(number);
        self
    }

    /// Where a search finds something soon, since it has no summaries.
    fn fits(workload: Workload, order: u8) -> bool {
        use Workload::{
            Bulk, Churn, Churn64, ChurnListed, CrossThread, RandomFree, Repeat, RepeatHalf,
        };
        let soon = matches!(
            workload,
            Repeat | RepeatHalf | Bulk | RandomFree | Churn | Churn64 | ChurnListed | CrossThread
        );
        soon && matches!(order, 0 | 9)
    }

    fn check(&self, free: u64, _: Option<u64>) -> Result<(), String> {
        let frames = self.free.iter().map(|word| u64::from(word.load(Relaxed).count_ones()));
        let chunks = self.entries.iter().filter(|entry| entry.load(Relaxed) == FREE).count() as u64;
        match frames.sum::<u64>() + chunks * 512 {
            counted if counted == free => Ok(()),
            counted => Err(format!("{counted} frames are free, and {free} should be")),
        }
    }
}

impl Cpu for &Sketch {
    #[inline(always)]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let hint = self.hints.get(cpu())?;
        match order {
            0 => take(&self.free, hint, 6, take_bit),
            _ => take(&self.entries, hint, 9, take_entry),
        }
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, order: u8) -> bool {
        match order {
            0 => self.free.get((frame / 64) as usize).is_some_and(|word| put_bit(word, frame % 64)),
            // Pairs with `take_entry`.
            _ => self
                .entries
                .get((frame / 512) as usize)
                .is_some_and(|entry| entry.swap(FREE, Release) == USED),
        }
    }
}
