//! MADT: which CPUs there are.

use super::header::{Checked, Header, check};
use super::records::{Records, too_short};
use super::srat::ProcessorId;
use crate::tables::TableError;
use crate::tables::bytes::{u8_at, u32_at, u64_at};

const TABLE: &str = "MADT";
/// Where the entries begin.
const ENTRIES: usize = 44;

/// The Multiple APIC Description Table.
#[derive(Clone, Copy, Debug)]
pub struct Madt<'a> {
    table: Checked<'a>,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MadtEntry<'a> {
    /// A CPU of an x86 machine.
    LocalApic(LocalApic),
    /// A CPU of an Arm machine.
    Gicc(Gicc),
    /// A CPU of a RISC-V machine.
    Rintc(Rintc),
    /// The address of the local APICs, in place of the one in the table's head.
    LocalApicAddress(u64),
    /// Anything else: its type, and all its bytes.
    Other(u8, &'a [u8]),
}

/// The local APIC or x2APIC of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalApic {
    /// Its number.
    pub id: u32,
    /// The CPU's UID in ACPI.
    pub uid: u32,
    /// Whether the CPU can be used.
    pub enabled: bool,
    /// Whether a CPU that is not enabled may become so while the system runs.
    pub online_capable: bool,
    /// Whether it is an entry for x2APICs.
    pub x2apic: bool,
}

/// The interface of a CPU to Arm's interrupt controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gicc {
    /// The interface's number.
    pub interface: u32,
    /// The CPU's UID in ACPI.
    pub uid: u32,
    /// The CPU's affinity as in its register MPIDR; tables before ACPI 5.1 do not have it.
    pub mpidr: Option<u64>,
    /// Whether the CPU can be used.
    pub enabled: bool,
    /// Whether a CPU that is not enabled may become so while the system runs.
    pub online_capable: bool,
}

/// The interrupt controller of a RISC-V hart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rintc {
    /// The hart's number.
    pub hart: u64,
    /// The CPU's UID in ACPI.
    pub uid: u32,
    /// Whether the CPU can be used.
    pub enabled: bool,
    /// Whether a CPU that is not enabled may become so while the system runs.
    pub online_capable: bool,
}

impl<'a> Madt<'a> {
    /// Checks a table from its first to its last entry.
    ///
    /// # Errors
    ///
    /// A wrong signature, length or checksum; an entry that is too short for its type or does not
    /// end inside the table.
    pub fn new(data: &'a [u8]) -> Result<Self, TableError> {
        let table = check(TABLE, b"APIC", ENTRIES, "a length of at least 44", data)?;
        let madt = Self { table };
        for record in madt.records() {
            let (at, kind, record) = record?;
            entry(kind, record).ok_or(too_short(TABLE, at, record))?;
        }
        Ok(madt)
    }

    /// The table's header.
    #[must_use]
    pub fn header(&self) -> Header {
        self.table.header
    }

    /// Where the local APICs are, as the last statement in the table has it.
    #[must_use]
    pub fn local_apic_address(&self) -> u64 {
        let head = u32_at(self.table.bytes, 36).unwrap_or(0);
        let overrides = self.entries().filter_map(|entry| match entry {
            MadtEntry::LocalApicAddress(address) => Some(address),
            _ => None,
        });
        overrides.last().unwrap_or(u64::from(head))
    }

    /// All entries, in their order.
    pub fn entries(&self) -> impl Iterator<Item = MadtEntry<'a>> + Clone + use<'a> {
        // `new` has been over all of them.
        self.records().map_while(|record| {
            let (_, kind, record) = record.ok()?;
            entry(kind, record)
        })
    }

    /// The CPUs that can be used, as [`Srat`](super::Srat) calls them.
    pub fn processors(&self) -> impl Iterator<Item = ProcessorId> + Clone + use<'a> {
        self.entries().filter_map(|entry| match entry {
            MadtEntry::LocalApic(cpu) if cpu.enabled => Some(ProcessorId::Apic(cpu.id)),
            MadtEntry::Gicc(cpu) if cpu.enabled => Some(ProcessorId::Gicc(cpu.uid)),
            MadtEntry::Rintc(cpu) if cpu.enabled => Some(ProcessorId::Rintc(cpu.uid)),
            _ => None,
        })
    }

    fn records(&self) -> Records<'a> {
        Records::new(TABLE, self.table.bytes, ENTRIES)
    }
}

/// `None` if the entry is too short for its type.
fn entry(kind: u8, record: &[u8]) -> Option<MadtEntry<'_>> {
    let word = |offset| u32_at(record, offset);
    Some(match kind {
        0 => {
            let flags = word(4)?;
            MadtEntry::LocalApic(LocalApic {
                id: u8_at(record, 3)?.into(),
                uid: u8_at(record, 2)?.into(),
                enabled: flags & 1 != 0,
                online_capable: flags & 2 != 0,
                x2apic: false,
            })
        }
        5 => MadtEntry::LocalApicAddress(u64_at(record, 4)?),
        9 => {
            let flags = word(8)?;
            MadtEntry::LocalApic(LocalApic {
                id: word(4)?,
                uid: word(12)?,
                enabled: flags & 1 != 0,
                online_capable: flags & 2 != 0,
                x2apic: true,
            })
        }
        11 => {
            let flags = word(12)?;
            // ACPI 5.0 ends here, later versions go on.
            u64_at(record, 32)?;
            MadtEntry::Gicc(Gicc {
                interface: word(4)?,
                uid: word(8)?,
                mpidr: u64_at(record, 68),
                enabled: flags & 1 != 0,
                online_capable: flags & 8 != 0,
            })
        }
        24 => {
            let flags = word(4)?;
            MadtEntry::Rintc(Rintc {
                hart: u64_at(record, 8)?,
                uid: word(16)?,
                enabled: flags & 1 != 0,
                online_capable: flags & 2 != 0,
            })
        }
        _ => MadtEntry::Other(kind, record),
    })
}
