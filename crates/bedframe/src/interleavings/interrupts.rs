//! An interrupt that comes between any two steps of a call and calls into the same memory, on the
//! same CPU: it must never wait for what it has interrupted.

use core::cell::Cell;
use std::rc::Rc;

use super::machine::is_masked;
use super::world::{CHUNK, ONE, World, few, part};
use crate::sync::checked::{before_each_step, steps};

type Act = fn(&World) -> Vec<u64>;

/// Frees a frame that is held: says which.
fn put(world: &World, range: crate::FrameRange) -> Vec<u64> {
    world.free(range).unwrap();
    range.iter().map(|frame| frame.get()).collect()
}

/// Takes some, for good.
fn take(world: &World, request: &crate::Request<'_>) -> Vec<u64> {
    if let Ok(found) = world.alloc(request) {
        world.memory.free(found).unwrap();
    }
    Vec::new()
}

/// What is interrupted, or interrupts; each frees other frames than all others.
const INTERRUPTED: [Act; 7] = [
    |world| put(world, few(0, 1)),
    |world| put(world, few(1, 2)),
    |world| put(world, part(500, 1)),
    |world| put(world, part(501, 11)),
    |world| take(world, &ONE),
    |world| take(world, &ONE.align(1)),
    |world| take(world, &CHUNK),
];
const INTERRUPTING: [Act; 5] = [
    |world| put(world, few(4, 1)),
    |world| put(world, part(0, 1)),
    |world| put(world, part(1, 499)),
    |world| take(world, &ONE),
    |world| take(world, &CHUNK),
];

/// A chunk of which all is in use, or all but what is freed here.
fn world(used_before: bool) -> World {
    let mut world = World::partly_used(0);
    if used_before {
        world.free_now(few(8, 1));
    } else {
        world.free_now(part(1, 400));
        let held: Vec<_> = (0..400).map(|_| world.alloc(&ONE)).collect();
        for found in held {
            assert!(world.give(found));
        }
    }
    world
}

/// Trap 9: the interrupt comes before step `at`, or as soon as interrupts are not masked any more.
/// Says whether it came.
fn interrupt(used_before: bool, act: Act, other: Act, at: u64) -> bool {
    let mut world = Rc::new(world(used_before));
    let freed = Rc::new(Cell::new(None));
    let (inner, result, start) = (world.clone(), freed.clone(), steps());
    let entered = Cell::new(false);
    before_each_step(Some(Rc::new(move || {
        if steps() - start >= at && !is_masked() && !entered.replace(true) {
            result.set(Some(other(&inner)));
        }
    })));
    let mut gone = act(&world);
    before_each_step(None);
    let came = freed.take();
    gone.extend(came.iter().flatten());
    let world = Rc::get_mut(&mut world).expect("the hook is gone");
    for frame in gone {
        world.gone(super::world::frames(frame, 1));
    }
    world.check();
    came.is_some()
}

#[test]
fn an_interrupt_between_any_two_steps_waits_for_nobody() {
    // One thread and nobody watching: loom lends its threads their CPU, and does nothing else.
    loom::model(|| {
        for used_before in [true, false] {
            for act in INTERRUPTED {
                for other in INTERRUPTING {
                    let mut at = 0;
                    while interrupt(used_before, act, other, at) {
                        at += 1;
                    }
                    assert!(at > 3, "hardly a step was interrupted");
                }
            }
        }
    });
}

/// Trap 7: a CPU that takes a frame and puts it back, over and over, breaks and merges nothing: each
/// pair takes as few steps as the one before.
#[test]
fn a_loop_on_a_chunk_that_was_whole_does_not_break_it_each_time() {
    loom::model(|| {
        let world = World::chunks(1);
        let mut pairs = Vec::new();
        for _ in 0..100 {
            let before = steps();
            take(&world, &ONE);
            pairs.push(steps() - before);
        }
        // A break writes three planes of eight words, a merge reads and writes eight.
        assert!(pairs[0] > 24, "the first breaks the chunk: {}", pairs[0]);
        assert!(pairs[1..].iter().all(|pair| *pair < 24), "{pairs:?}");
    });
}
