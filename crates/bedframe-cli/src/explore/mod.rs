//! `bedframe explore`: small worlds explored to the end, and the three cures compared.
//!
//! The crate `bedframe-explore` explores; here is its command line, and its outcome as a [`story`], as one object, or
//! as docs/cures.md ([`markdown`]). [`replay`] tells a counterexample step by step.

mod markdown;
mod replay;
mod story;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bedframe_explore::report::{Effort, Outcome, run as explore};
use serde::Serialize;

use crate::Trouble;
use crate::progress::counting;

/// What `bedframe explore` takes.
///
/// Without arguments: every sequence of calls to a depth and every interleaving of two or three CPUs, in the
/// design and in the library itself; each variant of the three cures; mistakes made on purpose. Some minutes.
/// Exit code 1 means that something was found that was not expected, or not found that was.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Smaller worlds: seconds.
    #[arg(long, conflicts_with = "replay")]
    quick: bool,
    /// Print one JSON object and nothing else.
    #[arg(long, conflicts_with = "replay")]
    json: bool,
    /// Tell this counterexample step by step: one by name (without arguments all are listed), or a file
    /// that has a cure in its first line, then a call in each, and at last what they should break.
    #[arg(long, value_name = "FILE|NAME")]
    replay: Option<String>,
    /// Draw the counterexample into this file, and print nothing; "-" is standard output.
    #[arg(long, value_name = "FILE", requires = "replay")]
    svg: Option<PathBuf>,
    /// Write cures.md into this folder as well, and its pictures below it.
    #[arg(long, value_name = "FOLDER", hide = true, conflicts_with = "replay")]
    markdown: Option<PathBuf>,
}

/// The object that `--json` prints.
#[derive(Serialize)]
struct Object {
    cures: Vec<bedframe_explore::report::CureFinding>,
}

/// Explores, or replays, and tells on standard output what came out.
///
/// # Errors
///
/// [`Trouble::Input`] if there is nothing to replay or a file cannot be written, with nothing on standard
/// output; [`Trouble::Contradiction`] if what was found is not what was expected.
pub(crate) fn run(args: &Args) -> Result<(), Trouble> {
    if let Some(what) = &args.replay {
        let told = replay::replay(what)?;
        let text = if args.svg.is_some() { told.picture()? } else { told.text.clone() };
        write(args.svg.as_deref(), &text)?;
        return told.verdict();
    }
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let steps = Arc::new(AtomicU64::new(0));
    let outcome = counting("steps tried:", &steps, || explore(effort, &steps));
    if let Some(folder) = &args.markdown {
        for (name, text) in markdown::write(&outcome) {
            let path = folder.join(name);
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            made.and_then(|()| fs::write(&path, text)).map_err(|error| cannot(&path, &error))?;
        }
    }
    let object = Object { cures: outcome.cures() };
    let json = || serde_json::to_string_pretty(&object).map(|text| text + "\n");
    write(None, &if args.json { json().unwrap_or_default() } else { story::write(&outcome) })?;
    judge(&outcome)
}

fn judge(outcome: &Outcome) -> Result<(), Trouble> {
    let verdicts = outcome.verdicts().into_iter();
    let wrong: Vec<String> = verdicts.filter(|(good, _)| !good).map(|(_, words)| words).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::Contradiction(wrong.join("; "))) }
}

fn cannot(path: &Path, error: &std::io::Error) -> Trouble {
    Trouble::Input(format!("{}: cannot write: {error}", path.display()))
}

fn write(path: Option<&Path>, text: &str) -> Result<(), Trouble> {
    if let Some(path) = path.filter(|path| *path != Path::new("-")) {
        return fs::write(path, text).map_err(|error| cannot(path, &error));
    }
    let mut stdout = anstream::stdout().lock();
    // Whoever closes the pipe has read enough.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    Ok(())
}
