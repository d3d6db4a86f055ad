//! Ranges that are no mapping, and mappings that are gone.

use bedframe::{
    Access, Accounting, DomainId, FrameRange, FreeError, FreeRefusal, RangeKind, VirtualRange,
    VmapError,
};

use crate::common::{Heap, World, mfn, range};
use crate::watched::{Room, page, pages, scattered};

/// Whatever is not exactly one mapping is refused by name, with nothing changed.
#[test]
fn only_whole_mappings_are_taken_away() {
    let room = Room::new(Heap::Unified, 0x400, 1024);
    let frames = scattered(room.memory, 20);
    let low = room.window.map(&frames[..8], Access::READ).unwrap();
    let high = room.window.map(&frames[8..], Access::READ).unwrap();
    assert_eq!((low, high), (pages(0x401, 0x409), pages(0x40a, 0x416)));
    let before = room.look();
    let part = |mapping| VmapError::NotWhole { mapping };
    let none = |number| VmapError::NotMapped { page: page(number) };
    for (range, error) in [
        (pages(0x401, 0x408), part(low)),
        (pages(0x402, 0x409), part(low)),
        (pages(0x403, 0x404), part(low)),
        (pages(0x401, 0x40a), part(low)),
        (pages(0x401, 0x416), part(low)),
        (pages(0x401, 0x401), part(low)),
        (pages(0x40b, 0x417), part(high)),
        (pages(0x400, 0x409), none(0x400)),
        (pages(0x409, 0x40a), none(0x409)),
        (pages(0x409, 0x416), none(0x409)),
        (pages(0x416, 0x417), none(0x416)),
        (pages(0x500, 0x508), none(0x500)),
        (pages(0, 8), none(0)),
        (pages(0x3ff, 0x409), none(0x3ff)),
        (pages(0x800, 0x801), none(0x800)),
        (pages(1 << 52, 1 << 52), none(1 << 52)),
        (VirtualRange::default(), none(0)),
    ] {
        assert_eq!(room.window.free(range), Err(error), "{range}");
        assert_eq!(room.window.unmap(range, |_, _| panic!("told of a page")), Err(error));
        assert!(!error.waiting_can_help());
    }
    let after = room.look();
    after.0.assert_same_as(&before.0, "refused");
    assert_eq!(after.1, before.1);
    for range in [low, high] {
        room.window.free(range).unwrap();
        let gone = Err(VmapError::NotMapped { page: range.start() });
        assert_eq!(room.window.free(range), gone);
        assert_eq!(room.window.unmap(range, |_, _| ()), gone);
    }
    room.check();
}

/// A mapping with frames that a domain owns, or that somebody refers to, can be taken away, and not freed.
#[test]
fn owned_frames_are_mapped_and_not_freed() {
    let world = World::recorded(World::small_heap(Heap::Unified), World::SMALL);
    world.start();
    let room = Room::on(world, 0x400, 64);
    let frames = scattered(room.memory, 6);
    room.memory.create_domain(DomainId(1), 10).unwrap();
    room.memory.assign(DomainId(1), frames[4], Accounting::Counted).unwrap();
    let mapping = room.window.map(&frames, Access::READ).unwrap();
    let before = room.look();
    let refused = |at: usize, why| {
        let error = FreeError { frame: frames[at].start(), why, committed: 0 };
        Err(VmapError::NotFreeable { page: page(0x401 + at as u64), error })
    };
    assert_eq!(room.window.free(mapping), refused(4, FreeRefusal::Owned));
    room.memory.reference(frames[2].start()).unwrap();
    assert_eq!(room.window.free(mapping), refused(2, FreeRefusal::Referenced));
    room.memory.unreference(frames[2].start()).unwrap();
    let after = room.look();
    after.0.assert_same_as(&before.0, "refused");
    assert_eq!(after.1, before.1);
    room.memory.steal(DomainId(1), frames[4]).unwrap();
    room.window.free(mapping).unwrap();
    room.check();
}

