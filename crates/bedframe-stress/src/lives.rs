//! Lives of a memory, one after the other, each in phases between which all threads rest.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use bedframe::{CpuId, Request};
use bedframe_hosted::{HostedMemory, HostedPlatform, InterruptCount, interrupt_count};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::counts::Counts;
use crate::found::Found;
use crate::held::{Held, Piece};
use crate::layout::{END, LATER, RELEASABLE, stretches};
use crate::life::Life;
use crate::owners::NOBODY;
use crate::race::Race;
use crate::turn::{Event, Turn, Worker};
use crate::{content, mix, platform, rest};

/// Times that a thread looks for the others before it goes on without them.
const PATIENCE: u32 = 1000;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) cpus: u32,
    pub(crate) operations: u64,
    pub(crate) time: Duration,
}

/// What all threads tell whoever watches.
#[derive(Default)]
pub(crate) struct Watch {
    /// Operations so far, within a hundred for each thread.
    pub(crate) operations: AtomicU64,
    /// Times of rest so far.
    pub(crate) rests: AtomicU64,
}

/// What was done in all lives.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) counts: Counts,
    pub(crate) lives: u64,
    pub(crate) rests: u64,
}

/// What the threads do in a phase.
enum Work {
    /// The mixture of operations; each thread comes to hold about so many frames.
    Mix { target: u64, operations: u64, roomy: bool },
    /// Small blocks from the same few words.
    Hammer { operations: u64 },
    /// Everything is freed by all.
    Race(Race),
    /// Everything is freed by whoever holds it, or was given it.
    Drain,
}

struct Phase {
    number: u64,
    work: Work,
    /// Who does what in the middle of the phase.
    events: Vec<(usize, Event)>,
    /// Threads that have come to where one of them hands over.
    here: AtomicUsize,
}

/// Lives until the time is over; the one under way is finished.
pub(crate) fn run(plan: Plan, watch: &Watch) -> Result<Done, Found> {
    let start = Instant::now();
    let mut done = Done::default();
    let hosted = HostedMemory::new(END).map_err(|error| Found(error.to_string()))?;
    let hosted = HostedPlatform::new(hosted);
    while done.lives == 0 || start.elapsed() < plan.time {
        let life = Life::new(plan.seed, done.lives, plan.threads, &hosted)?;
        let workers = (0..plan.threads).map(|number| Worker {
            number,
            held: Held::default(),
            counts: Counts::default(),
        });
        let mut course = Course {
            plan,
            watch,
            life,
            workers: workers.collect(),
            phases: 0,
            rests: 0,
            number: done.lives,
        };
        course.live().map_err(|found| {
            let (xen, records) = (course.life.xen_heap, course.life.with_records);
            Found(format!(
                "{found}\n  in life {}, phase {}; {xen:?}, records: {records}",
                done.lives, course.phases
            ))
        })?;
        course.workers.into_iter().for_each(|worker| done.counts.add(worker.counts));
        done.rests += course.rests;
        done.lives += 1;
    }
    Ok(done)
}

/// One life under way.
struct Course<'a> {
    plan: Plan,
    watch: &'a Watch,
    life: Life,
    workers: Vec<Worker>,
    phases: u64,
    rests: u64,
    number: u64,
}

