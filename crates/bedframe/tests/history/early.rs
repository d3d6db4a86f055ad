//! The boot allocator, hand-over, and what may go wrong between the two.

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{Direction, FrameRange, MapError, Mfn, NodeId, PageState, Request, XenHeap};

use crate::ONE;
use crate::common::{Heap, World, mfn, order, range};

/// Writes a frame's number into it.
fn write(world: &World, frames: FrameRange) {
    for frame in frames.iter() {
        let word = world.machine.memory().word(world.machine.hosted_frame(frame), 300).unwrap();
        word.store(frame.get() ^ 0x5afe, Relaxed);
    }
}

#[track_caller]
fn assert_written(world: &World, frames: FrameRange) {
    for frame in frames.iter() {
        let word = world.machine.memory().word(world.machine.hosted_frame(frame), 300).unwrap();
        assert_eq!(word.load(Relaxed), frame.get() ^ 0x5afe, "frame {frame} was written to");
    }
}

/// X 5fcf1c2516: the boot allocator's callers go on behind the end of boot, with the same requests: they work,
/// and what was given before keeps its contents. What belongs to boot alone is refused by name.
///
/// Answer: there is one `alloc` for every stage, and no call for a stage that has ended. Where it lies is
/// decided under the lock under which hand-over happens.
///
/// Also: `seed::handover::one_caller_works_before_and_after`, `interleavings::boot::a_start_and_a_take`
#[test]
fn a_boot_allocation_after_the_end_of_boot() {
    for heap in Heap::ALL {
        let world = World::small(heap);
        let requests = [
            Request::frames(70).direction(Direction::BottomUp),
            Request::frames(33).align(32).direction(Direction::TopDown),
            Request::order(order(5)).on(NodeId(2)),
            ONE.below(mfn(256)).direction(Direction::BottomUp),
        ];
        let ask = || requests.map(|request| world.memory.alloc(&request).unwrap());
        let early = ask();
        early.iter().for_each(|given| write(&world, *given));
        world.start();
        let late = ask();
        late.iter().for_each(|given| write(&world, *given));
        assert!(late.iter().all(|new| early.iter().all(|old| !old.overlaps(*new))), "given twice");
        let before = world.check();
        assert_eq!(world.memory.start(1), Err(MapError::Started));
        assert_eq!(world.memory.set_xen_heap(XenHeap::Unified), Err(MapError::Started));
        assert!(matches!(world.memory.reserve(range(50, 60)), Err(MapError::InUse { .. })));
        world.check().assert_same_as(&before, "refused");
        // Whatever else is handed out is not theirs.
        world.drain().iter().for_each(|block| {
            assert!(early.iter().chain(&late).all(|given| !given.overlaps(*block)), "{block}");
            write(&world, *block);
        });
        early.iter().chain(&late).for_each(|given| assert_written(&world, *given));
        early.into_iter().chain(late).for_each(|given| world.free(given));
        world.check();
    }
}

/// L 29f6738609e4: frames are freed so that the list of regions has to grow in the middle of a free. What it
/// grows into was free already; frames that somebody still has keep their contents, and the frame that was
/// freed is freed once.
///
/// Answer: the list is a chain of pages of one frame and is never copied, so nothing old is freed when it
/// grows. It grows out of spare frames that were taken while there was room.
///
/// Also: `seed::ledger::every_second_frame_of_all_memory_is_freed`
#[test]
fn the_list_of_regions_grows_during_a_free() {
    for heap in Heap::ALL {
        let world = World::new(heap.with(3200, range(2048, 3200)), &[(2048, 3300, 0)]);
        let all = range(2048, 3300);
        assert_eq!(world.memory.alloc(&Request::exactly(all)), Ok(all));
        write(&world, all);
        let mut grown = 0;
        let freed: Vec<Mfn> = all.iter().step_by(2).collect();
        for (done, frame) in (1..).zip(&freed) {
            let before = world.memory.statistics();
            world.free(FrameRange::single(*frame));
            let counts = world.memory.statistics();
            grown += u64::from(counts.metadata > before.metadata);
            assert_eq!(counts.free + counts.metadata, done, "{frame}");
            assert_eq!(counts.uninitialised, all.frames() - done, "{frame}");
            let again = world.memory.free(FrameRange::single(*frame));
            assert!(again.is_err(), "{frame} is free, or the ledger's");
        }
        assert!(grown >= 4, "it grew {grown} times");
        let held = all.iter().skip(1).step_by(2);
        for frame in held.clone() {
            assert_eq!(world.memory.state(frame), PageState::Uninitialised, "frame {frame}");
            assert_written(&world, FrameRange::single(frame));
        }
        assert_eq!(world.memory.validate(), Ok(()));
        held.for_each(|frame| world.free(FrameRange::single(frame)));
        world.check_all_free();
    }
}

/// A 1bbed2e07: hand-over runs out of memory when a part of the index is made, at every number of frames that
/// is left up to enough. It is refused, nothing has leaked, and it succeeds as soon as there is room.
///
/// Answer: the index is carved piece by piece out of the ledger, and each piece goes back there if a later one
/// cannot be had. The directory is published last.
///
/// Also: `seed::handover::a_refused_hand_over_leaves_no_trace`,
/// `seed::hot_add::a_refused_hot_add_leaves_no_trace`
#[test]
fn a_hand_over_that_fails_half_way_leaks_nothing() {
    // Two nodes that are not mapped, whose arenas are larger than the directory.
    let ram = [(1024, 1100, 0), (8192, 60_000, 1), (65_536, 150_000, 2)];
    let mapped = range(1024, 1100);
    let mut refusals = 0;
    for left in 0..=mapped.frames() {
        let world = World::new(XenHeap::Limited { limit: mfn(1100) }, &ram);
        let held = range(1024 + left, 1100);
        if !held.is_empty() {
            assert_eq!(world.memory.alloc(&Request::exactly(held)), Ok(held));
        }
        let before = world.memory.statistics();
        match world.memory.start(1) {
            Ok(()) => {
                assert!(refusals > 2, "{refusals} refusals are not half way");
                world.free(held);
                assert_eq!(world.memory.validate(), Ok(()));
                return;
            }
            Err(error) => {
                refusals += 1;
                assert!(matches!(error, MapError::NoMetadata { .. }), "{error}");
                assert!(error.waiting_can_help());
                assert_eq!(world.memory.statistics(), before, "{left} frames left");
                for frame in mapped.iter() {
                    let state = world.memory.state(frame);
                    let given = held.contains(frame);
                    let whose = if given { PageState::Uninitialised } else { PageState::Free };
                    assert_eq!(state, whose, "frame {frame}, {left} frames left");
                }
                // The boot allocator goes on.
                let rest = Request::exactly(range(1024, 1024 + left));
                assert_eq!(world.memory.alloc(&rest).is_ok(), left > 0);
                assert_eq!(world.memory.validate(), Ok(()));
                if left > 0 {
                    world.free(range(1024, 1024 + left));
                }
                world.free(held);
                world.memory.start(1).expect("there is room");
                assert_eq!(world.memory.validate(), Ok(()));
            }
        }
    }
    panic!("it never succeeded at once");
}
