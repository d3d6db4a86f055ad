//! The directory's answers, against a plain look through its tables.

use core::ptr;

use super::Place;
use super::layout::{ArenaDesc, Bank, Segment};
use super::raw::{Local, Plain, unique};
use crate::addr::{FrameRange, Mfn};
use crate::error::MapError;
use crate::heap::tests::{FIRST, Machine, frames, from, memory_of};
use crate::memory::{Contradiction, Memory};
use crate::node::NodeId;
use crate::platform::CpuId;
use crate::pools::XenHeap;
use crate::state::PageState;

/// Pieces on three nodes with holes, one of which begins and ends within a chunk; node 7 in two zones.
const RAM: [(u64, u64, u32); 5] =
    [(0x200, 0x37f, 7), (0x381, 0x3c0, 2), (0x3c0, 0x500, 7), (0x610, 0x80f, 4), (0x810, 0xa00, 7)];

fn memory() -> Memory<Machine> {
    memory_of(&RAM, 3, |_| ())
}

fn same<T>(one: Option<&T>, other: Option<&T>) -> bool {
    one.map(ptr::from_ref) == other.map(ptr::from_ref)
}

#[test]
fn every_frame_is_found_in_its_segment_and_its_words() {
    let memory = memory();
    let directory = memory.directory().unwrap();
    let segments = directory.segments();
    assert!(segments.len() >= 7, "zones end at 0x400 and at 0x800");
    for frame in 0..0xb00 {
        let located = directory.locate(frame);
        let there = segments.iter().find(|s| s.start <= frame && frame < s.end);
        assert!(same(located, there), "{frame:#x}");
        let window = frame >> directory.header().window_shift << directory.header().window_shift;
        let first = segments.iter().find(|s| s.end > window);
        let first = first.filter(|s| s.start <= frame && frame < s.end);
        assert!(same(directory.locate_first(frame), first), "{frame:#x}");
        let ram = RAM.iter().find(|(start, end, _)| *start <= frame && frame < *end);
        assert_eq!(located.is_some(), ram.is_some(), "{frame:#x}");
        let Some(segment) = located else {
            assert!(directory.words(frame, frame + 1).is_none());
            continue;
        };
        assert!(directory.words(frame, segment.end).is_some());
        assert!(directory.words(frame, segment.end + 1).is_none());
        let bank = &directory.banks()[segment.bank as usize];
        let node = directory.nodes()[bank.node as usize].id;
        assert_eq!(Some(node), ram.map(|(_, _, node)| *node));
        let (chunk, bit) = segment.chunk_of(frame);
        assert_eq!(
            directory.chunk_base(bank, chunk).map(|base| base + u64::from(bit)),
            Some(frame)
        );
        assert!(same(directory.segment_of_chunk(bank, chunk), Some(segment)));
        let place = segment.place_of(frame);
        assert_eq!(place, Place::new(segment.bank, chunk, bit / 64));
        assert_eq!(directory.first_of(bank, place), Some(frame / 64 * 64));
        let block = directory.block(bank, chunk, bit, 3).unwrap();
        assert_eq!((block.start().get(), block.frames()), (frame, 8));
        let arena = directory.arena(bank.arena).unwrap();
        let (at, word) = (chunk as usize, bit as usize / 64);
        let words = directory.words_in(segment, frame).unwrap();
        assert!(ptr::eq(words.entry, &arena.entries[at]));
        let whole = bit == 0 && frame + 512 <= segment.end;
        let found = directory.whole_chunk(segment, frame);
        assert_eq!(found.map(|(_, number)| number), whole.then_some(chunk));
        assert!(same(found.map(|(entry, _)| entry), whole.then_some(words.entry)));
        assert!(ptr::eq(words.free, &arena.free[at].0[word]));
        assert!(ptr::eq(words.initialised, &arena.marks[at].initialised[word]));
        assert!(ptr::eq(words.dirty, &arena.marks[at].dirty[word]));
        assert!(directory.words_in(segment, segment.start - 1).is_none());
        assert!(directory.whole_chunk(segment, (segment.start - 1) & !511).is_none());
        assert!(directory.words_in(segment, segment.end).is_none());
    }
}

#[test]
fn a_bank_has_its_own_chunks_and_no_others() {
    let memory = memory();
    let directory = memory.directory().unwrap();
    for bank in directory.banks() {
        let arena = directory.arena(bank.arena).unwrap();
        for chunk in 0..arena.entries.len() as u32 + 2 {
            let ours = (bank.first_chunk..bank.end_chunk).contains(&chunk);
            let entry = arena.entries.get(chunk as usize).filter(|_| ours);
            assert!(same(directory.entry(bank, chunk), entry));
            for word in 0..8 {
                let plane = arena.free.get(chunk as usize).filter(|_| ours);
                let free = plane.map(|plane| &plane.0[word as usize]);
                let both = directory.at_place(bank, Place::new(0, chunk, word));
                assert!(same(both.map(|(word, _)| word), free));
                assert!(same(both.map(|(_, entry)| entry), entry));
            }
        }
        let mut listed = directory.segments_of(bank).iter().map(|index| *index as usize);
        let segments = directory.segments();
        assert!(
            listed.all(|index| ptr::eq(&directory.banks()[segments[index].bank as usize], bank))
        );
        assert_eq!(directory.segments_of(bank).len(), bank.segments as usize);
    }
}

