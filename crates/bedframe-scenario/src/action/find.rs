//! Requests: how they are written, and whether what was found meets them.

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    AllocError, Direction, FrameRange, Mfn, NodeId, Nodes, Pool, Request, Scope, XenHeap,
};

use crate::expect::must_be_zero;
use crate::value::Literal;
use crate::world::{World, Wrong};

/// Where frames are to come from, as a step says it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Place<'s> {
    pub(super) node: Option<u32>,
    pub(super) prefer: Option<u32>,
    pub(super) width: Option<u32>,
    pub(super) inside: Option<&'s Literal>,
    pub(super) xen: bool,
    pub(super) bottom_up: bool,
    pub(super) clean: bool,
}

impl Place<'_> {
    /// The request for `frames` at a multiple of `align`; `among` are the nodes that may serve it.
    pub(super) fn request<'n>(&self, frames: u64, align: u64, among: &'n [NodeId]) -> Request<'n> {
        let mut request = Request::frames(frames).align(align);
        if !among.is_empty() {
            request = request.nodes(Nodes::OneOf(among));
        }
        if let Some(node) = self.prefer {
            request = request.prefer(NodeId(node));
        }
        if let Some(node) = self.node {
            request = request.on(NodeId(node));
        }
        if let Some(bits) = self.width {
            request = request.width(bits);
        }
        for range in self.inside.iter().flat_map(|literal| &literal.0) {
            request = request.inside(*range);
        }
        if self.xen {
            request = request.pool(Pool::Xen);
        }
        if self.clean {
            request = request.clean();
        }
        if self.bottom_up {
            request = request.direction(Direction::BottomUp);
        }
        request
    }
}

/// Whether frames that were handed out are those that were asked for.
pub(super) fn judge(
    world: &World<'_>,
    request: &Request<'_>,
    range: FrameRange,
) -> Result<(), Wrong> {
    let wrong = |expected: &str| Err(Wrong::new(expected, format!("{range} was handed out")));
    if range.frames() != request.length() {
        return wrong(&format!("{} frames", request.length()));
    }
    if !range.start().get().is_multiple_of(request.alignment()) {
        return wrong(&format!("frames at a multiple of {}", request.alignment()));
    }
    if !request.within().covers(range) {
        return wrong(&format!("frames inside {}", request.within()));
    }
    if request.wants_clean() {
        must_be_zero(world, range)?;
    }
    for frame in [range.start(), Mfn::new(range.end().get() - 1)] {
        let (_, kind, node) = world.memory().range_at(frame);
        let Some(node) = node else {
            return wrong(&format!("RAM, not {kind:?}"));
        };
        if !is_allowed(world, request, FrameRange::single(frame), node) {
            return wrong(&format!(
                "frames of the {} for {:?}, not of node {node}",
                request.heap(),
                request.allowed_nodes()
            ));
        }
    }
    Ok(())
}

/// At rest a request is refused for want of memory only if no free block meets it, and for claims only if none does on
/// a node with that many frames that nobody claims.
pub(super) fn judge_refusal(
    world: &World<'_>,
    request: &Request<'_>,
    error: AllocError,
) -> Result<(), Wrong> {
    let unclaimed = |scope| world.memory().claims(scope).map_or(0, |counts| counts.unclaimed);
    let claimed = match error {
        AllocError::OutOfMemory { .. } => false,
        AllocError::Claimed { .. } if unclaimed(Scope::Machine) < request.length() => return Ok(()),
        AllocError::Claimed { .. } => true,
        _ => return Ok(()),
    };
    let pays = |node| !claimed || unclaimed(Scope::Node(node)) >= request.length();
    let mut found = None;
    world.memory().each_free_run(|run, node| {
        if found.is_none() && is_allowed(world, request, run, node) && pays(node) {
            let run = run.intersect(request.within());
            let start = run.start().get().checked_next_multiple_of(request.alignment());
            let block =
                start.and_then(|start| FrameRange::from_len(Mfn::new(start), request.length()));
            found = block.filter(|block| !block.is_empty() && run.covers(*block));
        }
    });
    match found {
        None => Ok(()),
        Some(block) => Err(Wrong::new(
            format!("{block}, which is free and meets the request"),
            format!("it was refused: {error}"),
        )),
    }
}

fn is_allowed(world: &World<'_>, request: &Request<'_>, range: FrameRange, node: NodeId) -> bool {
    let node_is_right = match request.allowed_nodes() {
        Nodes::Any | Nodes::Prefer(_) => true,
        Nodes::Exact(wanted) => wanted == node,
        Nodes::OneOf(nodes) => nodes.contains(&node),
    };
    let mapped = world.xen_heap.mapped().covers(range);
    let pool_is_right = match (request.heap(), world.xen_heap) {
        (Pool::Xen, _) => mapped,
        // Before hand-over there are no heaps to keep apart.
        (Pool::Domain, XenHeap::Separate { .. }) => !mapped || !world.started.load(Relaxed),
        (Pool::Domain, _) => true,
    };
    node_is_right && pool_is_right
}
