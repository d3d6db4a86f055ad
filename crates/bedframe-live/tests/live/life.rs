//! What goes over.

use bedframe::{
    Accounting, AllocError, ClaimCounts, ClaimError, DomainError, DomainId, Mfn, NodeId,
    OwnerRefusal, PageState, Pool, RangeKind, Request, Scope, Withdrawal, XenHeap,
};
use bedframe_live::{AdoptError, DescribeError, Stream};

use crate::world::{HEAPS, World, range, single};

const GUEST: DomainId = DomainId(7);
const OTHER: DomainId = DomainId(0x8000_0001);
const ONE: Request<'static> = Request::frames(1);

/// Everything that an instance can know of a frame and of a domain is known to the next, and the frames hold
/// what they held.
#[test]
fn all_goes_over() {
    for heap in HEAPS {
        let old = World::empty(heap);
        let memory = &old.memory;
        memory.reserve(range(16, 20)).unwrap();
        memory.reserve_releasable(range(30, 40)).unwrap();
        memory.withhold_bad(range(50, 52)).unwrap();
        memory.withhold_bad(range(20_000, 20_010)).unwrap();
        for (start, end, node) in crate::world::RAM {
            // SAFETY: hosted memory that nobody else uses.
            unsafe { memory.add_ram(range(start, end), NodeId(node)) }.unwrap();
        }
        let image = memory.alloc(&Request::frames(40).align(8)).unwrap();
        memory.start(2).unwrap();
        memory.release(range(33, 35)).unwrap();
        memory.create_domain(GUEST, 3000).unwrap();
        memory.create_domain(OTHER, 10).unwrap();
        memory.set_width(GUEST, 25).unwrap();
        memory.set_affinity(GUEST, &[NodeId(2), NodeId(0), NodeId(2)]).unwrap();

        let whole = Request::frames(512).align(512);
        let chunk = memory.alloc_for(GUEST, &whole, Accounting::Counted).unwrap();
        let some = memory.alloc_for(GUEST, &Request::frames(9), Accounting::Counted).unwrap();
        let extra = memory.alloc_for(OTHER, &ONE, Accounting::Extra).unwrap();
        let shared = memory.alloc(&ONE.pool(Pool::Xen)).unwrap();
        memory.lend(OTHER, shared).unwrap();
        memory.reference_owned(GUEST, some.start()).unwrap();
        memory.reference_owned(GUEST, some.start()).unwrap();
        let dropped = single(some.start().get() + 3);
        memory.reference_owned(GUEST, dropped.start()).unwrap();
        memory.free_owned(GUEST, dropped).unwrap();
        let pinned = memory.alloc(&ONE).unwrap();
        memory.reference(pinned.start()).unwrap();
        let lost = memory.alloc(&Request::frames(100)).unwrap();
        let leaving = some.start().saturating_add(5);
        assert_eq!(memory.offline(leaving), Ok(Withdrawal::Pending));
        let breaking = chunk.start().saturating_add(100);
        assert_eq!(memory.mark_broken(breaking), Ok(Withdrawal::Pending));
        let gone = memory.alloc(&Request::frames(2)).unwrap();
        memory.free(gone).unwrap();
        assert_eq!(memory.offline(gone.start()), Ok(Withdrawal::Done));
        let broken = gone.start().saturating_add(1);
        assert_eq!(memory.mark_broken(broken), Ok(Withdrawal::Done));
        memory.claim(GUEST, Scope::Node(NodeId(0)), 70).unwrap();
        memory.claim(OTHER, Scope::Machine, 5).unwrap();
        memory.kill_domain(OTHER).unwrap();

        for (seed, frames) in [image, chunk, some, extra, shared, pinned].into_iter().enumerate() {
            old.machine.memory().write_pattern(frames, seed as u64).unwrap();
        }
        let before: Vec<_> = old.runs();
        let domains = old.domains();
        let bytes = old.describe(&[image]);
        let stream = Stream::check(&bytes).unwrap();
        assert_eq!(stream.bytes(), &bytes[..]);

        let (new, adopted) = old.next(&bytes);
        assert_eq!((adopted.domains, adopted.kept, adopted.unclaimed), (2, 41, 0), "{heap:?}");
        assert_eq!(adopted.owned, 512 + 9 + 1 + 1);
        assert_eq!(new.domains(), domains, "{heap:?}");
        assert_eq!(new.describe(&[image]), bytes, "told again, it is the same");
        for (seed, frames) in [image, chunk, some, extra, shared, pinned].into_iter().enumerate() {
            old.machine.memory().check_pattern(frames, seed as u64).unwrap();
        }
        for run in before {
            let free = old.is_free_to_the_next(&run, &[image]);
            for frame in run.frames.intersect(range(0, 12000)).iter() {
                let now = new.memory.run_at(frame);
                match run.state {
                    _ if free => assert!(matches!(
                        now.state,
                        PageState::Free | PageState::Metadata | PageState::InUse
                    )),
                    PageState::Uninitialised | PageState::InUse if run.ownership.is_none() => {
                        assert!(matches!(now.state, PageState::Uninitialised | PageState::InUse));
                    }
                    state => assert_eq!(now.state, state, "{frame}"),
                }
                if !free {
                    assert_eq!((now.ownership, now.references), (run.ownership, run.references));
                    assert_eq!(now.node, run.node);
                }
            }
        }
        let memory = &new.memory;
        assert_eq!(memory.range_at(Mfn::new(16)).1, RangeKind::Reserved);
        assert_eq!(memory.run_at(Mfn::new(20_000)).kind, RangeKind::Bad);
        assert_eq!(memory.release(range(30, 33)), Ok(3), "what was releasable is");
        assert!(memory.state(lost.start()) != PageState::Uninitialised, "nobody knew of it");
        // And it goes on.
        memory.free(image).unwrap();
        memory.online(gone.start()).unwrap();
        assert_eq!(memory.state(broken), PageState::Broken);
        memory.unreference(pinned.start()).unwrap();
        memory.free(pinned).unwrap();
        memory.unreference(dropped.start()).unwrap();
        assert_eq!(memory.domain(GUEST).unwrap().accounted, 512 + 8);
        memory.kill_domain(GUEST).unwrap();
        memory.unreference(some.start()).unwrap();
        memory.unreference(some.start()).unwrap();
        for domain in [GUEST, OTHER] {
            while !memory.relinquish(domain, 100).unwrap().done {}
            memory.destroy_domain(domain).unwrap();
        }
        assert_eq!(memory.state(leaving), PageState::Offlined);
        assert_eq!(memory.state(breaking), PageState::Broken);
        memory.free(shared).unwrap();
        memory.validate().unwrap();
        let left = memory.statistics();
        assert_eq!((left.uninitialised, left.offlining), (0, 0), "{heap:?}");
    }
}

