//! Each seeded mistake is caught: by `validate`, and by comparison with what a walk would list.

mod support;

use bedframe::{AllocError, NodeId, Order, Pool, Request, XenHeap};
use bedframe_model::{Block, Config, Fault, Illegal, Mutant, World};
use support::*;

/// The ways of a machine that has all edges: frame 0, a node edge at an odd and at an even frame.
fn lived(mutant: Option<Mutant>) -> World {
    let config = Config { xen_heap: XenHeap::Unified, withhold_frame0: false, mutant };
    let mut world = World::new(config);
    world.add_ram(range(0, 75), NodeId(0)).unwrap();
    world.add_ram(range(75, 96), NodeId(1)).unwrap();
    world.add_ram(range(96, 128), NodeId(2)).unwrap();
    let all = world.alloc(&Request::frames(128)).unwrap();
    world.start(&[]).unwrap();
    // Downwards: most mistakes show when the lower buddy comes last.
    for frame in all.iter().rev() {
        world.free(range(frame.get(), frame.get() + 1)).unwrap();
    }
    world
}

/// What the library would be told if it had the mistake: it hands out a block that it believes
/// in, and a healthy model replays that.
fn replayed(block: Block) -> Result<(), Illegal> {
    lived(None).replay_alloc(&Request::order(block.order), block.range())
}

#[test]
fn a_healthy_heap_lists_what_a_walk_finds() {
    coalesced(&lived(None));
}

#[test]
fn no_zone_check_is_caught() {
    let world = lived(Some(Mutant::NoZoneCheck));
    let Err(Fault::Straddles { block, segment }) = world.validate() else { panic!("not caught") };
    assert_eq!(
        (block.range(), segment),
        (range(0, 64), range(0, 1)),
        "frame 0 swallows seven zones"
    );
    assert_ne!(world.blocks(), world.blocks_by_walk());
    assert_eq!(replayed(block), Err(Illegal::Straddles { edge: mfn(1) }));
}

/// Upstream's cure for the symptom: without frame 0 no two buddies lie in different zones.
#[test]
fn no_zone_check_is_hidden_while_frame_0_is_withheld() {
    let config = Config { mutant: Some(Mutant::NoZoneCheck), ..Config::default() };
    let mut world = World::new(config);
    world.add_ram(range(0, 512), NodeId(0)).unwrap();
    world.start(&[]).unwrap();
    coalesced(&world);
}

#[test]
fn node_ignored_is_caught() {
    let world = lived(Some(Mutant::NodeIgnored));
    let Err(Fault::Straddles { block, .. }) = world.validate() else { panic!("not caught") };
    assert_eq!(block.range(), range(64, 128), "three nodes in one block");
    assert_ne!(world.blocks(), world.blocks_by_walk());
    assert_eq!(replayed(block), Err(Illegal::Straddles { edge: mfn(75) }));
}

#[test]
fn coalescing_lost_is_caught() {
    let mut world = lived(Some(Mutant::CoalescingLost));
    assert!(matches!(world.validate(), Err(Fault::Unmerged { .. })));
    assert_ne!(world.blocks(), world.blocks_by_walk());
    // The complete search finds what the lists have lost.
    let request = Request::order(Order::new(5).unwrap()).on(NodeId(2));
    let by = world.can_satisfy(&request).unwrap();
    assert_eq!(by, range(96, 128));
    let refusal = world.alloc(&request);
    assert_eq!(refusal, Err(AllocError::OutOfMemory { frames: 32, pool: Pool::Domain }));
    let refusal = refusal.unwrap_err();
    assert_eq!(world.judge_refusal(&request, refusal), Err(Illegal::CouldBeMet { refusal, by }));
    world = lived(None);
    assert_eq!(world.alloc(&request), Ok(by));
}

#[test]
fn off_by_one_edge_is_caught() {
    let world = lived(Some(Mutant::OffByOneEdge));
    let Err(Fault::Straddles { block, .. }) = world.validate() else { panic!("not caught") };
    assert!(block.range().contains(mfn(0)) || block.range().contains(mfn(75)), "{block}");
    assert_ne!(world.blocks(), world.blocks_by_walk());
    assert!(matches!(replayed(block), Err(Illegal::Straddles { .. })));
}

/// Off by one at a node's edge alone, with no zone edge near.
#[test]
fn off_by_one_edge_is_caught_at_a_node() {
    let config = Config { mutant: Some(Mutant::OffByOneEdge), ..Config::default() };
    let mut world = World::new(config);
    world.add_ram(range(64, 75), NodeId(0)).unwrap();
    world.add_ram(range(75, 76), NodeId(1)).unwrap();
    world.start(&[]).unwrap();
    world.validate().unwrap();
    // Frame 74 comes back when its buddy, the next node's only frame, is free.
    let held = range(74, 75);
    world.replay_alloc(&Request::exactly(held), held).unwrap();
    world.free(held).unwrap();
    let Err(Fault::Straddles { block, .. }) = world.validate() else { panic!("not caught") };
    assert_eq!(block.range(), range(72, 76), "and from there upwards, one error after the other");
}
