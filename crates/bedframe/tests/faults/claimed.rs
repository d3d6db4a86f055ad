//! Frames that fail while frames are claimed: nobody's claim shrinks by more than what it was given, and no more is ever
//! claimed than is free, but for a deficit that has a name.

use std::sync::{Arc, Mutex};

use bedframe::{
    AllocError, ClaimCounts, FrameRange, Memory, Mfn, NodeId, Notice, PageState, Scope, Withdrawal,
    XenHeap,
};

use crate::books::{Books, Whose};
use crate::machine::{self, Machine, SPAN};
use crate::{A, COUNTED, ONE, request};

/// At rest what is claimed and what is not make up what is free, less what force has taken.
#[track_caller]
fn at_rest(memory: &Memory<Machine>, what: &str) -> ClaimCounts {
    assert_eq!(memory.validate(), Ok(()));
    let counts = memory.claims(Scope::Machine).unwrap();
    let ClaimCounts { claimed, unclaimed, deficit } = counts;
    let free = memory.statistics().free;
    assert_eq!(claimed + unclaimed, free + deficit, "{what}: {counts:?}, {free} are free");
    counts
}

/// With records, and without.
fn memories() -> [&'static Memory<Machine>; 2] {
    [machine::recorded(), machine::memory(XenHeap::Unified, |memory| memory)]
}

/// Whoever allocates clean frames on a claim, and finds broken ones, has what he asked for drawn from it, once.
#[test]
fn a_claim_pays_for_what_it_got() {
    for memory in memories() {
        for (order, broken) in [(0, 1), (0, 5), (3, 2), (9, 1)] {
            let mut books = Books::open(memory, SPAN);
            let claim = memory.stake_claim(Scope::Machine, 1600).unwrap();
            // Whatever comes next is broken, so many times.
            for _ in 0..broken {
                let next = memory.alloc(&request(order)).unwrap();
                memory.platform().fail(next.start());
                memory.free(next).unwrap();
            }
            let failed = memory.platform().faults.broken.lock().unwrap().clone();
            let scrubbed: Arc<Mutex<Vec<Mfn>>> = Arc::default();
            let note = scrubbed.clone();
            memory.platform().on_scrub(move |frame| note.lock().unwrap().push(frame));
            let found = claim.alloc(&request(order).clean()).unwrap();
            let times = |frame| scrubbed.lock().unwrap().iter().filter(|f| **f == frame).count();
            assert!(found.iter().all(|frame| times(frame) == 1), "each is scrubbed once");
            memory.platform().be_good();
            assert_eq!(claim.left(), 1600 - (1 << order), "order {order}, {broken} broken");
            books.took(found);
            for frame in failed {
                // What was not tried is as free as before; without records what broke stays in use.
                let state = memory.state(frame);
                if books.whose(frame) == Whose::Free && state != PageState::Free {
                    books.pass(FrameRange::single(frame), Whose::Free, Whose::Fixed(state));
                }
            }
            books.check(memory);
            at_rest(memory, "behind an allocation");
            drop(claim);
            memory.free(found).unwrap();
        }
    }
}

/// A request on a claim that nobody can scrub frames for leaves the claim as it was.
#[test]
fn a_refused_request_leaves_the_claim() {
    for memory in memories() {
        let claim = memory.stake_claim(Scope::Machine, 1000).unwrap();
        memory.platform().faults.unreachable.lock().unwrap().extend(SPAN.iter());
        for order in [0, 4, 9] {
            let refused = claim.alloc(&request(order).clean()).unwrap_err();
            assert!(matches!(refused, AllocError::Unreachable { .. }), "{refused}");
            assert_eq!(claim.left(), 1000, "order {order}");
            at_rest(memory, "behind a refusal");
        }
        memory.platform().faults.unreachable.lock().unwrap().clear();
        claim.alloc(&ONE.clean()).unwrap();
        assert_eq!(claim.left(), 999);
    }
}

