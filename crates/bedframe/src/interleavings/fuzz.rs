//! Concurrent scripts from bytes, under shuttle: what two or three CPUs do, and at which steps one of them
//! is interrupted by which other, is read from one input. A fuzzer calls [`scripts`]; a test replays what is
//! committed.
//!
//! As far as the bytes reach, one of them says how many steps are taken up to the next switch and to whom
//! it goes; behind them each CPU goes on until it ends or waits.

use std::sync::{Arc, Mutex};

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, Runner};

use super::scripts::{Choices, script};

/// Calls that each CPU makes at the most.
const CALLS: u64 = 24;

/// What is left of an input. Only one CPU runs at a time, so its lock is never waited for.
#[derive(Clone)]
struct Bytes(Arc<Mutex<std::vec::IntoIter<u8>>>);

impl Bytes {
    fn next(&self) -> Option<u64> {
        self.0.lock().unwrap().next().map(u64::from)
    }
}

impl Choices for Bytes {
    /// 0 where the input has ended.
    fn below(&self, bound: u64) -> u64 {
        self.next().unwrap_or(0) % bound
    }

    fn calls(&self) -> u64 {
        self.below(CALLS)
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

/// Runs the scripts that the bytes say, once.
pub(crate) fn scripts(data: &[u8]) {
    let bytes = Bytes(Arc::new(Mutex::new(Vec::from(data).into_iter())));
    let scheduler = Switches { bytes: bytes.clone(), until: Some(0), begun: false };
    let mut config = Config::new();
    config.silence_warnings = true;
    // The input says it all.
    config.failure_persistence = FailurePersistence::None;
    Runner::new(scheduler, config).run(move || {
        let (records, cpus) = (bytes.below(2) == 0, 2 + bytes.below(2));
        script(&bytes, records, cpus, bytes.below(2) == 0);
    });
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
