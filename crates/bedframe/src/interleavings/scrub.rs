//! The scrubber, and who takes, frees and needs what it scrubs. Loom watches the bytes of frames too:
//! who writes to a frame that another has is found.

use core::cell::Cell;
use std::rc::Rc;

use super::explore;
use super::machine::is_masked;
use super::world::{CHUNK, ONE, World, few, part};
use crate::addr::FrameRange;
use crate::platform::Platform;
use crate::sync::checked::{before_each_step, steps};
use crate::sync::plain_write;

/// Some machine word of each frame is written to, as its holder does.
fn use_frames(world: &World, range: FrameRange) {
    for frame in range.iter() {
        plain_write(world.memory.platform().frame_ptr(frame).cast::<u64>());
        poke(world, frame, 0x5ec2e7);
    }
}

/// Writes to the first word of a frame.
#[allow(unsafe_code)]
fn poke(world: &World, frame: crate::Mfn, value: u64) {
    let first = world.memory.platform().frame_ptr(frame).cast::<u64>();
    // SAFETY: 1. The machine's RAM, aligned. 2. Loom's threads are coroutines of one thread.
    unsafe { first.write(value) };
}

#[allow(unsafe_code)]
fn peek(world: &World, frame: crate::Mfn) -> u64 {
    let first = world.memory.platform().frame_ptr(frame).cast::<u64>();
    // SAFETY: As above.
    unsafe { first.read() }
}

/// Allocates clean frames, which must be zero, and writes to them.
fn take_clean(world: &World, request: &crate::Request<'_>) -> Option<FrameRange> {
    let found = world.alloc(&request.clean()).ok()?;
    for frame in found.iter() {
        assert_eq!(peek(world, frame), 0, "{frame} is not clean");
    }
    use_frames(world, found);
    Some(found)
}

/// Every frame that is free at rest, and does not count as dirty, is zero: found by allocating it clean.
fn all_clean(world: &mut World) {
    let counts = world.memory.statistics();
    let mut not_zero = 0;
    world.memory.each_free_run(|run, _| {
        not_zero += run.iter().filter(|frame| peek(world, *frame) != 0).count() as u64;
    });
    assert!(not_zero <= counts.dirty, "{not_zero} are not zero, {} dirty", counts.dirty);
    while let Ok(found) = world.alloc(&ONE.clean()) {
        assert_eq!(peek(world, found.start()), 0, "{} is not clean", found.start());
        world.got(found);
    }
}

/// The few, of which the first `free` are free and dirty, all of them written to.
fn few_used(free: u64) -> World {
    let mut world = World::few(0);
    use_frames(&world, few(0, 6));
    for index in 0..free {
        world.free_now(few(index, 1));
    }
    world
}

/// A frame is taken quickly, used and freed quickly, while the scrubber makes its chunk one of which
/// something is known.
#[test]
fn a_quick_pair_while_its_chunk_becomes_clean() {
    explore(
        2,
        || few_used(2),
        |world| {
            let found = world.alloc(&ONE).ok()?;
            use_frames(world, found);
            world.free(found).unwrap();
            Some(found)
        },
        |world| world.memory.scrub(64),
        |world, _, _| all_clean(world),
    );
}

/// A free that has read the entry before the scrubber makes it clean, and frees behind it.
#[test]
fn a_quick_free_that_began_before_the_chunk_became_clean() {
    explore(
        2,
        || few_used(1),
        |world| world.free(few(1, 1)),
        |world| world.memory.scrub(64),
        |world, put, _| {
            assert_eq!(put, Ok(()));
            world.gone(few(1, 1));
            all_clean(world);
        },
    );
}

/// A frame that was scrubbed is taken clean while another comes back dirty to the same word.
#[test]
fn a_clean_take_and_a_dirty_free() {
    explore(
        3,
        || {
            let world = few_used(2);
            while !world.memory.scrub(64).done {}
            world
        },
        |world| take_clean(world, &ONE),
        |world| world.free(few(4, 1)),
        |world, taken, put| {
            assert_eq!(put, Ok(()));
            world.gone(few(4, 1));
            world.got(taken.expect("two are free"));
            all_clean(world);
        },
    );
}

/// X 3652268543, and trap 5: who needs the very frames that are being scrubbed gets them, clean, and the
/// scrubber writes to none of them behind that.
#[test]
fn an_allocation_that_would_fail_takes_frames_from_the_scrubber() {
    explore(
        2,
        || few_used(2),
        |world| (take_clean(world, &ONE), take_clean(world, &ONE)),
        |world| world.memory.scrub(64),
        |world, (a, b), _| {
            world.got(a.expect("two were free all the time"));
            world.got(b.expect("two were free all the time"));
        },
    );
}

/// The same for a chunk that is scrubbed as a whole.
#[test]
fn a_whole_take_and_the_scrubber() {
    explore(
        1,
        || {
            // Of a whole chunk this machine reaches two frames.
            World::chunks(1)
        },
        |world| world.alloc(&CHUNK),
        |world| world.memory.scrub(1),
        |world, taken, _| {
            assert!(world.give(taken), "512 frames were free all the time");
            world.free_now(part(0, 512));
            assert_eq!(
                world.memory.statistics().dirty,
                512,
                "two frames of it are scrubbed at most"
            );
        },
    );
}

/// Two scrubbers, with slots of their own, scrub each frame once.
#[test]
fn two_scrubbers() {
    explore(
        2,
        || few_used(2),
        |world| world.memory.scrub(64),
        |world| world.memory.scrub(64),
        |world, a, b| {
            assert_eq!(a.frames + b.frames, 2);
            assert_eq!(world.memory.statistics().dirty, 0);
            all_clean(world);
        },
    );
}

/// Trap 9: an interrupt between any two steps of the scrubber needs what it scrubs, frees a frame, or
/// scrubs itself, and waits for nobody.
#[test]
fn an_interrupt_takes_what_its_cpu_scrubs() {
    type Act = fn(&World) -> Vec<FrameRange>;
    let acts: [Act; 3] = [
        |world| (0..2).map(|_| take_clean(world, &ONE).expect("free all the time")).collect(),
        |world| {
            world.free(few(1, 1)).unwrap();
            world.free(few(2, 1)).unwrap();
            Vec::new()
        },
        |world| {
            world.memory.scrub(64);
            Vec::new()
        },
    ];
    loom::model(move || {
        for (number, act) in acts.into_iter().enumerate() {
            let mut at = 0;
            loop {
                let free = if number == 1 { 1 } else { 2 };
                let mut world = Rc::new(few_used(free));
                let came = Rc::new(Cell::new(None));
                let (inner, result, start) = (world.clone(), came.clone(), steps());
                let entered = Cell::new(false);
                before_each_step(Some(Rc::new(move || {
                    if steps() - start >= at && !is_masked() && !entered.replace(true) {
                        result.set(Some(act(&inner)));
                    }
                })));
                world.memory.scrub(64);
                before_each_step(None);
                let Some(taken) = came.take() else { break };
                let world = Rc::get_mut(&mut world).expect("the hook is gone");
                for range in taken {
                    world.got(range);
                }
                if number == 1 {
                    world.gone(few(1, 1));
                    world.gone(few(2, 1));
                }
                all_clean(world);
                world.check();
                at += 1;
            }
            assert!(at > 20, "hardly a step was interrupted");
        }
    });
}
