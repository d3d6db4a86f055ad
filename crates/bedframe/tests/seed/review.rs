//! What a hostile reading of the library found, each as the test that showed it.

use crate::common::{Machine, World, interleave, mfn, order, range};
use bedframe::{FrameRange, MapError, Memory, Mfn, NodeId, PageState, Request, XenHeap};
use bedframe_hosted::{HostedMemory, HostedPlatform};
use std::sync::Arc;
use std::sync::mpsc::channel;

fn every_turn(round: impl Fn(u32) -> bool) {
    let last = (1..1000).take_while(|turn| round(*turn)).count();
    assert!((1..900).contains(&last), "{last} moments");
}

/// A CPU leaves a full chunk for another bank: a search at any moment of that finds the chunk.
#[test]
fn a_full_chunk_that_is_left_is_found() {
    every_turn(|turn| {
        let world = World::new(XenHeap::Unified, &[(512, 2048, 0), (4096, 6144, 1)]).started();
        world.take(range(1024, 1536));
        let f = world.memory.alloc(&Request::frames(1).on(NodeId(0)).below(mfn(1024))).unwrap();
        world.free(f);
        let (tell, told) = channel();
        let memory = Arc::clone(&world.memory);
        let other =
            move || tell.send(memory.alloc(&Request::order(order(9)).on(NodeId(0)))).unwrap();
        let (first, reached) =
            interleave(turn, other, || world.memory.alloc(&Request::frames(1).on(NodeId(1))));
        first.unwrap();
        if reached {
            assert_eq!(told.recv().unwrap(), Ok(range(512, 1024)), "turn {turn}");
        }
        reached
    });
}

/// Hot-add is whole or nothing, also where the new frames lie on both sides of known ones.
#[test]
fn hot_add_over_several_stretches_leaves_no_trace() {
    let world =
        World::new(XenHeap::Limited { limit: mfn(4096) }, &[(512, 1024, 0), (2048, 2049, 0)])
            .started();
    let before = world.memory.statistics();
    let whole = FrameRange::new(mfn(1024), Mfn::MAX).unwrap();
    // SAFETY: refused.
    let refused = unsafe { world.memory.add_ram(whole, NodeId(0)) };
    assert!(matches!(refused, Err(MapError::BadRange { .. })), "{refused:?}");
    assert_eq!(world.memory.statistics(), before);
}

/// A hot-add that is refused keeps no frame of what it refused for the ledger.
#[test]
fn a_refused_hot_add_keeps_no_page() {
    // So many segments that a directory does not fit in the one frame that is added.
    let small = (0..200).map(|i| (512 + 8 * i, 516 + 8 * i, 0));
    let ram: Vec<_> = small.chain([(100, 400, 0)]).collect();
    let world = World::empty(XenHeap::Unified, mfn(4096), false).with_ram(&ram);
    for i in 0..70 {
        world.memory.reserve(range(10_000 + 2 * i, 10_001 + 2 * i)).unwrap();
    }
    world.start();
    let _ = world.drain();
    for i in 70..135 {
        world.memory.reserve(range(10_000 + 2 * i, 10_001 + 2 * i)).unwrap();
    }
    let fresh = range(3000, 3001);
    // SAFETY: hosted memory.
    let refused = unsafe { world.memory.add_ram(fresh, NodeId(0)) };
    assert!(matches!(refused, Err(MapError::NoMetadata { .. })), "{refused:?}");
    assert_eq!(world.memory.state(mfn(3000)), PageState::Absent);
    world.machine.memory().fill_garbage(fresh, 7).unwrap();
    let before = world.machine.memory().bytes(mfn(3000)).unwrap();
    let mut ok = 0;
    for i in 135..400 {
        ok += u32::from(world.memory.reserve(range(10_000 + 2 * i, 10_001 + 2 * i)).is_ok());
    }
    let after = world.machine.memory().bytes(mfn(3000)).unwrap();
    assert!(ok > 0);
    assert_eq!(world.memory.validate(), Ok(()));
    assert!(before == after, "a frame that was refused is written to");
    assert_eq!(world.memory.reserve(fresh), Ok(()));
}

/// Two first references to one boot frame: both are taken.
#[test]
fn two_first_references_to_a_boot_frame() {
    every_turn(|turn| {
        let machine = Machine::new(HostedPlatform::new(HostedMemory::new(mfn(4096)).unwrap()), 0);
        let memory = Arc::new(Memory::new(machine).with_records());
        // SAFETY: hosted memory.
        unsafe { memory.add_ram(range(512, 4096), NodeId(0)) }.unwrap();
        let f = range(700, 701);
        memory.alloc(&Request::exactly(f)).unwrap();
        memory.start(1).unwrap();
        let (tell, told) = channel();
        let m = Arc::clone(&memory);
        let other = move || tell.send(m.reference(f.start())).unwrap();
        let (first, reached) = interleave(turn, other, || memory.reference(f.start()));
        assert_eq!(first, Ok(()), "turn {turn}");
        if reached {
            assert_eq!(told.recv().unwrap(), Ok(()));
        }
        reached
    });
}

