//! Two calls, one in the middle of the other, at every moment at which that holds nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bedframe::{
    CpuId, FrameRange, Memory, Mfn, NodeId, PageState, Request, Scope, Withdrawal, XenHeap,
};
use bedframe_hosted::set_cpu;

use crate::ONE;
use crate::common::{Machine, World, interleave, mfn, order, range};

const CHUNK: (u64, u64) = (2048, 2560);

/// A chunk of which nothing is free, and enough beside it for the index.
fn world() -> World {
    let ram = [(1024, 1500, 0), (CHUNK.0, CHUNK.1, 0), (4096, 4608, 1)];
    let world = World::recorded(XenHeap::Unified, &ram);
    world.take(range(CHUNK.0, CHUNK.1));
    world.started()
}

/// Runs `round` with every turn, as long as there is one: it says whether the other call came. Returns how many
/// came.
fn every_turn(mut round: impl FnMut(u32) -> bool) -> u32 {
    let moments = (1..4000).take_while(|turn| round(*turn)).count() as u32;
    assert!(moments < 3900, "it does not end");
    moments
}

/// Runs `other` on another CPU.
fn elsewhere<T>(other: impl FnOnce() -> T) -> T {
    set_cpu(CpuId(1));
    let result = other();
    set_cpu(CpuId(0));
    result
}

/// All that is free in the chunk, one by one.
fn all_of(memory: &Memory<Machine>) -> BTreeSet<Mfn> {
    let one = ONE.inside(range(CHUNK.0, CHUNK.1));
    std::iter::from_fn(|| memory.alloc(&one).ok()).map(|frame| frame.start()).collect()
}

/// X 8b8b7e6c90: the last frames of a chunk are freed, which merges it, and in the middle of that one of its
/// frames is withdrawn; and the other way round. Either way the frame is withdrawn in the end, and all others
/// are free.
///
/// Answer: the state of a frame is in its record and in its bit of the plane, and both change under the chunk's
/// Busy, which a merge holds too. A chunk with a withdrawn frame is not full and cannot be merged.
///
/// Also: `index::interleavings::merges::a_merge_and_a_take_exclude_one_another`,
/// `interleavings::offline::an_offlining_and_the_free_of_the_frame`
#[test]
fn a_merge_and_a_change_of_state() {
    let gone = mfn(CHUNK.0 + 130);
    for last in
        [range(CHUNK.0, CHUNK.1), range(CHUNK.0 + 130, CHUNK.0 + 131), range(CHUNK.0, CHUNK.0 + 64)]
    {
        for first in [true, false] {
            let moments = every_turn(|turn| {
                let world = world();
                let (low, high) =
                    (range(CHUNK.0, last.start().get()), range(last.end().get(), CHUNK.1));
                world.free(low);
                world.free(high);
                let memory = Arc::clone(&world.memory);
                let withdraws = move |memory: &Memory<Machine>| _ = memory.offline(gone).unwrap();
                let frees = move |memory: &Memory<Machine>| memory.free(last).unwrap();
                let ((), reached) = if first {
                    interleave(
                        turn,
                        move || elsewhere(|| withdraws(&memory)),
                        || frees(&world.memory),
                    )
                } else {
                    interleave(
                        turn,
                        move || elsewhere(|| frees(&memory)),
                        || withdraws(&world.memory),
                    )
                };
                if !reached {
                    return false;
                }
                assert_eq!(world.memory.state(gone), PageState::Offlined, "{last}, moment {turn}");
                world.check();
                let got = all_of(&world.memory);
                assert_eq!((got.len(), got.contains(&gone)), (511, false), "{last}, moment {turn}");
                reached
            });
            assert!(moments > 0, "{last}: no moment");
        }
    }
}

/// X dfe280c17d: a frame in use is withdrawn, and in the middle of that it is freed and taken again; and the
/// other way round. It ends withdrawn, or in use by whoever has it and marked; never free.
///
/// Answer: whoever withdraws sets the mark, then reads the plane; whoever frees changes the plane, then reads
/// the mark. With a fence between on both sides one of the two sees the other.
///
/// Also: `interleavings::offline::an_offlining_and_a_free_and_a_take`,
/// `interleavings::offline::an_offlining_and_a_take`
#[test]
fn a_withdrawal_and_a_free() {
    for part in
        [range(CHUNK.0 + 5, CHUNK.0 + 6), range(CHUNK.0, CHUNK.0 + 64), range(CHUNK.0, CHUNK.1)]
    {
        let gone = mfn(part.end().get() - 1);
        // Whether the free is in the middle of the withdrawal, and whether the frames are taken anew behind it.
        for (inside, again) in [(true, false), (true, true), (false, false), (false, true)] {
            let moments = every_turn(|turn| {
                let world = world();
                let memory = Arc::clone(&world.memory);
                let (tell, told) = channel();
                let frees = move |memory: &Memory<Machine>| {
                    memory.free(part).unwrap();
                    let found = again.then(|| memory.alloc(&Request::exactly(part)).is_ok());
                    tell.send(found.unwrap_or(false)).unwrap();
                };
                let withdraws = move |memory: &Memory<Machine>| _ = memory.offline(gone).unwrap();
                let ((), reached) = if inside {
                    interleave(
                        turn,
                        move || elsewhere(|| frees(&memory)),
                        || withdraws(&world.memory),
                    )
                } else {
                    interleave(
                        turn,
                        move || elsewhere(|| withdraws(&memory)),
                        || frees(&world.memory),
                    )
                };
                if !reached {
                    return false;
                }
                let what = format!("{part}, {inside}, {again}, moment {turn}");
                if told.recv().unwrap() {
                    assert_eq!(world.memory.state(gone), PageState::Offlining, "{what}");
                    world.free(part);
                }
                assert_eq!(world.memory.state(gone), PageState::Offlined, "{what}");
                world.check();
                assert!(!all_of(&world.memory).contains(&gone), "{what}");
                reached
            });
            assert!(moments > 0, "{part}: no moment");
        }
    }
}

