//! What a window asks of the machine's page tables.

use super::error::PageTableError;
use super::pages::{Access, VirtualPage, VirtualRange};
use crate::addr::Mfn;
use crate::memory::Memory;
use crate::platform::Platform;

/// What has changed in the page tables, for [`PageTables::flush`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// Pages have been entered where there were none. Most processors need a barrier at most.
    Entered,
    /// Pages have been retired.
    Retired,
    /// Tables have been taken out that covered some of the pages, and others around them: whatever
    /// a processor remembers of the way to these pages has to go, not only the last step.
    Tables,
}

/// The page tables behind a window. [`Radix`](super::Radix) has all of this for tables that are
/// frames of 512 entries; a kernel that has its own code for page tables puts it behind this.
///
/// A page of the window is *absent*, *mapped* or *retired*. What is retired cannot be accessed, and
/// the frame is still known: an entry whose other bits the processor ignores since it is not
/// present. So a whole range is retired, then flushed once, and only then do its frames go back.
///
/// A page is handed to one call at a time. Calls for different pages come from several CPUs at
/// once, and from interrupts if these use the window; with [`Platform::mask_interrupts`] in force
/// only where it says so below. None may call into the same window.
///
/// # Safety
///
/// 1. A page that is mapped leads to its frame, with the access that was asked for at most, on
///    every CPU, once [`Flush::Entered`] has been called for; every other page of the window faults.
/// 2. After a flush for pages that are retired no CPU reaches the frames through them; after a flush
///    for tables no CPU reads a table that was taken out before it and covered one of the pages.
/// 3. [`PageTables::take_table`] returns a frame that came from this [`Memory`], which nothing
///    refers to any more but what a flush ends.
#[allow(unsafe_code)] // The declaration of a contract, not a use of one.
pub unsafe trait PageTables<P: Platform> {
    /// How many pages a table covers, as a power of two, for each level of tables that come and go,
    /// lowest first: 9, 18 and 27 on a processor with four levels, whose top table is there before.
    /// At most [`MAX_LEVELS`] levels are looked at.
    fn spans(&self) -> &[u32];

    /// Maps an absent page. Tables on the way that are missing are allocated from `memory`, mapped
    /// frames of the Xen heap; those that were made stay if the call is refused.
    ///
    /// # Errors
    ///
    /// [`PageTableError`]; the page is absent then.
    fn map(
        &self,
        memory: &Memory<P>,
        page: VirtualPage,
        frame: Mfn,
        access: Access,
    ) -> Result<(), PageTableError>;

    /// The frame of a page that is mapped or retired. May be called with interrupts masked.
    fn frame(&self, memory: &Memory<P>, page: VirtualPage) -> Option<Mfn>;

    /// Retires a page that is mapped, and nothing else.
    fn retire(&self, memory: &Memory<P>, page: VirtualPage);

    /// Makes a page absent that is retired, and nothing else.
    fn clear(&self, memory: &Memory<P>, page: VirtualPage);

    /// Takes out the table of this level (an index into [`PageTables::spans`]) that `page` lies
    /// in, if there is one. All pages that it covers are absent, and all tables below it were
    /// taken out. May be called with interrupts masked.
    fn take_table(&self, memory: &Memory<P>, level: usize, page: VirtualPage) -> Option<Mfn>;

    /// Makes all CPUs see what has changed at `pages`. Never called with interrupts masked by
    /// Bedframe, so it may wait for other CPUs. Other calls may be entering pages of the range when
    /// it is called for [`Flush::Tables`].
    fn flush(&self, memory: &Memory<P>, pages: VirtualRange, what: Flush);
}

/// Levels of tables that a window gives back. Tables above the eighth stay.
pub const MAX_LEVELS: usize = 8;
