//! Frames that break: wherever they are, nobody is handed one, nobody touches one, and no other frame goes with them. A touch of
//! a broken frame ends the process.

use bedframe::{
    Accounting, DomainId, FrameRange, FreeRefusal, Memory, Mfn, OfflineError, PageState, Pool,
    Request, Withdrawal, XenHeap,
};

use crate::books::{Books, Whose};
use crate::common::{World, interleave, mfn, range};
use crate::machine::{self, Machine, SPAN};
use crate::{A, B, COUNTED, ONE, request};

const BROKEN: Whose = Whose::Fixed(PageState::Broken);

/// Takes all there is in blocks of every size, writes to it, and gives it back.
#[track_caller]
fn use_all(memory: &Memory<Machine>, books: &mut Books) {
    for pool in [Pool::Domain, Pool::Xen] {
        let mut held = Vec::new();
        for order in (0..=10).rev() {
            while let Ok(block) = memory.alloc(&request(order).pool(pool)) {
                books.took(block);
                memory.platform().memory().write_pattern(block, 7).unwrap();
                held.push(block);
            }
        }
        for block in held {
            memory.free(block).unwrap();
            books.gave(block);
        }
    }
    books.check(memory);
    books.exhaust(memory);
}

/// Marks a frame that somebody has: it stays his.
#[track_caller]
fn mark(memory: &Memory<Machine>, frame: Mfn) {
    assert_eq!(memory.mark_broken(frame), Ok(Withdrawal::Pending), "frame {frame}");
    assert_eq!(memory.state(frame), PageState::BrokenOfflining);
}

/// It has been given back, and left.
#[track_caller]
fn is_gone(memory: &Memory<Machine>, books: &mut Books, frame: Mfn) {
    assert_eq!(memory.state(frame), PageState::Broken, "frame {frame}");
    memory.platform().trap(frame);
    books.broke(frame);
}

/// The idle scrubber finds every so manieth frame broken, or all: each leaves by itself, once, and everything else is clean.
#[test]
fn found_by_the_scrubber() {
    for records in [true, false] {
        for every in [1, 2, 61, 512] {
            let memory = machine::memory(XenHeap::Unified, |memory| match records {
                true => memory.with_records(),
                false => memory,
            });
            let mut books = Books::open(memory, SPAN);
            // A chunk is in pieces, others whole.
            let held = memory.alloc(&Request::frames(3)).unwrap();
            books.took(held);
            let free = books.all(Whose::Free);
            let failed: Vec<_> = free.iter().copied().step_by(every).collect();
            failed.iter().for_each(|frame| memory.platform().fail(*frame));
            let mut scrubbed = 0;
            while let told = memory.scrub(100)
                && !told.done
            {
                scrubbed += told.frames;
            }
            // What was scrubbed of a chunk before a broken frame was found is not scrubbed again.
            assert_eq!(scrubbed, (free.len() - failed.len()) as u64);
            let state = if records { PageState::Broken } else { PageState::InUse };
            for frame in &failed {
                assert_eq!(memory.state(*frame), state);
                books.pass(FrameRange::single(*frame), Whose::Free, Whose::Fixed(state));
            }
            books.check(memory);
            assert_eq!(memory.statistics().dirty, 0);
            // Nobody has to scrub anything.
            memory.platform().on_scrub(|frame| panic!("{frame} was clean"));
            let mut clean = Vec::new();
            while let Ok(frame) = memory.alloc(&ONE.clean()) {
                books.took(frame);
                clean.push(frame);
            }
            assert_eq!(clean.len(), free.len() - failed.len());
            for frame in clean {
                memory.free(frame).unwrap();
                books.gave(frame);
            }
            memory.platform().be_good();
            use_all(memory, &mut books);
        }
    }
}

