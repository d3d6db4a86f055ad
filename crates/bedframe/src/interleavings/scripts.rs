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
const CALLS: u32 = 40;
/// As many words as the world has, and more.
const WORDS: usize = 1024;

/// What is handed out, over all CPUs. Asked between calls, so its lock is the system's.
pub(super) type Owned = Mutex<BTreeSet<u64>>;

pub(super) fn take(owned: &Owned, range: FrameRange) {
    let mut owned = owned.lock().unwrap();
    assert!(range.iter().all(|frame| owned.insert(frame.get())), "{range:?} handed out twice");
}

pub(super) fn put(owned: &Owned, range: FrameRange) {
    let mut owned = owned.lock().unwrap();
    assert!(range.iter().all(|frame| owned.remove(&frame.get())));
}

/// One CPU: allocates and frees blocks of any order, in whole and in part.
fn run(world: &World, owned: &Owned, mut mine: Vec<FrameRange>) {
    for _ in 0..CALLS {
        let draw = thread_rng().gen_range(0..100u32);
        if mine.is_empty() || draw < 50 {
            let order = [0, 0, 0, 0, 1, 3, 6, 8, 9, 9][draw as usize % 10];
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
        let at = thread_rng().gen_range(0..mine.len());
        let mut range = mine.swap_remove(at);
        if range.frames() > 1 && draw % 3 == 0 {
            // Keep what comes behind.
            let cut = range.start().get() + thread_rng().gen_range(1..range.frames());
            let (start, end) = (range.start().get(), range.end().get());
            mine.push(frames(cut, end - cut));
            range = frames(start, cut - start);
        }
        put(owned, range);
        if let Err(error) = world.free(range) {
            panic!("a free of what was ours is refused: {error}");
        }
    }
    for range in mine {
        put(owned, range);
        world.free(range).unwrap();
    }
}

/// Two chunks, the few, and early frames; CPU 0 hands over, releases and plugs in while the others
/// are at work.
fn script() {
    end();
    set_cpu(0);
    let world = World::before_start(2, false);
    world.memory.reserve_releasable(few(4, 4)).unwrap();
    let owned = Arc::new(Owned::default());
    let cpus = thread_rng().gen_range(2..=4);
    let early: Vec<Vec<_>> =
        (0..cpus).map(|_| (0..3).map(|_| world.alloc(&EARLY).unwrap()).collect()).collect();
    early.iter().flatten().for_each(|range| take(&owned, *range));
    begin(WORDS);
    let world = Arc::new(world);
    let mut early = early.into_iter();
    let first = early.next().unwrap();
    let others: Vec<_> = (1..)
        .zip(early)
        .map(|(cpu, mine)| {
            let (world, owned) = (world.clone(), owned.clone());
            thread::spawn(move || {
                set_cpu(cpu);
                run(&world, &owned, mine);
            })
        })
        .collect();
    world.memory.start(3).unwrap();
    assert_eq!(world.memory.release(few(4, 4)), Ok(4));
    // SAFETY: 1. The machine has RAM there. 2. Nobody uses it. 3. It is mapped.
    #[allow(unsafe_code)]
    let added = unsafe { world.memory.add_ram(frames(MORE, 512), NodeId(0)) };
    assert_eq!(added, Ok(512));
    run(&world, &owned, first);
    for other in others {
        other.join().unwrap();
    }
    end();
    let mut world = Arc::into_inner(world).expect("the others are gone");
    world.check();
}

/// Runs the script under the schedules of `scheduler`, or under the one that is to be run again.
fn check(scheduler: impl Scheduler + 'static) {
    if let Some(schedule) = std::env::var_os("BEDFRAME_SCHEDULE") {
        shuttle::replay_from_file(script, schedule);
        return;
    }
    let mut config = Config::new();
    // All orderings are taken for sequentially consistent: loom looks at the others.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(script);
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
