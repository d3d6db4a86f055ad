//! Frames that are withdrawn while the machine runs.

use std::collections::BTreeSet;

use bedframe::{
    FrameRange, FreeRefusal, Mfn, OfflineError, PageState, Request, Withdrawal, XenHeap,
};

use crate::common::{Random, World, mfn, order, range};
use crate::{A, COUNTED, ONE};

/// A chunk of which nothing is free but what a test frees, and enough beside it for the index.
const CHUNK: (u64, u64) = (2048, 2560);

fn world() -> World {
    let world = World::recorded(XenHeap::Unified, &[(1024, 1500, 0), (CHUNK.0, CHUNK.1, 0)]);
    world.take(range(CHUNK.0, CHUNK.1));
    world.started()
}

/// A request for a block of this order inside `range`.
fn block(exponent: u8, inside: FrameRange) -> Request<'static> {
    Request::order(order(exponent)).inside(inside)
}

/// X 71c6a62317: each frame of a block is withdrawn in turn. Then all that is left is handed out, largest
/// blocks first: each lies where its order wants it, none overlaps another, and all frames but the one are
/// there.
///
/// Answer: a withdrawn frame's bit is clear, and the bits around it are as they were: nothing is split, so no
/// buddy is computed from a place that is not its own.
///
/// Also: `offline::blocks::what_is_left_is_as_large_as_it_can_be`
#[test]
fn no_frame_is_handed_out_twice_around_a_withdrawn_one() {
    for exponent in [1_u8, 2, 4, 6, 7] {
        let size = 1 << exponent;
        let all = range(CHUNK.0 + size, CHUNK.0 + 2 * size);
        for gone in all.iter() {
            let world = world();
            world.free(all);
            assert_eq!(world.memory.offline(gone), Ok(Withdrawal::Done));
            let mut got = BTreeSet::from([gone]);
            for exponent in (0..=exponent).rev() {
                while let Ok(found) = world.memory.alloc(&block(exponent, all)) {
                    assert_eq!(found.start().get() % (1 << exponent), 0, "{found} around {gone}");
                    assert!(found.iter().all(|frame| got.insert(frame)), "{found} around {gone}");
                }
            }
            assert!(got.iter().copied().eq(all.iter()), "{} of {size} around {gone}", got.len());
        }
    }
}

/// X 5cb7ff13ee: of a block of order 2, page 1 is withdrawn; a block of order 1 and one of order 0 remain. The
/// same for every page of the block, and of one of order 9.
///
/// Answer: what is left is as large as the bits say; there is no tail to be put back.
///
/// Also: `offline::blocks::what_is_left_is_as_large_as_it_can_be`
#[test]
fn the_rest_of_a_block_stays_as_large_as_it_can_be() {
    let all = range(CHUNK.0, CHUNK.1);
    let four = range(CHUNK.0 + 4, CHUNK.0 + 8);
    for (gone, pair, one) in [(5, 6, 4), (4, 6, 5), (6, 4, 7), (7, 4, 6)] {
        let world = world();
        world.free(four);
        world.memory.offline(mfn(CHUNK.0 + gone)).unwrap();
        let free = world.memory.free_memory(None, None);
        assert!(world.memory.alloc(&block(2, four)).is_err());
        let pair = range(CHUNK.0 + pair, CHUNK.0 + pair + 2);
        assert_eq!(world.memory.alloc(&block(1, four)), Ok(pair));
        assert_eq!(
            world.memory.alloc(&ONE.inside(four)),
            Ok(range(CHUNK.0 + one, CHUNK.0 + one + 1))
        );
        assert!(world.memory.alloc(&ONE.inside(four)).is_err());
        let left = world.memory.free_memory(None, None);
        assert_eq!((free.blocks[0] - left.blocks[0], free.blocks[1] - left.blocks[1]), (1, 1));
        world.check();
    }
    for gone in [0, 1, 255, 256, 511] {
        let world = world();
        world.free(all);
        world.memory.offline(mfn(CHUNK.0 + gone)).unwrap();
        for exponent in (0..9).rev() {
            assert!(world.memory.alloc(&block(exponent, all)).is_ok(), "order {exponent}, {gone}");
        }
        assert!(world.memory.alloc(&ONE.inside(all)).is_err());
    }
}

