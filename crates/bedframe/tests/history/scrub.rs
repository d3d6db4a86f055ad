//! What frames hold when somebody else gets them.

use std::sync::Arc;

use bedframe::{
    DomainError, FrameRange, Memory, Mfn, NodeId, OwnerError, PageState, Request, XenHeap,
};

use crate::common::{Machine, World, interleave, mfn, order, range};
use crate::watched::{Asked, watched};
use crate::{A, COUNTED, ONE};

/// One chunk, full of garbage, and enough beside it for the index.
const CHUNK: (u64, u64) = (2048, 2560);

fn spoil(world: &World, frames: FrameRange) {
    world.machine.memory().fill_garbage(frames, 0xbad).unwrap();
}

fn world() -> World {
    let world = World::recorded(XenHeap::Unified, &[(1024, 1500, 0), (CHUNK.0, CHUNK.1, 0)]);
    let chunk = range(CHUNK.0, CHUNK.1);
    world.take(chunk);
    world.start();
    spoil(&world, chunk);
    world.free(chunk);
    world
}

fn scrub_all(world: &World) {
    while !world.memory.scrub(1 << 20).done {}
}

fn is_zero(world: &World, frame: Mfn) -> bool {
    world.machine.memory().bytes(frame).unwrap().iter().all(|byte| *byte == 0)
}

fn dirty(world: &World) -> u64 {
    world.memory.statistics().dirty
}

/// Everything that is free is handed out clean, and is: what counts as scrubbed is believed then.
#[track_caller]
fn assert_all_clean(world: &World) {
    while let Ok(frame) = world.memory.alloc(&ONE.clean()) {
        assert!(is_zero(world, frame.start()), "{frame} was called clean");
    }
    assert_eq!(world.memory.statistics().free, 0);
}

/// X ec6d9023e1, XSA-245: memory that comes after the first frame was settled: boot frames that are freed, a
/// late release, and RAM that is plugged in below all other and above it. The scrubber's walk covers it, to the
/// last frame.
///
/// Answer: the scrubber walks over the chunks of the directory, and what comes late has chunks. Contents are
/// unknown until a frame is scrubbed, so what is new is dirty.
///
/// Also: `scrub::rows::what_comes_late_is_scrubbed_too`
#[test]
fn memory_that_comes_late_is_scrubbed() {
    let mut world = World::empty(XenHeap::Unified, mfn(8000), false);
    world.add_ram(range(2048, 4096), NodeId(0)).unwrap();
    let late = range(3000, 3100);
    world.memory.reserve_releasable(late).unwrap();
    let early = range(2100, 2200);
    world.take(early);
    world.start();
    scrub_all(&world);
    assert_eq!(dirty(&world), 0);
    spoil(&world, range(64, 1024));
    spoil(&world, range(5000, 7001));
    spoil(&world, early);
    spoil(&world, late);
    world.free(early);
    world.memory.release(late).unwrap();
    world.plug_in(range(64, 1024), NodeId(0)).unwrap();
    world.plug_in(range(5000, 7001), NodeId(3)).unwrap();
    let counts = world.memory.statistics();
    assert!(counts.dirty >= 100 + 100 + 960 + 2001 - 40, "{counts:?}");
    scrub_all(&world);
    assert_eq!(dirty(&world), 0);
    let look = world.check();
    let free: Vec<Mfn> = look.free.iter().flat_map(|(run, _)| run.iter()).collect();
    assert!(free.len() > 5000);
    for frame in free {
        assert!(is_zero(&world, frame), "frame {frame} counts as scrubbed");
    }
}

/// X 1e2df96088: a dirty half of a block comes back to its clean half, above it or below it, and they merge: no
/// larger block passes for clean that holds a dirty frame.
///
/// Answer: each frame has its own mark, and merging is a reading of the free bits, which touches none. Where a
/// full chunk becomes one that is free as a whole all marks are looked at: one dirty frame makes the whole of
/// it dirty.
///
/// Also: `scrub::rows::a_merge_does_not_lose_a_dirty_mark`
#[test]
fn a_clean_block_that_merges_with_a_dirty_one_is_not_clean() {
    for exponent in [0_u8, 4, 6, 8] {
        let half = 1 << exponent;
        for upper in [true, false] {
            let world = world();
            scrub_all(&world);
            let start = CHUNK.0 + if upper { half } else { 0 };
            let user = range(start, start + half);
            world.take(user);
            spoil(&world, user);
            // Somebody has the chunk's last frame, and then nobody: the chunk becomes one block.
            let last = range(CHUNK.1 - 1, CHUNK.1);
            let lone = !user.overlaps(last);
            if lone {
                world.take(last);
            }
            world.free(user);
            if lone {
                assert_eq!(dirty(&world), half, "of {} frames", 2 * half);
                world.free(last);
            }
            assert!(dirty(&world) >= half);
            let both = range(CHUNK.0, CHUNK.0 + 2 * half);
            let found = world.memory.alloc(&Request::exactly(both).clean()).unwrap();
            for frame in found.iter() {
                assert!(is_zero(&world, frame), "frame {frame} of {found}");
            }
            world.free(found);
            world.check();
            assert_all_clean(&world);
        }
    }
}

