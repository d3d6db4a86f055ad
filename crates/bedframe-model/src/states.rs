//! What a frame is: the page state, and beyond it what only a ledger can tell.

use std::fmt;
use std::ops::Deref;

use bedframe::{FrameRange, FreeRefusal, PageState};

use crate::ranges::RangeMap;

/// What the model knows of a frame.
///
/// [`PageState`] says what a frame is; this says a little more, because the ledger does: two kinds
/// of *Reserved*, and that an *Uninitialised* frame is one that the boot allocator gave out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FrameState {
    /// Not RAM.
    Hole,
    /// Can be allocated, by the boot allocator or by the heap.
    Free,
    /// Handed out by the boot allocator, and not given back yet.
    Given,
    /// Handed out by the heap, and not given back yet.
    InUse,
    /// RAM withheld until it is released: modules, initrd, init sections, ACPI-reclaimable memory.
    Releasable,
    /// RAM that is never handed out.
    Reserved,
    /// RAM that holds the library's own data.
    Metadata,
    /// RAM withheld as bad.
    Bad,
    /// Handed out by the boot allocator, and to be withdrawn when it is given back.
    GivenOfflining,
    /// Handed out by the heap, and to be withdrawn when it is given back.
    Offlining,
    /// Handed out, and to be withdrawn for good when it is given back.
    BrokenOfflining,
    /// Withdrawn.
    Offlined,
    /// Withdrawn for good.
    Broken,
}

impl FrameState {
    /// Every state.
    pub const ALL: [FrameState; 13] = [
        FrameState::Hole,
        FrameState::Free,
        FrameState::Given,
        FrameState::InUse,
        FrameState::Releasable,
        FrameState::Reserved,
        FrameState::Metadata,
        FrameState::Bad,
        FrameState::GivenOfflining,
        FrameState::Offlining,
        FrameState::BrokenOfflining,
        FrameState::Offlined,
        FrameState::Broken,
    ];

    /// The page state that a frame known so is in.
    #[must_use]
    pub const fn page_state(self) -> PageState {
        match self {
            FrameState::Hole => PageState::Absent,
            FrameState::Free => PageState::Free,
            FrameState::Given => PageState::Uninitialised,
            FrameState::InUse => PageState::InUse,
            FrameState::Releasable | FrameState::Reserved => PageState::Reserved,
            FrameState::Metadata => PageState::Metadata,
            FrameState::Bad | FrameState::Broken => PageState::Broken,
            FrameState::GivenOfflining | FrameState::Offlining => PageState::Offlining,
            FrameState::BrokenOfflining => PageState::BrokenOfflining,
            FrameState::Offlined => PageState::Offlined,
        }
    }

    /// Why `free` refuses such a frame; `None` if it does not. Who handed the frame out, the boot
    /// allocator or the heap, makes no difference.
    #[must_use]
    pub const fn free_refusal(self) -> Option<FreeRefusal> {
        match self {
            FrameState::Given
            | FrameState::InUse
            | FrameState::GivenOfflining
            | FrameState::Offlining
            | FrameState::BrokenOfflining => None,
            FrameState::Offlined => Some(FreeRefusal::Offlined),
            FrameState::Hole => Some(FreeRefusal::Hole),
            FrameState::Free => Some(FreeRefusal::AlreadyFree),
            FrameState::Releasable => Some(FreeRefusal::Releasable),
            FrameState::Reserved => Some(FreeRefusal::Reserved),
            FrameState::Metadata => Some(FreeRefusal::Metadata),
            FrameState::Bad | FrameState::Broken => Some(FreeRefusal::Bad),
        }
    }

    /// Why `release` refuses such a frame; `None` if it does not. A bad frame inside a range to
    /// release is no error: it is passed over, and stays bad.
    #[must_use]
    pub const fn release_refusal(self) -> Option<FreeRefusal> {
        match self {
            FrameState::Releasable | FrameState::Bad => None,
            FrameState::Given
            | FrameState::InUse
            | FrameState::GivenOfflining
            | FrameState::Offlining
            | FrameState::BrokenOfflining
            | FrameState::Offlined
            | FrameState::Broken => Some(FreeRefusal::NotReleasable),
            FrameState::Hole => Some(FreeRefusal::Hole),
            FrameState::Free => Some(FreeRefusal::AlreadyFree),
            FrameState::Reserved => Some(FreeRefusal::Reserved),
            FrameState::Metadata => Some(FreeRefusal::Metadata),
        }
    }

