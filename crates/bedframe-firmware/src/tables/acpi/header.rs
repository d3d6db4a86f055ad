//! The 36 bytes that every table begins with.

use crate::tables::TableError;
use crate::tables::bytes::{array_at, size, u8_at, u32_at};

/// Bytes of the header.
pub(super) const LEN: usize = 36;
/// Where the checksum is.
const CHECKSUM: usize = 9;

/// What every ACPI table begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Four letters that name the table.
    pub signature: [u8; 4],
    /// Bytes of the table, with this header.
    pub length: u32,
    /// The version of the table's layout.
    pub revision: u8,
    /// Who made it.
    pub oem_id: [u8; 6],
    /// What its maker calls it.
    pub oem_table_id: [u8; 8],
}

impl Header {
    /// Reads the header of any table, which tells how many bytes are to be mapped. The checksum is
    /// not looked at: the table need not be there yet.
    ///
    /// # Errors
    ///
    /// [`TableError::Cut`] for fewer than 36 bytes; [`TableError::Value`] if the table claims to
    /// be shorter than its header.
    pub fn new(data: &[u8]) -> Result<Self, TableError> {
        Self::read("ACPI table", data)
    }

    fn read(table: &'static str, data: &[u8]) -> Result<Self, TableError> {
        let read = || {
            Some(Self {
                signature: array_at(data, 0)?,
                length: u32_at(data, 4)?,
                revision: u8_at(data, 8)?,
                oem_id: array_at(data, 10)?,
                oem_table_id: array_at(data, 16)?,
            })
        };
        let header = read().filter(|_| data.len() >= LEN).ok_or(TableError::Cut {
            table,
            offset: data.len(),
            expected: "a header of 36 bytes",
        })?;
        if size(header.length) < LEN {
            let (value, expected) = (u64::from(header.length), "a length of at least 36");
            return Err(TableError::Value { table, offset: 4, value, expected });
        }
        Ok(header)
    }
}

/// A table that has been checked as a whole: its header, and its bytes with the header and without
/// what follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a> {
    pub(super) header: Header,
    pub(super) bytes: &'a [u8],
}

/// Checks signature, length and checksum. `expected` is what else must be there: so many bytes.
pub(super) fn check<'a>(
    table: &'static str,
    signature: &[u8; 4],
    least: usize,
    expected: &'static str,
    data: &'a [u8],
) -> Result<Checked<'a>, TableError> {
    if let Some(found) = array_at::<4>(data, 0)
        && found != *signature
    {
        let value = u64::from(u32::from_le_bytes(found));
        let expected = "the table's signature";
        return Err(TableError::Value { table, offset: 0, value, expected });
    }
    let header = Header::read(table, data)?;
    let bytes = data.get(..size(header.length)).ok_or(TableError::Cut {
        table,
        offset: data.len(),
        expected: "as many bytes as the header says",
    })?;
    let sum = sum(bytes);
    if sum != 0 {
        return Err(TableError::Checksum { table, offset: CHECKSUM, sum });
    }
    if bytes.len() < least {
        let value = u64::from(header.length);
        return Err(TableError::Value { table, offset: 4, value, expected });
    }
    Ok(Checked { header, bytes })
}

/// What the bytes sum up to.
pub(super) fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}
