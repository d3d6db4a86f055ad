//! The memory map of the Limine boot protocol.
//!
//! The protocol hands out an array of pointers, which a kernel follows itself:
//!
//! ```
//! use bedframe_firmware::tables::RegionKind;
//! use bedframe_firmware::tables::limine::Entry;
//!
//! // As a kernel finds them in the response to its request.
//! let entries = [(0x1000, 0x9_e000, 0), (0x10_0000, 0x20_0000, 6), (0x30_0000, 0x10_0000, 5)];
//! let regions = entries.iter().map(|&(base, length, kind)| Entry { base, length, kind }.region());
//! assert_eq!(regions.clone().next().unwrap().whole_frames().frames(), 0x9e);
//! assert_eq!(regions.clone().last().unwrap().kind, RegionKind::LoaderReclaimable);
//! ```

use super::bytes::u64_at;
use super::{Region, RegionKind, TableError};

/// An entry of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The first byte.
    pub base: u64,
    /// How many bytes there are.
    pub length: u64,
    /// The number of the memory type.
    pub kind: u64,
}

impl Entry {
    /// Reads the 24 bytes of an entry.
    ///
    /// # Errors
    ///
    /// [`TableError::Cut`] for fewer bytes.
    pub fn new(data: &[u8]) -> Result<Self, TableError> {
        let read = || {
            Some(Self { base: u64_at(data, 0)?, length: u64_at(data, 8)?, kind: u64_at(data, 16)? })
        };
        let (offset, expected) = (data.len(), "an entry of 24 bytes");
        read().ok_or(TableError::Cut { table: "Limine memory map", offset, expected })
    }

    /// What the entry means.
    #[must_use]
    pub const fn region(&self) -> Region {
        let kind = match self.kind {
            0 => RegionKind::Usable,
            // The last two: a frame buffer, and memory that is reserved but mapped.
            1 | 7 | 8 => RegionKind::Reserved,
            2 => RegionKind::AcpiReclaimable,
            3 => RegionKind::AcpiNvs,
            4 => RegionKind::Unusable,
            5 => RegionKind::LoaderReclaimable,
            6 => RegionKind::Loaded,
            other if other > u32::MAX as u64 => RegionKind::Other(u32::MAX),
            other => RegionKind::Other(other as u32),
        };
        Region::new(self.base, self.length, kind)
    }
}
