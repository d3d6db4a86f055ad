//! What the lines of one boot add up to.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt::Display;

use super::line::Fault;
use super::{e820, foreign, node_ranges, slit, srat};
use crate::error::MapError;
use crate::machine::{Kind, Source, Warning};
use crate::survey::{Entry, Home, Origin, Survey, homes_of};

/// One list of memory: what was read of it, and the first line of it that could not be.
#[derive(Debug)]
struct List {
    source: Source,
    entries: Vec<Entry>,
    fault: Option<(Origin, Fault)>,
}

/// What the lines since the last start of a boot say.
#[derive(Debug)]
pub(super) struct Boot {
    pub(super) first_line: usize,
    pub(super) warnings: Vec<Warning>,
    lists: Vec<List>,
    homes: Vec<Home>,
    home_fault: Option<(Origin, Fault)>,
    distances: Vec<Vec<u32>>,
    foreign: Option<(Origin, &'static str)>,
    seen_version: bool,
    seen_heading: bool,
    seen_user_heading: bool,
    seen_node_heading: bool,
}

impl Boot {
    pub(super) fn new(first_line: usize) -> Self {
        Self {
            first_line,
            warnings: Vec::new(),
            lists: Vec::new(),
            homes: Vec::new(),
            home_fault: None,
            distances: Vec::new(),
            foreign: None,
            seen_version: false,
            seen_heading: false,
            seen_user_heading: false,
            seen_node_heading: false,
        }
    }

    /// Whether the boot has a list of memory, whole or not.
    pub(super) fn has_list(&self) -> bool {
        !self.lists.is_empty()
    }

    /// Whether the line is one that a kernel prints once a boot, and this boot has it already or
    /// is past it.
    pub(super) fn ends_before(&self, body: &str) -> bool {
        let past_lists = self.seen_node_heading || self.has(Source::NodeRanges);
        if body.starts_with("Linux version ") {
            self.seen_version || self.seen_heading || self.has_list() || past_lists
        } else if e820::is_heading(body) {
            self.seen_heading || self.has_list() || past_lists
        } else if node_ranges::is_heading(body) {
            past_lists
        } else {
            false
        }
    }

    /// Takes in one line; `origin` makes its place for those that matter.
    pub(super) fn take(&mut self, body: &str, origin: impl Fn() -> Origin) {
        if let Some(row) = slit::read(body) {
            self.distances.push(row);
        } else if body.starts_with('#') {
            // A remark of whoever kept the log; it may well quote a line.
        } else if body.starts_with("Linux version ") {
            self.seen_version = true;
        } else if e820::is_heading(body) {
            self.seen_heading = true;
        } else if e820::is_user_heading(body) {
            self.seen_user_heading = true;
        } else if node_ranges::is_heading(body) {
            self.seen_node_heading = true;
        } else if let Some((source, read)) = e820::read(body, self.seen_user_heading) {
            self.add(source, read.map(|(span, kind)| (span, kind, None)), origin);
        } else if let Some(read) = node_ranges::read(body, self.seen_node_heading) {
            let read = read.map(|(span, node)| (span, Kind::Usable, Some(node)));
            self.add(Source::NodeRanges, read, origin);
        } else if let Some(read) = srat::read(body) {
            match read {
                Ok(srat::Affinity { span, node, hotplug }) => {
                    self.homes.push(Home { span, node, hotplug, origin: origin() });
                }
                Err(fault) => {
                    self.home_fault.get_or_insert_with(|| (origin(), fault));
                }
            }
        } else if let Some(format) = foreign::format(body) {
            self.foreign.get_or_insert_with(|| (origin(), format));
        }
    }

    fn has(&self, source: Source) -> bool {
        self.lists.iter().any(|list| list.source == source)
    }

    fn add(
        &mut self,
        source: Source,
        read: Result<(crate::span::Span, Kind, Option<bedframe::NodeId>), Fault>,
        origin: impl Fn() -> Origin,
    ) {
        let place = self.lists.iter().position(|list| list.source == source);
        let place = place.unwrap_or_else(|| {
            self.lists.push(List { source, entries: Vec::new(), fault: None });
            self.lists.len() - 1
        });
        let Some(list) = self.lists.get_mut(place) else { return };
        match read {
            Ok((span, kind, node)) => {
                list.entries.push(Entry { span, kind, node, origin: origin() });
            }
            Err(fault) => {
                list.fault.get_or_insert_with(|| (origin(), fault));
            }
        }
    }

    /// Chooses the list that decides. A line that cannot be is an error in that list and in
    /// SRAT, which says where its RAM lies, and a warning in any list below.
    pub(super) fn survey(mut self, file: &str) -> Result<Survey, MapError> {
        self.lists.sort_by_key(|list| list.source);
        let mut lists = self.lists.into_iter();
        let Some(top) = lists.next() else {
            return Err(match (self.foreign, self.home_fault, self.homes.into_iter().next()) {
                (Some((origin, format)), _, _) => {
                    MapError::NotRead { place: origin.place(file), format }
                }
                (None, Some((origin, fault)), _) => error(file, &origin, fault),
                (None, None, Some(home)) => MapError::SratOnly { place: home.origin.place(file) },
                (None, None, None) => MapError::NoMap { file: file.to_string() },
            });
        };
        if let Some((origin, fault)) = top.fault {
            return Err(error(file, &origin, fault));
        }
        let mut survey = Survey::new(top.source, top.entries);
        survey.warnings = self.warnings;
        for list in lists {
            let ignored = list.fault.map(|fault| ignored(list.source, fault));
            survey.warnings.extend(ignored);
            survey.lower.push((list.source, list.entries));
        }
        if survey.source == Source::NodeRanges {
            // This list names its nodes itself.
            survey.warnings.extend(self.home_fault.map(|fault| ignored("SRAT", fault)));
            survey.homes = homes_of(&survey.entries);
        } else if let Some((origin, fault)) = self.home_fault {
            return Err(error(file, &origin, fault));
        } else if self.homes.is_empty() {
            // Some machines tell the kernel their nodes by other ways than SRAT.
            survey.homes = survey.lower.iter().flat_map(|(_, list)| homes_of(list)).collect();
        } else {
            survey.homes = self.homes;
        }
        if survey.source == Source::NodeRanges
            && let Some((origin, format)) = self.foreign
        {
            // Such a list comes before the kernel's own ranges, which may tell of a guest only.
            let text = format!("{format} would count, but cannot be read yet");
            survey.warnings.push(Warning { line: origin.line, text });
        }
        match slit::table(self.distances) {
            Ok(distances) => survey.distances = distances,
            Err(warning) => survey.warnings.push(warning),
        }
        Ok(survey)
    }
}

fn ignored(list: impl Display, (origin, fault): (Origin, Fault)) -> Warning {
    let why = match fault {
        Fault::Expected(expected) => expected,
        Fault::Reversed => "an end that is not below its start",
        Fault::TooHigh => "addresses below 2^52",
    };
    let text = format!("the line is no part of the {list}, which it claims to be: expected {why}");
    Warning { line: origin.line, text }
}

fn error(file: &str, origin: &Origin, fault: Fault) -> MapError {
    let place = origin.place(file);
    match fault {
        Fault::Expected(expected) => MapError::Malformed { place, expected },
        Fault::Reversed => MapError::Reversed { place },
        Fault::TooHigh => MapError::TooHigh { place },
    }
}
