//! The test stand: a contender, threads that stay on their processors, and who holds what.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use fastrand::Rng;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::contender::{Contender, Cpu, Machine};
use crate::plan::Cell;
use crate::trouble::Trouble;
use crate::workload::Context;

/// Lets threads begin each part of a workload together.
pub(crate) struct Start {
    threads: usize,
    arrived: AtomicUsize,
}

impl Start {
    fn new(threads: usize) -> Self {
        Self { threads, arrived: AtomicUsize::new(0) }
    }

    /// Waits for all threads. May be used again.
    pub(crate) fn wait(&self) {
        let arrived = self.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        let all = arrived.next_multiple_of(self.threads);
        let mut turns = 0_u32;
        while self.arrived.load(Ordering::Acquire) < all {
            turns += 1;
            // The one waited for may need this very processor.
            if turns.is_multiple_of(1000) {
                std::thread::yield_now()
            } else {
                std::hint::spin_loop()
            }
        }
    }
}

/// Keeps the calling thread on one of the processors that it may use.
fn pin(number: usize) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    if cpus.is_empty() {
        return;
    }
    let mut one = CpuSet::new();
    one.set(cpus[number % cpus.len()]);
    // A host that refuses moves threads about: slower, not wrong.
    let _ = sched_setaffinity(None, &one);
}

/// Runs `work` for each of `lanes` on a CPU of its own, and answers in their order.
pub(crate) fn on_cpus<C: Contender, L: Send, R: Send>(
    contender: &C,
    lanes: &mut [L],
    work: impl Fn(&mut C::Cpu<'_>, &mut L, &Start) -> R + Sync,
) -> Vec<R> {
    let start = Start::new(lanes.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .iter_mut()
            .enumerate()
            .map(|(number, lane)| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    pin(number);
                    work(&mut contender.cpu(number), lane, start)
                })
            })
            .collect();
        threads.into_iter().map(finish).collect()
    })
}

/// Runs `work` on CPU 0.
pub(crate) fn on_one_cpu<C: Contender, R: Send>(
    contender: &C,
    work: impl FnOnce(&mut C::Cpu<'_>) -> R + Send,
) -> R {
    std::thread::scope(|scope| {
        finish(scope.spawn(move || {
            pin(0);
            work(&mut contender.cpu(0))
        }))
    })
}

/// What a thread answers. Its panic is the caller's.
fn finish<R>(thread: ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// What one CPU holds, and what it will do.
pub(crate) struct Lane {
    /// First frames of blocks of the stand's order.
    pub(crate) held: Vec<u32>,
    /// Blocks that are this CPU's part.
    pub(crate) share: usize,
    pub(crate) rng: Rng,
    /// Random numbers, drawn before anything is timed; what they mean is the workload's.
    pub(crate) steps: Vec<u32>,
    pub(crate) at: usize,
    /// Calls that should have succeeded and did not.
    pub(crate) failures: u64,
}

impl Lane {
    /// The next `count` steps.
    pub(crate) fn take_steps(&mut self, count: usize) -> std::ops::Range<usize> {
        if self.at + count > self.steps.len() {
            self.at = 0;
        }
        self.at += count;
        self.at - count..self.at
    }
}

/// A contender under test in one cell.
pub(crate) struct Stand<C> {
    pub(crate) contender: C,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) machine: Machine,
    cell: Cell,
    sample: Duration,
    /// How many operations a sample consists of, once that is known.
    ops: u64,
}

impl<C: Contender> Stand<C> {
    /// All memory is free.
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        Self::with(context, C::new)
    }

    /// The same with a contender that is made in another way.
    pub(crate) fn with(
        context: &Context<'_>,
        make: impl FnOnce(Machine) -> Result<C, Trouble>,
    ) -> Result<Self, Trouble> {
        let cell = *context.cell;
        let frames = context.frames(C::NATURE);
        let machine = Machine { frames, cpus: cell.threads, order: cell.order };
        let share = (frames >> cell.order) as usize / cell.threads;
        let lane = |cpu: usize| Lane {
            held: Vec::with_capacity(share),
            share,
            rng: Rng::with_seed(context.seed.wrapping_add(cpu as u64)),
            steps: Vec::new(),
            at: 0,
            failures: 0,
        };
        Ok(Self {
            contender: make(machine)?,
            lanes: (0..cell.threads).map(lane).collect(),
            machine,
            cell,
            sample: context.plan.sample,
            ops: 0,
        })
    }

    /// As [`on_cpus`].
    pub(crate) fn each<R: Send>(
        &mut self,
        work: impl Fn(&mut C::Cpu<'_>, &mut Lane, &Start) -> R + Sync,
    ) -> Vec<R> {
        on_cpus(&self.contender, &mut self.lanes, work)
    }

    /// Every CPU takes its share, and then gives back a random part until `percent` are left.
    pub(crate) fn fill(&mut self, percent: u8) -> Result<(), Trouble> {
        let order = self.cell.order;
        self.each(|cpu, lane, start| {
            take_share(cpu, lane, order);
            start.wait();
            lane.rng.shuffle(&mut lane.held);
            let left = lane.share * usize::from(percent) / 100;
            for frame in lane.held.drain(left.min(lane.held.len())..) {
                lane.failures += u64::from(!cpu.free(frame, order));
            }
        });
        self.check()
    }

    /// How many operations a sample should have: `run` does as many and says what one took.
    pub(crate) fn ops(
        &mut self,
        (least, most): (u64, u64),
        run: impl Fn(&mut Self, u64) -> f64,
    ) -> u64 {
        let enough = self.sample.as_nanos() as f64;
        if self.ops == 0 {
            // The quicker of two: a thread that had to wait for a processor says nothing.
            let mut each = |ops| run(self, ops).min(run(self, ops)).max(0.1);
            let mut ops = least;
            let mut took = each(ops);
            while ops < most && took * ops as f64 * 4.0 < enough {
                ops = (ops * 2).min(most);
                took = each(ops);
            }
            self.ops = ((enough / took) as u64).clamp(least, most);
        }
        self.ops
    }

    /// Draws steps for each lane, each a place in what it holds.
    pub(crate) fn draw_steps(&mut self, count: usize) {
        for lane in &mut self.lanes {
            let held = lane.held.len().max(1) as u32;
            let rng = &mut lane.rng;
            lane.steps = (0..count).map(|_| rng.u32(..held)).collect();
        }
    }

    /// Nothing failed that should not, no frame is held twice, and the contender agrees.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        let failures: u64 = self.lanes.iter().map(|lane| lane.failures).sum();
        if failures > 0 && !C::NATURE.hides {
            return Err(self.contradiction(format!("{failures} calls failed")));
        }
        let mut distinct = Distinct::new(self.contender.first_frame(), self.machine.frames);
        for frame in self.lanes.iter().flat_map(|lane| &lane.held) {
            distinct.add(*frame, self.cell.order).map_err(|what| self.contradiction(what))?;
        }
        Ok(())
    }

    /// As [`Stand::check`], and what the contender finds in itself.
    pub(crate) fn finish(&self) -> Result<(), Trouble> {
        self.check()?;
        let held: usize = self.lanes.iter().map(|lane| lane.held.len()).sum();
        let free = self.machine.frames - ((held as u64) << self.cell.order);
        self.contender.check(free, None).map_err(|what| self.contradiction(what))
    }

    pub(crate) fn contradiction(&self, what: String) -> Trouble {
        contradiction::<C>(&self.cell, what)
    }
}

