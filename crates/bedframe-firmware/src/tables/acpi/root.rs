//! The way to the tables: RSDP, then RSDT or XSDT.

use super::header::{Checked, Header, LEN, check, sum};
use crate::tables::TableError;
use crate::tables::bytes::{array_at, size, u8_at, u32_at, u64_at};

/// The Root System Description Pointer: the first structure, which the boot loader or UEFI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsdp {
    /// The version: 0 for ACPI 1.0, else 2.
    pub revision: u8,
    /// The physical address of the RSDT; may be 0 if there is an XSDT.
    pub rsdt: u32,
    /// The physical address of the XSDT, if there is one.
    pub xsdt: Option<u64>,
}

impl Rsdp {
    /// Reads 20 bytes, or 36 if the revision is 2 or more.
    ///
    /// # Errors
    ///
    /// A wrong signature or checksum, or fewer bytes than that.
    pub fn new(data: &[u8]) -> Result<Self, TableError> {
        const TABLE: &str = "RSDP";
        let cut = |expected| TableError::Cut { table: TABLE, offset: data.len(), expected };
        let short = data.get(..20).ok_or(cut("20 bytes"))?;
        if !short.starts_with(b"RSD PTR ") {
            return Err(TableError::Value {
                table: TABLE,
                offset: 0,
                value: u64::from_le_bytes(array_at(short, 0).unwrap_or_default()),
                expected: "the signature \"RSD PTR \"",
            });
        }
        let checked = |bytes: &[u8], offset| match sum(bytes) {
            0 => Ok(()),
            sum => Err(TableError::Checksum { table: TABLE, offset, sum }),
        };
        checked(short, 8)?;
        let revision = u8_at(short, 15).unwrap_or(0);
        let rsdt = u32_at(short, 16).unwrap_or(0);
        if revision < 2 {
            return Ok(Self { revision, rsdt, xsdt: None });
        }
        let length = u32_at(data, 20).ok_or(cut("36 bytes"))?;
        if length < 36 {
            let (value, expected) = (length.into(), "a length of at least 36");
            return Err(TableError::Value { table: TABLE, offset: 20, value, expected });
        }
        let long = data.get(..size(length)).ok_or(cut("as many bytes as the structure says"))?;
        checked(long, 32)?;
        Ok(Self { revision, rsdt, xsdt: u64_at(long, 24).filter(|&address| address != 0) })
    }
}

/// An RSDT or XSDT: where the other tables are.
#[derive(Clone, Copy, Debug)]
pub struct RootTable<'a> {
    table: Checked<'a>,
    wide: bool,
}

impl<'a> RootTable<'a> {
    /// Checks a table of either kind.
    ///
    /// # Errors
    ///
    /// A wrong signature, length or checksum.
    pub fn new(data: &'a [u8]) -> Result<Self, TableError> {
        let wide = data.starts_with(b"XSDT");
        let (name, signature) = if wide { ("XSDT", b"XSDT") } else { ("RSDT", b"RSDT") };
        let table = check(name, signature, LEN, "a length of at least 36", data)?;
        let entries = table.bytes.len().saturating_sub(LEN);
        if !entries.is_multiple_of(if wide { 8 } else { 4 }) {
            return Err(TableError::Value {
                table: name,
                offset: 4,
                value: table.header.length.into(),
                expected: "a length that holds whole addresses",
            });
        }
        Ok(Self { table, wide })
    }

    /// The table's header.
    #[must_use]
    pub fn header(&self) -> Header {
        self.table.header
    }

    /// The physical addresses of the tables.
    pub fn addresses(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let (bytes, wide) = (self.table.bytes, self.wide);
        let step = if wide { 8 } else { 4 };
        (LEN..bytes.len()).step_by(step).map_while(move |at| {
            if wide { u64_at(bytes, at) } else { u32_at(bytes, at).map(u64::from) }
        })
    }
}
