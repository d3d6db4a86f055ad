//! Claims, and the low-memory notice: who gets frames while others have claimed them, and who is told
//! when few are left.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod claims;
mod force;
mod interleaved;
mod model;
mod shares;
mod stages;
mod threads;
mod watch;

use bedframe::{ClaimCounts, NodeId, Request, Scope};
use common::World;

/// One frame, of any node.
const ONE: Request<'static> = Request::frames(1);

const fn on(node: u32) -> Scope {
    Scope::Node(NodeId(node))
}

fn claims(world: &World, scope: Scope) -> ClaimCounts {
    world.memory.claims(scope).expect("the heap runs, and the node has memory")
}

/// At rest what is claimed and what is not make up what is free, less what force has taken.
#[track_caller]
fn at_rest(world: &World) {
    assert_eq!(world.memory.validate(), Ok(()));
    for node in [None, Some(0), Some(1), Some(2)] {
        let scope = node.map_or(Scope::Machine, on);
        let Some(counts) = world.memory.claims(scope) else { continue };
        let free = match node {
            None => world.memory.statistics().free,
            Some(node) => world.memory.node_statistics(NodeId(node)).free,
        };
        let ClaimCounts { claimed, unclaimed, deficit } = counts;
        assert_eq!(unclaimed + claimed, free + deficit, "{scope}: {counts:?}, {free} free");
        assert!(unclaimed == 0 || deficit == 0, "{scope}: {counts:?}");
    }
}
