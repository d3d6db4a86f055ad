//! Random machines, described in the middle of their lives, again and again.

use bedframe::{Accounting, DomainId, FrameRange, NodeId, Request, Scope};
use bedframe_live::Stream;
use proptest::prelude::*;

use crate::world::{HEAPS, RAM, World, range};

const DOMAINS: u32 = 4;

/// Whatever is refused has changed nothing: what goes over is what there is.
fn ignore<T>(_: T) {}

/// What is done, with numbers that are made to fit.
fn step(world: &World, mine: &mut Vec<FrameRange>, (what, a, b): (u8, u16, u16)) {
    let memory = &world.memory;
    let domain = DomainId(u32::from(a) % DOMAINS * 31);
    let length = u64::from(b) % 70 + 1;
    let accounting = if b % 3 == 0 { Accounting::Extra } else { Accounting::Counted };
    let block = (!mine.is_empty()).then(|| mine[usize::from(b) % mine.len()]);
    let node = NodeId(u32::from(b) % 3);
    let frame = range(u64::from(a) % 12000, u64::from(a) % 12000 + 1);
    match what % 20 {
        0 | 1 => mine.extend(memory.alloc(&Request::frames(length))),
        2 => mine.extend(memory.alloc(&Request::frames(512).align(512))),
        3 | 4 => {
            if let Some(block) = block
                && memory.free(block).is_ok()
            {
                mine.retain(|other| *other != block);
            }
        }
        5 => ignore(memory.create_domain(domain, u64::from(b))),
        6 => ignore(memory.alloc_for(domain, &Request::frames(length), accounting)),
        7 => ignore(memory.alloc_for(domain, &Request::frames(512).align(512), accounting)),
        8 => {
            if let Some(block) = block
                && memory.assign(domain, block, accounting).is_ok()
            {
                mine.retain(|other| *other != block);
            }
        }
        9 => {
            if let Some(block) = block
                && memory.lend(domain, block).is_ok()
            {
                mine.retain(|other| *other != block);
            }
        }
        10 => ignore(memory.reference(frame.start())),
        11 => ignore(memory.unreference(frame.start())),
        12 => ignore(memory.offline(frame.start())),
        13 => ignore(memory.mark_broken(frame.start())),
        14 => ignore(memory.online(frame.start())),
        15 => {
            let owned = memory.owner(frame.start()).map(|ownership| ownership.domain);
            owned.into_iter().for_each(|owner| ignore(memory.free_owned(owner, frame)));
        }
        16 => ignore(memory.claim(
            domain,
            if a % 2 == 0 { Scope::Machine } else { Scope::Node(node) },
            length,
        )),
        17 => ignore(
            memory.set_affinity(domain, &[node, NodeId(0), node][..usize::from(a % 4).min(3)]),
        ),
        18 => ignore(memory.set_width(domain, u32::from(b) % 70)),
        _ => ignore(memory.kill_domain(domain)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is described, adopted and described again is the same to the last bit, and each instance is sound
    /// and goes on from there.
    #[test]
    fn what_is_adopted_is_what_was_described(
        heap in 0usize..3,
        scripts in prop::collection::vec(prop::collection::vec(any::<(u8, u16, u16)>(), 1..120), 1..4),
    ) {
        let mut world = World::empty(HEAPS[heap]);
        world.memory.reserve(range(100, 120)).unwrap();
        world.memory.reserve_releasable(range(2100, 2200)).unwrap();
        world.memory.withhold_bad(range(8000, 8003)).unwrap();
        for (start, end, node) in RAM {
            // SAFETY: hosted memory that nobody else uses.
            unsafe { world.memory.add_ram(range(start, end), NodeId(node)) }.unwrap();
        }
        world.memory.start(2).unwrap();
        let mut mine = Vec::new();
        for script in scripts {
            for act in script {
                step(&world, &mut mine, act);
            }
            world.memory.validate().unwrap();
            mine.sort_by_key(|range| range.start());
            let bytes = world.describe(&mine);
            let domains = world.domains();
            prop_assert!(Stream::check(&bytes).is_ok());
            let (next, adopted) = world.next(&bytes);
            prop_assert_eq!(next.describe(&mine), bytes);
            prop_assert_eq!((next.domains(), adopted.unclaimed), (domains, 0));
            world = next;
        }
    }
}
