//! The page states and how one becomes another.

use core::fmt;

/// What a frame is. [`PageState::Uninitialised`] is the default: RAM that the heap has not handed
/// out is in no way like a frame in use, so a boot frame may be freed at any time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PageState {
    /// Not RAM: a hole in the map.
    Absent,
    /// RAM that is never handed out, unless it is releasable and [`release`](crate::Memory::release)d.
    Reserved,
    /// RAM that holds Bedframe's own data.
    Metadata,
    /// RAM that the heap has not handed out: boot-allocated, or on its way in after a late release.
    #[default]
    Uninitialised,
    /// In the index: can be allocated.
    Free,
    /// Handed out by the heap.
    InUse,
    /// To be withdrawn when it is freed; may still be called back.
    Offlining,
    /// To be withdrawn for good when it is freed.
    BrokenOfflining,
    /// Withdrawn; may come back.
    Offlined,
    /// Withdrawn for good.
    Broken,
}

impl PageState {
    /// Every state, in the order of the design's table.
    pub const ALL: [PageState; 10] = [
        PageState::Absent,
        PageState::Reserved,
        PageState::Metadata,
        PageState::Uninitialised,
        PageState::Free,
        PageState::InUse,
        PageState::Offlining,
        PageState::BrokenOfflining,
        PageState::Offlined,
        PageState::Broken,
    ];

    /// Whether a frame in this state may go to `next` in one step. A step is one atomic change of
    /// the state alone; everything else that is known of the frame stays.
    ///
    /// ```
    /// use bedframe::PageState::*;
    /// assert!(Uninitialised.may_become(Free)); // a boot frame freed, at whatever time
    /// assert!(!Broken.may_become(Free)); // nothing mends a broken frame
    /// ```
    #[must_use]
    pub const fn may_become(self, next: PageState) -> bool {
        use PageState::*;
        matches!(
            (self, next),
            (Reserved, Uninitialised)
                | (Uninitialised, Free | InUse | Offlining)
                | (Free, InUse | Offlined | Broken)
                | (InUse, Free | Offlining | BrokenOfflining)
                | (Offlining, Offlined | InUse | Uninitialised)
                | (BrokenOfflining, Broken)
                | (Offlined, Free | Broken)
        )
    }
}

impl fmt::Display for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PageState::Absent => "absent (a hole in the memory map)",
            PageState::Reserved => "reserved",
            PageState::Metadata => "metadata",
            PageState::Uninitialised => "uninitialised (boot memory)",
            PageState::Free => "free",
            PageState::InUse => "in use",
            PageState::Offlining => "offlining",
            PageState::BrokenOfflining => "broken, offlining",
            PageState::Offlined => "offlined",
            PageState::Broken => "broken",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::PageState::{self, *};

    #[test]
    fn the_default_is_uninitialised() {
        assert_eq!(PageState::default(), Uninitialised);
    }

    /// The table of the design, spelled out once more from the other side: what each state may
    /// come from.
    #[test]
    fn transitions_are_those_of_the_table() {
        let into = |next: PageState| -> Vec<PageState> {
            PageState::ALL.into_iter().filter(|s| s.may_become(next)).collect()
        };
        assert_eq!(into(Absent), []);
        assert_eq!(into(Reserved), []);
        assert_eq!(into(Metadata), []);
        assert_eq!(into(Uninitialised), [Reserved, Offlining]);
        assert_eq!(into(Free), [Uninitialised, InUse, Offlined]);
        assert_eq!(into(InUse), [Uninitialised, Free, Offlining]);
        assert_eq!(into(Offlining), [Uninitialised, InUse]);
        assert_eq!(into(BrokenOfflining), [InUse]);
        assert_eq!(into(Offlined), [Free, Offlining]);
        assert_eq!(into(Broken), [Free, BrokenOfflining, Offlined]);
    }
}
