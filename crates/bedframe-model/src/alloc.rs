//! The ordinary face: an allocator that makes its own choices, to be used alone.

use bedframe::{AllocError, FrameRange, NodeId, Nodes, Order, Request};

use crate::search::malformed;
use crate::states::FrameState;
use crate::world::World;

impl World {
    /// Allocates for a CPU on node 0 of a machine on which all other nodes are equally far.
    ///
    /// # Errors
    ///
    /// Those of [`World::alloc_from`].
    pub fn alloc(&mut self, request: &Request<'_>) -> Result<FrameRange, AllocError> {
        self.alloc_from(request, NodeId(0), |from, to| if from == to { 10 } else { 20 })
    }

    /// Allocates for a CPU on node `here`; `distance` says how far the second node is from the first.
    ///
    /// Nodes are tried in the order that the request asks for, nearest first where it leaves the
    /// choice. On a node the heap takes from the highest zone; naturally aligned blocks of `2^order`
    /// frames in O(orders), anything else by searching. The boot allocator goes by the request's
    /// direction, over all nodes at once unless the request names any.
    ///
    /// # Errors
    ///
    /// As documented for [`AllocError`]; never [`AllocError::LedgerFull`].
    pub fn alloc_from(
        &mut self,
        request: &Request<'_>,
        here: NodeId,
        distance: impl Fn(NodeId, NodeId) -> u32,
    ) -> Result<FrameRange, AllocError> {
        if let Some(refusal) = malformed(request) {
            return Err(refusal);
        }
        let by_distance = |from: NodeId, world: &World| {
            let mut nodes: Vec<NodeId> = world.nodes().collect();
            nodes.sort_by_key(|&to| (from != to, distance(from, to), to));
            nodes
        };
        let taken = match request.allowed_nodes() {
            Nodes::Exact(node) => self.take_on(request, [node]),
            Nodes::OneOf(set) => self.take_on(request, set.iter().copied()),
            Nodes::Any if self.heap.is_none() => self.take_found(request),
            Nodes::Any | Nodes::Prefer(_) => {
                let near = match request.allowed_nodes() {
                    Nodes::Prefer(node) => node,
                    _ => here,
                };
                // The nearest node has memory, as a rule: sort the others only if it has none.
                let taken = self
                    .take_on(request, [near])
                    .or_else(|| self.take_on(request, by_distance(near, self)));
                // At boot a range may lie on several nodes, if it has to.
                if taken.is_none() && self.heap.is_none() {
                    self.take_found(request)
                } else {
                    taken
                }
            }
        };
        taken.ok_or_else(|| self.refusal(request))
    }

    /// Takes a range on the first of `nodes` that has one.
    fn take_on(
        &mut self,
        request: &Request<'_>,
        nodes: impl IntoIterator<Item = NodeId>,
    ) -> Option<FrameRange> {
        nodes.into_iter().find_map(|node| match natural_order(request) {
            Some(order) if self.heap.is_some() => self.take_order(request, node, order),
            _ => self.take_found(&request.on(node)),
        })
    }

    /// Takes a block from the heap's lists. They are complete: fully coalesced memory has a
    /// naturally aligned run free only inside a listed block.
    fn take_order(
        &mut self,
        request: &Request<'_>,
        node: NodeId,
        order: Order,
    ) -> Option<FrameRange> {
        let heap = self.heap.as_mut()?;
        let block =
            heap.take_order(&self.ram, node, request.heap(), order, request.within())?.range();
        self.states.set(block, FrameState::InUse);
        Some(block)
    }

    /// Takes what the complete search finds.
    fn take_found(&mut self, request: &Request<'_>) -> Option<FrameRange> {
        let range = self.can_satisfy(request)?;
        self.take_free(range, self.handed_out());
        Some(range)
    }

    /// Why a well-formed request that cannot be met is refused.
    fn refusal(&self, request: &Request<'_>) -> AllocError {
        let unknown = |node: &NodeId| !self.ram.nodes().contains(node);
        let (frames, within, pool) = (request.length(), request.within(), request.heap());
        match request.allowed_nodes() {
            Nodes::Exact(node) if unknown(&node) => AllocError::UnknownNode { node },
            Nodes::OneOf(set @ &[node, ..]) if set.iter().all(unknown) => {
                AllocError::UnknownNode { node }
            }
            _ if !self.has_ram_for(request) => AllocError::Impossible { frames, within },
            _ => AllocError::OutOfMemory { frames, pool },
        }
    }
}

/// The order of a request for exactly a naturally aligned block of `2^order` frames.
fn natural_order(request: &Request<'_>) -> Option<Order> {
    Order::covering(request.length())
        .filter(|o| o.frames() == request.length() && o.frames() == request.alignment())
}
