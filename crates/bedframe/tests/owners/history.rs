//! Defects of Xen's history, each by its commit.

use bedframe::{
    DomainError, MapError, Memory, Mfn, NodeId, Nodes, OwnerError, OwnerRefusal, PageState, Pool,
    Request,
};
use bedframe_hosted::{HostedMemory, HostedPlatform};

use crate::common::{Machine, mfn, range};
use crate::world::{A, B, COUNTED, EXTRA, ONE, World, request, single};

/// 143501861d, XSA-385: accounted frames and those asked for overflowed 32 bits, and the sum was below
/// the quota.
#[test]
fn quotas_near_the_maximum_do_not_overflow() {
    let world = World::new();
    let five = world.memory.alloc(&Request::frames(5)).unwrap();
    for quota in [u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX - 1, u64::MAX] {
        world.memory.set_quota(A, quota).unwrap();
        world.memory.assign(A, five, COUNTED).unwrap();
        let before = world.check();
        for asked in [quota - 4, quota, u64::MAX - 4, u64::MAX] {
            let (domain, accounted) = (A, 5);
            let over = DomainError::OverQuota { domain, quota, accounted, asked };
            let refused = world.memory.alloc_for(A, &Request::frames(asked), COUNTED);
            assert_eq!(refused, Err(over.into()), "{asked} more than 5 of {quota}");
        }
        // What fits the quota is refused because there is not so much memory.
        let fits = world.memory.alloc_for(A, &Request::frames(quota - 5), COUNTED);
        assert!(matches!(fits, Err(OwnerError::Alloc(_))), "{fits:?}");
        let extra = world.memory.alloc_for(A, &Request::frames(u64::MAX), EXTRA);
        assert!(matches!(extra, Err(OwnerError::Alloc(_))), "{extra:?}");
        world.check().assert_same_as(&before, "refused");
        world.memory.steal(A, five).unwrap();
    }
}

/// c793d13944: frames that were allocated unaccounted were accounted when they were freed.
#[test]
fn unaccounted_frames_are_not_accounted_when_freed() {
    let world = World::new();
    let before = world.check();
    let mut blocks = Vec::new();
    for order in [0, 3, 9, 0, 9] {
        for accounting in [COUNTED, EXTRA] {
            blocks.push(world.memory.alloc_for(A, &request(order), accounting).unwrap());
        }
    }
    let counts = world.counts(A);
    assert_eq!((counts.accounted, counts.extra), (1034, 1034));
    // One by one, in blocks, and through a reference.
    for block in blocks {
        let (had, ownership) = (world.counts(A), world.memory.owner(block.start()).unwrap());
        world.memory.reference_owned(A, block.start()).unwrap();
        world.memory.free_owned(A, block).unwrap();
        world.memory.unreference(block.start()).unwrap();
        let has = world.counts(A);
        let (accounted, extra) = (had.accounted - has.accounted, had.extra - has.extra);
        let counted = ownership.accounting == COUNTED;
        let frames = block.frames();
        assert_eq!((accounted, extra), if counted { (frames, 0) } else { (0, frames) });
    }
    world.check().assert_same_as(&before, "a round trip");
}

/// 3d4868a481, XSA-287: stealing a frame left references that no owner was answerable for.
#[test]
fn no_owner_leaves_references_behind() {
    let world = World::new();
    let xen = world.memory.alloc(&Request::frames(4).pool(Pool::Xen)).unwrap();
    world.memory.lend(A, xen).unwrap();
    let block = world.give(A, 9);
    let (first, last) = (block.start(), mfn(block.end().get() - 1));
    for frame in [first, last, xen.start()] {
        world.memory.reference_owned(A, frame).unwrap();
    }
    // Audited behind each way in which a frame can lose its owner.
    let audit = || {
        world.check();
        for frame in block.iter().chain(xen.iter()) {
            let references = world.memory.references(frame);
            assert!(references == 0 || world.owner(frame).is_some(), "{frame} has {references}");
        }
    };
    for frame in [first, last] {
        let why = OwnerRefusal::Referenced { references: 1 };
        let error = OwnerError::Frame { frame, why, committed: 0 };
        assert_eq!(world.memory.steal(A, single(frame)), Err(error));
        audit();
    }
    assert!(world.memory.take_back(A, xen).is_err());
    audit();
    world.memory.free_owned(A, single(first)).unwrap();
    audit();
    world.memory.kill_domain(A).unwrap();
    while !world.memory.relinquish(A, 7).unwrap().done {
        audit();
    }
    assert_eq!(world.counts(A).frames(), 3);
    for frame in [first, last, xen.start()] {
        world.memory.unreference(frame).unwrap();
        audit();
    }
    world.memory.destroy_domain(A).unwrap();
    assert_eq!(world.memory.state(xen.start()), PageState::InUse, "it was only lent");
    world.memory.free(xen).unwrap();
    audit();
}

