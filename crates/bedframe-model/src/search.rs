//! Can this request be met at all? A complete search, which needs to be right and not fast.
//!
//! It looks at the state map and never at the heap's lists, so it also judges the model's own heap.

use bedframe::{AllocError, Direction, FrameRange, Mfn, NodeId, Nodes, Pool, Request};

use crate::ranges::span;
use crate::world::World;

impl World {
    /// A range that would meet the request now, if there is any: the highest one, or the lowest
    /// for a boot allocation from the bottom up.
    ///
    /// What meets a request depends on who serves it. A block of the heap lies in one segment. A
    /// boot range is free RAM without a hole, and may cross zones and pools; it lies on one node
    /// if the request names the nodes that will do; for the Xen heap it is mapped.
    #[must_use]
    pub fn can_satisfy(&self, request: &Request<'_>) -> Option<FrameRange> {
        if malformed(request).is_some() {
            return None;
        }
        let bottom_up = self.heap.is_none() && request.search_direction() == Direction::BottomUp;
        let mut spans = self.spans(request);
        if !bottom_up {
            spans.reverse();
        }
        spans.into_iter().find_map(|span| {
            let mut free = self.states.free_in(span);
            if bottom_up {
                free.find_map(|run| lowest_fit(run, request))
            } else {
                free.rev().find_map(|run| highest_fit(run, request))
            }
        })
    }

    /// The ranges, in ascending order, that a range for this request must not leave: wherever all
    /// of its frames are free and in one span, it is legal.
    pub(crate) fn spans(&self, request: &Request<'_>) -> Vec<FrameRange> {
        let within = request.within();
        let nodes = request.allowed_nodes();
        if self.heap.is_some() {
            return self
                .ram
                .segments_in(within)
                .filter(|s| allows(nodes, s.node) && s.pools.serves(request.heap()))
                .map(|s| s.range.intersect(within))
                .collect();
        }
        let reach = match request.heap() {
            Pool::Xen => within.intersect(self.ram.mapped()),
            Pool::Domain => within,
        };
        match nodes {
            // A free run has no hole in it, so the search needs no more bounds than these.
            Nodes::Any | Nodes::Prefer(_) => vec![reach],
            Nodes::Exact(_) | Nodes::OneOf(_) => self
                .ram
                .runs_in(reach)
                .filter(|&(_, node)| allows(nodes, node))
                .map(|(run, _)| run)
                .collect(),
        }
    }

    /// Whether there is RAM that could ever serve the request, free or not.
    pub(crate) fn has_ram_for(&self, request: &Request<'_>) -> bool {
        request.within().frames() >= request.length()
            && self.spans(request).into_iter().any(|span| self.ram.runs_in(span).next().is_some())
    }
}

/// The refusal of a request that means nothing, whatever memory there is.
pub(crate) fn malformed(request: &Request<'_>) -> Option<AllocError> {
    let alignment = request.alignment();
    if request.length() == 0 {
        Some(AllocError::NoFrames)
    } else if !alignment.is_power_of_two() {
        Some(AllocError::BadAlignment { alignment })
    } else {
        None
    }
}

/// Whether frames on `node` may serve a request for `nodes`.
pub(crate) fn allows(nodes: Nodes<'_>, node: NodeId) -> bool {
    match nodes {
        Nodes::Any | Nodes::Prefer(_) => true,
        Nodes::Exact(only) => only == node,
        Nodes::OneOf(set) => set.contains(&node),
    }
}

fn lowest_fit(run: FrameRange, request: &Request<'_>) -> Option<FrameRange> {
    let start = run.start().get().checked_next_multiple_of(request.alignment())?;
    fitting(run, start, request)
}

fn highest_fit(run: FrameRange, request: &Request<'_>) -> Option<FrameRange> {
    let last = run.end().get().checked_sub(request.length())?;
    fitting(run, last & !(request.alignment() - 1), request)
}

fn fitting(run: FrameRange, start: u64, request: &Request<'_>) -> Option<FrameRange> {
    let end = start.checked_add(request.length())?;
    (run.start().get() <= start && end <= run.end().get())
        .then(|| span(Mfn::new(start), Mfn::new(end)))
}
