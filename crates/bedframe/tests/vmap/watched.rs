//! Page tables in frames of the machine, watched: what the processors could still reach is known,
//! and no frame may be free that one can.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bedframe::{
    Access, EntryFormat, Flush, FrameRange, Memory, Mfn, PageState, PageTableError, PageTables,
    Platform as _, Pool, Radix, Request, VirtualPage, VirtualRange, Vmap,
};

use crate::common::{Heap, Machine, Snapshot, World, mfn, range};

pub type Window = Vmap<'static, Machine, Watched>;
/// A mapping, and the frames that its pages lead to.
pub type Mapping = (VirtualRange, Vec<Option<Mfn>>);

const PRESENT: u64 = 1;
const TABLE: u64 = 1 << 1;
const KEPT: u64 = 1 << 2;
const WRITE: u64 = 1 << 3;

/// Three levels of tables.
pub struct Format {
    top: Mfn,
    flushes: AtomicU64,
}

// SAFETY: 1. Bits and addresses do not overlap. 2. The top table is a frame that each test's
// machine has allocated for it and never frees. 3. No processor reads these tables.
unsafe impl EntryFormat for Format {
    fn levels(&self) -> u32 {
        3
    }

    fn top(&self) -> Mfn {
        self.top
    }

    fn table(&self, frame: Mfn) -> u64 {
        frame.address() | TABLE | PRESENT
    }

    fn page(&self, frame: Mfn, access: Access) -> u64 {
        frame.address() | PRESENT | if access.write { WRITE } else { 0 }
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

    fn flush(&self, _: VirtualRange, _: Flush) {
        self.flushes.fetch_add(1, Relaxed);
    }
}

#[derive(Default)]
struct Seen {
    /// What the processors may find at a page: entered and not flushed since it was retired.
    reachable: BTreeMap<VirtualPage, Mfn>,
    retired: BTreeSet<VirtualPage>,
    /// Tables that were taken out, with the pages that they covered, and not flushed yet.
    unlinked: Vec<(Mfn, VirtualRange)>,
}

pub struct Watched {
    radix: Radix<Format>,
    seen: Mutex<Seen>,
    /// The entry with this number is refused; counts down.
    pub refuse_in: AtomicU64,
}

impl Watched {
    fn new(top: Mfn) -> Self {
        Self {
            radix: Radix::new(Format { top, flushes: AtomicU64::new(0) }),
            seen: Mutex::default(),
            refuse_in: AtomicU64::new(0),
        }
    }

    /// How often the processors have been flushed.
    pub fn flushes(&self) -> u64 {
        self.radix.format().flushes.load(Relaxed)
    }

    /// What the processors find at `page`.
    pub fn reachable(&self, page: VirtualPage) -> Option<Mfn> {
        self.seen.lock().unwrap().reachable.get(&page).copied()
    }

    /// Takes a page away behind the window's back.
    pub fn steal(&self, memory: &Memory<Machine>, page: VirtualPage) {
        self.radix.retire(memory, page);
        self.radix.clear(memory, page);
        self.seen.lock().unwrap().reachable.remove(&page);
    }

    /// No CPU looks for pages of `range` in a table that was taken out.
    #[track_caller]
    pub fn check_way(&self, range: VirtualRange) {
        let seen = self.seen.lock().unwrap();
        for (table, pages) in &seen.unlinked {
            assert!(!meet(*pages, range), "a CPU may still look for {range} in {table}");
        }
    }

    /// Enters a page behind the window's back.
    pub fn smuggle(&self, memory: &Memory<Machine>, page: VirtualPage, frame: Mfn) {
        self.radix.map(memory, page, frame, Access::READ).unwrap();
    }