/// A request for clean frames finds one broken, at the first, some, and the last place of its block; it gets others, and all but
/// that frame is free as before.
#[test]
fn found_by_an_allocation() {
    for owned in [false, true] {
        for order in [0u8, 1, 6, 8, 9, 10] {
            for place in [0, (1 << order) / 3, (1 << order) - 1] {
                let memory = machine::recorded();
                memory.create_domain(A, 5000).unwrap();
                let mut books = Books::open(memory, SPAN);
                let block = memory.alloc(&request(order)).unwrap();
                memory.free(block).unwrap();
                let frame = block.start().saturating_add(place);
                memory.platform().fail(frame);
                let (found, whose) = if owned {
                    (memory.alloc_for(A, &request(order), COUNTED).unwrap(), Whose::Of(A))
                } else {
                    (memory.alloc(&request(order).clean()).unwrap(), Whose::Ours)
                };
                assert!(!found.contains(frame));
                books.broke(frame);
                books.pass(found, Whose::Free, whose);
                books.check(memory);
                let has = memory.domain(A).unwrap();
                assert_eq!(has.accounted, if owned { 1 << order } else { 0 }, "the quota");
                if owned {
                    memory.free_owned(A, found).unwrap();
                } else {
                    memory.free(found).unwrap();
                }
                books.pass(found, whose, Whose::Free);
                use_all(memory, &mut books);
            }
        }
    }
}

/// The last memory is broken: the request is refused, and ends.
#[test]
fn all_that_is_left_breaks() {
    let memory = machine::recorded();
    memory.create_domain(A, 5000).unwrap();
    let mut books = Books::open(memory, SPAN);
    for frame in books.all(Whose::Free) {
        memory.platform().fail(frame);
    }
    let error = memory.alloc_for(A, &request(3), COUNTED).unwrap_err();
    assert!(error.waiting_can_help(), "{error}");
    assert_eq!(memory.domain(A).unwrap().frames(), 0);
    for frame in books.all(Whose::Free) {
        if memory.state(frame) == PageState::Broken {
            books.broke(frame);
        }
    }
    assert!(books.count(BROKEN) > 0);
    books.check(memory);
    assert!(memory.alloc(&ONE.clean()).is_err());
    for frame in books.all(Whose::Free) {
        books.broke(frame);
    }
    books.check(memory);
}

/// How a domain comes by a frame that breaks.
const WAYS_IN: [fn(&Memory<Machine>) -> FrameRange; 6] = [
    |m| m.alloc_for(A, &ONE, COUNTED).unwrap(),
    |m| m.alloc_for(A, &request(4), Accounting::Extra).unwrap(),
    // As a whole.
    |m| m.alloc_for(A, &request(9), COUNTED).unwrap(),
    |m| m.alloc_for(A, &Request::frames(1000), COUNTED).unwrap(),
    |m| {
        let block = m.alloc(&Request::frames(70)).unwrap();
        m.assign(A, block, COUNTED).unwrap();
        block
    },
    // Boot memory.
    |m| {
        m.assign(A, EARLY, COUNTED).unwrap();
        EARLY
    },
];

/// How it loses it again: all of the range becomes free.
const WAYS_OUT: [fn(&Memory<Machine>, FrameRange); 6] = [
    |m, range| assert_eq!(m.free_owned(A, range).unwrap().gone, range.frames()),
    |m, range| {
        for frame in range.iter() {
            m.free_owned(A, FrameRange::single(frame)).unwrap();
        }
    },
    |m, range| {
        m.steal(A, range).unwrap();
        m.free(range).unwrap();
    },
    |m, _| {
        m.kill_domain(A).unwrap();
        while !m.relinquish(A, 3).unwrap().done {}
        m.destroy_domain(A).unwrap();
    },
    // Kept by references, the broken one as well.
    |m, range| {
        for frame in range.iter().step_by(3) {
            m.reference_owned(A, frame).unwrap();
        }
        let gone = m.free_owned(A, range).unwrap();
        assert_eq!(
            (gone.kept, gone.gone + gone.kept),
            (range.frames().div_ceil(3), range.frames())
        );
        for frame in range.iter().step_by(3) {
            m.unreference(frame).unwrap();
        }
    },
    |m, range| {
        for frame in range.iter() {
            m.reference_owned(A, frame).unwrap();
        }
        m.kill_domain(A).unwrap();
        while !m.relinquish(A, 100).unwrap().done {}
        assert!(m.destroy_domain(A).is_err(), "referred to");
        for frame in range.iter() {
            m.unreference(frame).unwrap();
        }
        m.destroy_domain(A).unwrap();
    },
];

