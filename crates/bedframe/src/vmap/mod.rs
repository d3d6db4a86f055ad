//! Contiguous virtual ranges with guard pages over scattered frames.
//!
//! [`tree`] says which ranges of the window are taken, its nodes lie in frames that [`nodes`] keeps;
//! [`tables`] is what page tables have to do, and [`radix`] does it; [`close`] takes mappings away.

mod close;
mod error;
mod nodes;
mod pages;
mod radix;
mod tables;
mod tree;
mod validate;

pub use error::{PageTableError, VmapError};
pub use pages::{Access, VirtualPage, VirtualRange};
pub use radix::{EntryFormat, Radix};
pub use tables::{Flush, MAX_LEVELS, PageTables};
pub use validate::VmapContradiction;

use crate::addr::{FrameRange, Mfn};
use crate::error::{AllocError, FreeError};
use crate::lock::{Guard, Lock};
use crate::memory::Memory;
use crate::order::Order;
use crate::platform::Platform;
use crate::request::{Pool, Request};
use tree::{State, Tree};

/// A window of virtual pages, in which frames that lie anywhere are mapped in a row.
///
/// It stands on [`Memory::alloc`] and [`Memory::free`] alone: page tables, its own books and what
/// [`Vmap::alloc`] maps come from there. So it works from the first frame of RAM on, and a mapping
/// that was made during boot is taken away at any later time by the same calls as any other; its
/// frames, early ones too, are free then. When the last mapping is gone the window holds no
/// frame.
///
/// There is an unmapped page, a guard, in front of the first mapping and behind each one. A mapping
/// is refused for want of room only if no hole has room for it and its guard; the lowest is taken.
///
/// ```
/// # use bedframe::*;
/// fn early_and_late<P: Platform, T: PageTables<P>>(
///     memory: &Memory<P>,
///     window: &Vmap<'_, P, T>,
/// ) -> Result<(), VmapError> {
///     // 16 pages, of frames from the boot allocator.
///     let early = window.alloc(16, &Request::frames(1), Access::READ_WRITE)?;
///     memory.start(8).expect("memory for the index");
///     // Into the heap.
///     window.free(early)
/// }
/// ```
///
/// # Cost
///
/// A place is found, and a mapping is entered in the books or taken out, in a dozen ways down a
/// tree, each of at most 52 steps whatever the size of the window and the number of mappings, and
/// of as few as the logarithm of that number where they are spread evenly. That is under a lock,
/// with interrupts masked, and so is the unlinking of page tables at the two edges of a mapping:
/// this is the longest stretch that cannot be preempted. Nothing is locked while pages are entered
/// or taken away, nor while frames are allocated, freed or looked at, nor while CPUs are flushed. A
/// mapping costs 64 bytes and its page tables.
pub struct Vmap<'m, P, T> {
    memory: &'m Memory<P>,
    tables: T,
    window: VirtualRange,
    books: Lock<Books>,
}

/// What the lock guards.
struct Books {
    tree: Tree,
    /// Calls that have taken tables out and not flushed yet.
    unflushed: u64,
}

/// A mapping that nobody but the call that made it knows of, and whether its pages have to be
/// flushed when they are entered.
struct Reserved {
    range: VirtualRange,
    flush: bool,
}

/// What there is in a window, at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VmapCounts {
    /// Mappings.
    pub mappings: u64,
    /// Their pages, without guards.
    pub pages: u64,
    /// The most pages that could be mapped in one range.
    pub largest: u64,
    /// Frames that the books lie in; page tables are not counted.
    pub frames: u64,
}

impl<'m, P, T> Vmap<'m, P, T> {
    /// An empty window. It can lie in a static, and be made before there is any RAM.
    ///
    /// Nothing but this window maps pages of `window` with these `tables`. Of the page tables that
    /// reach beyond it none is given back.
    #[must_use]
    pub const fn new(memory: &'m Memory<P>, tables: T, window: VirtualRange) -> Self {
        let books = Books { tree: Tree::new(window), unflushed: 0 };
        Self { memory, tables, window, books: Lock::new(books) }
    }

