//! The ledger: for every frame number, what is there and what it is for.
//!
//! During boot it is the whole truth, and the boot allocator works on it. At hand-over everything
//! that is free moves into the index; the ledger stays, and answers for the frames that the heap
//! has not handed out: is this one boot-allocated, so that `free` takes it, or is it kernel text?
//! A bit in a plane could not tell. After hand-over only hot-added memory changes it.
//!
//! It is a step function over the frame numbers: a sorted list of places where the answer changes.
//! Every change is one operation, [`Ledger::set`], which a caller precedes by a check of the
//! whole range, so a refused call leaves no trace.

mod attr;
mod boot;
mod pages;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

pub(crate) use attr::{Attr, Kind};

use crate::addr::{FrameRange, Mfn};
use crate::platform::Platform;
use pages::{Link, Pages, Place, STEPS, Step};

/// Pages kept ready: a change inserts two steps at the most, and so does taking a frame for a
/// new page.
const SPARES: u32 = 4;

/// Places in each page that only the taking of a spare may use: without them, a page that is full
/// when there is no spare could not even note the frame that becomes the next one.
const SLACK: usize = 2;

/// The ledger. All calls happen under one lock, except through `&mut`.
pub(crate) struct Ledger {
    pages: Pages,
}

/// The ledger has no room for a change and no mapped free memory to grow in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

impl Ledger {
    pub(crate) const fn new() -> Self {
        Self { pages: Pages::new() }
    }

    /// What is known of `frame`, and how far from there on the same holds.
    pub(crate) fn at<P: Platform>(&self, platform: &P, frame: Mfn) -> (FrameRange, Attr) {
        let above = FrameRange::new(frame, Mfn::MAX).unwrap_or(FrameRange::EMPTY);
        self.pieces(platform, above).next().unwrap_or((FrameRange::single(frame), Attr::HOLE))
    }

