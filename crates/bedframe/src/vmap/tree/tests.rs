//! What [`Vmap::validate`](crate::Vmap::validate) finds in books that have been spoiled.

use super::*;
use crate::addr::FrameRange;
use crate::heap::tests::{Machine, frames, memory};
use crate::memory::Memory;
use crate::vmap::{
    Access, Flush, PageTableError, PageTables, VirtualPage, Vmap, VmapContradiction,
};

/// Page tables in which every page leads to the frame of its number, but for each fourth one.
struct Fixed;

// SAFETY: 1, 2. No processor reads these tables. 3. None is ever taken out.
#[allow(unsafe_code)]
unsafe impl PageTables<Machine> for Fixed {
    fn spans(&self) -> &[u32] {
        &[]
    }

    fn map(
        &self,
        _: &Memory<Machine>,
        _: VirtualPage,
        _: Mfn,
        _: Access,
    ) -> Result<(), PageTableError> {
        Ok(())
    }

    fn frame(&self, _: &Memory<Machine>, page: VirtualPage) -> Option<Mfn> {
        (!page.get().is_multiple_of(4)).then(|| Mfn::new(page.get()))
    }

    fn retire(&self, _: &Memory<Machine>, _: VirtualPage) {}

    fn clear(&self, _: &Memory<Machine>, _: VirtualPage) {}

    fn take_table(&self, _: &Memory<Machine>, _: usize, _: VirtualPage) -> Option<Mfn> {
        None
    }

    fn flush(&self, _: &Memory<Machine>, _: VirtualRange, _: Flush) {}
}

impl Tree {
    /// Changes the mapping that begins at `start`, and what the forks above it know of holes.
    fn change(&mut self, machine: &Machine, start: u64, change: impl Fn(&mut Leaf)) {
        let place = self.floor(machine, start);
        let mut leaf = self.leaf(machine, place).unwrap();
        assert_eq!(leaf.start, start);
        change(&mut leaf);
        self.set(machine, place, Kind::Leaf(leaf));
        self.recount(machine, start);
    }

    /// Changes the fork at the top.
    fn change_top(&mut self, machine: &Machine, change: impl Fn(&mut Fork)) {
        let Kind::Fork(mut fork) = self.get(machine, self.top) else { unreachable!() };
        change(&mut fork);
        self.set(machine, self.top, Kind::Fork(fork));
    }
}

#[test]
fn what_is_wrong_in_the_books_is_found_and_named() {
    use VmapContradiction::{Count, Order, Tree as Lost};
    type Spoil = fn(&mut Tree, &Machine);
    let order = |page| Order { page: VirtualPage::new(page) };
    let first = VirtualRange::between(0x100, 0x100);
    let cases: [(Spoil, VmapContradiction); 10] = [
        // A hole with one page too many.
        (|it, machine| it.change(machine, 0x105, |leaf| leaf.hole += 1), order(0x10a)),
        // A mapping of no pages, which only the first leaf may be; and that with some.
        (
            |it, machine| {
                it.change(machine, 0x105, |leaf| (leaf.pages, leaf.hole) = (0, leaf.hole + 3));
            },
            order(0x105),
        ),
        (|it, machine| it.change(machine, 0x100, |leaf| leaf.pages = 3), order(0x100)),
        // The last hole ends behind the window, and in front of its end.
        (|it, machine| it.change(machine, 0x109, |leaf| leaf.hole += 1), order(0x141)),
        (|it, machine| it.change(machine, 0x109, |leaf| leaf.hole -= 1), order(0x13f)),
        // A fork that knows of a hole that is not there, and such as are not in order.
        (|it, machine| it.change_top(machine, |top| top.largest += 1), Lost { mapping: first }),
        (|it, machine| it.change_top(machine, |top| top.bit = 53), Lost { mapping: first }),
        (|it, machine| it.change_top(machine, |top| top.bit = 0), Lost { mapping: first }),
        // A mapping and a page that nobody made.
        (|it, _| it.mappings += 1, Count { counted: 3, noted: 4 }),
        (|it, _| it.pages += 1, Count { counted: 9, noted: 10 }),
    ];
    for (number, (spoil, expected)) in cases.into_iter().enumerate() {
        let memory = memory(FrameRange::EMPTY);
        let window = Vmap::new(&memory, Fixed, VirtualRange::between(0x100, 0x140));
        for start in [0x101, 0x105, 0x109] {
            let mapping = window.map(&[frames(start, start + 3)], Access::READ).unwrap();
            assert_eq!(mapping.start().get(), start);
        }
        window.validate().unwrap();
        spoil(&mut window.lock().tree, memory.platform());
        assert_eq!(window.validate(), Err(expected), "{number}");
    }
}
