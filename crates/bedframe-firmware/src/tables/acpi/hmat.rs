//! HMAT: how fast memory is, seen from CPUs.

use core::cmp::Ordering;

use bedframe::NodeId;

use super::header::{Checked, Header, check};
use crate::tables::TableError;
use crate::tables::bytes::{size, u8_at, u16_at, u32_at, u64_at};

const TABLE: &str = "HMAT";
/// Where the entries begin.
const ENTRIES: usize = 40;
/// Bytes in the head of an entry: type, two reserved bytes, length.
const HEAD: usize = 8;
/// Where the lists of nodes begin in a table of latencies or bandwidths.
const LISTS: usize = 32;

/// The Heterogeneous Memory Attribute Table. Its numbers are a hint for the order in which nodes
/// are asked for memory.
#[derive(Clone, Copy, Debug)]
pub struct Hmat<'a> {
    table: Checked<'a>,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum HmatEntry<'a> {
    /// What belongs to a node's memory.
    Memory(MemoryAttributes),
    /// Latencies or bandwidths.
    LatencyBandwidth(LatencyBandwidth<'a>),
    /// Anything else: its type, and all its bytes.
    Other(u16, &'a [u8]),
}

/// Attributes of the memory of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryAttributes {
    /// The node of the memory.
    pub memory: NodeId,
    /// The node whose CPUs the memory is attached to, where the table says so.
    pub initiator: Option<NodeId>,
}

/// What the numbers of a [`LatencyBandwidth`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HmatDataType {
    /// Latency of any access.
    AccessLatency,
    /// Latency of reading.
    ReadLatency,
    /// Latency of writing.
    WriteLatency,
    /// Bandwidth of any access.
    AccessBandwidth,
    /// Bandwidth of reading.
    ReadBandwidth,
    /// Bandwidth of writing.
    WriteBandwidth,
    /// A type that this crate has no word for.
    Other(u8),
}

/// Latencies or bandwidths from nodes with CPUs to nodes with memory.
#[derive(Clone, Copy, Debug)]
pub struct LatencyBandwidth<'a> {
    /// What the numbers are.
    pub data_type: HmatDataType,
    /// 0 if they are for memory itself, otherwise for a level of its cache.
    pub hierarchy: u8,
    revision: u8,
    base: u64,
    initiators: &'a [[u8; 4]],
    targets: &'a [[u8; 4]],
    matrix: &'a [[u8; 2]],
}

impl<'a> LatencyBandwidth<'a> {
    /// The nodes that the numbers start from.
    pub fn initiators(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone + use<'a> {
        self.initiators.iter().map(|node| NodeId(u32::from_le_bytes(*node)))
    }

    /// The nodes whose memory the numbers are about.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone + use<'a> {
        self.targets.iter().map(|node| NodeId(u32::from_le_bytes(*node)))
    }

    /// The number for memory of `to` seen from `from`: picoseconds or megabytes per second.
    /// `None` if there is none, or if the one cannot be reached from the other.
    #[must_use]
    pub fn get(&self, from: NodeId, to: NodeId) -> Option<u64> {
        let row = self.initiators().position(|node| node == from)?;
        let column = self.targets().position(|node| node == to)?;
        let cell = row.checked_mul(self.targets.len())?.checked_add(column)?;
        let number = u16::from_le_bytes(*self.matrix.get(cell)?);
        // Revision 1 gives nanoseconds.
        let unit = if self.revision < 2 && self.is_latency() { 1000 } else { 1 };
        match number {
            0 | u16::MAX => None,
            number => u64::from(number).checked_mul(self.base)?.checked_mul(unit),
        }
    }

    fn is_latency(&self) -> bool {
        use HmatDataType::{AccessLatency, ReadLatency, WriteLatency};
        matches!(self.data_type, AccessLatency | ReadLatency | WriteLatency)
    }
}

impl<'a> Hmat<'a> {
    /// Checks a table from its first to its last entry.
    ///
    /// # Errors
    ///
    /// A wrong signature, length or checksum; an entry that is too short for its type, or for the
    /// lists that it announces, or does not end inside the table.
    pub fn new(data: &'a [u8]) -> Result<Self, TableError> {
        let table = check(TABLE, b"HMAT", ENTRIES, "a length of at least 40", data)?;
        let hmat = Self { table };
        for entry in hmat.walk() {
            entry?;
        }
        Ok(hmat)
    }

    /// The table's header.
    #[must_use]
    pub fn header(&self) -> Header {
        self.table.header
    }

    /// All entries, in their order.
    pub fn entries(&self) -> impl Iterator<Item = HmatEntry<'a>> + Clone + use<'a> {
        // `new` has been over all of them.
        self.walk().map_while(Result::ok)
    }

    /// The node whose CPUs the memory of `memory` is attached to, if the table says so.
    #[must_use]
    pub fn initiator_of(&self, memory: NodeId) -> Option<NodeId> {
        self.entries().find_map(|entry| match entry {
            HmatEntry::Memory(found) if found.memory == memory => found.initiator,
            _ => None,
        })
    }

