//! Where the details of an operation come from: a seed, or the bytes that a fuzzer hands over.

use bedframe::{Direction, FrameRange, Mfn, NodeId, Nodes, Order, Pool, Request, Zone};

/// A stream of choices.
pub trait Draw {
    /// A number from 0 up to and without `bound`; 0 if there is none.
    fn below(&mut self, bound: u64) -> u64;

    /// True once in `n` times.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A small random number generator: the operations' details need no shrinking of their own.
pub struct Rng(pub u64);

impl Draw for Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// Any request for memory of `end` frames, on the nodes of `list`, of which there are two; `range` draws a
/// range for it to lie in.
pub fn request<'a>(
    draw: &mut dyn Draw,
    list: &'a [NodeId],
    end: u64,
    range: impl FnOnce(&mut dyn Draw) -> FrameRange,
) -> Request<'a> {
    let mut request = match draw.below(8) {
        0..=2 => Request::frames(1),
        3 => Request::order(Order::new(draw.below(4) as u8).unwrap()),
        4 => Request::order(Order::new(draw.below(19) as u8).unwrap()),
        5 => Request::frames(1 + draw.below(70)).align(1 << draw.below(5)),
        6 => Request::frames(1 + draw.below(5000)).align(1 << draw.below(12)),
        _ => Request::frames(draw.below(end)).align(1 << draw.below(4)),
    };
    if draw.one_in(40) {
        request = request.align(draw.below(5));
    }
    match draw.below(6) {
        0 => request = request.on(list[0]),
        1 => request = request.prefer(list[0]),
        2 => request = request.nodes(Nodes::OneOf(list)),
        _ => {}
    }
    match draw.below(8) {
        0 => request = request.width(12 + draw.below(30) as u32),
        1 => request = request.below(Mfn::new(draw.below(end + 1))),
        2 => request = request.inside(range(draw)),
        3 => {
            let zone = |draw: &mut dyn Draw| Zone::new(draw.below(30) as u8).unwrap();
            request = request.zones(zone(draw), zone(draw));
        }
        _ => {}
    }
    if draw.one_in(3) {
        request = request.pool(Pool::Xen);
    }
    if draw.one_in(3) {
        request = request.direction(Direction::BottomUp);
    }
    request
}
