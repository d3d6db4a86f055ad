//! Owners: quotas, what is accounted, references, and the order of locks.

use std::sync::Arc;

use bedframe::{
    DomainCounts, DomainError, FrameRange, FreeRefusal, OwnerError, OwnerRefusal, PageState, Pool,
    Request, XenHeap,
};

use crate::common::{World, interleave, mfn, order, range};
use crate::{A, B, COUNTED, EXTRA, ONE};

fn world() -> World {
    let ram = [(1024, 2000, 0), (2048, 4096, 1)];
    let world = World::recorded(XenHeap::Unified, &ram).started();
    world.memory.create_domain(A, 1000).unwrap();
    world.memory.create_domain(B, 1000).unwrap();
    world
}

fn counts(world: &World) -> DomainCounts {
    world.memory.domain(A).unwrap()
}

/// X 143501861d, XSA-385: a domain with frames and a quota at or near the largest number asks for so many more
/// that the sum wraps, in 32 bits or in 64: refused, and its counts are as they were.
///
/// Answer: counts have 64 bits, and what is compared is the rest of the quota, so no sum is made.
///
/// Also: `owners::history::quotas_near_the_maximum_do_not_overflow`
#[test]
fn no_sum_with_a_quota_wraps() {
    let world = world();
    let held = world.memory.alloc_for(A, &Request::frames(3), COUNTED).unwrap();
    let extra = world.memory.alloc_for(A, &ONE, EXTRA).unwrap();
    let before = (counts(&world), world.check());
    for quota in [3, u32::MAX.into(), 1 << 32, (1 << 32) + 2, u64::MAX - 2, u64::MAX] {
        world.memory.set_quota(A, quota).unwrap();
        let rest = quota - 3;
        // These wrap to 0, 1 and 2 frames in all.
        let wraps = [(1 << 32) - 3, (1 << 32) - 2, u64::MAX - 2, u64::MAX - 1, u64::MAX];
        for asked in wraps.into_iter().filter(|asked| *asked > rest) {
            let over = DomainError::OverQuota { domain: A, quota, accounted: 3, asked };
            let refused = world.memory.alloc_for(A, &Request::frames(asked), COUNTED);
            assert_eq!(refused, Err(over.into()), "{asked} of {quota}");
        }
        let most = world.memory.alloc_for(A, &Request::frames(u64::MAX), EXTRA);
        assert!(matches!(most, Err(OwnerError::Alloc(_))), "{most:?}");
        assert_eq!(DomainCounts { quota: 1000, ..counts(&world) }, before.0);
        world.check().assert_same_as(&before.1, "refused");
    }
    world.memory.set_quota(A, u64::MAX).unwrap();
    let more = world.memory.alloc_for(A, &ONE, COUNTED).unwrap();
    for range in [held, extra, more] {
        assert_eq!(world.memory.free_owned(A, range).unwrap().gone, range.frames());
    }
    assert_eq!(counts(&world).frames(), 0);
}

/// X c793d13944: frames that do not count against the quota come and go in every way; nothing is taken off the
/// quota's count for them, so as many frames as ever fit it, and no more.
///
/// Answer: whether a frame counts is in its record, and what is taken off is read there when it goes.
///
/// Also: `owners::history::unaccounted_frames_are_not_accounted_when_freed`
#[test]
fn unaccounted_frames_leave_the_quota_alone() {
    for way in 0..5 {
        let world = world();
        let memory = &world.memory;
        memory.set_quota(A, 20).unwrap();
        let own = memory.alloc_for(A, &Request::frames(12), COUNTED).unwrap();
        for size in [1, 8, 512] {
            let extra = memory.alloc_for(A, &Request::frames(size).align(size), EXTRA).unwrap();
            assert_eq!((counts(&world).accounted, counts(&world).extra), (12, size));
            match way {
                0 => drop(memory.free_owned(A, extra).unwrap()),
                1 => {
                    memory.steal(A, extra).unwrap();
                    memory.free(extra).unwrap();
                }
                2 => {
                    memory.reference_owned(A, extra.start()).unwrap();
                    memory.free_owned(A, extra).unwrap();
                    assert_eq!((counts(&world).accounted, counts(&world).extra), (12, 1));
                    memory.unreference(extra.start()).unwrap();
                }
                3 => extra.iter().for_each(|frame| {
                    memory.free_owned(A, FrameRange::single(frame)).unwrap();
                }),
                _ => {
                    // A stretch that counts in part.
                    let both = memory.alloc_for(A, &ONE, COUNTED).unwrap();
                    memory.free_owned(A, extra).unwrap();
                    memory.free_owned(A, both).unwrap();
                }
            }
            assert_eq!((counts(&world).accounted, counts(&world).extra), (12, 0), "way {way}");
        }
        let rest = memory.alloc_for(A, &Request::frames(8), COUNTED).unwrap();
        let over = memory.alloc_for(A, &ONE, COUNTED).unwrap_err();
        assert!(matches!(over, OwnerError::Domain(DomainError::OverQuota { asked: 1, .. })));
        memory.free_owned(A, own).unwrap();
        memory.free_owned(A, rest).unwrap();
        assert_eq!(counts(&world).frames(), 0);
        world.check();
    }
}

