//! A machine on one screen.

use anstyle::{AnsiColor, Style};
use bedframe::{Mfn, NodeId, Zone};
use bedframe_firmware::{DynamicReservation, Machine};

use super::extents::{self, Extent, What};
use super::figures;
use super::scale::{self, Scale};
use crate::chart;
use crate::frames::zone_starts;
use crate::page::{Page, faint, paint, shorten};
use crate::units::{bytes, round_size, size, span};

/// Columns of the strip, and of the longest bar in the list of ranges.
const STRIP: usize = 80;
const BAR: usize = 20;
/// Rows that the nodes take at most, and the nodes and ranges together.
const NODES: usize = 16;
const ROWS: usize = 40;
/// Warnings, and reservations without a place.
const FEW: usize = 4;

/// All of it; with `all`, whatever room it takes.
pub(crate) fn write(machine: &Machine, all: bool) -> String {
    let most = |rows: usize| if all { usize::MAX } else { rows };
    let extents = extents::of(machine);
    let mut page = Page::default();
    chart::summary(&mut page, "bedframe map", machine);
    page.words(&figures::in_words(&figures::nodes(machine)));
    distances(&mut page, machine);
    warnings(&mut page, machine, most(FEW));
    strip(&mut page, &extents::without_tail(&extents));
    let nodes = machine.nodes().len();
    if nodes > 1 {
        chart::picture(&mut page, "zones", machine, most(NODES));
    }
    let left = if nodes > 1 { ROWS - nodes.min(NODES) } else { ROWS };
    ranges(&mut page, extents, most(left));
    placements(&mut page, &machine.placements, most(FEW));
    page.into_text()
}

fn distances(page: &mut Page, machine: &Machine) {
    let Some(distances) = &machine.distances else { return };
    let nodes = distances.nodes();
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
    let others = pairs.filter(|(from, to)| from != to);
    let far: Vec<u32> = others.filter_map(|(from, to)| distances.get(from, to)).collect();
    if let (Some(near), Some(far)) = (far.iter().min(), far.iter().max()) {
        let range = if near == far { near.to_string() } else { format!("{near} to {far}") };
        page.words(&format!("distance from one node to another: {range}, where 10 is its own"));
    }
}

fn warnings(page: &mut Page, machine: &Machine, most: usize) {
    for warning in machine.warnings.iter().take(most) {
        page.verdict(false, &shorten(&format!("warning: {warning}"), 400));
    }
    page.and_more(machine.warnings.len().saturating_sub(most));
}

/// What a kind is called.
const KINDS: [(What, &str); 7] = [
    (What::Ram, "RAM"),
    (What::Mirrored, "mirrored"),
    (What::Reserved, "reserved"),
    (What::Bad, "bad"),
    (What::Late, "late"),
    (What::Listed, "no\u{a0}RAM"),
    (What::Hole, "hole"),
];

/// What a kind looks like.
fn look(what: What) -> (char, Style) {
    match what {
        What::Ram => ('\u{2588}', AnsiColor::Green.on_default()),
        What::Mirrored => ('\u{256c}', AnsiColor::Green.on_default().bold()),
        What::Reserved => ('\u{2593}', AnsiColor::Yellow.on_default()),
        What::Bad => ('\u{2573}', AnsiColor::Red.on_default()),
        What::Late => ('\u{2592}', AnsiColor::Magenta.on_default()),
        What::Listed => ('\u{2591}', AnsiColor::Blue.on_default()),
        What::Hole => ('\u{b7}', Style::new().dimmed()),
    }
}

/// The whole address space in one line, with its nodes and zones below.
fn strip(page: &mut Page, extents: &[Extent]) {
    let shown = KINDS.iter().filter(|(kind, _)| extents.iter().any(|extent| extent.what == *kind));
    let legend: Vec<String> =
        shown.map(|(kind, name)| format!("{}\u{a0}{name}", look(*kind).0)).collect();
    page.heading(
        "memory",
        &format!("the higher, the further right; to the logarithm: {}", legend.join(", ")),
    );
    let scale = Scale::new(extents);
    let column = |at: usize| -> Option<&Extent> {
        let frame = scale.frame((at as f64 + 0.5) / STRIP as f64);
        let index = extents.partition_point(|extent| extent.range.end() <= frame);
        extents.get(index)
    };
    let columns: Vec<What> = (0..STRIP).filter_map(column).map(|extent| extent.what).collect();
    let mut bar = String::new();
    for same in columns.chunk_by(|a, b| a == b) {
        let (sign, style) = look(same[0]);
        bar.push_str(&paint(style, &sign.to_string().repeat(same.len())));
    }
    page.row(&format!("{:8}{bar}", ""));
    page.row(&format!("{:8}{}", "node", faint(&marks(nodes(extents), &scale))));
    let zones = zones(extents).map(|at| (at, round_size(at.get())));
    page.row(&format!("{:8}{}", "zone at", faint(&marks(zones, &scale))));
}