/// Frames that are to be withdrawn when they are freed, and that nobody keeps, are withdrawn by that.
#[test]
fn what_nobody_keeps_leaves_where_it_was_to_leave() {
    let old = World::started(XenHeap::Unified);
    let frames = old.memory.alloc(&Request::frames(3)).unwrap();
    let at = |place| frames.start().saturating_add(place);
    old.memory.offline(at(0)).unwrap();
    old.memory.mark_broken(at(1)).unwrap();
    let (new, adopted) = old.next(&old.describe(&[]));
    assert_eq!(new.memory.state(at(0)), PageState::Offlined);
    assert_eq!(new.memory.state(at(1)), PageState::Broken);
    assert_eq!(adopted.kept, 0);
    assert_eq!(new.memory.statistics().in_use, 0);
}

/// The new instance is one like any other: before it starts it allocates around what stays, and what stays can
/// be freed at any time.
#[test]
fn what_stays_is_boot_allocated() {
    let old = World::started(XenHeap::Unified);
    let kept: Vec<_> = (0..3).map(|_| old.memory.alloc(&Request::frames(700)).unwrap()).collect();
    let mut sorted = kept.clone();
    sorted.sort_by_key(|range| range.start());
    let next = old.begun(&old.describe(&sorted)).unwrap();
    let early = next.memory.alloc(&Request::frames(4000)).unwrap();
    assert!(kept.iter().all(|kept| !kept.overlaps(early)));
    assert_eq!(next.memory.state(kept[0].start()), PageState::Uninitialised);
    next.memory.free(range(kept[0].start().get() + 10, kept[0].start().get() + 300)).unwrap();
    next.memory.start(2).unwrap();
    next.memory.free(kept[1]).unwrap();
    next.memory.free(early).unwrap();
    next.memory.validate().unwrap();
}