/// d4837a56da: a reference was dropped under the heap's lock, and the last one frees the frame, for
/// which the heap's lock is needed. Here the owner's lock comes first, then a chunk; and nothing asks
/// for either of them while it holds a chunk. A call that did would wait for itself, which the machine
/// notices: it counts how deep interrupts are masked, one for each lock.
#[test]
fn the_owners_lock_comes_before_a_chunk() {
    let world = World::new();
    let deepest = || world.machine.deepest_mask();
    let block = world.give(A, 9);
    let part = single(mfn(block.start().get() + 9));
    world.machine.forget_deepest_mask();
    world.memory.reference_owned(A, part.start()).unwrap();
    assert_eq!(deepest(), 1, "a chunk");
    world.memory.reference(part.start()).unwrap();
    world.memory.unreference(part.start()).unwrap();
    assert_eq!(deepest(), 1, "a chunk");
    world.memory.free_owned(A, block).unwrap();
    assert_eq!(deepest(), 2, "the owner's lock and a chunk");
    world.memory.unreference(part.start()).unwrap();
    assert_eq!(deepest(), 2, "the last reference: the same, in this order");
    let other = world.give(B, 3);
    world.memory.steal(B, other).unwrap();
    world.memory.assign(A, other, EXTRA).unwrap();
    world.memory.set_affinity(A, &[NodeId(0)]).unwrap();
    world.bury(A, 1);
    assert_eq!(deepest(), 2, "never more");
    world.check();
}

/// 2fece35303, XSA-231: a node's number beyond the arrays was believed.
#[test]
fn nodes_beyond_the_machine_are_refused() {
    let world = World::new();
    let before = world.check();
    for node in [3, 64, 255, 256, u32::MAX].map(NodeId) {
        let unknown = bedframe::AllocError::UnknownNode { node };
        let refused = world.memory.alloc_for(A, &ONE.on(node), COUNTED);
        assert_eq!(refused, Err(OwnerError::Alloc(unknown)));
        let set = [node];
        let refused = world.memory.alloc_for(A, &ONE.nodes(Nodes::OneOf(&set)), COUNTED);
        assert_eq!(refused, Err(OwnerError::Alloc(unknown)));
        let list = [NodeId(0), node];
        let refused = world.memory.set_affinity(A, &list);
        assert_eq!(refused, Err(DomainError::UnknownNode { node }));
    }
    world.check().assert_same_as(&before, "unknown nodes");
}

/// A machine whose node 0 has no memory, and whose node 1 begins above `start`.
fn without_node_zero(start: u64) -> Memory<Machine> {
    let hosted = HostedMemory::new(Mfn::new(start + 8192)).unwrap();
    let memory = Memory::new(Machine::new(HostedPlatform::new(hosted), 0)).with_records();
    // SAFETY: hosted memory that nobody else uses.
    unsafe {
        memory.add_ram(range(start, start + 4096), NodeId(1)).unwrap();
        memory.add_ram(range(start + 4096, start + 8192), NodeId(2)).unwrap();
    }
    memory
}

/// d0d6597d3d: the reserve's width was made of node 0, which had no memory: 9 bits, for no frame.
#[test]
fn the_reserve_is_of_the_lowest_node_that_has_memory() {
    let memory = without_node_zero(4096);
    assert_eq!(memory.dma_reserve(), 0, "not before the heap runs");
    memory.start(1).unwrap();
    // A quarter of node 1: frames 4096 to 5119, for which 13 bits are needed.
    assert_eq!(memory.dma_reserve(), 13 + 12);
    memory.create_domain(A, 10_000).unwrap();
    let frame = memory.alloc_for(A, &ONE, COUNTED).unwrap();
    assert!(memory.state(frame.start()) == PageState::InUse);
    memory.validate().unwrap();
    // What was set is not overridden.
    let memory = without_node_zero(4096);
    memory.set_dma_reserve(0).unwrap();
    memory.start(1).unwrap();
    assert_eq!(memory.dma_reserve(), 0);
    // On one node the highest zone comes first anyway.
    let memory = Memory::new(HostedPlatform::new(HostedMemory::new(mfn(4096)).unwrap()));
    // SAFETY: as above.
    unsafe { memory.add_ram(range(0, 4096), NodeId(0)) }.unwrap();
    memory.start(1).unwrap();
    assert_eq!(memory.dma_reserve(), 0);
}

/// 5ac2dddb17: without a reserve whoever spared it got nothing.
#[test]
fn sparing_no_reserve_succeeds() {
    let world = World::new();
    world.memory.set_dma_reserve(0).unwrap();
    let spare = ONE.spare_reserve();
    assert!(spare.spares_reserve());
    world.memory.alloc_for(A, &spare, COUNTED).unwrap();
    let frame = world.memory.alloc(&spare).unwrap();
    world.memory.free(frame).unwrap();
    // Widths that are no reserve are refused by name, and change nothing.
    for bits in [1, 9, 12, 64, u32::MAX] {
        assert_eq!(world.memory.set_dma_reserve(bits), Err(MapError::BadWidth { bits }));
        assert_eq!(world.memory.dma_reserve(), 0);
    }
    // Before the heap runs there is none either.
    let early = World::early();
    assert!(early.memory.alloc(&spare).is_ok());
    // If all memory is reserved there is nothing that spares it.
    world.memory.set_dma_reserve(63).unwrap();
    assert!(world.memory.alloc(&spare).is_err());
    world.memory.alloc_for(A, &ONE, COUNTED).unwrap();
    assert_eq!(world.counts(A).accounted, 2);
    world.check();
}
