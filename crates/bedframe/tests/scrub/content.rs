//! I7 by content: whoever asks for clean frames finds zeros, whatever came before.

use bedframe::{FrameRange, MapError, Order, Pool, Request, XenHeap};
use proptest::prelude::*;

use crate::machine::{VARIANTS, World, range};

#[derive(Clone, Copy, Debug)]
enum Act {
    /// A block of an order, or a run of so many frames.
    Block {
        order: u8,
        clean: bool,
    },
    Run {
        frames: u64,
        align: u64,
        clean: bool,
    },
    /// Frees some of what is held: from the `at`th frame on, up to `frames` in a row.
    Free {
        at: usize,
        frames: usize,
    },
    Scrub {
        budget: u64,
    },
    ScrubAll,
    Release,
    Start,
    PlugIn,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0u8..=12, any::<bool>()).prop_map(|(order, clean)| Act::Block { order, clean }),
        3 => (1u64..700, 0u32..4, any::<bool>()).prop_map(|(frames, align, clean)| Act::Run {
            frames,
            align: 1 << align,
            clean
        }),
        10 => (any::<usize>(), prop_oneof![1usize..3, 30usize..70, 500usize..1100])
            .prop_map(|(at, frames)| Act::Free { at, frames }),
        4 => (1u64..600).prop_map(|budget| Act::Scrub { budget }),
        1 => Just(Act::ScrubAll),
        1 => Just(Act::Release),
        2 => Just(Act::Start),
        1 => Just(Act::PlugIn),
    ]
}

/// Held frames in a row from the `at`th on.
fn held_run(world: &World, at: usize, frames: usize) -> Option<FrameRange> {
    let count = world.held.len();
    let (first, _) = world.held.iter().nth(at.checked_rem(count)?)?;
    let mut end = *first;
    for (frame, _) in world.held.range(*first..).take(frames) {
        if *frame != end {
            break;
        }
        end = end.saturating_add(1);
    }
    FrameRange::new(*first, end)
}

fn run(xen_heap: XenHeap, acts: &[Act]) {
    let mut world = World::empty(xen_heap, 0x3000, true, |memory| memory);
    let late = range(0x1280, 0x1490);
    world.memory.reserve_releasable(late).unwrap();
    for (start, end, node) in World::RAM {
        world.add(range(start, end), node);
    }
    let (mut started, mut released, mut plugged) = (false, false, false);
    for act in acts {
        match *act {
            Act::Block { order, clean } => {
                let request = Request::order(Order::new(order).unwrap());
                world.alloc(&if clean { request.clean() } else { request });
            }
            Act::Run { frames, align, clean } => {
                let request = Request::frames(frames).align(align);
                world.alloc(&if clean { request.clean() } else { request });
            }
            Act::Free { at, frames } => {
                if let Some(run) = held_run(&world, at, frames) {
                    world.free(run);
                }
            }
            Act::Scrub { budget } => {
                world.memory.scrub(budget);
            }
            Act::ScrubAll => {
                world.scrub_all();
                if started {
                    assert_eq!(world.memory.statistics().dirty, 0);
                }
            }
            Act::Release if !released => {
                world.memory.release(late).unwrap();
                released = true;
            }
            Act::Start if !started => {
                world.memory.start(2).unwrap();
                started = true;
            }
            Act::PlugIn if started && !plugged => {
                match world.try_add(range(World::MORE.0, World::MORE.1), 1) {
                    Ok(_) => plugged = true,
                    // Everything else is handed out.
                    Err(error) => assert!(matches!(error, MapError::NoMetadata { .. })),
                }
            }
            Act::Release | Act::Start | Act::PlugIn => {}
        }
        world.check();
    }
    for pool in [Pool::Xen, Pool::Domain] {
        for exponent in (0..=12).rev() {
            let request = Request::order(Order::new(exponent).unwrap()).pool(pool).clean();
            while world.alloc(&request).is_some() {}
        }
    }
    let counts = world.memory.statistics();
    assert_eq!((counts.dirty, counts.free), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every frame that is called clean is zero, and no more free frames are not zero than count as
    /// dirty, at each step of any script.
    #[test]
    fn clean_frames_are_zero(
        variant in 0usize..3,
        acts in prop::collection::vec(act(), 1..60),
    ) {
        run(VARIANTS[variant], &acts);
    }
}

/// The same with half of memory handed out as soon as the heap runs, so that chunks are broken.
#[test]
fn clean_frames_are_zero_where_memory_is_in_pieces() {
    let mut random = crate::random::Random::new(11);
    for xen_heap in VARIANTS {
        let mut world = World::new(xen_heap);
        world.memory.start(2).unwrap();
        while world.memory.statistics().free > 2000 && world.alloc(&Request::frames(1)).is_some() {}
        for round in 0..600 {
            match random.below(8) {
                0..=2 => {
                    let frames = if random.below(5) == 0 { 64 } else { 1 };
                    if let Some(run) = held_run(&world, random.next() as usize, frames) {
                        world.free(run);
                    }
                }
                3 => {
                    world.alloc(&Request::order(Order::new(random.below(4) as u8).unwrap()));
                }
                4 | 5 => {
                    let order = Order::new(random.below(3) as u8).unwrap();
                    world.alloc(&Request::order(order).clean());
                }
                _ => {
                    world.memory.scrub(1 + random.below(100));
                }
            }
            if round % 50 == 0 {
                world.check();
            }
        }
        world.check();
    }
}
