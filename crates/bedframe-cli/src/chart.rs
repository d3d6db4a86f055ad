//! What boot and map both tell of a machine: its memory in words, and by zone and node.

use bedframe::{FrameRange, NodeId, Zone};
use bedframe_firmware::Machine;

use crate::page::{Page, faint, shorten, strong};
use crate::units::{round_size, size, some};

/// Columns of the picture: more than 32 zones make it a little wider.
const PICTURE: usize = 66;

/// The first lines: what is shown, how much memory there is, and what is set apart.
pub(crate) fn summary(page: &mut Page, command: &str, machine: &Machine) {
    let name = shorten(&machine.name, 64);
    page.line(&format!("{}  {}", strong(command), strong(&name)));
    page.words(&in_words(machine));
    if let Some(apart) = apart(machine) {
        page.words(&apart);
    }
}

/// What is not simply there to be used, if anything.
pub(crate) fn apart(machine: &Machine) -> Option<String> {
    let mut apart = Vec::new();
    if machine.reserved_frames() > 0 {
        apart.push(format!("{} reserved", size(machine.reserved_frames())));
    }
    if !machine.mirrored.is_empty() {
        apart.push(format!("{} mirrored", size(frames(&machine.mirrored))));
    }
    if machine.late_frames() > 0 {
        apart.push(format!("{} to be released late", size(machine.late_frames())));
    }
    if !machine.placements.is_empty() {
        apart.push(some(machine.placements.len() as u64, "reservation") + " to find a place for");
    }
    (!apart.is_empty()).then(|| apart.join(", "))
}

/// How many frames the ranges hold.
pub(crate) fn frames(ranges: &[FrameRange]) -> u64 {
    ranges.iter().map(|range| range.frames()).sum()
}

/// How much memory there is, and where.
pub(crate) fn in_words(machine: &Machine) -> String {
    let nodes = machine.nodes().len() as u64;
    format!(
        "{} of RAM in {} on {}, as the {} list has it; the highest byte is {}",
        size(machine.ram_frames()),
        some(machine.ram.len() as u64, "range"),
        some(nodes, "node"),
        machine.source,
        machine.ram.last().map_or("none".into(), |ram| {
            let last = (u128::from(ram.range.end().get()) << bedframe::FRAME_SHIFT) - 1;
            format!("{last:#x}")
        }),
    )
}

/// Nodes against zones: a zone is a power of two of addresses, so the axis is a logarithm.
pub(crate) fn picture(page: &mut Page, heading: &str, machine: &Machine, most: usize) {
    let zones = machine.ram.iter().map(|ram| {
        let last = ram.range.end().get() - 1;
        (Zone::of(ram.range.start()).get(), Zone::of(bedframe::Mfn::new(last)).get())
    });
    let first = zones.clone().map(|(first, _)| first).min().unwrap_or(0);
    let last = zones.map(|(_, last)| last).max().unwrap_or(0);
    let count = usize::from(last - first) + 1;
    let width = (PICTURE / count).clamp(2, 8);
    page.heading(heading, "how much of each zone is RAM of which node: ░ a little, ▓ most, █ all");
    page.row(&faint(&format!("{:8}{}", "", axis(first, count, width))));
    let mut rows = Vec::new();
    for node in machine.nodes() {
        let mut bar = String::new();
        for zone in first..=last {
            bar.extend(std::iter::repeat_n(shade(machine, node, zone), width));
        }
        let ranges = machine.ram.iter().filter(|ram| ram.node == node).count() as u64;
        rows.push(format!(
            "node {:<3}{bar} {:>10}  {}",
            node.0,
            size(machine.ram_frames_on(node)),
            faint(&ranges.to_string()),
        ));
    }
    page.some_rows(&rows, most);
}

/// The first addresses of zones, as far apart as they can be read.
fn axis(first: u8, count: usize, width: usize) -> String {
    let mut axis = String::new();
    for index in 0..count {
        let at = index * width;
        let zone = Zone::new(first + index as u8).unwrap_or(Zone::MIN);
        let label = round_size(zone.frames().start().get());
        if axis.chars().count() <= at {
            axis.extend(std::iter::repeat_n(' ', at - axis.chars().count()));
            axis.push_str(&label);
            axis.push(' ');
        }
    }
    axis
}

fn shade(machine: &Machine, node: NodeId, zone: u8) -> char {
    let all = Zone::new(zone).map_or(FrameRange::EMPTY, Zone::frames);
    let ours = machine.ram.iter().filter(|ram| ram.node == node);
    let frames: u64 = ours.map(|ram| ram.range.intersect(all).frames()).sum();
    let eighths = frames.saturating_mul(8) / all.frames().max(1);
    match eighths {
        _ if frames == 0 => '\u{b7}',
        _ if frames == all.frames() => '\u{2588}',
        0..2 => '\u{2591}',
        2..5 => '\u{2592}',
        _ => '\u{2593}',
    }
}
