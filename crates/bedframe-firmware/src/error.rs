//! Why a source could not be read into a machine.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write as _};

use crate::machine::Source;
use crate::tables::TableError;

/// Why a source could not be read into a [`Machine`](crate::Machine).
///
/// Every error names its file. Where a line, a device tree node or a place in a binary file is at
/// fault, it names that too and says what was expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The file could not be read.
    Unreadable {
        /// The file.
        file: String,
        /// What the operating system said.
        reason: String,
    },
    /// The path is a directory.
    Directory {
        /// The path.
        file: String,
    },
    /// There is nothing in the file, or nothing but blanks.
    Empty {
        /// The file.
        file: String,
    },
    /// The file is larger than any map.
    TooLarge {
        /// The file.
        file: String,
        /// How many bytes are read at most.
        limit: u64,
    },
    /// The file is neither text nor a table that is known.
    Binary {
        /// The file.
        file: String,
        /// The byte at which it stops being text, from 0.
        offset: usize,
    },
    /// A text without any list of memory.
    NoMap {
        /// The file.
        file: String,
    },
    /// All addresses are zero, as a kernel shows them to those who are not root.
    NeedsRoot {
        /// The first such line.
        place: Place,
    },
    /// The file has no boot of this number that has a list of memory.
    NoSuchBoot {
        /// The file.
        file: String,
        /// The number that was asked for.
        boot: usize,
        /// How many boots there are, with the numbers from 1 on.
        boots: usize,
    },
    /// The only ranges in the text say where nodes lie, not what is RAM.
    SratOnly {
        /// The first such line.
        place: Place,
    },
    /// A line of the map, or a value in a device tree, is cut or garbled.
    Malformed {
        /// Where.
        place: Place,
        /// What should be there.
        expected: &'static str,
    },
    /// A range ends before it starts.
    Reversed {
        /// Where.
        place: Place,
    },
    /// An address or size does not fit into 52 bits, more than any machine has.
    TooHigh {
        /// Where.
        place: Place,
    },
    /// Two ranges put the same memory on different nodes.
    Conflict {
        /// The second of the two ranges.
        place: Place,
        /// The first of the two ranges.
        other: Box<Place>,
    },
    /// The list is whole, but no frame in it is usable.
    NoRam {
        /// The file.
        file: String,
        /// The list.
        source: Source,
    },
    /// A device tree has memory nodes, but all of them are placeholders of size zero.
    SizeZero {
        /// The first such node.
        place: Place,
    },
    /// A flattened device tree is cut or corrupt.
    Tree {
        /// The file.
        file: String,
        /// The byte in the file, from 0.
        offset: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// A binary table is cut or corrupt.
    Table {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: TableError,
    },
    /// A binary table that is whole, but is or has no list of memory.
    NoMapInTable {
        /// The file.
        file: String,
        /// What the table is called.
        table: String,
        /// What it holds instead.
        holds: &'static str,
    },
    /// A device tree source must be compiled first, and there is no compiler.
    NoCompiler {
        /// The file.
        file: String,
        /// The command to run.
        command: String,
    },
    /// The device tree compiler refused the source.
    Compiler {
        /// The file.
        file: String,
        /// The command that was run.
        command: String,
        /// The first thing it said.
        message: String,
    },
}

/// A place in a source: a line of a text, or a node of a device tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1; `None` in a device tree.
    pub line: Option<usize>,
    /// The line's text, or the node's path and property.
    pub text: String,
}

/// How much of a line an error shows, in characters.
const SHOWN: usize = 160;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": \"")?;
        // A line of a log may hold anything, and an error goes to a terminal.
        for c in self.text.trim().chars().take(SHOWN) {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        f.write_str(if self.text.trim().chars().nth(SHOWN).is_some() { "...\"" } else { "\"" })
    }
}

impl MapError {
    /// The file that could not be read.
    #[must_use]
    pub fn file(&self) -> &str {
        match self {
            MapError::Unreadable { file, .. }
            | MapError::Directory { file }
            | MapError::Empty { file }
            | MapError::TooLarge { file, .. }
            | MapError::Binary { file, .. }
            | MapError::NoMap { file }
            | MapError::NoSuchBoot { file, .. }
            | MapError::NoRam { file, .. }
            | MapError::Tree { file, .. }
            | MapError::Table { file, .. }
            | MapError::NoMapInTable { file, .. }
            | MapError::NoCompiler { file, .. }
            | MapError::Compiler { file, .. } => file,
            MapError::NeedsRoot { place }
            | MapError::SratOnly { place }
            | MapError::Malformed { place, .. }
            | MapError::Reversed { place }
            | MapError::TooHigh { place }
            | MapError::Conflict { place, .. }
            | MapError::SizeZero { place } => &place.file,
        }
    }

