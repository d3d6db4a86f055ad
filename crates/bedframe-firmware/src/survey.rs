//! What a reader has found in a source, before the rules for maps are applied to it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bedframe::NodeId;

use crate::error::Place;
use crate::machine::{
    Distances, DynamicReservation, Kind, Listed, ReservationKind, Source, Warning,
};
use crate::span::Span;

/// One more than the highest address that is taken for real: processors have 52 address bits at
/// most, so anything above comes from a garbled number.
pub(crate) const ADDRESS_LIMIT: u64 = 1 << 52;

/// The line or the device tree node that something was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) line: Option<usize>,
    pub(crate) text: String,
}

impl Origin {
    pub(crate) fn place(&self, file: &str) -> Place {
        Place { file: file.to_string(), line: self.line, text: self.text.clone() }
    }
}

/// A listed range of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
    pub(crate) node: Option<NodeId>,
    pub(crate) origin: Origin,
}

impl Entry {
    pub(crate) fn listed(&self) -> Listed {
        Listed {
            start: self.span.start,
            end: self.span.end,
            kind: self.kind.clone(),
            node: self.node,
            line: self.origin.line,
        }
    }
}

/// A statement that the bytes of a range would belong to a node.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) span: Span,
    pub(crate) node: NodeId,
    /// Announced for memory that may come later: counts only where no other statement does.
    pub(crate) hotplug: bool,
    pub(crate) origin: Origin,
}

/// A reservation with a place, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) span: Span,
    pub(crate) name: String,
    pub(crate) kind: ReservationKind,
}

/// Everything that a reader has found.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// The list that decides.
    pub(crate) source: Source,
    pub(crate) entries: Vec<Entry>,
    /// The lists below it, which may only cause warnings.
    pub(crate) lower: Vec<(Source, Vec<Entry>)>,
    pub(crate) homes: Vec<Home>,
    pub(crate) claims: Vec<Claim>,
    /// Bytes that the firmware calls mirrored.
    pub(crate) mirrored: Vec<Span>,
    /// Ranges to draw that are no entries of the list.
    pub(crate) extra: Vec<Listed>,
    pub(crate) placements: Vec<DynamicReservation>,
    pub(crate) distances: Option<Distances>,
    pub(crate) warnings: Vec<Warning>,
}

impl Survey {
    pub(crate) fn new(source: Source, entries: Vec<Entry>) -> Self {
        Self {
            source,
            entries,
            lower: Vec::new(),
            homes: Vec::new(),
            claims: Vec::new(),
            mirrored: Vec::new(),
            extra: Vec::new(),
            placements: Vec::new(),
            distances: None,
            warnings: Vec::new(),
        }
    }
}

/// What the entries say about nodes.
pub(crate) fn homes_of(entries: &[Entry]) -> Vec<Home> {
    entries
        .iter()
        .filter_map(|entry| {
            let node = entry.node?;
            Some(Home { span: entry.span, node, hotplug: false, origin: entry.origin.clone() })
        })
        .collect()
}
