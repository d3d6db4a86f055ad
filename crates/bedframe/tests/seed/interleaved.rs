//! Interleavings of two CPUs, each tried on its own: one call runs to its end in the middle of
//! another, at every moment at which the other asks the platform for something and holds nothing.

use std::sync::Arc;
use std::sync::mpsc::channel;

use bedframe::{FrameRange, FreeError, FreeRefusal, NodeId, PageState, Request, XenHeap};

use crate::common::{World, interleave, mfn, range};
use crate::in_all_variants;

/// Calls `round` with the turn at which the other call is to run, from the first to the last that
/// there is; `round` says whether the call came so far.
fn every_turn(round: impl Fn(u32) -> bool) {
    let last = (1..1000).take_while(|turn| round(*turn)).count();
    assert!((1..900).contains(&last), "{last} moments");
}

/// Frames freed by a call's own account.
#[track_caller]
fn account(frames: FrameRange, result: Result<u64, FreeError>) -> u64 {
    result.unwrap_or_else(|error| {
        assert_eq!(error.why, FreeRefusal::AlreadyFree, "{error}");
        assert!(frames.contains(error.frame), "{error} is not in {frames}");
        error.committed
    })
}

/// Pairs of ranges in 2600..4400, three chunks and the zone edge at 4096.
fn pairs() -> [(FrameRange, FrameRange); 5] {
    [
        (range(2700, 4200), range(2700, 4200)),
        (range(2700, 4200), range(3700, 4300)),
        (range(2700, 4200), range(4100, 4101)),
        (range(3072, 3584), range(3100, 3101)),
        (range(2700, 2764), range(2763, 2764)),
    ]
}

