//! The machine that a command is about.

use std::io;
use std::path::Path;

use bedframe_firmware::{
    DEFAULT, Machine, MapError, bundled, parse_text_boot, read_file_boot, read_host, read_stream,
};

use crate::Trouble;

/// Which machine, beside the name of a file.
#[derive(clap::Args, Clone, Copy, Debug)]
#[group(skip)] // These are arguments of several commands.
pub(crate) struct Choice {
    /// The map of this computer: /proc/iomem, which shows its addresses to root only.
    #[arg(long)]
    host: bool,
    /// Of several boots in a log the one of this number, counted from 1; the last by default.
    #[arg(long, value_name = "N", conflicts_with = "host")]
    boot: Option<usize>,
}

/// The machine that `file` describes; without a file this computer, if it is chosen, or the
/// bundled one.
///
/// # Errors
///
/// [`Trouble::Input`] with the file, the line and what was expected there.
pub(crate) fn read(file: Option<&Path>, choice: Choice) -> Result<Machine, Trouble> {
    let machine = match file {
        Some(file) => read_named(file, choice),
        None if choice.host => read_host(),
        None => parse_text_boot(DEFAULT, bundled(DEFAULT).unwrap_or_default(), choice.boot),
    };
    machine.map_err(|error| Trouble::Input(error.to_string()))
}

/// The machine that a file describes; "-" is standard input.
pub(crate) fn read_named(file: &Path, choice: Choice) -> Result<Machine, MapError> {
    if file == Path::new("-") {
        read_stream("standard input", io::stdin().lock(), choice.boot)
    } else {
        read_file_boot(file, choice.boot)
    }
}
