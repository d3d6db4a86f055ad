//! What the lines of one boot add up to.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

use bedframe::NodeId;

use super::line::Fault;
use super::reserved::{self, Reserved};
use super::{e820, efi, iomem, node_ranges, slit, srat, xen};
use crate::error::MapError;
use crate::machine::{Kind, Listed, ReservationKind, Source, Warning};
use crate::span::Span;
use crate::survey::{Claim, Entry, Home, Origin, Survey, homes_of};

/// One list of memory: what was read of it, and the first line of it that could not be.
#[derive(Debug)]
struct List {
    source: Source,
    entries: Vec<Entry>,
    fault: Option<(Origin, Fault)>,
}

/// What one line says, in the light of the lines before it.
#[derive(Debug)]
pub(super) enum Reading {
    /// Nothing of memory: other people's business, or a remark of whoever kept the log.
    Nothing,
    /// A row of the table of distances.
    Distances(Vec<u32>),
    /// A kernel starts.
    Version,
    /// The firmware's list follows.
    Heading,
    /// The user's list follows.
    UserHeading,
    /// The ranges per node follow.
    NodeHeading,
    /// An entry of a list.
    Entry(Source, Result<(Span, Kind, Option<NodeId>), Fault>),
    /// An entry of UEFI's list.
    Efi { by_xen: bool, region: Result<efi::Region, Fault> },
    /// An entry of /proc/iomem as it is shown to those who are not root.
    Hidden,
    /// Where the nodes lie.
    Home(Result<srat::Affinity, Fault>),
    /// A reservation of a device tree.
    Reserved(Result<Reserved, Fault>),
    /// Xen tells its version.
    XenVersion,
    /// Xen starts on Arm.
    XenStart,
    /// Xen's list follows.
    XenHeading { initial: bool },
    /// A reservation of Xen's on Arm.
    XenReservation(Result<(Span, String, ReservationKind), Fault>),
    /// Xen says something else.
    XenOther,
}