/// X 3d4868a481, XSA-287: every way in which a frame can lose its owner is tried while it is referred to. It
/// keeps the owner until the last reference goes, or the call is refused; an audit of all frames finds no
/// reference without an owner.
///
/// Answer: owner and references are one word, changed in one step. `validate` is the audit.
///
/// Also: `owners::history::no_owner_leaves_references_behind`, `interleavings::owners::a_reference_and_a_theft`
#[test]
fn no_reference_is_without_an_owner() {
    for way in 0..5 {
        let world = world();
        let memory = &world.memory;
        let lent = way == 1;
        let block = if lent {
            let xen = memory.alloc(&Request::frames(20).pool(Pool::Xen)).unwrap();
            memory.lend(A, xen).unwrap();
            xen
        } else {
            memory.alloc_for(A, &Request::frames(20), COUNTED).unwrap()
        };
        let frame = mfn(block.start().get() + 7);
        let audit = || {
            assert_eq!(memory.validate(), Ok(()));
            for frame in world.span().iter().filter(|frame| memory.references(*frame) > 0) {
                assert!(
                    memory.owner(frame).is_some(),
                    "way {way}: nobody's {frame} is referred to"
                );
            }
        };
        memory.reference_owned(A, frame).unwrap();
        memory.reference_owned(A, frame).unwrap();
        let referenced = OwnerRefusal::Referenced { references: 2 };
        let refused = Err(OwnerError::Frame { frame, why: referenced, committed: 0 });
        match way {
            0 => assert_eq!(memory.steal(A, block), refused),
            1 => assert_eq!(memory.take_back(A, block), refused),
            2 => {
                let free = memory.free(block).unwrap_err();
                assert_eq!((free.frame, free.why), (block.start(), FreeRefusal::Owned));
            }
            3 => assert_eq!(memory.free_owned(A, block).unwrap().kept, 1),
            _ => {
                memory.kill_domain(A).unwrap();
                while !memory.relinquish(A, 1).unwrap().done {
                    audit();
                }
            }
        }
        audit();
        assert_eq!(memory.owner(frame).map(|owner| owner.domain), Some(A), "way {way}");
        memory.unreference(frame).unwrap();
        audit();
        assert!(memory.destroy_domain(A).is_err(), "way {way}: it has a frame");
        memory.unreference(frame).unwrap();
        audit();
        assert_eq!(memory.references(frame), 0);
        let gone = way > 2;
        assert_eq!(memory.state(frame) == PageState::Free, gone, "way {way}");
    }
}

/// X d4837a56da: the last reference to a frame that its owner has dropped frees it. At no moment of that is a
/// lock held that it takes again, nor more than an owner's and, inside it, one chunk's; wherever none is held
/// another CPU can use the same chunk and the same owner.
///
/// Answer: two locks in one order, the owner's before a chunk's. Who holds a chunk and finds that it needs the
/// owner gives the chunk up first, and looks again.
///
/// Also: `owners::history::the_owners_lock_comes_before_a_chunk`,
/// `interleavings::owners::the_last_reference_and_the_end_of_the_owner`
#[test]
fn a_reference_is_dropped_under_no_lock_that_it_needs() {
    let mut moments = 0;
    for turn in 1.. {
        let world = world();
        let block = world.memory.alloc_for(A, &Request::order(order(9)), COUNTED).unwrap();
        let frame = mfn(block.start().get() + 99);
        world.memory.reference_owned(A, frame).unwrap();
        assert_eq!(world.memory.free_owned(A, block).unwrap().kept, 1);
        let memory = Arc::clone(&world.memory);
        let other = move || {
            let found = memory.alloc_for(A, &ONE.inside(block), EXTRA).unwrap();
            memory.free_owned(A, found).unwrap();
            assert!(memory.reference_owned(A, frame).is_err(), "it was dropped");
        };
        world.machine.forget_deepest_mask();
        let (done, reached) = interleave(turn, other, || world.memory.unreference(frame));
        assert_eq!(done, Ok(()));
        assert_eq!(world.machine.deepest_mask(), 2, "the owner's lock, then the chunk");
        assert_eq!(world.memory.state(frame), PageState::Free);
        assert_eq!(counts(&world).frames(), 0);
        world.check();
        if !reached {
            break;
        }
        moments += 1;
    }
    assert!(moments > 1, "{moments} moments: with the chunk given up in between");
    let world = world();
    let anonymous = world.memory.alloc(&ONE).unwrap();
    world.memory.reference(anonymous.start()).unwrap();
    world.machine.forget_deepest_mask();
    world.memory.unreference(anonymous.start()).unwrap();
    assert_eq!(world.machine.deepest_mask(), 1, "nobody's frame needs no owner's lock");
    world.free(range(anonymous.start().get(), anonymous.end().get()));
}
