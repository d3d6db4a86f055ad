//! What all tables come to: ranges of bytes with a kind and perhaps a node.

use core::fmt;

use bedframe::{FrameRange, NodeId};

/// A range of bytes as a table lists it: not rounded, not checked against others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The first byte.
    pub start: u64,
    /// The byte behind the last; equal to `start` if the range is empty.
    pub end: u64,
    /// What the table says it is.
    pub kind: RegionKind,
    /// The node it lies on, where that is known.
    pub node: Option<NodeId>,
    /// Whether the memory is kept twice, so that a fault in one copy does no harm.
    pub mirrored: bool,
}

impl Region {
    /// `len` bytes from `start`, on no known node, not mirrored. What would reach beyond the
    /// highest 64-bit address ends there.
    #[must_use]
    pub const fn new(start: u64, len: u64, kind: RegionKind) -> Self {
        Self { start, end: start.saturating_add(len), kind, node: None, mirrored: false }
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// The frames that lie wholly inside: what may be added as RAM.
    #[must_use]
    pub const fn whole_frames(&self) -> FrameRange {
        FrameRange::inside_bytes(self.start, self.end)
    }

    /// The frames of the region as it counts for its kind: rounded inwards if it is usable, so
    /// that nothing is given away, otherwise outwards, so that nothing of it is touched.
    #[must_use]
    pub const fn frames(&self) -> FrameRange {
        match self.kind {
            RegionKind::Usable => self.whole_frames(),
            _ => FrameRange::around_bytes(self.start, self.end),
        }
    }

    /// Cuts the region into pieces that lie on one node each, in ascending order, as SRAT says. A
    /// piece that SRAT does not speak of keeps the node that the region had, if it had one.
    /// Without an SRAT the only piece is the region. A frame that is cut is whole in no piece.
    #[cfg(feature = "acpi")]
    pub fn pieces<'a>(
        self,
        srat: Option<&super::acpi::Srat<'a>>,
    ) -> impl Iterator<Item = Region> + Clone + use<'a> {
        let srat = srat.copied();
        let mut at = self.start;
        core::iter::from_fn(move || {
            if at >= self.end {
                return None;
            }
            let (node, end) = match &srat {
                Some(srat) => srat.piece(at, self.end),
                None => (None, self.end),
            };
            let piece = Region { start: at, end, node: node.or(self.node), ..self };
            at = end;
            Some(piece)
        })
    }
}

/// What a table calls a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegionKind {
    /// RAM.
    Usable,
    /// RAM that the boot loader uses until it is no longer needed.
    LoaderReclaimable,
    /// RAM that holds what the boot loader has loaded: the kernel and its modules.
    Loaded,
    /// ACPI tables: free once they have been read.
    AcpiReclaimable,
    /// Firmware's own, to be preserved.
    AcpiNvs,
    /// Not RAM, or kept by firmware.
    Reserved,
    /// Faulty, says the firmware.
    Unusable,
    /// Persistent memory.
    Persistent,
    /// RAM set aside for a special purpose: not for the general heap.
    SpecialPurpose,
    /// Memory that a guest must accept before it touches it.
    Unaccepted,
    /// A type that this crate has no word for; not RAM.
    Other(u32),
}

impl RegionKind {
    /// When memory of this kind is RAM.
    #[must_use]
    pub const fn availability(self) -> Availability {
        match self {
            Self::Usable => Availability::Now,
            Self::LoaderReclaimable | Self::Loaded | Self::AcpiReclaimable => Availability::Later,
            _ => Availability::Never,
        }
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usable => "usable",
            Self::LoaderReclaimable => "boot loader reclaimable",
            Self::Loaded => "kernel and modules",
            Self::AcpiReclaimable => "ACPI data",
            Self::AcpiNvs => "ACPI NVS",
            Self::Reserved => "reserved",
            Self::Unusable => "unusable",
            Self::Persistent => "persistent",
            Self::SpecialPurpose => "soft reserved",
            Self::Unaccepted => "unaccepted",
            Self::Other(number) => return write!(f, "type {number}"),
        })
    }
}

/// When memory is RAM for the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// At once.
    Now,
    /// When its user has given it up: withheld as
    /// [releasable](bedframe::Memory::reserve_releasable) until then.
    Later,
    /// Never.
    Never,
}