/// A quota below what a domain has goes over too, and so does one that it has reached.
#[test]
fn a_quota_that_is_exceeded_goes_over() {
    let old = World::started(XenHeap::Unified);
    old.memory.create_domain(GUEST, 100).unwrap();
    old.memory.alloc_for(GUEST, &Request::frames(100), Accounting::Counted).unwrap();
    old.memory.set_quota(GUEST, 10).unwrap();
    let (new, _) = old.next(&old.describe(&[]));
    let counts = new.memory.domain(GUEST).unwrap();
    assert_eq!((counts.quota, counts.accounted), (10, 100));
    assert!(new.memory.alloc_for(GUEST, &ONE, Accounting::Counted).is_err());
}

/// The new instance has less to claim than the old one had: it claims what there is, and says so.
#[test]
fn a_claim_is_kept_as_far_as_there_is_memory() {
    let old = World::started(XenHeap::Unified);
    let unclaimed = |world: &World| {
        let ClaimCounts { unclaimed, .. } = world.memory.claims(Scope::Machine).unwrap();
        unclaimed
    };
    // Large enough for the books of the new instance, and not kept: it gets back all of it.
    old.memory.create_domain(GUEST, 100_000).unwrap();
    old.memory.claim(GUEST, Scope::Machine, unclaimed(&old)).unwrap();
    let claimed = old.memory.domain(GUEST).unwrap().claimed;
    let bytes = old.describe(&[]);
    let next = old.begun(&bytes).unwrap();
    let early = next.memory.alloc(&Request::frames(1000)).unwrap();
    next.memory.start(2).unwrap();
    let adopted = Stream::check(&bytes).unwrap().finish(&next.memory).unwrap();
    let counts = next.memory.domain(GUEST).unwrap();
    assert_eq!((counts.claimed + adopted.unclaimed, unclaimed(&next)), (claimed, 0));
    assert!((900..=1000).contains(&adopted.unclaimed), "{adopted:?}");
    next.memory.free(early).unwrap();
    next.memory.validate().unwrap();
}

/// One domain claims all there is, and another, which comes behind it, prefers nodes: there is room for the list of
/// them.
#[test]
fn claims_leave_room_for_what_others_prefer() {
    let old = World::started(XenHeap::Unified);
    for domain in [GUEST, OTHER] {
        old.memory.create_domain(domain, 100_000).unwrap();
    }
    old.memory.set_affinity(OTHER, &[NodeId(1)]).unwrap();
    let ClaimCounts { unclaimed, .. } = old.memory.claims(Scope::Machine).unwrap();
    old.memory.claim(GUEST, Scope::Machine, unclaimed).unwrap();
    let bytes = old.describe(&[]);
    let next = old.begun(&bytes).unwrap();
    next.memory.alloc(&Request::frames(1000)).unwrap();
    next.memory.start(2).unwrap();
    let adopted = Stream::check(&bytes).unwrap().finish(&next.memory).unwrap();
    assert!(adopted.unclaimed > 900, "{adopted:?}");
    assert_eq!(next.memory.preferred_node(OTHER, 0), Some(NodeId(1)));
    assert_eq!(next.memory.claims(Scope::Machine).unwrap().unclaimed, 0);
    next.memory.validate().unwrap();
}

