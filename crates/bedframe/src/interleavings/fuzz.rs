//! Concurrent scripts from bytes, under shuttle: what two or three CPUs do, and at which steps one of them
//! is interrupted by which other, is read from one input. A fuzzer calls [`scripts`]; a test replays what is
//! committed.
//!
//! As far as the bytes reach, one of them says how many steps are taken up to the next switch and to whom
//! it goes; behind them each CPU goes on until it ends or waits.

use std::sync::{Arc, Mutex};

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, Runner, thread};

use super::machine::set_cpu;
use super::scripts::{Owned, put, take};
use super::world::{EARLY, MORE, World, few, frames};
use crate::addr::FrameRange;
use crate::error::AllocError;
use crate::node::NodeId;
use crate::order::Order;
use crate::request::Request;
use crate::sync::checked::{begin, end};

/// Calls that each CPU makes at the most.
const CALLS: u64 = 24;
/// As many words as a world with records has that these calls reach, and more.
const WORDS: usize = 8192;

/// What is left of an input. Only one CPU runs at a time, so its lock is never waited for.
#[derive(Clone)]
struct Bytes(Arc<Mutex<std::vec::IntoIter<u8>>>);

impl Bytes {
    fn next(&self) -> Option<u64> {
        self.0.lock().unwrap().next().map(u64::from)
    }

    /// 0 where the input has ended.
    fn below(&self, bound: u64) -> u64 {
        self.next().unwrap_or(0) % bound
    }
}

/// One schedule: the input's.
struct Switches {
    bytes: Bytes,
    /// Steps up to the next switch; `None` once the input has ended.
    until: Option<u64>,
    begun: bool,
}

impl Scheduler for Switches {
    fn new_execution(&mut self) -> Option<Schedule> {
        (!std::mem::replace(&mut self.begun, true)).then(|| Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let goes_on = runnable.iter().any(|task| Some(task.id()) == current);
        // Who waits lets all others work before it looks again.
        if is_yielding || !goes_on {
            let behind = runnable.iter().find(|task| current.is_some_and(|now| task.id() > now));
            return behind.or(runnable.first()).map(|task| task.id());
        }
        match self.until {
            None => current,
            Some(0) => {
                let byte = self.bytes.next();
                // Short stretches are as likely as long ones.
                self.until = byte.map(|byte| (1 << (byte % 8)) + (byte >> 5));
                let count = runnable.len() as u64;
                let chosen = byte.map_or(0, |byte| byte / 8 % count) as usize;
                runnable.get(chosen).map(|task| task.id())
            }
            Some(left) => {
                self.until = Some(left - 1);
                current
            }
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.bytes.next().unwrap_or(0)
    }
}

/// One CPU: allocates, frees in whole and in part, refers, withdraws, scrubs.
fn run(world: &World, owned: &Owned, bytes: &Bytes, mut mine: Vec<FrameRange>) {
    for _ in 0..bytes.below(CALLS) {
        let what = bytes.below(16);
        if mine.is_empty() || what < 6 {
            let order = [0, 0, 0, 1, 3, 6, 8, 9][bytes.below(8) as usize];
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
        let at = bytes.below(mine.len() as u64) as usize;
        let frame = mine[at].start();
        match what {
            6..12 => {
                let mut range = mine.swap_remove(at);
                if range.frames() > 1 && bytes.below(2) == 0 {
                    // Keep what comes behind.
                    let cut = range.start().get() + 1 + bytes.below(range.frames() - 1);
                    let (start, end) = (range.start().get(), range.end().get());
                    mine.push(frames(cut, end - cut));
                    range = frames(start, cut - start);
                }
                put(owned, range);
                let freed = world.free(range);
                freed.unwrap_or_else(|error| panic!("a free of what was ours is refused: {error}"));
            }
            12 | 13 => {
                // Refused before hand-over.
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
            _ => drop(world.memory.scrub(1 + bytes.below(8))),
        }
    }
    for range in mine {
        put(owned, range);
        world.free(range).unwrap();
    }
}

fn script(bytes: &Bytes) {
    end();
    set_cpu(0);
    let world = World::before_start(2, bytes.below(2) == 0);
    world.memory.reserve_releasable(few(4, 4)).unwrap();
    let owned = Arc::new(Owned::default());
    let mut cpus = 2 + bytes.below(2);
    // Hand-over in the middle of it, or before.
    let late = bytes.below(2) == 0;
    if !late {
        world.memory.start(3).unwrap();
    }
    let early = || (0..3).map(|_| world.alloc(&EARLY).unwrap()).collect::<Vec<_>>();
    let first = early();
    let others: Vec<_> = (1..cpus).map(|_| early()).collect();
    first.iter().chain(others.iter().flatten()).for_each(|range| take(&owned, *range));
    begin(WORDS);
    let world = Arc::new(world);
    let others = others.into_iter().map(|mine| {
        cpus -= 1;
        let (cpu, world, owned, bytes) = (cpus as u32, world.clone(), owned.clone(), bytes.clone());
        thread::spawn(move || {
            set_cpu(cpu);
            run(&world, &owned, &bytes, mine);
        })
    });
    let others: Vec<_> = others.collect();
    if late {
        world.memory.start(3).unwrap();
    }
    assert_eq!(world.memory.release(few(4, 4)), Ok(4));
    // SAFETY: 1. The machine has RAM there. 2. Nobody uses it. 3. It is mapped.
    #[allow(unsafe_code)]
    let added = unsafe { world.memory.add_ram(frames(MORE, 512), NodeId(0)) };
    assert_eq!(added, Ok(512));
    run(&world, &owned, bytes, first);
    for other in others {
        other.join().unwrap();
    }
    end();
    let mut world = Arc::into_inner(world).expect("the others are gone");
    world.check();
}

/// Runs the scripts that the bytes say, once.
pub(crate) fn scripts(data: &[u8]) {
    let bytes = Bytes(Arc::new(Mutex::new(Vec::from(data).into_iter())));
    let scheduler = Switches { bytes: bytes.clone(), until: Some(0), begun: false };
    let mut config = Config::new();
    config.silence_warnings = true;
    // The input says it all.
    config.failure_persistence = FailurePersistence::None;
    Runner::new(scheduler, config).run(move || script(&bytes));
}

/// What is committed for the fuzzer to start from, and what it has found.
#[test]
fn seeds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/scripts");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        // Shown if it fails.
        println!("{}", file.display());
        scripts(&std::fs::read(file).unwrap());
    }
}
