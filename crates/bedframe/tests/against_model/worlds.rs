//! Random machines.

use bedframe::{FrameRange, Mfn, NodeId, XenHeap};
use proptest::prelude::*;

/// How large a machine is.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    Tiny,
    Small,
    Medium,
    Giant,
}

/// A machine: RAM in ascending order, with holes, and how its heaps are laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    pub ram: Vec<(FrameRange, NodeId)>,
    pub xen_heap: XenHeap,
    pub frame_zero: bool,
    pub cpus: u32,
    pub garbage: u64,
}

impl Layout {
    /// One past the last frame that the machine's address space needs: some room for hot-added
    /// memory included.
    pub fn end(&self) -> Mfn {
        let last = self.ram.last().map_or(Mfn::ZERO, |(range, _)| range.end());
        last.saturating_add(2048)
    }
}

/// Frames in a range and in the gap before it.
fn length(size: Size) -> BoxedStrategy<(u64, u64)> {
    let ragged =
        |most: u64| prop_oneof![Just(0), Just(1), 0..most, (0..most).prop_map(|n| n & !511)];
    match size {
        Size::Tiny => (prop_oneof![3 => Just(0), 1 => 1u64..20], 1u64..24).boxed(),
        Size::Small => (prop_oneof![2 => Just(0), 1 => ragged(700)], 1u64..2500).boxed(),
        Size::Medium => {
            let long = prop_oneof![1u64..5000, (1u64..600).prop_map(|c| c << 9), 1u64..300_000];
            (prop_oneof![2 => Just(0), 1 => ragged(5000), 1 => ragged(100_000)], long).boxed()
        }
        Size::Giant => {
            let long = prop_oneof![1 => 1u64..5000, 5 => 1u64 << 20..1 << 28];
            (prop_oneof![3 => Just(0), 1 => ragged(5000), 1 => ragged(1 << 30)], long).boxed()
        }
    }
}

fn xen_heap(end: u64) -> impl Strategy<Value = XenHeap> {
    prop_oneof![
        2 => Just(XenHeap::Unified),
        1 => (0..=end).prop_map(|limit| XenHeap::Limited { limit: Mfn::new(limit) }),
        1 => (0..=end, 0..=end).prop_map(|(a, b)| XenHeap::Separate {
            range: FrameRange::new(Mfn::new(a.min(b)), Mfn::new(a.max(b))).unwrap(),
        }),
    ]
}

pub fn layout(size: Size) -> impl Strategy<Value = Layout> {
    let (ranges, nodes): (_, u32) = match size {
        Size::Tiny => (1..5, 4),
        Size::Small => (1..8, 5),
        Size::Medium => (1..10, 8),
        Size::Giant => (1..70, 64),
    };
    let range = (length(size), 0..nodes, any::<bool>());
    (prop::collection::vec(range, ranges), any::<bool>(), any::<bool>(), any::<u64>())
        .prop_flat_map(move |(ranges, scattered, frame_zero, garbage)| {
            let mut ram = Vec::new();
            let (mut at, mut node) = (0, 0);
            for ((gap, frames), other, same) in ranges {
                let start = at + gap;
                // 30 TiB of RAM and 64 TiB of addresses are enough.
                if start + frames > 1 << 34 {
                    break;
                }
                if !same {
                    node = other;
                }
                // Node numbers in a row, or as sparse as some machines have them.
                let id = if scattered { node * 37 + 3 } else { node };
                at = start + frames;
                let range = FrameRange::new(Mfn::new(start), Mfn::new(at)).unwrap();
                ram.push((range, NodeId(id)));
            }
            let cpus = 1 + (garbage % 5) as u32;
            xen_heap(at).prop_map(move |xen_heap| Layout {
                ram: ram.clone(),
                xen_heap,
                frame_zero,
                cpus,
                garbage,
            })
        })
        .prop_filter("some RAM", |layout| !layout.ram.is_empty())
}
