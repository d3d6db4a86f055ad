//! The outcome as a table for people.

mod owners;

use bedframe_bench::contender::{Contender, Sketch};
use bedframe_bench::{CONTENDERS, Figure, Metric, Outcome, Workload};

use crate::page::{Page, faint, strong};
use crate::units::some;

/// Columns of a row's name, of Bedframe's spread, and of a figure.
const NAME: usize = 22;
const SPREAD: usize = 11;
const COLUMN: usize = 9;

/// What Bedframe is set beside in a table of their own.
const FLOOR: &str = Sketch::NAME;

/// The text.
pub(crate) fn write(outcome: &Outcome) -> String {
    let mut page = Page::default();
    let effort = if outcome.quick { "a short run" } else { "a full run" };
    page.line(&format!("{}  {effort}, seed {}", strong("bedframe bench"), outcome.seed));
    if outcome.debug_build {
        page.verdict(false, "a debug build: no figure means anything; use cargo run --release");
    }
    for entry in CONTENDERS {
        if outcome.results.iter().any(|figure| figure.allocator == entry.name) {
            page.row(&format!("{:8}  {}", short(entry.name), faint(entry.about)));
        }
    }
    times(&mut page, &outcome.results);
    owners::write(&mut page, &outcome.results);
    floor(&mut page, &outcome.results);
    shares(&mut page, outcome);
    index(&mut page, &outcome.results);
    aims(&mut page, outcome);
    page.into_text()
}

/// A name that fits a column.
fn short(name: &'static str) -> &'static str {
    match name {
        "buddy_system_allocator" => "buddy",
        "bitmap-allocator" => "bitmap",
        "free-list" => "freelist",
        "bedframe-domain" => "domain",
        name => name,
    }
}

/// Times by order and number of threads.
fn times(page: &mut Page, results: &[Figure]) {
    let is_time = |figure: &&Figure| {
        matches!(figure.metric, Metric::PairNs | Metric::AllocNs | Metric::FreeNs)
            && !owners::shows(figure)
    };
    let times: Vec<&Figure> = results.iter().filter(is_time).collect();
    let mut groups: Vec<(u8, usize)> = times.iter().map(|f| (f.order, f.threads)).collect();
    groups.sort_unstable();
    groups.dedup();
    for (order, threads) in groups {
        let here = |figure: &&&Figure| (figure.order, figure.threads) == (order, threads);
        let here: Vec<&Figure> = times.iter().filter(here).copied().collect();
        let heading = format!("order {order}, {}", some(threads as u64, "thread"));
        page.heading(&heading, "nanoseconds; medians, and the least and the most of bedframe's");
        table(page, &here);
    }
}

/// Bedframe's times beside the least that its layout can come to.
fn floor(page: &mut Page, results: &[Figure]) {
    let ours = CONTENDERS[0].name;
    let beside = |figure: &&Figure| figure.allocator == ours && figure.to_floor.is_some();
    let mut here: Vec<&Figure> = results.iter().filter(beside).collect();
    if here.is_empty() {
        return;
    }
    here.sort_by_key(|figure| (figure.order, figure.threads)); // As in the tables.
    page.heading("the floor", "bedframe's median as a multiple of the sketch's, beside it");
    page.row(&faint(&format!("{:38}{ours:>COLUMN$}{FLOOR:>COLUMN$}{:>COLUMN$}", "", "times")));
    for figure in here {
        let floor = results.iter().find(|f| f.allocator == FLOOR && f.is_beside(figure));
        let [median, floor] = [Some(figure.median), floor.map(|floor| floor.median)]
            .map(|value| value.map_or(String::new(), number));
        let threads = some(figure.threads as u64, "thread");
        let name = format!("{:NAME$}  order {}, {threads}", label(figure), figure.order);
        let times = figure.to_floor.unwrap_or(0.0);
        page.row(&format!("{name:38}{median:>COLUMN$}{floor:>COLUMN$}{times:>COLUMN$.2}"));
    }
}

fn shares(page: &mut Page, outcome: &Outcome) {
    let here = |figure: &&Figure| figure.metric == Metric::Order9Percent;
    let here: Vec<&Figure> = outcome.results.iter().filter(here).collect();
    if !here.is_empty() {
        let pairs = if outcome.quick {
            "10 M pairs from a random half, 1 M from other random states, 0.1 M mixed"
        } else {
            "10 M pairs from a random state, 1 M mixed"
        };
        page.heading(
            "free memory",
            &format!("percent of it in free blocks of order 9 after {pairs}"),
        );
        table(page, &here);
    }
}

/// What an index costs: for the 4 GiB of the other tables, and for machines of terabytes.
fn index(page: &mut Page, results: &[Figure]) {
    let metadata: Vec<&Figure> =
        results.iter().filter(|figure| figure.workload == Workload::Metadata).collect();
    if !metadata.is_empty() {
        page.heading("metadata", "bytes for each frame, where it can be told");
        table(page, &metadata);
    }
    let is_handover = |figure: &&Figure| figure.metric == Metric::HandoverNs;
    if results.iter().any(|figure| is_handover(&figure)) {
        page.heading("hand-over", "milliseconds; the median, the least and the most");
    }
    for figure in results.iter().filter(is_handover) {
        let kind = if figure.workload == Workload::Handover { "warm" } else { "cold" };
        let name = format!("{} TiB, {kind}", figure.tib.unwrap_or(0));
        let [median, min, max] = [figure.median, figure.min, figure.max].map(|ns| ns / 1e6);
        let beside = |f: &&Figure| {
            f.metric == Metric::BytesPerFrame
                && (f.workload, f.tib) == (figure.workload, figure.tib)
        };
        let bytes = results.iter().find(beside).map_or(String::new(), |bytes| {
            faint(&format!("  index {:.3} bytes for each frame", bytes.median))
        });
        page.row(&format!("{name:16}{median:>9.3}{min:>9.3}{max:>9.3}{bytes}"));
    }
}

/// A row for each workload and metric, a column for each allocator; the sketch, which is
/// none, has one where Bedframe is not there to be set beside it.
fn table(page: &mut Page, figures: &[&Figure]) {
    let hidden = |name| name == FLOOR && figures.iter().any(|f| f.allocator == CONTENDERS[0].name);
    let names: Vec<&str> = CONTENDERS
        .iter()
        .map(|entry| entry.name)
        .filter(|name| !hidden(*name) && figures.iter().any(|figure| figure.allocator == *name))
        .collect();
    let mut head = " ".repeat(NAME);
    for name in &names {
        head.push_str(&format!("{:>COLUMN$}", short_of(name)));
        if *name == CONTENDERS[0].name {
            head.push_str(&" ".repeat(SPREAD));
        }
    }
    page.row(&faint(&head));
    let mut rows: Vec<&Figure> = Vec::new();
    for figure in figures {
        if !rows.iter().any(|row| row.is_beside(figure)) {
            rows.push(figure);
        }
    }
    for first in rows {
        let mut row = format!("{:NAME$}", label(first));
        for name in &names {
            let of = |figure: &&&Figure| figure.allocator == *name && figure.is_beside(first);
            let figure = figures.iter().find(of);
            let text = figure.map_or(String::from("\u{b7}"), |figure| number(figure.median));
            row.push_str(&format!("{text:>COLUMN$}"));
            if *name == CONTENDERS[0].name {
                let spread = figure.map_or(String::new(), |figure| {
                    format!(" {}-{}", number(figure.min), number(figure.max))
                });
                row.push_str(&faint(&format!("{spread:SPREAD$}")));
            }
        }
        page.row(&row);
    }
}

fn short_of(name: &str) -> &'static str {
    CONTENDERS.iter().find(|entry| entry.name == name).map_or("", |entry| short(entry.name))
}

