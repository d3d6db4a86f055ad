//! How a mapping is taken away.
//!
//! 1. Under the lock it becomes busy: from here on it is this call's, and so are its pages.
//! 2. Its pages are retired, the CPUs are flushed once, and then its frames go, last page first.
//! 3. Page tables that cover nothing but its own pages are taken out: nobody else has a way there.
//! 4. Under the lock it leaves the books, and with it the tables at its two edges that no other
//!    mapping reaches into. Being one step, that cannot leave a table behind that each of two
//!    neighbours believed to be the other's; and who comes after finds either the table or its
//!    absence, since whoever enters pages has noted them in the books before.
//! 5. The CPUs are flushed for what was taken out, and then the tables' frames go. Until then
//!    `unflushed` says to whoever takes the same pages that he has to flush them himself: a CPU
//!    may still look for his pages where the old table was.

use super::Vmap;
use super::error::VmapError;
use super::pages::{VirtualPage, VirtualRange};
use super::tables::{Flush, MAX_LEVELS, PageTables};
use super::tree::State;
use crate::addr::Mfn;
use crate::error::{FreeError, FreeRefusal};
use crate::memory::RangeKind;
use crate::platform::Platform;
use crate::state::PageState;

/// Tables that are flushed together.
const BATCH: usize = 32;

