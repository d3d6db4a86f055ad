//! Whole chunks by themselves: which is taken, and who is told of those that come back.

use super::asked::{
    Asked, LAST, MANY, WHOLE, change, chunk, grab, interrupted, machine, place, segment, slot,
};
use super::*;
use crate::index::{Contents, GROUP, Place, WORDS};
use crate::order::Order;

/// A chunk that ends with its segment is freed as others are, and the summary is told where it has forgotten.
#[test]
fn the_summary_is_told_of_a_whole_chunk() {
    let memory = machine();
    let directory = memory.directory().unwrap();
    grab(&memory, WHOLE, WHOLE + 512);
    assert!(put_whole_quickly(directory, segment(&memory, WHOLE), WHOLE).is_some());
    let there = segment(&memory, MANY);
    let bank = &directory.banks()[there.bank as usize];
    let whole = directory.whole_of(bank);
    let heap = memory.heap().unwrap();
    for chunk in [0, 1, 64, 65] {
        let group = u64::from(chunk) / GROUP;
        for bit in [0, 1] {
            whole.set(bit);
        }
        assert!(end_put_whole_quickly(directory, slot(&memory), there, chunk));
        whole.clear(&heap.cpu, group, || false);
        assert!(!end_put_whole_quickly(directory, slot(&memory), there, chunk), "{chunk}");
        end_put_whole(directory, slot(&memory), there, chunk);
        assert!(whole.is_set(group));
    }
}

/// A search goes on behind the chunk that this CPU took whole last, if that was in the same bank; a CPU's own way begins
/// elsewhere.
#[test]
fn a_search_for_a_chunk_goes_on_where_the_last_one_ended() {
    let memory = machine();
    let there = || memory.alloc(&chunk().on(NodeId(5))).unwrap().start().get();
    assert_eq!(there(), MANY, "the first CPU begins at the beginning");
    slot(&memory).set_whole(place(&memory, MANY + 7 * 512));
    assert_eq!(there(), MANY + 7 * 512);
    let elsewhere =
        Place::new(place(&memory, LAST).bank, place(&memory, MANY + 9 * 512).chunk(), 0);
    slot(&memory).set_whole(elsewhere);
    assert_eq!(there(), MANY + 512);
}

/// All of a chunk is put back where the summary has forgotten its group.
#[test]
fn a_chunk_that_is_put_back_by_the_general_way_is_told_of() {
    let memory = machine();
    let heap = memory.heap().unwrap();
    for start in [MANY, MANY + 64 * 512] {
        grab(&memory, start, start + 512);
        let piece = heap.piece(start, start + 512).unwrap();
        let arena = heap.arena_of(&piece).unwrap();
        let group = u64::from(piece.chunk) / GROUP;
        arena.whole.clear(&heap.cpu, group, || false);
        let put =
            arena.put_span(&heap.cpu, piece.chunk, piece.span, &[0; WORDS], Contents::AsTaken);
        assert_eq!((put, arena.whole.is_set(group)), (Ok(0), true));
    }
    memory.validate().unwrap();
}

/// A chunk with which another CPU is Busy may be free, and is waited for. If it is not, then what was taken before it of a
/// run is free again, and the search goes on behind it.
#[test]
fn a_search_goes_on_behind_a_chunk_that_turns_out_to_be_in_use() {
    let memory: &'static Memory<Asked> = Box::leak(Box::new(machine()));
    let at = |chunk: u64| MANY + chunk * 512;
    for (order, busy, found) in [(9, 0, 1), (10, 0, 2), (10, 1, 2), (11, 2, 4)] {
        let state = |state| change(memory, at(busy), |entry| entry.with_state(state));
        state(ChunkState::Busy);
        let other =
            move || change(memory, at(busy), |entry| entry.with_state(ChunkState::WholeUsed));
        let request = Request::order(Order::new(order).unwrap()).on(NodeId(5));
        let (taken, reached) = interrupted(memory, 0, other, || memory.alloc(&request).unwrap());
        assert_eq!((taken.start().get(), reached), (at(found), true), "order {order}");
        memory.free(frames(at(busy), at(busy + 1))).unwrap();
        memory.free(taken).unwrap();
        assert_eq!(memory.alloc(&request).map(|frames| frames.start().get()), Ok(MANY));
        memory.free(frames(MANY, MANY + taken.frames())).unwrap();
        memory.validate().unwrap();
    }
}
