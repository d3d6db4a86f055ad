//! Numbers about a machine.

use bedframe::{FrameRange, Mfn, NodeId};
use bedframe_firmware::Machine;

use crate::frames::{self, Piece};
use crate::units::{block, some};

/// A node in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// RAM before any reservation; late ranges are not counted.
    pub(crate) ram: u64,
    /// Stretches in one zone: with late ranges, and whatever is reserved in them.
    pub(crate) segments: u64,
    /// The order of the largest block that is not reserved; `None` if all of it is.
    pub(crate) largest: Option<u32>,
}

/// All nodes that have memory, in ascending order.
pub(crate) fn nodes(machine: &Machine) -> Vec<Node> {
    let memory = frames::joined(&frames::memory(machine));
    let segments = frames::cut(&memory, frames::zone_starts().collect());
    let mut taken: Vec<FrameRange> = machine.reserved.iter().map(|r| r.range).collect();
    taken.extend(&machine.bad);
    taken.push(FrameRange::single(Mfn::ZERO));
    let open = frames::without(&segments, &frames::union(taken));
    let mut ids: Vec<NodeId> = memory.iter().map(|piece| piece.node).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .map(|id| {
            let on = |piece: &&Piece| piece.node == id;
            let orders = open.iter().filter(on).flat_map(|piece| piece.range.blocks());
            Node {
                id,
                ram: machine.ram_frames_on(id),
                segments: segments.iter().filter(on).count() as u64,
                largest: orders.map(frames::order).max(),
            }
        })
        .collect()
}

/// Segments of all nodes, and the order of the largest block.
pub(crate) fn sum(nodes: &[Node]) -> (u64, Option<u32>) {
    let segments = nodes.iter().map(|node| node.segments).sum();
    (segments, nodes.iter().filter_map(|node| node.largest).max())
}

/// The same in words.
pub(crate) fn in_words(nodes: &[Node]) -> String {
    let (segments, largest) = sum(nodes);
    let largest = largest.map_or("all of it is reserved".into(), |order| {
        format!("the largest block is of order {order}, {}", block(order))
    });
    format!("{} by node and zone; {largest}", some(segments, "segment"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedframe_firmware::parse_text;

    #[test]
    fn segments_and_blocks_are_counted_by_hand() {
        // Frames 0 to 0x9f in zones 0 to 8, frames 0x100 to 0x3ff in zones 9 and 10.
        let log = "BIOS-e820: [mem 0x0-0x9ffff] usable\n\
                   BIOS-e820: [mem 0x100000-0x3fffff] usable\n";
        let nodes = nodes(&parse_text("small", log).unwrap());
        let expected = Node { id: NodeId(0), ram: 0xa0 + 0x300, segments: 11, largest: Some(9) };
        assert_eq!(nodes, [expected]);
        assert_eq!(sum(&nodes), (11, Some(9)));
    }
}
