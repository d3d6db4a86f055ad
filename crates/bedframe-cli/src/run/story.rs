//! How scenarios went, for people.

use bedframe_scenario::{Report, Scenario, StepReport};

use crate::page::{Page, WIDTH, faint, mark, shorten, wrap};
use crate::units::{count, some};

/// Columns for what a step is called.
const TITLE: usize = 36;
/// The most columns for the name of a scenario.
const NAME: usize = 50;

/// The bundled scenarios, each with its line.
pub(super) fn list(scenarios: &[Scenario]) -> String {
    let mut page = Page::default();
    let widest = scenarios.iter().map(|scenario| scenario.file().chars().count()).max();
    let widest = widest.unwrap_or(0);
    for scenario in scenarios {
        let mut lines = wrap(scenario.about(), WIDTH - widest - 2).into_iter();
        let first = lines.next().unwrap_or_default();
        page.line(&format!("{:widest$}  {first}", scenario.file()));
        lines.for_each(|line| page.line(&format!("{:widest$}  {line}", "")));
    }
    page.into_text()
}

/// One scenario step by step; of several a line each, and the steps of those that failed.
pub(super) fn write(reports: &[Report]) -> String {
    let mut page = Page::default();
    if let [report] = reports {
        steps(&mut page, report);
        return page.into_text();
    }
    page.heading("bedframe run", &some(reports.len() as u64, "scenario"));
    let widest = reports.iter().map(|report| report.scenario.chars().count()).max().unwrap_or(0);
    let widest = widest.clamp(8, NAME);
    page.row(&faint(&format!(
        "{:>w$}{:>7}{:>12}{:>10}{:>9}",
        "",
        "steps",
        "done",
        "refused",
        "checks",
        w = widest + 2
    )));
    for report in reports {
        let of = |each: fn(&StepReport) -> u64| count(report.steps.iter().map(each).sum());
        page.row(&format!(
            "{} {:widest$}{:>7}{:>12}{:>10}{:>9}",
            mark(report.ok()),
            shorten(&report.scenario, widest),
            report.steps.len(),
            of(|step| step.done),
            of(|step| step.refused),
            of(|step| step.checks)
        ));
    }
    reports.iter().filter(|report| !report.ok()).for_each(|report| steps(&mut page, report));
    page.into_text()
}

fn steps(page: &mut Page, report: &Report) {
    page.heading("bedframe run", &report.scenario);
    page.words(&report.about);
    page.row(&faint(&report.machine));
    page.line("");
    page.row(&faint(&format!(
        "{:>4}   {:TITLE$}{:>9}{:>9}{:>13}{:>13}{:>8}",
        "step", "", "done", "refused", "free", "held", "checks"
    )));
    let failed = report.steps.len();
    for step in &report.steps {
        let ok = report.ok() || step.number < failed;
        page.row(&format!(
            "{:>4} {} {:TITLE$}{:>9}{:>9}{:>13}{:>13}{:>8}",
            step.number,
            mark(ok),
            shorten(&step.title, TITLE - 1),
            count(step.done),
            count(step.refused),
            count(step.free),
            count(step.held),
            count(step.checks),
        ));
    }
    page.line("");
    match &report.contradiction {
        None => page.verdict(true, "all of it held, and every frame is accounted for"),
        Some(found) => {
            page.verdict(false, &format!("step {}, at line {}", found.step, found.line));
            page.row(&format!("  expected {}", found.expected));
            page.row(&format!("  found    {}", found.found));
        }
    }
}