pub(crate) fn contradiction<C: Contender>(cell: &Cell, what: String) -> Trouble {
    Trouble::Contradiction { allocator: C::NAME, workload: cell.workload.name(), what }
}

/// Takes blocks until the lane has its share.
#[inline(always)]
pub(crate) fn take_share(cpu: &mut impl Cpu, lane: &mut Lane, order: u8) {
    while lane.held.len() < lane.share {
        match cpu.alloc(order) {
            Some(frame) => lane.held.push(frame),
            None => {
                lane.failures += 1;
                return;
            }
        }
    }
}

/// Gives everything back, in the order in which it lies.
#[inline(always)]
pub(crate) fn give_all(cpu: &mut impl Cpu, lane: &mut Lane, order: u8) {
    let mut refused = 0;
    for frame in &lane.held {
        refused += u64::from(!cpu.free(*frame, order));
    }
    lane.failures += refused;
    lane.held.clear();
}

/// What was handed out, to see that nothing is handed out twice.
pub(crate) struct Distinct {
    first: u32,
    taken: Vec<u64>,
    frames: u64,
}

impl Distinct {
    pub(crate) fn new(first: u32, frames: u64) -> Self {
        Self { first, taken: vec![0; frames.div_ceil(64) as usize], frames }
    }

    /// Notes a block. The error says what is wrong with it.
    pub(crate) fn add(&mut self, frame: u32, order: u8) -> Result<(), String> {
        let Some(from) = frame.checked_sub(self.first).map(u64::from) else {
            return Err(format!("frame {frame:#x} is not the machine's"));
        };
        let to = from + (1 << order);
        if to > self.frames || !from.is_multiple_of(1 << order) {
            return Err(format!("frame {frame:#x} is no block of order {order}"));
        }
        for number in from..to {
            let bit = 1 << (number % 64);
            let word = &mut self.taken[(number / 64) as usize];
            if *word & bit != 0 {
                let frame = u64::from(self.first) + number;
                return Err(format!("frame {frame:#x} was handed out twice"));
            }
            *word |= bit;
        }
        Ok(())
    }
}

/// The mean over CPUs of what each measured.
pub(crate) fn mean(each: &[f64]) -> f64 {
    each.iter().sum::<f64>() / each.len().max(1) as f64
}

/// The time for which the calling thread has had a processor. Where the longest of many short stretches is
/// looked for, any other clock says how long other threads had it.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Nanoseconds that each of `count` took.
pub(crate) fn each_took(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_handed_out_twice_is_seen() {
        let mut distinct = Distinct::new(0x100, 64);
        assert_eq!(distinct.add(0x100, 3), Ok(()));
        assert_eq!(distinct.add(0x108, 0), Ok(()));
        for (frame, order, word) in
            [(0x107, 0, "twice"), (0x100, 4, "twice"), (0xff, 0, "not"), (0x140, 0, "no block")]
        {
            let error = distinct.add(frame, order).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(distinct.add(0x109, 1).unwrap_err().contains("no block"));
    }

    #[test]
    fn threads_wait_for_each_other_again_and_again() {
        let (start, count) = (Start::new(3), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 1..=50 {
                        count.fetch_add(1, Ordering::Relaxed);
                        start.wait();
                        assert_eq!(count.load(Ordering::Relaxed), 3 * round);
                        start.wait();
                    }
                });
            }
        });
    }
}