    /// What becomes of a frame that is given back.
    #[must_use]
    pub const fn freed(self) -> FrameState {
        match self {
            FrameState::GivenOfflining | FrameState::Offlining => FrameState::Offlined,
            FrameState::BrokenOfflining => FrameState::Broken,
            _ => FrameState::Free,
        }
    }

    /// What becomes of a frame that is to be withdrawn, for good if `broken`; `None` if it cannot be.
    #[must_use]
    pub const fn withdrawn(self, broken: bool) -> Option<FrameState> {
        use FrameState::*;
        Some(match (self, broken) {
            (Free, false) => Offlined,
            (Free | Offlined, true) => Broken,
            (Given, false) => GivenOfflining,
            (InUse, false) => Offlining,
            (Given | InUse | GivenOfflining | Offlining, true) => BrokenOfflining,
            _ => return None,
        })
    }

    /// What becomes of a frame that is let back; `None` if it cannot be.
    #[must_use]
    pub const fn let_back(self) -> Option<FrameState> {
        match self {
            FrameState::GivenOfflining => Some(FrameState::Given),
            FrameState::Offlining => Some(FrameState::InUse),
            FrameState::Offlined => Some(FrameState::Free),
            _ => None,
        }
    }

    /// How strictly a frame in this state is kept from allocation; `None` if somebody has it, so
    /// that it can no longer be withheld. Of two who withhold a frame the stricter one wins,
    /// whoever came first: firmware maps come unsorted and overlapping.
    pub(crate) const fn strictness(self) -> Option<u8> {
        match self {
            FrameState::Given
            | FrameState::InUse
            | FrameState::Metadata
            | FrameState::GivenOfflining
            | FrameState::Offlining
            | FrameState::BrokenOfflining
            | FrameState::Offlined
            | FrameState::Broken => None,
            FrameState::Hole | FrameState::Free => Some(0),
            FrameState::Releasable => Some(1),
            FrameState::Reserved => Some(2),
            FrameState::Bad => Some(3),
        }
    }
}

impl fmt::Display for FrameState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameState::Hole => "not RAM",
            FrameState::Free => "free",
            FrameState::Given => "boot-allocated",
            FrameState::InUse => "in use",
            FrameState::Releasable => "reserved until released",
            FrameState::Reserved => "reserved",
            FrameState::Metadata => "metadata",
            FrameState::Bad => "bad",
            FrameState::GivenOfflining => "boot-allocated, offlining",
            FrameState::Offlining => "offlining",
            FrameState::BrokenOfflining => "broken, offlining",
            FrameState::Offlined => "offlined",
            FrameState::Broken => "broken",
        })
    }
}

/// The state of every frame of RAM, and how many frames are in each state.
///
/// The map holds the frames that are RAM and no others: a frame without an entry is a hole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct States {
    map: RangeMap<FrameState>,
    counts: [u64; FrameState::ALL.len()],
}

impl States {
    /// Puts every frame of `range` into `state`, wherever it was before.
    pub(crate) fn set(&mut self, range: FrameRange, state: FrameState) {
        for (run, old) in self.map.runs_in(range) {
            self.counts[old as usize] -= run.frames();
        }
        self.counts[state as usize] += range.frames();
        self.map.set(range, state);
    }

    /// All of `range` in pieces of one state, holes included.
    pub(crate) fn walk(
        &self,
        range: FrameRange,
    ) -> impl Iterator<Item = (FrameRange, FrameState)> + '_ {
        self.pieces(range).map(|(piece, state)| (piece, state.unwrap_or(FrameState::Hole)))
    }

    /// The free runs in `range`, each as long as it can be inside it.
    pub(crate) fn free_in(
        &self,
        range: FrameRange,
    ) -> impl DoubleEndedIterator<Item = FrameRange> + '_ {
        self.runs_in(range).filter(|&(_, state)| state == FrameState::Free).map(|(run, _)| run)
    }

    /// How many frames are in `state`, by the counter.
    pub(crate) fn count(&self, state: FrameState) -> u64 {
        self.counts[state as usize]
    }
}

/// Reading goes to the map; only [`States::set`] writes, so that the counters keep up.
impl Deref for States {
    type Target = RangeMap<FrameState>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}
