//! `bedframe run`: scenarios of what happens to a machine's memory, with what must hold after each step.
//!
//! The scenarios are `bedframe_scenario`'s; here they are found, told as a [`story`] or as [`json`], and
//! their progress is shown.

mod json;
mod story;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bedframe_scenario::{Report, SCENARIOS, Scenario, reference};

use crate::Trouble;
use crate::page::shorten;
use crate::progress::Progress;

/// What `bedframe run` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Scenarios, or names of bundled ones. Without any, or with "all": all that are bundled.
    #[arg(value_name = "SCENARIO")]
    files: Vec<PathBuf>,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
    /// List the bundled scenarios, and run none.
    #[arg(long, conflicts_with_all = ["files", "json"])]
    list: bool,
    /// Print the page that describes the format, and run none.
    #[arg(long, conflicts_with_all = ["files", "json", "list"])]
    format: bool,
}

/// Runs scenarios, and tells on standard output how they went.
///
/// # Errors
///
/// [`Trouble::Input`] if one of them cannot be read or run, with nothing on standard output;
/// [`Trouble::Contradiction`] with the first thing that did not hold.
pub(crate) fn run(args: &Args) -> Result<(), Trouble> {
    if args.format {
        return print(&reference());
    }
    let scenarios = find(&args.files)?;
    if args.list {
        return print(&story::list(&scenarios));
    }
    let progress = Mutex::new(Progress::new());
    let mut reports: Vec<Report> = Vec::new();
    for scenario in &scenarios {
        let shown = Mutex::new(String::new());
        let report = scenario.run(&|step, done, all| {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            if *shown != step {
                step.clone_into(&mut shown);
                progress.begin(shorten(&format!("{}: {step}", scenario.file()), 60));
            }
            progress.advance(done, all);
        });
        reports.push(report.map_err(|error| Trouble::Input(error.to_string()))?);
    }
    progress.lock().unwrap_or_else(PoisonError::into_inner).end();
    print(&if args.json { json::write(&reports) } else { story::write(&reports) })?;
    let failed = reports.iter().find_map(|report| Some((report, report.contradiction.as_ref()?)));
    match failed {
        None => Ok(()),
        Some((report, found)) => Err(Trouble::Contradiction(format!(
            "{}:{}: step {}: expected {}; found {}",
            report.scenario, found.line, found.step, found.expected, found.found
        ))),
    }
}

fn print(text: &str) -> Result<(), Trouble> {
    let mut stdout = anstream::stdout().lock();
    // Whoever closes the pipe has read enough.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    Ok(())
}

/// The scenarios that are meant, all read before the first runs.
fn find(files: &[PathBuf]) -> Result<Vec<Scenario>, Trouble> {
    let all = files.is_empty() || files == [Path::new("all")];
    let read = if all {
        SCENARIOS.iter().map(|(name, text)| Scenario::from_text(name, text)).collect()
    } else {
        files.iter().map(|file| named(file)).collect()
    };
    let read: Result<Vec<Scenario>, _> = read;
    read.map_err(|error| Trouble::Input(error.to_string()))
}

/// A file, or where there is none the bundled scenario of this name, with or without its ending.
fn named(file: &Path) -> Result<Scenario, bedframe_scenario::BadScenario> {
    let is_named = |name: &str| {
        file == Path::new(name)
            || name.strip_suffix(".toml").is_some_and(|name| file == Path::new(name))
    };
    match SCENARIOS.iter().find(|(name, _)| is_named(name)) {
        Some((name, text)) if !file.exists() => Scenario::from_text(name, text),
        _ => Scenario::read(file),
    }
}
