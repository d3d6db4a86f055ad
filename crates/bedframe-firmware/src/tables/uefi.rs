//! The memory map of UEFI's boot services.

use super::bytes::{u32_at, u64_at};
use super::{Region, RegionKind, TableError};

const TABLE: &str = "UEFI memory map";
/// Bytes of a descriptor of version 1; what firmware adds to it comes behind them.
const LEAST: usize = 40;

/// Can be cached with write-back.
pub const WRITE_BACK: u64 = 1 << 3;
/// Keeps its contents without power.
pub const NON_VOLATILE: u64 = 1 << 15;
/// More reliable than other memory: mirrored.
pub const MORE_RELIABLE: u64 = 1 << 16;
/// For a special purpose: not for the general heap.
pub const SPECIFIC_PURPOSE: u64 = 1 << 18;
/// Used by runtime services: to be kept mapped for them.
pub const RUNTIME: u64 = 1 << 63;

/// A memory descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The number of the memory type.
    pub kind: u32,
    /// The first byte.
    pub physical_start: u64,
    /// How many pages of 4 KiB there are.
    pub pages: u64,
    /// Bits that say what the memory can do.
    pub attributes: u64,
}

impl Descriptor {
    /// What the descriptor means to an operating system that has left boot services: conventional,
    /// loader and boot services memory is RAM, unless it is for a special purpose or cannot be
    /// cached with write-back. What the loader keeps in it, the kernel itself for one, is for the
    /// kernel to reserve.
    #[must_use]
    pub const fn region(&self) -> Region {
        let kind = match self.kind {
            1..=4 | 7 if self.attributes & SPECIFIC_PURPOSE != 0 => RegionKind::SpecialPurpose,
            1..=4 | 7 if self.attributes & WRITE_BACK != 0 => RegionKind::Usable,
            0..=7 | 11..=13 => RegionKind::Reserved,
            8 => RegionKind::Unusable,
            9 => RegionKind::AcpiReclaimable,
            10 => RegionKind::AcpiNvs,
            14 => RegionKind::Persistent,
            15 => RegionKind::Unaccepted,
            other => RegionKind::Other(other),
        };
        let mut region = Region::new(self.physical_start, self.pages.saturating_mul(4096), kind);
        region.mirrored = self.attributes & MORE_RELIABLE != 0;
        region
    }
}

/// A memory map as `GetMemoryMap` writes it.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMap<'a> {
    data: &'a [u8],
    stride: usize,
}

impl<'a> MemoryMap<'a> {
    /// Checks a map of `data.len()` bytes whose descriptors are `descriptor_size` bytes apart: both
    /// numbers and the version are what `GetMemoryMap` has returned.
    ///
    /// # Errors
    ///
    /// A version other than 1, descriptors of less than 40 bytes, or a map that does not end with
    /// a descriptor.
    pub fn new(
        data: &'a [u8],
        descriptor_size: usize,
        descriptor_version: u32,
    ) -> Result<Self, TableError> {
        let fail = |value: u64, expected| {
            Err(TableError::Value { table: TABLE, offset: 0, value, expected })
        };
        if descriptor_version != 1 {
            return fail(descriptor_version.into(), "descriptors of version 1");
        }
        if descriptor_size < LEAST {
            let size = u64::try_from(descriptor_size).unwrap_or(u64::MAX);
            return fail(size, "descriptors of at least 40 bytes");
        }
        if !data.len().is_multiple_of(descriptor_size) {
            let (offset, expected) = (data.len(), "whole descriptors");
            return Err(TableError::Cut { table: TABLE, offset, expected });
        }
        Ok(Self { data, stride: descriptor_size })
    }

    /// The descriptors, in their order.
    pub fn descriptors(&self) -> impl ExactSizeIterator<Item = Descriptor> + Clone + use<'a> {
        self.data.chunks_exact(self.stride.max(LEAST)).map(|bytes| {
            let word = |offset| u64_at(bytes, offset).unwrap_or(0);
            Descriptor {
                kind: u32_at(bytes, 0).unwrap_or(0),
                physical_start: word(8),
                pages: word(24),
                attributes: word(32),
            }
        })
    }

    /// What the descriptors mean, in their order.
    pub fn regions(&self) -> impl ExactSizeIterator<Item = Region> + Clone + use<'a> {
        self.descriptors().map(|descriptor| descriptor.region())
    }
}
