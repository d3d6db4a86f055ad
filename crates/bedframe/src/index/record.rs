//! What is kept of one frame that is not like the others.

use crate::owners::{Accounting, DomainId};
use crate::state::PageState;

/// How far a frame is on its way out of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaving {
    /// To be withdrawn when it is freed.
    Offlining,
    /// The same, for good.
    BrokenOfflining,
    /// Withdrawn.
    Offlined,
    /// Withdrawn for good.
    Broken,
}

impl Leaving {
    /// What the frame is.
    pub(crate) const fn state(self) -> PageState {
        match self {
            Leaving::Offlining => PageState::Offlining,
            Leaving::BrokenOfflining => PageState::BrokenOfflining,
            Leaving::Offlined => PageState::Offlined,
            Leaving::Broken => PageState::Broken,
        }
    }
}

/// What keeps a frame from being freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// It has an owner.
    Owned,
    /// It has references.
    Referenced,
    /// It is withdrawn.
    Offlined,
    /// It is withdrawn for good.
    Broken,
}

/// The record of a frame, in one word, so that all of it changes in one step. Zero says that there is
/// nothing to say.
///
/// | bits | meaning |
/// |---|---|
/// | 0-31 | the owner, if it is owned |
/// | 32 | owned. Owner and references are one word, so an owner is visible before a count that is his |
/// | 33 | extra: it does not count against the owner's quota |
/// | 34 | lent by the Xen heap: it goes back there, and not to the free frames |
/// | 35 | dropped: its owner has given it up, and references keep it |
/// | 36-38 | how far the frame is on its way out of use |
/// | 39-63 | references |
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(transparent)]
pub(crate) struct Record(pub(crate) u64);

impl Record {
    pub(crate) const NONE: Record = Record(0);

    const OWNED: u64 = 1 << 32;
    const EXTRA: u64 = 1 << 33;
    const LENT: u64 = 1 << 34;
    const DROPPED: u64 = 1 << 35;
    /// All that is said of the owner.
    const OWNER: u64 = (1 << 36) - 1;
    const LEAVING_SHIFT: u32 = 36;
    const LEAVING: u64 = 0x7 << Self::LEAVING_SHIFT;
    const COUNT_SHIFT: u32 = 39;
    /// The most references that a frame can have.
    pub(crate) const MAX_COUNT: u32 = (u64::MAX >> Self::COUNT_SHIFT) as u32;

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The same record, the frame being `owner`'s from now on. All else is as it is.
    pub(crate) const fn with_owner(self, owner: DomainId, accounting: Accounting) -> Record {
        let extra = match accounting {
            Accounting::Counted => 0,
            Accounting::Extra => Self::EXTRA,
        };
        Record(self.0 & !Self::OWNER | owner.0 as u64 | Self::OWNED | extra)
    }

    /// The same record, the frame being lent to `owner` from now on.
    pub(crate) const fn lent_to(self, owner: DomainId) -> Record {
        Record(self.0 & !Self::OWNER | owner.0 as u64 | Self::OWNED | Self::LENT)
    }

    /// The same record, the frame being nobody's.
    pub(crate) const fn without_owner(self) -> Record {
        Record(self.0 & !Self::OWNER)
    }

    /// The same record, the owner having given the frame up.
    pub(crate) const fn dropped(self) -> Record {
        Record(self.0 | Self::DROPPED)
    }

    pub(crate) const fn owner(self) -> Option<DomainId> {
        if self.0 & Self::OWNED != 0 { Some(DomainId(self.0 as u32)) } else { None }
    }

    pub(crate) const fn accounting(self) -> Accounting {
        if self.0 & Self::EXTRA != 0 { Accounting::Extra } else { Accounting::Counted }
    }

    pub(crate) const fn is_lent(self) -> bool {
        self.0 & Self::LENT != 0
    }

    pub(crate) const fn is_dropped(self) -> bool {
        self.0 & Self::DROPPED != 0
    }

    /// References.
    pub(crate) const fn count(self) -> u32 {
        (self.0 >> Self::COUNT_SHIFT) as u32
    }

    /// One reference more; `None` if there is no room for it.
    pub(crate) const fn referenced(self) -> Option<Record> {
        if self.count() == Self::MAX_COUNT {
            return None;
        }
        Some(Record(self.0 + (1 << Self::COUNT_SHIFT)))
    }

    /// One reference less; `None` if there is none.
    pub(crate) const fn unreferenced(self) -> Option<Record> {
        if self.count() == 0 { None } else { Some(Record(self.0 - (1 << Self::COUNT_SHIFT))) }
    }

    pub(crate) const fn leaving(self) -> Option<Leaving> {
        match (self.0 & Self::LEAVING) >> Self::LEAVING_SHIFT {
            1 => Some(Leaving::Offlining),
            2 => Some(Leaving::BrokenOfflining),
            3 => Some(Leaving::Offlined),
            4 => Some(Leaving::Broken),
            _ => None,
        }
    }

    /// The same record, all else as it is.
    pub(crate) const fn with_leaving(self, leaving: Option<Leaving>) -> Record {
        let bits = match leaving {
            None => 0,
            Some(Leaving::Offlining) => 1,
            Some(Leaving::BrokenOfflining) => 2,
            Some(Leaving::Offlined) => 3,
            Some(Leaving::Broken) => 4,
        };
        Record(self.0 & !Self::LEAVING | bits << Self::LEAVING_SHIFT)
    }