/// Without records there can be no domains: nothing has changed, and without domains nothing is missing.
#[test]
fn domains_need_records() {
    let old = World::started(XenHeap::Unified);
    let kept = old.memory.alloc(&Request::frames(5)).unwrap();
    let plain = old.describe(&[kept]);
    old.memory.create_domain(GUEST, 1).unwrap();
    let owned = old.describe(&[kept]);
    for bytes in [plain, owned] {
        let stream = Stream::check(&bytes).unwrap();
        let memory = bedframe::Memory::new(old.machine.clone());
        // SAFETY: hosted memory that nobody uses any more but through this instance.
        unsafe { stream.begin(&memory) }.unwrap();
        memory.start(1).unwrap();
        let before = memory.statistics();
        match stream.finish(&memory) {
            Ok(adopted) => assert_eq!((adopted.domains, adopted.kept), (0, 5)),
            Err(error) => {
                assert_eq!(error, AdoptError::Domain(DomainError::NoRecords));
                assert_eq!(memory.statistics(), before);
            }
        }
        memory.free(kept).unwrap();
        memory.validate().unwrap();
    }
}

/// A second time, or where somebody else has made a domain of that number, nothing is made.
#[test]
fn domains_that_exist_are_left_alone() {
    let old = World::started(XenHeap::Unified);
    for domain in 1..5 {
        old.memory.create_domain(DomainId(domain), 1).unwrap();
    }
    let bytes = old.describe(&[]);
    let stream = Stream::check(&bytes).unwrap();
    let next = old.begun(&bytes).unwrap();
    next.memory.start(1).unwrap();
    next.memory.create_domain(DomainId(3), 99).unwrap();
    let exists = AdoptError::Domain(DomainError::Exists { domain: DomainId(3) });
    assert_eq!(stream.finish(&next.memory), Err(exists));
    let there: Vec<_> =
        next.domains().into_iter().map(|(id, counts, ..)| (id.0, counts.quota)).collect();
    assert_eq!(there, [(3, 99)]);
    next.memory.kill_domain(DomainId(3)).unwrap();
    next.memory.destroy_domain(DomainId(3)).unwrap();
    assert_eq!(stream.finish(&next.memory).unwrap().domains, 4);
}

/// What is known already is not told of twice, and the memory stays as it was.
#[test]
fn the_stream_comes_first() {
    let old = World::started(XenHeap::Unified);
    old.memory.withhold_bad(range(30_000, 30_002)).unwrap();
    let bytes = old.describe(&[]);
    let stream = Stream::check(&bytes).unwrap();
    for wrong in [range(3, 4), range(30_001, 30_003)] {
        let next = World::on(old.machine.clone(), XenHeap::Unified);
        next.memory.reserve(wrong).unwrap();
        let known = AdoptError::Known { frame: wrong.start(), state: PageState::Absent };
        // SAFETY: refused.
        assert_eq!(unsafe { stream.begin(&next.memory) }, Err(known));
        assert_eq!(next.memory.statistics().ram, 0);
    }
    // Of what lies right behind, the stream says nothing.
    let next = World::on(old.machine.clone(), XenHeap::Unified);
    next.memory.reserve(range(12_000, 12_001)).unwrap();
    next.memory.reserve(range(30_002, 30_003)).unwrap();
    // SAFETY: hosted memory that nobody uses any more but through the next instance.
    unsafe { stream.begin(&next.memory) }.unwrap();
    assert_eq!(next.memory.statistics().ram, 11_980);
    let known = AdoptError::Known { frame: Mfn::ZERO, state: PageState::Reserved };
    // SAFETY: refused.
    assert_eq!(unsafe { stream.begin(&old.memory) }, Err(known));
}

/// Errors name what stands against it, and only a lack of memory for domains may pass.
#[test]
fn errors_say_what_stands_against_it() {
    let error = AdoptError::Claim(ClaimError::NoFrames);
    assert!(error.to_string().starts_with("a claim cannot be staked: "), "{error}");
    assert!(!error.waiting_can_help());
    let why = OwnerRefusal::State(PageState::Free);
    let error = bedframe::OwnerError::Frame { frame: Mfn::new(5), why, committed: 0 };
    assert!(AdoptError::Owner(error).to_string().contains("0x5"), "{error}");
    let why = AllocError::OutOfMemory { frames: 1, pool: Pool::Xen };
    assert!(AdoptError::Domain(DomainError::NoMemory { why }).waiting_can_help());
    assert!(!AdoptError::Domain(DomainError::NoRecords).waiting_can_help());
    let error = DescribeError::Disorder::<()> { range: range(1, 2) };
    assert!(!error.waiting_can_help() && DescribeError::Write(()).waiting_can_help());
}
