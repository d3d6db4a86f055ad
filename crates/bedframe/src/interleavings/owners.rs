//! Frames change hands while another CPU frees them, refers to them, or lets their owner die.

use super::explore;
use super::world::{CHUNK, ONE, World, few, part};
use crate::addr::FrameRange;
use crate::error::FreeRefusal;
use crate::memory::{ReferenceError, Withdrawal};
use crate::owners::{Accounting, DomainError, DomainId, OwnerError, OwnerRefusal};
use crate::state::PageState;

const A: DomainId = DomainId(1);
const B: DomainId = DomainId(2);
const COUNTED: Accounting = Accounting::Counted;

fn frame() -> FrameRange {
    few(8, 1)
}

/// Two domains, and the few, all in use. The records of their chunk have been used before, and say
/// nothing: the chunk is not exceptional, so that frees are quick.
fn owned() -> World {
    let mut world = World::before_start(0, true);
    world.memory.start(2).unwrap();
    world.create_domain(A);
    world.create_domain(B);
    world.take_all();
    world.memory.reference(frame().start()).unwrap();
    world.memory.unreference(frame().start()).unwrap();
    // Its word has a free frame, so that the next free is one step.
    world.free_now(few(11, 1));
    world
}

/// The same, the first frame being A's, with so many references.
fn of_a(references: u32) -> World {
    let world = owned();
    world.memory.assign(A, frame(), COUNTED).unwrap();
    for _ in 0..references {
        world.memory.reference_owned(A, frame().start()).unwrap();
    }
    world
}

fn refusal<T: core::fmt::Debug>(result: Result<T, OwnerError>) -> OwnerRefusal {
    match result {
        Err(OwnerError::Frame { why, committed: 0, .. }) => why,
        other => panic!("{other:?}"),
    }
}

fn accounted(world: &World, domain: DomainId) -> u64 {
    world.memory.domain(domain).unwrap().accounted
}

/// A frame is assigned and freed: it is the domain's, or free, and never both.
#[test]
fn an_assignment_and_a_free() {
    explore(
        3,
        owned,
        |world| world.memory.assign(A, frame(), COUNTED),
        |world| world.free(frame()),
        |world, given, put| {
            assert!(given.is_ok() != put.is_ok(), "{given:?} and {put:?}");
            assert_eq!(accounted(world, A), u64::from(given.is_ok()));
            match put {
                Ok(()) => {
                    assert_eq!(refusal(given), OwnerRefusal::State(PageState::Free));
                    world.gone(frame());
                }
                Err(error) => assert_eq!(error.why, FreeRefusal::Owned),
            }
        },
    );
}

/// A domain, and a chunk that boot has handed out, in which no frame has been in the heap.
fn boot_allocated() -> World {
    let mut world = World::before_start(1, true);
    world.memory.keep(part(0, 512)).unwrap();
    world.memory.start(2).unwrap();
    world.create_domain(A);
    world.memory.set_quota(A, 512).unwrap();
    world
}

/// The whole chunk is assigned, and a frame of it freed: it is the domain's as a whole, or the frame is free.
#[test]
fn an_assignment_of_a_boot_allocated_chunk_and_a_free() {
    let frame = part(5, 1);
    explore(
        2,
        boot_allocated,
        |world| world.memory.assign(A, part(0, 512), COUNTED),
        move |world| world.memory.free(frame),
        move |world, given, put| {
            assert!(given.is_ok() != put.is_ok(), "{given:?} and {put:?}");
            assert_eq!(accounted(world, A), if given.is_ok() { 512 } else { 0 });
            match put {
                Ok(()) => {
                    assert_eq!(refusal(given), OwnerRefusal::State(PageState::Free));
                    world.memory.free(part(0, 5)).unwrap();
                    world.memory.free(part(6, 506)).unwrap();
                }
                Err(error) => {
                    // Having looked before the assignment, it says that somebody was faster.
                    let faster = error.why == FreeRefusal::AlreadyFree;
                    assert!(faster || error.why == FreeRefusal::Owned, "{error}");
                    assert_eq!(world.memory.free_owned(A, part(0, 512)).unwrap().gone, 512);
                }
            }
            assert_eq!(world.memory.alloc(&CHUNK), Ok(part(0, 512)));
            world.memory.free(part(0, 512)).unwrap();
        },
    );
}

/// A frame is assigned and withdrawn: withdrawn first it is not assigned; assigned first it is to be withdrawn
/// when its owner gives it back, and is. Neither step rewrites what the other wrote.
#[test]
fn an_assignment_and_an_offlining() {
    explore(
        3,
        owned,
        |world| world.memory.assign(A, frame(), COUNTED),
        |world| world.memory.offline(frame().start()),
        |world, given, withdrawn| {
            assert_eq!(withdrawn, Ok(Withdrawal::Pending));
            assert_eq!(world.memory.state(frame().start()), PageState::Offlining);
            assert_eq!(world.memory.owner(frame().start()).is_some(), given.is_ok());
            assert_eq!(accounted(world, A), u64::from(given.is_ok()));
            if given.is_ok() {
                world.memory.free_owned(A, frame()).unwrap();
            } else {
                assert_eq!(refusal(given), OwnerRefusal::State(PageState::Offlining));
                world.memory.free(frame()).unwrap();
            }
            assert_eq!(world.memory.state(frame().start()), PageState::Offlined);
            assert_eq!(accounted(world, A), 0);
            world.gone(frame());
        },
    );
}