impl Reading {
    /// What is wrong with the line; it may have been wrapped.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self {
            Reading::Entry(_, Err(fault))
            | Reading::Efi { region: Err(fault), .. }
            | Reading::Home(Err(fault))
            | Reading::Reserved(Err(fault))
            | Reading::XenReservation(Err(fault)) => Some(*fault),
            _ => None,
        }
    }

    /// Whether this makes sense as a line put together of several. What is no RAM in /proc/iomem
    /// may have any name, so that any line would do as the rest of one.
    pub(super) fn is_joined(&self) -> bool {
        match self {
            Reading::Entry(Source::Iomem, read) => matches!(read, Ok((_, Kind::Usable, _))),
            Reading::Entry(..)
            | Reading::Efi { .. }
            | Reading::Home(_)
            | Reading::Reserved(_)
            | Reading::XenReservation(_) => self.fault().is_none(),
            _ => false,
        }
    }
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
    mirrored: Vec<Span>,
    /// What a device tree reserves, as its kernel tells it.
    reserved: Vec<(Reserved, Option<usize>)>,
    reserved_fault: Option<(Origin, Fault)>,
    /// What Xen reserves on Arm.
    claims: Vec<(Claim, Option<usize>)>,
    /// The range of /proc/iomem that the next may be a part of.
    iomem_top: Option<Span>,
    hidden: Option<Origin>,
    seen_version: bool,
    seen_heading: bool,
    seen_user_heading: bool,
    seen_node_heading: bool,
    /// Whether there is a list of a kernel's.
    seen_linux: bool,
    seen_xen_version: bool,
    /// Xen's heading, if there was one, and whether the list below it comes again.
    seen_xen_heading: Option<bool>,
    /// Whether the last of Xen's lines was of its list.
    in_xen_list: bool,
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
            mirrored: Vec::new(),
            reserved: Vec::new(),
            reserved_fault: None,
            claims: Vec::new(),
            iomem_top: None,
            hidden: None,
            seen_version: false,
            seen_heading: false,
            seen_user_heading: false,
            seen_node_heading: false,
            seen_linux: false,
            seen_xen_version: false,
            seen_xen_heading: None,
            in_xen_list: false,
        }
    }

    /// Whether the boot has a list of memory, whole or not.
    pub(super) fn has_list(&self) -> bool {
        !self.lists.is_empty()
    }

    /// Whether the boot has a list, or anything that tells why there is none.
    pub(super) fn is_telling(&self) -> bool {
        let told = self.hidden.is_some() || !self.homes.is_empty() || self.home_fault.is_some();
        told || self.has_list()
    }

    /// What a line says.
    pub(super) fn read(&self, body: &str) -> Reading {
        if let Some(row) = slit::read(body) {
            return Reading::Distances(row);
        }
        if body.starts_with('#') {
            return Reading::Nothing;
        }
        if let Some(text) = xen::text(body) {
            return self.read_xen(text);
        }
        if body.starts_with("Linux version ") {
            Reading::Version
        } else if e820::is_heading(body) {
            Reading::Heading
        } else if e820::is_user_heading(body) {
            Reading::UserHeading
        } else if node_ranges::is_heading(body) {
            Reading::NodeHeading
        } else if let Some((source, read)) = e820::read(body, self.seen_user_heading) {
            Reading::Entry(source, read.map(|(span, kind)| (span, kind, None)))
        } else if let Some(read) = node_ranges::read(body, self.seen_node_heading) {
            let read = read.map(|(span, node)| (span, Kind::Usable, Some(node)));
            Reading::Entry(Source::NodeRanges, read)
        } else if let Some(read) = srat::read(body) {
            Reading::Home(read)
        } else if let Some(read) = reserved::read(body) {
            Reading::Reserved(read)
        } else if let Some(region) = efi::read(body) {
            Reading::Efi { by_xen: false, region }
        } else if iomem::is_hidden(body) {
            Reading::Hidden
        } else if let Some(read) = iomem::read(body, self.iomem_top.is_some()) {
            Reading::Entry(Source::Iomem, read.map(|(span, kind)| (span, kind, None)))
        } else if let Some(initial) = xen::heading(body) {
            Reading::XenHeading { initial }
        } else if self.seen_xen_heading.is_some()
            && let Some(read) = xen::read_bare(body)
        {
            Reading::Entry(Source::Xen, read.map(|(span, kind)| (span, kind, None)))
        } else {
            Reading::Nothing
        }
    }

    fn read_xen(&self, text: &str) -> Reading {
        if let Some(read) = srat::read(text) {
            return Reading::Home(read);
        }
        if let Some(region) = efi::read_xen(text) {
            return Reading::Efi { by_xen: true, region };
        }
        match xen::read(text, self.in_xen_list) {
            xen::Line::Start if text.starts_with("Xen version ") => Reading::XenVersion,
            xen::Line::Start => Reading::XenStart,
            xen::Line::Heading { initial } => Reading::XenHeading { initial },
            xen::Line::Range(read) => {
                Reading::Entry(Source::Xen, read.map(|(span, kind)| (span, kind, None)))
            }
            xen::Line::Bank(read) => {
                Reading::Entry(Source::Xen, read.map(|span| (span, Kind::Usable, None)))
            }
            xen::Line::Reservation(read) => Reading::XenReservation(read),
            xen::Line::Other => Reading::XenOther,
        }
    }

    /// Whether the line is one that comes once a boot, and this boot has it already or is past
    /// it. A kernel that starts behind Xen belongs to the same boot.
    pub(super) fn ends_before(&self, reading: &Reading) -> bool {
        let past_lists = self.seen_node_heading || self.has(Source::NodeRanges);
        let seen_kernel = self.seen_heading || self.seen_linux || past_lists;
        match reading {
            Reading::Version => self.seen_version || seen_kernel,
            Reading::Heading => seen_kernel,
            Reading::NodeHeading => past_lists,
            // Reservations come before the lists of nodes, unless somebody has put them in order.
            Reading::Reserved(Ok(reserved)) => {
                past_lists && self.reserved.first().is_some_and(|(first, _)| first == reserved)
            }
            Reading::XenVersion => self.seen_xen_version || self.seen_version || seen_kernel,
            Reading::XenStart => self.has(Source::Xen) || self.seen_version || seen_kernel,
            Reading::XenHeading { .. } => {
                let again = self.seen_xen_heading == Some(false)
                    || (self.seen_xen_heading.is_none() && self.has(Source::Xen));
                again || self.seen_version || seen_kernel
            }
            // On Arm, RAM is listed first.
            Reading::Entry(Source::Xen, _) => !self.claims.is_empty(),
            Reading::Entry(Source::Iomem, Ok((span, ..))) => {
                let first = self.lists.iter().find(|list| list.source == Source::Iomem);
                let first = first.and_then(|list| list.entries.first());
                first.is_some_and(|first| {
                    // Its parts may begin where the first range does, but they come right behind.
                    span.start <= first.span.start && self.iomem_top != Some(first.span)
                })
            }
            _ => false,
        }
    }

    /// Takes in what a line says; `origin` makes its place if it matters.
    pub(super) fn take(&mut self, reading: Reading, origin: impl Fn() -> Origin) {
        match reading {
            Reading::Nothing => {}
            Reading::Distances(row) => self.distances.push(row),
            Reading::Version => self.seen_version = true,
            Reading::Heading => self.seen_heading = true,
            Reading::UserHeading => self.seen_user_heading = true,
            Reading::NodeHeading => self.seen_node_heading = true,
            Reading::Entry(source, read) => self.take_entry(source, read, origin),
            Reading::Efi { by_xen, region } => {
                self.seen_linux |= !by_xen;
                self.in_xen_list &= !by_xen;
                if let Ok(region) = &region
                    && region.mirrored
                {
                    self.mirrored.push(region.span);
                }
                let read = region.map(|region| (region.span, region.kind, None));
                self.add(Source::Efi, read, origin);
            }
            Reading::Hidden => {
                self.hidden.get_or_insert_with(origin);
            }
            Reading::Home(Ok(srat::Affinity { span, node, hotplug })) => {
                self.homes.push(Home { span, node, hotplug, origin: origin() });
            }
            Reading::Home(Err(fault)) => {
                self.home_fault.get_or_insert_with(|| (origin(), fault));
            }
            Reading::Reserved(Ok(reserved)) => self.reserved.push((reserved, origin().line)),
            Reading::Reserved(Err(fault)) => {
                self.reserved_fault.get_or_insert_with(|| (origin(), fault));
            }
            Reading::XenVersion => self.seen_xen_version = true,
            Reading::XenStart => {}
            Reading::XenHeading { initial } => {
                if self.seen_xen_heading == Some(true) {
                    // The list that comes is the one in force.
                    self.lists.retain(|list| list.source != Source::Xen);
                }
                self.seen_xen_heading = Some(initial);
                self.in_xen_list = true;
            }
            Reading::XenReservation(Ok((span, name, kind))) => {
                self.claims.push((Claim { span, name, kind }, origin().line));
            }
            Reading::XenReservation(Err(fault)) => self.add(Source::Xen, Err(fault), origin),
            Reading::XenOther => self.in_xen_list = false,
        }
    }

    fn take_entry(
        &mut self,
        source: Source,
        read: Result<(Span, Kind, Option<NodeId>), Fault>,
        origin: impl Fn() -> Origin,
    ) {
        match source {
            Source::Xen => {}
            Source::Iomem => {
                if let Ok((span, ..)) = read {
                    let inside = |top: Span| top.start <= span.start && span.end <= top.end;
                    if self.iomem_top.is_some_and(inside) {
                        return;
                    }
                    self.iomem_top = Some(span);
                }
            }
            _ => self.seen_linux = true,
        }
        self.add(source, read, origin);
    }

    fn has(&self, source: Source) -> bool {
        self.lists.iter().any(|list| list.source == source)
    }

    fn add(
        &mut self,
        source: Source,
        read: Result<(Span, Kind, Option<NodeId>), Fault>,
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
            return Err(match (self.hidden, self.home_fault, self.homes.into_iter().next()) {
                (Some(origin), _, _) => MapError::NeedsRoot { place: origin.place(file) },
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
        survey.mirrored = self.mirrored;
        if survey.source == Source::Xen {
            // A kernel above Xen does not say what is reserved below it.
            survey.extra = self.claims.iter().map(listed).collect();
            survey.claims = self.claims.into_iter().map(|(claim, _)| claim).collect();
        } else if let Some((origin, fault)) = self.reserved_fault {
            return Err(error(file, &origin, fault));
        } else {
            for (reserved, line) in self.reserved {
                let Reserved { span, name, kind } = reserved;
                survey.extra.push(drawn(span, name.clone(), kind.is_none(), line));
                survey.claims.extend(kind.map(|kind| Claim { span, name, kind }));
            }
        }
        for list in lists {
            let ignored = list.fault.map(|fault| ignored(list.source, fault));
            survey.warnings.extend(ignored);
            survey.lower.push((list.source, list.entries));
        }
        if let Some(origin) = self.hidden {
            let text = "/proc/iomem shows zeros to all but root; it is ignored".to_string();
            survey.warnings.push(Warning { line: origin.line, text });
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
        match slit::table(self.distances) {
            Ok(distances) => survey.distances = distances,
            Err(warning) => survey.warnings.push(warning),
        }
        Ok(survey)
    }
}

fn listed((claim, line): &(Claim, Option<usize>)) -> Listed {
    drawn(claim.span, claim.name.clone(), false, *line)
}

fn drawn(span: Span, name: String, reusable: bool, line: Option<usize>) -> Listed {
    let kind = Kind::Reservation { name, reusable };
    Listed { start: span.start, end: span.end, kind, node: None, line }
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
