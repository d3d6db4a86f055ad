//! The outcome as text for people.

use bedframe_explore::invariant::Invariant;
use bedframe_explore::report::{Compared, Effort, Outcome, Target};

use crate::page::{Page, faint, strong};
use crate::units::{bytes, count, time};

/// The text.
pub(super) fn write(outcome: &Outcome) -> String {
    let mut page = Page::default();
    let effort = if outcome.effort == Effort::Quick { "a short run" } else { "a full run" };
    page.line(&format!("{}  {effort}", strong("bedframe explore")));
    worlds(&mut page, outcome);
    page.heading("invariants", "what must hold in every state");
    for invariant in Invariant::ALL {
        page.row(&format!("{:11}{}", invariant.name(), invariant.words()));
    }
    cures(&mut page, outcome);
    variants(&mut page, outcome);
    page.heading(
        "mistakes",
        "made on purpose, one at a time; --replay NAME shows the interleaving",
    );
    for caught in &outcome.mistakes {
        let how = match &caught.way {
            Some((invariant, steps)) => format!("{} in {} steps", invariant.name(), steps.len()),
            None => "not noticed".into(),
        };
        page.row(&format!("{:9}{:24}", caught.mistake.name(), how));
        page.row(&faint(&format!("         {}", caught.mistake.words())));
    }
    page.heading("counterexamples", "the shortest of each; --replay NAME tells it");
    for (story, told) in &outcome.stories {
        let steps = told.as_ref().map_or("none".into(), |told| told.lines.len().to_string());
        page.row(&format!("{:20}{steps:>4}  {}", story.name, faint(story.title)));
    }
    page.line("");
    for (good, words) in outcome.verdicts() {
        page.verdict(good, &words);
    }
    page.into_text()
}

fn worlds(page: &mut Page, outcome: &Outcome) {
    let all = format!("everything that can happen, breadth first; {} in all", time(outcome.time));
    page.heading("worlds", &all);
    page.row(&faint(&format!("{:>11}{:>12}  {:10}{:>9}", "states", "steps", "depth", "time")));
    for world in &outcome.worlds {
        let found = &world.found;
        let depth = if found.complete { "to the end".into() } else { found.depth.to_string() };
        page.row(&format!(
            "{:>11}{:>12}  {depth:10}{:>9}  {}",
            count(found.states),
            count(found.tried),
            time(found.time),
            if world.target == Target::Library { "library" } else { "design" },
        ));
        page.row(&faint(&format!("{:27}{}", "", world.name)));
    }
}

fn cures(page: &mut Page, outcome: &Outcome) {
    page.heading(
        "cures",
        "as they were proposed; bytes written at boot of 12 TiB, instructions of a free",
    );
    page.row(&faint(&format!(
        "{:15}{:9}{:>11}{:>7}  {:16}{:>10}{:>6}",
        "", "", "states", "depth", "breaks in", "bytes", "free"
    )));
    for cure in outcome.cures() {
        let target = if cure.target == Target::Library { "library" } else { "design" };
        let broken = match &cure.counterexample {
            Some(steps) => format!("{} steps", steps.len()),
            None => "nothing found".into(),
        };
        page.row(&format!(
            "{:15}{target:9}{:>11}{:>7}  {broken:16}{:>10}{:>6}",
            cure.cure,
            count(cure.states),
            cure.depth,
            bytes(cure.boot_bytes),
            cure.free_instructions,
        ));
    }
}

fn variants(page: &mut Page, outcome: &Outcome) {
    page.heading(
        "variants",
        "what breaks, and in how many calls, if callers make no mistakes and if they do",
    );
    for [right, any] in pairs(&outcome.variants) {
        page.row(&right.variant.to_string());
        page.row(&format!("    {:14}{}", "no mistakes", broken(right)));
        page.row(&faint(&format!("    {:14}{}", "mistakes", broken(any))));
    }
}

/// Each variant with both kinds of callers.
pub(super) fn pairs(variants: &[Compared]) -> impl Iterator<Item = [&Compared; 2]> {
    let (pairs, _) = variants.as_chunks::<2>();
    pairs.iter().map(|[right, any]| [right, any])
}

/// "counts 3, edges 1", or a dash.
pub(super) fn broken(compared: &Compared) -> String {
    if compared.broken.is_empty() {
        return "\u{2013}".into();
    }
    let each =
        compared.broken.iter().map(|(invariant, calls)| format!("{} {calls}", invariant.name()));
    each.collect::<Vec<_>>().join(", ")
}
