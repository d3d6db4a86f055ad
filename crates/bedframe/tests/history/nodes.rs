//! Nodes without memory, nodes beyond a limit, and numbers that are no node's.

use bedframe::{
    AllocError, ClaimError, DomainError, MapError, Mfn, NodeId, Nodes, OwnerError, PageState, Pool,
    RangeKind, Request, Scope, StateCounts, XenHeap,
};
use bedframe_hosted::{HostedMemory, HostedPlatform, set_node};

use crate::common::{World, mfn, order, range};
use crate::{A, COUNTED, ONE};

/// X e4d7c89e34: RAM that ends exactly at the mapped limit: the last frame below it serves the Xen heap, by its
/// address, and the first above it does not.
///
/// Answer: the limit is the end of a half-open range. The edge of that range is a segment's edge, and nobody
/// compares with it again.
///
/// Also: `seed::xen_heap::each_heap_keeps_to_its_memory`
#[test]
fn ram_that_ends_at_the_mapped_limit() {
    let xen = |start, end| Request::exactly(range(start, end)).pool(Pool::Xen);
    for (end, above) in [(2048, false), (2049, true), (2100, true)] {
        let limited = XenHeap::Limited { limit: mfn(2048) };
        let world = World::new(limited, &[(64, end, 0)]);
        // Not where the index is to lie.
        world.take(range(2040, end));
        world.start();
        world.free(range(2040, end));
        let address = world.memory.alloc_xen_heap_with(&xen(2047, 2048)).unwrap();
        world.memory.free_xen_heap(address.as_ptr(), order(0)).unwrap();
        assert!(world.memory.alloc(&xen(2048, 2049)).is_err(), "beyond the limit");
        assert!(world.memory.alloc(&Request::exactly(range(2047, 2049))).is_err(), "over the edge");
        assert_eq!(world.memory.alloc(&ONE.inside(range(2048, 4096))).is_ok(), above);
        world.check();
    }
}

/// X 88e3ed6164: a node that lies wholly above the mapped limit. It is indexed, used to its last frame and has
/// no metadata on it; nobody asks for the address of one of its frames, for which the machine has none.
///
/// Answer: metadata is carved from memory that the embedder says is mapped, from another node's if need be. It
/// is frame-relative, so it may lie anywhere.
#[test]
fn a_node_above_the_mapped_limit() {
    let limited = XenHeap::Limited { limit: mfn(1024) };
    let far = range(4096, 12_288);
    let mut world = World::empty(limited, mfn(20_480), false)
        .with_ram(&[(64, 1024, 0), (4096, 12_288, 1)])
        .started();
    let metadata = |world: &World| -> Vec<_> {
        world.span().iter().filter(|f| world.memory.state(*f) == PageState::Metadata).collect()
    };
    assert!(metadata(&world).iter().all(|frame| *frame < mfn(1024)));
    assert_eq!(world.memory.node_statistics(NodeId(1)).free, far.frames());
    assert!(world.memory.alloc(&ONE.on(NodeId(1)).pool(Pool::Xen)).is_err());
    // Another such node is plugged in while the heap runs.
    assert_eq!(world.plug_in(range(12_288, 20_480), NodeId(2)), Ok(8192));
    assert!(metadata(&world).iter().all(|frame| *frame < mfn(1024)));
    for node in [1, 2] {
        let mut got = 0;
        while let Ok(block) = world.memory.alloc(&Request::order(order(9)).on(NodeId(node))) {
            assert!(block.start() >= far.start());
            got += block.frames();
        }
        assert_eq!(got, 8192, "node {node}");
    }
    world.check();
}

