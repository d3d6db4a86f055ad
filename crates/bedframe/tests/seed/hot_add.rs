//! Memory that is plugged in while the heap runs: on nodes known and new, mapped and not.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    AllocError, FrameRange, FreeRefusal, MapError, NodeId, PageState, Pool, Request, XenHeap,
};

use crate::common::{Heap, World, mfn, order, pieces, range};
use crate::in_all_variants;

/// A machine with room for more: the small world below frame 4400, nothing up to 12000.
fn roomy(heap: Heap) -> World {
    let xen_heap = match World::small_heap(heap) {
        // Some of what is plugged in is mapped.
        XenHeap::Limited { .. } => XenHeap::Limited { limit: mfn(6151) },
        XenHeap::Separate { .. } => XenHeap::Separate { range: range(601, 6151) },
        unified => unified,
    };
    World::empty(xen_heap, mfn(12_000), false).with_ram(World::SMALL)
}

in_all_variants! {
    /// On a node that exists, over a pool edge, in one chunk with other memory: free at once,
    /// handed out, freed in any split, coalesced up to its own edges.
    fn memory_is_added_on_a_known_node(heap) {
        let mut world = roomy(heap);
        let boot = range(1500, 2100);
        assert_eq!(world.memory.alloc(&Request::exactly(boot)), Ok(boot));
        world.start();
        let early = world.memory.alloc(&Request::order(order(3))).unwrap();
        let before = world.check().counts;
        let new = range(6000, 7001);
        assert_eq!(world.plug_in(new, NodeId(1)), Ok(1001));
        let look = world.check();
        assert_eq!(look.counts.ram, before.ram + 1001);
        let free = look.counts.free + look.counts.metadata;
        assert_eq!(free, before.free + before.metadata + 1001);
        let blocks = world.drain();
        assert!(blocks.iter().any(|block| new.covers(*block)));
        assert_eq!(world.check().counts.free, 0);
        for block in blocks {
            world.free(block);
        }
        world.free(early);
        for part in pieces(boot, &[333]) {
            world.free(part);
        }
        world.check_all_free();
    }

    /// On nodes that had no memory, with numbers below, between and above those known: found by
    /// name and by fallback, and old memory stays where it was.
    fn memory_is_added_on_new_nodes(heap) {
        let ram = [(1, 700, 10), (720, 2600, 20), (2600, 4400, 30)];
        let xen_heap = roomy(heap).xen_heap;
        let mut world = World::empty(xen_heap, mfn(12_000), false).with_ram(&ram).started();
        let held = range(800, 1900);
        let parts = world.cut(held);
        world.take(held);
        for (number, node) in [5, 15, 40].into_iter().enumerate() {
            let at = 5000 + 1100 * number as u64;
            assert!(world.memory.alloc(&Request::frames(1).on(NodeId(node))).is_err());
            assert_eq!(world.plug_in(range(at, at + 1024), NodeId(node)), Ok(1024));
            world.check();
            let counts = world.memory.node_statistics(NodeId(node));
            assert_eq!(counts.ram, 1024);
            assert!(counts.free > 1000, "{counts:?}");
            let pool = world.pool_of(mfn(at));
            let found = world.memory.alloc(&Request::frames(40).on(NodeId(node)).pool(pool));
            let found = found.unwrap();
            assert!(range(at, at + 1024).covers(found));
            world.assert_in_one_segment(found);
            assert_eq!(world.memory.free(found), Ok(()));
            for old in [10, 20, 30] {
                let pool = world.pool_of(mfn(if old == 10 { 650 } else { 3000 }));
                let found = world.memory.alloc(&Request::frames(1).on(NodeId(old)).pool(pool));
                let Ok(found) = found else { continue };
                assert_eq!(world.key(found.start()).unwrap().0, NodeId(old));
                world.free(found);
            }
        }
        for part in parts {
            world.free(part);
        }
        world.check_all_free();
    }

    /// Plugged in beside what is there: free memory on both sides stays two blocks, and ranges
    /// over the seam are freed like any others.
    fn memory_is_added_beside_what_is_there(heap) {
        let mut world = roomy(heap).started();
        let old_end = range(4300, 4400);
        world.take(old_end);
        assert_eq!(world.plug_in(range(4400, 4900), NodeId(2)), Ok(500));
        assert_eq!(world.plug_in(range(700, 720), NodeId(0)), Ok(20), "a hole between two nodes");
        world.check();
        world.take(range(4400, 4450));
        world.free(range(4350, 4450));
        world.free(range(4300, 4350));
        world.take(range(700, 710));
        world.free(range(700, 710));
        world.check_all_free();
        // Known frames are passed over, and what lies between them is added.
        assert_eq!(world.plug_in(range(4800, 5000), NodeId(2)), Ok(100));
        assert_eq!(world.plug_in(range(2600, 5000), NodeId(2)), Ok(0));
    }

    /// What was said of the range before it came holds: reserved, to be released, bad.
    fn reservations_in_what_is_added_hold(heap) {
        let mut world = roomy(heap).started();
        world.memory.reserve(range(6000, 6010)).unwrap();
        world.memory.reserve_releasable(range(6100, 6200)).unwrap();
        world.memory.withhold_bad(range(6150, 6151)).unwrap();
        assert_eq!(world.plug_in(range(5900, 6300), NodeId(1)), Ok(400));
        let counts = world.check().counts;
        assert_eq!((counts.reserved, counts.releasable, counts.bad), (10, 99, 1));
        let blocks = world.drain();
        for part in [range(6000, 6010), range(6100, 6200)] {
            assert!(blocks.iter().all(|block| !block.overlaps(part)));
        }
        for block in blocks {
            world.free(block);
        }
        let why = |part| world.memory.free(part).unwrap_err().why;
        assert_eq!(why(range(6000, 6001)), FreeRefusal::Reserved);
        assert_eq!(why(range(6100, 6101)), FreeRefusal::Releasable);
        assert_eq!(why(range(6150, 6151)), FreeRefusal::Bad);
        assert_eq!(world.memory.release(range(6100, 6200)), Ok(99));
        world.check_all_free();
    }

    /// A node cannot be taken over, and memory without room for its metadata is refused; both leave
    /// everything as it was.
    fn a_refused_hot_add_leaves_no_trace(heap) {
        let mut world = roomy(heap).started();
        let before = world.check();
        let refused = world.plug_in(range(4300, 4500), NodeId(0));
        assert_eq!(refused, Err(MapError::OtherNode { frame: mfn(4300), node: NodeId(2) }));
        let refused = world.plug_in(range(5000, 5000), NodeId(0));
        assert!(matches!(refused, Err(MapError::BadRange { .. })), "{refused:?}");
        world.check().assert_same_as(&before, "refused");
        assert_eq!(world.memory.state(mfn(4450)), PageState::Absent);
        let why = world.memory.free(range(4450, 4451)).unwrap_err().why;
        assert_eq!(why, FreeRefusal::Hole);
        // What was refused can be added rightly.
        assert_eq!(world.plug_in(range(4400, 4500), NodeId(2)), Ok(100));
        world.check_all_free();
    }

    /// Others go on allocating and freeing while memory arrives, and find it.
    fn memory_is_added_while_others_allocate(heap) {
        let mut world = roomy(heap).started();
        let stop = AtomicBool::new(false);
        let memory = &world.memory;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                bedframe_hosted::set_cpu(bedframe::CpuId(1));
                let mut held: Vec<FrameRange> = Vec::new();
                while !stop.load(Relaxed) {
                    held.extend(memory.alloc(&Request::frames(3)).ok());
                    held.extend(memory.alloc(&Request::order(order(5))).ok());
                    if held.len() > 20 {
                        held.drain(..15).for_each(|part| memory.free(part).unwrap());
                    }
                }
                held.into_iter().for_each(|part| memory.free(part).unwrap());
            });
            let added: Result<Vec<_>, _> = (5000..11_000)
                .step_by(600)
                // SAFETY: hosted memory, which nobody else uses.
                .map(|at| unsafe { memory.add_ram(range(at, at + 500), NodeId(at as u32 % 4)) })
                .collect();
            stop.store(true, Relaxed);
            assert_eq!(added, Ok(vec![500; 10]));
        });
        // So that the world knows of it too.
        for at in (5000..11_000).step_by(600) {
            assert_eq!(world.plug_in(range(at, at + 500), NodeId(at as u32 % 4)), Ok(0));
        }
        world.check_all_free();
    }
}