const EARLY: FrameRange = match FrameRange::new(Mfn::new(1300), Mfn::new(1400)) {
    Some(range) => range,
    None => FrameRange::EMPTY,
};

fn with_early() -> &'static Memory<Machine> {
    let memory = machine::empty(4400, XenHeap::Unified, Memory::with_records);
    machine::add(memory, &machine::RAM);
    memory.alloc(&Request::exactly(EARLY)).unwrap();
    memory.start(2).unwrap();
    memory.create_domain(A, 5000).unwrap();
    memory
}

/// A frame breaks while a domain has it, however it came by it; it leaves when the domain loses it, however that is.
#[test]
fn in_a_domains_hands() {
    for (way_in, take) in WAYS_IN.iter().enumerate() {
        for (way_out, lose) in WAYS_OUT.iter().enumerate() {
            let memory = with_early();
            let mut books = Books::open(memory, SPAN);
            let has = take(memory);
            let early = Whose::Fixed(PageState::Uninitialised);
            let was = if has == EARLY { early } else { Whose::Free };
            books.pass(has, was, Whose::Of(A));
            books.check(memory);
            let frame = has.start().saturating_add(has.frames() / 2);
            mark(memory, frame);
            assert_eq!(memory.owner(frame).unwrap().domain, A);
            assert_eq!(memory.domain(A).unwrap().frames(), has.frames());
            lose(memory, has);
            books.pass(has, Whose::Of(A), Whose::Free);
            if has != EARLY {
                books.pass(EARLY, early, Whose::Ours);
                memory.free(EARLY).unwrap();
                books.gave(EARLY);
            }
            is_gone(memory, &mut books, frame);
            assert_eq!(memory.references(frame), 0, "way {way_in}, {way_out}");
            use_all(memory, &mut books);
        }
    }
}

/// A lent frame breaks; it leaves when whoever lent it frees it, whatever became of the domain.
#[test]
fn while_it_is_lent() {
    for dies in [false, true] {
        let memory = machine::recorded();
        memory.create_domain(A, 0).unwrap();
        let mut books = Books::open(memory, SPAN);
        let lent = memory.alloc(&Request::frames(5).pool(Pool::Xen)).unwrap();
        books.took(lent);
        memory.lend(A, lent).unwrap();
        let frame = lent.start().saturating_add(2);
        mark(memory, frame);
        if dies {
            memory.kill_domain(A).unwrap();
            assert_eq!(memory.relinquish(A, 5).unwrap().gone, 5);
        } else {
            memory.take_back(A, lent).unwrap();
        }
        assert_eq!(memory.state(frame), PageState::BrokenOfflining, "still somebody's");
        memory.free(lent).unwrap();
        books.gave(lent);
        is_gone(memory, &mut books, frame);
        use_all(memory, &mut books);
    }
}

/// A frame that others refer to breaks: it is refused as referred to, and leaves with the free behind the last reference.
#[test]
fn while_it_is_referred_to() {
    let memory = machine::recorded();
    let mut books = Books::open(memory, SPAN);
    let block = memory.alloc(&request(6)).unwrap();
    books.took(block);
    let frame = block.start().saturating_add(63);
    memory.reference(frame).unwrap();
    mark(memory, frame);
    memory.reference(frame).unwrap();
    for left in [1, 0] {
        let error = memory.free(block).unwrap_err();
        assert_eq!((error.why, error.frame), (FreeRefusal::Referenced, frame));
        memory.unreference(frame).unwrap();
        assert_eq!(memory.references(frame), left);
    }
    memory.free(block).unwrap();
    books.gave(block);
    is_gone(memory, &mut books, frame);
    use_all(memory, &mut books);
}

