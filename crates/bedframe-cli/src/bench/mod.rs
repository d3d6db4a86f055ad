//! `bedframe bench`: how long it takes, beside the frame allocators that are published crates.
//!
//! The crate `bedframe-bench` measures; here is its command line, and its outcome as a [`story`].

mod story;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::thread::available_parallelism;

use bedframe_bench::{
    CONTENDERS, Effort, Settings, Stage, Trouble as Failure, Workload, run as measure, svg,
};
use clap::builder::PossibleValuesParser;

use crate::Trouble;
use crate::progress::Progress;

/// What `bedframe bench` takes.
///
/// A figure is the median of several rounds, in each of which every allocator is measured once. Aims
/// stand at the end, each with its verdict; a missed one does not change the exit code, since a
/// computer that is busy may miss any. Exit code 1 means that an allocator handed out what was in use,
/// or contradicts itself.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Fewer and shorter rounds: done within three minutes.
    #[arg(long)]
    quick: bool,
    /// Measure only this; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Workload::ALL.map(Workload::name)))]
    workload: Vec<String>,
    /// Measure only this one; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(CONTENDERS.map(|entry| entry.name)))]
    allocator: Vec<String>,
    /// The most threads; as many as this computer runs at once if it is not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Also draw the times into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
    /// What all random choices depend on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Go every way once, on a machine of 16 MiB: no figure is worth reading.
    #[arg(long, hide = true, conflicts_with = "quick")]
    tiny: bool,
}

impl Args {
    fn settings(&self) -> Settings {
        let effort = match self {
            Args { tiny: true, .. } => Effort::Tiny,
            Args { quick: true, .. } => Effort::Quick,
            _ => Effort::Full,
        };
        let here = || available_parallelism().map_or(1, usize::from);
        Settings {
            effort,
            workloads: self.workload.iter().filter_map(|name| Workload::named(name)).collect(),
            allocators: self.allocator.clone(),
            threads: self.threads.map_or_else(here, usize::from),
            seed: self.seed,
        }
    }
}

/// Measures, and tells on standard output what came out.
///
/// # Errors
///
/// [`Trouble::Input`] if there is nothing to measure or the picture cannot be written, with nothing on
/// standard output; [`Trouble::Contradiction`] if an allocator contradicts itself.
pub(crate) fn run(args: &Args) -> Result<(), Trouble> {
    // Before the work, not after it.
    let picture = args.svg.as_ref().map(|path| match File::create(path) {
        Ok(file) => Ok((file, path)),
        Err(error) => Err(Trouble::Input(format!("{}: {error}", path.display()))),
    });
    let picture = picture.transpose()?;
    let mut progress = Progress::new();
    progress.begin("measuring");
    let outcome = measure(&args.settings(), |Stage { done, all, .. }| {
        progress.advance(done as u64, all as u64);
    });
    progress.end();
    let outcome = outcome.map_err(|failure| match failure {
        Failure::Host(_) => Trouble::Input(failure.to_string()),
        Failure::Contradiction { .. } => Trouble::Contradiction(failure.to_string()),
    })?;
    if outcome.results.is_empty() {
        let what = "there is nothing to measure: none of these allocators can do any of this";
        return Err(Trouble::Input(what.into()));
    }
    if let Some((mut file, path)) = picture {
        file.write_all(svg::write(&outcome).as_bytes())
            .map_err(|error| Trouble::Input(format!("{}: {error}", path.display())))?;
    }
    let text = if args.json {
        serde_json::to_string_pretty(&outcome).map(|text| text + "\n").unwrap_or_default()
    } else {
        story::write(&outcome)
    };
    let mut stdout = anstream::stdout().lock();
    // Whoever closes the pipe has read enough.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    Ok(())
}
