//! The machine that a command is about.

use std::path::Path;

use bedframe_firmware::{DEFAULT, Machine, bundled, parse_text, read_file};

use crate::Trouble;

/// The machine that `file` describes; without a file, the bundled one.
///
/// # Errors
///
/// [`Trouble::Input`] with the file, the line and what was expected there.
pub(crate) fn read(file: Option<&Path>) -> Result<Machine, Trouble> {
    let machine = match file {
        Some(file) => read_file(file),
        None => parse_text(DEFAULT, bundled(DEFAULT).unwrap_or_default()),
    };
    machine.map_err(|error| Trouble::Input(error.to_string()))
}
