//! Why bytes are no table.

use core::fmt;

/// Why bytes are not the table that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The bytes end before something that must be there.
    Cut {
        /// The table.
        table: &'static str,
        /// How many bytes there are.
        offset: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// A number in the table cannot be.
    Value {
        /// The table.
        table: &'static str,
        /// The number's first byte, from the start of the table.
        offset: usize,
        /// The number.
        value: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// The bytes of the table do not sum up to zero.
    Checksum {
        /// The table.
        table: &'static str,
        /// The byte that should make up for the others.
        offset: usize,
        /// What they sum up to.
        sum: u8,
    },
}

impl TableError {
    /// The table that is at fault.
    #[must_use]
    pub fn table(&self) -> &'static str {
        match *self {
            Self::Cut { table, .. } | Self::Value { table, .. } | Self::Checksum { table, .. } => {
                table
            }
        }
    }

    /// The byte that is at fault, from the start of the table.
    #[must_use]
    pub fn offset(&self) -> usize {
        match *self {
            Self::Cut { offset, .. }
            | Self::Value { offset, .. }
            | Self::Checksum { offset, .. } => offset,
        }
    }

    /// The number that was found, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        match *self {
            Self::Cut { .. } => None,
            Self::Value { value, .. } => Some(value),
            Self::Checksum { sum, .. } => Some(u64::from(sum)),
        }
    }

    /// What was expected instead.
    #[must_use]
    pub fn expected(&self) -> &'static str {
        match *self {
            Self::Cut { expected, .. } | Self::Value { expected, .. } => expected,
            Self::Checksum { .. } => "a sum of 0x0",
        }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, offset, expected) = (self.table(), self.offset(), self.expected());
        match self {
            Self::Cut { .. } => write!(f, "{table}: ends at byte {offset}: expected {expected}"),
            Self::Value { value, .. } => {
                write!(f, "{table}: at byte {offset}: found {value:#x}, expected {expected}")
            }
            Self::Checksum { sum, .. } => {
                write!(f, "{table}: checksum at byte {offset}: found {sum:#x}, expected {expected}")
            }
        }
    }
}

impl core::error::Error for TableError {}
