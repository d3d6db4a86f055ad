//! The distances between nodes: `numa-distance-map-v1`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use bedframe::NodeId;

use super::memory::Reader;
use crate::error::MapError;
use crate::machine::{Distances, Warning};
use crate::survey::Survey;

/// What the binding says a node is from itself.
const LOCAL: u32 = 10;
/// What is usually assumed of a pair that nobody speaks of.
const REMOTE: u32 = 20;
/// More nodes than this come from a garbled map; a table of them would fill memory.
const MOST_NODES: usize = 1024;

/// Adds the distances to what has been found, if the tree has some.
///
/// A pair that is given in one direction only holds in both. A map that contradicts itself is
/// ignored with a warning: memory is the same without it.
pub(super) fn read(reader: &Reader<'_>, survey: &mut Survey) -> Result<(), MapError> {
    let map = reader
        .root
        .children()
        .find(|node| node.lists("compatible", "numa-distance-map-v1") && node.is_enabled());
    let Some(map) = map else { return Ok(()) };
    let path = format!("/{} distance-matrix", map.name());
    let (cells, rest) = map.property("distance-matrix").unwrap_or(&[]).as_chunks::<12>();
    if cells.is_empty() || !rest.is_empty() {
        return Err(reader.malformed(path, "whole triples of node, node and distance"));
    }

    let mut pairs: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let mut nodes: BTreeSet<u32> = BTreeSet::new();
    let mut oddity = None;
    for triple in cells {
        let (words, _) = triple.as_chunks::<4>();
        let &[from, to, distance] = words else { continue };
        let [from, to, distance] = [from, to, distance].map(u32::from_be_bytes);
        nodes.extend([from, to]);
        let same = pairs.insert((from, to), distance).is_none_or(|before| before == distance);
        if !same {
            oddity = Some("gives a pair two distances");
        } else if (from == to) != (distance == LOCAL) || distance < LOCAL {
            oddity = Some("has a distance other than 10 inside a node, or 10 or less between two");
        }
    }
    if nodes.len() > MOST_NODES {
        oddity = Some("names more than 1024 nodes");
    }
    if let Some(oddity) = oddity {
        let text = format!("{path} {oddity}; it is ignored");
        survey.warnings.push(Warning { line: None, text });
        return Ok(());
    }

    let mut matrix = Vec::with_capacity(nodes.len().saturating_mul(nodes.len()));
    for &from in &nodes {
        for &to in &nodes {
            let given = pairs.get(&(from, to)).or_else(|| pairs.get(&(to, from))).copied();
            matrix.push(given.unwrap_or(if from == to { LOCAL } else { REMOTE }));
        }
    }
    survey.distances = Distances::new(nodes.into_iter().map(NodeId).collect(), matrix);
    Ok(())
}
