//! A counterexample as a picture: a row of frames for each step.

use std::fmt::Write;

use crate::design::State;
use crate::design::heap::Truth;
use crate::design::map::{self, FRAMES, Kind};
use crate::story::{Told, what};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 36.0;
const BOX: f64 = 56.0;
const PITCH: f64 = 58.0;
const TOP: f64 = 118.0;
/// Characters of a line of words, and of a heavy one.
const LINE: usize = 132;
const HEAVY: usize = 112;

const STYLE: &str = r##"<style>
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  .page { fill: #fcfcfa; stroke: #d9d9d2; }
  .h { font-size: 17px; font-weight: 600; fill: #1d1f22; }
  .t { font-size: 13px; fill: #3a3d42; }
  .s { font-size: 11.5px; fill: #6a6d72; }
  .w { font-size: 13px; font-weight: 600; fill: #a8321f; }
  .m { font-family: ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; font-size: 12.5px; font-weight: 600; fill: #1d1f22; }
  .on { font-size: 12px; fill: #16181a; }
  .word { font-family: ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; font-size: 10.5px; fill: #16181a; }
  .free { fill: #5fb38a; }
  .used { fill: #5b8fd0; }
  .given { fill: #e2a54a; }
  .kept { fill: #a6a8a3; }
  .late { fill: #c9a7d8; }
  .hole { fill: none; stroke: #bdbdb4; stroke-dasharray: 4 3; }
  .block { fill: none; stroke: #5a5d62; stroke-width: 1.6; }
  .bad { fill: none; stroke: #c8402c; stroke-width: 2.6; }
  .edge { stroke: #1d1f22; stroke-width: 1.2; stroke-dasharray: 2 3; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #14171a; stroke: #2c3136; }
    .h, .m { fill: #f2f4f6; }
    .t { fill: #d3d6da; }
    .s { fill: #9aa0a6; }
    .w { fill: #f08a78; }
    .kept { fill: #8d918f; }
    .hole { stroke: #565d64; }
    .block { stroke: #b4bac0; }
    .edge { stroke: #f2f4f6; }
  }
</style>
"##;

fn class(truth: Truth) -> &'static str {
    match truth {
        Truth::Free | Truth::Boot(Kind::Open) => "free",
        Truth::Used => "used",
        Truth::Given => "given",
        Truth::Boot(Kind::Initrd) => "late",
        Truth::Boot(Kind::Kernel) | Truth::Metadata | Truth::Withheld => "kept",
        Truth::Boot(Kind::Hole) => "hole",
    }
}

/// A word or two that fit a frame.
fn short(truth: Truth) -> &'static str {
    match truth {
        Truth::Boot(Kind::Kernel) => "kernel",
        Truth::Boot(Kind::Initrd) => "initrd",
        Truth::Boot(Kind::Hole) => "hole",
        Truth::Metadata => "tables",
        Truth::Withheld => "kept out",
        Truth::Given => "boot",
        Truth::Used => "in use",
        Truth::Free | Truth::Boot(Kind::Open) => "free",
    }
}

fn x(frame: u8) -> f64 {
    LEFT + f64::from(frame) * PITCH
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The whole file.
#[must_use]
pub fn write(title: &str, told: &Told) -> String {
    let mut body = String::new();
    let mut y = TOP;
    row(&mut body, &mut y, told, &told.first, None);
    for line in &told.lines {
        let call = line.call.to_string();
        row(&mut body, &mut y, told, &line.state, Some((&call, &line.words)));
    }
    for line in wrap(told.ending.as_deref().unwrap_or_default(), HEAVY) {
        let _ = writeln!(body, r#"<text class="w" x="{LEFT}" y="{y}">{}</text>"#, escape(&line));
        y += 19.0;
    }
    let height = y + 16.0;
    let all: Vec<&str> = told.lines.iter().map(|line| &line.words[..]).collect();
    let words = format!("{} {}", all.join(" "), told.ending.as_deref().unwrap_or_default());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"title desc\">\n<title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n{STYLE}\
         <rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text class=\"h\" x=\"{LEFT}\" y=\"36\">{}</text>\n<text class=\"s\" x=\"{LEFT}\" y=\"58\">{}</text>\n{}{body}</svg>\n",
        escape(title),
        escape(words.trim()),
        WIDTH - 1.0,
        height - 1.0,
        escape(title),
        escape(&told.design.variant.to_string()),
        legend(),
    )
}

/// Frame numbers, and where edges are.
fn legend() -> String {
    let mut text = String::new();
    for frame in 0..FRAMES as u8 {
        let _ = writeln!(
            text,
            r#"<text class="s" x="{}" y="92" text-anchor="middle">{frame}</text>"#,
            x(frame) + BOX / 2.0
        );
    }
    let _ = writeln!(
        text,
        r#"<text class="s" x="{}" y="58" text-anchor="end">dotted: edges of zones and nodes; lines above frames: free blocks</text>"#,
        WIDTH - LEFT
    );
    text
}

fn row(body: &mut String, y: &mut f64, told: &Told, state: &State, call: Option<(&str, &str)>) {
    let separate = told.design.variant.separate;
    if let Some((call, words)) = call {
        let _ = writeln!(body, r#"<text class="m" x="{LEFT}" y="{y}">{}</text>"#, escape(call));
        for line in wrap(words, LINE) {
            *y += 18.0;
            let _ =
                writeln!(body, r#"<text class="t" x="{LEFT}" y="{y}">{}</text>"#, escape(&line));
        }
        *y += 24.0;
    }
    for (first, order) in state.heap.blocks() {
        let end = first + (1 << order);
        let over = (first..end).any(|f| {
            map::segment(f, separate) != map::segment(first, separate)
                || !matches!(state.heap.truth(f), Truth::Free)
        });
        let class = if over { "bad" } else { "block" };
        let (from, to, at) = (x(first) + 2.0, x(end - 1) + BOX - 2.0, *y - 6.0);
        let _ = writeln!(
            body,
            r#"<path class="{class}" d="M{from} {} V{at} H{to} V{}"/>"#,
            at + 5.0,
            at + 5.0
        );
    }
    for frame in 0..FRAMES as u8 {
        let truth = state.heap.truth(frame);
        let left = x(frame);
        let _ = writeln!(
            body,
            r#"<g><title>frame {frame}: {}</title><rect class="{}" x="{left}" y="{y}" width="{BOX}" height="40" rx="3"/>"#,
            what(truth),
            class(truth)
        );
        let middle = left + BOX / 2.0;
        let _ = write!(
            body,
            r#"<text class="{}" x="{middle}" y="{}" text-anchor="middle">{}</text>"#,
            if class(truth) == "hole" { "s" } else { "on" },
            *y + 17.0,
            short(truth)
        );
        if state.heap.has_words() && class(truth) != "hole" {
            let word = state.heap.word(frame);
            let _ = write!(
                body,
                r#"<text class="word" x="{middle}" y="{}" text-anchor="middle">{word:#x}</text>"#,
                *y + 33.0
            );
        }
        body.push_str("</g>\n");
        if frame > 0 && map::segment(frame, separate) != map::segment(frame - 1, separate) {
            let at = left - 1.0;
            let _ = writeln!(
                body,
                r#"<line class="edge" x1="{at}" x2="{at}" y1="{}" y2="{}"/>"#,
                *y - 9.0,
                *y + 45.0
            );
        }
    }
    *y += 72.0;
}

/// Breaks words into lines.
fn wrap(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_is_a_well_formed_picture_with_a_row_for_each_step() {
        for story in crate::story::stories() {
            let told = story.told().unwrap();
            let picture = write(story.title, &told);
            let document = roxmltree::Document::parse(&picture).unwrap();
            let frames = document.descendants().filter(|node| node.has_tag_name("g")).count();
            assert_eq!(frames, FRAMES * (told.lines.len() + 1), "{}", story.name);
        }
    }
}
