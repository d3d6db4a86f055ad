//! Two callers at once: each frame is freed once, and the loser is told how far it came.

use std::sync::Barrier;
use std::thread;

use bedframe::{CpuId, FrameRange, FreeError, FreeRefusal, PageState, Request};

use crate::common::{Heap, World, mfn, range};
use crate::in_all_variants;

/// Runs both at the same moment, as CPUs 0 and 1.
fn at_once<T: Send>(one: impl FnOnce() -> T + Send, two: impl FnOnce() -> T + Send) -> (T, T) {
    let barrier = Barrier::new(2);
    let wait = |cpu| {
        bedframe_hosted::set_cpu(CpuId(cpu));
        barrier.wait();
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            wait(1);
            two()
        });
        wait(0);
        let one = one();
        bedframe_hosted::set_cpu(CpuId(0));
        (one, other.join().unwrap())
    })
}

/// Frames that a call has freed by its own account.
#[track_caller]
fn account(range: FrameRange, result: Result<(), FreeError>) -> u64 {
    match result {
        Ok(()) => range.frames(),
        Err(error) => {
            assert_eq!(error.why, FreeRefusal::AlreadyFree, "{error}");
            assert!(range.contains(error.frame), "{error} is not in {range}");
            let before = error.frame.get() - range.start().get();
            assert!(error.committed <= before, "{error}: more than lies before, {range}");
            error.committed
        }
    }
}

/// Two calls for these ranges at once, of frames that boot or the heap handed out.
fn race(heap: Heap, one: FrameRange, two: FrameRange, boot: bool) {
    let world = World::small(heap);
    let all = range(2600, 4400);
    if boot {
        world.take(all);
        world.start();
    } else {
        world.start();
        let free = world.check().free;
        for (run, _) in free.iter().filter(|(run, _)| all.covers(*run)) {
            world.take(*run);
        }
    }
    let before = world.memory.statistics();
    let (first, second) = at_once(|| world.memory.free(one), || world.memory.free(two));
    let freed = account(one, first) + account(two, second);
    let look = world.check();
    assert_eq!(look.counts.free - before.free, freed, "{first:?}, {second:?}");
    if !one.overlaps(two) {
        assert_eq!((first, second), (Ok(()), Ok(())));
    }
    // What neither has freed is still in use, and comes back by the next call for it.
    for part in
        world.cut(FrameRange::new(one.start().min(two.start()), one.end().max(two.end())).unwrap())
    {
        for frame in part.iter() {
            if matches!(look.state(frame), PageState::InUse | PageState::Uninitialised) {
                world.free(FrameRange::single(frame));
            }
        }
    }
    world.check();
}

/// Two late releases at once.
fn race_release(heap: Heap, one: FrameRange, two: FrameRange) {
    let late = range(1000, 2500);
    let world = World::small(heap);
    world.memory.reserve_releasable(late).unwrap();
    world.start();
    let before = world.memory.statistics();
    let (first, second) = at_once(|| world.memory.release(one), || world.memory.release(two));
    let account = |result: Result<u64, FreeError>| match result {
        Ok(frames) => frames,
        Err(error) => {
            assert_eq!(error.why, FreeRefusal::AlreadyFree, "{error}");
            assert!(late.contains(error.frame));
            error.committed
        }
    };
    let look = world.check();
    let freed = account(first) + account(second);
    assert_eq!(look.counts.free - before.free, freed, "{first:?} {second:?}");
    assert_eq!(look.counts.releasable, late.frames() - freed);
    assert_eq!(look.counts.released, freed, "{first:?} {second:?}");
}

in_all_variants! {
    /// The same frames: one call wins, and the other changes nothing.
    fn the_same_range_is_freed_once(heap) {
        for boot in [true, false] {
            for (start, end) in [(2700, 2701), (2700, 2764), (3072, 3584), (2700, 4090)] {
                for _ in 0..12 {
                    race(heap, range(start, end), range(start, end), boot);
                }
            }
        }
    }

    /// Ranges that overlap, over several chunks: whatever the interleaving, the two accounts add up
    /// to the frames that are free, and no frame is lost.
    fn overlapping_ranges_are_freed_once(heap) {
        for boot in [true, false] {
            for (one, two) in [
                (range(2700, 3800), range(3300, 4090)),
                (range(2700, 4090), range(3000, 3001)),
                (range(2800, 2900), range(2850, 2851)),
                (range(2700, 3200), range(3200, 4000)),
            ] {
                for _ in 0..8 {
                    race(heap, one, two, boot);
                    race(heap, two, one, boot);
                }
            }
        }
    }

    /// Single frames, thousands of them, by two threads in opposite directions: each is freed by
    /// exactly one.
    fn every_frame_is_freed_by_one_of_two(heap) {
        for boot in [true, false] {
            let world = World::small(heap);
            let all = range(2700, 4090);
            if boot {
                world.take(all);
            }
            world.start();
            if !boot {
                world.take(all);
            }
            let free = |frame| u64::from(world.memory.free(FrameRange::single(frame)).is_ok());
            let (up, down) = at_once(
                || all.iter().map(free).sum::<u64>(),
                || all.iter().rev().map(free).sum::<u64>(),
            );
            assert_eq!(up + down, all.frames());
            assert_eq!(world.machine.misuse_count(), all.frames());
            world.check_all_free();
        }
    }

    /// A late release by two at once: each frame becomes free once.
    fn a_range_is_released_by_one_of_two(heap) {
        for _ in 0..10 {
            for start in [1000, 1100, 1790, 2400] {
                race_release(heap, range(1000, 2500), range(start, 2500));
            }
        }
    }

    /// Two takers never get the same frame, and what one frees the other finds.
    fn two_takers_never_share_a_frame(heap) {
        let world = World::small(heap).started();
        let taker = || {
            let mut held = Vec::new();
            for round in 0..3u64 {
                while let Ok(found) = world.memory.alloc(&Request::frames(1 + round)) {
                    world.machine.memory().write_pattern(found, found.start().get()).unwrap();
                    held.push(found);
                }
                if round < 2 {
                    for part in held.drain(..held.len() / 2) {
                        world.machine.memory().check_pattern(part, part.start().get()).unwrap();
                        world.memory.free(part).unwrap();
                    }
                }
            }
            held
        };
        let (one, two) = at_once(taker, taker);
        let mut all = [one, two].concat();
        all.sort_by_key(|range| range.start());
        for pair in all.windows(2) {
            assert!(!pair[0].overlaps(pair[1]), "{} and {}", pair[0], pair[1]);
        }
        for part in all {
            world.machine.memory().check_pattern(part, part.start().get()).unwrap();
            world.free(part);
        }
        world.check_all_free();
        assert_ne!(world.memory.state(mfn(1)), PageState::InUse);
    }
}