    /// The page tables that were given.
    pub const fn tables(&self) -> &T {
        &self.tables
    }

    /// The window that was given.
    #[must_use]
    pub const fn window(&self) -> VirtualRange {
        self.window
    }
}

impl<P: Platform, T: PageTables<P>> Vmap<'_, P, T> {
    /// Maps the frames of `frames`, in this order, in a row. Whose frames they are makes no
    /// difference, nor whether they are RAM; the same one may come twice.
    ///
    /// # Errors
    ///
    /// [`VmapError`] says what was missing. Nothing has changed then.
    pub fn map(&self, frames: &[FrameRange], access: Access) -> Result<VirtualRange, VmapError> {
        let pages = frames.iter().fold(0_u64, |sum, range| sum.saturating_add(range.frames()));
        let reserved = self.reserve(pages)?;
        let frames = frames.iter().flat_map(|range| range.iter());
        for (page, frame) in reserved.range.iter().zip(frames) {
            if let Err(error) = self.tables.map(self.memory, page, frame, access) {
                let mapped = page.get() - reserved.range.start().get();
                self.undo(reserved.range, mapped, |_| Ok(()));
                return Err(VmapError::PageTable { mapped, error });
            }
        }
        Ok(self.settle(&reserved))
    }

    /// Allocates `pieces` pieces, each as `request` asks, and maps them in a row. With a request for
    /// one frame the range needs no two frames that are neighbours.
    ///
    /// # Errors
    ///
    /// [`VmapError`] says what was missing. Nothing has changed then.
    pub fn alloc(
        &self,
        pieces: u64,
        request: &Request<'_>,
        access: Access,
    ) -> Result<VirtualRange, VmapError> {
        if request.length() == 0 {
            return Err(VmapError::NoFrame { mapped: 0, error: AllocError::NoFrames });
        }
        let reserved = self.reserve(pieces.saturating_mul(request.length()))?;
        let free = |frame| self.free_frame(frame);
        let mut mapped = 0;
        for _ in 0..pieces {
            let piece = match self.memory.alloc(request) {
                Ok(piece) => piece,
                Err(error) => {
                    self.undo(reserved.range, mapped, free);
                    return Err(VmapError::NoFrame { mapped, error });
                }
            };
            let start = reserved.range.start().get() + mapped;
            let pages = VirtualRange::between(start, start + piece.frames());
            for (page, frame) in pages.iter().zip(piece.iter()) {
                if let Err(error) = self.tables.map(self.memory, page, frame, access) {
                    // The piece goes back as it came, the others behind it: in the reverse order
                    // that needs no more room in the ledger than there was before.
                    let done = VirtualRange::between(start, page.get());
                    let _ = self.withdraw(done, |_, _| Ok(()));
                    let _ = self.memory.free(piece);
                    self.undo(reserved.range, mapped, free);
                    let mapped = mapped + done.pages();
                    return Err(VmapError::PageTable { mapped, error });
                }
            }
            mapped += piece.frames();
        }
        Ok(self.settle(&reserved))
    }

    /// The frame that `page` is mapped to by a mapping that stands.
    #[must_use]
    pub fn lookup(&self, page: VirtualPage) -> Option<Mfn> {
        let books = self.lock();
        let leaf = books.tree.at_or_below(self.memory.platform(), page.get());
        if leaf.state != State::Mapped || !leaf.range().contains(page) {
            return None;
        }
        // Under the lock: no call takes a table out meanwhile.
        self.tables.frame(self.memory, page)
    }

    /// The mapping that `page` lies in, and if there is none the next one above. Going on from
    /// the end of each answer walks all mappings, those included that are just being made or taken
    /// away.
    #[must_use]
    pub fn next(&self, page: VirtualPage) -> Option<VirtualRange> {
        let books = self.lock();
        let platform = self.memory.platform();
        let leaf = books.tree.at_or_below(platform, page.get());
        if leaf.range().contains(page) {
            return Some(leaf.range());
        }
        // Below the window that is the first leaf, which is no mapping.
        let next = books.tree.at_or_below(platform, leaf.end());
        (next.pages > 0 && next.start >= page.get()).then(|| next.range())
    }

    /// What there is in the window.
    #[must_use]
    pub fn counts(&self) -> VmapCounts {
        let books = self.lock();
        VmapCounts {
            mappings: books.tree.mappings(),
            pages: books.tree.pages(),
            largest: books.tree.largest(self.memory.platform()).saturating_sub(1),
            frames: books.tree.nodes.frames(),
        }
    }

    fn lock(&self) -> Guard<'_, Books, P> {
        self.books.lock(self.memory.platform())
    }

    /// Finds room for so many pages and notes that it is taken.
    fn reserve(&self, pages: u64) -> Result<Reserved, VmapError> {
        let platform = self.memory.platform();
        if pages == 0 {
            return Err(VmapError::NoPages);
        }
        let most = self.window.pages().saturating_sub(2);
        if pages > most {
            return Err(VmapError::TooLarge { pages, most });
        }
        // A frame for nodes is allocated and written while nothing is locked.
        let mut spare: Option<Mfn> = None;
        let result = loop {
            let mut books = self.lock();
            let most = books.tree.largest(platform).saturating_sub(1);
            if pages > most {
                break Err(VmapError::NoRoom { pages, most });
            }
            if books.tree.nodes.free() < 2
                && let Some(frame) = spare.take()
            {
                books.tree.nodes.adopt(platform, frame);
            }
            if let Some(leaf) = books.tree.insert(platform, pages) {
                break Ok(Reserved { range: leaf.range(), flush: books.unflushed > 0 });
            }
            let kept = books.tree.nodes.take_kept(platform);
            drop(books);
            let request = Request::order(Order::ZERO).pool(Pool::Xen);
            let frame = match kept
                .map_or_else(|| self.memory.alloc(&request), |frame| Ok(FrameRange::single(frame)))
            {
                Ok(range) => range.start(),
                Err(error) => break Err(VmapError::NoMetadata { error }),
            };
            nodes::prepare(platform, frame);
            spare = Some(frame);
        };
        if let Some(frame) = spare {
            self.give_back(frame);
        }
        result
    }

    /// All pages are entered: from now on the mapping stands.
    fn settle(&self, reserved: &Reserved) -> VirtualRange {
        let range = reserved.range;
        self.tables.flush(self.memory, range, Flush::Entered);
        if reserved.flush {
            // A CPU may still remember a way to these pages through tables that another call has
            // taken out.
            self.tables.flush(self.memory, range, Flush::Tables);
        }
        let mut books = self.lock();
        books.tree.set_state(self.memory.platform(), range.start().get(), State::Mapped);
        range
    }

    fn free_frame(&self, frame: Mfn) -> Result<(), FreeError> {
        self.memory.free(FrameRange::single(frame))
    }

    /// Gives back a frame that held nodes or a page table. If the ledger is full, which can only be
    /// before the heap runs, it is kept until it can go. Whether it went.
    fn give_back(&self, frame: Mfn) -> bool {
        let Err(error) = self.free_frame(frame) else { return true };
        if error.waiting_can_help() {
            self.lock().tree.nodes.keep(self.memory.platform(), frame);
        }
        false
    }

    /// Gives back what had to be kept, as far as that goes.
    fn give_back_kept(&self) {
        loop {
            let kept = self.lock().tree.nodes.take_kept(self.memory.platform());
            match kept {
                Some(frame) if self.give_back(frame) => {}
                _ => return,
            }
        }
    }
}
