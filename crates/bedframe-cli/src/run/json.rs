//! How scenarios went, as one JSON object.

use bedframe_scenario::{Report, StepReport};
use serde::Serialize;

#[derive(Serialize)]
struct Object<'a> {
    scenario: &'a str,
    about: &'a str,
    machine: &'a str,
    steps: Vec<Step<'a>>,
    ok: bool,
    contradiction: Option<Found<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    step: usize,
    line: usize,
    title: &'a str,
    action: &'a str,
    done: u64,
    refused: u64,
    checks: u64,
    validated: bool,
    free: u64,
    in_use: u64,
    uninitialised: u64,
    held: u64,
}

#[derive(Serialize)]
struct Found<'a> {
    step: &'a str,
    line: usize,
    expected: &'a str,
    found: &'a str,
}

#[derive(Serialize)]
struct All<'a> {
    scenarios: Vec<Object<'a>>,
    ok: bool,
}

/// The object of one scenario; of several, one object with all of theirs.
pub(super) fn write(reports: &[Report]) -> String {
    let mut objects: Vec<Object<'_>> = reports.iter().map(object).collect();
    // Plain strings and numbers: there is nothing in it that cannot be written.
    let mut text = if objects.len() == 1 {
        serde_json::to_string_pretty(&objects.remove(0))
    } else {
        let ok = objects.iter().all(|object| object.ok);
        serde_json::to_string_pretty(&All { scenarios: objects, ok })
    }
    .unwrap_or_default();
    text.push('\n');
    text
}

fn object(report: &Report) -> Object<'_> {
    Object {
        scenario: &report.scenario,
        about: &report.about,
        machine: &report.machine,
        steps: report.steps.iter().map(step).collect(),
        ok: report.ok(),
        contradiction: report.contradiction.as_ref().map(|found| Found {
            step: &found.step,
            line: found.line,
            expected: &found.expected,
            found: &found.found,
        }),
    }
}

fn step(step: &StepReport) -> Step<'_> {
    Step {
        step: step.number,
        line: step.line,
        title: &step.title,
        action: step.action,
        done: step.done,
        refused: step.refused,
        checks: step.checks,
        validated: step.validated,
        free: step.free,
        in_use: step.in_use,
        uninitialised: step.uninitialised,
        held: step.held,
    }
}
