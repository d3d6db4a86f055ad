//! What stays lies anywhere, and there may be little room between.

use bedframe::{Accounting, DomainId, FrameRange, Mfn, PageState, Request, XenHeap};
use bedframe_live::Stream;

use crate::world::{HEAPS, RAM, World, range, single};

/// Every second frame stays. What lies between is opened as far as the new instance needs it to begin with, and
/// the rest when its heap runs.
#[test]
fn every_second_frame_stays() {
    for heap in HEAPS {
        let old = World::started(heap);
        old.memory.create_domain(DomainId(1), 100_000).unwrap();
        let mut mine = Vec::new();
        while let Ok(frame) = old.memory.alloc(&Request::frames(1)) {
            mine.push(frame.start());
        }
        while let Ok(frame) = old.memory.alloc(&Request::frames(1).pool(bedframe::Pool::Xen)) {
            mine.push(frame.start());
        }
        for frame in mine {
            let frame = FrameRange::single(frame);
            // Of the first zones and the last; in the middle there is a gap.
            if frame.start().get().is_multiple_of(2) || range(4000, 5000).contains(frame.start()) {
                old.memory.free(frame).unwrap();
            } else {
                old.memory.assign(DomainId(1), frame, Accounting::Counted).unwrap();
            }
        }
        let bytes = old.describe(&[]);
        let owned = old.memory.domain(DomainId(1)).unwrap().accounted;
        assert!(owned > 4000, "{owned}");
        let begun = old.begun(&bytes).unwrap();
        let early = begun.memory.statistics();
        assert!(early.free > 200 && early.uninitialised > 7000, "{heap:?} {early:?}");
        let mut steps = 0;
        let mut at = Mfn::ZERO;
        while at < Mfn::MAX {
            at = begun.memory.run_at(at).frames.end();
            steps += 1;
        }
        assert!(steps < 20, "{steps} steps in the ledger");
        let (new, adopted) = old.next(&bytes);
        assert_eq!((adopted.owned, adopted.kept), (owned, 0));
        assert!(adopted.freed > 3000, "{adopted:?}");
        let after = new.memory.statistics();
        assert_eq!((after.uninitialised, new.describe(&[])), (0, bytes), "{heap:?}");
    }
}

/// No gap is large: all of them are open from the beginning.
#[test]
fn the_smallest_gaps_are_open_where_there_are_no_others() {
    let old = World::started(XenHeap::Unified);
    let free = old.memory.statistics().free;
    let mut mine: Vec<_> =
        (0..free).map(|_| old.memory.alloc(&Request::frames(1)).unwrap().start()).collect();
    mine.sort();
    // Eighty frames in a row go, here and there: fewer than the new instance wants to begin with, all in all.
    let (gone, kept): (Vec<_>, Vec<_>) =
        mine.into_iter().partition(|frame| frame.get() % 2000 < 80);
    assert!(gone.len() < 600 && gone.len() > 400);
    let mut ranges: Vec<FrameRange> = Vec::new();
    for frame in kept {
        match ranges.last_mut() {
            Some(last) if last.end() == frame => {
                *last = FrameRange::new(last.start(), frame.saturating_add(1)).unwrap()
            }
            _ => ranges.push(FrameRange::single(frame)),
        }
    }
    let bytes = old.describe(&ranges);
    let begun = old.begun(&bytes).unwrap();
    let early = begun.memory.statistics();
    assert!(early.free + early.metadata >= gone.len() as u64, "{early:?}");
    let (new, adopted) = old.next(&bytes);
    assert_eq!(adopted.freed, 0);
    assert_eq!(new.describe(&ranges), bytes);
}

/// Few gaps are open from the beginning, of whatever length; of many, the largest, until there is enough.
#[test]
fn the_largest_gaps_are_open_first() {
    for many in [false, true] {
        let old = World::started(XenHeap::Unified);
        // Gaps of 10, 100 and 2500 frames; behind them, more than 2000 of 2 frames each, or few and large ones.
        let large = [range(1, 100), range(110, 700), range(720, 1000), range(1100, 2500)];
        let few = (5000..11_500).step_by(if many { 3 } else { 500 }).map(Mfn::new);
        let frames = large.into_iter().flat_map(|range| range.iter()).chain(few);
        let mut kept: Vec<_> = frames.map(FrameRange::single).collect();
        kept.retain(|kept| old.memory.alloc(&Request::exactly(*kept)).is_ok());
        assert!(kept.len() > 2300 + if many { 2000 } else { 10 });
        let bytes = old.describe(&kept);
        let begun = old.begun(&bytes).unwrap();
        let open = |frame| {
            let state = begun.memory.state(Mfn::new(frame));
            assert!(matches!(
                state,
                PageState::Free | PageState::Metadata | PageState::Uninitialised
            ));
            state != PageState::Uninitialised
        };
        assert_eq!((open(150), open(3000), open(1050), open(105)), (false, true, true, true));
        assert_eq!((open(6001), open(6004), open(5501)), (!many, !many, !many));
        begun.memory.start(1).unwrap();
        let adopted = Stream::check(&bytes).unwrap().finish(&begun.memory).unwrap();
        assert_eq!(adopted.freed > 0, many);
        assert!(open(6001) && open(6004) && open(105) && !open(150));
        begun.memory.validate().unwrap();
    }
}

/// A machine without anything free has no room for another instance, and one without RAM has nothing.
#[test]
fn no_room_is_an_error_and_not_a_panic() {
    let old = World::early(XenHeap::Unified);
    for (start, end, _) in RAM {
        let rest = range(start.max(1), end);
        let free = old.memory.statistics().free;
        assert!(free > 0);
        for frame in rest.iter() {
            let _ = old.memory.alloc(&Request::exactly(FrameRange::single(frame)));
        }
    }
    let mut kept = Vec::new();
    for run in old.runs() {
        if run.state == PageState::Uninitialised {
            kept.push(run.frames);
        }
    }
    let bytes = old.describe(&kept);
    match old.begun(&bytes) {
        Ok(next) => assert!(next.memory.start(1).is_err()),
        Err(error) => assert!(matches!(error, bedframe_live::AdoptError::Map(_)), "{error}"),
    }
    let nothing = World::empty(XenHeap::Unified);
    let bytes = nothing.describe(&[]);
    assert_eq!(bytes.len(), 80);
    let next = nothing.begun(&bytes).unwrap();
    assert!(next.memory.start(1).is_err());
    assert_eq!(next.memory.state(single(5).start()), PageState::Absent);
}
