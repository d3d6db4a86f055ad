//! Two CPUs, one in the middle of the other, at every moment at which that can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bedframe::{Access, Request, VirtualRange, VmapError};

use crate::common::{Heap, interleave};
use crate::watched::{Room, Window};

const ONE: Request<'static> = Request::frames(1);

/// Lets `other` run in the middle of `call`, at each of its moments, on a room of its own each time.
fn at_every_moment(
    late: bool,
    prepare: impl Fn(&Room) -> Vec<VirtualRange>,
    call: impl Fn(&'static Window, &[VirtualRange]),
    other: impl Fn(&'static Window, &[VirtualRange]) + Clone + 'static,
) {
    for turn in 1.. {
        let room = Room::new(Heap::Unified, 1 << 18, 1 << 18);
        if late {
            room.world.start();
        }
        let before = room.memory.statistics();
        let held = prepare(&room);
        let (window, theirs, other) = (room.window, held.clone(), other.clone());
        let ((), came) = interleave(turn, move || other(window, &theirs), || call(window, &held));
        room.check();
        // Whatever is there now can be taken away, and then nothing is left.
        while let Some(mapping) = window.next(window.window().start()) {
            window.free(mapping).unwrap();
        }
        room.check();
        let after = room.memory.statistics();
        let taken = |counts: bedframe::StateCounts| counts.in_use + counts.uninitialised;
        assert_eq!(taken(after), taken(before), "turn {turn}");
        if !came {
            assert!(turn > 20, "only {turn} moments");
            return;
        }
    }
}

fn make(window: &Window, pages: u64) -> VirtualRange {
    let made = window.alloc(pages, &ONE, Access::READ_WRITE).unwrap();
    window.tables().check_way(made);
    made
}

#[test]
fn a_mapping_in_the_middle_of_a_mapping() {
    for late in [false, true] {
        at_every_moment(
            late,
            |_| Vec::new(),
            |window, _| assert_eq!(make(window, 5).pages(), 5),
            |window, _| assert_eq!(make(window, 3).pages(), 3),
        );
    }
}

/// The neighbours share all tables, and either is the last.
#[test]
fn two_neighbours_go_at_once() {
    for late in [false, true] {
        at_every_moment(
            late,
            |room| vec![make(room.window, 4), make(room.window, 4)],
            |window, held| window.free(held[0]).unwrap(),
            |window, held| window.free(held[1]).unwrap(),
        );
    }
}

/// What is just taken away is taken anew as soon as it can be, and through new tables.
#[test]
fn a_mapping_while_another_goes() {
    for late in [false, true] {
        at_every_moment(
            late,
            |room| vec![make(room.window, 4)],
            |window, held| window.free(held[0]).unwrap(),
            |window, _| assert_eq!(make(window, 4).pages(), 4),
        );
    }
}

/// A mapping comes and goes while another is made beside it.
#[test]
fn a_mapping_comes_and_goes_in_the_middle_of_another() {
    for late in [false, true] {
        at_every_moment(
            late,
            |_| Vec::new(),
            |window, _| assert_eq!(make(window, 4).pages(), 4),
            |window, _| window.free(make(window, 600)).unwrap(),
        );
    }
}

/// Two calls take the same mapping away: one does, the other is told so.
#[test]
fn one_mapping_goes_once() {
    let both = Arc::new(AtomicBool::new(false));
    let seen = both.clone();
    at_every_moment(
        true,
        |room| vec![make(room.window, 4)],
        |window, held| match window.free(held[0]) {
            Ok(()) | Err(VmapError::NotMapped { .. }) => {}
            Err(error) => panic!("{error}"),
        },
        move |window, held| match window.free(held[0]) {
            Ok(()) => seen.store(true, Relaxed),
            Err(VmapError::Busy { mapping }) => assert_eq!(mapping, held[0]),
            Err(VmapError::NotMapped { .. }) => {}
            Err(error) => panic!("{error}"),
        },
    );
    assert!(both.load(Relaxed), "the other call was never first");
}

/// A look while a mapping comes or goes finds its frames or nothing.
#[test]
fn a_look_in_the_middle() {
    at_every_moment(
        true,
        |room| vec![make(room.window, 2)],
        |window, held| window.free(held[0]).unwrap(),
        |window, held| {
            let found: Vec<_> = held[0].iter().map(|page| window.lookup(page)).collect();
            assert!(found.iter().all(Option::is_some) || found.iter().all(Option::is_none));
            assert!(window.counts().mappings <= 1);
        },
    );
}