/// Where another node's memory begins.
fn nodes(extents: &[Extent]) -> impl Iterator<Item = (Mfn, String)> {
    let mut last: Option<NodeId> = None;
    extents.iter().filter_map(move |extent| {
        let node = extent.node.filter(|node| last != Some(*node))?;
        last = Some(node);
        Some((extent.range.start(), node.to_string()))
    })
}

/// The first frames of the zones that begin in memory or at its start.
fn zones(extents: &[Extent]) -> impl Iterator<Item = Mfn> {
    zone_starts().filter(|at| {
        extents.iter().any(|extent| extent.node.is_some() && extent.range.contains(*at))
    })
}

/// A stroke and a name at each place, as far as they can be read.
fn marks(marks: impl Iterator<Item = (Mfn, String)>, scale: &Scale) -> String {
    let mut line = String::new();
    let mut used = 0;
    for (at, name) in marks {
        let column = (scale.at(at) * STRIP as f64).round() as usize;
        let end = column + 1 + name.chars().count();
        if column >= used && end <= STRIP {
            line.extend(std::iter::repeat_n(' ', column - used));
            line.push('\u{2502}');
            line.push_str(&name);
            used = end;
        }
    }
    line
}

/// Range by range, holes too.
fn ranges(page: &mut Page, mut extents: Vec<Extent>, most: usize) {
    if extents.len() > most {
        extents = extents::folded(&extents);
    }
    page.heading("ranges", "the bar is the logarithm of the size");
    let longest = extents.iter().map(|extent| scale::weight(extent.range)).fold(1.0, f64::max);
    let rows: Vec<String> = extents.iter().map(|extent| range(extent, longest)).collect();
    page.some_rows(&rows, most);
}

fn range(extent: &Extent, longest: f64) -> String {
    let (sign, style) = look(extent.what);
    let share = scale::weight(extent.range) / longest * BAR as f64;
    let bar = sign.to_string().repeat((share.ceil() as usize).clamp(1, BAR));
    let bar = paint(style, &format!("{bar:BAR$}"));
    let place = format!("{:>29} {:>10}  ", span(extent.range), size(extent.range.frames()));
    let Some(node) = extent.node else {
        let name = shorten(&extent.name, 30);
        return format!("{}{bar}  {}", faint(&place), faint(&name));
    };
    let first = Zone::of(extent.range.start());
    let last = Zone::of(Mfn::new(extent.range.end().get() - 1));
    let zones =
        if first == last { format!("zone {first}") } else { format!("zones {first}-{last}") };
    let name = match extent.what {
        _ if extent.name == extents::RAM => zones,
        What::Mirrored => format!("{zones}, mirrored"),
        _ => extent.name.clone(),
    };
    format!("{place}{bar}  {}", shorten(&format!("node {node}, {name}"), 33))
}

/// Reservations that only have a size.
fn placements(page: &mut Page, placements: &[DynamicReservation], most: usize) {
    if placements.is_empty() {
        return;
    }
    page.heading("to be placed", "reservations of which only the size is given");
    let row = |wanted: &DynamicReservation| {
        let within = match &wanted.within[..] {
            [] => "anywhere".into(),
            [one] => format!("within {}", span(*one)),
            [first, rest @ ..] => format!("within {} and {} more", span(*first), rest.len()),
        };
        let reusable = if wanted.reusable { ", reusable" } else { "" };
        let align = bytes(wanted.align);
        format!(
            "{:>10}  {}, aligned to {align}, {within}{reusable}",
            bytes(wanted.size),
            wanted.name
        )
    };
    let rows: Vec<String> = placements.iter().map(|wanted| shorten(&row(wanted), 90)).collect();
    page.some_rows(&rows, most);
}