/// Frame 0 that is reserved for a late release before it is RAM is withheld all the same.
#[test]
fn frame_0_is_not_handed_out_by_a_release() {
    for late in [false, true] {
        let mut world = World::empty(XenHeap::Unified, mfn(2048), false);
        world.memory.reserve_releasable(range(0, 16)).unwrap();
        world.add_ram(range(0, 2048), NodeId(0)).unwrap();
        if late {
            world.start();
        }
        println!("{:?}", world.memory.release(range(0, 16)));
        if !late {
            world.start();
        }
        assert!(world.memory.alloc(&Request::exactly(range(0, 1))).is_err(), "late {late}");
    }
}

/// A call that still reads the old directory meets a place in memory that came after it.
#[test]
fn an_old_directory_leaves_places_of_a_new_one() {
    every_turn(|turn| {
        let world = World::empty(XenHeap::Unified, mfn(12_000), false)
            .with_ram(&[(512, 4096, 0)])
            .started();
        let (tell, told) = channel();
        let memory = Arc::clone(&world.memory);
        let other = move || {
            // SAFETY: hosted memory.
            unsafe { memory.add_ram(range(8192, 9216), NodeId(1)) }.unwrap();
            for frame in range(8704, 9216).iter() {
                let _ = memory.alloc(&Request::exactly(FrameRange::single(frame)));
            }
            let f = memory.alloc(&Request::frames(1).on(NodeId(1))).unwrap();
            tell.send(f).unwrap();
        };
        let (first, reached) = interleave(turn, other, || world.memory.alloc(&Request::frames(1)));
        if !reached {
            return false;
        }
        world.free(first.unwrap());
        world.free(told.recv().unwrap());
        let v = world.memory.validate();
        let big = world.memory.alloc(&Request::order(order(9)).on(NodeId(1)));
        assert_eq!((v, big), (Ok(()), Ok(range(8192, 8704))), "turn {turn}");
        true
    });
}

/// A boot frame is freed twice, and hot-add takes it for metadata in between: it stays metadata.
#[test]
fn a_double_free_does_not_free_metadata() {
    for n in 1..5 {
        every_turn(|turn| {
            let world = World::empty(XenHeap::Limited { limit: mfn(4096) }, mfn(12_000), false)
                .with_ram(&[(512, 4096, 0)]);
            let r = range(2700, 2700 + n);
            world.memory.alloc(&Request::exactly(r)).unwrap();
            world.start();
            let _ = world.drain();
            let (tell, told) = channel();
            let memory = Arc::clone(&world.memory);
            let other = move || {
                let freed = memory.free(r);
                // SAFETY: hosted memory.
                let added = unsafe { memory.add_ram(range(8192, 8192 + 1024), NodeId(0)) };
                tell.send((freed, added)).unwrap();
            };
            let (first, reached) = interleave(turn, other, || world.memory.free(r));
            if !reached {
                return false;
            }
            let second = told.recv().unwrap();
            let v = world.memory.validate();
            assert_eq!(v, Ok(()), "n {n} turn {turn} {first:?} {second:?}");
            true
        });
    }
}

