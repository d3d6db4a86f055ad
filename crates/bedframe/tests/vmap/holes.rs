//! The whole window can be used, and every hole again.

use bedframe::{Access, FrameRange, VirtualRange, VmapError};

use crate::common::{Heap, Random, mfn};
use crate::watched::{Room, page, pages};

/// `pages` pages, of frames that are no RAM: there is nothing to run out of.
fn map(room: &Room, pages: u64) -> Result<VirtualRange, VmapError> {
    let start = if pages < 1 << 40 { 1 << 30 } else { 0 };
    let frames = FrameRange::from_len(mfn(start), pages).unwrap();
    room.window.map(&[frames], Access::READ)
}

fn unmap(room: &Room, range: VirtualRange) {
    room.window.unmap(range, |_, _| ()).unwrap();
}

/// Single pages fill the window: every second page is mapped, every other one a guard.
#[test]
fn a_window_is_full_to_the_last_page() {
    for size in [3, 4, 5, 64, 257, 1500] {
        let room = Room::new(Heap::Unified, 0x700, size);
        let before = room.snapshot();
        let mut held = Vec::new();
        loop {
            match map(&room, 1) {
                Ok(range) => held.push(range),
                Err(error) => {
                    assert_eq!(error, VmapError::NoRoom { pages: 1, most: 0 });
                    assert!(error.waiting_can_help());
                    break;
                }
            }
        }
        assert_eq!(held.len() as u64, (size - 1) / 2, "window of {size}");
        for (at, range) in held.iter().enumerate() {
            assert_eq!(range.start(), page(0x701 + 2 * at as u64));
        }
        room.check();
        for range in held {
            unmap(&room, range);
        }
        if size > 1024 {
            continue; // It reaches over tables whose other pages are not the window's.
        }
        assert_eq!(room.window.counts().frames, 0);
        assert_eq!(
            room.snapshot().counts.uninitialised,
            before.counts.uninitialised + tables(size)
        );
    }
}

/// Tables that reach beyond a window from 0x700 on, which none of these holds a whole one of.
fn tables(size: u64) -> u64 {
    let lowest = (0x700 + size - 2) / 512 - 0x701 / 512 + 1;
    let whole = (0x700_u64.next_multiple_of(512)..).step_by(512);
    let whole = whole.take_while(|start| start + 512 <= 0x700 + size).count() as u64;
    lowest - whole + 1
}

/// One mapping takes all of it, and one page more is refused for good.
#[test]
fn one_mapping_can_take_all() {
    for size in [3_u64, 10, 600] {
        let room = Room::new(Heap::Unified, 0x400, size);
        let all = map(&room, size - 2).unwrap();
        assert_eq!(all, pages(0x401, 0x400 + size - 1));
        assert_eq!(map(&room, 1), Err(VmapError::NoRoom { pages: 1, most: 0 }));
        let never = VmapError::TooLarge { pages: size - 1, most: size - 2 };
        assert_eq!(map(&room, size - 1), Err(never));
        assert!(!never.waiting_can_help());
        room.check();
        unmap(&room, all);
        unmap(&room, map(&room, size - 2).unwrap());
        room.check();
    }
}

/// Windows that are too small for a page and its guards have room for nothing.
#[test]
fn the_smallest_windows_are_full() {
    for size in 0..3 {
        let room = Room::new(Heap::Unified, 9, size);
        assert_eq!(map(&room, 1), Err(VmapError::TooLarge { pages: 1, most: 0 }));
        assert_eq!(room.window.counts().largest, 0);
        assert_eq!(room.window.next(page(0)), None);
        room.check();
    }
}

/// Holes of all sizes, in any order: each is found by a mapping that just fits it, and the lowest
/// by one that fits several.
#[test]
fn every_hole_is_found_by_what_fits_it() {
    let mut random = Random::new(3);
    let room = Room::new(Heap::Unified, 0, 2000);
    for _ in 0..20 {
        // 1 to 40 pages, and one page between each two that stays.
        let mut sizes: Vec<u64> = (1..=40).collect();
        random.shuffle(&mut sizes);
        let mut holes = Vec::new();
        let mut held = Vec::new();
        for size in sizes {
            holes.push(map(&room, size).unwrap());
            held.push(map(&room, 1).unwrap());
        }
        let rest = map(&room, room.window.counts().largest).unwrap();
        assert_eq!(room.window.counts().largest, 0);
        random.shuffle(&mut holes);
        holes.iter().for_each(|range| unmap(&room, *range));
        room.check();
        // The largest first, or they would settle in each other's holes.
        holes.sort_by_key(|range| std::cmp::Reverse(range.pages()));
        for hole in &holes {
            assert_eq!(room.window.counts().largest, hole.pages());
            assert_eq!(map(&room, hole.pages()), Ok(*hole));
        }
        room.check();
        holes.iter().chain(&held).chain([&rest]).for_each(|range| unmap(&room, *range));
        assert_eq!(room.window.counts().mappings, 0);
        room.check();
    }
}

/// The books of 63 mappings fit into one frame, whichever of them come and go: places are used again.
#[test]
fn places_in_the_books_are_used_again() {
    let room = Room::new(Heap::Unified, 0, 512);
    let mut held: Vec<_> = (0..63).map(|_| map(&room, 1).unwrap()).collect();
    for at in [0, 62, 31, 1, 0] {
        unmap(&room, held[at]);
        held[at] = map(&room, 1).unwrap();
        assert_eq!(room.window.counts().frames, 1);
    }
    held.push(map(&room, 1).unwrap());
    assert_eq!(room.window.counts().frames, 2);
    held.into_iter().for_each(|range| unmap(&room, range));
    assert_eq!(room.window.counts().frames, 0);
    room.check();
}

/// Two holes beside a mapping become one when it goes.
#[test]
fn holes_join() {
    let room = Room::new(Heap::Unified, 0, 64);
    let held: Vec<_> = (0..10).map(|_| map(&room, 5).unwrap()).collect();
    for order in [[3, 4, 5], [5, 4, 3], [3, 5, 4], [4, 3, 5]] {
        order.iter().for_each(|at| unmap(&room, held[*at]));
        assert_eq!(map(&room, 17).unwrap(), pages(19, 36));
        unmap(&room, pages(19, 36));
        for hole in &held[3..6] {
            assert_eq!(map(&room, 5), Ok(*hole));
        }
        room.check();
    }
}

/// At both ends of all pages that there are.
#[test]
fn windows_at_the_ends_of_the_address_space() {
    for start in [0, (1 << 52) - 100] {
        let room = Room::new(Heap::Unified, start, 100);
        let all: Vec<_> = (0..49).map(|_| map(&room, 1).unwrap()).collect();
        assert!(map(&room, 1).is_err());
        room.check();
        all.into_iter().for_each(|range| unmap(&room, range));
        room.check();
    }
}

/// The largest window that there can be: nothing in the books depends on its size.
#[test]
fn a_window_of_everything() {
    let room = Room::new(Heap::Unified, 0, 1 << 52);
    let held: Vec<_> = (1..50).map(|size| map(&room, size).unwrap()).collect();
    room.check();
    let most = room.window.counts().largest;
    assert_eq!(map(&room, most + 1), Err(VmapError::NoRoom { pages: most + 1, most }));
    held.into_iter().for_each(|range| unmap(&room, range));
    assert_eq!(room.window.counts().largest, (1 << 52) - 2);
}
