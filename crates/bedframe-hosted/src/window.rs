//! Page tables whose mappings are real: what Bedframe's vmap needs of a machine.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bedframe::{
    Access, EntryFormat, FRAME_SHIFT, FRAME_SIZE, Flush, FrameRange, Memory, Mfn, PageTableError,
    PageTables, Platform, Radix, VirtualPage, VirtualRange,
};
use rustix::io::Errno;
use rustix::mm::ProtFlags;

use crate::area::Area;
use crate::error::HostedError;
use crate::platform::HostedPlatform;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const EXECUTE: u64 = 1 << 2;
const TABLE: u64 = 1 << 3;
const KEPT: u64 = 1 << 4;

/// How the hosted machine's page tables are written: a frame's address, and bits below it.
#[derive(Debug)]
pub struct HostedFormat {
    top: Mfn,
    levels: u32,
}

// SAFETY: by the numbers of `EntryFormat`:
// 1. There is no processor that reads them but `HostedWindow`, by these methods; bits and addresses
//    do not overlap.
// 2. `HostedWindow::new` was given the top table for as long as the window exists, and pages are
//    numbered so that none of the window's share an entry there with others.
// 3. Nothing is remembered by anybody but `HostedWindow`, which overrides `flush`.
#[allow(unsafe_code)]
unsafe impl EntryFormat for HostedFormat {
    fn levels(&self) -> u32 {
        self.levels
    }

    fn top(&self) -> Mfn {
        self.top
    }

    fn table(&self, frame: Mfn) -> u64 {
        frame.address() | TABLE | PRESENT
    }

    fn page(&self, frame: Mfn, access: Access) -> u64 {
        let write = if access.write { WRITE } else { 0 };
        let execute = if access.execute { EXECUTE } else { 0 };
        frame.address() | write | execute | PRESENT
    }

    fn retired(&self, frame: Mfn) -> u64 {
        frame.address() | KEPT
    }

    fn is_present(&self, entry: u64) -> bool {
        entry & PRESENT != 0
    }

    fn is_table(&self, entry: u64) -> bool {
        entry & TABLE != 0
    }

    fn frame(&self, entry: u64) -> Mfn {
        Mfn::from_address(entry)
    }

    fn flush(&self, _: VirtualRange, _: Flush) {}
}

/// A window of this process's addresses, with page tables in frames of the machine. What the tables
/// say is mirrored by mappings of the machine's memory, page by page; a retired page can be
/// accessed until it is flushed, as on a machine.
///
/// Frames under which garbage was [laid](crate::HostedMemory::lay_garbage) read differently through
/// a window, until they are filled: the garbage is not in the machine's file.
pub struct HostedWindow {
    platform: HostedPlatform,
    radix: Radix<HostedFormat>,
    area: Area,
    pages: VirtualRange,
    /// Held while what is mirrored is changed, so that a flush finds it as the tables are.
    mirror: Mutex<()>,
}

