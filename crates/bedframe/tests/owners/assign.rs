//! Frames become a domain's, from every state in which they can.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    AllocError, DomainError, DomainId, FrameRange, FreeRefusal, Memory, Mfn, NodeId, OwnerError,
    OwnerRefusal, PageState, Pool, Request, Withdrawal, XenHeap,
};

use crate::common::{self, Heap, Machine, interleave, mfn, range};
use crate::world::{A, B, COUNTED, EXTRA, ONE, World, request, single};

fn refused(frame: Mfn, why: OwnerRefusal) -> Result<(), OwnerError> {
    Err(OwnerError::Frame { frame, why, committed: 0 })
}

/// Every order that there is, given and given back: the record of each frame says whose it is, and
/// `free` is not the call for it.
#[test]
fn frames_of_all_orders_are_allocated_for_a_domain() {
    let world = World::new();
    let free = world.memory.statistics().free;
    let mut have = 0;
    let mut blocks = Vec::new();
    for order in 0..=11 {
        let block = world.give(A, order);
        have += block.frames();
        assert_eq!(world.counts(A).accounted, have);
        assert!(block.iter().all(|frame| world.owner(frame) == Some(A)));
        let error = world.memory.free(block).unwrap_err();
        assert_eq!((error.frame, error.why), (block.start(), FreeRefusal::Owned));
        blocks.push(block);
        if order % 4 == 0 {
            world.check();
        }
    }
    world.check();
    assert_eq!(world.memory.statistics().free, free - have);
    for block in blocks {
        let back = world.memory.free_owned(A, block).unwrap();
        assert_eq!((back.gone, back.kept), (block.frames(), 0));
        assert!(block.iter().all(|frame| world.memory.state(frame) == PageState::Free));
    }
    assert_eq!(world.counts(A).accounted, 0);
    assert_eq!(world.memory.statistics().free, free);
    assert_eq!(world.machine.misuse_count(), 12, "one for each free that was refused");
    world.check();
}

/// An initrd becomes guest memory with its contents; its neighbours stay what they were.
#[test]
fn boot_frames_are_adopted() {
    let world = World::early();
    let initrd = world.memory.alloc(&Request::exactly(range(2700, 3900))).unwrap();
    let text = range(2690, 2700);
    world.memory.reserve(text).unwrap();
    let module = range(3900, 3910);
    world.memory.reserve_releasable(module).unwrap();
    world.memory.start(1).unwrap();
    world.memory.create_domain(A, 10_000).unwrap();
    let word = || world.machine.memory().word(mfn(3333), 7).unwrap();
    word().store(0x1217, Relaxed);
    let before = world.check();
    let reserved = OwnerRefusal::State(PageState::Reserved);
    assert_eq!(world.memory.assign(A, range(2699, 2701), COUNTED), refused(mfn(2699), reserved));
    assert_eq!(world.memory.assign(A, range(3000, 3901), COUNTED), refused(mfn(3900), reserved));
    world.check().assert_same_as(&before, "with frames that cannot be owned");

    world.memory.assign(A, range(2750, 3850), COUNTED).unwrap();
    assert_eq!(word().load(Relaxed), 0x1217, "contents are kept");
    for frame in range(2690, 3910).iter() {
        let state = match frame.get() {
            2690..2700 | 3900.. => PageState::Reserved,
            2750..3850 => PageState::InUse,
            _ => PageState::Uninitialised,
        };
        assert_eq!(world.memory.state(frame), state, "{frame}");
        assert_eq!(world.owner(frame), (state == PageState::InUse).then_some(A), "{frame}");
    }
    world.check();
    // What is left of it is freed as ever, and what is owned by its owner.
    let error = world.memory.free(initrd).unwrap_err();
    assert_eq!((error.frame, error.why), (mfn(2750), FreeRefusal::Owned));
    world.memory.free(range(2700, 2750)).unwrap();
    world.memory.free(range(3850, 3900)).unwrap();
    world.memory.free_owned(A, range(2750, 3850)).unwrap();
    world.check();
}

