//! Blocks around a withdrawn frame.

use std::collections::BTreeSet;

use bedframe::{FrameRange, Order, PageState, Request};

use super::{drain, frame, frames, machine};

/// Order 9, 1 GiB and so on: blocks that are free, by order.
fn blocks(memory: &bedframe::Memory<bedframe_hosted::HostedPlatform>) -> Vec<u64> {
    memory.free_memory(None, None).blocks.to_vec()
}

/// X 5cb7ff13ee: the tail behind an offlined page was not made into the largest blocks again. X
/// 71c6a62317: the buddy was misaligned, and a frame allocated twice. For every frame of a block: what is
/// left is one block of each order below, and all of it can be had.
#[test]
fn what_is_left_is_as_large_as_it_can_be() {
    for order in 0..=9u32 {
        for index in [0, 1, (1 << order) / 2, (1u64 << order) - 1] {
            if index >= 1 << order {
                continue;
            }
            let memory = machine();
            let block = frames(2048, 1 << order);
            let lone = memory.alloc(&Request::exactly(frames(2048, 512))).unwrap();
            memory.free(block).unwrap();
            let before = blocks(&memory);
            memory.offline(frame(2048 + index)).unwrap();
            let after = blocks(&memory);
            for (at, count) in after.iter().enumerate() {
                let more = u64::from((at as u32) < order);
                let less = u64::from(at as u32 == order);
                assert_eq!(*count + less, before[at] + more, "order {order}, frame {index}: {at}");
            }
            let mut seen = BTreeSet::new();
            for at in (0..order).rev() {
                let inside = Request::order(Order::new(at as u8).unwrap()).inside(block);
                let found = memory.alloc(&inside).unwrap();
                assert!(found.iter().all(|frame| seen.insert(frame)), "handed out twice");
            }
            assert_eq!(seen.len() as u64, (1 << order) - 1);
            for frame in seen {
                memory.free(FrameRange::single(frame)).unwrap();
            }
            let rest = FrameRange::new(block.end(), lone.end()).unwrap();
            memory.free(rest).unwrap();
            memory.validate().unwrap();
        }
    }
}

/// X 14c05f26f8: the head of a block kept its order, so that it came back as more than a frame. A frame
/// that comes back is one frame, and the block around it is whole again.
#[test]
fn a_frame_that_comes_back_is_one_frame() {
    let memory = machine();
    let before = blocks(&memory);
    for index in [0, 1, 255, 511] {
        memory.offline(frame(2048 + index)).unwrap();
        let free = memory.statistics().free;
        memory.online(frame(2048 + index)).unwrap();
        assert_eq!(memory.statistics().free, free + 1);
        assert_eq!(blocks(&memory), before);
        memory.validate().unwrap();
    }
}

/// Two MiB, frame by frame, while they are free, and back.
#[test]
fn a_chunk_frame_by_frame() {
    let memory = machine();
    let before = (memory.statistics(), blocks(&memory));
    for index in 0..512 {
        memory.offline(frame(2048 + index)).unwrap();
    }
    assert_eq!(memory.statistics().offlined, 512);
    memory.validate().unwrap();
    let had = drain(&memory);
    assert!(had.iter().all(|frame| !(2048..2560).contains(&frame.get())));
    for index in (0..512).rev() {
        memory.online(frame(2048 + index)).unwrap();
    }
    memory.validate().unwrap();
    assert_eq!((memory.statistics(), blocks(&memory)), before);
}

/// A run of chunks in use, one frame of which is withdrawn: all others come back whole.
#[test]
fn a_run_of_chunks_loses_one_frame() {
    let memory = machine();
    let before = blocks(&memory);
    let block = memory.alloc(&Request::order(Order::new(10).unwrap())).unwrap();
    let at = block.start().get() + 700;
    memory.offline(frame(at)).unwrap();
    memory.free(block).unwrap();
    assert_eq!(memory.state(frame(at)), PageState::Offlined);
    memory.validate().unwrap();
    memory.online(frame(at)).unwrap();
    memory.validate().unwrap();
    assert_eq!(blocks(&memory), before);
}