impl HostedWindow {
    /// A window of `pages` pages, at most 512 GiB, with tables of two levels for up to 1 GiB and
    /// else of three. It begins where a table of the level below the top begins. `top` is a frame
    /// for the top table, the window's for as long as it exists.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] if the machine has no such frame, [`HostedError::Host`] if so
    /// many addresses are not to be had.
    pub fn new(platform: &HostedPlatform, top: Mfn, pages: u64) -> Result<Self, HostedError> {
        let refused = HostedError::host("reserve addresses");
        let levels = if pages <= 1 << 18 { 2 } else { 3 };
        if pages == 0 || pages > 1 << 27 {
            return Err(refused(Errno::INVAL));
        }
        let memory = platform.memory();
        for index in 0..FRAME_SIZE as usize / 8 {
            memory.word(top, index)?.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        let align = FRAME_SIZE << (9 * (levels - 1));
        let area = Area::new((pages * FRAME_SIZE) as usize, align as usize).map_err(&refused)?;
        let start = VirtualPage::from_address(area.address() as u64);
        let pages = VirtualRange::from_len(start, pages).ok_or_else(|| refused(Errno::INVAL))?;
        let radix = Radix::new(HostedFormat { top, levels });
        Ok(Self { platform: platform.clone(), radix, area, pages, mirror: Mutex::new(()) })
    }

    /// The pages of the window.
    #[must_use]
    pub fn pages(&self) -> VirtualRange {
        self.pages
    }

    /// Word number `index` (of 512) of `page`, read through the mapping.
    ///
    /// # Errors
    ///
    /// [`HostedError::Fault`] if the page cannot be read; [`HostedError::OutOfFrame`] for a word
    /// that it does not have.
    pub fn load(&self, page: VirtualPage, index: usize) -> Result<u64, HostedError> {
        self.area.load(self.offset(page, index)?).map_err(|errno| fault(errno, page))
    }

    /// Writes word number `index` (of 512) of `page` through the mapping.
    ///
    /// # Errors
    ///
    /// As for [`HostedWindow::load`].
    pub fn store(&self, page: VirtualPage, index: usize, word: u64) -> Result<(), HostedError> {
        self.area.store(self.offset(page, index)?, word).map_err(|errno| fault(errno, page))
    }

    fn offset(&self, page: VirtualPage, index: usize) -> Result<usize, HostedError> {
        if index >= FRAME_SIZE as usize / 8 {
            return Err(HostedError::OutOfFrame { offset: index.saturating_mul(8), bytes: 8 });
        }
        if !self.pages.contains(page) {
            return Err(HostedError::Fault { page });
        }
        Ok(self.bytes(page) + index * 8)
    }

    /// Where in the window `page` lies.
    fn bytes(&self, page: VirtualPage) -> usize {
        ((page.get() - self.pages.start().get()) << FRAME_SHIFT) as usize
    }

    fn show(&self, page: VirtualPage, frame: Mfn, access: Access) -> Result<(), Errno> {
        // The kernel maps what is behind a file's end, too, and faults there with another signal.
        if !self.pages.contains(page)
            || !self.platform.memory().frames().covers(FrameRange::single(frame))
        {
            return Err(Errno::INVAL);
        }
        let mut protection = ProtFlags::READ;
        protection.set(ProtFlags::WRITE, access.write);
        protection.set(ProtFlags::EXEC, access.execute);
        let file = self.platform.memory().mapping().file();
        let _mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        self.area.show(self.bytes(page), FRAME_SIZE as usize, protection, file, frame.address())
    }
}

fn fault(errno: Errno, page: VirtualPage) -> HostedError {
    match errno {
        Errno::FAULT => HostedError::Fault { page },
        errno => HostedError::host("access a mapped page")(errno),
    }
}

impl fmt::Debug for HostedWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedWindow").field("pages", &self.pages).finish_non_exhaustive()
    }
}

// SAFETY: by the numbers of `PageTables`:
// 1. `map` shows the frame at the page, with this access; what is not shown faults.
// 2. `flush` hides all that the tables do not map, and returns when that is so for all threads.
// 3. It is the promise of `Radix`.
#[allow(unsafe_code)]
unsafe impl<P: Platform> PageTables<P> for HostedWindow {
    fn spans(&self) -> &[u32] {
        <Radix<HostedFormat> as PageTables<P>>::spans(&self.radix)
    }

    fn map(
        &self,
        memory: &Memory<P>,
        page: VirtualPage,
        frame: Mfn,
        access: Access,
    ) -> Result<(), PageTableError> {
        self.radix.map(memory, page, frame, access)?;
        self.show(page, frame, access).map_err(|errno| {
            self.radix.retire(memory, page);
            self.radix.clear(memory, page);
            PageTableError::Refused { code: errno.raw_os_error() }
        })
    }

    fn frame(&self, memory: &Memory<P>, page: VirtualPage) -> Option<Mfn> {
        self.radix.frame(memory, page)
    }

    fn retire(&self, memory: &Memory<P>, page: VirtualPage) {
        self.radix.retire(memory, page);
    }

    fn clear(&self, memory: &Memory<P>, page: VirtualPage) {
        self.radix.clear(memory, page);
    }

    fn take_table(&self, memory: &Memory<P>, level: usize, page: VirtualPage) -> Option<Mfn> {
        self.radix.take_table(memory, level, page)
    }

    fn flush(&self, memory: &Memory<P>, pages: VirtualRange, what: Flush) {
        if what == Flush::Entered {
            return;
        }
        let _mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = pages.start().get();
        let end = pages.end().get();
        while at < end {
            let absent = |page: &u64| !self.radix.is_present(memory, VirtualPage::new(*page));
            let stop = (at..end).find(|page| !absent(page)).unwrap_or(end);
            if stop > at {
                let len = ((stop - at) << FRAME_SHIFT) as usize;
                // What still could be accessed might become somebody else's.
                if self.area.hide(self.bytes(VirtualPage::new(at)), len).is_err() {
                    std::process::abort();
                }
            }
            at = (stop..end).find(absent).unwrap_or(end);
        }
    }
}
