//! Virtual ranges.

use std::ptr;

use bedframe::{
    Access, FrameRange, Memory, NodeId, Order, Request, VirtualPage, VirtualRange, Vmap, VmapError,
};
use bedframe_hosted::{HostedError, HostedMemory, HostedPlatform, HostedWindow};

use crate::ONE;
use crate::common::{Heap, Snapshot, World, mfn, range};

type Window<'m> = Vmap<'m, HostedPlatform, HostedWindow>;

fn machine() -> Memory<HostedPlatform> {
    let memory = Memory::new(HostedPlatform::new(HostedMemory::new(mfn(4096)).unwrap()));
    memory.reserve(range(1, 2)).unwrap();
    // SAFETY: the hosted machine's memory is used by nobody else; frame 1 is for the top table.
    unsafe { memory.add_ram(range(0, 4096), NodeId(0)) }.unwrap();
    memory
}

/// A window of `pages` pages, in a larger one of the machine's.
fn window(memory: &Memory<HostedPlatform>, pages: u64) -> Window<'_> {
    let tables = HostedWindow::new(memory.platform(), mfn(1), 1 << 11).unwrap();
    // Its end lies in the middle of a page table.
    let start = VirtualPage::new(tables.pages().start().get() + 600);
    Vmap::new(memory, tables, VirtualRange::from_len(start, pages).unwrap())
}

/// X b0e55bd497: windows of many sizes are filled completely, with single pages, with one mapping of all, and
/// with pieces that just fit: the last page that can be mapped is, it can be read and written, and the guards
/// on both sides fault.
///
/// Answer: the books account for every page of the window: it is mapped, a guard, or in exactly one hole, which
/// `Vmap::validate` walks; a search that is refused says how large the largest hole is.
///
/// Also: `vmap::holes::a_window_is_full_to_the_last_page`, `vmap::holes::every_hole_is_found_by_what_fits_it`
#[test]
fn a_virtual_range_is_filled_completely() {
    for size in [3, 4, 9, 64, 65, 511, 513] {
        for piece in [1, 2, 7, size - 2] {
            let memory = machine();
            let window = window(&memory, size);
            let all = window.window();
            let fit = if piece > size - 2 { 0 } else { (size - 1) / (piece + 1) };
            let mut held = Vec::new();
            let refused = loop {
                match window.alloc(piece, &ONE, Access::READ_WRITE) {
                    Ok(mapping) => held.push(mapping),
                    Err(error) => break error,
                }
            };
            assert_eq!(held.len() as u64, fit, "pieces of {piece} in {size}");
            // What is left holds a smaller piece, down to the last page.
            let most = match refused {
                VmapError::NoRoom { pages, most } => {
                    assert_eq!(pages, piece);
                    most
                }
                error => {
                    assert_eq!(error, VmapError::TooLarge { pages: piece, most: size - 2 });
                    size - 2
                }
            };
            let left = size - 1 - fit * (piece + 1);
            assert_eq!(most, left.saturating_sub(1), "pieces of {piece} in {size}");
            if most > 0 {
                held.push(window.alloc(most, &ONE, Access::READ_WRITE).unwrap());
                let last = VirtualPage::new(all.end().get() - 2);
                assert!(held.iter().any(|mapping| mapping.contains(last)), "{piece} in {size}");
            }
            window.validate().unwrap();
            assert_eq!(window.counts().largest, 0);
            for (at, mapping) in held.iter().enumerate() {
                for page in mapping.iter() {
                    window.tables().store(page, 511, page.get() ^ at as u64).unwrap();
                }
            }
            for (at, mapping) in held.iter().enumerate() {
                for page in mapping.iter() {
                    assert_eq!(window.tables().load(page, 511).unwrap(), page.get() ^ at as u64);
                }
                for guard in [mapping.start().get() - 1, mapping.end().get()] {
                    let guard = VirtualPage::new(guard);
                    let load = window.tables().load(guard, 0);
                    assert!(matches!(load, Err(HostedError::Fault { .. })), "{guard}: {load:?}");
                }
            }
            held.into_iter().for_each(|mapping| window.free(mapping).unwrap());
            assert_eq!(window.counts().largest, size - 2, "one hole again");
            window.validate().unwrap();
        }
    }
}

/// X 640f891eb2: null is freed as a mapped address, of any order, and as a range of no pages: at every stage,
/// nothing happens.
///
/// Answer: `free_xen_heap` takes null for nothing. A window answers a range that is no mapping of its own with
/// an error that names the page, and nothing asserts.
///
/// Also: `seed::xen_heap::null_is_a_no_op`, `vmap::misuse::only_whole_mappings_are_taken_away`
#[test]
fn freeing_null_does_nothing() {
    for heap in Heap::ALL {
        let world = World::small(heap);
        for started in [false, true] {
            if started {
                world.start();
            }
            let before = world.check();
            for order in 0..=Order::MAX.get() {
                let order = Order::new(order).unwrap();
                assert_eq!(world.memory.free_xen_heap(ptr::null(), order), Ok(()));
            }
            world.check().assert_same_as(&before, "null");
            assert_eq!(world.machine.misuse_count(), 0);
        }
    }
    let memory = machine();
    let window = window(&memory, 64);
    for started in [false, true] {
        if started {
            memory.start(1).unwrap();
        }
        let look = || Snapshot::take(&memory, range(0, 4096));
        let before = look();
        let null = VirtualRange::default();
        let none = Err(VmapError::NotMapped { page: VirtualPage::new(0) });
        assert_eq!(window.free(null), none);
        assert_eq!(window.unmap(null, |_, _| panic!("told of a page")), none);
        assert_eq!(window.map(&[FrameRange::EMPTY], Access::READ), Err(VmapError::NoPages));
        assert_eq!(window.alloc(0, &ONE, Access::READ), Err(VmapError::NoPages));
        assert!(window.alloc(1, &Request::frames(0), Access::READ).is_err());
        look().assert_same_as(&before, "null");
        window.validate().unwrap();
    }
}