/// Why a frame is not to be freed is said as `free` itself says it.
#[test]
fn the_reason_is_that_of_a_free() {
    let world = World::empty(World::small_heap(Heap::Unified), mfn(4400), false);
    world.memory.reserve_releasable(range(800, 810)).unwrap();
    world.memory.reserve(range(810, 820)).unwrap();
    world.memory.withhold_bad(range(820, 830)).unwrap();
    let room = Room::on(world.with_ram(World::SMALL), 0x400, 64);
    room.world.start();
    let metadata = room.snapshot().first(RangeKind::Metadata).unwrap().start();
    for (frame, why) in [
        (mfn(710), FreeRefusal::Hole),
        (mfn(805), FreeRefusal::Releasable),
        (mfn(815), FreeRefusal::Reserved),
        (mfn(825), FreeRefusal::Bad),
        (metadata, FreeRefusal::Metadata),
    ] {
        let error = FreeError { frame, why, committed: 0 };
        let range = FrameRange::single(frame);
        assert_eq!(room.memory.free(range), Err(error));
        let mapping = room.window.map(&[range], Access::READ).unwrap();
        let refused = VmapError::NotFreeable { page: mapping.start(), error };
        assert_eq!(room.window.free(mapping), Err(refused));
        room.window.unmap(mapping, |_, _| ()).unwrap();
    }
    room.check();
}

/// A mapping of frames that are no RAM can be taken away, and not freed.
#[test]
fn device_memory_is_mapped_and_not_freed() {
    let room = Room::new(Heap::Unified, 0, 64);
    let device = FrameRange::from_len(mfn(0xfee00), 4).unwrap();
    let uncached = Access { kind: 3, ..Access::READ_WRITE };
    let mapping = room.window.map(&[device], uncached).unwrap();
    let error = room.window.free(mapping).unwrap_err();
    assert!(matches!(error, VmapError::NotFreeable { page, .. } if page == mapping.start()));
    assert_eq!(room.window.lookup(mapping.start()), Some(device.start()));
    room.window.unmap(mapping, |_, _| ()).unwrap();
    room.check();
}

/// While one call takes a mapping away another is told that it is busy, and so is a call that is
/// made for the range from within.
#[test]
fn a_mapping_that_goes_is_busy() {
    let room = Room::new(Heap::Unified, 0, 64);
    let frames = scattered(room.memory, 3);
    let mapping = room.window.map(&frames, Access::READ).unwrap();
    let mut refusals = 0;
    room.window
        .unmap(mapping, |page, _| {
            assert_eq!(room.window.lookup(page), None);
            assert_eq!(room.window.free(mapping), Err(VmapError::Busy { mapping }));
            assert_eq!(room.window.next(bedframe::VirtualPage::new(0)), Some(mapping));
            refusals += 1;
        })
        .unwrap();
    assert_eq!(refusals, 3);
    room.check();
}

/// All mappings are walked in order, from any page on.
#[test]
fn mappings_are_walked() {
    let room = Room::new(Heap::Unified, 0x10, 64);
    let frames = scattered(room.memory, 9);
    let made: Vec<_> =
        frames.chunks(3).map(|part| room.window.map(part, Access::READ).unwrap()).collect();
    for number in 0..100 {
        let expected = made.iter().find(|mapping| mapping.end() > page(number));
        assert_eq!(room.window.next(page(number)), expected.copied(), "from page {number:#x}");
    }
    assert_eq!(room.window.next(bedframe::VirtualPage::MAX), None);
}

/// Errors say what, where and which.
#[test]
fn errors_name_what_they_are_about() {
    let room = Room::new(Heap::Unified, 0x400, 16);
    let frames = scattered(room.memory, 2);
    let mapping = room.window.map(&frames, Access::READ).unwrap();
    let text = |range| room.window.free(range).unwrap_err().to_string();
    assert_eq!(text(pages(0x402, 0x403)), "not a whole mapping, which is pages [0x401, 0x403)");
    assert_eq!(text(pages(0x405, 0x406)), "no mapping begins at page 0x405");
    room.memory.free(frames[1]).unwrap();
    let frame = frames[1].start();
    assert_eq!(text(mapping), format!("page 0x402: frame {frame} is free already (double free)"));
}