impl Course<'_> {
    fn live(&mut self) -> Result<(), Found> {
        let operations = self.plan.operations;
        // A walk over the ledger for each call: fewer of them.
        self.mix(30, operations / 8, Vec::new())?;
        let starters = vec![(0, Event::Start), (self.plan.threads - 1, Event::Start)];
        if self.number.is_multiple_of(2) {
            self.mix(40, operations / 8, starters)?;
        } else {
            self.race(false, starters)?;
        }
        self.be_started()?;
        self.pin()?;
        let last = self.plan.threads - 1;
        self.mix(60, operations, vec![(last, Event::Add(0))])?;
        self.hammer(4 * operations)?;
        self.race(true, Vec::new())?;
        self.mix(115, operations, vec![(0, Event::Add(1))])?;
        // Now that memory is nearly full, at what is left of it.
        self.hammer(operations)?;
        let events = if self.number.is_multiple_of(3) { vec![(0, Event::Add(1))] } else { vec![] };
        self.race(false, events)?;
        self.mix(20, operations, Vec::new())?;
        self.end()
    }

    /// The mixture: threads come to hold so many percent of all memory together.
    fn mix(
        &mut self,
        percent: u64,
        operations: u64,
        events: Vec<(usize, Event)>,
    ) -> Result<(), Found> {
        let all: u64 = stretches().map(|stretch| stretch.range.frames()).sum();
        let target = all * percent / 100 / self.plan.threads as u64;
        self.phase(Work::Mix { target, operations, roomy: percent <= 40 }, events)?;
        self.rest()
    }

    /// All threads take small blocks and free them, as fast as they can.
    fn hammer(&mut self, operations: u64) -> Result<(), Found> {
        self.phase(Work::Hammer { operations }, Vec::new())?;
        self.rest()
    }

    /// All that is held is freed by all threads, or what lies in lower halves of chunks.
    fn race(&mut self, beside: bool, events: Vec<(usize, Event)>) -> Result<(), Found> {
        let pieces = self.collect();
        let seed = self.seed(u64::MAX);
        let (race, kept) = Race::new(&self.life, pieces, beside, seed)?;
        for (piece, turn) in kept.into_iter().zip((0..self.workers.len()).cycle()) {
            self.workers[turn].held.put(piece);
        }
        let work = self.phase(Work::Race(race), events)?;
        if let Work::Race(race) = work {
            race.settle(&self.life)?;
        }
        self.rest()
    }

    /// Everything that anybody holds or waits for.
    fn collect(&mut self) -> Vec<Piece> {
        let mut pieces: Vec<_> =
            self.workers.iter_mut().flat_map(|worker| worker.held.drain()).collect();
        for inbox in &self.life.inboxes {
            pieces.extend(std::iter::from_fn(|| inbox.pop()));
        }
        pieces
    }

    /// If hand-over found no room it does now.
    fn be_started(&mut self) -> Result<(), Found> {
        if !self.life.is_started() {
            self.phase(Work::Drain, Vec::new())?;
            self.rest()?;
            self.turn(0, |turn| turn.start())?;
        }
        Found::unless(self.life.is_started(), || "no room for the index in free memory".into())
    }

    /// Frames that all threads refer to.
    fn pin(&mut self) -> Result<(), Found> {
        for frames in [1, 1, 3, 64] {
            let Ok(range) = self.life.memory.alloc(&Request::frames(frames)) else { continue };
            let tag = self.life.next_tag();
            self.life.owners.pass(range, NOBODY, tag)?;
            content::write(self.life.hosted(), range, tag);
            self.life.pins.push(Piece { range, tag });
        }
        self.rest()
    }

    /// All that was handed out comes back, all that can be added or released is.
    fn end(&mut self) -> Result<(), Found> {
        self.phase(Work::Drain, Vec::new())?;
        let pins = std::mem::take(&mut self.life.pins);
        for piece in self.collect().into_iter().chain(pins) {
            content::check(self.life.hosted(), piece.range, piece.tag)?;
            self.life.owners.pass(piece.range, piece.tag, NOBODY)?;
            let freed = self.life.memory.free(piece.range);
            freed.map_err(|error| Found(format!("at the end: {error}")))?;
        }
        for which in 0..RELEASABLE.len() {
            self.turn(0, |turn| turn.release(which))?;
        }
        for which in 0..LATER.len() {
            self.turn(0, |turn| turn.add_later(which))?;
        }
        rest::check_end(&mut self.life, &self.workers)?;
        self.rests += 1;
        Ok(())
    }

    fn rest(&mut self) -> Result<(), Found> {
        self.rests += 1;
        self.watch.rests.fetch_add(1, Relaxed);
        rest::check(&mut self.life, &self.workers)
    }

    fn seed(&self, number: u64) -> u64 {
        mix(self.plan.seed ^ mix(self.number ^ mix(self.phases ^ mix(number))))
    }

    /// Lets this thread do something as one of the workers, at rest.
    fn turn(
        &mut self,
        worker: usize,
        f: impl FnOnce(&mut Turn<'_>) -> Result<(), Found>,
    ) -> Result<(), Found> {
        let rng = fastrand::Rng::with_seed(self.seed(worker as u64));
        let worker = &mut self.workers[worker];
        f(&mut Turn { life: &self.life, worker, rng, cpus: self.plan.cpus, roomy: false })
    }

    /// All threads work, until the phase is over or one of them has found a contradiction.
    fn phase(&mut self, work: Work, events: Vec<(usize, Event)>) -> Result<Work, Found> {
        self.phases += 1;
        let phase = Phase { number: self.phases, work, events, here: AtomicUsize::new(0) };
        let barrier = Barrier::new(self.workers.len());
        let (life, plan, watch) = (&self.life, self.plan, self.watch);
        let lives = self.number;
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| {
                    let (phase, barrier) = (&phase, &barrier);
                    scope.spawn(move || {
                        pin_thread(worker.number);
                        barrier.wait();
                        let seed = mix(plan.seed ^ mix(lives ^ mix(phase.number)));
                        let seed = mix(seed ^ mix(worker.number as u64));
                        let work = || Thread { life, plan, watch, seed }.work(worker, phase);
                        let result = catch_unwind(AssertUnwindSafe(work))
                            .unwrap_or_else(|_| Err(Found("a thread panicked, see above".into())));
                        if result.is_err() {
                            life.stop.store(true, Relaxed);
                        }
                        result
                    })
                })
                .collect();
            // Threads catch their panics.
            threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(()))).collect()
        });
        results.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(phase.work)
    }
}