#[test]
fn nodes_and_slots_are_found_by_their_numbers() {
    let memory = memory();
    let directory = memory.directory().unwrap();
    let ids: Vec<_> = directory.nodes().iter().map(|node| node.id).collect();
    assert_eq!(ids, [2, 4, 7]);
    for id in 0..10 {
        let index = ids.iter().position(|other| *other == id).map(|index| index as u32);
        assert_eq!(directory.node_index(NodeId(id)), index);
    }
    for (index, id) in (0..).zip(&ids) {
        let banks: Vec<_> = directory.banks_of(index).map(|(_, bank)| bank).collect();
        assert!(banks.iter().all(|bank| bank.node == index));
        assert!(banks.is_sorted_by_key(|bank| core::cmp::Reverse(bank.zone())), "highest first");
        let zones = if *id == 7 {
            3
        } else if *id == 4 {
            2
        } else {
            1
        };
        assert_eq!(banks.len(), zones, "node {id}");
        let nearest = directory.nearest(index);
        assert_eq!((nearest.len(), nearest[0]), (3, index));
    }
    assert_eq!(directory.banks().len(), 6, "one for each node and zone");
    assert_eq!((directory.banks_of(3).count(), directory.nearest(3).len()), (0, 0));
    let slots = directory.slots();
    assert_eq!(slots.len(), 3);
    for cpu in 0..8 {
        let own = slots.get(cpu as usize);
        assert!(same(directory.own_slot(CpuId(cpu)), own));
        assert!(same(directory.slot(CpuId(cpu)), slots.get(cpu as usize % 3)));
    }
    assert_eq!(memory.range_at(Mfn::new(0x381)).2, Some(NodeId(2)));
}

/// Metadata of memory that is not mapped comes out of the heap in whole words, and all of it is there.
#[test]
fn metadata_lies_in_frames_that_were_taken_for_it() {
    let limit = Mfn::new(0x700);
    let memory = memory_of(&[(0x200, 0x700, 0)], 1, |memory| {
        memory.set_xen_heap(XenHeap::Limited { limit }).unwrap();
    });
    let before = memory.statistics().metadata;
    // SAFETY: the rest of the leaked memory.
    #[allow(unsafe_code)]
    unsafe { memory.add_ram(frames(0x700, 0xa00), NodeId(0)) }.unwrap();
    let taken = memory.statistics().metadata - before;
    assert!(taken >= 128 && taken % 64 == 0, "the directory's and the arena's: {taken}");
    let directory = memory.directory().unwrap();
    assert_eq!(directory.arenas().len(), 2);
    for arena in directory.arenas() {
        let (start, bytes) = (arena.address(), ArenaDesc::bytes(arena.chunks(), true));
        assert!(arena.chunks() > 1 && bytes > 24 << 10);
        for frame in FrameRange::around_bytes(start, start + bytes).iter() {
            assert_eq!(memory.state(frame), PageState::Metadata, "{frame}");
        }
    }
    memory.validate().unwrap();
}

/// A node of which the arena would take a large part has it behind the directory, on another node.
#[test]
fn a_small_node_keeps_its_memory() {
    let ram = [(0x200, 0x400, 0), (0x400, 0x600, 1), (0x600, 0xa00, 2)];
    let memory = memory_of(&ram, 1, |_| ());
    let metadata = |node| memory.node_statistics(NodeId(node)).metadata;
    assert!(metadata(0) > 0 && metadata(2) > 0);
    assert_eq!(metadata(1), 0, "one chunk, and its records");
}

/// What has no number is refused before anything is carved for it.
#[test]
fn a_node_has_as_many_chunks_as_have_a_number() {
    let most = FIRST + 512 * u64::from(u32::MAX);
    for (behind, is_too_large) in [(most, false), (most + 1, true)] {
        let memory = Memory::new(from(FIRST, 0));
        // No metadata lies above.
        memory.set_xen_heap(XenHeap::Limited { limit: Mfn::new(0xa00) }).unwrap();
        // SAFETY: nobody touches it, as there is no room for metadata.
        #[allow(unsafe_code)]
        unsafe { memory.add_ram(frames(FIRST, behind), NodeId(0)) }.unwrap();
        let refused = memory.start(1).unwrap_err();
        assert_eq!(matches!(refused, MapError::BadRange { .. }), is_too_large, "{refused}");
        assert_eq!(matches!(refused, MapError::NoMetadata { .. }), !is_too_large, "{refused}");
    }
}

/// Spoils a table of the first directory, between two calls.
fn spoil<T: Plain>(memory: &Memory<Machine>, name: Local, change: impl Fn(&mut [T])) {
    let slots = memory.directory().unwrap().header().slots;
    let header = slots.table.address - slots.distance;
    // SAFETY: 1. It is this directory's, whose slots lie in its own block. 2. One thread, and no call.
    #[allow(unsafe_code)]
    change(unsafe { unique(memory.platform(), name.at(header)) });
}

/// Segments that are not where their bank is, or that hold nothing.
#[test]
fn segments_that_are_out_of_place_are_found() {
    let memory = || {
        let memory = memory_of(&[(0x200, 0x700, 0), (0x780, 0xa00, 0)], 1, |_| ());
        memory.validate().unwrap();
        let header = *memory.directory().unwrap().header();
        (memory, header)
    };
    let banks = |change: &dyn Fn(&mut Bank)| {
        let (memory, header) = memory();
        spoil(&memory, header.banks, |banks| change(&mut banks[0]));
        memory.validate()
    };
    let segments = |change: &dyn Fn(&mut Segment)| {
        let (memory, header) = memory();
        spoil(&memory, header.segments, |segments| change(&mut segments[2]));
        memory.validate()
    };
    let wrong = |frame| Err(Contradiction::Segments { frame: Mfn::new(frame) });
    assert_eq!(banks(&|bank| bank.zone += 1), wrong(0x200));
    assert_eq!(banks(&|bank| bank.end -= 1), wrong(0x200));
    assert_eq!(segments(&|segment| segment.start = segment.end), wrong(0x800));
}
