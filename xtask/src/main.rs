//! The chores of the project: `cargo xtask test` runs everything that must pass.
//!
//! A step is one thing that can pass or fail on its own; its command lines are printed as they are
//! run, so that a person can run one alone.

mod api;
mod audit;
mod calls;
mod coverage;
mod fuzz;
mod generated;
mod history;
mod line;
mod mutants;
mod source;
mod steps;
mod stress;
mod test_names;
mod unsafes;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use generated::Chosen;
use steps::{Outcome, STEPS, Step};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs every check that must pass, on a machine that has nothing but Rust so far.
    Test {
        /// Run this step alone; may be given more than once.
        #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
        only: Vec<String>,
        /// Name the steps and run none.
        #[arg(long)]
        list: bool,
    },
    /// Writes docs/history.md from the tests in crates/bedframe/tests/history.
    History,
    /// Seeds mistakes into copies of the library and runs the tests that must catch them.
    Mutants {
        /// Let cargo-mutants make the mistakes up instead, one in each place where it can. Goes on where
        /// an earlier run ended.
        #[arg(long)]
        generated: bool,
        /// In this file below crates/bedframe/src alone; may be given more than once.
        #[arg(long, value_name = "FILE", requires = "generated")]
        file: Vec<String>,
        /// The I-th of N parts of them, counted from 0.
        #[arg(long, value_name = "I/N", requires = "generated", value_parser = generated::shard)]
        shard: Option<(usize, usize)>,
        /// Run so many tests at once.
        #[arg(long, value_name = "N", requires = "generated", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
        jobs: u8,
        /// Leave tests out that take longer than 75 ms.
        #[arg(long, requires = "generated")]
        quick: bool,
        /// Forget what earlier runs found.
        #[arg(long, requires = "generated")]
        afresh: bool,
    },
    /// Counts which lines of the library its tests run; fails below 95 %.
    Coverage {
        /// Print the lines that were not run, too.
        #[arg(long)]
        missed: bool,
        /// Run nothing, and print the table of the last run.
        #[arg(long)]
        last: bool,
    },
    /// Writes docs/unsafe.md: every use of unsafe with its obligations.
    Unsafe,
    /// Writes docs/api: the public interface of what a kernel links.
    Api,
    /// Runs many threads on one memory and checks what is in every frame.
    Stress {
        /// What the stress program takes: --seconds N, --threads N, --cpus N, --seed N,
        /// --operations N, --json.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Runs the same, and the library's tests with threads, under ThreadSanitizer.
    Tsan,
    /// Fuzzes all targets in turn.
    Fuzz {
        /// For so long, all targets together; the time that they take to be built comes on top.
        #[arg(long, value_name = "N", default_value_t = 17.0)]
        minutes: f64,
        /// Fuzz this target alone; may be given more than once.
        #[arg(long, value_name = "TARGET")]
        target: Vec<String>,
    },
}

fn main() -> ExitCode {
    let (only, list) = match Args::parse().chore {
        Chore::Test { only, list } => (only, list),
        Chore::Mutants { generated: true, file: files, shard, jobs, quick, afresh } => {
            return ended(generated::run(&Chosen {
                files: &files,
                shard,
                jobs: jobs.into(),
                quick,
                afresh,
            }));
        }
        Chore::Mutants { .. } => (vec!["mutants".to_string()], false),
        Chore::History => return ended(audit::write(history::COMMAND)),
        Chore::Coverage { missed, last } => return ended(coverage::run(missed, last)),
        Chore::Unsafe => return ended(audit::write(unsafes::COMMAND)),
        Chore::Api => return ended(audit::write(api::COMMAND)),
        Chore::Stress { args } => return ended(stress::stress(&args)),
        Chore::Tsan => return ended(stress::tsan()),
        Chore::Fuzz { minutes, target } => return ended(fuzz::fuzz(minutes, &target)),
    };
    if list {
        for step in STEPS {
            println!("{:14} {}", step.name, step.what);
        }
        return ExitCode::SUCCESS;
    }
    let chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    let steps: Vec<_> = STEPS.iter().filter(chosen).collect();
    let mut results = Vec::new();
    for (number, step) in (1..).zip(&steps) {
        println!("\n=== {number}/{}  {}: {}", steps.len(), step.name, step.what);
        let start = Instant::now();
        let outcome = (step.run)();
        let time = start.elapsed();
        println!(
            "=== {number}/{}  {}: {} ({})",
            steps.len(),
            step.name,
            said(&outcome),
            secs(time)
        );
        results.push((step.name, outcome, time));
    }
    summary(&results)
}

/// The exit code of a chore that is no list of steps.
fn ended(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

/// Prints the table and the closing line, and answers whether all is well.
fn summary(results: &[(&str, anyhow::Result<Outcome>, Duration)]) -> ExitCode {
    println!("\n{:14} {:>9}  result", "step", "time");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, outcome, time) in results {
        println!("{name:14} {:>9}  {}", secs(*time), said(outcome));
        match outcome {
            Ok(Outcome::Passed) => passed += 1,
            Ok(Outcome::Skipped(_)) => skipped += 1,
            Err(_) => failed += 1,
        }
    }
    println!("{:14} {:>9}\n", "all", secs(results.iter().map(|(_, _, time)| *time).sum()));
    let skips = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    println!("{passed} passed, {failed} failed{skips}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn said(outcome: &anyhow::Result<Outcome>) -> String {
    match outcome {
        Ok(Outcome::Passed) => "passed".into(),
        Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
        Err(error) => format!("FAILED: {error:#}"),
    }
}

fn secs(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