/// X 7d190bdde9: an assignment fails when its frames have been written to, or in the middle, because the domain
/// dies at any moment of it. The frames go back, and the next user finds zeros in them.
///
/// Answer: what is free counts as clean only by a mark that a scrub has set and no use has cleared. Who gives
/// frames back that nobody used says so, and marks stay as they were; an ordinary free leaves them dirty.
///
/// Also: `scrub::rows::a_failed_allocation_does_not_call_dirty_frames_clean`,
/// `interleavings::owners::an_assignment_and_the_death_of_the_domain`
#[test]
fn a_failed_assignment_leaves_no_poison() {
    // Frames that were used before the assignment is refused.
    let world = world();
    scrub_all(&world);
    world.memory.create_domain(A, 3).unwrap();
    let poisoned = range(CHUNK.0 + 60, CHUNK.0 + 70);
    assert_eq!(world.memory.alloc(&Request::exactly(poisoned).clean()), Ok(poisoned));
    spoil(&world, poisoned);
    let refused = world.memory.assign(A, poisoned, COUNTED).unwrap_err();
    assert!(matches!(refused, OwnerError::Domain(DomainError::OverQuota { .. })), "{refused}");
    world.free(poisoned);
    assert_eq!(dirty(&world), 10);
    assert_all_clean(&world);
    // An allocation for a domain that dies in the middle of it.
    let mut failed = 0;
    for exponent in [0_u8, 3, 6] {
        for turn in 1.. {
            let world = self::world();
            world.memory.create_domain(A, 1000).unwrap();
            let free = world.memory.statistics().free;
            let memory = Arc::clone(&world.memory);
            let dies = move || memory.kill_domain(A).unwrap();
            let inside = Request::order(order(exponent)).inside(range(CHUNK.0, CHUNK.1));
            let call = || world.memory.alloc_for(A, &inside, COUNTED);
            let (found, reached) = interleave(turn, dies, call);
            failed += u64::from(found.is_err());
            world.memory.validate().unwrap();
            if found.is_err() {
                assert_eq!(world.memory.statistics().free, free, "order {exponent}, moment {turn}");
            }
            if turn % 8 == 1 || found.is_err() && failed < 8 {
                assert_all_clean(&world);
            }
            if !reached {
                break;
            }
        }
    }
    assert!(failed > 4, "{failed} assignments failed");
}

/// X 009401506e: dirty frames are handed out to somebody who does not mind, and come back, untouched or written
/// to: they are as dirty as they were. Clean ones that were handed out so are dirty from then on.
///
/// Answer: an allocation that does not ask for clean frames looks at no mark and clears none; the free of a
/// frame that was not handed out as clean leaves it dirty.
///
/// Also: `scrub::rows::an_allocation_that_takes_dirty_frames_leaves_the_marks`
#[test]
fn the_dirty_mark_outlives_an_allocation_that_does_not_mind() {
    let chunk = range(CHUNK.0, CHUNK.1);
    for exponent in [0_u8, 5, 7, 9] {
        for scrubbed in [false, true] {
            let world = world();
            let all = dirty(&world);
            if scrubbed {
                scrub_all(&world);
                assert_eq!(dirty(&world), 0);
            }
            let before = dirty(&world);
            let request = Request::order(order(exponent)).inside(chunk);
            let found = world.memory.alloc(&request).unwrap();
            if scrubbed {
                spoil(&world, found);
            } else {
                assert_eq!(dirty(&world), before - found.frames());
            }
            world.free(found);
            let after = if scrubbed { found.frames() } else { all };
            assert_eq!(dirty(&world), after, "order {exponent}, scrubbed before: {scrubbed}");
            assert_all_clean(&world);
        }
    }
}

