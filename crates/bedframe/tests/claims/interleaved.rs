//! Interleavings of two CPUs, each tried on its own: one call runs to its end in the middle of another,
//! at every moment at which the other holds nothing. A count has many.

use std::sync::Arc;
use std::sync::mpsc::channel;

use bedframe::{
    AllocError, Claim, ClaimError, FrameRange, Memory, NodeId, Request, Scope, XenHeap,
};

use crate::common::{Heap, Machine, World, interleave, mfn, range};
use crate::{ONE, at_rest, claims};

/// What a call has done.
#[derive(Debug)]
enum Done {
    Took(FrameRange),
    Freed(u64),
    Staked,
    Nothing,
}

/// Calls that meet near the limit: 20 frames are free, of which `claim` is good for some.
#[derive(Clone, Copy, Debug)]
enum Call {
    Take(u64),
    Free(FrameRange),
    Stake(u64),
    TakeClaimed(u64),
    Release(u64),
    Refused,
}

const FREE: u64 = 20;

impl Call {
    /// `claim` is leaked: a call in the middle of another may outlive the test, as far as types know.
    fn make(self, memory: &'static Memory<Machine>, claim: &Claim<'static, Machine>) -> Done {
        match self {
            Call::Take(frames) => took(memory.alloc(&Request::frames(frames))),
            Call::TakeClaimed(frames) => took(claim.alloc(&Request::frames(frames))),
            Call::Free(range) => {
                memory.free(range).unwrap();
                Done::Freed(range.frames())
            }
            Call::Stake(frames) => match claim.add(frames) {
                Ok(()) => Done::Staked,
                Err(ClaimError::NotEnough { .. }) => Done::Nothing,
                Err(error) => panic!("{error}"),
            },
            Call::Release(frames) => {
                claim.release(frames);
                Done::Nothing
            }
            Call::Refused => {
                let error = memory.alloc(&Request::frames(FREE + 30)).unwrap_err();
                assert!(error.waiting_can_help(), "{error}");
                Done::Nothing
            }
        }
    }
}

fn took(result: Result<FrameRange, AllocError>) -> Done {
    match result {
        Ok(range) => Done::Took(range),
        Err(AllocError::Claimed { .. } | AllocError::OutOfMemory { .. }) => Done::Nothing,
        Err(error) => panic!("{error}"),
    }
}

/// All frames but a few are taken, and `claimed` of those are claimed.
fn world(claimed: u64) -> (World, &'static Memory<Machine>, &'static Claim<'static, Machine>) {
    let world = World::small(Heap::Unified);
    world.start();
    world.drain();
    world.free(range(2700, 2700 + FREE));
    let memory: &'static Arc<_> = Box::leak(Box::new(Arc::clone(&world.memory)));
    let claim = memory.stake_claim(Scope::Machine, FREE).unwrap();
    claim.release(FREE - claimed);
    (world, memory, Box::leak(Box::new(claim)))
}

/// Runs `second` in the middle of `first`, at every moment.
fn each_moment(claimed: u64, first: Call, second: Call) {
    for turn in 1.. {
        assert!(turn < 3000, "{first:?} does not end");
        let (world, memory, claim) = world(claimed);
        let (tell, told) = channel();
        let other = move || tell.send(second.make(memory, claim)).unwrap();
        let (one, reached) = interleave(turn, other, || first.make(memory, claim));
        if !reached {
            return;
        }
        let two = told.recv().unwrap();
        let what = format!("{first:?} {one:?}, {second:?} {two:?} at {turn}");
        let mut free = FREE;
        for done in [&one, &two] {
            match done {
                Done::Took(range) => free -= range.frames(),
                Done::Freed(frames) => free += frames,
                Done::Staked | Done::Nothing => {}
            }
        }
        assert_eq!(world.memory.statistics().free, free, "{what}");
        let counts = claims(&world, Scope::Machine);
        assert_eq!(counts.claimed, claim.left(), "{what}");
        assert_eq!((counts.unclaimed + counts.claimed, counts.deficit), (free, 0), "{what}");
        at_rest(&world);
        // What is not claimed can be had, and no more.
        let mut more = 0;
        while memory.alloc(&ONE).is_ok() {
            more += 1;
        }
        assert_eq!(more, counts.unclaimed, "{what}");
    }
}

const HELD: FrameRange = match FrameRange::new(bedframe::Mfn::new(2600), bedframe::Mfn::new(2608)) {
    Some(range) => range,
    None => FrameRange::EMPTY,
};

/// Calls that began while nothing was counted, and the first claim.
#[test]
fn the_first_claim_and_others() {
    let stake = Call::Stake(FREE - 2);
    for call in [Call::Take(1), Call::Take(5), Call::Free(HELD), stake, Call::Refused] {
        each_moment(0, call, stake);
        each_moment(0, stake, call);
    }
}

/// While all but a few frames are claimed.
#[test]
fn takes_and_claims_at_the_limit() {
    let calls = [
        Call::Take(1),
        Call::Free(HELD),
        Call::Stake(3),
        Call::TakeClaimed(17),
        Call::Release(16),
        Call::Refused,
    ];
    for first in calls {
        for second in calls {
            if matches!((first, second), (Call::Free(_), Call::Free(_))) {
                continue;
            }
            each_moment(16, first, second);
        }
    }
}

/// What is allocated on a claim comes out of it, also where an interrupt moves the CPU to another node between
/// the payment and the step.
#[test]
fn a_claim_is_drawn_on_wherever_its_frame_is() {
    let mut moved = false;
    for turn in 1.. {
        assert!(turn < 3000, "the allocation does not end");
        let world = World::new(XenHeap::Unified, &[(0, 600, 0), (1024, 1600, 1)]);
        world.start();
        // The CPU allocates on node 0, where one frame is left.
        while world.memory.node_statistics(NodeId(0)).free > 1 {
            world.memory.alloc(&ONE).unwrap();
        }
        let memory: &'static Arc<Memory<Machine>> = Box::leak(Box::new(Arc::clone(&world.memory)));
        let claim = memory.stake_claim(Scope::Machine, 1).unwrap();
        let other = move || {
            for _ in 0..2 {
                memory.alloc(&ONE).unwrap();
            }
        };
        let (found, reached) = interleave(turn, other, || claim.alloc(&ONE).unwrap());
        if !reached {
            break;
        }
        moved |= found.start() >= mfn(1024);
        assert_eq!(claim.left(), 0, "{found:?} at {turn}");
        at_rest(&world);
    }
    assert!(moved, "nothing came between");
}
