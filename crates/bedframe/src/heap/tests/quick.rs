//! The quick paths by themselves: what each serves and what it leaves to others, what it notes for later calls, what
//! follows it, and that it asks the platform for nothing but where the directory lies.

use std::cell::Cell;
use std::rc::Rc;

use super::asked::{
    Asked, BASE, EDGE, LAST, MANY, NODES, REST, broken, change, chunk, frame, grab, interrupted,
    machine, machine_of, place, segment, slot, words,
};
use super::*;
use crate::credits::Scope;
use crate::index::{Entry, Place};
use crate::order::Order;
use crate::request::Pool;
use crate::sync::Ordering;

/// A request that names nothing but a heap, for a frame of either or a chunk of the domain heap.
#[test]
fn plain_requests_are_quick() {
    let quick = |request: Request<'_>| Quick::of(&request);
    assert_eq!(quick(Request::frames(1)), Some(Quick::Frame(Pool::Domain)));
    assert_eq!(quick(Request::frames(1).pool(Pool::Xen)), Some(Quick::Frame(Pool::Xen)));
    assert_eq!(quick(chunk()), Some(Quick::Chunk));
    for other in [
        Request::frames(512),
        Request::frames(2),
        Request::order(Order::new(1).unwrap()),
        chunk().pool(Pool::Xen),
        chunk().clean(),
        chunk().on(NodeId(7)),
        Request::frames(1).prefer(NodeId(7)),
    ] {
        assert_eq!(quick(other), None, "{other:?}");
    }
}

/// A quick path asks where the directory lies and nothing else; debug builds ask again where the tables lie that it
/// looks at. Interrupts are masked for a frame that is freed where none was free, and for nothing else.
#[test]
fn a_quick_path_asks_for_one_frame() {
    let memory = machine();
    let home = frame(&memory);
    let (single, full) = (LAST + 0x200, LAST + 0x400);
    broken(&memory, single, 0b1111 << 8);
    broken(&memory, full, 0);
    let whole = memory.alloc(&chunk()).unwrap().start().get();
    let asked = |pointers: u64, masks: u64, call: &dyn Fn()| {
        let platform = memory.platform();
        platform.pointers.set(0);
        platform.masks.set(0);
        call();
        let pointers = if cfg!(debug_assertions) { pointers } else { 1 };
        assert_eq!((platform.pointers.get(), platform.masks.get()), (pointers, masks));
    };
    let take = |start| assert_eq!(frame(&memory), start);
    let free = |start, end| memory.free(frames(start, end)).unwrap();
    asked(3, 0, &|| take(home + 1));
    asked(2, 0, &|| free(home, home + 1));
    asked(2, 0, &|| free(single + 16, single + 20));
    asked(4, 1, &|| free(full, full + 1));
    asked(3, 0, &|| take(full));
    let behind = frames(whole + 512, whole + 1024);
    asked(3, 0, &|| assert_eq!(memory.alloc(&chunk()), Ok(behind)));
    asked(4, 0, &|| free(whole, whole + 512));
    memory.validate().unwrap();
}

/// Before it has taken any a CPU has no home; who shares a slot has none of its own.
#[test]
fn a_cpu_has_a_home_where_it_took_a_frame() {
    let memory = machine();
    let directory = memory.directory().unwrap();
    let node = |request| quick_node(directory, request);
    let single = Quick::Frame(Pool::Domain);
    assert!(own_home(directory, Pool::Domain).is_none());
    assert_eq!((node(single), node(Quick::Chunk)), (None, None));
    let taken = frame(&memory);
    let (own, home, bank) = own_home(directory, Pool::Domain).unwrap();
    assert!(core::ptr::eq(own, slot(&memory)));
    assert_eq!((home, bank.start), (place(&memory, taken), LAST));
    assert_eq!((node(single), node(Quick::Frame(Pool::Xen))), (Some(NodeId(7)), None));
    memory.platform().node.set(5);
    memory.alloc(&chunk()).unwrap();
    assert_eq!((node(single), node(Quick::Chunk)), (Some(NodeId(7)), Some(NodeId(5))));
    memory.platform().cpu.set(2);
    assert!(own_home(directory, Pool::Domain).is_none());
    assert_eq!(node(single), Some(NodeId(7)));
}