/// X d6898a50a5: nodes 0, 2 and 3 have memory, and node 1 in the middle has none. Hand-over survives, whoever
/// asks for memory near node 1, or runs there, gets the nearest, and whoever asks for node 1 alone is refused
/// by name.
///
/// Answer: only nodes with RAM are in the directory, each with all others by distance. A node is looked up
/// there and not used as an index.
///
/// Also: `seed::allocation::fallback_follows_distance`
#[test]
fn a_node_without_memory_in_the_middle() {
    // The farther the nodes are apart in number, the farther they are.
    let pairs = (0..4).flat_map(|from| (0..4_u32).map(move |to| (from, to)));
    let far = pairs.map(|(from, to)| (NodeId(from), NodeId(to), 10 + 3 * to.abs_diff(from)));
    let hosted = HostedPlatform::new(HostedMemory::new(mfn(8192)).unwrap()).with_distances(far);
    let world = World::on(hosted, 0, XenHeap::Unified, false)
        .with_ram(&[(5000, 5600, 3), (1024, 1600, 0), (3000, 3700, 2)])
        .started();
    let node_of = |frame: Mfn| world.memory.range_at(frame).2.unwrap().0;
    let near = |node: u32| -> Vec<u32> {
        let mut nodes = Vec::new();
        let mut held = Vec::new();
        while let Ok(frame) = world.memory.alloc(&ONE.prefer(NodeId(node))) {
            nodes.push(node_of(frame.start()));
            held.push(frame);
        }
        nodes.dedup();
        held.into_iter().for_each(|frame| world.free(frame));
        nodes
    };
    assert_eq!(near(0), [0, 2, 3]);
    assert_eq!(near(2), [2, 3, 0]);
    assert_eq!(near(3), [3, 2, 0]);
    // Nothing is known of node 1: what is near this CPU.
    assert_eq!(near(1), near(0));
    let there = ONE.on(NodeId(1));
    assert_eq!(world.memory.alloc(&there), Err(AllocError::UnknownNode { node: NodeId(1) }));
    set_node(NodeId(1));
    let found = world.memory.alloc(&ONE);
    let prefers = world.memory.alloc(&ONE.prefer(NodeId(3)));
    set_node(NodeId(0));
    assert_eq!(node_of(prefers.unwrap().start()), 3);
    world.free(found.expect("a CPU on a node without memory is served"));
    world.free(prefers.unwrap());
    assert_eq!(world.memory.node_statistics(NodeId(1)), StateCounts::default());
    world.check_all_free();
}

/// X d0d6597d3d: node 0 has no memory, and neither of the two nodes begins at 0: the reserve of low memory is
/// of the node whose memory begins lowest, has frames, and is spared.
///
/// Answer: the width is made of the lowest populated node: as many bits as the end of its first quarter needs.
///
/// Also: `owners::history::the_reserve_is_of_the_lowest_node_that_has_memory`
#[test]
fn the_reserve_is_no_empty_nodes() {
    let ram = [(9000, 16_384, 3), (2048, 4096, 5)];
    let world = World::recorded(XenHeap::Unified, &ram).started();
    // A quarter of node 5: frames 2048 to 2559.
    assert_eq!(world.memory.dma_reserve(), 12 + 12);
    let reserve = ONE.width(world.memory.dma_reserve());
    world.memory.create_domain(A, 100_000).unwrap();
    world.memory.set_affinity(A, &[NodeId(5)]).unwrap();
    // All of node 5 needs as few bits, so the domain's frames lie elsewhere, and there is low memory left.
    for _ in 0..100 {
        let frame = world.memory.alloc_for(A, &ONE, COUNTED).unwrap();
        assert!(!reserve.within().overlaps(frame), "{frame} is of the reserve");
    }
    assert!(world.memory.alloc(&reserve).is_ok());
    world.check();
}

/// X 5ac2dddb17: there is no reserve of low memory: by default on one node, or because it was set to 0. Whoever
/// asks for frames outside it gets frames, at every stage.
///
/// Answer: no reserve is the empty range, in which no frame lies.
///
/// Also: `owners::history::sparing_no_reserve_succeeds`
#[test]
fn sparing_a_reserve_that_is_not_there() {
    for ram in [&[(64, 4096, 0)][..], &[(64, 2000, 0), (2000, 4096, 1)]] {
        let world = World::recorded(XenHeap::Unified, ram);
        if ram.len() > 1 {
            world.memory.set_dma_reserve(0).unwrap();
        }
        let early = world.memory.alloc(&ONE.spare_reserve()).unwrap();
        world.start();
        assert_eq!(world.memory.dma_reserve(), 0);
        let free = world.memory.statistics().free;
        let mut all = Vec::new();
        while let Ok(frame) = world.memory.alloc(&ONE.spare_reserve()) {
            all.push(frame);
        }
        assert_eq!(all.len() as u64, free, "down to the lowest frame");
        all.into_iter().chain([early]).for_each(|frame| world.free(frame));
        world.check_all_free();
    }
}

