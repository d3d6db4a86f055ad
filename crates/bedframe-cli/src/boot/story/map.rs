//! The machine and its map, in one screen.

use bedframe::FrameRange;

use crate::boot::outcome::Outcome;
use crate::chart;
use crate::page::{Page, shorten};
use crate::units::{address, size, span};

/// Rows of nodes, and of ranges.
const NODES: usize = 20;
const RANGES: usize = 10;

pub(super) fn machine(page: &mut Page, outcome: &Outcome<'_>) {
    let machine = outcome.machine;
    chart::summary(page, "bedframe boot", machine);
    page.words(&xen_heap(outcome));
    for warning in &machine.warnings {
        page.verdict(false, &format!("warning: {warning}"));
    }
    for remark in &outcome.remarks {
        page.verdict(false, remark);
    }
}

fn xen_heap(outcome: &Outcome<'_>) -> String {
    let heap = match outcome.xen_heap {
        bedframe::XenHeap::Unified => "unified, everything mapped".into(),
        bedframe::XenHeap::Limited { limit } => {
            format!("unified, mapped below {} (odd on purpose)", address(limit))
        }
        bedframe::XenHeap::Separate { range } => {
            format!("separate, {} at {} (odd on purpose)", size(range.frames()), span(range))
        }
    };
    format!("Xen heap: {heap}; seed {}", outcome.seed)
}

/// By zone and node, and range by range.
pub(super) fn picture(page: &mut Page, outcome: &Outcome<'_>) {
    chart::picture(page, "map", outcome.machine, NODES);
    ranges(page, outcome);
}

/// Every range of memory there is: RAM, late, reserved.
fn ranges(page: &mut Page, outcome: &Outcome<'_>) {
    let machine = outcome.machine;
    let mut all: Vec<(FrameRange, String)> = Vec::new();
    for ram in &machine.ram {
        all.push((ram.range, format!("RAM, node {}", ram.node)));
    }
    for late in &machine.late {
        all.push((late.range, format!("{}, node {}", late.why, late.node)));
    }
    for reserved in &machine.reserved {
        all.push((reserved.range, format!("{} inside RAM: {}", reserved.kind, reserved.name)));
    }
    all.sort_by_key(|(range, _)| range.start());
    let rows: Vec<String> = all
        .iter()
        .map(|(range, what)| {
            let what = shorten(what, 40);
            format!("{:>34} {:>10}  {what}", span(*range), size(range.frames()))
        })
        .collect();
    page.line("");
    page.some_rows(&rows, RANGES);
}
