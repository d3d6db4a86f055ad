//! The machine: 180 MiB with every kind of edge that memory can have.

use bedframe::{FrameRange, Mfn, NodeId, XenHeap, Zone};

/// RAM on one node without a gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) range: FrameRange,
    pub(crate) node: NodeId,
}

const fn range(start: u64, end: u64) -> FrameRange {
    match FrameRange::new(Mfn::new(start), Mfn::new(end)) {
        Some(range) => range,
        None => FrameRange::EMPTY,
    }
}

const fn stretch(start: u64, end: u64, node: u32) -> Stretch {
    Stretch { range: range(start, end), node: NodeId(node) }
}

/// One past the last frame.
pub(crate) const END: Mfn = Mfn::new(0xb800);

/// RAM at boot: three nodes, of which two meet inside 2 MiB and one lies in two parts, and holes
/// that begin and end anywhere.
pub(crate) const BOOT: [Stretch; 5] = [
    stretch(0, 0x9f, 0),
    stretch(0x100, 0x2345, 0),
    stretch(0x2345, 0x5000, 1),
    stretch(0x5080, 0x6777, 0),
    stretch(0x6800, 0xa123, 2),
];

/// RAM that is plugged in while the heap runs: on a new node, and on one that is known.
pub(crate) const LATER: [Stretch; 2] = [stretch(0xa200, 0xaf00, 3), stretch(0xaf00, 0xb780, 1)];

/// Reserved for good.
pub(crate) const RESERVED: [FrameRange; 2] = [range(0x200, 0x2c0), range(0x9e00, 0x9e03)];

/// Bad frames; one of them lies in a range that is releasable.
pub(crate) const BAD: [FrameRange; 3] =
    [range(0x1234, 0x1235), range(0x3333, 0x3334), range(0x7001, 0x7003)];

/// What is released, each in one call. The first one is kept until the end.
pub(crate) const RELEASABLE: [FrameRange; 7] = [
    range(0x60, 0x70),
    range(0x3000, 0x3100),
    range(0x3100, 0x3400),
    range(0x3400, 0x3555),
    range(0x8100, 0x8101),
    range(0x8101, 0x82ff),
    range(0x9800, 0x9c00),
];

/// Frames that are no RAM at any time.
pub(crate) const HOLES: [FrameRange; 3] =
    [range(0x9f, 0x100), range(0x6777, 0x6800), range(0xa123, 0xa200)];

/// The variants of the Xen heap, with edges in the midst of 2 MiB.
pub(crate) const XEN_HEAPS: [XenHeap; 3] = [
    XenHeap::Unified,
    XenHeap::Limited { limit: Mfn::new(0x4444) },
    XenHeap::Separate { range: range(0x120, 0x2808) },
];

/// Every stretch that there ever is.
pub(crate) fn stretches() -> impl Iterator<Item = Stretch> {
    BOOT.into_iter().chain(LATER)
}

/// The node of a frame.
pub(crate) fn node_of(frame: Mfn) -> Option<NodeId> {
    stretches().find(|stretch| stretch.range.contains(frame)).map(|stretch| stretch.node)
}

/// Whether a block of the heap may be `block`: all in one stretch, one zone, and on one side of the
/// mapped range's edges.
pub(crate) fn is_inside_edges(block: FrameRange, mapped: FrameRange) -> bool {
    let zone = Zone::of(block.start()).frames();
    stretches().any(|stretch| stretch.range.covers(block))
        && zone.covers(block)
        && (mapped.covers(block) || !mapped.overlaps(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withheld_lies_in_ram_and_holes_do_not() {
        let in_ram = |part: &FrameRange| BOOT.iter().any(|ram| ram.range.covers(*part));
        assert!(RESERVED.iter().chain(&BAD).chain(&RELEASABLE).all(in_ram));
        assert!(HOLES.iter().all(|hole| stretches().all(|ram| !ram.range.overlaps(*hole))));
        assert!(stretches().all(|ram| ram.range.end() <= END && !ram.range.is_empty()));
        assert!(!is_inside_edges(range(0xaeff, 0xaf01), FrameRange::ALL));
        assert!(!is_inside_edges(range(0x7fff, 0x8001), FrameRange::ALL));
        assert!(!is_inside_edges(range(0x4443, 0x4445), XEN_HEAPS[1].mapped()));
        assert!(is_inside_edges(range(0x4443, 0x4445), FrameRange::ALL));
    }
}
