//! Little-endian numbers in bytes that may end anywhere.
#![cfg_attr(
    not(all(feature = "acpi", feature = "multiboot2", feature = "pvh")),
    allow(dead_code, reason = "each table needs some of these")
)]

/// The number in the byte at `offset`.
pub(super) fn u8_at(data: &[u8], offset: usize) -> Option<u8> {
    data.get(offset).copied()
}

/// The number in the two bytes at `offset`.
pub(super) fn u16_at(data: &[u8], offset: usize) -> Option<u16> {
    array_at(data, offset).map(u16::from_le_bytes)
}

/// The number in the four bytes at `offset`.
pub(super) fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    array_at(data, offset).map(u32::from_le_bytes)
}

/// The number in the eight bytes at `offset`.
pub(super) fn u64_at(data: &[u8], offset: usize) -> Option<u64> {
    array_at(data, offset).map(u64::from_le_bytes)
}

/// The `N` bytes at `offset`.
pub(super) fn array_at<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..)?.first_chunk().copied()
}

/// A number of the table as one of this computer; one that is too large for it is larger than any
/// length here.
pub(super) fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
