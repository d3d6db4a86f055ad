//! Where the ledger's steps are kept: a chain of pages, the first inside [`Ledger`] itself.
//!
//! The chain grows by one frame at a time out of the memory that the ledger describes. It is never
//! copied as a whole and needs no two frames in a row, so however scattered the last free frames
//! are, one of them is enough to go on, and a change that makes the chain grow never frees the
//! storage it is reading.

use super::attr::Attr;
use crate::addr::Mfn;
use crate::platform::Platform;

/// From `start` up to the next step's start, every frame is `attr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Step {
    pub(super) start: u64,
    pub(super) attr: Attr,
}

/// Steps in a page.
pub(super) const STEPS: usize = 255;

/// One page of steps: exactly a frame.
#[repr(C)]
pub(super) struct Page {
    /// The next page of the chain.
    next: Link,
    /// How many steps are used.
    len: u64,
    steps: [Step; STEPS],
}

const _: () = assert!(size_of::<Page>() as u64 == crate::addr::FRAME_SIZE);

/// Names a page: the inline one, a frame, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Link(u64);

impl Link {
    pub(super) const NONE: Link = Link(u64::MAX);
    pub(super) const INLINE: Link = Link(u64::MAX - 1);

    const fn frame(frame: Mfn) -> Link {
        Link(frame.get())
    }

    /// The frame that the page lies in, if it lies in one.
    const fn as_frame(self) -> Option<Mfn> {
        if self.0 < Mfn::MAX.get() { Some(Mfn::new(self.0)) } else { None }
    }
}

impl Page {
    const fn empty() -> Self {
        Self { next: Link::NONE, len: 0, steps: [Step { start: 0, attr: Attr::HOLE }; STEPS] }
    }

    /// The steps in use.
    pub(super) fn used(&self) -> &[Step] {
        self.steps.get(..self.len as usize).unwrap_or(&self.steps)
    }

    fn used_mut(&mut self) -> &mut [Step] {
        let len = (self.len as usize).min(STEPS);
        match self.steps.get_mut(..len) {
            Some(steps) => steps,
            None => &mut [],
        }
    }

    pub(super) const fn next(&self) -> Link {
        self.next
    }

    /// Free places in this page.
    pub(super) const fn room(&self) -> usize {
        STEPS.saturating_sub(self.len as usize)
    }
}

/// The chain of pages, and pages kept ready for its growth.
pub(super) struct Pages {
    head: Page,
    spare: Link,
    spares: u32,
}

/// The place of a step: its page and its index there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) page: Link,
    pub(super) index: usize,
}

impl Pages {
    /// A chain of one step: everything is a hole.
    pub(super) const fn new() -> Self {
        let mut head = Page::empty();
        head.len = 1;
        Self { head, spare: Link::NONE, spares: 0 }
    }

    /// How many pages are ready for growth.
    pub(super) const fn spares(&self) -> u32 {
        self.spares
    }

    /// How many places the inline page has left.
    pub(super) const fn inline_room(&self) -> usize {
        self.head.room()
    }

    #[allow(unsafe_code)]
    pub(super) fn page<P: Platform>(&self, platform: &P, link: Link) -> &Page {
        match link.as_frame() {
            None => &self.head,
            // SAFETY: 1. The frame was passed to `add_spare`, whose caller says that it is mapped
            // and Bedframe's own; `frame_ptr` answers with an aligned address for it. 2. It was
            // written as a `Page` there and ever since, and any bytes are a valid `Page`. 3. Pages
            // of the chain are written only through `&mut self`.
            Some(frame) => unsafe { &*platform.frame_ptr(frame).cast::<Page>() },
        }
    }

    #[allow(unsafe_code)]
    fn page_mut<P: Platform>(&mut self, platform: &P, link: Link) -> &mut Page {
        match link.as_frame() {
            None => &mut self.head,
            // SAFETY: As in `page`; and `&mut self` makes this the only reference into the chain.
            Some(frame) => unsafe { &mut *platform.frame_ptr(frame).cast::<Page>() },
        }
    }

    /// Keeps `frame` for growth.
    ///
    /// The frame must be mapped, and Bedframe's own from now on.
    pub(super) fn add_spare<P: Platform>(&mut self, platform: &P, frame: Mfn) {
        let link = Link::frame(frame);
        let next = self.spare;
        let page = self.page_mut(platform, link);
        page.len = 0;
        page.next = next;
        self.spare = link;
        self.spares = self.spares.saturating_add(1);
    }

    fn take_spare<P: Platform>(&mut self, platform: &P) -> Option<Link> {
        let link = self.spare;
        if link == Link::NONE {
            return None;
        }
        self.spare = self.page(platform, link).next;
        self.spares = self.spares.saturating_sub(1);
        Some(link)
    }

