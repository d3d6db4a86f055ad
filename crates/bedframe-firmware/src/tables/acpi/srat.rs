//! SRAT: on which node memory and CPUs lie.

use bedframe::NodeId;

use super::header::{Checked, Header, check};
use super::records::{Records, too_short};
use crate::tables::TableError;
use crate::tables::bytes::{u8_at, u32_at, u64_at};

const TABLE: &str = "SRAT";
/// Where the entries begin.
const ENTRIES: usize = 48;

/// The System Resource Affinity Table. Nodes are called by their proximity domains.
///
/// It says where memory would lie, not which memory there is: that takes a memory map.
#[derive(Clone, Copy, Debug)]
pub struct Srat<'a> {
    table: Checked<'a>,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SratEntry<'a> {
    /// A range of memory.
    Memory(MemoryAffinity),
    /// A CPU.
    Processor(ProcessorAffinity),
    /// Anything else: its type, and all its bytes.
    Other(u8, &'a [u8]),
}

/// On which node a range of memory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryAffinity {
    /// The first byte.
    pub start: u64,
    /// How many bytes there are; `start + len` is at most 2^64 - 1 if the entry is enabled.
    pub len: u64,
    /// The node.
    pub node: NodeId,
    /// Whether the entry counts.
    pub enabled: bool,
    /// Whether memory may be added here later: there need not be any now.
    pub hot_pluggable: bool,
    /// Whether the memory keeps its contents without power.
    pub non_volatile: bool,
}

impl MemoryAffinity {
    /// The byte behind the last.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// On which node a CPU lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorAffinity {
    /// The CPU.
    pub id: ProcessorId,
    /// The node.
    pub node: NodeId,
    /// CPUs of one domain have the same clock.
    pub clock_domain: u32,
    /// Whether the entry counts.
    pub enabled: bool,
}

/// What a table calls a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProcessorId {
    /// x86: by its local APIC or x2APIC.
    Apic(u32),
    /// Arm (GICC): by the processor's UID, which MADT has too.
    Gicc(u32),
    /// RISC-V (RINTC): by the processor's UID, which MADT has too.
    Rintc(u32),
}

impl<'a> Srat<'a> {
    /// Checks a table from its first to its last entry.
    ///
    /// # Errors
    ///
    /// The first place that is not as the specification demands: a wrong signature, length or
    /// checksum, an entry that is too short for its type or does not end inside the table, a range
    /// of memory that reaches beyond 64 bits.
    pub fn new(data: &'a [u8]) -> Result<Self, TableError> {
        let table = check(TABLE, b"SRAT", ENTRIES, "a length of at least 48", data)?;
        let srat = Self { table };
        for record in srat.records() {
            let (at, kind, record) = record?;
            let entry = srat.entry(kind, record).ok_or(too_short(TABLE, at, record))?;
            if let SratEntry::Memory(memory) = entry
                && memory.enabled
                && memory.start.checked_add(memory.len).is_none()
            {
                return Err(TableError::Value {
                    table: TABLE,
                    offset: at.saturating_add(16),
                    value: memory.len,
                    expected: "a range that ends below 2^64",
                });
            }
        }
        Ok(srat)
    }

    /// The table's header.
    #[must_use]
    pub fn header(&self) -> Header {
        self.table.header
    }

    /// All entries, in their order.
    pub fn entries(&self) -> impl Iterator<Item = SratEntry<'a>> + Clone + use<'a> {
        let srat = *self;
        // `new` has been over all of them.
        self.records().map_while(move |record| {
            let (_, kind, record) = record.ok()?;
            srat.entry(kind, record)
        })
    }

    /// The ranges of memory that count and are not empty.
    pub fn memory(&self) -> impl Iterator<Item = MemoryAffinity> + Clone + use<'a> {
        self.entries().filter_map(|entry| match entry {
            SratEntry::Memory(memory) if memory.enabled && memory.len > 0 => Some(memory),
            _ => None,
        })
    }

    /// The CPUs that count.
    pub fn processors(&self) -> impl Iterator<Item = ProcessorAffinity> + Clone + use<'a> {
        self.entries().filter_map(|entry| match entry {
            SratEntry::Processor(processor) if processor.enabled => Some(processor),
            _ => None,
        })
    }

    /// The node that the byte at `address` lies on. Ranges for memory that may be added later
    /// count only where no other does, and of several the first one counts.
    #[must_use]
    pub fn node_of(&self, address: u64) -> Option<NodeId> {
        self.piece(address, address.saturating_add(1)).0
    }

    /// The node that a CPU lies on.
    #[must_use]
    pub fn node_of_processor(&self, id: ProcessorId) -> Option<NodeId> {
        self.processors().find(|processor| processor.id == id).map(|processor| processor.node)
    }

    /// The node of the byte at `at`, and where something else may be said, at most `end`.
    pub(crate) fn piece(&self, at: u64, end: u64) -> (Option<NodeId>, u64) {
        let (mut normal, mut hot_plug, mut next) = (None, None, end);
        for memory in self.memory() {
            if memory.start <= at && at < memory.end() {
                let found = if memory.hot_pluggable { &mut hot_plug } else { &mut normal };
                *found = found.or(Some(memory.node));
            }
            for edge in [memory.start, memory.end()] {
                if edge > at {
                    next = next.min(edge);
                }
            }
        }
        (normal.or(hot_plug), next)
    }

    fn records(&self) -> Records<'a> {
        Records::new(TABLE, self.table.bytes, ENTRIES)
    }

    /// `None` if the entry is too short for its type.
    fn entry(&self, kind: u8, record: &'a [u8]) -> Option<SratEntry<'a>> {
        // Before revision 2 a domain has 8 bits, and nobody promised that the others are 0.
        let wide = self.table.header.revision >= 2;
        let narrow = |domain: u32| if wide { domain } else { domain & 0xff };
        let processor = |id, domain, flags: u32, clock_domain| {
            let enabled = flags & 1 != 0;
            SratEntry::Processor(ProcessorAffinity {
                id,
                node: NodeId(domain),
                clock_domain,
                enabled,
            })
        };
        let word = |offset| u32_at(record, offset);
        Some(match kind {
            0 => {
                let [low, high] = [u8_at(record, 2)?, u8_at(record, 11)?];
                let middle = [u8_at(record, 9)?, u8_at(record, 10)?];
                let domain = u32::from_le_bytes([low, middle[0], middle[1], high]);
                let id = ProcessorId::Apic(u8_at(record, 3)?.into());
                processor(id, narrow(domain), word(4)?, word(12)?)
            }
            1 => {
                let flags = word(28)?;
                // The last field is reserved, but the entry must have it.
                u64_at(record, 32)?;
                SratEntry::Memory(MemoryAffinity {
                    start: u64_at(record, 8)?,
                    len: u64_at(record, 16)?,
                    node: NodeId(narrow(word(2)?)),
                    enabled: flags & 1 != 0,
                    hot_pluggable: flags & 2 != 0,
                    non_volatile: flags & 4 != 0,
                })
            }
            2 => {
                word(20)?;
                processor(ProcessorId::Apic(word(8)?), word(4)?, word(12)?, word(16)?)
            }
            3 => processor(ProcessorId::Gicc(word(6)?), word(2)?, word(10)?, word(14)?),
            7 => processor(ProcessorId::Rintc(word(8)?), word(4)?, word(12)?, word(16)?),
            _ => SratEntry::Other(kind, record),
        })
    }
}