/// A chunk of boot-allocated frames but for its last, which cannot be owned: nothing of it is touched.
#[test]
fn a_chunk_that_is_not_all_there_is_left_as_it_is() {
    let common::World { memory, .. } = common::World::recorded(XenHeap::Unified, &[(0, 2048, 0)]);
    memory.alloc(&Request::exactly(range(512, 1023))).unwrap();
    memory.reserve(range(1023, 1024)).unwrap();
    memory.start(1).unwrap();
    memory.create_domain(A, 1000).unwrap();
    let counts = memory.domain(A);
    let reserved = OwnerRefusal::State(PageState::Reserved);
    assert_eq!(memory.assign(A, range(512, 1024), COUNTED), refused(mfn(1023), reserved));
    assert_eq!(memory.domain(A), counts);
    for frame in range(512, 1023).iter() {
        assert_eq!(memory.state(frame), PageState::Uninitialised, "{frame}");
    }
    memory.validate().unwrap();
}

/// What has been handed out to nobody in particular is assigned: in parts, in unions, over the edges of
/// chunks.
#[test]
fn frames_in_use_are_assigned() {
    let world = World::new();
    // The last begins a zone.
    for part in [range(2800, 2803), range(2803, 4096), range(4096, 4500)] {
        world.memory.alloc(&Request::exactly(part)).unwrap();
    }
    world.memory.assign(A, range(2801, 4100), EXTRA).unwrap();
    assert_eq!((world.counts(A).accounted, world.counts(A).extra), (0, 1299));
    world.check();
    let owned = OwnerRefusal::Owned { owner: A };
    assert_eq!(world.memory.assign(B, range(2800, 2802), COUNTED), refused(mfn(2801), owned));
    assert_eq!(world.memory.assign(A, range(2800, 2802), COUNTED), refused(mfn(2801), owned));
    assert_eq!(world.owner(mfn(2800)), None, "nothing of the range is");
    world.memory.free_owned(A, range(2900, 4100)).unwrap();
    let free = OwnerRefusal::State(PageState::Free);
    assert_eq!(world.memory.assign(B, range(4099, 4500), COUNTED), refused(mfn(4099), free));
    world.memory.assign(B, range(4100, 4500), COUNTED).unwrap();
    world.check();
}

/// A chunk that was handed out as a whole is one step and one entry in the list, until one of its frames
/// is treated by itself.
#[test]
fn a_chunk_is_assigned_as_a_whole() {
    let world = World::new();
    let block = world.memory.alloc(&request(9)).unwrap();
    world.memory.assign(A, block, COUNTED).unwrap();
    assert_eq!(world.list(A).len(), 1);
    assert_eq!(world.list(A)[0].frames, block);
    // A reference is counted for its frame alone, and needs no change of lists.
    let frame = mfn(block.start().get() + 77);
    world.memory.reference_owned(A, frame).unwrap();
    assert_eq!((world.list(A).len(), world.memory.references(frame)), (1, 1));
    assert_eq!(world.memory.references(block.start()), 0);
    world.check();
    let back = world.memory.free_owned(A, single(block.start())).unwrap();
    assert_eq!((back.gone, world.list(A).len()), (1, 511));
    assert_eq!(world.memory.state(block.start()), PageState::Free);
    world.check();
    let rest = FrameRange::new(mfn(block.start().get() + 1), block.end()).unwrap();
    let back = world.memory.free_owned(A, rest).unwrap();
    assert_eq!((back.gone, back.kept), (510, 1));
    world.check();
    world.memory.unreference(frame).unwrap();
    assert_eq!(world.memory.free_memory(None, None).blocks[9], before_blocks(&World::new(), 9));
    world.check();
}

fn before_blocks(world: &World, order: usize) -> u64 {
    world.memory.free_memory(None, None).blocks[order]
}

