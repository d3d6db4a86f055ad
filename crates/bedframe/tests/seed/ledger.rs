//! The ledger grows out of the memory that it describes, as far as memory goes.

use bedframe::{AllocError, FrameRange, FreeRefusal, NodeId, Request, XenHeap};

use crate::common::{Heap, World, mfn, range};
use crate::in_all_variants;

in_all_variants! {
    /// All RAM is handed out as one range before the ledger has grown at all; then every second
    /// frame comes back, thousands of steps; after hand-over the rest. Everything coalesces.
    fn every_second_frame_of_all_memory_is_freed(heap) {
        let world = World::new(heap.with(12_001, range(8192, 14_001)), &[(8192, 16_384, 0)]);
        let all = range(8192, 16_384);
        assert_eq!(world.memory.alloc(&Request::exactly(all)), Ok(all));
        assert_eq!(world.memory.statistics().free, 0);
        for frame in all.iter().step_by(2) {
            world.free(FrameRange::single(frame));
        }
        let counts = world.memory.statistics();
        assert!(counts.metadata > 20, "so many steps do not fit: {}", counts.metadata);
        assert_eq!(counts.free + counts.metadata, 4096);
        assert_eq!(world.memory.validate(), Ok(()));
        // Single frames hold no index: some neighbours must come back first.
        assert!(world.memory.start(1).is_err());
        let early = range(8801, 8900);
        for frame in early.iter().step_by(2) {
            world.free(FrameRange::single(frame));
        }
        world.start();
        for frame in all.iter().skip(1).step_by(2).filter(|frame| !early.contains(*frame)) {
            world.free(FrameRange::single(frame));
        }
        world.check_all_free();
    }

    /// Nowhere to grow: no mapped frame is free. The call that would need an entry more is refused
    /// as such, at allocation and at free, changes nothing, and works once mapped memory is free.
    fn a_full_ledger_is_an_error_that_waiting_cures(heap) {
        if heap == Heap::Unified {
            return; // There, what is freed is mapped, and the ledger grows in it.
        }
        let ram = [(512, 1024, 0), (2048, 6144, 1)];
        let world = World::new(heap.with(1024, range(512, 1024)), &ram);
        let mapped = range(512, 1024);
        assert_eq!(world.memory.alloc(&Request::exactly(mapped)), Ok(mapped));
        let mut taken = Vec::new();
        let before = loop {
            let before = world.snapshot();
            let next = range(2049 + 2 * taken.len() as u64, 2050 + 2 * taken.len() as u64);
            match world.memory.alloc(&Request::exactly(next)) {
                Ok(found) => taken.push(found),
                Err(error) => {
                    assert_eq!(error, AllocError::LedgerFull);
                    assert!(error.waiting_can_help());
                    break before;
                }
            }
        };
        assert!((100..2000).contains(&taken.len()), "{} ranges", taken.len());
        world.check().assert_same_as(&before, "full");
        // Freeing a part of a range needs entries too; freeing a whole one gives some back.
        let refused = world.memory.free(range(600, 601)).unwrap_err();
        assert_eq!(refused.why, FreeRefusal::LedgerFull);
        assert!(refused.waiting_can_help());
        assert_eq!(world.machine.misuse_count(), 0, "no misuse");
        world.check().assert_same_as(&before, "full");
        world.free(mapped);
        for number in 0..400 {
            let next = 5000 + 2 * number;
            let found = world.memory.alloc(&Request::exactly(range(next, next + 1)));
            taken.push(found.unwrap());
        }
        world.start();
        for part in taken {
            world.free(part);
        }
        world.check_all_free();
    }
}

/// More than 65,000 steps: a map as ragged as can be, every second frame bad memory's neighbour.
#[test]
fn sixty_five_thousand_steps() {
    let world = World::new(XenHeap::Unified, &[(1 << 17, (1 << 17) + 70_000, 0)]);
    let all = range(1 << 17, (1 << 17) + 66_000);
    assert_eq!(world.memory.alloc(&Request::exactly(all)), Ok(all));
    // From the top, so that a step is never far from the last.
    for frame in all.iter().rev().step_by(2) {
        world.free(FrameRange::single(frame));
    }
    let counts = world.memory.statistics();
    assert!(counts.metadata > 2 * 33_000 / 255, "{} frames of ledger", counts.metadata);
    assert_eq!(counts.uninitialised, 33_000);
    assert_eq!(world.memory.validate(), Ok(()));
    world.start();
    assert_eq!(world.memory.validate(), Ok(()));
    for frame in all.iter().rev().skip(1).step_by(2) {
        world.free(FrameRange::single(frame));
    }
    assert_eq!(world.memory.validate(), Ok(()));
    let counts = world.memory.statistics();
    assert_eq!((counts.uninitialised, counts.in_use), (0, 0));
    let mut runs = 0;
    world.memory.each_free_run(|_, _| runs += 1);
    assert!(runs < 8, "{runs} free runs");
}

/// Reservations, bad frames and RAM may be told in any order, and the more special one wins.
#[test]
fn the_map_may_be_told_in_any_order() {
    let tell = |world: &mut World, what: u32| match what {
        0 => drop(world.add_ram(range(1024, 2048), NodeId(0)).unwrap()),
        1 => drop(world.add_ram(range(2048, 3072), NodeId(1)).unwrap()),
        2 => world.memory.reserve(range(2000, 2100)).unwrap(),
        3 => world.memory.reserve_releasable(range(1900, 2050)).unwrap(),
        _ => world.memory.withhold_bad(range(2040, 2060)).unwrap(),
    };
    let mut first = None;
    for order in orders(&[0, 1, 2, 3, 4]) {
        let mut world = World::empty(XenHeap::Unified, mfn(3072), false);
        for what in &order {
            tell(&mut world, *what);
        }
        world.start();
        let look = world.check();
        assert_eq!(look.counts.bad, 20);
        assert_eq!(look.counts.reserved + look.counts.releasable, 100 + 100 - 20);
        look.assert_same_as(first.get_or_insert(look.clone()), &format!("{order:?}"));
    }
}

/// All orders of `items`.
fn orders(items: &[u32]) -> Vec<Vec<u32>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let rest: Vec<_> = items[..index].iter().chain(&items[index + 1..]).copied().collect();
        all.extend(orders(&rest).into_iter().map(|mut tail| {
            tail.insert(0, *item);
            tail
        }));
    }
    all
}
