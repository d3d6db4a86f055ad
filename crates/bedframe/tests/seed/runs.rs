//! What is known of frames in a row, and frames that were in use before anybody was asked.

use bedframe::{
    FrameRange, FrameRun, FreeRefusal, MapError, NodeId, Order, PageState, RangeKind, Request,
    XenHeap,
};

use crate::common::{Heap, World, mfn, range};
use crate::in_all_variants;

fn run(frames: FrameRange, kind: RangeKind, node: Option<u32>, state: PageState) -> FrameRun {
    let node = node.map(NodeId);
    FrameRun { frames, kind, node, state, ownership: None, references: 0 }
}

/// Before the heap runs the ledger tells; afterwards chunks do, as many in a row as are alike.
#[test]
fn runs_are_as_long_as_they_are_alike() {
    use PageState::*;
    let world = World::empty(XenHeap::Unified, mfn(20_000), false);
    world.memory.withhold_bad(range(19_000, 19_010)).unwrap();
    world.memory.reserve(range(8192, 8200)).unwrap();
    world.memory.reserve_releasable(range(9000, 9100)).unwrap();
    let world = world.with_ram(&[(8192, 16384, 3)]);
    let at = |frame| world.memory.run_at(mfn(frame));
    let (usable, node) = (RangeKind::Usable, Some(3));
    assert_eq!(at(5), run(range(5, 8192), RangeKind::Hole, None, Absent));
    assert_eq!(at(8192), run(range(8192, 8200), RangeKind::Reserved, node, Reserved));
    assert_eq!(at(8500), run(range(8500, 9000), usable, node, Free));
    assert_eq!(at(9050), run(range(9050, 9100), RangeKind::Releasable, node, Reserved));
    assert_eq!(at(19_001), run(range(19_001, 19_010), RangeKind::Bad, None, Absent));
    assert_eq!(at(20_000).frames.end(), bedframe::Mfn::MAX);

    world.memory.keep(range(12_300, 14_000)).unwrap();
    world.start();
    world.memory.release(range(9010, 9020)).unwrap();
    assert_eq!(
        at(12_400),
        run(range(12_400, 14_000).intersect(range(12_288, 12_800)), usable, node, Uninitialised)
    );
    assert_eq!(
        at(12_800),
        run(range(12_800, 13_824), usable, node, Uninitialised),
        "chunks in a row"
    );
    let whole = world.memory.alloc(&Request::exactly(range(10_240, 10_752))).unwrap();
    let some = world.memory.alloc(&Request::exactly(range(11_270, 11_280))).unwrap();
    assert_eq!(at(8200), run(range(8200, 8704), usable, node, Free), "the rest of a chunk");
    assert_eq!(at(9000), run(range(9000, 9010), RangeKind::Releasable, node, Reserved));
    assert_eq!(at(9010), run(range(9010, 9020), RangeKind::Releasable, node, Free));
    assert_eq!(at(9300), run(range(9300, 10_240), usable, node, Free), "chunks in a row");
    assert_eq!(at(10_250), run(range(10_250, 10_752), usable, node, InUse));
    assert_eq!(
        (at(10_752), whole.end()),
        (run(range(10_752, 11_264), usable, node, Free), mfn(10_752))
    );
    assert_eq!(
        (at(11_270), some.end()),
        (run(range(11_270, 11_280), usable, node, InUse), mfn(11_280))
    );
    assert_eq!(at(19_001), run(range(19_001, 19_010), RangeKind::Bad, None, Absent));
    let metadata = (0..).map(|frame| at(16_383 - frame)).find(|run| run.state == Metadata).unwrap();
    assert_eq!((metadata.kind, metadata.node), (RangeKind::Metadata, Some(NodeId(3))));
}

