//! Where a domain's frames lie.

use bedframe::{AllocError, DomainError, FrameRange, NodeId, Nodes, OwnerError, Request};

use crate::common::mfn;
use crate::world::{A, B, COUNTED, EXTRA, ONE, World, request};

impl World {
    fn node_of(&self, range: FrameRange) -> u32 {
        self.memory.range_at(range.start()).2.unwrap().0
    }

    fn nodes_of(&self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.node_of(self.give(A, 0))).collect()
    }
}

/// Nodes take turns, each domain's by themselves; where one is full the others go on.
#[test]
fn nodes_take_turns() {
    let world = World::new();
    world.memory.set_dma_reserve(0).unwrap();
    world.memory.set_affinity(A, &[NodeId(2), NodeId(1)]).unwrap();
    assert_eq!(world.nodes_of(5), [2, 1, 2, 1, 2]);
    assert_eq!(world.node_of(world.give(B, 0)), 0, "another domain's turn is its own");
    assert_eq!(world.nodes_of(2), [1, 2]);
    // A request that names nodes takes no turn.
    for node in [0, 1, 2, 0] {
        let there = world.memory.alloc_for(A, &ONE.on(NodeId(node)), COUNTED).unwrap();
        assert_eq!(world.node_of(there), node);
    }
    let near = world.memory.alloc_for(A, &ONE.prefer(NodeId(0)), COUNTED).unwrap();
    assert_eq!(world.node_of(near), 0);
    let list = [NodeId(1), NodeId(0)];
    let one_of = world.memory.alloc_for(A, &ONE.nodes(Nodes::OneOf(&list)), COUNTED).unwrap();
    assert_eq!(world.node_of(one_of), 1);
    assert_eq!(world.nodes_of(2), [1, 2]);
    // Node 1 has nothing left: its turns are node 2's.
    while world.memory.alloc(&ONE.on(NodeId(1))).is_ok() {}
    assert_eq!(world.nodes_of(4), [2, 2, 2, 2]);
    // Neither has: the nearest that has.
    while world.memory.alloc(&ONE.on(NodeId(2))).is_ok() {}
    assert_eq!(world.nodes_of(2), [0, 0]);
    let exact = world.memory.alloc_for(A, &ONE.on(NodeId(2)), COUNTED);
    assert!(matches!(exact, Err(OwnerError::Alloc(AllocError::OutOfMemory { .. }))), "{exact:?}");
    world.check();
}

/// Affinity can be any list, as long as it is of nodes that there are; no list is no preference.
#[test]
fn an_affinity_is_any_list() {
    let world = World::new();
    let used = world.memory.statistics().in_use;
    let before = world.check();
    let node = NodeId(3);
    let unknown = Err(DomainError::UnknownNode { node });
    assert_eq!(world.memory.set_affinity(A, &[NodeId(1), node]), unknown);
    let gone = bedframe::DomainId(77);
    let unknown = Err(DomainError::Unknown { domain: gone });
    assert_eq!(world.memory.set_affinity(gone, &[NodeId(1)]), unknown);
    world.check().assert_same_as(&before, "unknown");
    // More than a frame has room for.
    let long: Vec<_> = (0..5000).map(|at| NodeId(at % 2 + 1)).collect();
    world.memory.set_affinity(A, &long).unwrap();
    assert_eq!(world.nodes_of(3), [1, 2, 1]);
    world.memory.set_affinity(A, &[NodeId(1)]).unwrap();
    assert_eq!(world.nodes_of(3), [1, 1, 1]);
    world.memory.set_affinity(A, &[]).unwrap();
    assert_eq!(world.node_of(world.give(A, 0)), 0, "near this CPU");
    world.memory.set_affinity(A, &[NodeId(2)]).unwrap();
    world.bury(A, 100);
    assert_eq!(world.memory.statistics().in_use, used, "its list went with it");
    world.memory.create_domain(A, 10_000).unwrap();
    world.check().assert_same_as(&before, "anew, it prefers nothing");
    assert_eq!(world.node_of(world.give(A, 0)), 0);
}

/// A domain's width adds to the request's.
#[test]
fn widths_add_up() {
    let world = World::new();
    world.memory.set_dma_reserve(0).unwrap();
    world.memory.set_affinity(A, &[NodeId(2)]).unwrap();
    world.memory.set_width(A, 23).unwrap();
    // Frames below 2048: node 2 has none.
    let found = world.give(A, 3);
    assert!(found.end() <= mfn(2048), "{found}");
    let found = world.memory.alloc_for(A, &ONE.width(20), COUNTED).unwrap();
    assert!(found.end() <= mfn(256), "{found}");
    let found = world.memory.alloc_for(A, &ONE.width(40), EXTRA).unwrap();
    assert!(found.end() <= mfn(2048), "{found}");
    let refused = world.memory.alloc_for(A, &ONE.on(NodeId(2)), COUNTED);
    assert!(matches!(refused, Err(OwnerError::Alloc(AllocError::Impossible { .. }))));
    let before = world.check();
    for bits in [0, 11] {
        world.memory.set_width(A, bits).unwrap();
        let refused = world.memory.alloc_for(A, &ONE, COUNTED);
        assert!(matches!(refused, Err(OwnerError::Alloc(AllocError::Impossible { .. }))));
    }
    world.check().assert_same_as(&before, "no frame is so narrow");
    world.memory.set_width(A, u32::MAX).unwrap();
    assert_eq!(world.node_of(world.give(A, 0)), 2);
    let gone = bedframe::DomainId(77);
    assert_eq!(world.memory.set_width(gone, 30), Err(DomainError::Unknown { domain: gone }));
}

/// The reserve comes last of all, for every node; whoever needs it gets it at once.
#[test]
fn the_reserve_comes_last() {
    let world = World::new();
    // Frames below 2048.
    world.memory.set_dma_reserve(23).unwrap();
    let reserve = Request::frames(1).width(23).within();
    world.memory.set_affinity(A, &[NodeId(1), NodeId(0)]).unwrap();
    let mut outside = 0;
    loop {
        let found = world.memory.alloc_for(A, &ONE, EXTRA).unwrap();
        if reserve.overlaps(found) {
            break;
        }
        outside += 1;
    }
    assert!(outside > 6000, "all of nodes 0 and 2 that is not reserved: {outside}");
    let spared = world.memory.alloc_for(A, &ONE.spare_reserve(), EXTRA);
    assert!(matches!(spared, Err(OwnerError::Alloc(AllocError::OutOfMemory { .. }))));
    assert!(world.memory.alloc(&ONE.spare_reserve()).is_err());
    world.check();
    // Anonymous memory, and what asks for low memory, come from it as ever.
    let world = World::new();
    world.memory.set_dma_reserve(23).unwrap();
    let low = world.memory.alloc_for(A, &request(3).width(23), COUNTED).unwrap();
    assert!(reserve.covers(low));
    let outside = world.memory.alloc(&request(3).spare_reserve().prefer(NodeId(1))).unwrap();
    assert!(!reserve.overlaps(outside));
    let none = world.memory.alloc(&ONE.spare_reserve().width(23));
    assert!(matches!(none, Err(AllocError::Impossible { .. })), "{none:?}");
    world.check();
}