/// An owner's frame is withdrawn while he gives it back.
#[test]
fn a_free_by_the_owner_and_an_offlining() {
    explore(
        3,
        || of_a(0),
        |world| world.memory.free_owned(A, frame()),
        |world| world.memory.offline(frame().start()),
        |world, freed, withdrawn| {
            assert!(freed.is_ok() && withdrawn.is_ok(), "{freed:?} and {withdrawn:?}");
            assert_eq!(world.memory.state(frame().start()), PageState::Offlined);
            assert_eq!(world.memory.owner(frame().start()), None);
            world.gone(frame());
        },
    );
}

/// Two domains are to get one frame.
#[test]
fn two_assignments() {
    explore(
        3,
        owned,
        |world| world.memory.assign(A, frame(), COUNTED),
        |world| world.memory.assign(B, frame(), COUNTED),
        |world, a, b| {
            assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
            let (owner, loser) = if a.is_ok() { (A, b) } else { (B, a) };
            assert_eq!(refusal(loser), OwnerRefusal::Owned { owner });
            assert_eq!(accounted(world, A) + accounted(world, B), 1);
        },
    );
}

/// A frame is given back while another CPU takes a reference: it is kept, or it is gone before.
#[test]
fn a_reference_and_a_free_by_the_owner() {
    explore(
        2,
        || of_a(0),
        |world| world.memory.reference_owned(A, frame().start()),
        |world| world.memory.free_owned(A, frame()),
        |world, referred, back| {
            let back = back.unwrap();
            match referred {
                Ok(()) => {
                    assert_eq!((back.gone, back.kept, accounted(world, A)), (0, 1, 1));
                    world.memory.unreference(frame().start()).unwrap();
                }
                Err(_) => {
                    let none = OwnerRefusal::NotOwned { owner: None };
                    assert_eq!((refusal(referred), back.gone), (none, 1));
                }
            }
            assert_eq!(accounted(world, A), 0);
            world.gone(frame());
        },
    );
}

/// The same while it is stolen: nobody's frame has no references.
#[test]
fn a_reference_and_a_theft() {
    explore(
        2,
        || of_a(0),
        |world| world.memory.reference_owned(A, frame().start()),
        |world| world.memory.steal(A, frame()),
        |world, referred, stolen| {
            assert!(referred.is_ok() != stolen.is_ok(), "{referred:?} and {stolen:?}");
            let owned = world.memory.owner(frame().start()).is_some();
            assert_eq!((owned, accounted(world, A)), (referred.is_ok(), u64::from(owned)));
            assert_eq!(world.memory.references(frame().start()), u32::from(owned));
        },
    );
}

/// The last reference is given back while the dying owner is taken apart: whichever comes second frees
/// the frame. Both need the owner's lock and the chunk, in this order.
#[test]
fn the_last_reference_and_the_end_of_the_owner() {
    explore(
        2,
        || {
            let world = of_a(1);
            world.memory.kill_domain(A).unwrap();
            world
        },
        |world| world.memory.unreference(frame().start()),
        |world| world.memory.relinquish(A, 4),
        |world, given_back, relinquished| {
            assert_eq!(given_back, Ok::<_, ReferenceError>(()));
            let relinquished = relinquished.unwrap();
            assert!(relinquished.done && relinquished.gone + relinquished.kept == 1);
            world.gone(frame());
            world.memory.destroy_domain(A).unwrap();
        },
    );
}

/// Two give the last two references to a dropped frame back.
#[test]
fn the_last_two_references() {
    explore(
        2,
        || {
            let world = of_a(2);
            assert_eq!(world.memory.free_owned(A, frame()).unwrap().kept, 1);
            world
        },
        |world| world.memory.unreference(frame().start()),
        |world| world.memory.unreference(frame().start()),
        |world, a, b| {
            assert_eq!((a, b), (Ok(()), Ok(())));
            assert_eq!(accounted(world, A), 0);
            world.gone(frame());
        },
    );
}

/// A domain dies while it gets a frame: it has got it, or the frame is nobody's.
#[test]
fn an_assignment_and_the_death_of_the_domain() {
    explore(
        3,
        owned,
        |world| world.memory.assign(A, frame(), COUNTED),
        |world| {
            world.memory.kill_domain(A).unwrap();
            world.memory.relinquish(A, 4).unwrap()
        },
        |world, given, relinquished| {
            match given {
                Ok(()) if relinquished.gone == 1 => world.gone(frame()),
                // Another call was giving it then.
                Ok(()) => assert!(!relinquished.done),
                Err(error) => {
                    assert_eq!(error, DomainError::Dying { domain: A }.into());
                    assert_eq!(relinquished.gone, 0);
                }
            }
            let owned = u64::from(given.is_ok() && relinquished.gone == 0);
            assert_eq!(accounted(world, A), owned);
            let rest = world.memory.relinquish(A, 4).unwrap();
            assert_eq!((rest.gone, rest.done), (owned, true));
            if owned == 1 {
                world.gone(frame());
            }
            world.memory.destroy_domain(A).unwrap();
        },
    );
}

/// A frame that its owner gives back is the next to be allocated, and never while it is his.
#[test]
fn a_free_by_the_owner_and_an_allocation() {
    explore(
        2,
        || of_a(0),
        |world| (world.alloc(&ONE), world.alloc(&ONE)),
        |world| world.memory.free_owned(A, frame()),
        |world, (first, second), back| {
            assert_eq!(back.unwrap().gone, 1);
            world.gone(frame());
            assert!(world.give(first), "one was free throughout");
            world.give(second);
        },
    );
}