/// X 2fece35303, XSA-231: every call that takes a node's number is given some that no table has a place for:
/// each is an error that names the node, or an answer of nothing, and changes nothing.
///
/// Answer: numbers of nodes are 32 bits of the embedder's choice, looked up by binary search; there is no array
/// to leave.
///
/// Also: `owners::history::nodes_beyond_the_machine_are_refused`
#[test]
fn a_nodes_number_is_no_index() {
    let ram = [(1024, 2000, 0), (2000, 3000, u32::MAX - 1)];
    let world = World::recorded(XenHeap::Unified, &ram).started();
    world.memory.create_domain(A, 100).unwrap();
    let before = world.check();
    let memory = &world.memory;
    for node in [1, 63, 64, 255, 256, 1 << 16, i32::MAX as u32, u32::MAX].map(NodeId) {
        let unknown = AllocError::UnknownNode { node };
        assert_eq!(memory.alloc(&ONE.on(node)), Err(unknown));
        assert_eq!(memory.alloc(&ONE.nodes(Nodes::OneOf(&[node, node]))), Err(unknown));
        let owned = memory.alloc_for(A, &ONE.on(node), COUNTED);
        assert_eq!(owned, Err(OwnerError::Alloc(unknown)));
        let affinity = memory.set_affinity(A, &[NodeId(0), node]);
        assert_eq!(affinity, Err(DomainError::UnknownNode { node }));
        let scope = Scope::Node(node);
        let claim = memory.stake_claim(scope, 1).map(|claim| claim.left());
        assert_eq!(claim, Err(ClaimError::UnknownNode { node }));
        assert_eq!(memory.claim(A, scope, 1), Err(ClaimError::UnknownNode { node }));
        assert!(memory.watch(scope, 1, 2).is_err());
        assert_eq!((memory.claims(scope), memory.is_low(scope)), (None, false));
        memory.unwatch(scope);
        assert_eq!(memory.node_statistics(node), StateCounts::default());
        assert_eq!(memory.free_memory(Some(node), None).frames, 0);
        assert!(!memory.has_free(1, Nodes::Exact(node)));
    }
    world.check().assert_same_as(&before, "no such node");
    // The largest number that there is works like any other.
    let high = memory.alloc(&ONE.on(NodeId(u32::MAX - 1))).unwrap();
    assert!(range(2000, 3000).covers(high));
    world.free(high);
    world.check().assert_same_as(&before, "and back");
}

/// L 20240118061853: a reservation where there is no memory has no node. Hand-over passes over it, no node has
/// it in its counts, and it holds when memory comes there on a node that was not known.
///
/// Answer: kind and RAM are independent in the ledger: a node is known of RAM alone, and a reservation waits
/// for it.
///
/// Also: `seed::ledger::the_map_may_be_told_in_any_order`
#[test]
fn a_reservation_where_there_is_no_memory() {
    let xen_heap = XenHeap::Unified;
    let mut world = World::empty(xen_heap, mfn(9000), false);
    let outside = range(5000, 5100);
    assert_eq!(world.memory.reserve(outside), Ok(()), "before any memory is known");
    world.add_ram(range(1024, 2048), NodeId(4)).unwrap();
    world.memory.reserve(range(2000, 2100)).unwrap();
    world.start();
    let (_, kind, node) = world.memory.range_at(outside.start());
    assert_eq!((kind, node), (RangeKind::Hole, None));
    let counts = world.check().counts;
    assert_eq!((counts.ram, counts.reserved), (1024, 48), "what lies on RAM counts");
    assert_eq!(world.memory.node_statistics(NodeId(4)), counts);
    assert_eq!(world.memory.node_statistics(NodeId(0)), StateCounts::default());
    let refused = world.plug_in(range(1900, 2060), NodeId(0)).unwrap_err();
    assert_eq!(refused, MapError::OtherNode { frame: mfn(1900), node: NodeId(4) });
    assert_eq!(world.plug_in(range(4500, 6000), NodeId(0)), Ok(1500));
    let counts = world.memory.node_statistics(NodeId(0));
    assert_eq!((counts.ram, counts.reserved), (1500, 100));
    assert!(world.memory.alloc(&ONE.inside(outside)).is_err());
    assert_eq!(world.memory.validate(), Ok(()));
}
