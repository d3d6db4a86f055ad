//! The seed's story: a mapping is made from the first frames that there are, and taken away when
//! the heap has long been running.

use bedframe::{Access, FrameRange, Memory, NodeId, Order, PageState, Request, Vmap, VmapError};
use bedframe_hosted::{HostedMemory, HostedPlatform, HostedWindow};

use crate::common::{Heap, World, mfn, range};
use crate::watched::{Room, frames_of, pages, scattered};

const ONE: Request<'static> = Request::frames(1);

/// Made before hand-over, freed after it; and everything comes together to what it was.
#[test]
fn an_early_mapping_is_freed_late() {
    for heap in Heap::ALL {
        let room = Room::new(heap, 1 << 18, 1 << 18);
        let before = room.snapshot();
        let early = room.window.alloc(70, &ONE, Access::READ_WRITE).unwrap();
        assert_eq!(early, pages((1 << 18) + 1, (1 << 18) + 71));
        let frames: Vec<_> = early.iter().map(|page| room.window.lookup(page).unwrap()).collect();
        assert!(frames.iter().all(|frame| room.memory.state(*frame) == PageState::Uninitialised));
        assert!(room.memory.statistics().uninitialised > before.counts.uninitialised + 70);

        room.world.start();
        room.check();
        let late = room.window.alloc(70, &ONE, Access::READ_WRITE).unwrap();
        room.window.free(early).unwrap();
        room.check();
        assert!(frames.iter().all(|frame| room.memory.state(*frame) == PageState::Free));
        assert!(early.iter().all(|page| room.window.lookup(page).is_none()));
        room.window.free(late).unwrap();
        assert_eq!(room.window.counts().frames, 0);

        // The top table alone is left of what boot had.
        let after = room.memory.statistics();
        assert_eq!((after.uninitialised, after.in_use), (1, 0));
        let ram = before.counts.free - (after.metadata - before.counts.metadata);
        assert_eq!(after.free, ram);
    }
}

/// The frames of an early mapping that fill 2 MiB are one block when it is freed late.
#[test]
fn early_frames_coalesce() {
    let room = Room::new(Heap::Unified, 0, 2048);
    let block = range(3072, 3584);
    let held = room.memory.alloc(&Request::exactly(block)).unwrap();
    // One after the other, back to front.
    let single: Vec<_> = held.iter().rev().map(FrameRange::single).collect();
    let early = room.window.map(&single, Access::READ).unwrap();
    room.world.start();
    let whole = Request::order(Order::new(9).unwrap()).inside(block);
    assert!(room.memory.alloc(&whole).is_err());
    room.window.free(early).unwrap();
    room.check();
    assert_eq!(room.memory.alloc(&whole), Ok(block));
}

/// Mapped and unmapped at each pair of stages, nothing is left behind: boot, and after.
#[test]
fn nothing_is_left_behind_at_any_stage() {
    for (map_late, unmap_late) in [(false, false), (false, true), (true, true)] {
        let room = Room::new(Heap::Separate, 0x10_0000, 1 << 18);
        if map_late {
            room.world.start();
        }
        let before = room.snapshot();
        let frames = scattered(room.memory, 30);
        let first = room.window.map(&frames, Access::READ_WRITE).unwrap();
        // The same frames once more, from the last to the first.
        let back: Vec<_> = frames.iter().rev().copied().collect();
        let second = room.window.map(&back, Access::READ).unwrap();
        room.check();
        if unmap_late && !map_late {
            room.world.start();
        }
        let mut told = Vec::new();
        room.window.unmap(first, |page, frame| told.push((page, frame))).unwrap();
        told.reverse();
        assert!(told.iter().map(|(page, _)| *page).eq(first.iter()));
        assert!(told.into_iter().map(|(_, frame)| frame).eq(frames_of(&frames)));
        room.window.free(second).unwrap();
        if map_late == unmap_late {
            room.check_empty(&before);
        } else {
            assert_eq!(room.memory.statistics().uninitialised, 1);
            assert_eq!(room.memory.statistics().in_use, 0);
        }
        room.check();
    }
}