    /// Nothing that can be reached is free, at this moment.
    #[track_caller]
    fn check(&self, memory: &Memory<Machine>, seen: &Seen) {
        for (page, frame) in &seen.reachable {
            assert_ne!(memory.state(*frame), PageState::Free, "{frame} can be reached at {page}");
        }
        for (table, pages) in &seen.unlinked {
            let state = memory.state(*table);
            assert_ne!(state, PageState::Free, "a CPU may still look for {pages} in {table}");
        }
    }
}

// SAFETY: it is `Radix`, with a note taken of each call.
unsafe impl PageTables<Machine> for Watched {
    fn spans(&self) -> &[u32] {
        PageTables::<Machine>::spans(&self.radix)
    }

    fn map(
        &self,
        memory: &Memory<Machine>,
        page: VirtualPage,
        frame: Mfn,
        access: Access,
    ) -> Result<(), PageTableError> {
        if self.refuse_in.load(Relaxed) > 0 && self.refuse_in.fetch_sub(1, Relaxed) == 1 {
            return Err(PageTableError::Refused { code: 7 });
        }
        self.radix.map(memory, page, frame, access)?;
        let mut seen = self.seen.lock().unwrap();
        assert_eq!(seen.reachable.insert(page, frame), None, "{page} was mapped already");
        Ok(())
    }

    fn frame(&self, memory: &Memory<Machine>, page: VirtualPage) -> Option<Mfn> {
        self.radix.frame(memory, page)
    }

    fn retire(&self, memory: &Memory<Machine>, page: VirtualPage) {
        self.radix.retire(memory, page);
        self.seen.lock().unwrap().retired.insert(page);
    }

    fn clear(&self, memory: &Memory<Machine>, page: VirtualPage) {
        let seen = self.seen.lock().unwrap();
        assert!(!seen.reachable.contains_key(&page), "{page} was not flushed");
        drop(seen);
        self.radix.clear(memory, page);
    }

    fn take_table(&self, memory: &Memory<Machine>, level: usize, page: VirtualPage) -> Option<Mfn> {
        let table = self.radix.take_table(memory, level, page)?;
        let pages = 1 << PageTables::<Machine>::spans(&self.radix)[level];
        let start = VirtualPage::new(page.get() / pages * pages);
        let pages = VirtualRange::from_len(start, pages).unwrap();
        // It is as empty as it was when it was made.
        let bytes = memory.platform().memory().bytes(memory.platform().hosted_frame(table));
        assert!(bytes.unwrap().iter().all(|byte| *byte == 0), "table {table} of {pages} is in use");
        self.seen.lock().unwrap().unlinked.push((table, pages));
        Some(table)
    }

    fn flush(&self, memory: &Memory<Machine>, pages: VirtualRange, what: Flush) {
        assert_eq!(bedframe_hosted::interrupt_count().depth, 0, "a flush waits for other CPUs");
        self.radix.flush(memory, pages, what);
        // The other CPU of an interleaving has no moment in here.
        let mask = memory.platform().mask_interrupts();
        let mut seen = self.seen.lock().unwrap();
        let seen = &mut *seen;
        self.check(memory, seen);
        if what != Flush::Entered {
            for page in pages.iter() {
                if seen.retired.remove(&page) {
                    seen.reachable.remove(&page);
                }
            }
        }
        if what == Flush::Tables {
            seen.unlinked.retain(|(_, covered)| !meet(*covered, pages));
        }
        memory.platform().restore_interrupts(mask);
    }
}

fn meet(one: VirtualRange, other: VirtualRange) -> bool {
    one.start() < other.end() && other.start() < one.end()
}

/// Something to map in: a machine, and a window of so many pages from this page on.
pub struct Room {
    pub world: World,
    pub memory: &'static Memory<Machine>,
    pub window: &'static Window,
}

impl Room {
    /// On the small machine, before hand-over.
    pub fn new(heap: Heap, start: u64, pages: u64) -> Self {
        Self::on(World::small(heap), start, pages)
    }

