//! A mapping that fails at any point leaves everything as it was.

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    Access, AllocError, FrameRange, PageTableError, Pool, Request, VirtualRange, VmapContradiction,
    VmapError,
};

use crate::common::{Heap, order};
use crate::watched::{Room, page, pages, scattered};

const ONE: Request<'static> = Request::frames(1);

fn at_each_stage(test: impl Fn(&Room)) {
    for heap in Heap::ALL {
        for late in [false, true] {
            // Its mappings reach over two tables, and the higher table of both is the window's.
            let room = Room::new(heap, 0x4_0000, 1 << 18);
            if late {
                room.world.start();
            }
            test(&room);
        }
    }
}

/// The page tables refuse the n-th entry, for every n.
#[test]
fn the_page_tables_refuse() {
    at_each_stage(|room| {
        let frames = scattered(room.memory, 9);
        let around = room.window.map(&frames[..2], Access::READ).unwrap();
        room.window.alloc(500, &ONE, Access::READ).unwrap();
        let before = room.look();
        for n in 1..=40 {
            room.window.tables().refuse_in.store(n, Relaxed);
            let refused = |mapped| {
                let error = PageTableError::Refused { code: 7 };
                Err(VmapError::PageTable { mapped, error })
            };
            let result = if n <= 9 {
                room.window.map(&frames, Access::READ)
            } else {
                // Pieces of four: some fail in the middle of one.
                room.window.alloc(10, &Request::order(order(2)), Access::READ_WRITE)
            };
            assert_eq!(result, refused(n - 1));
            room.check();
            let after = room.look();
            after.0.assert_same_as(&before.0, "refused");
            assert_eq!(after.1, before.1);
        }
        assert_eq!(around.pages(), 2);
        // Pieces of one frame over the edge of a table, which had to be made.
        room.window.tables().refuse_in.store(30, Relaxed);
        assert!(room.window.alloc(30, &ONE, Access::READ).is_err());
        let after = room.look();
        after.0.assert_same_as(&before.0, "refused in another table");
        assert_eq!(after.1, before.1);
    });
}

/// Memory ends at the n-th allocation, for every n: of a frame, a table, or a frame for the books.
#[test]
fn memory_ends() {
    at_each_stage(|room| {
        let mut held = Vec::new();
        for pool in [Pool::Domain, Pool::Xen] {
            while let Ok(range) = room.memory.alloc(&ONE.pool(pool)) {
                held.push(range);
            }
        }
        let mut kinds = [0; 3];
        let mut mapped = None;
        for n in 0..30 {
            let before = room.look();
            match room.window.alloc(20, &ONE, Access::READ_WRITE) {
                Ok(range) => {
                    mapped = Some((n, range));
                    break;
                }
                Err(error) => {
                    assert!(error.waiting_can_help(), "{error}");
                    kinds[match error {
                        VmapError::NoMetadata { .. } => 0,
                        VmapError::PageTable { error: PageTableError::NoTable { .. }, .. } => 1,
                        VmapError::NoFrame { error: AllocError::OutOfMemory { .. }, .. } => 2,
                        error => panic!("{error}"),
                    }] += 1;
                }
            }
            let after = room.look();
            after.0.assert_same_as(&before.0, "refused");
            assert_eq!(after.1, before.1);
            room.check();
            // One for the books, one to map, two for tables, and then such as are to be mapped.
            let mapped = room.world.xen_heap.mapped();
            let wanted = matches!(n, 0 | 2 | 3);
            let at = held.iter().position(|range| mapped.covers(*range) == wanted);
            room.memory.free(held.swap_remove(at.unwrap_or(0))).unwrap();
        }
        let (frames, range) = mapped.expect("mapped at last");
        assert!(kinds.iter().all(|kind| *kind > 0), "{kinds:?}");
        assert!(frames >= 23, "20 frames, two tables, one for the books: {frames}");
        room.window.free(range).unwrap();
        room.check();
    });
}

/// A frame that cannot be freed makes the whole range stay, whichever it is.
#[test]
fn a_frame_that_is_not_to_be_freed() {
    at_each_stage(|room| {
        let frames = scattered(room.memory, 12);
        let mapping = room.window.map(&frames, Access::READ_WRITE).unwrap();
        for (at, frame) in frames.iter().enumerate() {
            room.memory.free(*frame).unwrap();
            let before = room.look();
            let misuses = room.world.machine.misuse_count();
            let error = room.window.free(mapping).unwrap_err();
            let wrong = page(mapping.start().get() + at as u64);
            assert!(
                matches!(error, VmapError::NotFreeable { page, .. } if page == wrong),
                "{error}"
            );
            assert_eq!(error.frame(), Some(frame.start()));
            assert!(!error.waiting_can_help());
            assert_eq!(room.world.machine.misuse_count(), misuses + 1);
            let after = room.look();
            after.0.assert_same_as(&before.0, "refused");
            assert_eq!(after.1, before.1);
            room.memory.alloc(&Request::exactly(*frame)).unwrap();
        }
        room.window.free(mapping).unwrap();
        room.check();
    });
}