/// Keeps the calling thread on one of the CPUs that it may use.
fn pin_thread(number: usize) {
    // Where the host does not allow it, threads wander: slower to find something, not wrong.
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let usable: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    if let Some(cpu) = usable.get(number % usable.len().max(1)) {
        let mut one = CpuSet::new();
        one.set(*cpu);
        let _ = sched_setaffinity(None, &one);
    }
}

/// One thread in one phase.
struct Thread<'a> {
    life: &'a Life,
    plan: Plan,
    watch: &'a Watch,
    seed: u64,
}

impl Thread<'_> {
    fn work(&self, worker: &mut Worker, phase: &Phase) -> Result<(), Found> {
        bedframe_hosted::set_cpu(CpuId(worker.number as u32));
        // Hand-over happens once in a life, so threads had better meet there.
        let often = matches!(phase.work, Work::Race(_)) || !self.life.is_started();
        platform::set_chance(self.seed, often);
        let rng = fastrand::Rng::with_seed(self.seed);
        let roomy = matches!(phase.work, Work::Mix { roomy: true, .. });
        let mut turn = Turn { life: self.life, worker, rng, cpus: self.plan.cpus, roomy };
        match &phase.work {
            Work::Mix { target, operations, .. } => {
                self.steps(&mut turn, phase, *operations, |turn, _| turn.step(*target))
            }
            Work::Hammer { operations } => {
                bedframe_hosted::set_cpu(CpuId(0));
                let mut kept = VecDeque::new();
                self.steps(&mut turn, phase, *operations, |turn, _| turn.hammer(&mut kept))?;
                kept.into_iter().for_each(|piece| turn.worker.held.put(piece));
                Ok(())
            }
            Work::Race(race) => {
                turn.race_for_release(race)?;
                self.steps(&mut turn, phase, race.len() as u64, |turn, number| {
                    turn.race_for(race, number as usize)?;
                    for _ in 0..if race.beside { 4 } else { 0 } {
                        turn.work_beside(race, number as usize)?;
                    }
                    if turn.rng.u32(0..32) == 0 { turn.look() } else { Ok(()) }
                })
            }
            Work::Drain => {
                self.steps(&mut turn, phase, u64::MAX, |turn, _| turn.drain())?;
                self.steps(&mut turn, phase, 1, |turn, _| turn.look())
            }
        }?;
        let InterruptCount { depth, mismatched, .. } = interrupt_count();
        Found::unless((depth, mismatched) == (0, 0), || {
            format!("interrupts are masked {depth} times at the end, {mismatched} out of order")
        })
    }

    /// Calls `step` so often, each time with random choices that depend on seed and number alone.
    fn steps(
        &self,
        turn: &mut Turn<'_>,
        phase: &Phase,
        operations: u64,
        mut step: impl FnMut(&mut Turn<'_>, u64) -> Result<(), Found>,
    ) -> Result<(), Found> {
        let mut counted = turn.worker.counts.total();
        for number in 0..operations {
            if self.life.stop.load(Relaxed) {
                break;
            }
            turn.choose_by(self.seed ^ mix(number));
            if number == operations / 2 {
                self.meet_at_start(turn, phase)?;
                for (who, event) in &phase.events {
                    if *who == turn.worker.number {
                        turn.happen(*event)?;
                    }
                }
            }
            if operations == u64::MAX && turn.worker.held.frames() == 0 {
                break;
            }
            step(turn, number)?;
            if number % 64 == 63 || number + 1 == operations {
                let total = turn.worker.counts.total();
                self.watch.operations.fetch_add(total - counted, Relaxed);
                counted = total;
            }
        }
        Ok(())
    }

    /// If the heap is handed over here the threads wait for one another, and all but the first
    /// allocate meanwhile.
    fn meet_at_start(&self, turn: &mut Turn<'_>, phase: &Phase) -> Result<(), Found> {
        let starts = phase.events.iter().any(|(_, event)| *event == Event::Start);
        if !starts || !matches!(phase.work, Work::Mix { .. }) {
            return Ok(());
        }
        phase.here.fetch_add(1, Relaxed);
        for _ in 0..PATIENCE {
            if phase.here.load(Relaxed) == self.plan.threads {
                break;
            }
            thread::yield_now();
        }
        if turn.worker.number == 0 { Ok(()) } else { turn.work_beside_start() }
    }
}