/// What a step that frees frames of one word has come to.
fn put_there(memory: &Memory<Asked>, start: u64, frames: u64) -> Put {
    put_quickly(memory.directory().unwrap(), segment(memory, start), start, frames)
}

/// Up to the end of a word, and up to the end of the segment; none beyond that.
#[test]
fn frames_of_a_word_are_freed_up_to_its_end_and_no_further() {
    let memory = machine();
    broken(&memory, LAST, 0b11);
    assert!(matches!(put_there(&memory, LAST + 60, 4), Put::Yes));
    assert!(matches!(put_there(&memory, LAST + 50, 15), Put::No), "of the next word too");
    assert!(matches!(put_there(&memory, LAST + 50, 0), Put::No));
    assert!(matches!(put_there(&memory, EDGE - 2, 2), Put::Marked(_)));
    assert!(matches!(put_there(&memory, EDGE - 2, 3), Put::No));
}

/// Where none of a chunk was ever in the heap, or contents are known, the marks of the frames are looked at.
#[test]
fn marks_are_looked_at_where_they_say_something() {
    let memory = machine();
    let directory = memory.directory().unwrap();
    broken(&memory, LAST, 0b11);
    let words = directory.words_in(segment(&memory, LAST), LAST).unwrap();
    let put = |mask| put_marked(directory, segment(&memory, LAST), LAST, mask);
    change(&memory, LAST, |entry| entry.with_complete(false));
    assert!(matches!(put_there(&memory, LAST + 2, 1), Put::Marked(0b100)));
    assert!(matches!(put(0b100), Put::Yes));
    words.initialised.store(0b1_0111, Ordering::Relaxed);
    assert!(matches!(put(0b1000), Put::No), "it has never been in the heap");
    change(&memory, LAST, |entry| entry.with_clean(true));
    assert!(matches!(put(0b1_0000), Put::Empty(0b1_0000)), "it is to be marked as dirty");
    words.dirty.store(0b1_0000, Ordering::Relaxed);
    assert!(matches!(put(0b1_0000), Put::Yes));
}

/// More is to be done where the word had one free frame or has none in use, unless a CPU allocates there; and where a cap
/// may have become too low.
#[test]
fn most_frees_have_nothing_more_to_look_after() {
    let memory = machine();
    let cases: [(u64, u64, bool); 6] = [
        (0b01, 1 << 2, true),
        (0b10, 1 << 2, true),
        (0b11, 1 << 2, false),
        (0b110, 1, false),
        (u64::MAX - 1, 1, true),
        (1 << 63, u64::MAX >> 1, true),
    ];
    let mut start = MANY;
    for (free, mask, more) in cases {
        let bit = u64::from(mask.trailing_zeros());
        for (adopted, cap) in [(false, None), (false, Some(6)), (true, None)] {
            let is_more = !adopted && (more || cap.is_some());
            start += 512;
            broken(&memory, start, free);
            change(&memory, start, |entry| entry.with_adopted(adopted).with_cap(cap));
            match put_there(&memory, start + bit, mask.count_ones().into()) {
                Put::Yes => assert!(!is_more, "{free:#x}"),
                Put::More(old, freed) => assert_eq!((is_more, old, freed), (true, free, mask)),
                _ => panic!("{free:#x} {mask:#x}"),
            }
        }
    }
}

