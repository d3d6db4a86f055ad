//! The boot information of multiboot2 as a file: what a boot loader hands a kernel, in one piece.

use alloc::string::{String, ToString};

use crate::error::MapError;
use crate::machine::{Machine, Source};
use crate::tables::Assembly;
use crate::tables::multiboot2::BootInformation;

/// The largest number that the specification gives to a tag.
const LAST_TAG: u32 = 21;
/// More than any boot loader has to tell.
const MOST: u32 = 1 << 24;

/// Whether the bytes begin as boot information does: a size, four bytes of zero, and a tag that
/// is known and lies inside. Nothing else that people keep in files does.
pub(super) fn is_information(data: &[u8]) -> bool {
    let word = |index: usize| {
        let bytes = data.get(index * 4..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let (Some(total), Some(0), Some(kind), Some(size)) = (word(0), word(1), word(2), word(3))
    else {
        return false;
    };
    (16..=MOST).contains(&total) && kind <= LAST_TAG && (8..=total - 8).contains(&size)
}

/// The machine: by the boot loader's map, or else by UEFI's.
pub(super) fn read(name: &str, data: &[u8]) -> Result<Machine, MapError> {
    let file = || name.to_string();
    let information =
        BootInformation::new(data).map_err(|error| MapError::Table { file: file(), error })?;
    let mut assembly = Assembly::new(name, Source::Multiboot2);
    for module in information.modules() {
        let words = String::from_utf8_lossy(module.command_line);
        assembly = assembly.module(module.region(), words.trim());
    }
    match (information.memory_map(), information.efi_memory_map()) {
        (Some(map), _) => assembly.regions(map.regions()).machine(),
        (None, Some(map)) => assembly.regions(map.regions()).machine(),
        (None, None) => Err(MapError::NoMapInTable {
            file: file(),
            table: "the boot information of multiboot2".to_string(),
            holds: "has no tag with a memory map",
        }),
    }
}
