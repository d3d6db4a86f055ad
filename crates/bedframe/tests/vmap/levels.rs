//! Page tables of a kernel's own, with more levels than a window looks at.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bedframe::{
    Access, Flush, FrameRange, MAX_LEVELS, Memory, Mfn, PageTableError, PageTables, Pool, Request,
    VirtualPage, VirtualRange, Vmap,
};

use crate::common::{Heap, Machine, World, mfn};
use crate::watched::pages;

/// The tables of the lowest level cover two pages, and those of each other twice as many.
const SPANS: [u32; MAX_LEVELS + 1] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

#[derive(Default)]
struct Tall {
    pages: Mutex<BTreeMap<VirtualPage, Mfn>>,
    /// By level, and by the number of the table among those of its level.
    tables: Mutex<BTreeMap<(usize, u64), Mfn>>,
}

// SAFETY: 1, 2. No processor reads these tables. 3. A table that is taken out is in no list any more.
unsafe impl PageTables<Machine> for Tall {
    fn spans(&self) -> &[u32] {
        &SPANS
    }

    fn map(
        &self,
        memory: &Memory<Machine>,
        page: VirtualPage,
        frame: Mfn,
        _: Access,
    ) -> Result<(), PageTableError> {
        for (level, shift) in SPANS.iter().enumerate() {
            let mut tables = self.tables.lock().unwrap();
            tables.entry((level, page.get() >> shift)).or_insert_with(|| {
                memory.alloc(&Request::frames(1).pool(Pool::Xen)).unwrap().start()
            });
        }
        self.pages.lock().unwrap().insert(page, frame);
        Ok(())
    }

    fn frame(&self, _: &Memory<Machine>, page: VirtualPage) -> Option<Mfn> {
        self.pages.lock().unwrap().get(&page).copied()
    }

    fn retire(&self, _: &Memory<Machine>, _: VirtualPage) {}

    fn clear(&self, _: &Memory<Machine>, page: VirtualPage) {
        self.pages.lock().unwrap().remove(&page);
    }

    fn take_table(&self, _: &Memory<Machine>, level: usize, page: VirtualPage) -> Option<Mfn> {
        assert!(level < MAX_LEVELS);
        self.tables.lock().unwrap().remove(&(level, page.get() >> SPANS[level]))
    }

    fn flush(&self, _: &Memory<Machine>, _: VirtualRange, _: Flush) {}
}

/// A mapping of a whole window has a table at either end on each level, and all go with it, but for those above
/// the eighth level.
#[test]
fn tables_of_all_levels_go_at_both_ends() {
    let world = World::small(Heap::Unified).started();
    let memory = &*world.memory;
    let before = memory.statistics().in_use;
    let window = Vmap::new(memory, Tall::default(), pages(0, 512));
    let device = FrameRange::from_len(mfn(1 << 30), 510).unwrap();
    let all = window.map(&[device], Access::READ).unwrap();
    // 256 of the lowest level, and half as many of each other; and one for the books.
    assert_eq!(memory.statistics().in_use - before, 511 + 1);
    window.validate().unwrap();
    window.unmap(all, |_, _| ()).unwrap();
    let left: Vec<_> = window.tables().tables.lock().unwrap().keys().copied().collect();
    assert_eq!(left, [(MAX_LEVELS, 0)]);
    assert_eq!(memory.statistics().in_use - before, 1);
    window.validate().unwrap();
    world.check();
}