/// "bulk, free", "fragmentation, 50 %".
fn label(figure: &Figure) -> String {
    let name = figure.workload.name();
    match figure.metric {
        Metric::AllocNs if figure.workload == Workload::Refusal => name.into(),
        Metric::AllocNs => format!("{name}, allocate"),
        Metric::FreeNs => format!("{name}, free"),
        Metric::Order9Percent => {
            let kind = if figure.workload == Workload::Fragmentation { "frames" } else { "mixed" };
            format!("{kind}, {} % in use", figure.occupancy)
        }
        _ => name.into(),
    }
}

/// With two digits that count, or more.
fn number(value: f64) -> String {
    match value {
        v if v < 1.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v if v < 1e5 => format!("{v:.0}"),
        v if v < 1e7 => format!("{:.0}k", v / 1e3),
        v => format!("{:.0}M", v / 1e6),
    }
}

fn aims(page: &mut Page, outcome: &Outcome) {
    if outcome.aims.is_empty() {
        return;
    }
    page.heading("aims", "of what was measured; ratios of medians of this run");
    for verdict in &outcome.aims {
        let relation = if verdict.at_most { "at most" } else { "at least" };
        let mut words =
            format!("{}: {:.3}, {relation} {}", verdict.aim, verdict.measured, verdict.limit);
        if let Some(times) = verdict.to_floor {
            words.push_str(&format!("; {times:.2} times the sketch"));
        }
        if let (Some(percent), Some(because)) = (verdict.missed_by(), verdict.because) {
            words.push_str(&format!("; missed by {percent:.0} %: {because}"));
        }
        page.verdict(verdict.met, &words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_column() {
        for value in [0.0, 0.123, 9.99, 99.99, 123.4, 54_321.0, 1.5e6, 9e9] {
            assert!(number(value).len() < COLUMN, "{value}");
        }
        assert_eq!([number(0.383), number(5.64), number(480.2)], ["0.38", "5.6", "480"]);
    }

    #[test]
    fn every_name_fits_its_column() {
        for entry in CONTENDERS {
            assert!(short(entry.name).len() < COLUMN);
        }
    }
}