impl<P: Platform, T: PageTables<P>> Vmap<'_, P, T> {
    /// Takes a whole mapping away. When no CPU can access it any more, `each` is told of its pages
    /// and their frames, last page first. The frames are their owner's, as they were.
    ///
    /// # Errors
    ///
    /// [`VmapError`] says why the range is no whole mapping. Nothing has changed then.
    pub fn unmap(
        &self,
        range: VirtualRange,
        mut each: impl FnMut(VirtualPage, Mfn),
    ) -> Result<(), VmapError> {
        self.begin(range)?;
        self.withdraw(range, |page, frame| {
            each(page, frame);
            Ok(())
        })?;
        self.remove(range);
        Ok(())
    }

    /// Takes a whole mapping away and frees its frames, whatever stage they come from and whoever
    /// mapped them: by [`Memory::free`](crate::Memory::free), when no CPU can access them any more.
    ///
    /// # Errors
    ///
    /// All frames are looked at first, and if one is not to be freed nothing has changed; the
    /// platform's [misuse hook](Platform::misuse) is told as by `free` itself. Only
    /// [`VmapError::NotFreed`] comes later.
    pub fn free(&self, range: VirtualRange) -> Result<(), VmapError> {
        let before = self.begin(range)?;
        if let Err(error) = self.check_frames(range) {
            self.set_state(range, before);
            return Err(error);
        }
        self.withdraw(range, |_, frame| self.free_frame(frame))?;
        self.remove(range);
        Ok(())
    }

    /// Takes away what a call had made of its own mapping, so many pages, that could not be
    /// finished. The rest of the range is not touched: a page may be somebody else's.
    pub(super) fn undo(
        &self,
        range: VirtualRange,
        mapped: u64,
        each: impl Fn(Mfn) -> Result<(), FreeError>,
    ) {
        let start = range.start().get();
        let done = VirtualRange::between(start, start + mapped);
        // If even that is refused the range keeps what is left, and can be freed later.
        if self.withdraw(done, |_, frame| each(frame)).is_ok() {
            self.remove(range);
        }
    }

    /// Makes a whole mapping this call's. Returns what it was before.
    fn begin(&self, range: VirtualRange) -> Result<State, VmapError> {
        let platform = self.memory.platform();
        let mut books = self.lock();
        let leaf = books.tree.at_or_below(platform, range.start().get());
        let mapping = leaf.range();
        if !mapping.contains(range.start()) {
            return Err(VmapError::NotMapped { page: range.start() });
        }
        if mapping != range {
            return Err(VmapError::NotWhole { mapping });
        }
        if leaf.state == State::Busy {
            return Err(VmapError::Busy { mapping });
        }
        books.tree.set_state(platform, leaf.start, State::Busy);
        Ok(leaf.state)
    }

    fn set_state(&self, range: VirtualRange, state: State) {
        let mut books = self.lock();
        books.tree.set_state(self.memory.platform(), range.start().get(), state);
    }

    /// Whether all frames of a mapping could be freed.
    fn check_frames(&self, range: VirtualRange) -> Result<(), VmapError> {
        for page in range.iter() {
            if let Some(frame) = self.tables.frame(self.memory, page)
                && let Some(why) = self.refusal(frame)
            {
                let error = FreeError { frame, why, committed: 0 };
                if !error.waiting_can_help() {
                    self.memory.platform().misuse(&error);
                }
                return Err(VmapError::NotFreeable { page, error });
            }
        }
        Ok(())
    }

    fn refusal(&self, frame: Mfn) -> Option<FreeRefusal> {
        if self.memory.owner(frame).is_some() {
            return Some(FreeRefusal::Owned);
        }
        match self.memory.state(frame) {
            PageState::InUse | PageState::Uninitialised if self.memory.references(frame) > 0 => {
                Some(FreeRefusal::Referenced)
            }
            PageState::InUse | PageState::Uninitialised => None,
            // These may be freed, whatever becomes of them then.
            PageState::Offlining | PageState::BrokenOfflining => None,
            PageState::Free => Some(FreeRefusal::AlreadyFree),
            PageState::Absent => Some(FreeRefusal::Hole),
            PageState::Metadata => Some(FreeRefusal::Metadata),
            PageState::Offlined => Some(FreeRefusal::Offlined),
            PageState::Broken => Some(FreeRefusal::Bad),
            PageState::Reserved => match self.memory.range_at(frame).1 {
                RangeKind::Releasable => Some(FreeRefusal::Releasable),
                _ => Some(FreeRefusal::Reserved),
            },
        }
    }

    /// Makes pages of a mapping that is this call's absent, and hands their frames to `each`. If
    /// `each` refuses one the mapping keeps it and those before it.
    pub(super) fn withdraw(
        &self,
        pages: VirtualRange,
        mut each: impl FnMut(VirtualPage, Mfn) -> Result<(), FreeError>,
    ) -> Result<(), VmapError> {
        for page in pages.iter() {
            self.tables.retire(self.memory, page);
        }
        self.tables.flush(self.memory, pages, Flush::Retired);
        for page in pages.iter().rev() {
            let Some(frame) = self.tables.frame(self.memory, page) else { continue };
            if let Err(error) = each(page, frame) {
                self.set_state(pages, State::Left);
                return Err(VmapError::NotFreed { page, error });
            }
            self.tables.clear(self.memory, page);
        }
        Ok(())
    }

    /// Takes a mapping without pages out of the books, and gives back all that only it needed.
    fn remove(&self, range: VirtualRange) {
        self.take_inner_tables(range);
        let platform = self.memory.platform();
        let mut tables = [None; 2 * MAX_LEVELS];
        let mut books = self.lock();
        let near = self.neighbours(&books.tree, range);
        let mut places = tables.iter_mut();
        for (level, shift) in self.tables.spans().iter().enumerate().take(MAX_LEVELS) {
            let last = range.end().get().saturating_sub(1);
            for page in [range.start().get(), last] {
                let alone = span(page, *shift).is_some_and(|(start, end)| {
                    near.start().get() <= start && end <= near.end().get()
                });
                if alone && let Some(place) = places.next() {
                    *place = self.tables.take_table(self.memory, level, VirtualPage::new(page));
                }
            }
        }
        let nodes = books.tree.remove(platform, range.start().get());
        let unlinked = tables.iter().any(Option::is_some);
        if unlinked {
            books.unflushed += 1;
        }
        drop(books);
        if unlinked {
            self.tables.flush(self.memory, range, Flush::Tables);
            let mut books = self.lock();
            books.unflushed = books.unflushed.saturating_sub(1);
        }
        for frame in tables.into_iter().chain(nodes).flatten() {
            self.give_back(frame);
        }
        self.give_back_kept();
    }

    /// The pages around a mapping up to where others have theirs, or the window ends.
    fn neighbours(&self, tree: &super::Tree, range: VirtualRange) -> VirtualRange {
        let platform = self.memory.platform();
        let start = range.start().get();
        let before = tree.at_or_below(platform, start.saturating_sub(1));
        let own = tree.at_or_below(platform, start);
        VirtualRange::between(before.range().end().get(), own.end())
    }

    /// Takes out the tables whose pages all belong to the mapping, from the lowest level up.
    fn take_inner_tables(&self, range: VirtualRange) {
        let mut batch = [None; BATCH];
        let mut taken = 0;
        for (level, shift) in self.tables.spans().iter().enumerate().take(MAX_LEVELS) {
            let Some(pages) = 1_u64.checked_shl(*shift) else { break };
            let first = range.start().get().checked_next_multiple_of(pages);
            let mut at = first.unwrap_or(u64::MAX);
            while at.checked_add(pages).is_some_and(|end| end <= range.end().get()) {
                let table = self.tables.take_table(self.memory, level, VirtualPage::new(at));
                if table.is_some()
                    && let Some(place) = batch.get_mut(taken)
                {
                    *place = table;
                    taken += 1;
                }
                if taken == BATCH {
                    self.flush_tables(range, &mut batch);
                    taken = 0;
                }
                at += pages;
            }
        }
        if taken > 0 {
            self.flush_tables(range, &mut batch);
        }
    }

    fn flush_tables(&self, range: VirtualRange, batch: &mut [Option<Mfn>]) {
        self.tables.flush(self.memory, range, Flush::Tables);
        for table in batch.iter_mut().filter_map(Option::take) {
            self.give_back(table);
        }
    }
}

/// The pages that a table covers which covers `page` and `2^shift` pages in all.
fn span(page: u64, shift: u32) -> Option<(u64, u64)> {
    let pages = 1_u64.checked_shl(shift)?;
    let start = page & !(pages - 1);
    Some((start, start.checked_add(pages)?))
}
