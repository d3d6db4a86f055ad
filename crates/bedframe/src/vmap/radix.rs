//! Page tables as most processors have them: a tree of frames with 512 entries of eight bytes.
//!
//! Obligations that the SAFETY comments refer to:
//!
//! 1. The top table, by the contract of [`EntryFormat`], and every table below it, which
//!    [`Radix::grow`] has allocated or the same contract speaks of, is a mapped frame.
//! 2. While a table can be reached from the top it is accessed by aligned words of eight bytes, and
//!    atomically. A table is taken out when no page that it covers belongs to any call but the one
//!    that takes it out, so nobody is on the way through it.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use super::error::PageTableError;
use super::pages::{Access, VirtualPage, VirtualRange};
use super::tables::{Flush, PageTables};
use crate::addr::Mfn;
use crate::memory::Memory;
use crate::order::Order;
use crate::platform::Platform;
use crate::request::{Pool, Request};

/// log2 of the entries in a table.
const INDEX_BITS: u32 = 9;
const ENTRIES: u64 = 1 << INDEX_BITS;
/// Pages that a table covers, as a power of two, lowest level first, without the top one.
const SPANS: [u32; 4] = [9, 18, 27, 36];

/// How a processor writes entries of its page tables. An entry of 0 is an absent one.
///
/// ```
/// use bedframe::{Access, EntryFormat, Flush, FRAME_SIZE, Mfn, VirtualRange};
///
/// /// x86-64 with four levels.
/// struct X86 {
///     top: Mfn,
/// }
///
/// const PRESENT: u64 = 1;
/// const WRITE: u64 = 1 << 1;
/// const LARGE: u64 = 1 << 7;
/// const KEPT: u64 = 1 << 9; // one of the bits left to software
/// const NO_EXECUTE: u64 = 1 << 63;
///
/// // SAFETY: 1. The entries are those of the processor's manual. 2. `top` is this kernel's own.
/// // 3. `flush` reaches every CPU.
/// unsafe impl EntryFormat for X86 {
///     fn levels(&self) -> u32 {
///         4
///     }
///     fn top(&self) -> Mfn {
///         self.top
///     }
///     fn table(&self, frame: Mfn) -> u64 {
///         frame.address() | WRITE | PRESENT
///     }
///     fn page(&self, frame: Mfn, access: Access) -> u64 {
///         let write = if access.write { WRITE } else { 0 };
///         let no_execute = if access.execute { 0 } else { NO_EXECUTE };
///         frame.address() | no_execute | write | PRESENT
///     }
///     fn retired(&self, frame: Mfn) -> u64 {
///         frame.address() | KEPT
///     }
///     fn is_present(&self, entry: u64) -> bool {
///         entry & PRESENT != 0
///     }
///     fn is_table(&self, entry: u64) -> bool {
///         entry & (PRESENT | LARGE) == PRESENT
///     }
///     fn frame(&self, entry: u64) -> Mfn {
///         Mfn::from_address(entry & 0x000f_ffff_ffff_f000)
///     }
///     fn flush(&self, pages: VirtualRange, what: Flush) {
///         if what != Flush::Entered {
///             // `invlpg` for each page, here and on every other CPU.
/// #           let _ = pages;
///         }
///     }
/// }
/// ```
///
/// # Safety
///
/// 1. The processor reads the entries as the methods say; [`EntryFormat::frame`] gives back what
///    the other methods were given, and a retired entry is neither 0 nor present.
/// 2. [`EntryFormat::top`] is always the same: a mapped frame, used as a top table for as long as
///    the window exists, as are the tables that it leads to at pages of the window. Below the
///    window's pages nothing but this window changes entries.
/// 3. As the second obligation of [`PageTables`].
pub unsafe trait EntryFormat {
    /// How many levels of tables there are: 1 to 5.
    fn levels(&self) -> u32;
    /// The frame of the top table.
    fn top(&self) -> Mfn;
    /// The entry that leads to a table.
    fn table(&self, frame: Mfn) -> u64;
    /// The entry that maps a page.
    fn page(&self, frame: Mfn, access: Access) -> u64;
    /// The entry of a page that is retired and whose frame is still known.
    fn retired(&self, frame: Mfn) -> u64;
    /// Whether the processor would follow the entry of a page.
    fn is_present(&self, entry: u64) -> bool;
    /// Whether the entry of a higher table leads to a table, and is not absent nor a large page.
    fn is_table(&self, entry: u64) -> bool;
    /// The frame of an entry that is not 0.
    fn frame(&self, entry: u64) -> Mfn;
    /// As [`PageTables::flush`].
    fn flush(&self, pages: VirtualRange, what: Flush);
}

/// Page tables of 512 entries a table. Missing tables are made without a lock: of two CPUs that make
/// the same one the second gives its frame back.
pub struct Radix<F> {
    format: F,
}

impl<F: EntryFormat> Radix<F> {
    /// Tables with entries of this format.
    #[must_use]
    pub const fn new(format: F) -> Self {
        Self { format }
    }

    /// The format that was given.
    pub const fn format(&self) -> &F {
        &self.format
    }

    /// Whether a processor that reads the tables at this moment finds a frame at `page`.
    pub fn is_present<P: Platform>(&self, memory: &Memory<P>, page: VirtualPage) -> bool {
        let entry = self.entry(memory, page, 0, |entry| entry.load(Ordering::Acquire));
        entry.is_some_and(|entry| self.format.is_present(entry))
    }

    /// The top table's level.
    fn top_level(&self) -> u32 {
        self.format.levels().saturating_sub(1)
    }

