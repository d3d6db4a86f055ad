//! The boot information of multiboot2.

use core::fmt;

use super::bytes::{size, u32_at};
use super::uefi;
use super::{Region, RegionKind, TableError};

pub use super::entry::Entry;

const TABLE: &str = "multiboot2 boot information";
/// Bytes in front of the first tag.
const HEAD: usize = 8;

/// The boot information: tags, checked from the first to the last.
#[derive(Clone, Copy, Debug)]
pub struct BootInformation<'a> {
    bytes: &'a [u8],
}

/// A tag of the boot information.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Tag<'a> {
    /// A module: what the boot loader has loaded beside the kernel.
    Module(Module<'a>),
    /// The memory map.
    MemoryMap(MemoryMap<'a>),
    /// The memory map of UEFI.
    EfiMemoryMap(uefi::MemoryMap<'a>),
    /// UEFI's boot services are still running: what they use is not free yet.
    EfiBootServices,
    /// A copy of ACPI's RSDP.
    Rsdp(&'a [u8]),
    /// Anything else: its type, and its bytes behind type and size.
    Other(u32, &'a [u8]),
}

/// A module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Module<'a> {
    /// Its first byte.
    pub start: u32,
    /// The byte behind its last.
    pub end: u32,
    /// Its command line, without the zero at the end.
    pub command_line: &'a [u8],
}

impl Module<'_> {
    /// The module as a region. The memory map lists it as usable: it is to be withheld.
    #[must_use]
    pub fn region(&self) -> Region {
        let len = self.end.saturating_sub(self.start);
        Region::new(self.start.into(), len.into(), RegionKind::Loaded)
    }
}

impl fmt::Debug for Module<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, command_line } = self;
        write!(f, "Module({start:#x}..{end:#x}, \"{}\")", command_line.escape_ascii())
    }
}

/// The memory map in a tag.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMap<'a> {
    entries: &'a [u8],
    stride: usize,
}

impl<'a> MemoryMap<'a> {
    /// The entries, in their order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + Clone + use<'a> {
        self.entries.chunks_exact(self.stride.max(24)).map(Entry::read)
    }

    /// What the entries mean, in their order.
    pub fn regions(&self) -> impl ExactSizeIterator<Item = Region> + Clone + use<'a> {
        self.entries().map(|entry| entry.region())
    }
}

impl<'a> BootInformation<'a> {
    /// Checks the information from its first to its last tag. Bytes behind its stated size are
    /// ignored.
    ///
    /// # Errors
    ///
    /// A size that does not fit, a tag that does not end inside, no tag that ends the list, or a
    /// memory map with entries that are cut.
    pub fn new(data: &'a [u8]) -> Result<Self, TableError> {
        let cut = |expected| TableError::Cut { table: TABLE, offset: data.len(), expected };
        let total = u32_at(data, 0).ok_or(cut("a head of 8 bytes"))?;
        if size(total) < HEAD {
            let (value, expected) = (total.into(), "a size of at least 8");
            return Err(TableError::Value { table: TABLE, offset: 0, value, expected });
        }
        let bytes = data.get(..size(total)).ok_or(cut("as many bytes as the head says"))?;
        let information = Self { bytes };
        for tag in information.walk() {
            tag?;
        }
        Ok(information)
    }

    /// All tags, in their order, without the one that ends the list.
    pub fn tags(&self) -> impl Iterator<Item = Tag<'a>> + Clone + use<'a> {
        // `new` has been over all of them.
        self.walk().map_while(Result::ok)
    }

    /// The first memory map.
    #[must_use]
    pub fn memory_map(&self) -> Option<MemoryMap<'a>> {
        self.tags().find_map(|tag| if let Tag::MemoryMap(map) = tag { Some(map) } else { None })
    }

    /// The first memory map of UEFI.
    #[must_use]
    pub fn efi_memory_map(&self) -> Option<uefi::MemoryMap<'a>> {
        self.tags().find_map(|tag| if let Tag::EfiMemoryMap(map) = tag { Some(map) } else { None })
    }

    /// The modules.
    pub fn modules(&self) -> impl Iterator<Item = Module<'a>> + Clone + use<'a> {
        self.tags()
            .filter_map(|tag| if let Tag::Module(module) = tag { Some(module) } else { None })
    }

    fn walk(&self) -> Walk<'a> {
        Walk { bytes: self.bytes, at: Some(HEAD) }
    }
}

/// Walks over the tags. Ends at the first that cannot be, once it has told so.
#[derive(Clone, Debug)]
struct Walk<'a> {
    bytes: &'a [u8],
    at: Option<usize>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Tag<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at.take()?;
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        let (Some(kind), Some(len)) = (u32_at(rest, 0), u32_at(rest, 4)) else {
            let (offset, expected) = (self.bytes.len(), "the tag that ends the list");
            return Some(Err(TableError::Cut { table: TABLE, offset, expected }));
        };
        let Some(body) = rest.get(..size(len)).and_then(|tag| tag.get(HEAD..)) else {
            return Some(Err(TableError::Value {
                table: TABLE,
                offset: at.saturating_add(4),
                value: len.into(),
                expected: "a tag's size, from 8 to what is left",
            }));
        };
        if kind == 0 {
            return None;
        }
        let tag = tag(kind, body, at);
        if tag.is_ok() {
            // Tags begin at multiples of 8.
            self.at = size(len).checked_next_multiple_of(8).and_then(|len| at.checked_add(len));
        }
        Some(tag)
    }
}

/// The tag that begins at `at`; `body` is what follows its type and size.
fn tag(kind: u32, body: &[u8], at: usize) -> Result<Tag<'_>, TableError> {
    let len = u64::try_from(body.len()).unwrap_or(u64::MAX).saturating_add(8);
    let fail = |field: usize, value: u64, expected| {
        Err(TableError::Value { table: TABLE, offset: at.saturating_add(field), value, expected })
    };
    let short = fail(4, len, "a size that holds the fields of the tag's type");
    match kind {
        3 => {
            let (Some(start), Some(end), Some(text)) =
                (u32_at(body, 0), u32_at(body, 4), body.get(8..))
            else {
                return short;
            };
            if end < start {
                return fail(12, end.into(), "an end that is not below the module's start");
            }
            let command_line = text.split(|&byte| byte == 0).next().unwrap_or(text);
            Ok(Tag::Module(Module { start, end, command_line }))
        }
        6 => {
            let (Some(entry), Some(entries)) = (u32_at(body, 0), body.get(8..)) else {
                return short;
            };
            if entry < 24 || !entry.is_multiple_of(8) {
                return fail(8, entry.into(), "entries of at least 24 bytes, a multiple of 8");
            }
            let stride = size(entry);
            if !entries.len().is_multiple_of(stride) {
                return fail(4, len, "a size that holds whole entries");
            }
            Ok(Tag::MemoryMap(MemoryMap { entries, stride }))
        }
        17 => {
            let (Some(entry), Some(version), Some(entries)) =
                (u32_at(body, 0), u32_at(body, 4), body.get(8..))
            else {
                return short;
            };
            match uefi::MemoryMap::new(entries, size(entry), version) {
                Ok(map) => Ok(Tag::EfiMemoryMap(map)),
                Err(TableError::Value { value, expected, .. }) => {
                    fail(if version == 1 { 8 } else { 12 }, value, expected)
                }
                Err(error) => fail(4, len, error.expected()),
            }
        }
        14 | 15 => Ok(Tag::Rsdp(body)),
        18 => Ok(Tag::EfiBootServices),
        _ => Ok(Tag::Other(kind, body)),
    }
}
