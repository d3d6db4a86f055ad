//! Walks over what a domain has.

use std::collections::BTreeSet;

use bedframe::{DomainError, Mfn, Request};

use crate::common::Random;
use crate::world::{A, B, COUNTED, EXTRA, World, request, single};

/// A walk tells of every frame once, and of how the domain has it.
#[test]
fn a_walk_tells_of_all_frames() {
    let world = World::new();
    let mut have = BTreeSet::new();
    for order in [0, 9, 3, 0, 10, 6] {
        have.extend(world.give(A, order).iter());
        world.give(B, order);
    }
    let extra = world.memory.alloc_for(A, &Request::frames(700), EXTRA).unwrap();
    have.extend(extra.iter());
    let dropped = world.give(A, 0);
    world.memory.reference_owned(A, dropped.start()).unwrap();
    world.memory.free_owned(A, dropped).unwrap();
    have.extend(dropped.iter());
    let mut seen = BTreeSet::new();
    for run in world.list(A) {
        assert_eq!(run.ownership.domain, A);
        assert_eq!(run.ownership.dropped, run.frames == dropped);
        assert_eq!(run.ownership.accounting == EXTRA, extra.covers(run.frames));
        assert!(run.frames.iter().all(|frame| seen.insert(frame)), "{} twice", run.frames);
    }
    assert_eq!(seen, have);
    world.check();
}

/// There is one walk over a domain at a time.
#[test]
fn a_walk_ends_when_another_begins() {
    let world = World::new();
    world.give(A, 1);
    world.give(B, 1);
    let mut first = world.memory.walk_owned(A).unwrap();
    let mut of_other = world.memory.walk_owned(B).unwrap();
    assert!(first.step().unwrap().is_some());
    let mut second = world.memory.walk_owned(A).unwrap();
    assert_eq!(first.step(), Err(DomainError::WalkEnded { domain: A }));
    for _ in 0..2 {
        assert!(second.step().unwrap().is_some());
        assert!(of_other.step().unwrap().is_some());
    }
    assert_eq!((second.step(), of_other.step()), (Ok(None), Ok(None)));
    assert_eq!(second.step(), Ok(None), "it stays at its end");
    world.bury(A, 9);
    assert_eq!(second.step(), Err(DomainError::Unknown { domain: A }));
}

/// A walk whose next frame goes stands at the one behind it; whatever else goes, it stays where it stands.
#[test]
fn a_walk_goes_on_behind_what_goes() {
    let world = World::small();
    let frames: Vec<_> = (0..5).map(|_| world.give(A, 0)).collect();
    let mut walk = world.memory.walk_owned(A).unwrap();
    let mut told = Vec::new();
    // What came last comes first.
    for goes in [3, 0, 4] {
        told.extend(walk.step().unwrap().map(|run| run.frames));
        world.memory.free_owned(A, frames[goes]).unwrap();
    }
    assert_eq!(told, [frames[4], frames[2], frames[1]]);
    assert_eq!(walk.step(), Ok(None));
    world.memory.validate().unwrap();
}

/// Frames come and go between any two steps: what the domain has throughout is told of all the same.
#[test]
fn a_walk_misses_nothing_that_stays() {
    for seed in 0..20 {
        let world = World::new();
        let mut random = Random::new(seed);
        let mut stays = BTreeSet::new();
        let mut goes = Vec::new();
        for _ in 0..60 {
            let block = world.memory.alloc_for(A, &request(0), COUNTED).unwrap();
            if random.below(2) == 0 {
                stays.insert(block.start());
            } else {
                goes.push(block);
            }
        }
        // One chunk as a whole, of which one frame goes.
        let chunk = world.give(A, 9);
        let gone = Mfn::new(chunk.start().get() + random.below(512));
        stays.extend(chunk.iter().filter(|frame| *frame != gone));
        goes.push(single(gone));
        random.shuffle(&mut goes);
        let mut walk = world.memory.walk_owned(A).unwrap();
        let mut seen = BTreeSet::new();
        let mut steps = 0;
        while let Some(run) = walk.step().unwrap() {
            seen.extend(run.frames.iter());
            steps += 1;
            assert!(steps < 5000, "it ends");
            if random.below(2) == 0
                && let Some(block) = goes.pop()
            {
                world.memory.free_owned(A, block).unwrap();
            } else if random.below(4) == 0 {
                world.give(A, 0);
            }
        }
        let missed: Vec<_> = stays.difference(&seen).collect();
        assert!(missed.is_empty(), "seed {seed}: {missed:?}");
        world.check();
    }
}
