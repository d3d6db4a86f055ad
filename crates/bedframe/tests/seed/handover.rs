//! Hand-over: one unchanged caller before, during and after; refused hand-overs leave no trace.

use bedframe::{FrameRange, MapError, Memory, NodeId, Pool, Request, XenHeap};

use crate::common::{Heap, Machine, Random, World, mfn, order, range};
use crate::in_all_variants;

/// A caller that has never heard of stages: allocates, and frees what it has in any pieces.
struct Caller {
    random: Random,
    held: Vec<FrameRange>,
}

impl Caller {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), held: Vec::new() }
    }

    fn step(&mut self, memory: &Memory<Machine>) {
        let random = &mut self.random;
        let pool = random.one_of(&[Pool::Xen, Pool::Domain]);
        let request = match random.below(4) {
            0 => Request::order(order(random.below(10) as u8)),
            1 => Request::frames(1 + random.below(70)),
            _ => Request::frames(1),
        };
        if let Ok(found) = memory.alloc(&request.pool(pool)) {
            self.held.push(found);
        }
        if random.below(2) == 0 && !self.held.is_empty() {
            let index = random.below(self.held.len() as u64) as usize;
            let victim = self.held.swap_remove(index);
            let middle = victim.start().saturating_add(random.below(victim.frames() + 1));
            memory.free(FrameRange::new(middle, victim.end()).unwrap()).unwrap();
            memory.free(FrameRange::new(victim.start(), middle).unwrap()).unwrap();
        }
    }

    fn finish(self, memory: &Memory<Machine>) {
        for part in self.held {
            memory.free(part).unwrap();
        }
    }
}

in_all_variants! {
    /// Before and after, in one thread: nothing that the caller does has to change.
    fn one_caller_works_before_and_after(heap) {
        let world = World::small(heap);
        let mut caller = Caller::new(1);
        for step in 0..600 {
            if step == 200 {
                world.start();
            }
            caller.step(&world.memory);
        }
        world.check();
        caller.finish(&world.memory);
        world.check_all_free();
        assert_eq!(world.machine.misuse_count(), 0);
    }

    /// And during: two threads go on allocating and freeing while a third hands over.
    fn one_caller_works_during(heap) {
        for seed in 0..12 {
            let world = World::small(heap);
            let (memory, machine) = (&world.memory, &world.machine);
            std::thread::scope(|scope| {
                for thread in 0..2 {
                    scope.spawn(move || {
                        bedframe_hosted::set_cpu(bedframe::CpuId(thread));
                        let mut caller = Caller::new(seed * 2 + u64::from(thread));
                        for _ in 0..200 {
                            caller.step(memory);
                        }
                        caller.finish(memory);
                        let interrupts = bedframe_hosted::interrupt_count();
                        assert_eq!((interrupts.depth, interrupts.mismatched), (0, 0));
                        assert!(interrupts.masked > 0);
                    });
                }
                // Somewhere in the middle, another place each time.
                for _ in 0..seed * 20 {
                    let _ = memory.statistics();
                }
                world.start();
            });
            world.check_all_free();
            assert_eq!(machine.misuse_count(), 0);
        }
    }

    /// A refused hand-over has changed nothing: without room for the directory, and without room
    /// for a node's arena when the directory was carved already. Both succeed once there is room.
    fn a_refused_hand_over_leaves_no_trace(heap) {
        // 200 chunks: the arena needs 10 frames in a row, the directory fewer.
        let ram = [(4096, 4200, 0), (8192, 8192 + 102_400, 1)];
        let xen_heap = heap.with(8292, range(4096, 8292));
        for left in [0, 1, 2, 3, 5] {
            let world = World::new(xen_heap, &ram);
            let mapped = [range(4096, 4200 - left), range(8192, 8292)];
            for part in mapped {
                assert_eq!(world.memory.alloc(&Request::exactly(part)), Ok(part));
            }
            let above = range(8292, 8192 + 102_400);
            if heap == Heap::Unified {
                assert_eq!(world.memory.alloc(&Request::exactly(above)), Ok(above));
            }
            let before = world.snapshot();
            let refused = world.memory.start(1);
            let Err(MapError::NoMetadata { frames }) = refused else { panic!("{refused:?}") };
            assert!(frames > left, "{frames} frames, {left} left");
            assert!(refused.unwrap_err().waiting_can_help());
            world.snapshot().assert_same_as(&before, "refused hand-over");
            // Still the boot allocator, and all of it works.
            world.free(range(8192, 8292));
            world.start();
            world.free(mapped[0]);
            if heap == Heap::Unified {
                world.free(above);
            }
            world.check_all_free();
        }
    }

    /// It happens once; who comes second is told so, and nothing else.
    fn hand_over_happens_once(heap) {
        let world = World::small(heap).started();
        let before = world.check();
        assert_eq!(world.memory.start(8), Err(MapError::Started));
        assert_eq!(world.memory.set_xen_heap(XenHeap::Unified), Err(MapError::Started));
        world.check().assert_same_as(&before, "second start");
        let world = World::small(heap);
        let started = std::thread::scope(|scope| {
            let start = || world.memory.start(2).is_ok();
            let threads = [scope.spawn(start), scope.spawn(start)];
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|ok| *ok).count()
        });
        assert_eq!(started, 1);
        world.check_all_free();
    }

    /// The number of CPUs makes no difference to what is free, nor do CPUs that were not announced.
    fn any_number_of_cpus(heap) {
        for cpus in [0, 1, 7, 300] {
            let world = World::small(heap);
            world.memory.start(cpus).unwrap();
            for cpu in [0, 1, 6, 299, u32::MAX] {
                bedframe_hosted::set_cpu(bedframe::CpuId(cpu));
                let block = world.memory.alloc(&Request::order(order(3))).unwrap();
                world.free(block);
            }
            bedframe_hosted::set_cpu(bedframe::CpuId(0));
            world.check_all_free();
        }
    }
}

