//! Reservations: those in the tree's head, those with a place, and those that want one.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bedframe::{FRAME_SIZE, FrameRange};

use super::cells::{CellError, Cells, number};
use super::memory::{Reader, span};
use super::{Node, Tree};
use crate::error::MapError;
use crate::machine::{DynamicReservation, Kind, Listed, ReservationKind, Warning};
use crate::span::Span;
use crate::survey::{ADDRESS_LIMIT, Claim, Survey};

const HEAD: &str = "/memreserve/";

/// Adds all reservations of the tree to what has been found.
pub(super) fn read(
    reader: &Reader<'_>,
    tree: Tree<'_>,
    survey: &mut Survey,
) -> Result<(), MapError> {
    for (start, size) in tree.reservations() {
        let text = || format!("{HEAD} {start:#x} {size:#x}");
        let span = span(start, size).ok_or_else(|| reader.too_high(text()))?;
        claim(survey, span, HEAD.to_owned(), ReservationKind::MemReserve);
    }
    for parent in reader.root.children().filter(|node| node.base_name() == "reserved-memory") {
        let cells = reader.cells(parent, reader.root_cells()?)?;
        for node in parent.children().filter(|node| node.is_enabled()) {
            reservation(reader, node, cells, survey)?;
        }
    }
    Ok(())
}

fn reservation(
    reader: &Reader<'_>,
    node: Node<'_>,
    cells: Cells,
    survey: &mut Survey,
) -> Result<(), MapError> {
    let name = node.name().to_owned();
    let path = format!("/reserved-memory/{name}");
    let no_map = node.property("no-map").is_some();
    let mut reusable = node.property("reusable").is_some();
    if no_map && reusable {
        // Memory that must not be mapped cannot be lent: the stricter wish is the safe one.
        warn(survey, format!("{path} is both no-map and reusable; it is taken for no-map"));
        reusable = false;
    }
    if let Some(value) = node.property("reg") {
        let spans = reader.ranges(&path, "reg", value, cells)?;
        if spans.iter().all(|span| span.is_empty()) {
            warn(survey, format!("{path} is of size zero and ignored"));
        }
        for span in spans.into_iter().filter(|span| !span.is_empty()) {
            if reusable {
                draw(survey, span, name.clone(), true);
            } else {
                let kind = if no_map { ReservationKind::NoMap } else { ReservationKind::Static };
                claim(survey, span, name.clone(), kind);
            }
        }
        return Ok(());
    }
    let Some(size) = scalar(reader, &path, node, "size")? else {
        warn(survey, format!("{path} has neither reg nor size and is ignored"));
        return Ok(());
    };
    if size == 0 {
        warn(survey, format!("{path} is of size zero and ignored"));
        return Ok(());
    }
    let align = scalar(reader, &path, node, "alignment")?.unwrap_or(0).max(FRAME_SIZE);
    if !align.is_power_of_two() {
        return Err(reader.malformed(format!("{path} alignment"), "a power of two"));
    }
    let mut within: Vec<FrameRange> = Vec::new();
    if let Some(value) = node.property("alloc-ranges") {
        let spans = reader.ranges(&path, "alloc-ranges", value, cells)?;
        within.extend(spans.iter().map(|span| FrameRange::inside_bytes(span.start, span.end)));
        within.retain(|range| !range.is_empty());
        if within.is_empty() {
            // An empty list would mean that any place will do.
            let text = format!("{path} alloc-ranges");
            return Err(reader.malformed(text, "a range that holds a frame"));
        }
    }
    survey.placements.push(DynamicReservation { name, size, align, within, no_map, reusable });
    Ok(())
}

/// A property that holds one number, in however many cells: trees in the field do not keep to the
/// parent's count here.
pub(super) fn scalar(
    reader: &Reader<'_>,
    path: &str,
    node: Node<'_>,
    property: &str,
) -> Result<Option<u64>, MapError> {
    let Some(value) = node.property(property) else { return Ok(None) };
    let text = || format!("{path} {property}");
    match number(value) {
        Ok(number) if number <= ADDRESS_LIMIT => Ok(Some(number)),
        Ok(_) | Err(CellError::TooHigh) => Err(reader.too_high(text())),
        Err(CellError::Shape) => Err(reader.malformed(text(), "one number of whole cells")),
    }
}

pub(super) fn claim(survey: &mut Survey, span: Span, name: String, kind: ReservationKind) {
    draw(survey, span, name.clone(), false);
    survey.claims.push(Claim { span, name, kind });
}

fn draw(survey: &mut Survey, span: Span, name: String, reusable: bool) {
    let kind = Kind::Reservation { name, reusable };
    survey.extra.push(Listed { start: span.start, end: span.end, kind, node: None, line: None });
}

pub(super) fn warn(survey: &mut Survey, text: String) {
    survey.warnings.push(Warning { line: None, text });
}