in_all_variants! {
    /// Frames that are in use already are nobody's to hand out, before their RAM is known or after, and are
    /// freed like boot-allocated ones: at any time, in any split.
    fn what_is_kept_is_boot_allocated(heap) {
        let (before, after) = (range(500, 900), range(2000, 2700));
        let world = World::empty(World::small_heap(heap), mfn(4400), false);
        world.memory.keep(before).unwrap();
        assert_eq!(world.memory.state(mfn(600)), PageState::Absent, "it is not RAM yet");
        let refused = world.memory.free(range(600, 601)).unwrap_err();
        assert_eq!((refused.frame, refused.why), (mfn(600), FreeRefusal::Hole));
        let world = world.with_ram(World::SMALL);
        world.memory.keep(after).unwrap();
        for frame in [500, 699, 720, 899, 2000, 2699] {
            assert_eq!(world.memory.state(mfn(frame)), PageState::Uninitialised);
        }
        assert_eq!(world.memory.state(mfn(710)), PageState::Absent, "a hole stays one");
        world.memory.free(range(600, 650)).unwrap();
        world.start();
        let left = 200 - 50 + 180 + 700;
        assert_eq!(world.memory.statistics().uninitialised, left);
        while let Ok(block) = world.memory.alloc(&Request::order(Order::ZERO)) {
            assert!(!block.overlaps(range(650, 900)) && !block.overlaps(after), "{block}");
        }
        world.memory.free(range(2100, 2650)).unwrap();
        world.memory.free(range(650, 700)).unwrap();
        world.check();
        assert_eq!(world.memory.statistics().uninitialised, left - 600);
    }
}

/// Frame 0 was in use, and is kept: it is not handed out for that, unless that was asked for.
#[test]
fn frame_zero_stays_withheld_when_it_is_kept() {
    for handed_out in [false, true] {
        let world = World::empty(XenHeap::Unified, mfn(2048), handed_out);
        world.memory.keep(range(0, 3)).unwrap();
        let world = world.with_ram(&[(0, 2048, 0)]);
        let state = if handed_out { PageState::Uninitialised } else { PageState::Reserved };
        assert_eq!(world.memory.state(mfn(0)), state);
        assert_eq!(world.memory.state(mfn(1)), PageState::Uninitialised);
        world.start();
        let freed = world.memory.free(range(0, 1));
        assert_eq!(
            freed.map_err(|error| error.why),
            if handed_out { Ok(()) } else { Err(FreeRefusal::Reserved) }
        );
        world.memory.free(range(1, 3)).unwrap();
        world.check();
    }
}

/// What somebody has said something of already is not kept, and nothing has changed.
#[test]
fn what_is_spoken_for_is_not_kept() {
    let world = World::small(Heap::Unified);
    let taken = world.memory.alloc(&Request::frames(10)).unwrap();
    world.memory.reserve(range(100, 101)).unwrap();
    world.memory.reserve_releasable(range(200, 201)).unwrap();
    world.memory.withhold_bad(range(300, 301)).unwrap();
    let before = world.snapshot();
    for (frame, state) in [
        (taken.start().get(), PageState::Uninitialised),
        (100, PageState::Reserved),
        (200, PageState::Reserved),
        (300, PageState::Broken),
    ] {
        let error = world.memory.keep(range(frame.saturating_sub(5), frame + 1));
        assert_eq!(error, Err(MapError::InUse { frame: mfn(frame), state }));
        world.snapshot().assert_same_as(&before, "refused");
    }
    assert_eq!(world.memory.keep(FrameRange::EMPTY), Ok(()));
    world.start();
    let error = world.memory.keep(range(1000, 1001));
    assert_eq!(error, Err(MapError::InUse { frame: mfn(1000), state: PageState::InUse }));
}

in_all_variants! {
    /// The variant is what was asked for.
    fn the_variant_can_be_asked_for(heap) {
        let world = World::small(heap);
        assert_eq!(world.memory.xen_heap(), World::small_heap(heap));
        world.start();
        assert_eq!(world.memory.xen_heap(), World::small_heap(heap));
    }
}