/// X 14c05f26f8: the head of a free block is withdrawn, all others are handed out, and the head comes back: as
/// one frame, beside frames that others have.
///
/// Answer: a frame in use or withdrawn has no order. How large a free block is, is read off the bits around it.
///
/// Also: `offline::blocks::a_frame_that_comes_back_is_one_frame`
#[test]
fn a_head_that_comes_back_is_one_frame() {
    for exponent in [1_u8, 3, 6, 9] {
        let world = world();
        let all = range(CHUNK.0, CHUNK.0 + (1 << exponent));
        world.free(all);
        let head = all.start();
        world.memory.offline(head).unwrap();
        let rest = range(head.get() + 1, all.end().get());
        world.take(rest);
        let free = world.memory.statistics().free;
        assert_eq!(world.memory.online(head), Ok(()));
        assert_eq!(world.memory.statistics().free, free + 1);
        assert!(rest.iter().all(|frame| world.memory.state(frame) == PageState::InUse));
        for exponent in (1..=exponent).rev() {
            assert!(world.memory.alloc(&block(exponent, all)).is_err(), "order {exponent}");
        }
        assert_eq!(world.memory.alloc(&ONE.inside(all)), Ok(FrameRange::single(head)));
        world.free(all);
        assert_eq!(world.memory.alloc(&block(exponent, all)), Ok(all), "whole again");
        world.check();
    }
}

/// X 289610483f: a frame in use is to be withdrawn, and comes back by each way there is: alone, in a block,
/// from an owner, with the last reference, with the owner's death. It is withdrawn then, and never handed out
/// again.
///
/// Answer: the mark is in the frame's record. A free that sees it puts all frames but this one, and one that
/// was too quick to see it looks again behind its step and takes the frame back out.
///
/// Also: `offline::states::a_frame_in_use_is_withdrawn_when_it_is_freed`,
/// `interleavings::offline::an_offlining_and_the_free_of_the_frame`
#[test]
fn what_is_to_be_withdrawn_is_not_reused() {
    for way in 0..6 {
        for size in [1, 5, 64, 512] {
            let world = world();
            let memory = &world.memory;
            memory.create_domain(A, 1000).unwrap();
            let all = range(CHUNK.0, CHUNK.0 + size);
            let last = mfn(CHUNK.0 + size - 1);
            let owned = way > 1;
            if owned {
                memory.assign(A, all, COUNTED).unwrap();
            }
            assert_eq!(memory.offline(last), Ok(Withdrawal::Pending));
            match way {
                0 => world.free(all),
                1 => all.iter().rev().for_each(|frame| world.free(FrameRange::single(frame))),
                2 => drop(memory.free_owned(A, all).unwrap()),
                3 => {
                    memory.reference_owned(A, last).unwrap();
                    memory.free_owned(A, all).unwrap();
                    assert_eq!(memory.state(last), PageState::Offlining, "it is referred to");
                    memory.unreference(last).unwrap();
                }
                4 => {
                    memory.steal(A, all).unwrap();
                    world.free(all);
                }
                _ => {
                    memory.kill_domain(A).unwrap();
                    while !memory.relinquish(A, 3).unwrap().done {}
                }
            }
            assert_eq!(memory.state(last), PageState::Offlined, "way {way}, {size} frames");
            let mut got = BTreeSet::new();
            while let Ok(frame) = memory.alloc(&ONE.inside(all)) {
                got.insert(frame.start());
            }
            assert!(!got.contains(&last), "way {way}, {size} frames");
            assert_eq!(got.len() as u64, size - 1, "way {way}");
            assert_eq!(memory.validate(), Ok(()));
        }
    }
}