    /// Picoseconds that CPUs of `from` wait for memory of `to`: for any access, or else to read.
    #[must_use]
    pub fn latency(&self, from: NodeId, to: NodeId) -> Option<u64> {
        self.find(HmatDataType::AccessLatency, from, to)
            .or_else(|| self.find(HmatDataType::ReadLatency, from, to))
    }

    /// Megabytes per second between CPUs of `from` and memory of `to`: for any access, or else
    /// to read.
    #[must_use]
    pub fn bandwidth(&self, from: NodeId, to: NodeId) -> Option<u64> {
        self.find(HmatDataType::AccessBandwidth, from, to)
            .or_else(|| self.find(HmatDataType::ReadBandwidth, from, to))
    }

    /// Which of two nodes CPUs of `from` had better take memory from: the one that comes first is
    /// the better one. The lower latency counts, then the higher bandwidth; what is not known
    /// comes last.
    #[must_use]
    pub fn compare(&self, from: NodeId, a: NodeId, b: NodeId) -> Ordering {
        let latency = |to| self.latency(from, to).unwrap_or(u64::MAX);
        let bandwidth = |to| self.bandwidth(from, to).unwrap_or(0);
        latency(a).cmp(&latency(b)).then_with(|| bandwidth(b).cmp(&bandwidth(a)))
    }

    fn find(&self, data_type: HmatDataType, from: NodeId, to: NodeId) -> Option<u64> {
        self.entries().find_map(|entry| match entry {
            HmatEntry::LatencyBandwidth(found)
                if found.hierarchy == 0 && found.data_type == data_type =>
            {
                found.get(from, to)
            }
            _ => None,
        })
    }

    fn walk(&self) -> Walk<'a> {
        Walk { table: self.table, at: ENTRIES }
    }
}

/// Walks over the entries. Ends at the first that cannot be, once it has told so.
#[derive(Clone, Debug)]
struct Walk<'a> {
    table: Checked<'a>,
    at: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<HmatEntry<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (bytes, at) = (self.table.bytes, self.at);
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        self.at = bytes.len();
        let (Some(kind), Some(len)) = (u16_at(rest, 0), u32_at(rest, 4)) else {
            let (offset, expected) = (bytes.len(), "a whole entry: type, length and more");
            return Some(Err(TableError::Cut { table: TABLE, offset, expected }));
        };
        let fail = |expected| {
            let offset = at.saturating_add(4);
            Some(Err(TableError::Value { table: TABLE, offset, value: len.into(), expected }))
        };
        let Some(record) = rest.get(..size(len)).filter(|record| record.len() >= HEAD) else {
            return fail("an entry's length, from 8 to what is left of the table");
        };
        let Some(entry) = entry(self.table.header.revision, kind, record) else {
            return fail("a length that holds the fields and lists of the entry");
        };
        self.at = at.saturating_add(record.len());
        Some(Ok(entry))
    }
}

/// `None` if the entry is too short for its type or its lists.
fn entry(revision: u8, kind: u16, record: &[u8]) -> Option<HmatEntry<'_>> {
    let word = |offset| u32_at(record, offset);
    Some(match kind {
        0 => {
            // The last field is reserved, but the entry must have it.
            u64_at(record, 32)?;
            let valid = u16_at(record, 8)? & 1 != 0;
            let initiator = NodeId(word(12)?);
            let memory = NodeId(word(16)?);
            HmatEntry::Memory(MemoryAttributes { memory, initiator: valid.then_some(initiator) })
        }
        1 => {
            let (initiators, targets) = (size(word(12)?), size(word(16)?));
            let (initiators, rest) = list::<4>(record.get(LISTS..)?, initiators)?;
            let (targets, rest) = list::<4>(rest, targets)?;
            let (matrix, _) = list::<2>(rest, initiators.len().checked_mul(targets.len())?)?;
            HmatEntry::LatencyBandwidth(LatencyBandwidth {
                data_type: match u8_at(record, 9)? {
                    0 => HmatDataType::AccessLatency,
                    1 => HmatDataType::ReadLatency,
                    2 => HmatDataType::WriteLatency,
                    3 => HmatDataType::AccessBandwidth,
                    4 => HmatDataType::ReadBandwidth,
                    5 => HmatDataType::WriteBandwidth,
                    other => HmatDataType::Other(other),
                },
                hierarchy: u8_at(record, 8)? & 0xf,
                revision,
                base: u64_at(record, 24)?,
                initiators,
                targets,
                matrix,
            })
        }
        _ => HmatEntry::Other(kind, record),
    })
}

/// The first `count` numbers of `N` bytes each, and the bytes behind them.
fn list<const N: usize>(bytes: &[u8], count: usize) -> Option<(&[[u8; N]], &[u8])> {
    let (list, rest) = bytes.split_at_checked(count.checked_mul(N)?)?;
    Some((list.as_chunks::<N>().0, rest))
}