/// Frames that are about to be withdrawn are refused; what a domain has is withdrawn when it gives it
/// back.
#[test]
fn offlining_frames_are_refused() {
    let world = World::new();
    let block = world.memory.alloc(&request(3)).unwrap();
    let frame = mfn(block.start().get() + 5);
    assert_eq!(world.memory.offline(frame), Ok(Withdrawal::Pending));
    let before = world.check();
    let why = OwnerRefusal::State(PageState::Offlining);
    assert_eq!(world.memory.assign(A, block, COUNTED), refused(frame, why));
    world.check().assert_same_as(&before, "offlining");
    world.memory.online(frame).unwrap();
    world.memory.assign(A, block, COUNTED).unwrap();
    assert_eq!(world.memory.offline(frame), Ok(Withdrawal::Pending));
    assert_eq!(world.owner(frame), Some(A), "who has it keeps it");
    world.memory.reference_owned(A, frame).unwrap();
    world.memory.free_owned(A, block).unwrap();
    assert_eq!(world.memory.state(frame), PageState::Offlining);
    world.memory.unreference(frame).unwrap();
    assert_eq!((world.memory.state(frame), world.owner(frame)), (PageState::Offlined, None));
    world.check();
    world.memory.online(frame).unwrap();
    assert_eq!(world.memory.state(frame), PageState::Free);
    world.check();
    // The same in a chunk that is owned as a whole.
    let chunk = world.give(A, 9);
    let frame = mfn(chunk.start().get() + 300);
    assert_eq!(world.memory.mark_broken(frame), Ok(Withdrawal::Pending));
    world.check();
    world.memory.free_owned(A, chunk).unwrap();
    assert_eq!((world.memory.state(frame), world.owner(frame)), (PageState::Broken, None));
    assert_eq!(world.counts(A).accounted, 0);
    world.check();
}

/// Frames that anybody refers to are nobody's to give.
#[test]
fn referenced_frames_are_refused() {
    let world = World::new();
    let block = world.memory.alloc(&request(4)).unwrap();
    world.memory.reference(block.start()).unwrap();
    let before = world.check();
    let why = OwnerRefusal::Referenced { references: 1 };
    assert_eq!(world.memory.assign(A, block, COUNTED), refused(block.start(), why));
    world.check().assert_same_as(&before, "referenced");
    world.memory.unreference(block.start()).unwrap();
    world.memory.assign(A, block, COUNTED).unwrap();
    world.check();
}

/// Frames of the Xen heap are lent: they are counted by themselves, and never become free.
#[test]
fn frames_are_lent() {
    let world = World::new();
    let block = world.memory.alloc(&Request::frames(600).pool(Pool::Xen)).unwrap();
    world.memory.set_quota(A, 0).unwrap();
    world.memory.lend(A, block).unwrap();
    assert_eq!((world.counts(A).accounted, world.counts(A).lent), (0, 600));
    assert!(world.memory.owner(block.start()).unwrap().lent);
    world.check();
    let first = single(block.start());
    assert_eq!(
        world.memory.free_owned(A, first).map(|_| ()),
        refused(first.start(), OwnerRefusal::Lent)
    );
    assert_eq!(world.memory.steal(A, first), refused(first.start(), OwnerRefusal::Lent));
    world.memory.reference_owned(A, first.start()).unwrap();
    let why = OwnerRefusal::Referenced { references: 1 };
    assert_eq!(world.memory.take_back(A, block), refused(first.start(), why));
    world.memory.unreference(first.start()).unwrap();
    world.memory.take_back(A, block).unwrap();
    assert_eq!(world.counts(A).lent, 0);
    world.memory.set_quota(A, 1).unwrap();
    world.memory.assign(A, first, COUNTED).unwrap();
    assert_eq!(world.memory.take_back(A, first), refused(first.start(), OwnerRefusal::NotLent));
    world.memory.steal(A, first).unwrap();
    world.memory.free(block).unwrap();
    world.check();
}

