//! A machine as one JSON object. All places and sizes but frame counts are in bytes; an end is
//! the byte behind the last.

use bedframe::{FRAME_SHIFT, FrameRange, Mfn, NodeId};
use bedframe_firmware::{Listed, Machine};
use serde::Serialize;

use super::figures;
use crate::frames::{self, Piece};

#[derive(Serialize)]
struct Object<'a> {
    machine: &'a str,
    source: String,
    warnings: Vec<String>,
    ram_frames: u64,
    nodes: Vec<Node>,
    ranges: Vec<Range>,
    reservations: Vec<Reservation<'a>>,
    late: Vec<Late>,
    mirrored: Vec<[u64; 2]>,
    placements: Vec<Placement<'a>>,
    distances: Option<Distances>,
}

#[derive(Serialize)]
struct Node {
    id: u32,
    ram_frames: u64,
    segments: u64,
    largest_block_order: Option<u32>,
}

#[derive(Serialize)]
struct Range {
    start: u64,
    end: u64,
    kind: String,
    node: Option<u32>,
    line: Option<usize>,
}

#[derive(Serialize)]
struct Reservation<'a> {
    start: u64,
    end: u64,
    kind: String,
    name: &'a str,
    releasable: bool,
}

#[derive(Serialize)]
struct Late {
    start: u64,
    end: u64,
    why: String,
    node: u32,
}

#[derive(Serialize)]
struct Placement<'a> {
    name: &'a str,
    size: u64,
    align: u64,
    within: Vec<[u64; 2]>,
    no_map: bool,
    reusable: bool,
}

#[derive(Serialize)]
struct Distances {
    nodes: Vec<u32>,
    matrix: Vec<Vec<Option<u32>>>,
}

/// The object, with a line's end.
pub(crate) fn one(machine: &Machine) -> String {
    text(&object(machine))
}

/// A list of such objects.
pub(crate) fn list(machines: &[Machine]) -> String {
    text(&machines.iter().map(object).collect::<Vec<_>>())
}

fn text(value: &impl Serialize) -> String {
    // Plain strings and numbers: there is nothing in it that cannot be written.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

fn object(machine: &Machine) -> Object<'_> {
    let nodes = figures::nodes(machine).into_iter().map(|node| Node {
        id: node.id.0,
        ram_frames: node.ram,
        segments: node.segments,
        largest_block_order: node.largest,
    });
    let reservations = machine.reserved.iter().map(|reservation| {
        let [start, end] = bytes(reservation.range);
        Reservation {
            start,
            end,
            kind: reservation.kind.to_string(),
            name: &reservation.name,
            releasable: reservation.kind.is_releasable(),
        }
    });
    let late = machine.late.iter().map(|late| {
        let [start, end] = bytes(late.range);
        Late { start, end, why: late.why.to_string(), node: late.node.0 }
    });
    let placements = machine.placements.iter().map(|placement| Placement {
        name: &placement.name,
        size: placement.size,
        align: placement.align,
        within: placement.within.iter().map(|range| bytes(*range)).collect(),
        no_map: placement.no_map,
        reusable: placement.reusable,
    });
    Object {
        machine: &machine.name,
        source: machine.source.to_string(),
        warnings: machine.warnings.iter().map(ToString::to_string).collect(),
        ram_frames: machine.ram_frames(),
        nodes: nodes.collect(),
        ranges: ranges(machine),
        reservations: reservations.collect(),
        late: late.collect(),
        mirrored: machine.mirrored.iter().map(|range| bytes(*range)).collect(),
        placements: placements.collect(),
        distances: machine.distances.as_ref().map(|distances| {
            let nodes = distances.nodes();
            let row = |from: &NodeId| nodes.iter().map(|to| distances.get(*from, *to)).collect();
            Distances {
                nodes: nodes.iter().map(|node| node.0).collect(),
                matrix: nodes.iter().map(row).collect(),
            }
        }),
    }
}

/// The first byte of a range and the one behind it.
fn bytes(range: FrameRange) -> [u64; 2] {
    [range.start(), range.end()].map(|frame| frame.get().saturating_mul(1 << FRAME_SHIFT))
}

/// The ranges as they are listed, in ascending order, cut where another node's memory begins.
fn ranges(machine: &Machine) -> Vec<Range> {
    let memory = frames::joined(&frames::memory(machine));
    let mut ranges: Vec<Range> =
        machine.listed.iter().flat_map(|listed| on_nodes(listed, &memory)).collect();
    ranges.sort_by_key(|range| (range.start, range.end));
    ranges
}

fn on_nodes(listed: &Listed, memory: &[Piece]) -> Vec<Range> {
    let range = |start, end, node: Option<NodeId>| Range {
        start,
        end,
        kind: listed.kind.to_string(),
        node: node.map(|node| node.0),
        line: listed.line,
    };
    let mut at = listed.start;
    let mut node = None;
    let mut cut = Vec::new();
    let first = memory.partition_point(|piece| piece.range.end() <= Mfn::from_address(at));
    for piece in memory.iter().skip(first) {
        let [start, _] = bytes(piece.range);
        if start >= listed.end {
            break;
        }
        if node.is_some_and(|node| node != piece.node) && at < start {
            cut.push(range(at, start, node));
            at = start;
        }
        node = Some(piece.node);
    }
    cut.push(range(at, listed.end, node.or(listed.node)));
    cut
}