    pub fn on(world: World, start: u64, pages: u64) -> Self {
        // Other CPUs' calls outlive the test that makes them up.
        let memory: &'static Memory<Machine> = Box::leak(Box::new(world.memory.clone()));
        let top = memory.alloc(&Request::frames(1).pool(Pool::Xen)).unwrap().start();
        let hosted = world.machine.hosted_frame(top);
        world.machine.memory().write(hosted, 0, &[0; 4096]).unwrap();
        let pages = VirtualRange::from_len(VirtualPage::new(start), pages).unwrap();
        let window = Box::leak(Box::new(Vmap::new(memory, Watched::new(top), pages)));
        Self { world, memory, window }
    }

    /// All that can be observed.
    pub fn look(&self) -> (Snapshot, Vec<Mapping>) {
        let mut mappings = Vec::new();
        let mut at = VirtualPage::new(0);
        while let Some(mapping) = self.window.next(at) {
            let frames = mapping.iter().map(|page| self.window.lookup(page)).collect();
            mappings.push((mapping, frames));
            at = mapping.end();
        }
        (Snapshot::take(self.memory, range(0, 4400)), mappings)
    }

    /// The books agree with themselves, the tables with what the processors find.
    #[track_caller]
    pub fn check(&self) {
        self.memory.validate().unwrap();
        self.window.validate().unwrap();
        let seen = self.window.tables().seen.lock().unwrap();
        self.window.tables().check(self.memory, &seen);
        assert!(seen.unlinked.is_empty(), "tables that nobody flushed: {:?}", seen.unlinked);
        let counts = self.window.counts();
        let radix = &self.window.tables().radix;
        for (page, frame) in &seen.reachable {
            assert_eq!(self.window.lookup(*page), Some(*frame), "page {page}");
            assert!(radix.is_present(self.memory, *page), "page {page}");
        }
        assert_eq!(seen.reachable.len() as u64, counts.pages);
    }

    /// Nothing is mapped, and the window holds no frame: not its own, no table.
    #[track_caller]
    pub fn check_empty(&self, before: &Snapshot) {
        self.check();
        assert_eq!(self.window.counts().mappings, 0);
        assert_eq!(self.window.counts().frames, 0);
        assert_eq!(self.window.counts().largest, self.window.window().pages() - 2);
        Snapshot::take(self.memory, range(0, 4400)).assert_same_as(before, "an empty window");
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(self.memory, range(0, 4400))
    }
}

/// Frames that a test has allocated one by one, and none beside another.
pub fn scattered(memory: &Memory<Machine>, frames: u64) -> Vec<FrameRange> {
    let first = Request::frames(1);
    let mut all: Vec<_> = (0..2 * frames).map(|_| memory.alloc(&first).unwrap()).collect();
    all.sort_by_key(|range| range.start());
    let (even, odd): (Vec<_>, Vec<_>) = all.into_iter().partition(|r| r.start().get() % 2 == 0);
    let (kept, freed) = if even.len() as u64 >= frames { (even, odd) } else { (odd, even) };
    for range in freed.into_iter().chain(kept[frames as usize..].iter().copied()) {
        memory.free(range).unwrap();
    }
    kept[..frames as usize].to_vec()
}

pub fn page(number: u64) -> VirtualPage {
    VirtualPage::new(number)
}

/// The pages from `start` up to and without `end`.
pub fn pages(start: u64, end: u64) -> VirtualRange {
    VirtualRange::new(page(start), page(end)).unwrap()
}

/// The frames that `ranges` consist of, in order.
pub fn frames_of(ranges: &[FrameRange]) -> Vec<Mfn> {
    ranges.iter().flat_map(|range| range.iter()).collect()
}

#[test]
fn scattered_frames_have_no_neighbours() {
    let world = World::small(Heap::Unified);
    let frames = scattered(&world.memory, 40);
    assert!(frames.windows(2).all(|pair| pair[0].end() < pair[1].start()));
    assert_eq!(frames.len(), 40);
    assert!(frames.iter().all(|range| range.frames() == 1 && range.start() > mfn(0)));
}
