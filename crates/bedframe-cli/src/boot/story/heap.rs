//! The heap at the end: free memory by node, zone and order.

use bedframe::Zone;

use crate::boot::census::Free;
use crate::boot::outcome::Outcome;
use crate::page::{Page, faint};
use crate::units::{count, round_size, size};

/// Rows of nodes.
const NODES: usize = 16;

pub(super) fn free(page: &mut Page, outcome: &Outcome<'_>) {
    let states = &outcome.states;
    page.heading(
        "free memory",
        &format!(
            "{} in {} blocks, each as large as can be; withheld: {} metadata, {} reserved, frame 0: {}",
            size(states.free),
            count(outcome.census.all.count()),
            size(states.metadata),
            size(states.reserved),
            if states.frame_zero > 0 { "4 KiB" } else { "no RAM" }
        ),
    );
    nodes(page, outcome);
    page.line("");
    zones(page, outcome);
    page.line("");
    orders(page, &outcome.census.all);
}

fn nodes(page: &mut Page, outcome: &Outcome<'_>) {
    page.row(&faint(&format!(
        "{:8}{:>16}{:>12}{:>12}{:>12}{:>9}{:>16}",
        "", "free frames", "free", "of RAM", "withheld", "blocks", "largest order"
    )));
    let none = Free::default();
    let rows: Vec<String> = outcome
        .nodes
        .iter()
        .map(|node| {
            let free = outcome.census.nodes.get(&node.id).unwrap_or(&none);
            format!(
                "node {:<3}{:>16}{:>12}{:>12}{:>12}{:>9}{:>16}",
                node.id.0,
                count(node.free),
                size(node.free),
                size(node.ram),
                // Late memory may make a node larger than its RAM.
                size(node.ram.saturating_sub(node.free)),
                count(free.count()),
                free.largest().map_or("-".into(), |order| order.to_string())
            )
        })
        .collect();
    page.some_rows(&rows, NODES);
}

/// Zones in two columns.
fn zones(page: &mut Page, outcome: &Outcome<'_>) {
    let cells: Vec<String> = outcome
        .census
        .zones
        .iter()
        .map(|(&zone, free)| {
            let start = Zone::new(zone).unwrap_or(Zone::MIN).frames().start().get();
            format!(
                "zone {zone:<3} {:>5} {:>11} {:>6} \u{2264} {:<2}",
                round_size(start),
                size(free.frames),
                count(free.count()),
                free.largest().map_or("-".into(), |order| order.to_string())
            )
        })
        .collect();
    let head = format!("{:8} {:>5} {:>11} {:>6}  order", "", "from", "free", "blocks");
    page.row(&faint(&format!("{head:42}   {}", if cells.len() > 1 { &head } else { "" })));
    let rows = cells.len().div_ceil(2);
    for row in 0..rows {
        let left = cells.get(row).map_or("", String::as_str);
        let right = cells.get(row + rows).map_or("", String::as_str);
        page.row(&format!("{left:42}   {right}"));
    }
}

/// All orders there are, ten in a row.
fn orders(page: &mut Page, free: &Free) {
    let all: Vec<(u32, u64)> = free.blocks.iter().map(|(order, count)| (*order, *count)).collect();
    for some in all.chunks(11) {
        let cells = |cell: fn(&(u32, u64)) -> String| -> String {
            some.iter().map(|pair| format!("{:>7}", cell(pair))).collect()
        };
        page.row(&faint(&format!("order   {}", cells(|(order, _)| order.to_string()))));
        page.row(&format!("blocks  {}", cells(|(_, blocks)| count(*blocks))));
    }
}