/// L fefc07518227: memory is plugged in while frames are counted, because some are claimed, and in the middle
/// of that frames are taken, freed and withdrawn; and the other way round. What is counted stays what a walk
/// finds.
///
/// Answer: what is plugged in is published with its directory, and the count of credits is doubted from then
/// on: whoever would be refused by it, or asks for it, has it counted anew. Memory cannot be removed yet;
/// frames that are withdrawn stand for it here.
///
/// Also: `interleavings::hot_add::hot_add_and_a_free`, `interleavings::hot_add::hot_add_and_a_take`,
/// `claims::stages::hot_added_memory_can_be_claimed`
#[test]
fn memory_is_added_while_frames_come_and_go() {
    let calls: [fn(&Memory<Machine>); 4] = [
        |memory| memory.free(range(CHUNK.0, CHUNK.0 + 300)).unwrap(),
        |memory| _ = memory.alloc(&Request::frames(40).on(NodeId(1))).unwrap(),
        |memory| assert_eq!(memory.offline(mfn(4200)), Ok(Withdrawal::Done)),
        |memory| drop(memory.stake_claim(Scope::Node(NodeId(1)), 5).unwrap()),
    ];
    for call in calls {
        for first in [true, false] {
            let moments = every_turn(|turn| {
                let ram = [(1024, 1500, 0), (CHUNK.0, CHUNK.1, 0), (4096, 4608, 1)];
                let world = World::empty(XenHeap::Unified, mfn(8192), false);
                let hosted = world.machine.clone();
                let memory = Arc::new(Memory::new(hosted).with_records());
                let add = |memory: &Memory<Machine>, (start, end, node): (u64, u64, u32)| {
                    // SAFETY: hosted memory that nobody else uses.
                    unsafe { memory.add_ram(range(start, end), NodeId(node)) }.unwrap()
                };
                ram.iter().for_each(|part| _ = add(&memory, *part));
                let chunk = range(CHUNK.0, CHUNK.1);
                assert_eq!(memory.alloc(&Request::exactly(chunk)), Ok(chunk));
                memory.start(2).unwrap();
                let claim = memory.stake_claim(Scope::Machine, 100).unwrap();
                let plugs = move |memory: &Memory<Machine>| _ = add(memory, (5000, 7000, 1));
                let inner = Arc::clone(&memory);
                let ((), reached) = if first {
                    interleave(turn, move || elsewhere(|| plugs(&inner)), || call(&memory))
                } else {
                    interleave(turn, move || elsewhere(|| call(&inner)), || plugs(&memory))
                };
                assert_eq!(memory.validate(), Ok(()));
                for (scope, free) in [
                    (Scope::Machine, memory.statistics().free),
                    (Scope::Node(NodeId(0)), memory.node_statistics(NodeId(0)).free),
                    (Scope::Node(NodeId(1)), memory.node_statistics(NodeId(1)).free),
                ] {
                    let counts = memory.claims(scope).unwrap();
                    let counted = counts.claimed + counts.unclaimed - counts.deficit;
                    assert_eq!(counted, free, "{scope}, moment {turn}: {counts:?}");
                }
                assert_eq!(claim.left(), 100);
                let mut got = 0;
                let free = memory.statistics().free;
                while memory.alloc(&ONE).is_ok() {
                    got += 1;
                }
                assert_eq!(got, free - 100, "moment {turn}");
                reached
            });
            assert!(moments > 0, "no moment");
        }
    }
}