/// X e94d4918b5: what `offline` says of a frame in every state: that it is done, that it will be, or that it
/// cannot be and why; and that the state afterwards is what was said.
///
/// Answer: what is free, in use or boot-allocated can be withdrawn, and is told apart under the chunk's Busy;
/// whatever else it is, the refusal says which state was found.
///
/// Also: `offline::states::every_state_answers`, `offline::scripts::states_follow`
#[test]
fn every_state_says_whether_it_is_withdrawn() {
    use PageState::*;
    let world = World::recorded(XenHeap::Unified, &[(1024, 2048, 0)]);
    world.memory.reserve(range(1030, 1031)).unwrap();
    world.memory.withhold_bad(range(1031, 1032)).unwrap();
    world.take(range(1032, 1033));
    world.start();
    world.take(range(1034, 1036));
    world.memory.offline(mfn(1035)).unwrap();
    world.memory.offline(mfn(1036)).unwrap();
    let metadata = world.span().iter().find(|f| world.memory.state(*f) == Metadata).unwrap().get();
    let table = [
        (1029, Free, Some((Withdrawal::Done, Offlined))),
        (1030, Reserved, None),
        (1031, Broken, None),
        (1032, Uninitialised, Some((Withdrawal::Pending, Offlining))),
        (1034, InUse, Some((Withdrawal::Pending, Offlining))),
        (1035, Offlining, None),
        (1036, Offlined, None),
        (metadata, Metadata, None),
        (2048, Absent, None),
        (900, Absent, None),
    ];
    for (frame, state, becomes) in table {
        let frame = mfn(frame);
        assert_eq!(world.memory.state(frame), state, "{frame}");
        let refused = Err(OfflineError::State { frame, state });
        let (said, next) = becomes.map_or((refused, state), |(how, next)| (Ok(how), next));
        assert_eq!(world.memory.offline(frame), said, "{frame} is {state}");
        assert_eq!(world.memory.state(frame), next, "{frame} was {state}");
    }
    let mut held = world.drain();
    assert!(held.iter().all(|block| !block.contains(mfn(1029)) && !block.contains(mfn(1036))));
    held.extend([range(1032, 1033), range(1034, 1036)]);
    held.into_iter().for_each(|block| world.free(block));
    assert_eq!(world.check().counts.offlined, 5);
}

/// L d9dddbf55667: frames in the middle of free blocks are withdrawn while their neighbours come and go, and
/// come back. At each step what counts as free is what a walk finds, is never more than there is, and is the
/// sum of all blocks.
///
/// Answer: there is no counter. What is free is a walk over the bits, and so are its blocks.
#[test]
fn free_never_exceeds_what_there_is() {
    let world = world();
    let all = range(CHUNK.0, CHUNK.1);
    world.free(all);
    let total = world.check().counts.free;
    let mut random = Random::new(9);
    let mut gone: Vec<Mfn> = Vec::new();
    let mut held: Vec<FrameRange> = Vec::new();
    let (mut most_gone, mut most_held) = (0, 0);
    for step in 0..600 {
        match random.below(6) {
            0 => {
                let frame = mfn(CHUNK.0 + random.below(512));
                if world.memory.offline(frame) == Ok(Withdrawal::Done) {
                    gone.push(frame);
                } else {
                    // It is somebody's: not to be withdrawn after all.
                    let _ = world.memory.online(frame);
                    gone.retain(|other| *other != frame);
                }
            }
            1 if !gone.is_empty() => {
                let frame = gone.swap_remove(random.below(gone.len() as u64) as usize);
                world.memory.online(frame).unwrap();
            }
            2 | 3 => held.extend(world.memory.alloc(&block(random.below(7) as u8, all)).ok()),
            _ if !held.is_empty() => {
                world.free(held.swap_remove(random.below(held.len() as u64) as usize));
            }
            _ => {}
        }
        let counts = world.check().counts;
        most_gone = most_gone.max(gone.len());
        most_held = most_held.max(held.len());
        let used: u64 = held.iter().map(|block| block.frames()).sum();
        assert_eq!(counts.free + used + gone.len() as u64, total, "step {step}");
        assert_eq!(counts.offlined, gone.len() as u64, "step {step}");
    }
    assert!(most_gone > 10 && most_held > 10, "{most_gone} withdrawn, {most_held} blocks");
    for frame in gone {
        let again = world.memory.free(FrameRange::single(frame)).unwrap_err();
        assert_eq!(again.why, FreeRefusal::Offlined);
        world.memory.online(frame).unwrap();
    }
    held.into_iter().for_each(|block| world.free(block));
    assert_eq!(world.memory.alloc(&block(9, all)), Ok(all));
}
