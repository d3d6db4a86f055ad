//! What is kept of one frame that is not like the others.

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

/// What keeps a frame from being freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
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
/// | 0-31 | kept for the owner |
/// | 36-38 | how far the frame is on its way out of use |
/// | 39-63 | references |
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(transparent)]
pub(crate) struct Record(pub(crate) u64);

impl Record {
    pub(crate) const NONE: Record = Record(0);

    const LEAVING_SHIFT: u32 = 36;
    const LEAVING: u64 = 0x7 << Self::LEAVING_SHIFT;
    const COUNT_SHIFT: u32 = 39;
    /// The most references that a frame can have.
    pub(crate) const MAX_COUNT: u32 = (u64::MAX >> Self::COUNT_SHIFT) as u32;

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
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
        self.leaving().is_some() && self.count() == 0
    }

    /// What keeps the frame from being freed.
    pub(crate) const fn kept(self) -> Option<Kept> {
        match self.leaving() {
            Some(Leaving::Offlined) => Some(Kept::Offlined),
            Some(Leaving::Broken) => Some(Kept::Broken),
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
        let record = Record(0xf_1234_5678).referenced().unwrap();
        for leaving in [None, Some(Leaving::Offlining), Some(Leaving::Broken)] {
            let next = record.with_leaving(leaving);
            assert_eq!((next.leaving(), next.count()), (leaving, 1));
            assert_eq!(next.0 & 0xf_ffff_ffff, 0xf_1234_5678);
            assert_eq!(next.referenced().unwrap().leaving(), leaving);
        }
    }
}