/// A word that had one free frame is a hole for this CPU, unless a CPU allocates there; a cap goes if there is a larger
/// block now.
#[test]
fn what_few_frees_look_after_is_looked_after() {
    let memory = machine();
    let directory = memory.directory().unwrap();
    broken(&memory, LAST, 0b111);
    let end = |old: u64, mask: u64, adopted, cap| {
        slot(&memory).reset();
        change(&memory, LAST, |entry| entry.with_adopted(adopted).with_cap(cap));
        assert_eq!(end_put(directory, segment(&memory, LAST), LAST, old, mask), Freed::Yes);
        let entry = Entry(words(&memory, LAST).0.load(Ordering::Relaxed));
        (slot(&memory).hole() == Some(place(&memory, LAST)), entry.cap())
    };
    for old in [0b01, 0b10, 1 << 63] {
        assert_eq!(end(old, 0b100, false, None), (true, None), "{old:#x}");
        assert_eq!(end(old, 0b100, true, None), (false, None), "{old:#x}");
    }
    for old in [0b11, 0b101, u64::MAX << 3] {
        assert_eq!(end(old, 0b1000, false, Some(6)), (false, Some(6)), "{old:#x}");
    }
    assert_eq!(end(0b01, 0b10, false, Some(1)), (true, None));
    assert_eq!(end(0b01, 0b100, false, Some(1)), (true, Some(1)));
    change(&memory, LAST, |entry| entry.with_exceptional(true));
    let doubtful = end_put(directory, segment(&memory, LAST), LAST, 0b01, 0b10);
    assert_eq!(doubtful, Freed::Doubtful);
}

/// The CPU's hole, if it has one.
fn hole(memory: &Memory<Asked>) -> Option<Place> {
    slot(memory).hole()
}

/// A hole is forgotten with the last frame that comes out of it, before anybody looks there in vain.
#[test]
fn a_hole_that_is_filled_is_forgotten() {
    for cpu in [0, 2] {
        let memory = machine();
        memory.platform().cpu.set(cpu);
        frame(&memory);
        let (first, second) = (LAST + 0x400, LAST + 0x640);
        broken(&memory, first, 0);
        broken(&memory, second - 64, 0);
        for start in [first, second] {
            memory.free(frames(start + 5, start + 6)).unwrap();
            assert_eq!(hole(&memory), Some(place(&memory, start)));
        }
        memory.free(frames(second + 7, second + 8)).unwrap();
        for (expected, left) in
            [(second + 5, Some(second)), (second + 7, Some(first)), (first + 5, None)]
        {
            assert_eq!(frame(&memory), expected);
            assert_eq!(hole(&memory), left.map(|start| place(&memory, start)), "CPU {cpu}");
        }
        memory.validate().unwrap();
    }
}

/// A word that has got more free frames is none any more; nor is one that has none, or lies in another bank than that in
/// which this CPU allocates, whatever there is at its number in this one.
#[test]
fn what_is_no_hole_any_more_draws_nobody() {
    let memory = machine();
    let mut next = frame(&memory);
    let (many, none, few) = (LAST + 0x200, LAST + 0x400, LAST + 0x600);
    broken(&memory, many, 0b1_1111);
    broken(&memory, none, 0);
    broken(&memory, few, 0b11);
    let there = place(&memory, few);
    let elsewhere = Place::new(place(&memory, MANY).bank, there.chunk(), there.word());
    for hole in [place(&memory, many), place(&memory, none), elsewhere] {
        next += 1;
        slot(&memory).push_hole(hole);
        assert_eq!(frame(&memory), next, "{hole:?}");
        assert_eq!(slot(&memory).hole(), None);
        let directory = memory.directory().unwrap();
        next += 1;
        slot(&memory).push_hole(hole);
        let taken = take_anyhow(directory, home(directory, Pool::Domain).unwrap());
        assert_eq!((taken, slot(&memory).hole()), (Taken::Yes(next), None), "{hole:?}");
    }
    memory.validate().unwrap();
}

/// The quick path calls nothing, and so knows where the frames of a bank of one segment lie only.
#[test]
fn banks_of_several_segments_are_left_to_others() {
    let memory = machine();
    let directory = memory.directory().unwrap();
    for (start, is_quick) in [(REST, false), (MANY, true)] {
        broken(&memory, start, 0b10);
        let bank = &directory.banks()[segment(&memory, start).bank as usize];
        let taken = |taken| if is_quick { Taken::Yes(taken) } else { Taken::No };
        let (there, next) = (place(&memory, start), place(&memory, start + 512));
        let hole = || take_hole(directory, slot(&memory), bank, there);
        assert_eq!(hole(), taken(start + 1));
        slot(&memory).set_whole(next);
        assert_eq!(take_whole_quickly(directory, slot(&memory)), taken(start + 512));
        slot(&memory).set_whole(place(&memory, start + 1024));
        assert_eq!(take_next_whole(directory, slot(&memory)), Taken::Yes(start + 1024));
        assert_eq!(slot(&memory).whole(), Some(place(&memory, start + 1536)));
        slot(&memory).set_whole(there);
        assert_eq!(take_next_whole(directory, slot(&memory)), Taken::No, "it is in pieces");
    }
    memory.validate().unwrap();
}

