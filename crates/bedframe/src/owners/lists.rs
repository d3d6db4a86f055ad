//! The lists of what a domain has: linked through the records of frames and chunks, and guarded by the
//! domain's lock.
//!
//! What is new comes first. A walk that stands at what is taken out goes on behind it.

use super::record::{Domain, Link, List};
use super::units::Unit;
use crate::addr::{FrameRange, Mfn};
use crate::heap::Heap;
use crate::index::{CHUNK_FRAMES, Links};
use crate::platform::Platform;
use crate::sync::Ordering;

/// A domain's lists.
pub(super) struct Lists<'l, 'a, P: Platform> {
    pub(super) domain: &'l Domain<'a, P>,
    pub(super) heap: &'l Heap<'a, P>,
}

impl<'a, P: Platform> Lists<'_, 'a, P> {
    /// The links of `frame` in `list`.
    fn links(&self, list: List, frame: Mfn) -> Option<Links<'a>> {
        let piece = self.heap.piece(frame.get(), frame.get().saturating_add(1))?;
        let records = self.heap.chunk_of(&piece)?.records?;
        match list {
            List::Chunks => Some(records.chunk_links()),
            List::Frames | List::Dropped => records.links(piece.span.first),
        }
    }

    /// The same; most of the time in the chunk at hand.
    fn links_near(&self, list: List, frame: Mfn, unit: &Unit<'a>) -> Option<Links<'a>> {
        if list == List::Chunks {
            return self.links(list, frame);
        }
        unit.links(frame).or_else(|| self.links(list, frame))
    }

    /// What comes behind `frame`.
    pub(super) fn next(&self, list: List, frame: Mfn) -> Link {
        let links = self.links(list, frame);
        links.map_or(Link::NONE, |links| Link(links.next.load(Ordering::Relaxed)))
    }

    /// What comes before `frame`, and whether its chunk is listed as a whole.
    pub(super) fn place(&self, list: List, frame: Mfn) -> Option<(Link, bool)> {
        let before = Link(self.links(list, frame)?.before.load(Ordering::Relaxed));
        let piece = self.heap.piece(frame.get(), frame.get().saturating_add(1))?;
        Some((before, self.heap.chunk_of(&piece)?.records?.is_listed()))
    }

    /// Puts the frames of a run, which lie in the unit's chunk, before all others; or the chunk, which
    /// begins there.
    pub(super) fn push(&self, list: List, run: FrameRange, unit: &Unit<'a>) {
        let behind = self.domain.head(list);
        let mut before = Link::NONE;
        let members = if list == List::Chunks { 1 } else { run.frames() };
        let mut members = run.iter().take(members as usize).peekable();
        while let Some(frame) = members.next() {
            let next = members.peek().map_or(behind, |next| Link::to(*next));
            if let Some(links) = self.links_near(list, frame, unit) {
                links.next.store(next.0, Ordering::Relaxed);
                links.before.store(before.0, Ordering::Relaxed);
            }
            before = Link::to(frame);
        }
        if before == Link::NONE {
            return;
        }
        if let Some(links) = behind.frame().and_then(|frame| self.links_near(list, frame, unit)) {
            links.before.store(before.0, Ordering::Relaxed);
        }
        self.domain.set_head(list, Link::to(run.start()));
    }

    /// Takes a frame of the unit out, or its chunk by the first frame.
    pub(super) fn unlink(&self, list: List, frame: Mfn, unit: &Unit<'a>) {
        let Some(links) = self.links_near(list, frame, unit) else { return };
        let next = Link(links.next.load(Ordering::Relaxed));
        let before = Link(links.before.load(Ordering::Relaxed));
        match before.frame().and_then(|frame| self.links_near(list, frame, unit)) {
            Some(links) => links.next.store(next.0, Ordering::Relaxed),
            None => self.domain.set_head(list, next),
        }
        if let Some(links) = next.frame().and_then(|frame| self.links_near(list, frame, unit)) {
            links.before.store(before.0, Ordering::Relaxed);
        }
        if self.domain.walk() == (list, Link::to(frame)) {
            self.domain.set_walk(list, next);
        }
    }

    /// Lists the frames of the unit's chunk one by one, if that is listed as a whole.
    pub(super) fn unlist(&self, unit: &Unit<'a>) {
        let first = unit.chunk_start();
        if let Some(records) = unit.chunk.records.filter(|records| records.is_listed())
            && let Some(run) = FrameRange::from_len(first, CHUNK_FRAMES)
        {
            self.unlink(List::Chunks, first, unit);
            records.set_listed(false);
            self.push(List::Frames, run, unit);
        }
    }

    /// Lists the unit's chunk as a whole.
    pub(super) fn list(&self, unit: &Unit<'a>) {
        if let Some(records) = unit.chunk.records {
            records.set_listed(true);
            self.push(List::Chunks, FrameRange::single(unit.chunk_start()), unit);
        }
    }
}
