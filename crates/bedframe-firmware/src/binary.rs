//! Binary files: which table the bytes are, and what it says of memory.
//!
//! A file is told by what only that kind of file begins with; nothing is guessed.

use alloc::string::ToString;

use crate::error::MapError;
use crate::fdt::{is_tree, parse_fdt};
use crate::machine::Machine;
use crate::text::parse_text_boot;

#[cfg(feature = "acpi")]
mod acpi;
#[cfg(feature = "multiboot2")]
mod multiboot2;
#[cfg(feature = "pvh")]
mod pvh;

/// Reads whatever holds a map: a flattened device tree, the boot information of multiboot2, or
/// else text as [`parse_text_boot`] does. ACPI tables and the start information of PVH are known
/// too, and refused by name, since they hold no map. `name` is what errors and the machine call
/// it. A binary table is one boot.
///
/// # Errors
///
/// [`MapError::Empty`] and [`Binary`](MapError::Binary) if there is nothing to read;
/// [`Table`](MapError::Table) for a table that is cut or corrupt,
/// [`NoMapInTable`](MapError::NoMapInTable) and [`SratOnly`](MapError::SratOnly) for one without
/// a map; [`NoSuchBoot`](MapError::NoSuchBoot); and what [`parse_fdt`] and [`parse_text_boot`] say.
///
/// ```
/// use bedframe_firmware::{MapError, parse_bytes};
/// let log = b"BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n";
/// assert_eq!(parse_bytes("log", log, None)?.ram_frames(), 0x9f);
/// assert!(matches!(parse_bytes("noise", &[0xff; 64], None), Err(MapError::Binary { .. })));
/// # Ok::<(), MapError>(())
/// ```
pub fn parse_bytes(name: &str, data: &[u8], boot: Option<usize>) -> Result<Machine, MapError> {
    if data.is_empty() {
        return Err(MapError::Empty { file: name.to_string() });
    }
    if let Some(machine) = table(name, data) {
        one_boot(name, boot)?;
        return machine;
    }
    let text = core::str::from_utf8(data).map_err(|error| MapError::Binary {
        file: name.to_string(),
        offset: error.valid_up_to(),
    })?;
    parse_text_boot(name, text, boot)
}

/// Refuses any boot but the first, for a file that cannot hold two.
pub(crate) fn one_boot(name: &str, boot: Option<usize>) -> Result<(), MapError> {
    match boot {
        None | Some(1) => Ok(()),
        Some(boot) => Err(MapError::NoSuchBoot { file: name.to_string(), boot, boots: 1 }),
    }
}

/// What a binary table says; `None` if the bytes are none that is known.
fn table(name: &str, data: &[u8]) -> Option<Result<Machine, MapError>> {
    if is_tree(data) {
        return Some(parse_fdt(name, data));
    }
    #[cfg(feature = "acpi")]
    if let Some(error) = acpi::refusal(name, data) {
        return Some(Err(error));
    }
    #[cfg(feature = "pvh")]
    if let Some(error) = pvh::refusal(name, data) {
        return Some(Err(error));
    }
    #[cfg(feature = "multiboot2")]
    if multiboot2::is_information(data) {
        return Some(multiboot2::read(name, data));
    }
    None
}