/// Memory that is not mapped brings no room for its own metadata: that comes from the heap's, and
/// if there is none left the memory is refused, with nothing changed.
#[test]
fn memory_that_is_not_mapped_is_indexed_elsewhere() {
    let xen_heap = XenHeap::Separate { range: range(601, 1901) };
    let mut world = World::empty(xen_heap, mfn(12_000), false).with_ram(World::SMALL).started();
    let new = range(5000, 6000);
    let before = world.check();
    match world.plug_in(new, NodeId(2)) {
        Ok(added) => {
            assert_eq!(added, 1000);
            let look = world.check_all_free();
            assert_eq!(look.counts.free + look.counts.metadata, {
                before.counts.free + before.counts.metadata + 1000
            });
            assert!(new.iter().all(|frame| world.memory.state(frame) == PageState::Free));
        }
        Err(error) => {
            world.snapshot().assert_same_as(&before, "refused");
            panic!("there is mapped memory in plenty: {error}");
        }
    }
}

/// Where the heap has room for the first part of the metadata and not for the next, what was taken for the
/// first is given back, and is free memory like any other.
#[test]
fn metadata_that_was_taken_for_nothing_comes_back() {
    let xen_heap = XenHeap::Separate { range: range(1024, 2048) };
    let mut world = World::empty(xen_heap, mfn(300_000), false);
    world.add_ram(range(1024, 4096), NodeId(0)).unwrap();
    world.start();
    let xen = Request::frames(1).pool(Pool::Xen);
    let mut held = BTreeSet::new();
    while let Ok(found) = world.memory.alloc(&xen) {
        held.insert(found.start().get());
    }
    let words =
        (1024..2048).step_by(64).filter(|word| (*word..word + 64).all(|f| held.contains(&f)));
    // Every second one, so that no two are one block.
    let words: Vec<_> = words.step_by(2).map(|word| range(word, word + 64)).collect();
    let new = range(5000, 5000 + 512 * 512);
    let mut refusals = 0;
    for (freed, word) in words.iter().enumerate() {
        let before = world.snapshot();
        match world.plug_in(new, NodeId(1)) {
            Ok(added) => {
                assert_eq!(added, new.frames());
                world.memory.validate().unwrap();
                assert!(refusals > 1, "a refusal with some room, and not only with none");
                return;
            }
            Err(error) => {
                assert!(matches!(error, MapError::NoMetadata { .. }), "{error}");
                refusals += 1;
                world.snapshot().assert_same_as(&before, "refused");
                world.memory.validate().unwrap();
                for free in &words[..freed] {
                    assert_eq!(
                        world.memory.alloc(&Request::exactly(*free).pool(Pool::Xen)),
                        Ok(*free)
                    );
                    world.memory.free(*free).unwrap();
                }
            }
        }
        world.memory.free(*word).unwrap();
    }
    panic!("there is room for all of it at last");
}

/// Frame 0 may arrive late, and is withheld all the same.
#[test]
fn frame_0_is_withheld_when_it_is_plugged_in() {
    let mut world = World::empty(XenHeap::Unified, mfn(2048), false);
    world.add_ram(range(1024, 2048), NodeId(0)).unwrap();
    world.start();
    assert_eq!(world.plug_in(range(0, 512), NodeId(0)), Ok(512));
    assert_eq!(world.memory.state(mfn(0)), PageState::Reserved);
    assert_eq!(world.check().counts.frame_zero, 1);
    let refused = world.memory.alloc(&Request::exactly(range(0, 1)));
    assert!(matches!(refused, Err(AllocError::OutOfMemory { .. } | AllocError::Impossible { .. })));
    world.check_all_free();
}