/// A window works from the first RAM on, and before that says what is missing.
#[test]
fn before_the_first_ram_there_is_nothing_to_map() {
    let host = HostedPlatform::new(HostedMemory::new(mfn(64)).unwrap());
    let memory = Memory::new(host.clone());
    let tables = HostedWindow::new(&host, mfn(1), 512).unwrap();
    let pages = tables.pages();
    let window = Vmap::new(&memory, tables, pages);
    let error = window.alloc(1, &ONE, Access::READ).unwrap_err();
    assert!(matches!(error, VmapError::NoMetadata { .. }), "{error}");
    memory.reserve(range(0, 2)).unwrap();
    // SAFETY: the hosted machine's memory is used by nobody else; frame 1 is reserved.
    unsafe { memory.add_ram(range(0, 8), NodeId(0)) }.unwrap();
    // Six frames: one for the books, one for a table, four to map.
    let all = window.alloc(4, &ONE, Access::READ_WRITE).unwrap();
    assert_eq!(memory.statistics().free, 0);
    window.tables().store(all.start(), 7, 99).unwrap();
    window.free(all).unwrap();
    assert_eq!(memory.statistics().free, 6);
}

/// Pieces of several frames are mapped as such, from node and range that the request says.
#[test]
fn pieces_come_as_requested() {
    let room = Room::new(Heap::Unified, 0, 512);
    room.world.start();
    let request = Request::order(Order::new(2).unwrap()).on(NodeId(2));
    let mapping = room.window.alloc(5, &request, Access::READ).unwrap();
    assert_eq!(mapping.pages(), 20);
    let frames: Vec<_> = mapping.iter().map(|page| room.window.lookup(page).unwrap()).collect();
    for piece in frames.chunks(4) {
        assert!(piece[0].get() % 4 == 0 && piece[0] >= mfn(2600));
        assert!(piece.windows(2).all(|pair| pair[0].get() + 1 == pair[1].get()));
    }
    room.window.free(mapping).unwrap();
    room.check();
}

/// A world without frame 0 to spare, or with it: a mapping of frame 0 is like any other.
#[test]
fn frame_zero_can_be_mapped() {
    let world = World::with_frame_zero(World::small_heap(Heap::Unified), World::SMALL);
    let room = Room::on(world, 0, 64);
    let zero = room.memory.alloc(&Request::exactly(range(0, 1))).unwrap();
    let mapping = room.window.map(&[zero], Access::READ).unwrap();
    assert_eq!(room.window.lookup(mapping.start()), Some(mfn(0)));
    room.world.start();
    room.window.free(mapping).unwrap();
    assert_eq!(room.memory.state(mfn(0)), PageState::Free);
    room.check();
}

/// With the ledger full nothing can be split off a range: a mapping is freed as far as that goes,
/// and can be freed on; what tables and books lay in is kept until it can go.
#[test]
fn with_a_full_ledger_nothing_is_lost() {
    let heap = Heap::Limited.with(1024, range(512, 1024));
    let room = Room::on(World::new(heap, &[(512, 1024, 0), (2048, 6144, 1)]), 1 << 18, 1 << 18);
    let memory = room.memory;
    let held = memory.alloc(&Request::exactly(range(6000, 6030))).unwrap();
    let freed = room.window.map(&[range(6005, 6009)], Access::READ).unwrap();
    let kept = room.window.map(&[range(6010, 6012)], Access::READ).unwrap();
    let mut mapped = Vec::new();
    while let Ok(range) = memory.alloc(&ONE.inside(range(512, 1024))) {
        mapped.push(range);
    }
    let mut single = Vec::new();
    for frame in (2049..5900).step_by(2) {
        match memory.alloc(&Request::exactly(range(frame, frame + 1))) {
            Ok(range) => single.push(range),
            Err(error) => {
                assert!(error.waiting_can_help(), "{error}");
                break;
            }
        }
    }
    let error = room.window.free(freed).unwrap_err();
    assert!(matches!(error, VmapError::NotFreed { .. }) && error.waiting_can_help(), "{error}");
    room.window.unmap(kept, |_, _| ()).unwrap();
    let again = room.window.free(freed).unwrap_err();
    assert!(matches!(again, VmapError::NotFreed { .. }), "{again}");
    room.window.unmap(freed, |_, _| ()).unwrap();
    let counts = room.window.counts();
    assert!(counts.mappings == 0 && counts.frames == 3, "two tables and the books: {counts:?}");
    room.check();
    // Books are made of what is kept.
    let third = room.window.map(&[range(6010, 6012)], Access::READ);
    assert!(third.is_err(), "there is no frame for tables: {third:?}");
    assert_eq!(room.window.counts(), counts);
    room.check();

    // Each of these joins its neighbours, and makes room in the ledger.
    single.into_iter().chain(mapped).for_each(|range| memory.free(range).unwrap());
    let last = room.window.map(&[range(6010, 6012)], Access::READ).unwrap();
    room.window.unmap(last, |_, _| ()).unwrap();
    assert_eq!(room.window.counts().frames, 0);
    memory.free(held).unwrap();
    room.check();
    assert_eq!(memory.statistics().uninitialised, 1, "the top table");
}
