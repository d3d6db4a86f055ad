//! Requests of every kind, and what may come of each.

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    AllocError, Direction, FrameRange, Mfn, NodeId, Nodes, Order, Pool, Request, XenHeap, Zone,
};
use fastrand::Rng;

use crate::found::Found;
use crate::layout::{END, LATER, is_inside_edges, node_of};
use crate::life::Life;

/// Lists of nodes that requests name.
const LISTS: [&[NodeId]; 3] =
    [&[NodeId(0), NodeId(2)], &[NodeId(2), NodeId(1), NodeId(0)], &[NodeId(3), NodeId(1)]];

/// A request that can be met, and the name under which it is counted.
pub(crate) fn any_request(rng: &mut Rng) -> (&'static str, Request<'static>) {
    let order = |exponent| Order::new(exponent).unwrap_or(Order::ZERO);
    let (name, request) = match rng.u32(0..100) {
        0..50 => ("alloc order 0", Request::order(Order::ZERO)),
        50..75 => ("alloc orders 1 to 6", Request::order(order(rng.u8(1..=6)))),
        75..81 => ("alloc orders 7 and 8", Request::order(order(rng.u8(7..=8)))),
        81..83 => ("alloc order 9", Request::order(order(9))),
        83 => ("alloc orders 10 to 12", Request::order(order(rng.u8(10..=12)))),
        84..94 => {
            let most = [3, 3, 20, 20, 64, 64, 200, 1500][rng.usize(0..8)];
            let align = 1 << rng.u32(0..7);
            ("alloc any length", Request::frames(rng.u64(1..=most)).align(align))
        }
        _ => {
            let start = Mfn::new(rng.u64(0..END.get()));
            let range = FrameRange::from_len(start, rng.u64(1..=6)).unwrap_or(FrameRange::EMPTY);
            return ("alloc exactly", Request::exactly(range));
        }
    };
    (name, narrowed(rng, request))
}

fn narrowed<'a>(rng: &mut Rng, request: Request<'a>) -> Request<'a> {
    let node = NodeId(rng.u32(0..5));
    let request = match rng.u32(0..12) {
        0 => request.prefer(node),
        1 => request.on(node),
        2 => request.nodes(Nodes::OneOf(LISTS[rng.usize(0..LISTS.len())])),
        3 => request.below(Mfn::new(rng.u64(0x40..END.get()))),
        4 => request.width(rng.u32(22..30)),
        5 => {
            let low = rng.u8(0..17);
            match (Zone::new(low), Zone::new(low + rng.u8(0..4))) {
                (Some(low), Some(high)) => request.zones(low, high),
                _ => request,
            }
        }
        6 => {
            let start = rng.u64(0..END.get());
            let end = start + rng.u64(1..0x3000);
            let range = FrameRange::new(Mfn::new(start), Mfn::new(end));
            request.inside(range.unwrap_or(FrameRange::ALL))
        }
        _ => request,
    };
    let request = if rng.bool() { request } else { request.direction(Direction::BottomUp) };
    if rng.u32(0..8) == 0 { request.pool(Pool::Xen) } else { request }
}

/// What was so before a call, and so held throughout.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    /// The heap ran.
    heap: bool,
    /// The first of the later stretches was there, and with it its node.
    later_node: bool,
}

impl Before {
    pub(crate) fn now(life: &Life) -> Self {
        Self { heap: life.is_started(), later_node: life.later[0].load(Relaxed) == 2 }
    }

    pub(crate) fn is_heap(self) -> bool {
        self.heap
    }
}

/// Whether `range` is an answer to `request`.
pub(crate) fn judge(
    life: &Life,
    request: &Request<'_>,
    range: FrameRange,
    before: Before,
) -> Result<(), Found> {
    let node_allowed = |frame| {
        let node = node_of(frame);
        match request.allowed_nodes() {
            Nodes::Exact(only) => node == Some(only),
            Nodes::OneOf(nodes) => node.is_some_and(|node| nodes.contains(&node)),
            Nodes::Any | Nodes::Prefer(_) => true,
        }
    };
    let pool_right = match (request.heap(), life.xen_heap) {
        (Pool::Xen, _) => life.mapped().covers(range),
        (Pool::Domain, XenHeap::Separate { range: xen }) => !before.heap || !xen.overlaps(range),
        (Pool::Domain, _) => true,
    };
    let right = range.frames() == request.length()
        && range.start().get().is_multiple_of(request.alignment())
        && request.within().covers(range)
        && range.iter().all(node_allowed)
        && pool_right
        && (!before.heap || is_inside_edges(range, life.mapped()));
    Found::unless(right, || format!("{request:?} was answered with {range}"))
}

/// Whether `error` may answer `request`; the name of the refusal.
pub(crate) fn judge_refusal(
    life: &Life,
    request: &Request<'_>,
    error: AllocError,
    before: Before,
) -> Result<&'static str, Found> {
    let wrong = || Found(format!("{request:?} was refused: {error}"));
    match error {
        AllocError::OutOfMemory { frames, pool }
            if (frames, pool) == (request.length(), request.heap()) =>
        {
            Ok("OutOfMemory")
        }
        AllocError::LedgerFull if !before.heap => Ok("LedgerFull"),
        AllocError::UnknownNode { node } => {
            let there = life.is_boot_node(node) || (node == LATER[0].node && before.later_node);
            if there { Err(wrong()) } else { Ok("UnknownNode") }
        }
        AllocError::Impossible { frames, within }
            if (frames, within) == (request.length(), request.within())
                && (request.within() != FrameRange::ALL
                    || request.heap() == Pool::Xen
                    || !matches!(request.allowed_nodes(), Nodes::Any | Nodes::Prefer(_))) =>
        {
            Ok("Impossible")
        }
        _ => Err(wrong()),
    }
}

/// Requests that nothing can meet, each with the refusal that it deserves.
pub(crate) fn impossible(rng: &mut Rng) -> (Request<'static>, AllocError, &'static str) {
    match rng.u32(0..4) {
        0 => (Request::frames(0), AllocError::NoFrames, "NoFrames"),
        1 => {
            let request = Request::frames(2).align(3);
            (request, AllocError::BadAlignment { alignment: 3 }, "BadAlignment")
        }
        2 => {
            let node = NodeId(77);
            (Request::frames(1).on(node), AllocError::UnknownNode { node }, "UnknownNode")
        }
        _ => {
            let within = FrameRange::new(Mfn::ZERO, Mfn::new(2)).unwrap_or(FrameRange::EMPTY);
            let request = Request::frames(3).inside(within);
            (request, AllocError::Impossible { frames: 3, within }, "Impossible")
        }
    }
}
