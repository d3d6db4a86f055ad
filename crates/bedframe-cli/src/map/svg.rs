//! A machine as a picture.
//!
//! Every node has a lane, and so has what is listed and no RAM; all share the axis of
//! [`Scale`], on which each stretch is as long as the logarithm of its size.

use std::collections::BTreeMap;
use std::fmt::Write;

use bedframe::{FrameRange, Mfn, NodeId};
use bedframe_firmware::Machine;

use super::extents::{self, Extent, What};
use super::figures::{self, Node};
use super::scale::Scale;
use crate::chart::{apart, in_words};
use crate::frames::zone_starts;
use crate::page::{shorten, wrap};
use crate::units::{address, bytes, round_size, size, some, span};

/// The picture, and the lanes in it.
const WIDTH: f64 = 1080.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 150.0;
const LANE: f64 = 18.0;
const GAP: f64 = 5.0;
/// Lines below the lanes, and lines of warnings.
const LINES: usize = 12;
const WARNINGS: usize = 6;

const STYLE: &str = r##"<style>
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  .page { fill: #fcfcfa; stroke: #d9d9d2; }
  .h { font-size: 17px; font-weight: 600; fill: #1d1f22; }
  .t { font-size: 12.5px; fill: #3a3d42; }
  .s { font-size: 11px; fill: #6a6d72; }
  .m { font-family: ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; font-size: 11px; fill: #3a3d42; }
  .w { font-size: 12px; fill: #a8321f; }
  .on { font-size: 10.5px; fill: #10231a; }
  .off { font-size: 10.5px; fill: #6a6d72; }
  .lane { fill: #efefea; }
  .zone { stroke: #cfcfc6; stroke-width: 1; }
  .step { stroke: #5a5d62; stroke-width: 1; stroke-dasharray: 2 2; fill: none; }
  .ram { fill: #5fb38a; }
  .mirrored { fill: #3f9fb5; }
  .reserved { fill: #e2a54a; }
  .bad { fill: #cf6a5f; }
  .late { fill: #b58ac9; }
  .listed { fill: #8d9bb0; }
  .hole { fill: none; stroke: #a9a9a0; stroke-dasharray: 3 3; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #14171a; stroke: #2c3136; }
    .h { fill: #f2f4f6; }
    .t, .m { fill: #d3d6da; }
    .s, .off { fill: #9aa0a6; }
    .w { fill: #f08a78; }
    .lane { fill: #1f2428; }
    .zone { stroke: #343a40; }
    .step { stroke: #b4bac0; }
    .listed { fill: #65748b; }
    .hole { stroke: #565d64; }
  }
</style>
"##;

/// What a kind is called in the style sheet, and in the legend.
const LEGEND: [(What, &str, &str); 7] = [
    (What::Ram, "ram", "RAM"),
    (What::Mirrored, "mirrored", "mirrored RAM"),
    (What::Reserved, "reserved", "reserved in RAM"),
    (What::Bad, "bad", "bad"),
    (What::Late, "late", "released late"),
    (What::Listed, "listed", "listed, no RAM"),
    (What::Hole, "hole", "hole"),
];

fn class(what: What) -> &'static str {
    LEGEND.iter().find(|(kind, ..)| *kind == what).map_or("hole", |(_, class, _)| class)
}

/// The whole file.
pub(crate) fn write(machine: &Machine) -> String {
    let nodes = figures::nodes(machine);
    let extents = extents::of(machine);
    let holes = extents.iter().filter(|extent| extent.what == What::Hole);
    let holes = holes.map(|extent| extent.range.frames()).sum();
    let extents = extents::without_tail(&extents);
    let mut picture = Picture {
        body: String::new(),
        at: 0.0,
        scale: Scale::new(&extents),
        lanes: BTreeMap::new(),
        other: 0.0,
        extents,
    };
    picture.heading(machine, &nodes);
    let top = picture.at;
    picture.place_lanes(&nodes, holes);
    let bottom = picture.at;
    picture.steps();
    let labels = picture.boxes();
    picture.zones(top, bottom);
    picture.body.push_str(&labels);
    picture.legend();
    picture.lines(machine);
    picture.into_file(machine)
}

struct Picture {
    body: String,
    /// What is above this is drawn.
    at: f64,
    extents: Vec<Extent>,
    scale: Scale,
    /// Where the lane of a node begins, and of what is no node's.
    lanes: BTreeMap<NodeId, f64>,
    other: f64,
}

impl Picture {
    fn x(&self, frame: Mfn) -> f64 {
        LEFT + self.scale.at(frame) * (WIDTH - LEFT - RIGHT)
    }

    fn text(&mut self, class: &str, x: f64, y: f64, more: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}"{more}>{text}</text>"#
        );
    }

    fn line(&mut self, class: &str, text: &str) {
        self.at += 17.0;
        let y = self.at;
        self.text(class, 20.0, y, "", text);
    }

    fn heading(&mut self, machine: &Machine, nodes: &[Node]) {
        self.at = 34.0;
        self.text("h", 20.0, 34.0, "", &shorten(&machine.name, 80));
        self.at += 4.0;
        self.line("t", &in_words(machine));
        let apart = apart(machine).map_or(String::new(), |apart| format!("; {apart}"));
        self.line("t", &format!("{}{apart}", figures::in_words(nodes)));
        let warnings = machine.warnings.iter().flat_map(|w| wrap(&format!("Warning: {w}"), 150));
        let warnings: Vec<String> = warnings.map(|line| shorten(&line, 160)).collect();
        for warning in warnings.iter().take(WARNINGS) {
            self.line("w", warning);
        }
        if warnings.len() > WARNINGS {
            self.line("w", &format!("… {} more", some((warnings.len() - WARNINGS) as u64, "line")));
        }
        self.at += 34.0;
    }

    fn lane(&mut self, name: &str, remark: &str) -> f64 {
        let y = self.at;
        let width = WIDTH - LEFT - RIGHT;
        let _ = writeln!(
            self.body,
            r#"<rect class="lane" x="{LEFT}" y="{y:.1}" width="{width}" height="{LANE}" rx="2"/>"#
        );
        self.text("t", LEFT - 8.0, y + 13.5, r#" text-anchor="end""#, name);
        self.text("s", WIDTH - RIGHT + 8.0, y + 13.5, "", remark);
        self.at += LANE + GAP;
        y
    }

    fn place_lanes(&mut self, nodes: &[Node], holes: u64) {
        for node in nodes {
            let remark = format!("{}, {}", size(node.ram), some(node.segments, "segment"));
            let y = self.lane(&format!("node {}", node.id), &remark);
            self.lanes.insert(node.id, y);
        }
        let remark = format!("{} in holes", size(holes));
        self.other = self.lane("no RAM", &remark);
    }

    /// A line where each zone begins, as far as they can be told apart.
    fn zones(&mut self, top: f64, bottom: f64) {
        let in_memory = |at: &Mfn| {
            let memory = self.extents.iter().filter(|extent| extent.node.is_some());
            memory.map(|extent| extent.range).any(|range| range.contains(*at))
        };
        let zones: Vec<Mfn> = zone_starts().filter(in_memory).collect();
        let (mut line, mut label) = (0.0, 0.0);
        for at in zones {
            let x = self.x(at);
            if x < line + 4.0 {
                continue;
            }
            line = x;
            let (y1, y2) = (top - 5.0, bottom - GAP + 3.0);
            let _ = writeln!(
                self.body,
                r#"<path class="zone" d="M{x:.1} {y1:.1}V{y2:.1}"><title>zone {} begins at {}</title></path>"#,
                bedframe::Zone::of(at),
                address(at)
            );
            let name = round_size(at.get());
            let half = 3.5 * name.len() as f64;
            if x - half >= label && x < WIDTH - RIGHT - 8.0 {
                label = x + half + 6.0;
                self.text("s", x, top - 9.0, r#" text-anchor="middle""#, &name);
            }
        }
        self.text("s", LEFT - 18.0, top - 9.0, r#" text-anchor="end""#, "zone at");
    }

    /// Where one node's memory ends and another's begins.
    fn steps(&mut self) {
        let mut steps = Vec::new();
        for pair in self.extents.windows(2) {
            let (Some(below), Some(above)) = (pair[0].node, pair[1].node) else { continue };
            if let (true, Some(&from), Some(&to)) =
                (below != above, self.lanes.get(&below), self.lanes.get(&above))
            {
                steps.push((self.x(pair[1].range.start()), from.min(to), from.max(to) + LANE));
            }
        }
        for (x, from, to) in steps {
            let _ = writeln!(self.body, r#"<path class="step" d="M{x:.1} {from:.1}V{to:.1}"/>"#);
        }
    }

    /// Answers with what is to be written on them, once lines are drawn over them.
    fn boxes(&mut self) -> String {
        let mut labels = String::new();
        for index in 0..self.extents.len() {
            let extent = self.extents[index].clone();
            let y = extent.node.and_then(|node| self.lanes.get(&node)).copied();
            let label = self.draw(&extent, y.unwrap_or(self.other));
            labels.push_str(&label);
        }
        labels
    }

    fn draw(&mut self, extent: &Extent, y: f64) -> String {
        let x = self.x(extent.range.start());
        let width = (self.x(extent.range.end()) - x).max(0.8);
        let node = extent.node.map_or(String::new(), |node| format!(", node {node}"));
        let title = format!("{}{node}: {}", extent.name, place(extent.range));
        let _ = writeln!(
            self.body,
            r#"<rect class="{}" x="{x:.1}" y="{:.1}" width="{width:.1}" height="{}"><title>{}</title></rect>"#,
            class(extent.what),
            y + 1.0,
            LANE - 2.0,
            escape(&title)
        );
        let name = size(extent.range.frames());
        if width <= 6.3 * name.chars().count() as f64 {
            return String::new();
        }
        let class = if extent.what == What::Hole { "off" } else { "on" };
        let (x, y) = (x + width / 2.0, y + 13.0);
        format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{name}</text>\n"
        )
    }

    fn legend(&mut self) {
        self.at += 10.0;
        let y = self.at;
        let mut x = LEFT;
        for (what, class, name) in LEGEND {
            if !self.extents.iter().any(|extent| extent.what == what) {
                continue;
            }
            let _ = writeln!(
                self.body,
                r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="14" height="12"/>"#
            );
            self.text("s", x + 20.0, y + 10.0, "", name);
            x += 40.0 + 6.5 * name.len() as f64;
        }
        if self.lanes.len() > 1 {
            let _ = writeln!(self.body, r#"<path class="step" d="M{:.1} {y:.1}v12"/>"#, x + 8.0);
            self.text("s", x + 18.0, y + 10.0, "", "edge of two nodes");
        }
        let words = "A stretch is as long as the logarithm of its size.";
        self.text("s", WIDTH - 20.0, y + 10.0, r#" text-anchor="end""#, words);
        self.at += 22.0;
    }

    /// What is set apart, by name.
    fn lines(&mut self, machine: &Machine) {
        let set_apart = |extent: &&Extent| extent.node.is_some() && extent.name != extents::RAM;
        let mut lines: Vec<(&str, String, String)> = self
            .extents
            .iter()
            .filter(set_apart)
            .map(|extent| (class(extent.what), place(extent.range), extent.name.clone()))
            .collect();
        lines.extend(machine.placements.iter().map(|wanted| {
            let place = format!("{} to find a place for", bytes(wanted.size));
            ("hole", place, wanted.name.clone())
        }));
        let more = lines.len().saturating_sub(LINES);
        for (class, place, name) in lines.into_iter().take(LINES) {
            self.at += 16.0;
            let y = self.at;
            let _ = writeln!(
                self.body,
                r#"<rect class="{class}" x="{LEFT}" y="{:.1}" width="10" height="10"/>"#,
                y - 9.0
            );
            self.text("m", LEFT + 20.0, y, "", &place);
            self.text("s", LEFT + 380.0, y, "", &shorten(&name, 80));
        }
        if more > 0 {
            self.at += 16.0;
            let y = self.at;
            self.text("s", LEFT + 20.0, y, "", &format!("… and {more} more"));
        }
    }

    fn into_file(self, machine: &Machine) -> String {
        let height = self.at + 20.0;
        let (inner_width, inner_height) = (WIDTH - 1.0, height - 1.0);
        let name = escape(&shorten(&machine.name, 80));
        let words = escape(&in_words(machine));
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-labelledby="title desc">
<title id="title">The memory map of {name}</title>
<desc id="desc">{words}. A lane for each node, holes and what is no RAM in the last one.</desc>
{STYLE}<rect class="page" x="0.5" y="0.5" width="{inner_width}" height="{inner_height:.1}" rx="8"/>
{}</svg>
"#,
            self.body
        )
    }
}

/// "0x1000-0x9ffff, 636 KiB".
fn place(range: FrameRange) -> String {
    format!("{}, {}", span(range), size(range.frames()))
}

/// As text of an XML document, which holds no control characters.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_in_a_document() {
        assert_eq!(escape("a<b>&\"c\"\u{1b}"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}");
    }
}
