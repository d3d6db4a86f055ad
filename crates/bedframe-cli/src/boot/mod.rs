//! `bedframe boot`: from a firmware map to a running heap, on a hosted machine.
//!
//! [`drive`] is the boot, step by step: [`layout`] says what the map is like and [`plan`] what boot
//! will allocate; [`world`] makes the machine and boots it; [`garbage`] fills the memory that
//! metadata lies in; [`give_back`] frees all that boot held; [`vmap`] maps scattered frames before
//! hand-over and after; [`workload`] uses the heap, with [`live`] as its books; [`domain`] is one domain's life; [`census`], [`fate`]
//! and [`misuse`] judge. The [`outcome`] is told as a [`story`] or as [`json`].

mod census;
mod domain;
mod drive;
mod fate;
mod findings;
mod garbage;
mod give_back;
mod json;
mod layout;
mod live;
mod misuse;
mod outcome;
mod plan;
mod quick;
mod story;
mod vmap;
mod workload;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;

use crate::Trouble;
use crate::input;
pub(crate) use quick::quick;

/// What `bedframe boot` takes.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // These are arguments of two commands.
pub(crate) struct Args {
    /// A boot log of Linux or Xen, a copy of /proc/iomem, a device tree (.dtb, or .dts where dtc
    /// is installed) or multiboot2's boot information; "-" is standard input. Without it, a bundled
    /// server of 16 nodes and 12 TiB boots.
    #[arg(conflicts_with = "host")]
    file: Option<PathBuf>,
    #[command(flatten)]
    choice: input::Choice,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
    /// What all random choices depend on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How the Xen heap and the domain heap share memory.
    #[arg(long, value_enum, value_name = "VARIANT", default_value_t)]
    xenheap: Variant,
    /// How many random operations the running heap has to stand.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, hide = true)]
    ops: u64,
}

/// The three variants of the Xen heap. Where mapped memory ends is odd on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Variant {
    /// One heap, all memory mapped.
    #[default]
    Unified,
    /// One heap, memory mapped up to a limit.
    Limited,
    /// A Xen heap of its own.
    Separate,
}

impl Variant {
    #[cfg(test)]
    const ALL: [Variant; 3] = [Variant::Unified, Variant::Limited, Variant::Separate];
}

/// Boots, and tells what happened on standard output.
///
/// # Errors
///
/// [`Trouble::Input`] if the map cannot be read or is too small to boot, with nothing on standard
/// output; [`Trouble::Contradiction`] with the first of the contradictions found.
pub(crate) fn run(args: &Args) -> Result<(), Trouble> {
    let since = Instant::now();
    let machine = input::read(args.file.as_deref(), args.choice)?;
    let outcome = drive::drive(&machine, args, since)?;
    let mut stdout = anstream::stdout().lock();
    let text = if args.json { json::write(&outcome) } else { story::write(&outcome) };
    // Whoever closes the pipe has read enough.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match outcome.findings.first() {
        None => Ok(()),
        Some(first) => Err(Trouble::Contradiction(first.to_string())),
    }
}
