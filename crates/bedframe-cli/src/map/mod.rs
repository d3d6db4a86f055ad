//! `bedframe map`: draws a firmware map.
//!
//! [`extents`] cuts the address space into what is RAM, what is not and what is nothing;
//! [`scale`] gives each of these its place in a picture; [`figures`] counts. One machine is drawn as a
//! [`story`] for the terminal, as [`json`] or as a picture in [`svg`]; several make a [`table`].

mod extents;
mod figures;
mod json;
mod scale;
mod story;
mod svg;
mod table;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use bedframe_firmware::{MACHINES, Machine, parse_text};

use crate::Trouble;
use crate::input::{self, Choice};

/// What `bedframe map` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Boot logs of Linux or Xen, copies of /proc/iomem, device trees (.dtb, or .dts where dtc is
    /// installed) or multiboot2's boot information; "-" is standard input. Without any, the bundled
    /// server of 16 nodes and 12 TiB. One is drawn; several make a table.
    #[arg(value_name = "FILE", conflicts_with = "host")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// Print one JSON object and nothing else; for several files, a list of them.
    #[arg(long, conflicts_with_all = ["svg", "all"])]
    json: bool,
    /// Write a picture to this file and print nothing; "-" is standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    svg: Option<PathBuf>,
    /// Every node and every range, even if they do not fit the screen.
    #[arg(long)]
    all: bool,
    /// Write docs/machines.md: boots each machine up to hand-over; files that are no machine are
    /// listed apart.
    #[arg(long, hide = true, conflicts_with_all = ["json", "svg", "all", "host"])]
    markdown: bool,
}

/// Draws, on standard output or into a file.
///
/// # Errors
///
/// [`Trouble::Input`] if one of the files is no map or the picture cannot be written, with nothing
/// on standard output.
pub(crate) fn run(args: &Args) -> Result<(), Trouble> {
    let text = if args.markdown { markdown(&args.files, args.choice)? } else { draw(args)? };
    if let Some(file) = args.svg.as_deref().filter(|file| *file != Path::new("-")) {
        return fs::write(file, text)
            .map_err(|error| Trouble::Input(format!("{}: cannot write: {error}", file.display())));
    }
    let mut stdout = anstream::stdout().lock();
    // Whoever closes the pipe has read enough.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    Ok(())
}

fn draw(args: &Args) -> Result<String, Trouble> {
    let machines = read(&args.files, args.choice)?;
    match &machines[..] {
        [machine] if args.json => Ok(json::one(machine)),
        [machine] if args.svg.is_some() => Ok(svg::write(machine)),
        [machine] => Ok(story::write(machine, args.all)),
        _ if args.svg.is_some() => {
            Err(Trouble::Input("--svg: expected one map, for there is one picture".into()))
        }
        machines if args.json => Ok(json::list(machines)),
        machines => Ok(table::write(machines)),
    }
}

/// All of the machines, or what is wrong with each file that holds none.
fn read(files: &[PathBuf], choice: Choice) -> Result<Vec<Machine>, Trouble> {
    if files.is_empty() {
        return Ok(vec![input::read(None, choice)?]);
    }
    let mut machines = Vec::with_capacity(files.len());
    let mut errors = Vec::new();
    for file in files {
        match input::read_named(file, choice) {
            Ok(machine) => machines.push(machine),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(machines) } else { Err(Trouble::Input(errors.join("\nbedframe: "))) }
}

fn markdown(files: &[PathBuf], choice: Choice) -> Result<String, Trouble> {
    let mut machines = Vec::new();
    let mut refused = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        match input::read_named(file, choice) {
            Ok(machine) => machines.push(machine),
            Err(error) => {
                // The file where it lies on this computer is nobody's business.
                let why = error.to_string().replace(&*file.to_string_lossy(), &name);
                refused.push((name, why));
            }
        }
    }
    if files.is_empty() {
        for (name, log) in MACHINES {
            let machine = parse_text(name, log);
            machines.push(machine.map_err(|error| Trouble::Input(error.to_string()))?);
        }
    }
    machines.sort_by(|a, b| a.name.cmp(&b.name));
    refused.sort();
    table::markdown(&machines, &refused)
}