    /// The line, or the node of a device tree, that is at fault, if it is one.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            MapError::NeedsRoot { place }
            | MapError::SratOnly { place }
            | MapError::Malformed { place, .. }
            | MapError::Reversed { place }
            | MapError::TooHigh { place }
            | MapError::Conflict { place, .. }
            | MapError::SizeZero { place } => Some(place),
            _ => None,
        }
    }

    /// The number of the line at fault, from 1, if it is one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place().and_then(|place| place.line)
    }

    /// What was expected instead.
    #[must_use]
    pub fn expected(&self) -> &str {
        match self {
            MapError::Unreadable { .. } => "a file that can be read",
            MapError::Directory { .. } => "a file",
            MapError::Empty { .. }
            | MapError::TooLarge { .. }
            | MapError::NoMap { .. }
            | MapError::Binary { .. }
            | MapError::NoMapInTable { .. } => {
                "a boot log of Linux or Xen with a memory map (such as BIOS-e820 lines), \
                 a copy of /proc/iomem, a flattened device tree or the boot information of \
                 multiboot2"
            }
            MapError::Table { error, .. } => error.expected(),
            MapError::NeedsRoot { .. } => "addresses, as root reads them",
            MapError::NoSuchBoot { .. } => "the number of a boot that has a list of memory",
            MapError::SratOnly { .. } => "a list of memory beside it, such as BIOS-e820 lines",
            MapError::Malformed { expected, .. } | MapError::Tree { expected, .. } => expected,
            MapError::Reversed { .. } => "an end that is not below its start",
            MapError::TooHigh { .. } => "addresses below 2^52",
            MapError::Conflict { .. } => "one node for each piece of memory",
            MapError::NoRam { .. } => "at least one usable frame of 4 KiB",
            MapError::SizeZero { .. } => "the tree as patched by the boot loader",
            MapError::NoCompiler { .. } => "the program dtc, or a tree that it has compiled",
            MapError::Compiler { .. } => "a device tree source that dtc accepts",
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.expected();
        match self {
            MapError::Unreadable { file, reason } => write!(f, "{file}: cannot be read: {reason}"),
            MapError::Directory { file } => {
                write!(f, "{file}: is a directory; expected {expected}")
            }
            MapError::Empty { file } => write!(f, "{file}: is empty; expected {expected}"),
            MapError::TooLarge { file, limit } => {
                write!(f, "{file}: is over {limit} bytes, larger than any map; expected {expected}")
            }
            MapError::Binary { file, offset } => {
                write!(f, "{file}: is no text from byte {offset} on; expected {expected}")
            }
            MapError::NoMap { file } => {
                write!(f, "{file}: there is no memory map in it; expected {expected}")
            }
            MapError::NeedsRoot { place } => write!(
                f,
                "{place}: all addresses are zero, since only root is shown them; \
                 expected {expected}: read it again as root"
            ),
            MapError::NoSuchBoot { file, boot, boots } => write!(
                f,
                "{file}: there is no boot {boot} in it, only {boots}, counted from 1; \
                 expected {expected}"
            ),
            MapError::SratOnly { place } => write!(
                f,
                "{place}: SRAT says which node memory would belong to, not which memory there is; \
                 expected {expected}"
            ),
            MapError::Malformed { place, .. } => write!(f, "{place}: expected {expected}"),
            MapError::Reversed { place } => {
                write!(f, "{place}: the range ends below its start; expected {expected}")
            }
            MapError::TooHigh { place } => {
                write!(f, "{place}: an address is over 52 bits; expected {expected}")
            }
            MapError::Conflict { place, other } => write!(
                f,
                "{place}: this puts memory on another node than {other} does; expected {expected}"
            ),
            MapError::NoRam { file, source } => {
                write!(f, "{file}: the {source} list has no RAM; expected {expected}")
            }
            MapError::SizeZero { place } => write!(
                f,
                "{place}: memory of size zero is a placeholder for the boot loader, and there is \
                 no other; expected {expected} (on the running board: /sys/firmware/fdt)"
            ),
            MapError::Tree { file, offset, .. } => write!(
                f,
                "{file}: the device tree is cut or corrupt at byte {offset}: expected {expected}"
            ),
            MapError::Table { file, error } => write!(f, "{file}: {error}"),
            MapError::NoMapInTable { file, table, holds } => {
                write!(f, "{file}: is {table}, which {holds}; expected {expected}")
            }
            MapError::NoCompiler { file, command } => write!(
                f,
                "{file}: is device tree source, and dtc is not installed; \
                 where it is, run `{command}` and give the result"
            ),
            MapError::Compiler { file, command, message } => {
                write!(f, "{file}: `{command}` failed: {message}; expected {expected}")
            }
        }
    }
}

impl core::error::Error for MapError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_place_is_shown_without_control_characters_and_not_at_full_length() {
        let text = String::from("\u{1b}[31m") + &"x".repeat(500);
        let shown = Place { file: "a.log".into(), line: Some(7), text }.to_string();
        assert!(shown.starts_with("a.log:7: \"\\u{1b}[31mxxx"), "{shown}");
        assert!(shown.ends_with("x...\""), "{shown}");
        assert!(shown.len() < 200, "{shown}");
    }

    #[test]
    fn accessors_give_file_line_and_expectation() {
        let place = Place { file: "a.log".into(), line: Some(7), text: "[mem".into() };
        let error = MapError::Malformed { place, expected: "a range" };
        assert_eq!((error.file(), error.line(), error.expected()), ("a.log", Some(7), "a range"));
        assert_eq!(error.to_string(), "a.log:7: \"[mem\": expected a range");
        let none = MapError::Empty { file: "b".into() };
        assert_eq!((none.file(), none.line(), none.place()), ("b", None, None));
    }
}