/// What is not of the Xen heap is not lent, and is assigned as ever.
#[test]
fn only_frames_of_the_xen_heap_are_lent() {
    for heap in [Heap::Limited, Heap::Separate] {
        let heap = common::World::small_heap(heap);
        let common::World { memory, .. } = common::World::recorded(heap, common::World::SMALL);
        memory.start(1).unwrap();
        memory.create_domain(A, 100).unwrap();
        let pool = Request::frames(4).pool(Pool::Xen);
        let (xen, other) =
            (memory.alloc(&pool), memory.alloc(&Request::exactly(range(2000, 2004))));
        let (xen, other) = (xen.unwrap(), other.unwrap());
        let why = OwnerRefusal::NotXenHeap;
        assert_eq!(memory.lend(A, other), refused(other.start(), why));
        assert_eq!(memory.assign(A, other, COUNTED), Ok(()));
        assert_eq!(memory.lend(A, xen), Ok(()));
        let counts = memory.domain(A).unwrap();
        assert_eq!((counts.accounted, counts.lent), (4, 4));
        memory.validate().unwrap();
    }
}

/// Between check and step another call refers to a frame, or is about to withdraw it, or frees it: it does not become
/// a domain's.
#[test]
fn frames_that_change_meanwhile_are_refused() {
    type Change = fn(&Memory<Machine>, Mfn) -> bool;
    let changes: [(Change, OwnerRefusal); 3] = [
        (|memory, it| memory.reference(it).is_ok(), OwnerRefusal::Referenced { references: 1 }),
        (|memory, it| memory.offline(it).is_ok(), OwnerRefusal::State(PageState::Offlining)),
        (|memory, it| memory.free(single(it)).is_ok(), OwnerRefusal::State(PageState::Free)),
    ];
    for (change, why) in changes {
        for turn in 1.. {
            let world = World::small();
            let block = world.memory.alloc(&request(3)).unwrap();
            let frame = mfn(block.start().get() + 5);
            let (memory, changed) = (world.memory.clone(), Rc::new(Cell::new(false)));
            let done = changed.clone();
            let other = move || done.set(memory.owner(frame).is_none() && change(&memory, frame));
            let (given, came) = interleave(turn, other, || world.memory.assign(A, block, COUNTED));
            assert_eq!(given, if changed.get() { refused(frame, why) } else { Ok(()) });
            assert_eq!(world.counts(A).accounted, if changed.get() { 0 } else { 8 });
            world.memory.validate().unwrap();
            if !came {
                break;
            }
        }
    }
}

/// As many frames as addresses can name are asked for in vain like fewer that there are not, and more of them, too.
#[test]
fn more_frames_than_there_can_be_are_refused() {
    let world = World::small();
    let (before, node) = (world.counts(A), NodeId(9));
    let all = FrameRange::ALL.frames();
    for frames in [1 << 20, all, all + 1, u64::MAX] {
        let found = world.memory.alloc_for(A, &Request::frames(frames), EXTRA);
        let impossible = AllocError::Impossible { frames, within: FrameRange::ALL };
        assert_eq!(found, Err(OwnerError::Alloc(impossible)));
    }
    let nowhere = world.memory.alloc_for(A, &Request::frames(all).on(node), EXTRA);
    assert_eq!(nowhere, Err(OwnerError::Alloc(AllocError::UnknownNode { node })));
    assert_eq!(world.counts(A), before);
    world.memory.validate().unwrap();
}

/// An empty range is nobody's.
#[test]
fn no_frames_are_refused() {
    let world = World::new();
    let range = FrameRange::EMPTY;
    let before = world.check();
    let none = Err(OwnerError::NoFrames { range });
    assert_eq!(world.memory.assign(A, range, COUNTED), none);
    assert_eq!(world.memory.lend(A, range), none);
    assert_eq!(world.memory.steal(A, range), none);
    assert_eq!(world.memory.free_owned(A, range).map(|_| ()), none);
    let domain = DomainId(9);
    let unknown = Err(DomainError::Unknown { domain }.into());
    assert_eq!(world.memory.assign(domain, range, COUNTED), unknown);
    assert!(world.memory.alloc_for(A, &Request::frames(0), COUNTED).is_err());
    assert!(world.memory.alloc_for(A, &ONE.align(3), COUNTED).is_err());
    world.check().assert_same_as(&before, "no frames");
}
