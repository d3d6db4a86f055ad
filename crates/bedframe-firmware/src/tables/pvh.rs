//! The start information of a PVH boot, as Xen and QEMU give it to a kernel.
//!
//! The structure names physical addresses; the kernel maps them and gives their bytes back here:
//!
//! ```
//! use bedframe_firmware::tables::TableError;
//! use bedframe_firmware::tables::pvh::StartInfo;
//!
//! /// How many whole frames of RAM there are; `mapped` gives the bytes at a physical address.
//! fn ram<'a>(start: &[u8], mapped: impl Fn(u64) -> &'a [u8]) -> Result<u64, TableError> {
//!     let info = StartInfo::new(start)?;
//!     let map = info.memory_map(mapped(info.memory_map_address))?;
//!     let usable = map.filter(|entry| entry.kind == 1);
//!     Ok(usable.map(|entry| entry.region().whole_frames().frames()).sum())
//! }
//! # let mut start = vec![0; 56];
//! # start[..8].copy_from_slice(&[0x78, 0xc5, 0x6e, 0x33, 1, 0, 0, 0]);
//! # (start[40], start[48]) = (1, 1);
//! # let mut entry = vec![0; 24];
//! # (entry[10], entry[16]) = (0x10, 1);
//! # assert_eq!(ram(&start, |_| &[]).unwrap_err().table(), "PVH memory map");
//! # let entry: &'static [u8] = entry.leak();
//! # assert_eq!(ram(&start, |_| entry), Ok(0x100));
//! ```

use super::bytes::{size, u32_at, u64_at};
use super::{Region, RegionKind, TableError};

pub use super::entry::Entry;

const TABLE: &str = "PVH start information";
/// What the structure begins with.
pub(crate) const MAGIC: u32 = 0x336e_c578;

/// The structure `hvm_start_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// The structure's version. Version 0 has no memory map.
    pub version: u32,
    /// How many modules there are.
    pub modules: u32,
    /// The physical address of the list of modules.
    pub modules_address: u64,
    /// The physical address of the command line, which ends with a zero; 0 if there is none.
    pub command_line_address: u64,
    /// The physical address of ACPI's RSDP; 0 if there is none.
    pub rsdp_address: u64,
    /// The physical address of the memory map; 0 if there is none.
    pub memory_map_address: u64,
    /// How many entries the memory map has.
    pub memory_map_entries: u32,
}

/// A module: what the boot loader has loaded beside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its first byte.
    pub start: u64,
    /// How many bytes there are.
    pub len: u64,
    /// The physical address of its command line; 0 if there is none.
    pub command_line_address: u64,
}

impl Module {
    /// The module as a region. The memory map lists it as usable: it is to be withheld.
    #[must_use]
    pub const fn region(&self) -> Region {
        Region::new(self.start, self.len, RegionKind::Loaded)
    }
}

impl StartInfo {
    /// Reads 40 bytes, or 56 if the version is 1 or more.
    ///
    /// # Errors
    ///
    /// A wrong magic number, or fewer bytes than that.
    pub fn new(data: &[u8]) -> Result<Self, TableError> {
        let cut = |expected| TableError::Cut { table: TABLE, offset: data.len(), expected };
        let magic = u32_at(data, 0).ok_or(cut("40 bytes"))?;
        if magic != MAGIC {
            return Err(TableError::Value {
                table: TABLE,
                offset: 0,
                value: magic.into(),
                expected: "the magic number 0x336ec578",
            });
        }
        let first = || {
            Some(Self {
                version: u32_at(data, 4)?,
                modules: u32_at(data, 12)?,
                modules_address: u64_at(data, 16)?,
                command_line_address: u64_at(data, 24)?,
                rsdp_address: u64_at(data, 32)?,
                memory_map_address: 0,
                memory_map_entries: 0,
            })
        };
        let info = first().ok_or(cut("40 bytes"))?;
        if info.version == 0 {
            return Ok(info);
        }
        let second = || {
            // The last field is reserved, but must be there.
            u32_at(data, 52)?;
            let memory_map_address = u64_at(data, 40)?;
            Some(Self { memory_map_address, memory_map_entries: u32_at(data, 48)?, ..info })
        };
        second().ok_or(cut("56 bytes"))
    }

    /// The entries of the memory map, of which `data` are the bytes. What follows is ignored.
    ///
    /// # Errors
    ///
    /// Fewer bytes than so many entries take.
    pub fn memory_map<'a>(
        &self,
        data: &'a [u8],
    ) -> Result<impl ExactSizeIterator<Item = Entry> + Clone + use<'a>, TableError> {
        let entries = list::<24>("PVH memory map", data, self.memory_map_entries)?;
        Ok(entries.iter().map(|bytes| Entry::read(bytes)))
    }

    /// The modules, of which `data` are the bytes of the list. What follows is ignored.
    ///
    /// # Errors
    ///
    /// Fewer bytes than so many entries take.
    pub fn module_list<'a>(
        &self,
        data: &'a [u8],
    ) -> Result<impl ExactSizeIterator<Item = Module> + Clone + use<'a>, TableError> {
        let modules = list::<32>("PVH module list", data, self.modules)?;
        Ok(modules.iter().map(|bytes| Module {
            start: u64_at(bytes, 0).unwrap_or(0),
            len: u64_at(bytes, 8).unwrap_or(0),
            command_line_address: u64_at(bytes, 16).unwrap_or(0),
        }))
    }
}

/// The first `count` entries of `N` bytes each.
fn list<'a, const N: usize>(
    table: &'static str,
    data: &'a [u8],
    count: u32,
) -> Result<&'a [[u8; N]], TableError> {
    let bytes = size(count).checked_mul(N).and_then(|len| data.get(..len));
    let cut =
        TableError::Cut { table, offset: data.len(), expected: "as many entries as announced" };
    Ok(bytes.ok_or(cut)?.as_chunks().0)
}
