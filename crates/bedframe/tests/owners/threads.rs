//! Many CPUs at once: what is given and taken back is each frame's once, and the books agree in the end.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{CpuId, DomainError, DomainId, OwnerError};
use bedframe_hosted::set_cpu;

use crate::common::Random;
use crate::world::{A, ALL, COUNTED, EXTRA, World, request, single};

const CPUS: u64 = 4;

fn on_all_cpus(run: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for cpu in 0..CPUS {
            let run = &run;
            scope.spawn(move || {
                set_cpu(CpuId(cpu as u32));
                run(cpu);
            });
        }
    });
}

/// All of it on the same domains: a deadlock between owners' locks and chunks would end here.
#[test]
fn cpus_share_domains() {
    let world = World::new();
    let before = world.check();
    on_all_cpus(|cpu| {
        let memory = &world.memory;
        let mut random = Random::new(cpu);
        let mut mine = Vec::new();
        for _ in 0..3000 {
            let domain = random.one_of(&ALL);
            match random.below(8) {
                0..3 => {
                    let accounting = random.one_of(&[COUNTED, EXTRA]);
                    let order = random.one_of(&[0, 0, 0, 2, 5, 9]);
                    if let Ok(block) = memory.alloc_for(domain, &request(order), accounting) {
                        mine.push((domain, block));
                    }
                }
                3 if !mine.is_empty() => {
                    // Dropped by one, kept by another's reference for a moment.
                    let at = random.below(mine.len() as u64) as usize;
                    let (owner, block) = mine.swap_remove(at);
                    memory.reference_owned(owner, block.start()).unwrap();
                    assert_eq!(memory.free_owned(owner, block).unwrap().kept, 1);
                    memory.unreference(block.start()).unwrap();
                }
                4 if !mine.is_empty() => {
                    let at = random.below(mine.len() as u64) as usize;
                    let (owner, block) = mine[at];
                    memory.steal(owner, block).unwrap();
                    match memory.assign(domain, block, COUNTED) {
                        Ok(()) => mine[at].0 = domain,
                        Err(error) => {
                            assert!(matches!(error, OwnerError::Domain(_)), "{error}");
                            memory.free(block).unwrap();
                            mine.swap_remove(at);
                        }
                    }
                }
                _ if !mine.is_empty() => {
                    let at = random.below(mine.len() as u64) as usize;
                    let (owner, block) = mine.swap_remove(at);
                    assert_eq!(memory.free_owned(owner, block).unwrap().gone, block.frames());
                }
                _ => {}
            }
        }
        for (owner, block) in mine {
            memory.free_owned(owner, block).unwrap();
        }
    });
    world.check().assert_same_as(&before, "all was given back");
}

/// Of those who assign the same frames one gets them, and of those who free them one does.
#[test]
fn frames_are_given_once() {
    let world = World::new();
    for order in [0, 6, 9, 10] {
        for _ in 0..100 {
            let block = world.memory.alloc(&request(order)).unwrap();
            let got = AtomicU64::new(0);
            on_all_cpus(|cpu| {
                let domain = ALL[(cpu % 3) as usize];
                if world.memory.assign(domain, block, COUNTED).is_ok() {
                    got.fetch_add(1, Relaxed);
                }
            });
            let owner = world.owner(block.start());
            let counted: u64 = ALL.iter().map(|domain| world.counts(*domain).frames()).sum();
            match got.into_inner() {
                1 => {
                    assert_eq!(counted, block.frames());
                    world.memory.free_owned(owner.unwrap(), block).unwrap();
                }
                // Each has undone for another's sake.
                0 => {
                    assert_eq!(counted, 0);
                    world.memory.free(block).unwrap();
                }
                more => panic!("{more} got the same frames"),
            }
            world.memory.validate().unwrap();
        }
    }
    world.check();
}

/// Domains are created and buried while others use the table.
#[test]
fn domains_come_and_go() {
    let world = World::new();
    on_all_cpus(|cpu| {
        let memory = &world.memory;
        for round in 0..60u32 {
            let domain = DomainId((round << 16) + cpu as u32 + 10);
            memory.create_domain(domain, 100).unwrap();
            let shared = DomainId((round << 16) + 9);
            let made = memory.create_domain(shared, 100);
            assert!(matches!(made, Ok(()) | Err(DomainError::Exists { .. })), "{made:?}");
            for order in [0, 3, 5] {
                let block = memory.alloc_for(domain, &request(order), COUNTED).unwrap();
                memory.reference_owned(domain, block.start()).unwrap();
                memory.free_owned(domain, single(block.start())).unwrap();
                memory.unreference(block.start()).unwrap();
            }
            assert_eq!(memory.domain(domain).unwrap().accounted, 7 + 31);
            memory.kill_domain(domain).unwrap();
            while !memory.relinquish(domain, 3).unwrap().done {}
            memory.destroy_domain(domain).unwrap();
        }
    });
    world.check();
    assert_eq!(world.counts(A).frames(), 0);
}
