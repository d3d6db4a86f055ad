//! Memory nodes: what is RAM, and on which node.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bedframe::NodeId;

use super::cells::{CellError, Cells, number};
use super::{Node, Tree, chosen, distance, reserved};
use crate::error::{MapError, Place};
use crate::machine::{Kind, Machine, Source, Warning};
use crate::normalise::normalise;
use crate::span::Span;
use crate::survey::{ADDRESS_LIMIT, Entry, Origin, Survey, homes_of};

/// Reads a flattened device tree. `name` is what errors and the machine call it.
///
/// RAM is what the memory nodes say; the reservations in the tree's head (`/memreserve/`) and
/// those of `/reserved-memory` with a place are [`reserved`](Machine::reserved), whether they may
/// be mapped or not. The `reusable` ones are not: their owner lends that memory out for as long as
/// the system can move what it keeps there, so it counts as plain RAM, and a system that has such
/// a device must see to it. Reservations without a place become
/// [`placements`](Machine::placements). The ramdisk that `/chosen` names is reserved, and releasable.
///
/// # Errors
///
/// [`MapError::Tree`] if the tree is cut or corrupt; [`Malformed`](MapError::Malformed) if a
/// value in it is, or if there is no memory node; [`TooHigh`](MapError::TooHigh) for an address
/// over 52 bits; [`SizeZero`](MapError::SizeZero) if all memory is of size zero;
/// [`Conflict`](MapError::Conflict) if the same memory is on two nodes;
/// [`NoRam`](MapError::NoRam) if there is no whole frame in it.
pub fn parse_fdt(name: &str, data: &[u8]) -> Result<Machine, MapError> {
    let tree = Tree::new(data).map_err(|error| MapError::Tree {
        file: name.to_owned(),
        offset: error.offset,
        expected: error.expected,
    })?;
    let reader = Reader { file: name, root: tree.root() };
    let mut survey = reader.memory()?;
    reserved::read(&reader, tree, &mut survey)?;
    chosen::read(&reader, &mut survey)?;
    distance::read(&reader, &mut survey)?;
    normalise(name, survey)
}

/// What the parts of this module share: the tree, and how to speak of places in it.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) root: Node<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn malformed(&self, text: String, expected: &'static str) -> MapError {
        let place = Place { file: self.file.to_owned(), line: None, text };
        MapError::Malformed { place, expected }
    }

    pub(super) fn too_high(&self, text: String) -> MapError {
        MapError::TooHigh { place: Place { file: self.file.to_owned(), line: None, text } }
    }

    /// How many cells numbers below `node` have; `default` where it does not say.
    pub(super) fn cells(&self, node: Node<'a>, default: Cells) -> Result<Cells, MapError> {
        let count = |property, default| match node.property(property).map(number) {
            None => Ok(default),
            Some(Ok(count)) if count <= 4 => Ok(usize::try_from(count).unwrap_or(default)),
            Some(_) => {
                let text = format!("/{} {property}", node.name());
                Err(self.malformed(text, "a number from 0 to 4"))
            }
        };
        Ok(Cells {
            address: count("#address-cells", default.address)?,
            size: count("#size-cells", default.size)?,
        })
    }

    pub(super) fn root_cells(&self) -> Result<Cells, MapError> {
        // What the specification says holds where a tree does not speak.
        self.cells(self.root, Cells { address: 2, size: 1 })
    }

    /// The ranges in a property of `node`, of which `path` is the name in errors.
    pub(super) fn ranges(
        &self,
        path: &str,
        property: &str,
        value: &[u8],
        cells: Cells,
    ) -> Result<Vec<Span>, MapError> {
        let text = || format!("{path} {property}");
        let fail = |error| match error {
            CellError::Shape => {
                self.malformed(text(), "whole pairs of address and size, in the parent's cells")
            }
            CellError::TooHigh => self.too_high(text()),
        };
        let pairs = cells.pairs(value).map_err(fail)?;
        pairs
            .map(|pair| {
                let (start, size) = pair.map_err(fail)?;
                span(start, size).ok_or_else(|| self.too_high(text()))
            })
            .collect()
    }

    fn memory(&self) -> Result<Survey, MapError> {
        let cells = self.root_cells()?;
        let mut entries = Vec::new();
        let mut first = None;
        let mut empty = Vec::new();
        for node in self.root.children().filter(|&node| is_memory(node) && node.is_enabled()) {
            let path = format!("/{}", node.name());
            first.get_or_insert_with(|| path.clone());
            let id = match node.property("numa-node-id").map(number) {
                None => None,
                Some(id) => {
                    let id = id.ok().and_then(|id| u32::try_from(id).ok());
                    let text = || format!("{path} numa-node-id");
                    let id = id.ok_or_else(|| self.malformed(text(), "a number of one cell"))?;
                    Some(NodeId(id))
                }
            };
            // A kernel that was started after a crash may use only this part.
            let property = ["linux,usable-memory", "reg"]
                .into_iter()
                .find_map(|name| node.property(name).map(|value| (name, value)));
            let Some((property, value)) = property else {
                return Err(self.malformed(path, "a property reg"));
            };
            let spans = self.ranges(&path, property, value, cells)?;
            if spans.iter().all(|span| span.is_empty()) {
                empty.push(path.clone());
            }
            entries.extend(spans.into_iter().map(|span| Entry {
                span,
                kind: Kind::Usable,
                node: id,
                origin: Origin { line: None, text: path.clone() },
            }));
        }
        let Some(first) = first else {
            return Err(self.malformed("/".into(), "a node with device_type = \"memory\""));
        };
        if entries.iter().all(|entry| entry.span.is_empty()) {
            let place = Place { file: self.file.to_owned(), line: None, text: first };
            return Err(MapError::SizeZero { place });
        }
        let homes = homes_of(&entries);
        let mut survey = Survey::new(Source::DeviceTree, entries);
        survey.homes = homes;
        survey.warnings.extend(empty.into_iter().map(|path| Warning {
            line: None,
            text: format!("{path} is of size zero and ignored"),
        }));
        Ok(survey)
    }
}

/// The bytes of a range; `None` if they reach beyond the highest address.
pub(super) fn span(start: u64, size: u64) -> Option<Span> {
    let end = start.checked_add(size).filter(|&end| end <= ADDRESS_LIMIT)?;
    Some(Span::new(start, end))
}

/// Only nodes below the root are asked: `/reserved-memory` has children of the same name.
fn is_memory(node: Node<'_>) -> bool {
    match node.property("device_type") {
        Some(_) => node.lists("device_type", "memory"),
        None => node.base_name() == "memory",
    }
}