/// F 2977b2e: a step fails because another call came in between, and is tried again with what that left behind:
/// two frees of one word, a free and a take, two takes. What was concluded from the first look is not used
/// again; no free frame is hidden, and each step is done once.
///
/// Answer: a retry begins with the entry. The entry's turn says whether Busy was held in between, and the hint
/// of a word is set under the same Busy as its first frame.
///
/// Also: `index::interleavings::hints::a_hint_cleared_while_a_frame_is_freed_is_not_lost`,
/// `interleavings::frames::two_free_into_an_empty_word`,
/// `index::interleavings::merges::a_merge_that_fails_is_made_up_for`
#[test]
fn a_step_that_is_tried_again_looks_again() {
    let (low, high) = (range(CHUNK.0, CHUNK.0 + 32), range(CHUNK.0 + 32, CHUNK.0 + 64));
    let others = range(CHUNK.0 + 64, CHUNK.1);
    type Call = fn(&Memory<Machine>) -> i64;
    let calls: [Call; 4] = [
        |memory| memory.free(range(CHUNK.0, CHUNK.0 + 32)).map_or(0, |()| 32),
        |memory| memory.free(range(CHUNK.0 + 31, CHUNK.0 + 33)).map_or(0, |()| 2),
        |memory| {
            let request = Request::order(order(5)).inside(range(CHUNK.0, CHUNK.0 + 64));
            memory.alloc(&request).map_or(0, |_| -32)
        },
        |memory| {
            let found = memory.alloc(&ONE.inside(range(CHUNK.0 + 32, CHUNK.1)));
            found.map_or(0, |_| -1)
        },
    ];
    let mut moments = 0;
    for (first, second) in (0..16).map(|pair| (calls[pair % 4], calls[pair / 4])) {
        // The word is empty; the upper half of it is free; all else is free as well, so that a free completes
        // the chunk.
        for stage in 0..3 {
            moments += every_turn(|turn| {
                let world = world();
                if stage > 0 {
                    world.free(high);
                }
                if stage > 1 {
                    world.free(others);
                }
                let before = world.memory.statistics().free as i64;
                let memory = Arc::clone(&world.memory);
                let (tell, told) = channel();
                let other = move || tell.send(elsewhere(|| second(&memory))).unwrap();
                let (one, reached) = interleave(turn, other, || first(&world.memory));
                let two = told.try_recv().unwrap_or(0);
                let look = world.check();
                assert_eq!(look.counts.free as i64, before + one + two, "{low}, moment {turn}");
                let chunk = range(CHUNK.0, CHUNK.1);
                let free = look.free.iter().filter(|(run, _)| chunk.covers(*run));
                let free: BTreeSet<Mfn> = free.flat_map(|(run, _)| run.iter()).collect();
                assert_eq!(all_of(&world.memory), free, "hidden, moment {turn}");
                reached
            });
        }
    }
    assert!(moments > 20, "{moments} moments");
}

/// F 68321fb: in the middle of an allocation another CPU takes the very frames, and some others, and puts the
/// first back, so that everything looks as it did; no frame is handed out twice, and none is lost.
///
/// Answer: there is no list whose head could be the same with another tail. A word of the plane is the whole
/// truth about its 64 frames: if it is as it was, the frames are free as they were.
///
/// Also: `interleavings::frames::two_free_and_take`, `interleavings::chunks::a_whole_take_and_a_whole_put`,
/// `interleavings::frames::a_frame_is_found_while_another_comes_and_goes`
#[test]
fn frames_that_come_back_meanwhile_are_the_same_frames() {
    let chunk = range(CHUNK.0, CHUNK.1);
    let mut moments = 0;
    for exponent in [0_u8, 1, 5, 6, 7, 8, 9] {
        for free in [
            range(CHUNK.0, CHUNK.1),
            range(CHUNK.0 + 32, CHUNK.0 + 80),
            range(CHUNK.0 + 60, CHUNK.0 + 70),
        ] {
            let request = Request::order(order(exponent)).inside(chunk);
            moments += every_turn(|turn| {
                let world = world();
                world.free(free);
                let memory = Arc::clone(&world.memory);
                let (tell, told) = channel();
                let other = move || {
                    elsewhere(|| {
                        let mut held: Vec<FrameRange> =
                            (0..3).filter_map(|_| memory.alloc(&request).ok()).collect();
                        let singles = (0..3).filter_map(|_| memory.alloc(&ONE.inside(chunk)).ok());
                        held.extend(singles.collect::<Vec<_>>());
                        // The first comes back, and the middle one.
                        for at in [held.len() / 2, 0] {
                            if at < held.len() {
                                memory.free(held.remove(at)).unwrap();
                            }
                        }
                        tell.send(held).unwrap();
                    });
                };
                let (found, reached) = interleave(turn, other, || world.memory.alloc(&request));
                let mut held: Vec<FrameRange> = found.into_iter().collect();
                held.extend(told.try_recv().into_iter().flatten());
                held.extend(all_of(&world.memory).into_iter().map(FrameRange::single));
                let mut frames = BTreeSet::new();
                for part in &held {
                    let new = part.iter().all(|frame| frames.insert(frame));
                    assert!(new, "{part} is handed out twice, order {exponent}, moment {turn}");
                }
                assert!(frames.iter().copied().eq(free.iter()), "{free}, moment {turn}");
                held.into_iter().for_each(|part| world.free(part));
                world.check();
                reached
            });
        }
    }
    assert!(moments > 20, "{moments} moments");
}