in_all_variants! {
    /// `free` in the middle of `free`: frames from boot and from the heap, whatever they share.
    fn a_free_in_the_middle_of_a_free(heap) {
        for (one, two) in pairs() {
            for boot in [true, false] {
                every_turn(|turn| {
                    let world = World::small(heap);
                    // So that metadata lies elsewhere in every variant.
                    world.take(range(2600, 4390));
                    world.start();
                    if !boot {
                        world.free(range(2600, 4390));
                        world.take(range(2600, 4390));
                    }
                    let before = world.memory.statistics();
                    let (tell, told) = channel();
                    let memory = Arc::clone(&world.memory);
                    let other = move || tell.send(memory.free(two)).unwrap();
                    let (first, reached) = interleave(turn, other, || world.memory.free(one));
                    if !reached {
                        return false;
                    }
                    let second = told.recv().unwrap();
                    let freed = account(one, first.map(|()| one.frames()))
                        + account(two, second.map(|()| two.frames()));
                    let look = world.check();
                    let free = look.counts.free - before.free;
                    assert_eq!(free, freed, "{one} {first:?}, {two} {second:?}");
                    true
                });
            }
        }
    }

    /// `release` in the middle of `release`: every frame that came in is counted, also those of a
    /// call that was stopped half way.
    fn a_release_in_the_middle_of_a_release(heap) {
        for (one, two) in pairs() {
            every_turn(|turn| {
                let world = World::small(heap);
                let late = range(2600, 4390);
                world.memory.reserve_releasable(late).unwrap();
                world.start();
                let before = world.memory.statistics();
                let (tell, told) = channel();
                let memory = Arc::clone(&world.memory);
                let other = move || tell.send(memory.release(two)).unwrap();
                let (first, reached) = interleave(turn, other, || world.memory.release(one));
                if !reached {
                    return false;
                }
                let second = told.recv().unwrap();
                let freed = account(one, first) + account(two, second);
                let look = world.check();
                let free = look.counts.free - before.free;
                assert_eq!(free, freed, "{one} {first:?}, {two} {second:?}");
                assert_eq!(look.counts.released, freed, "{one} {first:?}, {two} {second:?}");
                true
            });
        }
    }

    /// What somebody else released and somebody was given meanwhile is theirs: a release takes
    /// nothing but what was never in the heap.
    fn a_late_release_takes_nobodys_frames(heap) {
        every_turn(|turn| {
            let world = World::small(heap);
            let late = range(2600, 4300);
            let theirs = range(3600, 3700);
            world.take(range(4300, 4390));
            world.memory.reserve_releasable(late).unwrap();
            world.start();
            let (tell, told) = channel();
            let memory = Arc::clone(&world.memory);
            let other = move || {
                // Refused where the first call has been already.
                let released = memory.release(theirs);
                if released.is_ok() {
                    assert_eq!(memory.alloc(&Request::exactly(theirs)), Ok(theirs));
                }
                tell.send(released.is_ok()).unwrap();
            };
            let (first, reached) = interleave(turn, other, || world.memory.release(late));
            if reached && told.recv().unwrap() {
                for frame in theirs.iter() {
                    let state = world.memory.state(frame);
                    assert_eq!(state, PageState::InUse, "frame {frame}, turn {turn}: {first:?}");
                }
                let lost = first.expect_err("frames were released twice");
                assert!(theirs.contains(lost.frame), "{lost}");
                world.free(theirs);
            } else {
                assert_eq!(first, Ok(late.frames()), "turn {turn}");
            }
            world.check();
            reached
        });
    }

    /// Hand-over in the middle of every call that begins before it: the caller sees nothing.
    fn hand_over_in_the_middle_of_a_call(heap) {
        for call in 0..6 {
            let mut reached_once = false;
            for turn in 1..4 {
                let world = World::small(heap);
                let (boot, late) = (range(2700, 4200), range(2610, 2620));
                world.take(boot);
                world.memory.reserve_releasable(late).unwrap();
                let memory = Arc::clone(&world.memory);
                let other = move || memory.start(1).unwrap();
                let (mut held, reached) = interleave(turn, other, || match call {
                    0 => vec![world.memory.alloc(&Request::frames(5)).unwrap(), boot],
                    1 => {
                        world.free(boot);
                        vec![]
                    }
                    2 => {
                        world.free(range(3000, 3700));
                        vec![range(2700, 3000), range(3700, 4200)]
                    }
                    3 => {
                        assert_eq!(world.memory.release(late), Ok(10));
                        vec![boot]
                    }
                    4 => {
                        let why = world.memory.free(late).unwrap_err().why;
                        assert_eq!(why, FreeRefusal::Releasable);
                        vec![boot]
                    }
                    _ => {
                        assert_eq!(world.memory.state(boot.start()), PageState::Uninitialised);
                        vec![boot]
                    }
                });
                reached_once |= reached;
                if !reached {
                    world.memory.start(1).unwrap();
                }
                world.check();
                held.drain(..).for_each(|part| world.free(part));
                world.check_all_free();
            }
            assert!(reached_once, "call {call} never holds anything");
        }
    }

    /// A run over several chunks of which somebody else takes a part in between: it is refused, and
    /// what it had taken already is free again.
    fn a_run_that_loses_a_race_gives_back_what_it_took(heap) {
        for (run, theft) in [
            (range(2700, 4000), range(3990, 4000)),
            (range(3072, 4096), range(3584, 4096)),
            (range(3000, 3600), range(3584, 3585)),
            (range(2610, 2700), range(2690, 2691)),
        ] {
            let lost = std::cell::Cell::new(false);
            every_turn(|turn| {
                let world = World::small(heap);
                world.take(range(2600, 4390));
                world.start();
                world.free(run);
                let before = world.memory.statistics();
                let (tell, told) = channel();
                let memory = Arc::clone(&world.memory);
                let other = move || {
                    let stolen = memory.alloc(&Request::exactly(theft));
                    tell.send(stolen.is_ok()).unwrap();
                };
                let request = Request::exactly(run);
                let (found, reached) = interleave(turn, other, || world.memory.alloc(&request));
                if !reached {
                    return false;
                }
                let stolen = told.recv().unwrap();
                assert_ne!(found.is_ok(), stolen, "{run}: both or none");
                let taken = if stolen { theft } else { run };
                let counts = world.check().counts;
                assert_eq!(before.free - counts.free, taken.frames(), "{run}, turn {turn}");
                world.free(taken);
                world.check();
                lost.set(lost.get() || stolen);
                true
            });
            assert!(lost.get(), "{run} never lost");
        }
    }

    /// A block that is free all the time is found, whatever comes and goes around it (I3): the last
    /// block of its order, while another CPU frees and takes its neighbours.
    fn a_block_that_stays_free_is_found(heap) {
        for exponent in [0, 3, 6, 8, 9] {
            every_turn(|turn| {
                let world = World::small(heap);
                let (all, stays) = (range(2600, 4390), range(3072, 3584));
                world.take(all);
                world.start();
                world.free(stays);
                let frames = 1 << exponent;
                let block = range(3584 - frames, 3584);
                if exponent < 9 {
                    world.take(range(3072, 3584 - frames));
                }
                let memory = Arc::clone(&world.memory);
                let other = move || {
                    for part in [range(2700, 2800), range(3584, 3700), range(3060, 3071)] {
                        memory.free(part).unwrap();
                        memory.alloc(&Request::exactly(part)).unwrap();
                    }
                };
                let order = crate::common::order(exponent);
                let request = Request::order(order).inside(range(2600, 4096));
                let (found, reached) = interleave(turn, other, || world.memory.alloc(&request));
                if frames > 1 {
                    // Nothing else has this size, whatever the other CPU holds at the moment.
                    assert_eq!(found, Ok(block), "order {exponent}, turn {turn}");
                }
                let found = found.expect("a block was free all the time");
                world.check();
                world.free(found);
                world.check();
                reached
            });
        }
    }
}

/// Memory is plugged in while a call is under way: the call goes on in the directory that it found,
/// or sees the new one, and is right either way.
#[test]
fn hot_add_in_the_middle_of_a_call() {
    for call in 0..3 {
        every_turn(|turn| {
            let ram = [(64, 128, 0), (1024, 3000, 1)];
            let world = World::empty(XenHeap::Unified, mfn(8000), false).with_ram(&ram);
            let (boot, late) = (range(1100, 2100), range(2200, 2900));
            world.take(boot);
            world.memory.reserve_releasable(late).unwrap();
            world.start();
            let memory = Arc::clone(&world.memory);
            let new = range(4096, 4996);
            // SAFETY: hosted memory, which nobody else uses.
            let other = move || assert_eq!(unsafe { memory.add_ram(new, NodeId(0)) }, Ok(900));
            let ((), reached) = interleave(turn, other, || match call {
                0 => world.free(boot),
                1 => assert_eq!(world.memory.release(late), Ok(late.frames())),
                _ => drop(world.memory.alloc_owned(&Request::frames(70)).unwrap()),
            });
            assert_eq!(world.memory.validate(), Ok(()));
            if reached {
                let counts = world.memory.statistics();
                assert_eq!(counts.ram, 64 + 1976 + 900);
                let found = world.memory.alloc(&Request::frames(800).on(NodeId(0))).unwrap();
                assert!(new.covers(found), "{found}");
            }
            reached
        });
    }
}