/// Without RAM there is nothing to hand over; RAM that comes later starts as if nothing had been.
#[test]
fn no_memory_is_an_error_of_its_own() {
    let mut world = World::empty(XenHeap::Unified, mfn(512), false);
    assert_eq!(world.memory.start(1), Err(MapError::NoMemory));
    assert!(!MapError::NoMemory.waiting_can_help());
    world.memory.reserve(range(100, 200)).unwrap();
    assert_eq!(world.memory.start(1), Err(MapError::NoMemory), "a reservation is not RAM");
    world.add_ram(range(64, 512), NodeId(0)).unwrap();
    world.start();
    assert_eq!(world.check_all_free().counts.reserved, 100);
}

/// What the map may not say is refused, at both stages, with nothing changed.
#[test]
fn contradictory_maps_are_refused() {
    let mut world = World::small(Heap::Unified);
    let given = range(2000, 2010);
    assert_eq!(world.memory.alloc(&Request::exactly(given)), Ok(given));
    for started in [false, true] {
        if started {
            world.start();
        }
        let before = world.check();
        let empty = range(5, 5);
        assert_eq!(world.add_ram(empty, NodeId(0)), Err(MapError::BadRange { range: empty }));
        let other = MapError::OtherNode { frame: mfn(720), node: NodeId(1) };
        assert_eq!(world.add_ram(range(600, 800), NodeId(0)), Err(other));
        assert_eq!(world.add_ram(range(1, 700), NodeId(0)), Ok(0), "known already");
        for withhold in [Memory::reserve, Memory::reserve_releasable, Memory::withhold_bad] {
            let refused = withhold(&world.memory, range(1995, 2005)).unwrap_err();
            let MapError::InUse { frame, .. } = refused else { panic!("{refused}") };
            assert_eq!(frame, mfn(if started { 1995 } else { 2000 }));
        }
        // Adding known RAM once more noted it in the world's list too, but not in the memory.
        world.check().assert_same_as(&before, "refused");
    }
}
