//! Dying domains are taken apart in bounded steps.

use std::cell::Cell;
use std::rc::Rc;

use bedframe::{DomainError, FrameRange, PageState, Pool, Relinquished, Request};

use crate::common::{Random, interleave, mfn};
use crate::world::{A, B, COUNTED, EXTRA, World, request, single};

/// All that a domain has goes, in steps of any number, and nothing else does.
#[test]
fn a_dying_domain_is_taken_apart() {
    for steps in [1, 2, 10, 1000] {
        let world = World::new();
        let before = world.memory.statistics();
        let xen = world.memory.alloc(&Request::frames(20).pool(Pool::Xen)).unwrap();
        world.memory.lend(A, xen).unwrap();
        let others = world.give(B, 7);
        for order in [9, 0, 3, 10, 7, 0, 9] {
            world.give(A, order);
        }
        let extra = world.memory.alloc_for(A, &Request::frames(33), EXTRA).unwrap();
        // One chunk is not as a whole any more.
        let chunk = world.give(A, 9);
        world.memory.free_owned(A, FrameRange::single(extra.start())).unwrap();
        world.memory.reference_owned(A, chunk.start()).unwrap();
        let has = world.counts(A).frames();
        let alive = DomainError::Alive { domain: A };
        assert_eq!(world.memory.relinquish(A, 5), Err(alive));
        world.memory.kill_domain(A).unwrap();
        let nothing = Relinquished::default();
        assert_eq!(world.memory.relinquish(A, 0), Ok(nothing), "no steps, not done");
        let (mut gone, mut kept) = (0, 0);
        loop {
            let had = world.counts(A).frames();
            let done = world.memory.relinquish(A, steps).unwrap();
            assert_eq!(had - world.counts(A).frames(), done.gone);
            assert!(done.gone <= steps * 512);
            gone += done.gone;
            kept += done.kept;
            if steps > 1 {
                world.check();
            }
            if done.done {
                break;
            }
        }
        assert_eq!((gone, kept, world.counts(A).frames()), (has - 1, 1, 1));
        world.memory.unreference(chunk.start()).unwrap();
        world.memory.destroy_domain(A).unwrap();
        assert!(others.iter().all(|frame| world.owner(frame) == Some(B)));
        assert!(xen.iter().all(|frame| world.memory.state(frame) == PageState::InUse));
        world.memory.free(xen).unwrap();
        world.memory.free_owned(B, others).unwrap();
        assert_eq!(world.memory.statistics(), before);
        world.check();
    }
}

/// It can be interrupted between any two steps: another CPU takes part, and the domain's frames go once
/// each.
#[test]
fn two_take_a_domain_apart() {
    for turn in 1..60 {
        let world = World::new();
        for order in [0, 1, 9, 0] {
            world.give(A, order);
        }
        let has = world.counts(A).frames();
        world.memory.kill_domain(A).unwrap();
        let (memory, other) = (world.memory.clone(), Rc::new(Cell::new(0)));
        let to = other.clone();
        let another = move || to.set(memory.relinquish(A, 2).unwrap().gone);
        let (mine, came) = interleave(turn, another, || world.memory.relinquish(A, 1000).unwrap());
        assert!(mine.done);
        assert_eq!(mine.gone + other.get(), has, "turn {turn}");
        world.memory.destroy_domain(A).unwrap();
        world.check();
        if !came {
            return;
        }
    }
}

