//! The program `bedframe`: real machines' memory maps, booted on a hosted computer.
//!
//! A library so that its parts can be tested; the binary calls [`main`] and nothing else. Each
//! subcommand has a folder of its own.
#![deny(unsafe_code)]

mod bench;
mod boot;
mod chart;
mod explore;
mod frames;
mod input;
mod map;
mod page;
mod progress;
mod rng;
mod run;
mod units;

use std::panic::catch_unwind;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Boots the memory map of a real machine, and shows what becomes of every frame.
///
/// Exit codes: 0 done, 1 a contradiction was found, 2 bad input.
#[derive(Parser)]
#[command(name = "bedframe", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// What `boot` takes: without a subcommand the program boots.
    #[command(flatten)]
    boot: boot::Args,
}

#[derive(Subcommand)]
enum Command {
    /// From a firmware map to a running heap: boot, hand over, free everything, go on.
    Boot(boot::Args),
    /// Draws a firmware map; of several maps, a table.
    Map(map::Args),
    /// Runs scenarios: what happens to a machine's memory, and what must hold after each step.
    Run(run::Args),
    /// Measures it beside other frame allocators.
    Bench(bench::Args),
    /// Explores small worlds to the end, and compares the cures that were proposed.
    Explore(explore::Args),
}

/// Why a command did not end well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// The input cannot be used: exit code 2.
    Input(String),
    /// What must hold does not: exit code 1.
    Contradiction(String),
}

/// Reads the command line, does what it says, and answers with the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    // A panic is a defect, here or below: the machine refuses access to unmapped frames by one.
    let result = catch_unwind(|| match args.command.unwrap_or(Command::Boot(args.boot)) {
        Command::Boot(args) => boot::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Explore(args) => explore::run(&args),
    });
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(Trouble::Input(message))) => {
            eprintln!("bedframe: {message}");
            ExitCode::from(2)
        }
        Ok(Err(Trouble::Contradiction(message))) => {
            eprintln!("bedframe: contradiction: {message}");
            ExitCode::from(1)
        }
        Err(_) => ExitCode::from(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
