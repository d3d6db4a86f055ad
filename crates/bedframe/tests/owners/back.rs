//! Frames are given back, kept by references, stolen.

use std::cell::Cell;
use std::rc::Rc;

use bedframe::{
    FreeRefusal, GivenBack, Mfn, OwnerError, OwnerRefusal, PageState, ReferenceError, Request,
};

use crate::common::{interleave, mfn};
use crate::world::{A, B, COUNTED, EXTRA, World, request, single};

/// A frame that its owner has dropped lives until the last reference to it goes, and is counted until
/// then.
#[test]
fn references_keep_a_frame() {
    let world = World::new();
    let block = world.give(A, 2);
    let frame = mfn(block.start().get() + 1);
    world.memory.reference_owned(A, frame).unwrap();
    world.memory.reference_owned(A, frame).unwrap();
    assert_eq!(world.memory.free_owned(A, block), Ok(GivenBack { gone: 3, kept: 1 }));
    let counts = world.counts(A);
    assert_eq!((counts.accounted, counts.dropped), (1, 1));
    assert_eq!((world.owner(frame), world.memory.state(frame)), (Some(A), PageState::InUse));
    world.check();
    // It is dropped once, and the domain gets no new reference.
    let dropped = |why| Err(OwnerError::Frame { frame, why, committed: 0 });
    let again = world.memory.free_owned(A, single(frame));
    assert_eq!(again, dropped(OwnerRefusal::Dropped).map(|()| GivenBack::default()));
    assert_eq!(world.memory.steal(A, single(frame)), dropped(OwnerRefusal::Dropped));
    assert_eq!(world.memory.reference_owned(A, frame), dropped(OwnerRefusal::Dropped));
    assert_eq!(world.memory.free(single(frame)).unwrap_err().why, FreeRefusal::Owned);
    world.memory.unreference(frame).unwrap();
    assert_eq!(world.owner(frame), Some(A), "one is left");
    world.memory.unreference(frame).unwrap();
    assert_eq!((world.owner(frame), world.memory.state(frame)), (None, PageState::Free));
    let counts = world.counts(A);
    assert_eq!((counts.accounted, counts.dropped), (0, 0));
    let none = ReferenceError::NotReferenced { frame };
    assert_eq!(world.memory.unreference(frame), Err(none));
    world.check();
}

/// Whoever gives the last reference back finds in the middle of it that it is not the last any more: the frame
/// stays.
#[test]
fn the_last_reference_is_the_last_in_the_end() {
    for turn in 1.. {
        let world = World::small();
        let frame = dropped(&world);
        let (memory, another) = (world.memory.clone(), Rc::new(Cell::new(false)));
        let taken = another.clone();
        let refer = move || taken.set(memory.reference(frame).is_ok());
        let (given, came) = interleave(turn, refer, || world.memory.unreference(frame));
        assert_eq!(given, Ok(()));
        if another.get() {
            assert_eq!((world.owner(frame), world.memory.references(frame)), (Some(A), 1));
            assert_eq!(world.counts(A).dropped, 1);
            world.memory.unreference(frame).unwrap();
        }
        assert_eq!((world.owner(frame), world.memory.state(frame)), (None, PageState::Free));
        world.memory.validate().unwrap();
        if !came {
            return;
        }
    }
}

/// A reference that is given back twice at the same time takes another one with it, which was taken in between, and not the
/// frame, which is its owner's again.
#[test]
fn a_reference_that_is_given_back_twice_takes_no_frame() {
    for turn in 1.. {
        let world = World::small();
        let frame = dropped(&world);
        let (memory, again) = (world.memory.clone(), Rc::new(Cell::new(false)));
        let taken = again.clone();
        let twice = move || {
            if memory.unreference(frame).is_ok() {
                memory.alloc_for(A, &Request::exactly(single(frame)), COUNTED).unwrap();
                memory.reference_owned(A, frame).unwrap();
                taken.set(true);
            }
        };
        let (given, came) = interleave(turn, twice, || world.memory.unreference(frame));
        assert_eq!(given, Ok(()));
        let owner = again.get().then_some(A);
        assert_eq!((world.owner(frame), world.memory.references(frame)), (owner, 0));
        assert_eq!(world.counts(A).dropped, 0);
        world.memory.validate().unwrap();
        if !came {
            return;
        }
    }
}