/// X 3652268543: dirty frames are allocated for a domain. At every moment of the call that another CPU could
/// use, what already is the domain's, or can be referred to as such, is full of zeros.
///
/// Answer: scrub, then flush, then enter the owner: `alloc_for` does it in this order, and nothing else enters
/// an owner for frames that nobody had.
///
/// Also: `scrub::rows::what_is_being_scrubbed_is_not_handed_out_half_way`,
/// `interleavings::scrub::an_allocation_that_would_fail_takes_frames_from_the_scrubber`
#[test]
fn frames_are_no_owners_before_they_are_clean() {
    fn look(memory: &Memory<Machine>, machine: &Machine) {
        for frame in (CHUNK.0..CHUNK.1).map(mfn) {
            let refers = memory.reference_owned(A, frame).is_ok();
            if refers || memory.owner(frame).is_some() {
                let bytes = machine.memory().bytes(frame).unwrap();
                assert!(bytes.iter().all(|byte| *byte == 0), "frame {frame} is A's, and dirty");
            }
            if refers {
                memory.unreference(frame).unwrap();
            }
        }
    }
    for exponent in [0_u8, 3, 6] {
        let mut moments = 0;
        for turn in 1.. {
            let world = world();
            world.memory.create_domain(A, 1000).unwrap();
            let (memory, machine) = (Arc::clone(&world.memory), world.machine.clone());
            let inside = Request::order(order(exponent)).inside(range(CHUNK.0, CHUNK.1));
            let call = || world.memory.alloc_for(A, &inside, COUNTED).unwrap();
            let (found, reached) = interleave(turn, move || look(&memory, &machine), call);
            look(&world.memory, &world.machine);
            assert!(found.iter().all(|frame| world.memory.owner(frame).is_some()));
            if !reached {
                break;
            }
            moments += 1;
        }
        assert!(moments >= 1 << exponent, "{moments} moments: one for each frame's scrub");
    }
}

/// X 3b1cc15f19, XSA-364: the machine notes what it is asked for when a domain gets dirty frames: all frames
/// are scrubbed, each once, and the flush of the whole block from caches comes behind the last of them.
///
/// Answer: `Memory::cleanse` scrubs and then flushes, and is the only place that does either for an allocation.
///
/// Also: `scrub::rows::a_flush_comes_behind_the_last_scrub`
#[test]
fn caches_are_flushed_behind_the_scrub() {
    let (memory, machine) = watched();
    for exponent in [0_u8, 2, 6, 9] {
        for clean_before in [false, true] {
            if clean_before {
                while !memory.scrub(1 << 20).done {}
            }
            machine.asked();
            let request = Request::order(order(exponent));
            let found = memory.alloc_for(A, &request, COUNTED).unwrap();
            let mut asked = machine.asked();
            asked.retain(|asked| !matches!(asked, Asked::FlushTlbs(_)));
            assert_eq!(asked.pop(), Some(Asked::FlushCache(found)), "order {exponent}");
            let scrubs: Vec<Asked> =
                if clean_before { Vec::new() } else { found.iter().map(Asked::Scrub).collect() };
            assert_eq!(asked, scrubs, "order {exponent}, scrubbed before: {clean_before}");
            memory.free_owned(A, found).unwrap();
        }
        // All that is free is dirty again.
        let all: Vec<_> = std::iter::from_fn(|| memory.alloc(&ONE).ok()).collect();
        all.into_iter().for_each(|frame| memory.free(frame).unwrap());
    }
}

/// X 407b049aeb: broken frames in memory on which a touch of a broken frame ends the process. The scrubber goes
/// around, clean frames are allocated, and nobody touches one.
///
/// Answer: a broken frame has no free bit, so nobody takes it out of the plane, to scrub it or to hand it out;
/// and its state is in its record, not in the frame.
///
/// Also: `offline::traps::nobody_touches_a_broken_frame`,
/// `offline::traps::a_touch_of_a_broken_frame_ends_the_process`
#[test]
fn the_scrubber_does_not_touch_a_broken_frame() {
    let world = world();
    let hosted = world.machine.memory();
    // In a chunk that is free as a whole, and at the edges of words.
    let broken = [0, 1, 63, 64, 300, 511].map(|at| mfn(CHUNK.0 + at));
    for frame in &broken[..5] {
        world.memory.mark_broken(*frame).unwrap();
        hosted.break_frames(FrameRange::single(*frame)).unwrap();
    }
    // One that is in use when it breaks.
    let last = FrameRange::single(broken[5]);
    world.take(last);
    world.memory.mark_broken(broken[5]).unwrap();
    hosted.break_frames(last).unwrap();
    world.free(last);
    for _ in 0..2 {
        scrub_all(&world);
        assert_eq!(dirty(&world), 0);
        assert!(broken.iter().all(|frame| world.memory.state(*frame) == PageState::Broken));
        let block = Request::frames(200).inside(range(CHUNK.0, CHUNK.1)).clean();
        let held: Vec<_> = std::iter::from_fn(|| world.memory.alloc(&block).ok())
            .chain(std::iter::from_fn(|| world.memory.alloc(&ONE.clean()).ok()))
            .collect();
        assert!(held.iter().any(|found| found.frames() == 200), "{held:?}");
        assert!(held.iter().all(|found| broken.iter().all(|frame| !found.contains(*frame))));
        held.into_iter().for_each(|found| world.free(found));
    }
    assert_eq!(world.memory.validate(), Ok(()));
}
