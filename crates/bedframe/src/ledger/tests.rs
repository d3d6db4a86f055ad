//! The ledger by itself: the last places that it has, and pages that come and go.

use super::*;
use crate::heap::tests::{Machine, frames, from};
use crate::node::NodeId;

/// Frames that the ledger's pages lie in.
const MAPPED: (u64, u64) = (0x200, 0x220);

/// Gives what is not given, and takes back what is.
fn toggle(attr: Attr) -> Attr {
    attr.with_kind(if attr.kind() == Kind::Given { Kind::Open } else { Kind::Given })
}

fn machine() -> Machine {
    from(MAPPED.0, MAPPED.1 - MAPPED.0)
}

/// What the first 4096 frames are for.
fn look(ledger: &Ledger, machine: &Machine) -> Vec<Kind> {
    let pieces = ledger.pieces(machine, frames(0, 4096));
    pieces.flat_map(|(range, attr)| range.iter().map(move |_| attr.kind())).collect()
}

/// Changes `range`, and compares with what was before, frame by frame. Whether it was done.
#[track_caller]
fn change(ledger: &mut Ledger, machine: &Machine, range: FrameRange) -> bool {
    let mut expected = look(ledger, machine);
    assert_eq!(expected.len(), 4096);
    let done = ledger.set_for_now(machine, range, toggle).is_ok();
    if done {
        for kind in &mut expected[range.start().get() as usize..range.end().get() as usize] {
            *kind = toggle(Attr::HOLE.with_kind(*kind)).kind();
        }
    }
    assert!(look(ledger, machine) == expected, "{range}: {done}");
    done
}

/// Gives every second frame from `start` on until the page that they lie in has so many places left. Returns the
/// frame behind the last.
fn fill(ledger: &mut Ledger, machine: &Machine, start: u64, left: usize) -> u64 {
    let room = |ledger: &Ledger, frame| {
        let place = ledger.pages.find(machine, frame).1;
        ledger.pages.page(machine, place.page).room()
    };
    let mut at = start;
    if room(ledger, at) % 2 != left % 2 {
        // From where a step is already, and unlike both neighbours.
        let step = ledger.pages.get(machine, ledger.pages.find(machine, at).1).unwrap();
        let bad = |attr: Attr| attr.with_kind(Kind::Bad);
        ledger.set_within_room(machine, frames(step.start, at), 0, bad).unwrap();
        at += 1;
    }
    while room(ledger, at) > left {
        ledger.set_within_room(machine, frames(at, at + 1), 0, toggle).unwrap();
        at += 2;
    }
    assert_eq!(room(ledger, at), left);
    at - 1
}

/// With nowhere to grow, a change is refused that would leave fewer than two places in a page; one that needs
/// none never is.
#[test]
fn the_last_places_are_kept() {
    let machine = machine();
    for left in 0..6 {
        for steps in 0..3 {
            let mut ledger = Ledger::new();
            let end = fill(&mut ledger, &machine, 1000, left);
            let range = match steps {
                0 => frames(end - 1, end),
                1 => frames(end, end + 1),
                _ => frames(end + 5, end + 9),
            };
            let fits = steps == 0 || left >= steps + SLACK;
            assert_eq!(change(&mut ledger, &machine, range), fits, "{steps} of {left}");
        }
    }
}

/// A change that begins in one page and ends in another takes a spare for each of them that is full.
#[test]
fn two_full_pages_need_two_spares() {
    let machine = machine();
    for (low, high) in [(2, 2), (2, 3), (3, 2), (3, 3), (0, 0)] {
        for spares in 0..3 {
            let mut ledger = Ledger::new();
            let mut unused = frames(MAPPED.0, MAPPED.1).iter();
            let mut add = |ledger: &mut Ledger| {
                ledger.pages.add_spare(&machine, unused.next().unwrap());
            };
            add(&mut ledger);
            let end = fill(&mut ledger, &machine, 1000, 0);
            assert!(change(&mut ledger, &machine, frames(end + 5, end + 9)));
            fill(&mut ledger, &machine, 20, low);
            fill(&mut ledger, &machine, 2000, high);
            assert_eq!(ledger.pages.spares(), 0);
            (0..spares).for_each(|_| add(&mut ledger));
            let needed = u32::from(low < 1 + SLACK) + u32::from(high < 1 + SLACK);
            let done = change(&mut ledger, &machine, frames(501, 3001));
            assert_eq!(done, spares >= needed, "{low} and {high}, {spares} spares");
        }
    }
}

/// The end of all frames is no place where anything changes.
#[test]
fn a_range_to_the_end_of_all_frames_is_one_step() {
    let machine = machine();
    let mut ledger = Ledger::new();
    let range = FrameRange::new(Mfn::new(100), Mfn::MAX).unwrap();
    for expected in [2, 1] {
        ledger.set(&machine, FrameRange::EMPTY, range, toggle).unwrap();
        assert_eq!(STEPS - ledger.pages.inline_room(), expected);
    }
}

/// Pages are taken as steps come, some of them in advance, and kept for the next steps when theirs are gone,
/// whichever go first.
#[test]
fn pages_come_and_go() {
    let machine = machine();
    let mapped = frames(MAPPED.0, MAPPED.1);
    let all: Vec<u64> = (1001..3001).step_by(2).collect();
    let orders: [fn(&mut Vec<u64>); 3] =
        [|_| (), |all| all.reverse(), |all| all.sort_by_key(|frame| frame.abs_diff(1700))];
    for order in orders {
        let mut ledger = Ledger::new();
        ledger.set(&machine, mapped, mapped, |attr| attr.with_ram(NodeId(0))).unwrap();
        let before = look(&ledger, &machine);
        for frame in &all {
            ledger.set(&machine, mapped, frames(*frame, frame + 1), toggle).unwrap();
        }
        let mut expected = look(&ledger, &machine);
        assert_eq!(expected.iter().filter(|kind| **kind == Kind::Given).count(), all.len());
        let mut gone = all.clone();
        order(&mut gone);
        for (number, frame) in gone.iter().enumerate() {
            ledger.set(&machine, mapped, frames(*frame, frame + 1), toggle).unwrap();
            expected[*frame as usize] = Kind::Open;
            assert!(number % 50 != 0 || look(&ledger, &machine) == expected, "without {frame}");
        }
        // All pages but the first are spares.
        assert!(!ledger.has_second_page(&machine));
        let owned = expected.iter().filter(|kind| **kind == Kind::Metadata).count();
        assert_eq!(owned, ledger.pages.spares() as usize);
        let found = look(&ledger, &machine);
        assert!(found.iter().zip(&before).all(|(is, was)| is == was || *is == Kind::Metadata));
    }
}