/// A domain dies while it is being given frames, at every moment of that: it gets all or none, and what
/// it got is taken apart.
#[test]
fn a_domain_dies_while_it_is_given_frames() {
    for (early, order) in [(false, 0), (false, 7), (false, 9), (true, 0)] {
        // At every one of its first moments, and at ever fewer of those that follow.
        for turn in std::iter::successors(Some(1), |turn| Some(turn + 1 + turn / 16)) {
            let world = World::early();
            let boot = world.memory.alloc(&Request::frames(300)).unwrap();
            world.memory.start(1).unwrap();
            world.memory.create_domain(A, 10_000).unwrap();
            let memory = world.memory.clone();
            let kill = move || {
                memory.kill_domain(A).unwrap();
                // In vain, as long as the other call is under way.
                memory.relinquish(A, 1000).unwrap();
            };
            let (given, came) = interleave(turn, kill, || {
                if early {
                    world.memory.assign(A, boot, COUNTED).map(|()| boot)
                } else {
                    world.memory.alloc_for(A, &request(order), COUNTED)
                }
            });
            let counts = world.counts(A);
            match given {
                Ok(range) if came => assert!(counts.frames() == range.frames() || counts.dying),
                Ok(range) => assert_eq!(counts.frames(), range.frames()),
                Err(error) => {
                    assert_eq!(error, DomainError::Dying { domain: A }.into());
                    assert_eq!(counts.frames(), 0);
                    assert!(boot.iter().all(|frame| world.owner(frame).is_none()));
                    let mut states = boot.iter().map(|frame| world.memory.state(frame));
                    assert!(states.all(|state| state != PageState::Free), "turn {turn}");
                }
            }
            if came {
                while !world.memory.relinquish(A, 1000).unwrap().done {}
                world.memory.destroy_domain(A).unwrap();
            }
            world.memory.validate().unwrap();
            if !came {
                break;
            }
        }
    }
}

/// A domain dies in the middle of a gift of which a frame is referred to already, or has been given back: nothing is taken
/// apart until the gift is undone. The others are in use and nobody's then, and that which is referred to when the last
/// reference goes.
#[test]
fn a_gift_is_undone() {
    for (lent, refers) in [(false, true), (true, true), (false, false)] {
        let mut undone = 0;
        for turn in std::iter::successors(Some(1), |turn| Some(turn + 1 + turn / 16)) {
            let world = World::small();
            let block = world.memory.alloc(&Request::frames(130).pool(Pool::Xen)).unwrap();
            let frame = mfn(block.start().get() + 5);
            let (memory, seen) = (world.memory.clone(), Rc::new(Cell::default()));
            let see = seen.clone();
            let kill = move || {
                let acted = if refers {
                    memory.reference_owned(A, frame).is_ok()
                } else {
                    memory.free_owned(A, single(frame)).is_ok()
                };
                memory.kill_domain(A).unwrap();
                see.set((acted, memory.relinquish(A, 1000).unwrap()));
            };
            let (given, came) = interleave(turn, kill, || {
                if lent {
                    world.memory.lend(A, block)
                } else {
                    world.memory.assign(A, block, COUNTED)
                }
            });
            if !came {
                break;
            }
            let (acted, Relinquished { gone, kept, .. }) = seen.get();
            let freed = acted && !refers;
            match given {
                Err(error) => {
                    assert_eq!(error, DomainError::Dying { domain: A }.into());
                    assert_eq!((gone, kept), (0, 0), "turn {turn}");
                    undone += u32::from(acted);
                }
                Ok(()) => assert_eq!(gone + kept + u64::from(freed), 130),
            }
            if acted && refers {
                let counts = world.counts(A);
                assert_eq!((counts.frames(), counts.dropped), (1, 1), "turn {turn}");
                let has = DomainError::HasFrames { domain: A, frames: 1 };
                assert_eq!(world.memory.destroy_domain(A), Err(has));
                world.memory.unreference(frame).unwrap();
            }
            for each in block.iter() {
                assert_eq!(world.owner(each), None, "turn {turn}");
                let free = given.is_ok() && !lent || freed && each == frame;
                assert_eq!(world.memory.state(each) == PageState::Free, free, "turn {turn}");
            }
            world.memory.destroy_domain(A).unwrap();
            world.memory.validate().unwrap();
        }
        assert!(undone > 0, "lent: {lent}, referred to: {refers}");
    }
}

/// Frames go in any order while the domain lives, and the rest when it dies.
#[test]
fn what_is_left_goes_with_the_domain() {
    for seed in 0..10 {
        let world = World::new();
        let before = world.check();
        let mut random = Random::new(seed);
        let mut blocks: Vec<_> = (0..100).map(|_| world.give(A, random.below(8) as u8)).collect();
        random.shuffle(&mut blocks);
        for block in blocks.drain(..50) {
            world.memory.free_owned(A, block).unwrap();
        }
        let left: u64 = blocks.iter().map(|block| block.frames()).sum();
        assert_eq!(world.bury(A, 1 + random.below(30)), left);
        world.memory.create_domain(A, 10_000).unwrap();
        world.check().assert_same_as(&before, "buried");
    }
}