/// Frames that were put back beside none are a hole, unless a CPU allocates there or others are free.
#[test]
fn a_word_of_which_none_was_free_is_a_hole() {
    let memory = machine();
    let directory = memory.directory().unwrap();
    broken(&memory, LAST, 0);
    broken(&memory, LAST + 512, 0b10);
    for (start, adopted, is_hole) in [
        (LAST, true, false),
        (LAST + 64, false, true),
        (LAST + 128, true, false),
        (LAST + 512, false, false),
    ] {
        slot(&memory).reset();
        change(&memory, start, |entry| entry.with_adopted(adopted));
        let put = put_in_empty(directory, segment(&memory, start), start, 0b100);
        assert_eq!((put, hole(&memory)), (Freed::Yes, is_hole.then(|| place(&memory, start))));
    }
}

/// What a quick path takes while another CPU claims all that is free is given up.
#[test]
fn a_claim_that_comes_in_between_is_kept() {
    for request in [Request::frames(1), chunk()] {
        let mut kept = 0;
        for turn in 1..10 {
            let ram = [(BASE, BASE + 0x1000, 7)];
            let memory: &'static Memory<Asked> = Box::leak(Box::new(machine_of(&ram, false)));
            for _ in 0..2 {
                memory.alloc(&request).unwrap();
            }
            let free = memory.statistics().free;
            let claimed = Rc::new(Cell::new(false));
            let tell = Rc::clone(&claimed);
            let other = move || {
                let claim = memory.stake_claim(Scope::Machine, free);
                tell.set(claim.is_ok());
                core::mem::forget(claim);
            };
            let (found, reached) = interrupted(memory, turn, other, || memory.alloc(&request));
            assert_eq!(found.is_ok(), !claimed.get(), "turn {turn}: both or none");
            memory.validate().unwrap();
            kept += u32::from(claimed.get());
            if !reached {
                break;
            }
        }
        assert!(kept > 0);
    }
}

/// A frame that has an owner is left to him by who has taken it by mistake, also if he gives it back, and somebody else
/// takes it, before the others are put back.
#[test]
fn an_owners_frame_is_left_alone_whatever_becomes_of_it() {
    let (start, end) = (REST + 0x40, REST + 0x60);
    let theirs = FrameRange::single(Mfn::new(REST + 0x46));
    let domain = DomainId(1);
    let mut last = u64::MAX;
    for round in 0..2 {
        let memory: &'static Memory<Asked> = Box::leak(Box::new(machine_of(&NODES[..3], true)));
        memory.create_domain(domain, 100).unwrap();
        grab(memory, start, end);
        memory.assign(domain, theirs, Accounting::Counted).unwrap();
        let other = move || {
            memory.free_owned(domain, theirs).unwrap();
            assert_eq!(memory.alloc(&Request::exactly(theirs)), Ok(theirs));
        };
        let heap = memory.heap().unwrap();
        memory.platform().pointers.set(0);
        let vet = || heap.vet(frames(start, end));
        let (is_theirs, reached) = interrupted(memory, last, other, vet);
        // The last moment is in front of the put; there is none in builds that do not ask again.
        last = memory.platform().pointers.get();
        assert_eq!((is_theirs, reached), (false, round == 1 && cfg!(debug_assertions)));
        for frame in start..end {
            let is = memory.state(Mfn::new(frame));
            let kept = theirs.contains(Mfn::new(frame));
            assert_eq!(is, if kept { PageState::InUse } else { PageState::Free }, "{frame:#x}");
        }
        memory.validate().unwrap();
    }
}