/// A frame that is mapped twice in one range is freed once; the range keeps what is left, cannot be
/// accessed, and can be taken away.
#[test]
fn a_frame_that_is_mapped_twice() {
    at_each_stage(|room| {
        let frames = scattered(room.memory, 3);
        let [a, b, c] = frames[..] else { unreachable!() };
        let before = room.snapshot();
        let mapping = room.window.map(&[a, b, a, c], Access::READ).unwrap();
        let error = room.window.free(mapping).unwrap_err();
        let VmapError::NotFreed { page: at, error } = error else { panic!("{error}") };
        assert_eq!((at, error.frame), (mapping.start(), a.start()));
        assert!(mapping.iter().all(|page| room.window.tables().reachable(page).is_none()));
        assert!(mapping.iter().all(|page| room.window.lookup(page).is_none()));
        // It is refused again, and again nothing is lost.
        assert!(matches!(room.window.free(mapping), Err(VmapError::NotFreeable { .. })));
        let mut told = Vec::new();
        room.window.unmap(mapping, |page, frame| told.push((page, frame))).unwrap();
        assert_eq!(told, [(mapping.start(), a.start())]);
        for range in [a, b, c] {
            room.memory.alloc(&Request::exactly(range)).unwrap();
        }
        assert_eq!(room.snapshot().counts, before.counts);
        room.check();
    });
}

/// Requests that can never be met, and such as make no sense.
#[test]
fn impossible_requests() {
    at_each_stage(|room| {
        let before = room.look();
        let most = room.window.window().pages() - 2;
        let many = FrameRange::ALL;
        assert_eq!(room.window.map(&[], Access::READ), Err(VmapError::NoPages));
        assert_eq!(room.window.map(&[FrameRange::EMPTY; 3], Access::READ), Err(VmapError::NoPages));
        assert_eq!(room.window.alloc(0, &ONE, Access::READ), Err(VmapError::NoPages));
        let pages = 1 << 53;
        let twice = room.window.map(&[many, many], Access::READ);
        assert_eq!(twice, Err(VmapError::TooLarge { pages, most }));
        let endless = room.window.alloc(u64::MAX, &Request::frames(3), Access::READ);
        assert_eq!(endless, Err(VmapError::TooLarge { pages: u64::MAX, most }));
        for request in [Request::frames(0), ONE.align(3), ONE.width(3)] {
            let error = room.window.alloc(2, &request, Access::READ).unwrap_err();
            assert!(matches!(error, VmapError::NoFrame { mapped: 0, .. }), "{error}");
            assert!(!error.waiting_can_help());
        }
        let after = room.look();
        after.0.assert_same_as(&before.0, "refused");
        assert_eq!(after.1, before.1);
    });
}

/// What somebody else has entered in the page tables is not touched.
#[test]
fn an_occupied_page_is_refused() {
    let room = Room::new(Heap::Unified, 0x4_0000, 1 << 18);
    let frames = scattered(room.memory, 6);
    let first = room.window.map(&frames[..1], Access::READ).unwrap();
    let other = pages(first.end().get() + 3, first.end().get() + 4);
    room.window.tables().smuggle(room.memory, other.start(), frames[5].start());
    let result = room.window.map(&frames[1..5], Access::READ);
    let error = PageTableError::Occupied;
    assert_eq!(result, Err(VmapError::PageTable { mapped: 2, error }));
    assert_eq!(room.window.counts().mappings, 1);
    let small: VirtualRange = room.window.map(&frames[1..3], Access::READ).unwrap();
    assert_eq!(small.end(), other.start());
    // A guard that is mapped is a contradiction.
    let guard = VmapContradiction::Guard { page: other.start() };
    assert_eq!(room.window.validate(), Err(guard));
}

/// A page that somebody else has taken out of the page tables is a contradiction, and the mapping can be
/// taken away all the same.
#[test]
fn a_page_that_is_gone_is_found() {
    let room = Room::new(Heap::Unified, 0x4_0000, 1 << 18);
    let frames = scattered(room.memory, 3);
    let mapping = room.window.map(&frames, Access::READ).unwrap();
    let gone = page(mapping.start().get() + 1);
    room.window.tables().steal(room.memory, gone);
    assert_eq!(room.window.lookup(gone), None);
    assert_eq!(room.window.validate(), Err(VmapContradiction::NoFrame { page: gone }));
    let mut told = Vec::new();
    room.window.unmap(mapping, |_, frame| told.push(frame)).unwrap();
    assert_eq!(told, [frames[2].start(), frames[0].start()]);
    room.check();
}