/// Frames of a dying domain break between the steps in which it is taken apart: those that are still its own, and those that
/// are free already.
#[test]
fn while_a_domain_is_taken_apart() {
    let memory = machine::recorded();
    memory.create_domain(A, 5000).unwrap();
    let mut books = Books::open(memory, SPAN);
    let mut has = Vec::new();
    for order in [9, 5, 0, 0, 7, 9, 0] {
        let block = memory.alloc_for(A, &request(order), COUNTED).unwrap();
        books.pass(block, Whose::Free, Whose::Of(A));
        has.extend(block.iter());
    }
    memory.kill_domain(A).unwrap();
    let mut number = 0;
    let mut broken = Vec::new();
    loop {
        number += 1;
        let frame = has[number * 37 % has.len()];
        if memory.mark_broken(frame).is_ok() {
            broken.push(frame);
        }
        let told = memory.relinquish(A, 1).unwrap();
        for frame in &has {
            if books.whose(*frame) == Whose::Of(A) && memory.owner(*frame).is_none() {
                books.pass(FrameRange::single(*frame), Whose::Of(A), Whose::Free);
            }
        }
        if told.done {
            break;
        }
    }
    for frame in broken {
        is_gone(memory, &mut books, frame);
    }
    assert!(books.count(BROKEN) > 20);
    memory.destroy_domain(A).unwrap();
    use_all(memory, &mut books);
}

/// Everything around the library's own data breaks: the index, the ledger's pages, the books on domains. What holds these data
/// is refused, and none of the calls touches a neighbour.
#[test]
fn beside_the_index() {
    let memory = machine::empty(12_000, XenHeap::Unified, Memory::with_records);
    machine::add(memory, &machine::RAM);
    // A ledger of several pages.
    for number in 0..300 {
        memory.reserve(range(9000 + 2 * number, 9001 + 2 * number)).unwrap();
    }
    memory.start(2).unwrap();
    memory.create_domain(A, 5000).unwrap();
    let is_own = |frame| matches!(memory.state(frame), PageState::Metadata | PageState::InUse);
    let mut gone = 0;
    for frame in (1..4400).map(mfn) {
        let beside = is_own(mfn(frame.get() - 1)) || is_own(frame.saturating_add(1));
        if memory.state(frame) == PageState::Metadata {
            let state = PageState::Metadata;
            assert_eq!(memory.mark_broken(frame), Err(OfflineError::State { frame, state }));
        } else if beside && memory.state(frame) == PageState::Free {
            assert_eq!(memory.mark_broken(frame), Ok(Withdrawal::Done));
            memory.platform().trap(frame);
            gone += 1;
        }
    }
    assert!(gone > 5, "{gone} neighbours");
    let mut books = Books::open(memory, range(0, 4400));
    use_all(memory, &mut books);
    while !memory.scrub(1000).done {}
    machine::plug_in(memory, range(5000, 6000), 1).unwrap();
    memory.create_domain(B, 5000).unwrap();
    memory.create_domain(DomainId(u32::MAX), 1).unwrap();
    let mut books = Books::open(memory, range(0, 6000));
    while let Ok(block) = memory.alloc_for(B, &request(2), COUNTED) {
        books.pass(block, Whose::Free, Whose::Of(B));
    }
    books.check(memory);
    memory.kill_domain(B).unwrap();
    while !memory.relinquish(B, 10).unwrap().done {}
    for frame in books.all(Whose::Of(B)) {
        books.pass(FrameRange::single(frame), Whose::Of(B), Whose::Free);
    }
    books.exhaust(memory);
}

type Call = fn(&Memory<crate::common::Machine>);

/// A call in the middle of which a frame breaks that it is about. Frames 2700 to 2710 are the caller's, the domain's are 2720
/// to 2730, and nobody's are 2740 to 2750 and beyond.
const CALLS: [(&str, Call); 9] = [
    ("alloc", |m| {
        m.alloc(&Request::exactly(range(2742, 2747))).map(|found| m.free(found).unwrap()).ok();
    }),
    ("alloc a single frame", |m| {
        m.alloc(&ONE.inside(range(2745, 2750))).map(|found| m.free(found).unwrap()).ok();
    }),
    ("alloc clean", |m| {
        let request = Request::frames(5).inside(range(2742, 2750)).clean();
        m.alloc(&request).map(|found| m.free(found).unwrap()).ok();
    }),
    ("alloc_for", |m| {
        let request = Request::frames(4).inside(range(2742, 2750));
        let found = m.alloc_for(A, &request, COUNTED);
        let found = found.unwrap_or_else(|error| panic!("there are others: {error}"));
        m.free_owned(A, found).unwrap();
    }),
    ("free", |m| m.free(range(2700, 2710)).unwrap()),
    ("assign", |m| {
        m.assign(A, range(2700, 2710), COUNTED).ok();
    }),
    ("free_owned", |m| {
        m.free_owned(A, range(2720, 2730)).unwrap();
    }),
    ("steal", |m| m.steal(A, range(2720, 2730)).unwrap()),
    ("relinquish", |m| {
        m.kill_domain(A).unwrap();
        while !m.relinquish(A, 2).unwrap().done {}
    }),
];