    /// What the record of a frame that is to be withdrawn when it is freed becomes then; `None` for
    /// any other, and for one that cannot be freed.
    pub(crate) const fn withdrawn(self) -> Option<Record> {
        match self.leaving() {
            _ if self.kept().is_some() => None,
            Some(Leaving::Offlining) => Some(self.with_leaving(Some(Leaving::Offlined))),
            Some(Leaving::BrokenOfflining) => Some(self.with_leaving(Some(Leaving::Broken))),
            _ => None,
        }
    }

    /// Whether the frame is withdrawn.
    pub(crate) const fn withdrawal_is_done(self) -> bool {
        matches!(self.leaving(), Some(Leaving::Offlined | Leaving::Broken))
    }

    /// Whether who has just taken the frame may not have it. A reference that came meanwhile stays with
    /// it.
    pub(crate) const fn forbids_taking(self) -> bool {
        self.owner().is_some() || self.leaving().is_some() && self.count() == 0
    }

    /// What keeps the frame from being freed.
    pub(crate) const fn kept(self) -> Option<Kept> {
        match self.leaving() {
            Some(Leaving::Offlined) => Some(Kept::Offlined),
            Some(Leaving::Broken) => Some(Kept::Broken),
            _ if self.owner().is_some() => Some(Kept::Owned),
            _ if self.count() > 0 => Some(Kept::Referenced),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_end_at_both_ends() {
        let one = Record::NONE.referenced().unwrap();
        assert_eq!((one.count(), one.unreferenced()), (1, Some(Record::NONE)));
        assert_eq!(Record::NONE.unreferenced(), None);
        let most = Record(!Record::LEAVING);
        assert_eq!((most.count(), most.referenced()), (Record::MAX_COUNT, None));
    }

    #[test]
    fn a_step_changes_nothing_beside_it() {
        let record = Record::NONE.with_owner(DomainId(u32::MAX), Accounting::Extra);
        let record = record.referenced().unwrap().with_leaving(Some(Leaving::Offlining));
        assert_eq!(record.dropped().without_owner().owner(), None);
        assert_eq!(record.without_owner().kept(), Some(Kept::Referenced));
        let lent = record.lent_to(DomainId(7));
        assert_eq!((lent.owner(), lent.count()), (Some(DomainId(7)), 1));
        assert_eq!((lent.leaving(), lent.is_lent()), (record.leaving(), true));
        assert_eq!(lent.accounting(), Accounting::Counted);
        let record = Record(0xf_1234_5678).referenced().unwrap();
        for leaving in [None, Some(Leaving::Offlining), Some(Leaving::Broken)] {
            let next = record.with_leaving(leaving);
            assert_eq!((next.leaving(), next.count()), (leaving, 1));
            assert_eq!(next.0 & 0xf_ffff_ffff, 0xf_1234_5678);
            assert_eq!(next.referenced().unwrap().leaving(), leaving);
        }
    }

    /// What each step of leaving, with an owner, with references and without, forbids and becomes.
    #[test]
    fn owners_references_and_leaving_forbid_what_they_must() {
        use Leaving::*;
        let owned = Record::NONE.with_owner(DomainId(3), Accounting::Counted);
        let referenced = Record::NONE.referenced().unwrap();
        let both = owned.referenced().unwrap();
        for (record, kept) in [
            (Record::NONE, None),
            (owned, Some(Kept::Owned)),
            (referenced, Some(Kept::Referenced)),
            (both, Some(Kept::Owned)),
        ] {
            assert_eq!((record.kept(), record.withdrawn()), (kept, None));
            assert_eq!(record.forbids_taking(), record.owner().is_some());
            for (leaving, done, out) in [
                (Offlining, None, Some(Offlined)),
                (BrokenOfflining, None, Some(Broken)),
                (Offlined, Some(Kept::Offlined), None),
                (Broken, Some(Kept::Broken), None),
            ] {
                let leaves = record.with_leaving(Some(leaving));
                assert_eq!(leaves.kept(), done.or(kept), "{leaving:?}");
                assert_eq!(leaves.withdrawal_is_done(), done.is_some(), "{leaving:?}");
                let next = leaves.withdrawn().and_then(Record::leaving);
                assert_eq!(next, if kept.is_none() { out } else { None }, "{leaving:?}");
                let forbids = record.owner().is_some() || record.count() == 0;
                assert_eq!(leaves.forbids_taking(), forbids, "{leaving:?} {record:?}");
            }
        }
        assert!(!Record::NONE.withdrawal_is_done());
    }

    /// A frame changes hands as a whole: nothing of the last owner's accounting stays.
    #[test]
    fn a_new_owner_inherits_nothing() {
        let old = Record::NONE.lent_to(DomainId(u32::MAX)).dropped().referenced().unwrap();
        assert!(old.is_lent() && old.is_dropped() && !old.is_none());
        assert_eq!(old.dropped(), old, "once is enough");
        let new = old.with_owner(DomainId(1), Accounting::Counted);
        assert_eq!(new, Record(1 << 32 | 1 << 39 | 1));
        assert!(!new.is_lent() && !new.is_dropped());
        let extra = old.with_owner(DomainId(1), Accounting::Extra);
        assert_eq!(
            (extra.accounting(), new.accounting()),
            (Accounting::Extra, Accounting::Counted)
        );
        assert_eq!(extra.dropped().lent_to(DomainId(2)), Record(1 << 34 | 1 << 32 | 1 << 39 | 2));
        assert!(extra.without_owner().unreferenced().unwrap().is_none());
    }
}
