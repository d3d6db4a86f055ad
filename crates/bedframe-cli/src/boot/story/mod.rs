//! The outcome as a story for a person.

mod boot;
mod heap;
mod map;

use super::outcome::Outcome;
use crate::page::{Page, faint, strong};
use crate::units::{bytes, count, some, time};

/// Columns of the bars behind the steps.
const BAR: usize = 34;

/// All of it.
pub(crate) fn write(outcome: &Outcome<'_>) -> String {
    let mut page = Page::default();
    map::machine(&mut page, outcome);
    map::picture(&mut page, outcome);
    boot::taken(&mut page, outcome);
    boot::handover(&mut page, outcome);
    boot::seed(&mut page, outcome);
    boot::mapped(&mut page, outcome);
    boot::domain(&mut page, outcome);
    workload(&mut page, outcome);
    heap::free(&mut page, outcome);
    steps(&mut page, outcome);
    verdict(&mut page, outcome);
    page.into_text()
}

fn workload(page: &mut Page, outcome: &Outcome<'_>) {
    let tally = &outcome.tally;
    page.heading("workload", "random requests, every block and its contents checked");
    page.words(&format!(
        "{} allocations up to order {} and {} frees: {} of a part, {} of two blocks at once, {} by \
         address; at most {} held at a time",
        count(tally.allocs),
        tally.largest,
        count(tally.frees),
        count(tally.parts),
        count(tally.unions),
        count(tally.by_address),
        crate::units::size(tally.most_frames),
    ));
    page.words(&format!(
        "{}; for {} of them all free memory was searched, in vain as it must be",
        some(tally.refusals, "refusal"),
        count(tally.audited)
    ));
}

fn steps(page: &mut Page, outcome: &Outcome<'_>) {
    page.heading("time", "of each step");
    let longest = outcome.steps.iter().map(|(_, time)| *time).max().unwrap_or_default();
    for (name, took) in &outcome.steps {
        let share = took.as_secs_f64() / longest.as_secs_f64().max(1e-9);
        let bar = "\u{2501}".repeat((share * BAR as f64).ceil() as usize);
        page.row(&format!("{name:40}{:>9}  {}", time(*took), faint(&bar)));
    }
}

fn verdict(page: &mut Page, outcome: &Outcome<'_>) {
    page.line("");
    let peak = outcome.peak.map_or("unknown".into(), bytes);
    page.row(&strong(&format!("{:40}{:>9}", "all", time(outcome.total))));
    page.row(&strong(&format!("{:40}{peak:>9}", "peak resident memory")));
    page.line("");
    match outcome.findings.first() {
        None => page.verdict(
            true,
            &format!(
                "every frame of boot is in the heap, every one of {} misuses was refused by name, \
                 every frame is accounted for, validate: ok",
                outcome.misuses
            ),
        ),
        Some(first) => page.verdict(
            false,
            &format!("{}; the first: {first}", some(outcome.findings.count(), "contradiction")),
        ),
    }
}
