//! The description of a machine's memory that every reader of this crate produces.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bedframe::{FrameRange, NodeId};

/// A machine's physical memory, normalised: what is RAM, on which node, and what is withheld.
///
/// [`ram`](Self::ram) counts memory *before* any reservation: a reserved frame is in `ram` and in
/// [`reserved`](Self::reserved). Frames of [`late`](Self::late) are not in `ram`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Where the description came from: the name of the file.
    pub name: String,
    /// The list that decided what is RAM.
    pub source: Source,
    /// RAM in ascending order, disjoint; neighbours on the same node are one range.
    pub ram: Vec<RamRange>,
    /// RAM that must not be handed out, in ascending order, disjoint, inside [`ram`](Self::ram).
    pub reserved: Vec<Reservation>,
    /// Memory that is no RAM yet and becomes some by a late release; ascending, disjoint.
    pub late: Vec<LateRange>,
    /// RAM that the source itself calls faulty, inside [`ram`](Self::ram). What a BIOS lists as
    /// "unusable" is no RAM and so not here; no source that is read today fills this.
    pub bad: Vec<FrameRange>,
    /// RAM that the firmware mirrors, so that it outlives a fault of one of its copies: ascending,
    /// disjoint, inside [`ram`](Self::ram). Only UEFI tells, by the attribute "more reliable".
    pub mirrored: Vec<FrameRange>,
    /// Reservations without a place: the boot allocator is to find one for each.
    pub placements: Vec<DynamicReservation>,
    /// How far the nodes are apart, if the source says so.
    pub distances: Option<Distances>,
    /// The ranges of the deciding list as it gave them, in its order, for drawing.
    pub listed: Vec<Listed>,
    /// What is odd about the source and did not stop the reading.
    pub warnings: Vec<Warning>,
}

impl Machine {
    /// How many frames of RAM there are before any reservation.
    #[must_use]
    pub fn ram_frames(&self) -> u64 {
        self.ram.iter().map(|ram| ram.range.frames()).sum()
    }

    /// How many frames of RAM `node` has before any reservation; 0 for a node without RAM.
    #[must_use]
    pub fn ram_frames_on(&self, node: NodeId) -> u64 {
        self.ram.iter().filter(|ram| ram.node == node).map(|ram| ram.range.frames()).sum()
    }

    /// How many frames of RAM are reserved.
    #[must_use]
    pub fn reserved_frames(&self) -> u64 {
        self.reserved.iter().map(|reservation| reservation.range.frames()).sum()
    }

    /// How many frames a late release may add.
    #[must_use]
    pub fn late_frames(&self) -> u64 {
        self.late.iter().map(|late| late.range.frames()).sum()
    }

    /// The nodes that have RAM, in ascending order, each once.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.ram.iter().map(|ram| ram.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}

/// A list of memory that a source can hold. A higher list decides; a lower one that disagrees
/// causes a warning. The order is the order of precedence, the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The map that the user gave on the kernel's command line.
    User,
    /// BIOS call e820 or what a boot loader made to look like it.
    E820,
    /// BIOS call e801: two sizes.
    E801,
    /// BIOS call 88: one size.
    Bios88,
    /// The list that Xen prints, or its banks of RAM on Arm.
    Xen,
    /// The list that Xen gave to a kernel above it.
    XenGuest,
    /// The memory map of UEFI, which a kernel prints.
    Efi,
    /// What a running kernel shows in `/proc/iomem`.
    Iomem,
    /// The ranges per node that the kernel prints once it has settled them.
    NodeRanges,
    /// The memory nodes of a flattened device tree.
    DeviceTree,
    /// The memory map of multiboot2's boot information, or UEFI's inside it.
    Multiboot2,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::User => "user-defined map",
            Source::E820 => "BIOS-e820",
            Source::E801 => "BIOS-e801",
            Source::Bios88 => "BIOS-88",
            Source::Xen => "Xen",
            Source::XenGuest => "Xen guest",
            Source::Efi => "EFI",
            Source::Iomem => "/proc/iomem",
            Source::NodeRanges => "node ranges",
            Source::DeviceTree => "device tree",
            Source::Multiboot2 => "multiboot2",
        })
    }
}

/// Frames of RAM on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamRange {
    /// The frames; never empty.
    pub range: FrameRange,
    /// The node they lie on.
    pub node: NodeId,
}

/// Frames of RAM that are not to be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The frames: every frame that the reservation touches, as far as it is RAM. Never empty.
    pub range: FrameRange,
    /// Who reserves them: the name of the device tree node, `/memreserve/`, or what Xen
    /// calls it.
    pub name: String,
    /// What kind of reservation it is.
    pub kind: ReservationKind,
}

/// Why frames are reserved. Where reservations overlap, the first in this order is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReservationKind {
    /// Not to be mapped at all, because firmware or a device uses it.
    NoMap,
    /// Loaded by the boot loader: a kernel, a ramdisk, a device tree.
    Module,
    /// Kept for a device or for firmware.
    Static,
    /// A ramdisk that the boot loader left for the kernel: [releasable](Self::is_releasable).
    Ramdisk,
    /// From the reservation block in a device tree's head.
    MemReserve,
}