    /// The step at `place`.
    pub(super) fn get<P: Platform>(&self, platform: &P, place: Place) -> Option<Step> {
        self.page(platform, place.page).used().get(place.index).copied()
    }

    /// Changes what the step at `place` says.
    pub(super) fn set_attr<P: Platform>(&mut self, platform: &P, place: Place, attr: Attr) {
        if let Some(step) = self.page_mut(platform, place.page).used_mut().get_mut(place.index) {
            step.attr = attr;
        }
    }

    /// The place behind `place`.
    pub(super) fn next<P: Platform>(&self, platform: &P, place: Place) -> Option<Place> {
        let page = self.page(platform, place.page);
        if place.index + 1 < page.used().len() {
            return Some(Place { page: place.page, index: place.index + 1 });
        }
        if page.next == Link::NONE { None } else { Some(Place { page: page.next, index: 0 }) }
    }

    /// The place of the step that `frame` lies in, and the place before it if there is one.
    pub(super) fn find<P: Platform>(&self, platform: &P, frame: u64) -> (Option<Place>, Place) {
        let mut link = Link::INLINE;
        let mut before = None;
        loop {
            let page = self.page(platform, link);
            let next = page.next;
            if next == Link::NONE {
                break;
            }
            match self.page(platform, next).used().first() {
                Some(step) if step.start <= frame => {
                    before = Some(Place { page: link, index: page.used().len().saturating_sub(1) });
                    link = next;
                }
                _ => break,
            }
        }
        let above = self.page(platform, link).used().partition_point(|step| step.start <= frame);
        let index = above.saturating_sub(1);
        if index > 0 {
            before = Some(Place { page: link, index: index - 1 });
        }
        (before, Place { page: link, index })
    }

    /// Puts `step` behind `place`; false, with nothing changed, if there is no room and no spare.
    pub(super) fn insert_after<P: Platform>(
        &mut self,
        platform: &P,
        place: Place,
        step: Step,
    ) -> bool {
        let mut link = place.page;
        let mut index = place.index + 1;
        if self.page(platform, link).room() == 0 {
            let Some(upper) = self.take_spare(platform) else { return false };
            self.split(platform, link, upper);
            let lower_len = self.page(platform, link).used().len();
            if index > lower_len {
                index -= lower_len;
                link = upper;
            }
        }
        let page = self.page_mut(platform, link);
        page.len += 1;
        let steps = page.used_mut();
        let last = steps.len().saturating_sub(1);
        if index <= last {
            steps.shift_up(index, last);
        }
        if let Some(free) = steps.get_mut(index) {
            *free = step;
        }
        true
    }

    /// Moves the upper half of page `lower` into the empty page `upper` and links it behind.
    fn split<P: Platform>(&mut self, platform: &P, lower: Link, upper: Link) {
        let next = self.page(platform, lower).next;
        let half = STEPS / 2;
        // One step at a time: a page is too large for a kernel's stack.
        for from in half..STEPS {
            let Some(step) = self.page(platform, lower).steps.get(from).copied() else { break };
            if let Some(to) = self.page_mut(platform, upper).steps.get_mut(from - half) {
                *to = step;
            }
        }
        let page = self.page_mut(platform, upper);
        page.len = (STEPS - half) as u64;
        page.next = next;
        let page = self.page_mut(platform, lower);
        page.len = half as u64;
        page.next = upper;
    }

    /// Removes the step behind `place`; its page, if that was the last step, becomes a spare.
    pub(super) fn remove_after<P: Platform>(&mut self, platform: &P, place: Place) {
        let Some(victim) = self.next(platform, place) else { return };
        let page = self.page_mut(platform, victim.page);
        let steps = page.used_mut();
        let keep = steps.len().saturating_sub(1);
        steps.shift_down(victim.index, keep);
        page.len = keep as u64;
        // The inline page keeps its first step, which no other comes before.
        if keep == 0
            && let Some(frame) = victim.page.as_frame()
        {
            let next = page.next;
            self.page_mut(platform, place.page).next = next;
            self.add_spare(platform, frame);
        }
    }
}

/// Shifts by one place that cannot panic, unlike `copy_within`.
trait Shift {
    /// Moves `[index, last)` one place up.
    fn shift_up(&mut self, index: usize, last: usize);
    /// Moves `(index, last]` one place down.
    fn shift_down(&mut self, index: usize, last: usize);
}

impl Shift for [Step] {
    fn shift_up(&mut self, index: usize, last: usize) {
        if let Some(part) = self.get_mut(index..=last)
            && !part.is_empty()
        {
            part.rotate_right(1);
        }
    }

    fn shift_down(&mut self, index: usize, last: usize) {
        if let Some(part) = self.get_mut(index..=last)
            && !part.is_empty()
        {
            part.rotate_left(1);
        }
    }
}