/// Everything at the ends of its range: addresses, zones, nodes, CPUs, lengths, alignments.
#[test]
fn both_ends_of_everything() {
    use bedframe::{Direction, Nodes, Pool, Zone};
    let max = Mfn::MAX.get();
    for started in [false, true] {
        for xen in [
            XenHeap::Unified,
            XenHeap::Limited { limit: mfn(max - 5) },
            XenHeap::Separate { range: range(max - 3000, max - 2) },
        ] {
            let n = 6000u64;
            let hosted = HostedPlatform::new(HostedMemory::new(mfn(n)).unwrap());
            let machine = Machine::new(hosted, max - n);
            let memory = Memory::new(machine).with_records();
            memory.set_xen_heap(xen).unwrap();
            // SAFETY: hosted.
            unsafe { memory.add_ram(range(max - n, max), NodeId(u32::MAX)) }.unwrap();
            bedframe_hosted::set_cpu(bedframe::CpuId(u32::MAX));
            let early = memory
                .alloc(&Request::exactly(range(max - 1, max)).pool(
                    if matches!(xen, XenHeap::Separate { .. } | XenHeap::Limited { .. }) {
                        Pool::Domain
                    } else {
                        Pool::Xen
                    },
                ))
                .unwrap();
            if started {
                memory.start(3).unwrap();
            }
            memory.free(early).unwrap();
            for len in [
                1,
                2,
                3,
                64,
                65,
                511,
                512,
                513,
                1024,
                4096,
                1 << 51,
                1 << 52,
                1 << 63,
                u64::MAX,
                u64::MAX - 1,
            ] {
                for align in [1, 2, 64, 512, 1024, 1 << 40, 1 << 51, 1 << 52, 1 << 63] {
                    for pool in [Pool::Xen, Pool::Domain] {
                        for dir in [Direction::TopDown, Direction::BottomUp] {
                            for nodes in [
                                Nodes::Any,
                                Nodes::Prefer(NodeId(u32::MAX)),
                                Nodes::Exact(NodeId(u32::MAX)),
                                Nodes::Exact(NodeId(0)),
                                Nodes::OneOf(&[]),
                                Nodes::Prefer(NodeId(7)),
                            ] {
                                for within in [
                                    FrameRange::ALL,
                                    range(max - 1, max),
                                    range(0, 0),
                                    range(max - 700, max - 3),
                                ] {
                                    let r = memory.alloc(
                                        &Request::frames(len)
                                            .align(align)
                                            .pool(pool)
                                            .direction(dir)
                                            .nodes(nodes)
                                            .inside(within)
                                            .zones(Zone::MIN, Zone::MAX),
                                    );
                                    if let Ok(r) = r {
                                        assert!(
                                            within.covers(r)
                                                && r.start().get() % align == 0
                                                && r.frames() == len
                                        );
                                        memory.free(r).unwrap();
                                    }
                                }
                            }
                        }
                    }
                }
            }
            for r in [
                FrameRange::ALL,
                range(max, max),
                range(max - 1, max),
                range(0, 1),
                range(max - n - 1, max),
            ] {
                let _ = memory.free(r);
                let _ = memory.release(r);
                let _ = memory.state(r.start());
                let _ = memory.state(r.end());
                let _ = memory.reference(r.start());
                let _ = memory.reference(r.end());
                let _ = memory.unreference(r.end());
                let _ = memory.references(r.end());
                let _ = memory.range_at(r.end());
                let _ = memory.reserve(r);
            }
            memory.validate().unwrap();
            let _ = memory.free_memory(None, None);
        }
    }
}

/// A request that names a node does not draw plain requests there.
#[test]
fn a_named_node_does_not_draw_plain_requests() {
    let world = World::new(XenHeap::Unified, &[(512, 8192, 0), (8192, 16384, 1)]).started();
    let far = world.memory.alloc(&Request::frames(1).on(NodeId(1))).unwrap();
    let any = world.memory.alloc(&Request::frames(1)).unwrap();
    println!("far {far} any {any}");
    assert!(
        range(512, 8192).covers(any),
        "CPU on node 0 was given {any} of node 1, node 0 is all free"
    );
}

/// A request for low memory does not draw plain requests there.
#[test]
fn a_narrow_request_does_not_draw_plain_ones() {
    let world = World::new(XenHeap::Unified, &[(512, 16384, 0)]).started();
    let dma = world.memory.alloc(&Request::frames(1).below(mfn(2048))).unwrap();
    let any = world.memory.alloc(&Request::frames(1)).unwrap();
    println!("dma {dma} any {any}");
    assert!(range(8192, 16384).covers(any), "{any} though the highest zone is free");
}

/// The same as for frame 0 early, after hand-over.
#[test]
fn release_late_frame_0() {
    let mut world = World::empty(XenHeap::Unified, mfn(2048), false);
    world.memory.reserve_releasable(range(0, 16)).unwrap();
    world.add_ram(range(0, 2048), NodeId(0)).unwrap();
    world.start();
    println!("{:?}", world.memory.release(range(0, 16)));
    let z = world.memory.alloc(&Request::exactly(range(0, 1)));
    assert!(z.is_err(), "{z:?}");
}

/// Statistics stay in bounds while memory comes, goes and is plugged in.
#[test]
fn statistics_while_memory_comes_and_goes() {
    for round in 0..20 {
        let world = World::empty(XenHeap::Limited { limit: mfn(4096) }, mfn(40_000), false)
            .with_ram(&[(512, 4096, 0)]);
        world.start();
        let memory = &world.memory;
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = memory.statistics();
                    let _ = memory.free_memory(None, None);
                }
            });
            s.spawn(|| {
                bedframe_hosted::set_cpu(bedframe::CpuId(1));
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Ok(a) = memory.alloc(&Request::order(order(9))) {
                        memory.free(range(a.start().get(), a.start().get() + 100)).unwrap();
                        memory.free(range(a.start().get() + 100, a.end().get())).unwrap();
                    }
                    if let Ok(a) = memory.alloc(&Request::frames(70)) {
                        memory.free(a).unwrap();
                    }
                }
            });
            // SAFETY: hosted.
            for i in 0..40 {
                // SAFETY: hosted memory, which nothing else uses.
                unsafe {
                    memory.add_ram(range(8192 + 600 * i, 8192 + 600 * i + 500), NodeId(round % 3))
                }
                .unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        memory.validate().unwrap();
    }
}
