//! Frames that are withdrawn whether they are claimed or not, and the deficit that this may leave.

use bedframe::{AllocError, ClaimError, FrameRange, Memory, Request, Scope, Withdrawal, XenHeap};
use bedframe_hosted::{HostedMemory, HostedPlatform};

use crate::ONE;
use crate::common::{Machine, mfn, range};

fn memory() -> Memory<Machine> {
    let hosted = HostedPlatform::new(HostedMemory::new(mfn(2048)).unwrap());
    let memory = Memory::new(Machine::new(hosted.with_mapped(XenHeap::Unified.mapped()), 0));
    let memory = memory.with_records();
    // SAFETY: hosted frames are readable and writable, and nobody uses them otherwise.
    unsafe { memory.add_ram(range(0, 2048), bedframe::NodeId(0)) }.unwrap();
    memory.start(2).unwrap();
    memory
}

#[track_caller]
fn check(memory: &Memory<Machine>) {
    assert_eq!(memory.validate(), Ok(()));
    let counts = memory.claims(Scope::Machine).unwrap();
    let free = memory.statistics().free;
    assert_eq!(counts.claimed + counts.unclaimed, free + counts.deficit, "{counts:?}, {free}");
}

/// The `index`th frame of the last free run.
fn free_frame(memory: &Memory<Machine>, index: u64) -> bedframe::Mfn {
    let mut last = FrameRange::EMPTY;
    memory.each_free_run(|run, _| last = run);
    last.start().saturating_add(index)
}

/// Withdrawing free frames that are all claimed leaves a deficit with a name: nothing can be claimed,
/// and nobody without a claim is served, until frees have repaid it. Those who have claims are served as
/// long as there are frames.
#[test]
fn a_deficit_blocks_claims_until_it_is_repaid() {
    let memory = memory();
    let held = memory.alloc(&Request::frames(3)).unwrap();
    let free = memory.statistics().free;
    let claim = memory.stake_claim(Scope::Machine, free).unwrap();
    for index in 0..2 {
        assert_eq!(memory.offline(free_frame(&memory, index)), Ok(Withdrawal::Done));
        check(&memory);
    }
    let deficit = ClaimError::Deficit { frames: 2 };
    assert_eq!(claim.add(1), Err(deficit));
    assert!(deficit.waiting_can_help());
    assert_eq!(memory.claims(Scope::Machine).unwrap().deficit, 2);
    let refused = AllocError::Claimed { frames: 1, unclaimed: 0 };
    assert_eq!(memory.alloc(&ONE), Err(refused));
    let mine = claim.alloc(&ONE).unwrap();
    for (frames, left) in [(0, 1), (1, 0)] {
        memory.free(FrameRange::single(held.start().saturating_add(frames))).unwrap();
        assert_eq!(memory.claims(Scope::Machine).unwrap().deficit, left);
        assert_eq!(memory.alloc(&ONE), Err(refused));
        check(&memory);
    }
    assert_eq!(claim.add(1), Err(ClaimError::NotEnough { frames: 1, unclaimed: 0 }));
    memory.free(FrameRange::single(held.start().saturating_add(2))).unwrap();
    claim.add(1).unwrap();
    memory.free(mine).unwrap();
    check(&memory);
    drop(claim);
    check(&memory);
}

/// A frame that is withdrawn by the free that gives it back is not free, and cannot be claimed.
#[test]
fn a_frame_that_leaves_when_it_is_freed_cannot_be_claimed() {
    for held in [1, 2, 64, 512, 600] {
        let memory = memory();
        let held = memory.alloc(&Request::frames(held)).unwrap();
        let free = memory.statistics().free;
        let claim = memory.stake_claim(Scope::Machine, free).unwrap();
        assert_eq!(memory.offline(held.start()), Ok(Withdrawal::Pending));
        check(&memory);
        memory.free(held).unwrap();
        check(&memory);
        let unclaimed = held.frames() - 1;
        let refused = ClaimError::NotEnough { frames: unclaimed + 1, unclaimed };
        assert_eq!(claim.add(unclaimed + 1), Err(refused));
        assert_eq!(memory.online(held.start()), Ok(()));
        claim.add(unclaimed + 1).unwrap();
        check(&memory);
    }
}
