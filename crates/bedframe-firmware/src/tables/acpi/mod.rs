//! ACPI tables: which memory and which CPUs lie on which node, and how far these are apart.
//!
//! Each reader is made from the bytes of one table, checks its signature, length, checksum and the
//! length of every entry, and gives typed entries afterwards. Bytes behind the table are ignored,
//! and so are entries of types that are not known. Written here because the `acpi` crate misreads
//! SRAT and SLIT.

mod header;
mod hmat;
mod madt;
mod records;
mod root;
mod slit;
mod srat;

pub use header::Header;
pub use hmat::{Hmat, HmatDataType, HmatEntry, LatencyBandwidth, MemoryAttributes};
pub use madt::{Gicc, LocalApic, Madt, MadtEntry, Rintc};
pub use root::{RootTable, Rsdp};
pub use slit::Slit;
pub use srat::{MemoryAffinity, ProcessorAffinity, ProcessorId, Srat, SratEntry};
