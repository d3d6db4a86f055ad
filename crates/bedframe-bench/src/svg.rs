//! All times as one picture: a line for each row of the table, a dot for each allocator.

use std::fmt::Write;

use crate::contender::{Bedframe, Contender};
use crate::results::{Figure, Metric};
use crate::run::{CONTENDERS, Outcome};

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 270.0;
const RIGHT: f64 = 72.0;
const ROW: f64 = 17.0;
const TOP: f64 = 96.0;

/// Colours that can be told apart, also by those who see few.
const COLOURS: [&str; CONTENDERS.len()] = [
    "#0072b2", "#7b61c9", "#8a8a84", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9",
    "#a6761d",
];

const STYLE: &str = r##"<style>
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  .page { fill: #fcfcfa; stroke: #d9d9d2; }
  .h { font-size: 17px; font-weight: 600; fill: #1d1f22; }
  .t { font-size: 12px; fill: #3a3d42; }
  .s { font-size: 11px; fill: #6a6d72; }
  .grid { stroke: #e4e4de; stroke-width: 1; }
  .lane { fill: #f3f3ee; }
  .spread { stroke-width: 2; opacity: 0.45; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #14171a; stroke: #2c3136; }
    .h { fill: #f2f4f6; }
    .t { fill: #d3d6da; }
    .s { fill: #9aa0a6; }
    .grid { stroke: #2a3036; }
    .lane { fill: #1b2024; }
  }
</style>
"##;

/// The whole file.
#[must_use]
pub fn write(outcome: &Outcome) -> String {
    let rows = rows(&outcome.results);
    let height = TOP + ROW * rows.len() as f64 + 40.0;
    let scale = Scale::of(rows.iter().flatten().copied());
    let mut body = String::new();
    legend(&mut body, &outcome.results);
    for number in (0..rows.len()).step_by(2) {
        let (y, width) = (TOP + ROW * number as f64, WIDTH - 40.0);
        let _ = writeln!(
            body,
            r#"<rect class="lane" x="20" y="{y:.1}" width="{width}" height="{ROW}"/>"#
        );
    }
    scale.axis(&mut body, height - 30.0);
    for (number, row) in rows.iter().enumerate() {
        draw(&mut body, &scale, TOP + ROW * (number as f64 + 0.5), row);
    }
    let kind = if outcome.debug_build { "a debug build: not worth reading" } else { "one run" };
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-labelledby="title desc">
<title id="title">bedframe bench</title>
<desc id="desc">Nanoseconds for each operation on a logarithmic scale, a row for each workload, a dot for each allocator's median, a line from its least to its most; at the right Bedframe's median as a multiple of the sketch's.</desc>
{STYLE}<rect class="page" x="0.5" y="0.5" width="{:.1}" height="{:.1}" rx="8"/>
<text class="h" x="20" y="34">bedframe bench</text>
<text class="s" x="20" y="54">nanoseconds, {kind}; a dot is a median, its line goes from the least to the most; at the right bedframe's as a multiple of the sketch's</text>
{body}</svg>
"#,
        WIDTH - 1.0,
        height - 1.0
    )
}

/// What is measured in nanoseconds and of one operation, by rows.
fn rows(results: &[Figure]) -> Vec<Vec<&Figure>> {
    let mut rows: Vec<Vec<&Figure>> = Vec::new();
    let times = |figure: &&Figure| {
        matches!(figure.metric, Metric::PairNs | Metric::AllocNs | Metric::FreeNs)
    };
    for figure in results.iter().filter(times) {
        match rows.iter_mut().find(|row| row[0].is_beside(figure)) {
            Some(row) => row.push(figure),
            None => rows.push(vec![figure]),
        }
    }
    rows
}

/// Where a time lies.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of<'a>(figures: impl Iterator<Item = &'a Figure>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 1.0_f64);
        for figure in figures {
            low = low.min(figure.min);
            high = high.max(figure.max);
        }
        let low = if low.is_finite() { low.max(0.01).log10().floor() } else { 0.0 };
        Self { low, high: high.log10().ceil().max(low + 1.0) }
    }

    fn x(&self, ns: f64) -> f64 {
        let at = (ns.max(0.01).log10() - self.low) / (self.high - self.low);
        LEFT + at.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn axis(&self, body: &mut String, bottom: f64) {
        let mut power = self.low;
        while power <= self.high {
            let ns = 10_f64.powf(power);
            let (x, top) = (self.x(ns), TOP - 4.0);
            let _ = writeln!(body, r#"<path class="grid" d="M{x:.1} {top:.1}V{bottom:.1}"/>"#);
            let (unit, per) = if ns >= 1e6 {
                ("ms", 1e6)
            } else if ns >= 1e3 {
                ("us", 1e3)
            } else {
                ("ns", 1.0)
            };
            let (value, y) = (ns / per, bottom + 16.0);
            let _ = writeln!(
                body,
                r#"<text class="s" x="{x:.1}" y="{y:.1}" text-anchor="middle">{value} {unit}</text>"#
            );
            power += 1.0;
        }
    }
}

fn colour(allocator: &str) -> &'static str {
    let at = CONTENDERS.iter().position(|entry| entry.name == allocator);
    at.map_or("#000000", |at| COLOURS[at])
}

fn legend(body: &mut String, results: &[Figure]) {
    let mut x = 20.0;
    for entry in CONTENDERS {
        if !results.iter().any(|figure| figure.allocator == entry.name) {
            continue;
        }
        let (colour, name) = (colour(entry.name), entry.name);
        let (cx, tx) = (x + 5.0, x + 15.0);
        let _ = writeln!(
            body,
            r#"<circle cx="{cx:.1}" cy="74" r="5" fill="{colour}"/><text class="t" x="{tx:.1}" y="78">{name}</text>"#
        );
        x += 34.0 + 6.8 * name.len() as f64;
    }
}

/// "bulk, order 9, 2 threads: allocate".
fn label(figure: &Figure) -> String {
    let mut label = figure.workload.name().to_string();
    if figure.order > 0 {
        let _ = write!(label, ", order {}", figure.order);
    }
    if figure.threads > 1 {
        let _ = write!(label, ", {} threads", figure.threads);
    }
    label.push_str(match figure.metric {
        Metric::AllocNs => ": allocate",
        Metric::FreeNs => ": free",
        _ => "",
    });
    label
}

fn draw(body: &mut String, scale: &Scale, y: f64, row: &[&Figure]) {
    let (x, text) = (LEFT - 12.0, label(row[0]));
    let _ = writeln!(
        body,
        r#"<text class="t" x="{x:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
        y + 4.0
    );
    let ours = row.iter().find(|figure| figure.allocator == Bedframe::NAME);
    if let Some(times) = ours.and_then(|ours| ours.to_floor) {
        let (x, y) = (WIDTH - 28.0, y + 4.0);
        let _ = writeln!(
            body,
            r#"<text class="s" x="{x:.1}" y="{y:.1}" text-anchor="end">{times:.2}x</text>"#
        );
    }
    for figure in row {
        let colour = colour(figure.allocator);
        let (from, at, to) = (scale.x(figure.min), scale.x(figure.median), scale.x(figure.max));
        let _ = writeln!(
            body,
            r#"<g stroke="{colour}" fill="{colour}"><path class="spread" d="M{from:.1} {y:.1}H{to:.1}"/><circle stroke="none" cx="{at:.1}" cy="{y:.1}" r="4.5"><title>{}: {:.1} ns ({:.1} to {:.1})</title></circle></g>"#,
            figure.allocator, figure.median, figure.min, figure.max
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Effort, cells};

    #[test]
    fn every_time_has_its_dot_in_a_well_formed_document() {
        let mut results = Vec::new();
        for cell in cells(Effort::Tiny, &[1, 2]) {
            for (at, entry) in CONTENDERS.iter().enumerate() {
                let values = [at as f64 + 0.5, 10.0, 2e6];
                results.extend(Figure::of(&cell, entry.name, Metric::PairNs, &values));
                results.extend(Figure::of(&cell, entry.name, Metric::BytesPerFrame, &values));
            }
        }
        let times = results.len() / 2;
        let outcome =
            Outcome { results, aims: Vec::new(), seed: 1, quick: true, debug_build: false };
        let picture = write(&outcome);
        let document = roxmltree::Document::parse(&picture).unwrap();
        let dots = document.descendants().filter(|node| node.has_tag_name("title")).count();
        assert_eq!(dots, times + 1);
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        let outcome = Outcome {
            results: Vec::new(),
            aims: Vec::new(),
            seed: 1,
            quick: true,
            debug_build: false,
        };
        assert!(roxmltree::Document::parse(&write(&outcome)).is_ok());
    }
}