    /// Calls `f` with the entry of `page` in the table of this level, 0 for the one that holds
    /// pages. `None` if the way there ends before.
    fn entry<P: Platform, T>(
        &self,
        memory: &Memory<P>,
        page: VirtualPage,
        level: u32,
        f: impl FnOnce(&AtomicU64) -> T,
    ) -> Option<T> {
        let top = self.top_level();
        let mut table = self.format.top();
        for above in (level + 1..=top).rev() {
            // Acquire pairs with the Release in `grow`: who finds a table finds it empty.
            let entry = self.at(memory, table, page, above).load(Ordering::Acquire);
            if !self.format.is_table(entry) {
                return None;
            }
            table = self.format.frame(entry);
        }
        (level <= top).then(|| f(self.at(memory, table, page, level)))
    }

    fn at<'a, P: Platform>(
        &self,
        memory: &'a Memory<P>,
        table: Mfn,
        page: VirtualPage,
        level: u32,
    ) -> &'a AtomicU64 {
        let shift = level.saturating_mul(INDEX_BITS).min(u64::BITS - 1);
        let index = page.get() >> shift & (ENTRIES - 1);
        let entry = memory.platform().frame_ptr(table).wrapping_add(index as usize * 8);
        // SAFETY: 1. The table is mapped and stays so for as long as it can be reached, and longer
        // than the caller's step by 2; the entry lies in it, aligned. 2. It is accessed atomically.
        unsafe { AtomicU64::from_ptr(entry.cast()) }
    }

    /// Makes the highest table that is missing on the way to the entry of `page`, unless another CPU
    /// has made it meanwhile.
    fn grow<P: Platform>(
        &self,
        memory: &Memory<P>,
        page: VirtualPage,
    ) -> Result<(), PageTableError> {
        let top = self.top_level();
        let found = (1..=top).rev().find_map(|level| {
            let entry = self.entry(memory, page, level, |entry| entry.load(Ordering::Acquire))?;
            (!self.format.is_table(entry)).then_some((level, entry))
        });
        let Some((level, old)) = found else { return Ok(()) };
        if old != 0 {
            return Err(PageTableError::Occupied);
        }
        let request = Request::order(Order::ZERO).pool(Pool::Xen);
        let range = memory.alloc(&request).map_err(|error| PageTableError::NoTable { error })?;
        let table = range.start();
        for index in 0..ENTRIES {
            self.at(memory, table, VirtualPage::new(index), 0).store(0, Ordering::Relaxed);
        }
        let new = self.format.table(table);
        let made = self.entry(memory, page, level, |entry| {
            // Release pairs with the Acquires on the way down.
            entry.compare_exchange(0, new, Ordering::Release, Ordering::Relaxed).is_ok()
        });
        if made != Some(true) {
            // Another CPU was first, and the frame goes back as it came.
            let _ = memory.free(range);
        }
        Ok(())
    }

    /// Changes the entry of `page` if it is such as is asked for.
    fn change<P: Platform>(
        &self,
        memory: &Memory<P>,
        page: VirtualPage,
        change: impl Fn(u64) -> Option<u64>,
    ) {
        self.entry(memory, page, 0, |entry| {
            // A page is handed to one call at a time. The processor may set bits of its own
            // meanwhile (accessed, dirty), in an entry that is present: so by exchange.
            let _ = entry.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        });
    }
}

// SAFETY: by the numbers of `PageTables`:
// 1. `map` writes the entry that the format says, and nothing else does; an entry that was not
//    written is 0, since tables are zeroed before they are linked.
// 2. It is the format's own promise.
// 3. `take_table` returns what an entry led to that it has set to 0. Tables of the window's pages
//    were made by `grow`, or were there before, which the format's contract rules out inside it.
unsafe impl<P: Platform, F: EntryFormat> PageTables<P> for Radix<F> {
    fn spans(&self) -> &[u32] {
        let below_top = self.top_level() as usize;
        SPANS.get(..below_top).unwrap_or(&SPANS)
    }

    fn map(
        &self,
        memory: &Memory<P>,
        page: VirtualPage,
        frame: Mfn,
        access: Access,
    ) -> Result<(), PageTableError> {
        let new = self.format.page(frame, access);
        loop {
            let entered = self.entry(memory, page, 0, |entry| {
                entry.compare_exchange(0, new, Ordering::Release, Ordering::Relaxed).is_ok()
            });
            match entered {
                Some(true) => return Ok(()),
                Some(false) => return Err(PageTableError::Occupied),
                None => self.grow(memory, page)?,
            }
        }
    }

    fn frame(&self, memory: &Memory<P>, page: VirtualPage) -> Option<Mfn> {
        let entry = self.entry(memory, page, 0, |entry| entry.load(Ordering::Acquire))?;
        (entry != 0).then(|| self.format.frame(entry))
    }

    fn retire(&self, memory: &Memory<P>, page: VirtualPage) {
        let format = &self.format;
        let retired = |entry| format.retired(format.frame(entry));
        self.change(memory, page, |entry| format.is_present(entry).then(|| retired(entry)));
    }

    fn clear(&self, memory: &Memory<P>, page: VirtualPage) {
        self.change(memory, page, |entry| (!self.format.is_present(entry)).then_some(0));
    }

    fn take_table(&self, memory: &Memory<P>, level: usize, page: VirtualPage) -> Option<Mfn> {
        let above = u32::try_from(level).ok()?.checked_add(1)?;
        if above >= self.format.levels() {
            return None;
        }
        let taken = self.entry(memory, page, above, |entry| {
            let old = entry.load(Ordering::Acquire);
            self.format.is_table(old).then(|| {
                entry.store(0, Ordering::Release);
                self.format.frame(old)
            })
        });
        taken.flatten()
    }

    fn flush(&self, _: &Memory<P>, pages: VirtualRange, what: Flush) {
        self.format.flush(pages, what);
    }
}
