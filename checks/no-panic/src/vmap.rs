//! A window of mappings, from before hand-over to after it.

use core::fmt::Write;

use bedframe::{
    Access, AllocError, EntryFormat, Flush, FrameRange, Memory, Mfn, Order, PageTableError,
    PageTables, Pool, Radix, Request, VirtualPage, VirtualRange, Vmap, VmapContradiction,
    VmapError,
};

use crate::machine::Machine;
use crate::{Sink, Wrong, check, get, opaque};

/// What a table's frame is to a processor that nobody has built.
pub struct Format {
    top: Mfn,
}

const PRESENT: u64 = 1;
const TABLE: u64 = 2;
const KEPT: u64 = 4;

// SAFETY: 1. Bits and addresses do not overlap. 2. `open` has allocated the top table for the
// window and cleared it. 3. No processor reads it.
unsafe impl EntryFormat for Format {
    fn levels(&self) -> u32 {
        opaque(3)
    }

    fn top(&self) -> Mfn {
        self.top
    }

    fn table(&self, frame: Mfn) -> u64 {
        frame.address() | TABLE | PRESENT
    }

    fn page(&self, frame: Mfn, access: Access) -> u64 {
        frame.address() | PRESENT | u64::from(access.write) << 3
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

    fn flush(&self, pages: VirtualRange, what: Flush) {
        opaque((pages, what));
    }
}

pub type Window<'m> = Vmap<'m, Machine, Radix<Format>>;

/// A window, and a mapping that boot makes in it.
pub struct Early<'m> {
    window: Window<'m>,
    top: FrameRange,
    mapping: VirtualRange,
}

/// Maps while the machine boots.
pub fn open(memory: &Memory<Machine>) -> Result<Early<'_>, Wrong> {
    words()?;
    let top = get!(memory.alloc(&Request::order(Order::ZERO).pool(opaque(Pool::Xen))));
    let entries = bedframe::Platform::frame_ptr(memory.platform(), top.start());
    // SAFETY: the frame is mapped, and was just allocated.
    unsafe { entries.write_bytes(0, 4096) };
    let start = VirtualPage::new(opaque(1 << 30));
    let pages = get!(VirtualRange::from_len(start, opaque(1 << 18)));
    let window = Vmap::new(memory, Radix::new(Format { top: top.start() }), pages);
    let mapping = get!(window.alloc(opaque(30), &Request::frames(opaque(1)), Access::READ_WRITE));
    Ok(Early { window, top, mapping })
}

impl Early<'_> {
    /// Frees what boot has mapped, maps more in every way, and leaves nothing.
    pub fn close(self, memory: &Memory<Machine>) -> Result<(), Wrong> {
        let Early { window, top, mapping } = self;
        let before = window.counts();
        check!(before.mappings == 1 && before.pages == 30 && before.frames == 1);
        get!(window.validate());
        let page = mapping.start();
        check!(window.lookup(opaque(page)).is_some());
        check!(window.tables().is_present(memory, page));
        check!(window.tables().format().top == top.start());
        check!(window.window().contains(page) && window.next(VirtualPage::new(0)) == Some(mapping));
        churn(&window, memory)?;
        get!(window.free(opaque(mapping)));
        check!(window.free(mapping) == Err(VmapError::NotMapped { page }));
        get!(window.validate());
        let end = window.counts();
        check!((end.mappings, end.pages, end.frames) == (0, 0, 0));
        get!(memory.free(top));
        Ok(())
    }
}

/// Mappings of all kinds and ranges that are none, in no order.
fn churn(window: &Window<'_>, memory: &Memory<Machine>) -> Result<(), Wrong> {
    let mut held = [VirtualRange::default(); 32];
    let mut random = opaque(0x2545_f491_4f6c_dd1d_u64);
    for _ in 0..opaque(2_000) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let Some(slot) = held.get_mut((random % 32) as usize) else { continue };
        if !slot.is_empty() {
            get!(window.free(core::mem::take(slot)));
            continue;
        }
        let size = Request::frames(random >> 8 & 7);
        let result = match random >> 16 & 7 {
            0 => {
                let anywhere = FrameRange::from_len(Mfn::new(random >> 3), random >> 20 & 0xfff);
                window.map(&[anywhere.unwrap_or_default()], Access::READ).and_then(|range| {
                    let mut pages = 0;
                    window.unmap(range, |_, _| pages += 1)?;
                    Err(VmapError::NotMapped { page: VirtualPage::new(pages) })
                })
            }
            1 => window.alloc(random, &size, opaque(Access::default())),
            2 => {
                let start = VirtualPage::new(random >> 20);
                let wrong = VirtualRange::new(start, VirtualPage::new(random >> 19));
                let wrong = wrong.unwrap_or_default();
                window.free(wrong).map(|()| wrong)
            }
            _ => window.alloc(random >> 24 & 31, &size, opaque(Access::READ_EXECUTE)),
        };
        match result {
            Ok(range) => *slot = range,
            Err(error) => get!(write!(Sink(0), "{error} {:?}", error.frame())),
        }
    }
    for range in held {
        if !range.is_empty() {
            check!(range.iter().all(|page| window.lookup(page).is_some()));
            get!(window.free(range));
        }
    }
    get!(memory.validate());
    check!(PageTables::<Machine>::spans(window.tables()).len() == 2);
    Ok(())
}

fn words() -> Result<(), Wrong> {
    let page = VirtualPage::from_address(opaque(u64::MAX));
    check!(page.get() == (1 << 52) - 1 && page.address() == u64::MAX - 4095);
    let range = get!(VirtualRange::new(page, opaque(VirtualPage::MAX)));
    check!(range.pages() == 1 && range.start() < range.end());
    check!(VirtualRange::from_len(page, opaque(2)).is_none());
    let error = PageTableError::NoTable { error: opaque(AllocError::LedgerFull) };
    let vmap = VmapError::PageTable { mapped: opaque(3), error };
    let wrong = opaque(VmapContradiction::Guard { page });
    get!(write!(Sink(0), "{page} {page:?} {range} {range:?} {error} {vmap} {wrong}"));
    check!(error.waiting_can_help() && vmap.waiting_can_help());
    Ok(())
}