/// The same for a domain's claim, whose allocations are clean anyway, on nodes in turn.
#[test]
fn a_domains_claim_pays_for_what_it_got() {
    let memory = machine::recorded();
    memory.create_domain(A, 5000).unwrap();
    memory.set_affinity(A, &[NodeId(0), NodeId(1), NodeId(2)]).unwrap();
    let mut books = Books::open(memory, SPAN);
    memory.claim(A, Scope::Machine, 1000).unwrap();
    // Nobody reaches nodes 0 and 1; on node 2 every third frame that is tried is broken.
    let far = memory.platform().faults.clone();
    far.unreachable.lock().unwrap().extend((0..2600).map(Mfn::new));
    for number in 0..100 {
        if number % 3 == 0 {
            let next = memory.alloc(&ONE.on(NodeId(2))).unwrap();
            memory.platform().fail(next.start());
            memory.free(next).unwrap();
        }
        let found = memory.alloc_for(A, &ONE, COUNTED).unwrap();
        books.pass(found, Whose::Free, Whose::Of(A));
        assert_eq!(memory.release_claim(A, 0), Ok(0));
        let left = memory.claims(Scope::Machine).unwrap().claimed;
        assert_eq!(left, 1000 - (number + 1), "what is left of the claim");
    }
    let failed = far.broken.lock().unwrap().clone();
    for frame in failed.into_iter().filter(|frame| memory.state(*frame) != PageState::Free) {
        books.broke(frame);
    }
    assert!(books.count(Whose::Fixed(PageState::Broken)) > 20);
    books.check(memory);
    at_rest(memory, "behind a hundred");
}

/// A frame that the idle scrubber finds broken is not free any more: what is claimed says so.
#[test]
fn the_scrubber_finds_what_was_claimed_broken() {
    for memory in memories() {
        let free = memory.statistics().free;
        let claim = memory.stake_claim(Scope::Machine, free - 2).unwrap();
        let mut found = Vec::new();
        memory.each_free_run(|run, _| found.push(run.start()));
        for frame in found.iter().take(4) {
            memory.platform().fail(*frame);
        }
        while !memory.scrub(64).done {}
        let counts = at_rest(memory, "scrubbed");
        assert_eq!((counts.unclaimed, counts.deficit), (0, 2));
        let refused = memory.alloc(&ONE).unwrap_err();
        assert_eq!(refused, AllocError::Claimed { frames: 1, unclaimed: 0 });
        // Whoever claimed gets all there is.
        let mut got = 0;
        while claim.alloc(&ONE).is_ok() {
            got += 1;
        }
        assert_eq!((got, claim.left()), (free - 4, 2));
    }
}

/// The notice of low memory comes by the call that makes it low, which may be the scrubber's, or one that withdraws frames;
/// and that it has recovered, by the call that lets them back.
#[test]
fn a_failing_frame_makes_memory_low() {
    for (by_scrubber, memory) in [false, true].into_iter().zip([machine::recorded(), memories()[0]])
    {
        let told: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let note = told.clone();
        memory.platform().on_low(move |(_, notice)| note.lock().unwrap().push(notice));
        let free = memory.statistics().free;
        memory.watch(Scope::Machine, free - 2, free - 1).unwrap();
        let mut found = Vec::new();
        memory.each_free_run(|run, _| found.push(run.start()));
        found.truncate(4);
        let check = |was_low: &mut bool| {
            let now = memory.statistics().free;
            *was_low = if *was_low { now < free - 1 } else { now < free - 2 };
            let last = told.lock().unwrap().last() == Some(&Notice::Low);
            assert_eq!(last, *was_low, "{now} of {free} free, {by_scrubber}");
        };
        let mut low = false;
        if by_scrubber {
            found.iter().for_each(|frame| memory.platform().fail(*frame));
            while !memory.scrub(1).done {
                check(&mut low);
            }
            assert_eq!(memory.statistics().free, free - 4);
        } else {
            for frame in &found {
                assert_eq!(memory.offline(*frame), Ok(Withdrawal::Done));
                check(&mut low);
            }
            assert!(low);
            for frame in &found {
                memory.online(*frame).unwrap();
                check(&mut low);
            }
        }
        assert_eq!(told.lock().unwrap().len(), if by_scrubber { 1 } else { 2 });
        memory.unwatch(Scope::Machine);
        at_rest(memory, "told");
    }
}
