//! What boot took, what became of it, and how hand-over went.

use std::collections::BTreeMap;

use bedframe::{Mfn, NodeId};

use crate::boot::fate::Fate;
use crate::boot::outcome::Outcome;
use crate::boot::plan::What;
use crate::frames;
use crate::page::{Page, faint, shorten, strong};
use crate::units::{address, count, size, some, span, time};

/// Rows of ranges over edges, for each kind of edge.
const EDGES: usize = 6;

pub(super) fn taken(page: &mut Page, outcome: &Outcome<'_>) {
    let [top, middle, low] = outcome.plan.tables.levels;
    page.heading(
        "what boot took",
        &format!(
            "for {} (a guess: the map does not say), and a direct map with {top}, {middle} and {low} \
             tables of 1 GiB, 2 MiB and 4 KiB entries",
            some(u64::from(outcome.plan.cpu_count()), "CPU")
        ),
    );
    let mut kinds: BTreeMap<What, (u64, u64, Mfn, Mfn)> = BTreeMap::new();
    for taken in &outcome.taken {
        let range = taken.range;
        let kind = kinds.entry(taken.what).or_insert((0, 0, Mfn::MAX, Mfn::ZERO));
        kind.0 += 1;
        kind.1 += range.frames();
        kind.2 = kind.2.min(range.start());
        kind.3 = kind.3.max(range.end());
    }
    page.row(&faint(&format!("{:22}{:>8}{:>10}{:>12}  {}", "", "pieces", "frames", "", "between")));
    let mut all = (0, 0);
    for (what, (pieces, frames, start, end)) in kinds {
        all = (all.0 + pieces, all.1 + frames);
        page.row(&format!(
            "{what:22}{:>8}{:>10}{:>12}  {}",
            count(pieces),
            count(frames),
            size(frames),
            faint(&span(frames::between(start, end)))
        ));
    }
    let (pieces, frames) = (count(all.0), count(all.1));
    page.row(&strong(&format!("{:22}{pieces:>8}{frames:>10}{:>12}", "all", size(all.1))));
}

pub(super) fn handover(page: &mut Page, outcome: &Outcome<'_>) {
    let handover = &outcome.handover;
    let [median, best, worst] = handover.warm;
    page.heading("hand-over", "from the boot allocator to the heap, one call of `start`");
    page.row(&format!(
        "warm   {:>9}  {}",
        strong(&format!("{:>9}", time(median))),
        faint(&format!(
            "median of {} ({} to {}); the index's memory was full of garbage",
            handover.times,
            time(best),
            time(worst)
        ))
    ));
    let cold = format!("{:>9}", time(handover.cold));
    page.row(&format!("cold   {cold}  {}", faint("nobody had touched that memory before")));
    page.row(&format!(
        "index  {:>9}  {}",
        size(handover.metadata),
        faint(&format!(
            "{:.3} bytes for each of {} frames",
            handover.bytes_per_frame(),
            count(handover.frames)
        ))
    ));
}

/// The seed of the project: ranges that cross edges, freed whole and in pieces.
pub(super) fn seed(page: &mut Page, outcome: &Outcome<'_>) {
    let returned = &outcome.returned;
    page.heading(
        "seed",
        "boot ranges over edges, freed into the heap: the orders of the free blocks that their \
         frames are part of now; \u{2502} is an edge, and nothing lies over one",
    );
    if outcome.fates.is_empty() {
        page.row("this map has no edge in the middle of memory");
    } else {
        page.row(&faint(&format!("{:31}{:>6}  {:24}  {}", "", "frames", "edge", "orders")));
    }
    let chosen = choose(&outcome.fates);
    for fate in &chosen {
        page.row(&format!(
            "{:31}{:>6}  {:24}  {}",
            span(fate.range),
            count(fate.range.frames()),
            shorten(&edges(fate), 24),
            shorten(&orders(fate), 28)
        ));
    }
    page.and_more(outcome.fates.len() - chosen.len());
    page.words(&format!(
        "{} freed in {}: {} with frames of several allocations, {} with a part of one",
        some(returned.frames, "boot frame"),
        some(returned.calls, "call"),
        count(returned.unions),
        count(returned.parts),
    ));
    page.words(&format!(
        "released late: the boot loader's modules, {}, and {} of firmware's tables",
        size(returned.modules),
        size(returned.late)
    ));
}

