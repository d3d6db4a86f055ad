//! Many CPUs at once, over real bytes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bedframe::{AllocError, CpuId, Mfn, Order, Request, XenHeap};
use bedframe_hosted::set_cpu;

use crate::machine::World;
use crate::random::Random;

/// All CPUs scrub what boot left, and the statistics tell how far they are.
#[test]
fn boot_scrub_in_parallel() {
    let world = World::new(XenHeap::Unified);
    world.memory.start(4).unwrap();
    let all = world.memory.statistics().free;
    let scrubbed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for cpu in 0..4 {
            let (memory, scrubbed) = (world.memory.clone(), &scrubbed);
            scope.spawn(move || {
                set_cpu(CpuId(cpu));
                // Until no CPU has anything in its hands either.
                while memory.statistics().dirty > 0 {
                    scrubbed.fetch_add(memory.scrub(64).frames, Relaxed);
                    assert!(memory.statistics().dirty <= all);
                }
            });
        }
    });
    assert_eq!(scrubbed.load(Relaxed), all, "each frame once");
    world.check();
}

/// CPUs allocate, write, and free, some of them sharing a slot with a scrubber, and never read what another
/// wrote, nor have a frame written under their hands; and what is left is never refused.
#[test]
fn owners_and_scrubbers() {
    let world = World::new(XenHeap::Unified);
    world.memory.start(2).unwrap();
    let stop = AtomicBool::new(false);
    let host = world.machine.memory();
    let fill = |frame: Mfn, tag: u64| {
        for index in 0..512 {
            host.word(frame, index).unwrap().store(tag, Relaxed);
        }
    };
    let holds = |frame: Mfn, tag: u64| {
        (0..512).all(|index| host.word(frame, index).unwrap().load(Relaxed) == tag)
    };
    std::thread::scope(|scope| {
        for cpu in 0..3 {
            let (memory, stop) = (&world.memory, &stop);
            scope.spawn(move || {
                set_cpu(CpuId(cpu));
                while !stop.load(Relaxed) {
                    memory.scrub(70);
                }
            });
        }
        let owners: Vec<_> = (0..2)
            .map(|cpu| {
                let (memory, fill, holds) = (&world.memory, &fill, &holds);
                scope.spawn(move || {
                    set_cpu(CpuId(cpu));
                    let mut random = Random::new(u64::from(cpu));
                    let mut held = Vec::new();
                    for turn in 0..1500u64 {
                        let tag = turn << 8 | u64::from(cpu) << 1 | 1;
                        let orders = [0, 0, 0, 1, 3, 6, 9];
                        let order = Order::new(random.one_of(&orders)).unwrap();
                        let clean = random.below(2) == 0;
                        let request = Request::order(order);
                        let request = if clean { request.clean() } else { request };
                        if held.len() < 60 && random.below(2) == 0 {
                            match memory.alloc(&request) {
                                Ok(block) => {
                                    for frame in block.iter() {
                                        assert!(!clean || holds(frame, 0), "{frame} is not clean");
                                        fill(frame, tag);
                                    }
                                    held.push((block, tag));
                                }
                                // Single frames are never short here.
                                Err(error) => {
                                    assert!(matches!(error, AllocError::OutOfMemory { .. }));
                                    assert!(order.get() > 0, "refused a single frame");
                                }
                            }
                        } else if !held.is_empty() {
                            let at = random.below(held.len() as u64) as usize;
                            let (block, tag) = held.swap_remove(at);
                            for frame in block.iter() {
                                assert!(holds(frame, tag), "{frame} was written to");
                            }
                            memory.free(block).unwrap();
                        }
                    }
                    for (block, _) in held {
                        memory.free(block).unwrap();
                    }
                })
            })
            .collect();
        let ended: Vec<_> = owners.into_iter().map(|owner| owner.join()).collect();
        stop.store(true, Relaxed);
        for owner in ended {
            owner.unwrap();
        }
    });
    world.check();
    world.scrub_all();
    world.check();
    assert_eq!(world.memory.statistics().dirty, 0);
}

/// I3 under concurrency: a chunk's worth of memory, of which all but what one CPU holds is free
/// throughout, is never refused while others scrub it over and over.
#[test]
fn no_allocation_fails_because_of_scrubbing() {
    let world = World::chunks(2, |memory| memory);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for cpu in 0..2 {
            let (memory, stop) = (&world.memory, &stop);
            scope.spawn(move || {
                set_cpu(CpuId(cpu));
                while !stop.load(Relaxed) {
                    memory.scrub(1);
                }
            });
        }
        set_cpu(CpuId(1));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for turn in 0..600 {
                // Dirty again each time.
                let order = [10, 9, 6, 0][turn % 4];
                let request = Request::order(Order::new(order).unwrap());
                let mut blocks = Vec::new();
                for _ in 0..(1024 >> order).min(8) {
                    blocks.push(world.memory.alloc(&request).expect("nobody else has any"));
                }
                for block in blocks {
                    world.memory.free(block).unwrap();
                }
            }
        }));
        stop.store(true, Relaxed);
        set_cpu(CpuId(0));
        result.unwrap();
    });
    world.check();
}