impl ReservationKind {
    /// Whether the frames become RAM like any other once their contents have been read.
    #[must_use]
    pub const fn is_releasable(self) -> bool {
        matches!(self, ReservationKind::Ramdisk)
    }
}

impl fmt::Display for ReservationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReservationKind::NoMap => "no-map",
            ReservationKind::Static => "reserved",
            ReservationKind::Module => "module",
            ReservationKind::Ramdisk => "ramdisk",
            ReservationKind::MemReserve => "memreserve",
        })
    }
}

/// Whole frames that are not RAM while the machine boots and may be released to be RAM later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateRange {
    /// The frames; never empty.
    pub range: FrameRange,
    /// The node they lie on.
    pub node: NodeId,
    /// What keeps them until then.
    pub why: LateReason,
}

/// What keeps memory from being RAM until it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LateReason {
    /// ACPI tables, which may be given up once they have been read.
    AcpiReclaimable,
}

impl fmt::Display for LateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LateReason::AcpiReclaimable => "ACPI-reclaimable",
        })
    }
}

/// A reservation of which only the size is given; the boot allocator finds the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicReservation {
    /// The name of the device tree node.
    pub name: String,
    /// Bytes wanted; never 0.
    pub size: u64,
    /// Alignment in bytes, a power of two; at least a frame.
    pub align: u64,
    /// Where the place may lie, in whole frames; empty means anywhere. These need not be RAM: a
    /// tree may name a window that this machine has no memory in.
    pub within: Vec<FrameRange>,
    /// Whether the place must not be mapped.
    pub no_map: bool,
    /// Whether the system may use the place while the owner does not.
    pub reusable: bool,
}

/// How far nodes are apart: 10 is a node's own memory, larger is farther.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distances {
    nodes: Vec<NodeId>,
    /// Row by row, one row for each of `nodes`.
    matrix: Vec<u32>,
}

impl Distances {
    /// `None` unless `matrix` has one row and one column for each of `nodes` and these ascend.
    pub(crate) fn new(nodes: Vec<NodeId>, matrix: Vec<u32>) -> Option<Self> {
        let square = nodes.len().checked_mul(nodes.len()) == Some(matrix.len());
        (square && nodes.is_sorted_by(|a, b| a < b)).then_some(Self { nodes, matrix })
    }

    /// The nodes that the matrix speaks of, in ascending order. Some may have no RAM.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The distance from `from` to `to`; `None` if the matrix does not know one of them.
    #[must_use]
    pub fn get(&self, from: NodeId, to: NodeId) -> Option<u32> {
        let row = self.nodes.binary_search(&from).ok()?;
        let column = self.nodes.binary_search(&to).ok()?;
        self.matrix.get(row.checked_mul(self.nodes.len())?.checked_add(column)?).copied()
    }
}

/// A range as its source lists it: bytes, not rounded, not checked against others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The first byte.
    pub start: u64,
    /// The byte behind the last; equal to `start` if the range is empty. At most 2^52.
    pub end: u64,
    /// What the source says it is.
    pub kind: Kind,
    /// The node, where the list itself names one.
    pub node: Option<NodeId>,
    /// The line it stands in, from 1; `None` for a device tree.
    pub line: Option<usize>,
}

/// What a source calls a range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// RAM.
    Usable,
    /// Not RAM, or kept by firmware.
    Reserved,
    /// ACPI tables: free once they have been read.
    AcpiReclaimable,
    /// Firmware's own, to be preserved.
    AcpiNvs,
    /// Faulty, says the firmware.
    Unusable,
    /// Persistent memory.
    Persistent,
    /// RAM set aside for a special purpose: not for the general heap.
    SoftReserved,
    /// A type that this crate has no word for.
    Other(u32),
    /// A reservation inside memory, by name; `reusable` ones are not withheld.
    Reservation {
        /// Who reserves it.
        name: String,
        /// Whether it stays usable as RAM.
        reusable: bool,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Usable => f.write_str("usable"),
            Kind::Reserved => f.write_str("reserved"),
            Kind::AcpiReclaimable => f.write_str("ACPI data"),
            Kind::AcpiNvs => f.write_str("ACPI NVS"),
            Kind::Unusable => f.write_str("unusable"),
            Kind::Persistent => f.write_str("persistent"),
            Kind::SoftReserved => f.write_str("soft reserved"),
            Kind::Other(number) => write!(f, "type {number}"),
            Kind::Reservation { name, reusable: false } => write!(f, "reservation {name}"),
            Kind::Reservation { name, reusable: true } => write!(f, "reusable {name}"),
        }
    }
}

/// Something odd that did not stop the reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The line it is about, from 1, if it is about one.
    pub line: Option<usize>,
    /// What is odd, as a sentence without the line number.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