/// A frame breaks in the middle of a call that is about it, at every moment of each.
#[test]
fn in_the_middle_of_a_call() {
    for (name, call) in CALLS {
        let mut turn = 0;
        loop {
            turn += 1;
            assert!(turn < 500, "{name} does not end");
            let world = World::recorded(XenHeap::Unified, World::SMALL);
            world.start();
            let memory = &world.memory;
            memory.create_domain(A, 100).unwrap();
            let mut books = Books::open(&**memory, range(0, 4400));
            for part in [range(2700, 2710), range(2720, 2730)] {
                memory.alloc(&Request::exactly(part)).unwrap();
                books.took(part);
            }
            memory.assign(A, range(2720, 2730), COUNTED).unwrap();
            let broken = [2705, 2725, 2745].map(mfn);
            let other = memory.clone();
            let (_, reached) = interleave(
                turn,
                move || {
                    broken.into_iter().for_each(|frame| assert!(other.mark_broken(frame).is_ok()))
                },
                || call(memory),
            );
            if !reached {
                break;
            }
            assert_eq!(memory.validate(), Ok(()), "{name} at {turn}");
            let call_frees = ["free", "free_owned", "relinquish"].contains(&name);
            // Whatever the call left is given back.
            for part in [range(2700, 2710), range(2720, 2730)] {
                for frame in part.iter().map(FrameRange::single) {
                    match memory.owner(frame.start()) {
                        Some(_) => assert!(memory.free_owned(A, frame).is_ok()),
                        // The call may have freed it.
                        None => assert!(memory.free(frame).is_ok() || call_frees),
                    }
                }
                books.gave(part);
            }
            for frame in broken {
                assert_eq!(memory.state(frame), PageState::Broken, "{name} at {turn}");
                world.machine.memory().break_frames(FrameRange::single(frame)).unwrap();
                books.broke(frame);
            }
            books.exhaust(&**memory);
            assert_eq!(memory.domain(A).unwrap().frames(), 0);
        }
        assert!(turn > 3, "{name} has {turn} moments");
    }
}

/// Somebody guesses a frame that is just being allocated for a domain, and takes a reference; the domain may die meanwhile. The
/// frame goes with the last reference if the domain has had it, or else is the guesser's to free; no other is lost with it.
#[test]
fn guessed_in_the_middle_of_an_allocation() {
    for dies in [false, true] {
        let mut guessed = 0;
        for turn in 1.. {
            assert!(turn < 500, "it does not end");
            let world = World::recorded(XenHeap::Unified, World::SMALL);
            world.start();
            let memory = &world.memory;
            memory.create_domain(A, 100).unwrap();
            let mut books = Books::open(&**memory, range(0, 4400));
            let frame = mfn(2745);
            let other = memory.clone();
            let act = move || {
                let _ = other.reference(frame);
                if dies {
                    other.kill_domain(A).unwrap();
                }
            };
            let request = Request::frames(70).inside(range(2742, 2830));
            let (found, reached) = interleave(turn, act, || memory.alloc_for(A, &request, COUNTED));
            if !reached {
                break;
            }
            let references = memory.references(frame);
            guessed += references;
            match found {
                Ok(found) => {
                    let gone = memory.free_owned(A, found).unwrap();
                    assert_eq!(gone.kept, u64::from(references));
                }
                Err(error) => assert!(dies, "{error} at {turn}"),
            }
            if references > 0 {
                let owned = memory.owner(frame).is_some();
                memory.unreference(frame).unwrap();
                if !owned {
                    memory.free(FrameRange::single(frame)).unwrap();
                }
            }
            assert_eq!(memory.domain(A).unwrap().frames(), 0);
            books.exhaust(&**memory);
        }
        assert!(guessed > 2, "{guessed} guesses were right");
    }
}
