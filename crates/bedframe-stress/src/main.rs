//! Many threads on one memory: they allocate and free in every way there is, race one another to
//! free the same frames, hand over and plug memory in meanwhile, and check what is in every frame.
//!
//! A run is a row of *lives*, each with a memory of its own that boots, hands over and ends with
//! everything free again. A life has phases; between two of them all threads rest, and everything
//! that the library says is compared with books that were kept beside it.
#![deny(unsafe_code)]

mod ask;
mod content;
mod counts;
mod found;
mod held;
mod layout;
mod life;
mod lives;
mod owners;
mod platform;
mod race;
mod report;
mod rest;
mod turn;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::RangedU64ValueParser;

use found::Found;
use lives::{Plan, Watch};
use report::{Progress, Report};

/// No operation takes so long, whatever else the host does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stresses a Bedframe memory with many threads, and checks every frame's contents.
///
/// Exit codes: 0 done, 1 a contradiction was found, 2 bad input.
#[derive(Parser)]
#[command(name = "bedframe-stress", version)]
struct Args {
    /// How long to go on; the life under way is finished.
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// Threads, each pinned to a CPU of the host; as many as it has CPUs by default.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,
    /// CPUs that the memory is told of; threads take twice as many numbers. As many as threads by
    /// default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    cpus: Option<u32>,
    /// Random choices depend on it, and on nothing else; how threads meet does not.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Operations of each thread between two times of rest.
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(8..))]
    operations: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let host = thread::available_parallelism().map_or(1, |number| number.get());
    let threads = args.threads.unwrap_or(host);
    let plan = Plan {
        seed: args.seed,
        threads,
        cpus: args.cpus.unwrap_or(threads as u32),
        operations: args.operations,
        time: Duration::from_secs(args.seconds),
    };
    let start = Instant::now();
    let result = watched(plan);
    let report = Report::new(plan, start.elapsed(), &result);
    if args.json {
        report.print_json()
    } else {
        report.print()
    }
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(found) => {
            eprintln!(
                "bedframe-stress: contradiction: {found}\n  with --seed {} --threads {threads}",
                plan.seed
            );
            // Threads may be stuck: this ends them.
            std::process::exit(1)
        }
    }
}

/// Runs the plan on other threads, and watches whether they go on.
fn watched(plan: Plan) -> Result<lives::Done, Found> {
    let watch = Arc::new(Watch::default());
    let (tell, told) = mpsc::channel();
    let watched = Arc::clone(&watch);
    thread::spawn(move || {
        // The other end is gone only if the run was given up.
        let _ = tell.send(lives::run(plan, &watched));
    });
    let progress = Progress::new(plan);
    let (mut seen, mut since) = ((0, 0), Instant::now());
    loop {
        match told.recv_timeout(Duration::from_millis(200)) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Found("the run panicked, see above".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = (watch.operations.load(Relaxed), watch.rests.load(Relaxed));
        progress.show(now.0);
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return Err(Found(format!("no thread has come further for {PATIENCE:?}")));
        }
    }
}

/// A one-to-one scattering of 64 bits (the finaliser of SplitMix64).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    /// One life, with more threads than CPUs of the memory.
    #[test]
    fn a_short_run_finds_nothing() {
        let plan = Plan { seed: 7, threads: 3, cpus: 2, operations: 400, time: Duration::ZERO };
        let done = watched(plan).unwrap();
        assert_eq!(done.lives, 1);
        for name in ["alloc order 0", "free a union", "free in a race", "hot-add", "release"] {
            assert!(done.counts.operations[name] > 0, "{name}");
        }
        assert!(done.counts.double_frees > 0);
    }
}