/// A frame that A has dropped, with one reference.
fn dropped(world: &World) -> Mfn {
    let block = world.give(A, 0);
    world.memory.reference_owned(A, block.start()).unwrap();
    world.memory.free_owned(A, block).unwrap();
    block.start()
}

/// The owner is checked in the step that counts.
#[test]
fn a_reference_names_the_owner() {
    let world = World::new();
    let (mine, other) = (world.give(A, 0).start(), world.memory.alloc(&request(0)).unwrap());
    let refused = |frame, owner| {
        let why = OwnerRefusal::NotOwned { owner };
        Err(OwnerError::Frame { frame, why, committed: 0 })
    };
    let before = world.check();
    assert_eq!(world.memory.reference_owned(B, mine), refused(mine, Some(A)));
    assert_eq!(world.memory.reference_owned(A, other.start()), refused(other.start(), None));
    world.check().assert_same_as(&before, "another's");
    world.memory.reference_owned(A, mine).unwrap();
    assert_eq!(world.memory.owner(mine).unwrap().references, 1);
    world.memory.unreference(mine).unwrap();
    world.check().assert_same_as(&before, "given back");
}

/// Of several frames that cannot be given back the lowest is named, and none is.
#[test]
fn a_range_is_given_back_as_a_whole() {
    let world = World::small();
    for order in [8, 9] {
        let block = world.give(A, order);
        let hole = mfn(block.end().get() - 10);
        world.memory.steal(A, single(hole)).unwrap();
        world.memory.free(single(hole)).unwrap();
        let before = world.check();
        let why = OwnerRefusal::NotOwned { owner: None };
        let error = OwnerError::Frame { frame: hole, why, committed: 0 };
        assert_eq!(world.memory.free_owned(A, block), Err(error));
        assert_eq!(world.memory.steal(A, block), Err(error));
        assert!(!error.waiting_can_help());
        let why = OwnerRefusal::NotOwned { owner: Some(A) };
        let error = OwnerError::Frame { frame: block.start(), why, committed: 0 };
        assert_eq!(world.memory.free_owned(B, block), Err(error));
        world.check().assert_same_as(&before, "not all of it");
    }
}

/// What is stolen stays in use, with its contents, and is counted for nobody.
#[test]
fn a_stolen_frame_is_nobodys() {
    let world = World::new();
    for order in [0, 5, 9, 10] {
        let block = world.memory.alloc_for(A, &request(order), EXTRA).unwrap();
        let frame = block.start();
        world.memory.reference_owned(A, frame).unwrap();
        let why = OwnerRefusal::Referenced { references: 1 };
        let error = OwnerError::Frame { frame, why, committed: 0 };
        assert_eq!(world.memory.steal(A, block), Err(error));
        assert!(error.waiting_can_help());
        world.memory.unreference(frame).unwrap();
        world.memory.steal(A, block).unwrap();
        assert_eq!(world.counts(A).extra, 0);
        assert!(block.iter().all(|frame| world.memory.state(frame) == PageState::InUse));
        assert!(block.iter().all(|frame| world.owner(frame).is_none()));
        world.memory.assign(B, block, COUNTED).unwrap();
        world.check();
        world.memory.free_owned(B, block).unwrap();
    }
    world.check();
}

/// All of a chunk comes back merged, however it was given back.
#[test]
fn chunks_come_back_whole() {
    let world = World::new();
    let before = world.check();
    for step in [1, 3, 64, 100, 511] {
        let block = world.give(A, 9);
        let frames: Vec<_> = block.iter().collect();
        for part in frames.chunks(step).rev() {
            let len = part.len() as u64;
            let part = bedframe::FrameRange::from_len(part[0], len).unwrap();
            assert_eq!(world.memory.free_owned(A, part), Ok(GivenBack { gone: len, kept: 0 }));
        }
        world.check().assert_same_as(&before, "given back");
    }
}
