//! What was handed out and to whom, kept in the plainest way.

use std::collections::BTreeMap;

use bedframe::{DomainId, FrameRange, Mfn};

use crate::model::draw::Draw;

/// As what a domain has frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    pub(crate) domain: DomainId,
    pub(crate) lent: bool,
}

/// Frames that were handed out together, or a part of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) range: FrameRange,
    pub(crate) owner: Option<Owner>,
}

/// References to a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referred {
    pub(crate) count: u32,
    /// Its owner has dropped it: it lives by its references alone.
    pub(crate) dropped: Option<Owner>,
}

/// Everything that is in use.
#[derive(Default, Debug)]
pub(crate) struct Ledger {
    /// What nobody works on at the moment.
    held: Vec<Held>,
    /// What a call works on that will not free it.
    busy: Vec<FrameRange>,
    pub(crate) referred: BTreeMap<Mfn, Referred>,
    /// What the holders of some frames wrote to them.
    pub(crate) tags: BTreeMap<Mfn, u64>,
}

impl Ledger {
    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    /// What is held and nobody's, in ascending order.
    pub(crate) fn nobodys(&self) -> Vec<FrameRange> {
        let nobodys = self.held.iter().filter(|held| held.owner.is_none());
        let mut ranges: Vec<_> = nobodys.map(|held| held.range).collect();
        ranges.sort_by_key(|range| range.start());
        ranges
    }

    /// Frames in use, those included that live by references alone.
    pub(crate) fn frames(&self) -> u64 {
        let dropped = self.referred.values().filter(|one| one.dropped.is_some()).count();
        self.held.iter().map(|held| held.range.frames()).sum::<u64>() + dropped as u64
    }

    /// The same of one domain.
    pub(crate) fn frames_of(&self, domain: DomainId) -> u64 {
        let is = |owner: Option<Owner>| owner.is_some_and(|owner| owner.domain == domain);
        let dropped = self.referred.values().filter(|one| is(one.dropped)).count();
        let held = self.held.iter().filter(|held| is(held.owner));
        held.map(|held| held.range.frames()).sum::<u64>() + dropped as u64
    }

    /// These were handed out: nobody else has any of them.
    #[track_caller]
    pub(crate) fn put(&mut self, held: Held) {
        let others = self.held.iter().map(|held| held.range).chain(self.busy.iter().copied());
        let dropped = self.referred.iter().filter(|(_, one)| one.dropped.is_some());
        for other in others.chain(dropped.map(|(frame, _)| FrameRange::single(*frame))) {
            let both = other.intersect(held.range);
            assert!(both.is_empty(), "{both} of {} is somebody's already", held.range);
        }
        if !held.range.is_empty() {
            self.held.push(held);
        }
    }

    /// A part of something that `which` chooses, or all of it, of at most `most` frames: it is not held
    /// any more.
    pub(crate) fn take(
        &mut self,
        draw: &mut dyn Draw,
        most: u64,
        which: impl Fn(&Held) -> bool,
    ) -> Option<Held> {
        let count = self.held.iter().filter(|held| which(held)).count();
        let chosen = draw.below(count as u64) as usize;
        let held = *self.held.iter().filter(|held| which(held)).nth(chosen)?;
        let frames = held.range.frames();
        let (skip, take) = match draw.below(3) {
            0 => (0, frames),
            1 => (0, 1 + draw.below(frames)),
            _ => {
                let skip = draw.below(frames);
                (skip, 1 + draw.below(frames - skip))
            }
        };
        let start = held.range.start().saturating_add(skip);
        let part = FrameRange::from_len(start, take.min(most)).expect("a part of a range");
        self.remove(part);
        Some(Held { range: part, owner: held.owner })
    }

    /// Frames of nobody's that lie in a row, over what was handed out at several times.
    pub(crate) fn take_union(&mut self, draw: &mut dyn Draw) -> Option<Held> {
        self.held.sort_by_key(|held| held.range.start());
        let free: Vec<_> = self.held.iter().filter(|held| held.owner.is_none()).collect();
        let at = draw.below(free.len() as u64) as usize;
        let mut union = free.get(at)?.range;
        for next in &free[at + 1..] {
            if next.range.start() != union.end() {
                break;
            }
            union = FrameRange::new(union.start(), next.range.end()).expect("a range");
        }
        self.remove(union);
        Some(Held { range: union, owner: None })
    }

    /// This frame, if it is held.
    pub(crate) fn take_frame(&mut self, frame: Mfn) -> Option<Held> {
        let owner = self.held.iter().find(|held| held.range.contains(frame))?.owner;
        let range = FrameRange::single(frame);
        self.remove(range);
        Some(Held { range, owner })
    }

    /// Everything that a domain has.
    pub(crate) fn take_domain(&mut self, domain: DomainId) -> Vec<Held> {
        let is = |held: &Held| held.owner.is_some_and(|owner| owner.domain == domain);
        let (gone, left) = std::mem::take(&mut self.held).into_iter().partition(is);
        self.held = left;
        gone
    }

    /// None of these is held any more.
    fn remove(&mut self, range: FrameRange) {
        for held in std::mem::take(&mut self.held) {
            let below = FrameRange::new(held.range.start(), held.range.end().min(range.start()));
            let above = FrameRange::new(held.range.start().max(range.end()), held.range.end());
            let left = [below, above].into_iter().flatten().filter(|left| !left.is_empty());
            self.held.extend(left.map(|range| Held { range, owner: held.owner }));
        }
        let ends = range.start()..range.end();
        let tagged: Vec<_> = self.tags.range(ends).map(|(frame, _)| *frame).collect();
        for frame in tagged {
            self.tags.remove(&frame);
        }
    }

    /// Frees frames of nobody's, if all of `range` is, and nobody refers to it; else the first frame
    /// that is not.
    pub(crate) fn free(&mut self, range: FrameRange) -> Result<(), Mfn> {
        let mut free: Vec<_> =
            self.held.iter().filter(|held| held.owner.is_none()).map(|held| held.range).collect();
        free.sort_by_key(|range| range.start());
        let mut at = range.start();
        for held in free {
            if held.contains(at) {
                at = held.end().min(range.end());
            }
        }
        let referred = self.referred_in(range).first().map(|(frame, _)| *frame);
        let first = referred.map_or(at, |frame| frame.min(at));
        if first < range.end() {
            return Err(first);
        }
        self.remove(range);
        Ok(())
    }

    /// The frames of `range` that have references.
    pub(crate) fn referred_in(&self, range: FrameRange) -> Vec<(Mfn, Referred)> {
        let ends = range.start()..range.end();
        self.referred.range(ends).map(|(frame, one)| (*frame, *one)).collect()
    }

    /// A call begins to work on frames that stay in use.
    pub(crate) fn begin(&mut self, range: FrameRange) {
        self.busy.push(range);
    }

    /// It has done so.
    pub(crate) fn end(&mut self, range: FrameRange) {
        let at = self.busy.iter().rposition(|busy| *busy == range).expect("it was begun");
        self.busy.swap_remove(at);
    }

    /// Whether a call works on this frame.
    pub(crate) fn is_busy(&self, frame: Mfn) -> bool {
        self.busy.iter().any(|busy| busy.contains(frame))
    }

    /// Whether anything in `range` is in use.
    pub(crate) fn overlaps(&self, range: FrameRange) -> bool {
        self.held.iter().any(|held| !held.range.intersect(range).is_empty())
    }
}