/// Mapped before there was a heap, unmapped after.
pub(super) fn mapped(page: &mut Page, outcome: &Outcome<'_>) {
    let mapped = &outcome.mapped;
    page.heading("vmap", "scattered frames in a row, with guard pages");
    if mapped.early == 0 {
        page.row("this machine has no memory to spare for mappings");
        return;
    }
    page.words(&format!(
        "mapped by boot and unmapped after hand-over: {} of {}, whose frames are in the heap now",
        some(mapped.early, "page"),
        some(mapped.runs, "run"),
    ));
    page.words(&format!(
        "mapped and unmapped by the running heap: {}; {} faulted as they must",
        some(mapped.late, "page"),
        some(mapped.faults, "guard and unmapped page"),
    ));
}

/// One domain, from its first frame to its last.
pub(super) fn domain(page: &mut Page, outcome: &Outcome<'_>) {
    page.heading(
        "domain",
        "one life, on the same map booted once more, all of it mapped, with records",
    );
    let Some(life) = &outcome.life else {
        page.row("this machine has no memory to spare for a domain");
        return;
    };
    let on = |(node, frames): &(NodeId, u64)| format!("{} on node {node}", size(*frames));
    let nodes: Vec<String> = life.nodes.iter().map(on).collect();
    let row = |name: &str, frames: u64, remark: &str| {
        format!("{name:12}{:>10}{:>12}  {}", count(frames), size(frames), faint(remark))
    };
    page.row(&row(
        "quota",
        life.quota,
        &format!("{} were refused by name", some(life.refused, "wrong call")),
    ));
    page.row(&row("adopted", life.adopted, "boot memory that became its own where it lies"));
    page.row(&row("allocated", life.allocated, &nodes.join(", ")));
    page.row(&row("extra", life.extra, "not accounted"));
    let taken = some(life.calls, "bounded call");
    page.row(&row(
        "relinquished",
        life.gone,
        &format!("after its death, by {taken} in {}", time(life.took)),
    ));
    page.row(&row("kept", life.kept, "until a device gave its reference back"));
}

/// Some of each kind, in ascending order.
fn choose(fates: &[Fate]) -> Vec<&Fate> {
    let (mut zones, mut nodes, mut pools) = (0, 0, 0);
    let mut chosen = Vec::new();
    for fate in fates {
        let pool = fate.edges.iter().any(|edge| edge.pool);
        let node = fate.edges.iter().any(|edge| edge.nodes.is_some());
        let seen = if pool {
            &mut pools
        } else if node {
            &mut nodes
        } else {
            &mut zones
        };
        *seen += 1;
        if *seen <= EDGES {
            chosen.push(fate);
        }
    }
    chosen
}

/// "zone 20|21, node 0|1", or "zones 1 to 9" where there are many.
fn edges(fate: &Fate) -> String {
    let names: Vec<String> = fate.edges.iter().map(|edge| edge.name()).collect();
    match (fate.edges.first(), fate.edges.last()) {
        (Some(first), Some(last)) if names.len() > 2 => {
            let zone = |at: Mfn| bedframe::Zone::of(at).get();
            let below = Mfn::new(first.at.get().saturating_sub(1));
            format!("{} edges, zones {} to {}", names.len(), zone(below), zone(last.at))
        }
        _ => names.join(", "),
    }
}

/// The orders of the blocks, with a stroke for each edge.
fn orders(fate: &Fate) -> String {
    let mut text = String::new();
    for block in &fate.blocks {
        let edge = fate.edges.iter().any(|edge| edge.at == block.start());
        if !text.is_empty() {
            text.push(if edge { '\u{2502}' } else { ' ' });
        }
        text.push_str(&frames::order(*block).to_string());
    }
    if text.is_empty() {
        format!("nothing is free at {}", address(fate.range.start()))
    } else {
        text
    }
}
