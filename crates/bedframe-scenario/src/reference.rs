//! The page that describes the format, written from what the reader accepts.

use std::fmt::Write;

use bedframe_firmware::MACHINES;

use crate::action::ACTIONS;
use crate::expect::{DomainExpect, Expect, NodeExpect, STATES};
use crate::machine::{MachineTable, RamTable};
use crate::scenario::ScenarioTable;
use crate::step::{KEYS, Thread};
use crate::table::Field;
use crate::value::KNOWN;

const INTRODUCTION: &str = include_str!("reference.md");

/// The page `docs/scenarios.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_string();
    section(&mut page, 2, "The file", ScenarioTable::ABOUT, ScenarioTable::FIELDS);
    section(&mut page, 3, "`[machine]`", MachineTable::ABOUT, MachineTable::FIELDS);
    let maps: Vec<String> = MACHINES.iter().map(|(name, _)| format!("`{name}`")).collect();
    let _ = write!(page, "\nBundled maps: {}.\n", maps.join(", "));
    section(&mut page, 3, "`ram`", RamTable::ABOUT, RamTable::FIELDS);
    section(&mut page, 2, "Steps", "A step has at most one action, and these keys.", KEYS);
    section(&mut page, 3, "`threads`", Thread::ABOUT, Thread::FIELDS);
    page.push_str("\n## Actions\n");
    for action in ACTIONS {
        section(&mut page, 3, &format!("`{}`", action.key), action.about, action.fields);
        if !action.in_threads {
            page.push_str("\nNot inside a thread.\n");
        }
    }
    section(&mut page, 2, "Expectations", Expect::ABOUT, Expect::FIELDS);
    section(&mut page, 3, "`node`", NodeExpect::ABOUT, NodeExpect::FIELDS);
    section(&mut page, 3, "`domain`", DomainExpect::ABOUT, DomainExpect::FIELDS);
    let states: Vec<String> = STATES.iter().map(|(name, _)| format!("`\"{name}\"`")).collect();
    let _ = write!(page, "\n### States\n\n{}.\n", states.join(", "));
    let errors: Vec<String> = KNOWN.iter().map(|name| format!("`{name}`")).collect();
    let _ = write!(
        page,
        "\n## Errors\n\nThe names that `refused` and `may_be_refused` know; the library's documentation says what \
         each means.\n\n{}.\n",
        errors.join(", ")
    );
    page
}

fn section(page: &mut String, level: usize, heading: &str, about: &str, fields: &[Field]) {
    let _ = write!(page, "\n{} {heading}\n\n{}\n", "#".repeat(level), about.trim());
    if fields.is_empty() {
        return;
    }
    page.push_str("\n| key | value | |\n|---|---|---|\n");
    for field in fields {
        let name = field.name.trim_start_matches("r#");
        let optional = if field.optional { "" } else { "**needed.** " };
        let about = field.about.trim().replace('|', "\\|");
        let _ = writeln!(page, "| `{name}` | {} | {optional}{about} |", field.words);
    }
}
