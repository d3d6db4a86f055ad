//! An entry of a memory map as BIOS call e820 laid it out, and others after it: a start, a length, and
//! the number of a type.

use super::bytes::{u32_at, u64_at};
use super::{Region, RegionKind};

/// An entry of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The first byte.
    pub start: u64,
    /// How many bytes there are.
    pub len: u64,
    /// The number of the memory type, as BIOS call e820 has it.
    pub kind: u32,
}

impl Entry {
    /// The entry that these bytes begin with; what is missing of it is zero.
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self {
            start: u64_at(bytes, 0).unwrap_or(0),
            len: u64_at(bytes, 8).unwrap_or(0),
            kind: u32_at(bytes, 16).unwrap_or(0),
        }
    }

    /// What the entry means.
    #[must_use]
    pub const fn region(&self) -> Region {
        let kind = match self.kind {
            1 => RegionKind::Usable,
            2 => RegionKind::Reserved,
            3 => RegionKind::AcpiReclaimable,
            4 => RegionKind::AcpiNvs,
            // The second: disabled.
            5 | 6 => RegionKind::Unusable,
            7 => RegionKind::Persistent,
            other => RegionKind::Other(other),
        };
        Region::new(self.start, self.len, kind)
    }
}
