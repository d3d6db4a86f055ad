//! What the ledger knows of a frame.

use crate::error::FreeRefusal;
use crate::node::NodeId;
use crate::state::PageState;

/// What a range of frames is for, apart from whether RAM is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Nothing is said of it. With RAM there: free to the boot allocator.
    Open = 0,
    /// Boot-allocated: `free` takes it.
    Given = 1,
    /// Reserved until `release` is called for it.
    Releasable = 2,
    /// Never handed out.
    Reserved = 3,
    /// Withheld because the memory is bad.
    Bad = 4,
    /// Bedframe's own.
    Metadata = 5,
    /// In the index since hand-over: the planes know more.
    Heap = 6,
}

/// What is known of each frame of a range: whether RAM is there, on which node, and the [`Kind`].
/// Reservations may come before the RAM that they lie in, so kind and RAM are independent.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Attr(u64);

impl Attr {
    const RAM: u64 = 1 << 8;
    const NODE_SHIFT: u32 = 32;

    /// No RAM, nothing said.
    pub(crate) const HOLE: Attr = Attr(Kind::Open as u64);

    pub(crate) const fn kind(self) -> Kind {
        match self.0 as u8 {
            1 => Kind::Given,
            2 => Kind::Releasable,
            3 => Kind::Reserved,
            4 => Kind::Bad,
            5 => Kind::Metadata,
            6 => Kind::Heap,
            _ => Kind::Open,
        }
    }

    pub(crate) const fn is_ram(self) -> bool {
        self.0 & Self::RAM != 0
    }

    /// Whether the boot allocator may hand it out.
    pub(crate) const fn is_boot_free(self) -> bool {
        self.is_ram() && matches!(self.kind(), Kind::Open)
    }

    /// The node; meaningful for RAM only.
    pub(crate) const fn node(self) -> NodeId {
        NodeId((self.0 >> Self::NODE_SHIFT) as u32)
    }

    pub(crate) const fn with_kind(self, kind: Kind) -> Attr {
        Attr(self.0 & !0xff | kind as u64)
    }

    pub(crate) const fn with_ram(self, node: NodeId) -> Attr {
        Attr(self.0 & 0xff | Self::RAM | (node.0 as u64) << Self::NODE_SHIFT)
    }

    /// The same without RAM: a hole, unless something is said of it.
    pub(crate) const fn without_ram(self) -> Attr {
        Attr(self.0 & 0xff)
    }

    /// The page state that the ledger gives a frame which is not in the heap.
    pub(crate) const fn state(self) -> PageState {
        if !self.is_ram() {
            return PageState::Absent;
        }
        match self.kind() {
            Kind::Open => PageState::Free,
            Kind::Given => PageState::Uninitialised,
            Kind::Releasable | Kind::Reserved => PageState::Reserved,
            Kind::Bad => PageState::Broken,
            Kind::Metadata => PageState::Metadata,
            Kind::Heap => PageState::InUse,
        }
    }

    /// Why `free` does not take such a frame; `None` for the one kind that it takes.
    pub(crate) const fn free_refusal(self) -> Option<FreeRefusal> {
        if !self.is_ram() {
            return Some(FreeRefusal::Hole);
        }
        match self.kind() {
            Kind::Given => None,
            Kind::Open | Kind::Heap => Some(FreeRefusal::AlreadyFree),
            Kind::Releasable => Some(FreeRefusal::Releasable),
            Kind::Reserved => Some(FreeRefusal::Reserved),
            Kind::Bad => Some(FreeRefusal::Bad),
            Kind::Metadata => Some(FreeRefusal::Metadata),
        }
    }

    /// Why `release` does not take such a frame; `None` for those it takes, and for bad ones,
    /// which it passes over.
    pub(crate) const fn release_refusal(self) -> Option<FreeRefusal> {
        if !self.is_ram() {
            return Some(FreeRefusal::Hole);
        }
        match self.kind() {
            Kind::Releasable | Kind::Bad => None,
            Kind::Open | Kind::Heap => Some(FreeRefusal::AlreadyFree),
            Kind::Given => Some(FreeRefusal::NotReleasable),
            Kind::Reserved => Some(FreeRefusal::Reserved),
            Kind::Metadata => Some(FreeRefusal::Metadata),
        }
    }
}

impl core::fmt::Debug for Attr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.is_ram() {
            write!(f, "{:?} on node {}", self.kind(), self.node())
        } else {
            write!(f, "{:?}, no RAM", self.kind())
        }
    }
}
