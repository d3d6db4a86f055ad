//! Long mixed scripts on two to four CPUs, by shuttle: random schedules, and schedules that change
//! priorities at a few random steps (PCT), which find what takes few but unlikely switches.
//!
//! What the CPUs do is drawn from the schedule's own random numbers. A failure prints its schedule; to
//! run that alone, put it into a file and name the file in `BEDFRAME_SCHEDULE`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

use super::machine::set_cpu;
use super::world::{EARLY, MORE, World, few, frames};
use crate::addr::FrameRange;
use crate::error::AllocError;
use crate::node::NodeId;
use crate::order::Order;
use crate::request::Request;
use crate::sync::checked::{begin, end};

/// Calls that each CPU makes.
const CALLS: u64 = 40;

/// What is handed out, over all CPUs. Asked between calls, so its lock is the system's.
type Owned = Mutex<BTreeSet<u64>>;

fn take(owned: &Owned, range: FrameRange) {
    let mut owned = owned.lock().unwrap();
    assert!(range.iter().all(|frame| owned.insert(frame.get())), "{range:?} handed out twice");
}

fn put(owned: &Owned, range: FrameRange) {
    let mut owned = owned.lock().unwrap();
    assert!(range.iter().all(|frame| owned.remove(&frame.get())));
}

/// Who says what the CPUs do.
pub(super) trait Choices: Clone + Send + 'static {
    /// A number below `bound`.
    fn below(&self, bound: u64) -> u64;

    /// How many calls a CPU makes.
    fn calls(&self) -> u64;
}

/// The schedule's own random numbers.
#[derive(Clone)]
struct Drawn;

impl Choices for Drawn {
    fn below(&self, bound: u64) -> u64 {
        thread_rng().gen_range(0..bound)
    }

    fn calls(&self) -> u64 {
        CALLS
    }
}

/// One CPU: allocates, frees in whole and in part, refers, withdraws, scrubs.
fn run(world: &World, owned: &Owned, choices: &impl Choices, mut mine: Vec<FrameRange>) {
    for _ in 0..choices.calls() {
        let what = choices.below(16);
        if mine.is_empty() || what < 6 {
            let order = [0, 0, 0, 1, 3, 6, 8, 9][choices.below(8) as usize];
            match world.alloc(&Request::order(Order::new(order).unwrap())) {
                Ok(range) => {
                    take(owned, range);
                    mine.push(range);
                }
                Err(AllocError::OutOfMemory { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            continue;
        }
        let at = choices.below(mine.len() as u64) as usize;
        let frame = mine[at].start();
        match what {
            6..12 => {
                let mut range = mine.swap_remove(at);
                if range.frames() > 1 && choices.below(2) == 0 {
                    // Keep what comes behind.
                    let cut = range.start().get() + 1 + choices.below(range.frames() - 1);
                    let (start, end) = (range.start().get(), range.end().get());
                    mine.push(frames(cut, end - cut));
                    range = frames(start, cut - start);
                }
                put(owned, range);
                let freed = world.free(range);
                freed.unwrap_or_else(|error| panic!("a free of what was ours is refused: {error}"));
            }
            12 | 13 => {
                // Refused before hand-over, and without records.
                if world.memory.reference(frame).is_ok() {
                    let refused = world.free(mine[at]).is_err();
                    assert!(refused, "{frame} is referred to, and was freed");
                    world.memory.unreference(frame).unwrap();
                }
            }
            14 => {
                if world.memory.offline(frame).is_ok() {
                    world.memory.online(frame).unwrap();
                }
            }
            _ => drop(world.memory.scrub(1 + choices.below(8))),
        }
    }
    for range in mine {
        put(owned, range);
        world.free(range).unwrap();
    }
}

/// Two chunks, the few, and early frames; CPU 0 releases and plugs in while the others are at work, and,
/// if `late`, hands over.
pub(super) fn script(choices: &impl Choices, with_records: bool, cpus: u64, late: bool) {
    end();
    set_cpu(0);
    let world = World::before_start(2, with_records);
    world.memory.reserve_releasable(few(4, 4)).unwrap();
    let owned = Arc::new(Owned::default());
    if !late {
        world.memory.start(3).unwrap();
    }
    let early: Vec<Vec<_>> =
        (0..cpus).map(|_| (0..3).map(|_| world.alloc(&EARLY).unwrap()).collect()).collect();
    early.iter().flatten().for_each(|range| take(&owned, *range));
    // As many words as the world has, and more.
    begin(if with_records { 8192 } else { 1024 });
    let world = Arc::new(world);
    let mut early = early.into_iter();
    let first = early.next().unwrap();
    let others: Vec<_> = (1..)
        .zip(early)
        .map(|(cpu, mine)| {
            let (world, owned, choices) = (world.clone(), owned.clone(), choices.clone());
            thread::spawn(move || {
                set_cpu(cpu);
                run(&world, &owned, &choices, mine);
            })
        })
        .collect();
    if late {
        world.memory.start(3).unwrap();
    }
    assert_eq!(world.memory.release(few(4, 4)), Ok(4));
    // SAFETY: 1. The machine has RAM there. 2. Nobody uses it. 3. It is mapped.
    #[allow(unsafe_code)]
    let added = unsafe { world.memory.add_ram(frames(MORE, 512), NodeId(0)) };
    assert_eq!(added, Ok(512));
    run(&world, &owned, choices, first);
    for other in others {
        other.join().unwrap();
    }
    end();
    let mut world = Arc::into_inner(world).expect("the others are gone");
    world.check();
}

fn drawn() {
    script(&Drawn, Drawn.below(2) == 0, 2 + Drawn.below(3), true);
}

/// Runs the script under the schedules of `scheduler`, or under the one that is to be run again.
fn check(scheduler: impl Scheduler + 'static) {
    if let Some(schedule) = std::env::var_os("BEDFRAME_SCHEDULE") {
        shuttle::replay_from_file(drawn, schedule);
        return;
    }
    let mut config = Config::new();
    // All orderings are taken for sequentially consistent: loom looks at the others.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(drawn);
}

#[test]
fn any_schedule() {
    check(RandomScheduler::new_from_seed(0xbed, 4000));
}

#[test]
fn schedules_with_few_changes_of_priority() {
    for (seed, changes) in [(1, 1), (2, 2), (3, 3), (4, 5)] {
        check(PctScheduler::new_from_seed(seed, changes, 1000));
    }
}