    /// The pieces of `range`, in ascending order, each with what is known of all its frames.
    /// Neighbouring pieces differ.
    pub(crate) fn pieces<'a, P: Platform>(
        &'a self,
        platform: &'a P,
        range: FrameRange,
    ) -> Pieces<'a, P> {
        let place = if range.is_empty() {
            None
        } else {
            Some(self.pages.find(platform, range.start().get()).1)
        };
        Pieces { pages: &self.pages, platform, range, place }
    }

    /// Makes every frame of `range` what `change` makes of it.
    ///
    /// `change` sees each piece once and must not fail: callers check first. `Err` only if the
    /// ledger cannot grow, and then nothing has changed.
    pub(crate) fn set<P: Platform>(
        &mut self,
        platform: &P,
        mapped: FrameRange,
        range: FrameRange,
        change: impl Fn(Attr) -> Attr,
    ) -> Result<(), Full> {
        self.set_for_now(platform, range, change)?;
        // Not before the change, which would take a frame that the caller has just checked; and
        // what was freed just now may be what the next change needs to grow in.
        self.refill(platform, mapped);
        Ok(())
    }

    /// The same for a change that may have to be undone: takes no pages for growth, so that none
    /// lies in memory which goes away again.
    pub(crate) fn set_for_now<P: Platform>(
        &mut self,
        platform: &P,
        range: FrameRange,
        change: impl Fn(Attr) -> Attr,
    ) -> Result<(), Full> {
        if range.is_empty() { Ok(()) } else { self.set_within_room(platform, range, SLACK, change) }
    }

    fn set_within_room<P: Platform>(
        &mut self,
        platform: &P,
        range: FrameRange,
        slack: usize,
        change: impl Fn(Attr) -> Attr,
    ) -> Result<(), Full> {
        let (start, end) = (range.start().get(), range.end().get());
        if !self.has_room(platform, start, end, slack) {
            return Err(Full);
        }
        self.split_at(platform, start);
        self.split_at(platform, end);
        let (before, first) = self.pages.find(platform, start);
        let mut place = Some(first);
        while let Some(here) = place {
            match self.pages.get(platform, here) {
                Some(step) if step.start < end => {
                    self.pages.set_attr(platform, here, change(step.attr));
                }
                _ => break,
            }
            place = self.pages.next(platform, here);
        }
        self.coalesce(platform, before.unwrap_or(first), end);
        Ok(())
    }

    /// Makes everything in `range` that is free to the boot allocator the heap's. Inserts no step,
    /// and so cannot fail: `range` begins and ends where steps do.
    pub(crate) fn hand_over<P: Platform>(&mut self, platform: &P, range: FrameRange) {
        let (before, first) = self.pages.find(platform, range.start().get());
        let mut place = Some(first);
        while let Some(here) = place {
            match self.pages.get(platform, here) {
                Some(step) if step.start < range.end().get() => {
                    if step.attr.is_boot_free() {
                        self.pages.set_attr(platform, here, step.attr.with_kind(Kind::Heap));
                    }
                }
                _ => break,
            }
            place = self.pages.next(platform, here);
        }
        self.coalesce(platform, before.unwrap_or(first), range.end().get());
    }

    /// Whether there is room for the steps that a change of `[start, end)` inserts, so that `slack`
    /// places are left in each page that gets one.
    fn has_room<P: Platform>(&self, platform: &P, start: u64, end: u64, slack: usize) -> bool {
        // The page that a step at `frame` would go into, and whether one is needed.
        let need = |frame: u64| {
            let (_, place) = self.pages.find(platform, frame);
            let step = self.pages.get(platform, place);
            let is_there = frame >= Mfn::MAX.get() || step.is_some_and(|s| s.start == frame);
            (place.page, usize::from(!is_there))
        };
        let lacks =
            |page, steps| steps > 0 && self.pages.page(platform, page).room() < steps + slack;
        let ((first, at_start), (last, at_end)) = (need(start), need(end));
        // A page that lacks room is split, which takes one spare and makes room for many.
        let splits = if first == last {
            u32::from(lacks(first, at_start + at_end))
        } else {
            u32::from(lacks(first, at_start)) + u32::from(lacks(last, at_end))
        };
        splits <= self.pages.spares()
    }

    /// Begins a step at `frame` that says what held there before.
    fn split_at<P: Platform>(&mut self, platform: &P, frame: u64) {
        let (_, place) = self.pages.find(platform, frame);
        if let Some(step) = self.pages.get(platform, place)
            && step.start != frame
            && frame < Mfn::MAX.get()
        {
            self.pages.insert_after(platform, place, Step { start: frame, attr: step.attr });
        }
    }

    /// Removes the steps, from behind `place` to `end`, that say what the one before says.
    fn coalesce<P: Platform>(&mut self, platform: &P, place: Place, end: u64) {
        let mut place = place;
        while let Some(next) = self.pages.next(platform, place) {
            let (Some(here), Some(there)) =
                (self.pages.get(platform, place), self.pages.get(platform, next))
            else {
                return;
            };
            if there.start > end {
                return;
            }
            if here.attr == there.attr {
                self.pages.remove_after(platform, place);
            } else {
                place = next;
            }
        }
    }

    /// Keeps pages ready for growth, out of free mapped memory, once the inline page is half full.
    pub(crate) fn refill<P: Platform>(&mut self, platform: &P, mapped: FrameRange) {
        while self.pages.spares() < SPARES
            && (self.pages.inline_room() < STEPS / 2 || self.has_second_page(platform))
        {
            let Some(frame) = self.find_spare(platform, mapped) else { return };
            let own = |attr: Attr| attr.with_kind(Kind::Metadata);
            if self.set_within_room(platform, FrameRange::single(frame), 0, own).is_err() {
                return;
            }
            self.pages.add_spare(platform, frame);
        }
    }

    fn has_second_page<P: Platform>(&self, platform: &P) -> bool {
        self.pages.page(platform, Link::INLINE).next() != Link::NONE
    }

    /// A free mapped frame: one beside a frame that is metadata already, so that the ledger's own
    /// frames add no steps to the ledger; else the highest.
    fn find_spare<P: Platform>(&self, platform: &P, mapped: FrameRange) -> Option<Mfn> {
        let last = |free: FrameRange| Mfn::new(free.end().get().saturating_sub(1));
        let mut free = None;
        let mut before = Attr::HOLE;
        for (range, attr) in self.pieces(platform, mapped) {
            if attr.is_boot_free() {
                if before.is_ram() && before.kind() == Kind::Metadata {
                    return Some(range.start());
                }
                free = Some(range);
            } else if attr.kind() == Kind::Metadata && before.is_boot_free() {
                return free.map(last);
            }
            before = attr;
        }
        free.map(last)
    }
}

/// The pieces of a range; see [`Ledger::pieces`].
pub(crate) struct Pieces<'a, P> {
    pages: &'a Pages,
    platform: &'a P,
    range: FrameRange,
    place: Option<Place>,
}

impl<P: Platform> Iterator for Pieces<'_, P> {
    type Item = (FrameRange, Attr);

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.place?;
        let step = self.pages.get(self.platform, place)?;
        self.place = self.pages.next(self.platform, place);
        let end = match self.place.and_then(|next| self.pages.get(self.platform, next)) {
            Some(next) => next.start,
            None => Mfn::MAX.get(),
        };
        let piece = FrameRange::new(Mfn::new(step.start), Mfn::new(end))?.intersect(self.range);
        if end >= self.range.end().get() {
            self.place = None;
        }
        Some((piece, step.attr))
    }
}
