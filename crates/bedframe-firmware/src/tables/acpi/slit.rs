//! SLIT: how far nodes are apart.

use super::header::{Checked, Header, check};
use crate::tables::TableError;
use crate::tables::bytes::{u8_at, u64_at};

const TABLE: &str = "SLIT";
/// Where the matrix begins.
const MATRIX: usize = 44;

/// The System Locality Information Table: a square of distances. 10 is a node's own memory, 255
/// what cannot be reached.
#[derive(Clone, Copy, Debug)]
pub struct Slit<'a> {
    table: Checked<'a>,
    localities: usize,
}

impl<'a> Slit<'a> {
    /// Checks a table. Bytes behind the matrix are ignored.
    ///
    /// # Errors
    ///
    /// A wrong signature, length or checksum, or a matrix that does not fit into the table.
    pub fn new(data: &'a [u8]) -> Result<Self, TableError> {
        let table = check(TABLE, b"SLIT", MATRIX, "a length of at least 44", data)?;
        let count = u64_at(table.bytes, 36).unwrap_or(0);
        let room = table.bytes.len().saturating_sub(MATRIX);
        let localities = usize::try_from(count)
            .ok()
            .filter(|count| count.checked_mul(*count).is_some_and(|cells| cells <= room))
            .ok_or(TableError::Value {
                table: TABLE,
                offset: 36,
                value: count,
                expected: "a number of localities whose square fits into the table",
            })?;
        Ok(Self { table, localities })
    }

    /// The table's header.
    #[must_use]
    pub fn header(&self) -> Header {
        self.table.header
    }

    /// How many nodes there are; they are numbered from 0.
    #[must_use]
    pub fn localities(&self) -> usize {
        self.localities
    }

    /// The distance from one node to another; `None` if the table does not know one of them.
    #[must_use]
    pub fn get(&self, from: u32, to: u32) -> Option<u8> {
        let index = |node| usize::try_from(node).ok().filter(|&index| index < self.localities);
        let cell = index(from)?.checked_mul(self.localities)?.checked_add(index(to)?)?;
        u8_at(self.table.bytes, MATRIX.checked_add(cell)?)
    }

    /// The distances row by row, one row for each node to start from.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let cells = self.localities.saturating_mul(self.localities);
        let matrix = self.table.bytes.get(MATRIX..).and_then(|matrix| matrix.get(..cells));
        matrix.unwrap_or(&[]).chunks_exact(self.localities.max(1))
    }

    /// Whether the distances make sense: 10 from each node to itself, and more between two.
    /// Firmware is known to ship tables that do not; an operating system ignores those.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        self.rows().enumerate().all(|(from, row)| {
            row.iter().enumerate().all(
                |(to, &distance)| {
                    if from == to { distance == 10 } else { distance > 10 }
                },
            )
        })
    }
}
