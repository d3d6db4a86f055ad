//! Pages that are made from the code, and whether they are as the code is.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::line::root;
use crate::steps::Outcome;
use crate::{api, history, unsafes};

/// A page, how it is made and by which command.
struct Page {
    path: &'static str,
    make: fn() -> Result<String>,
    command: &'static str,
}

const PAGES: [Page; 4] = [
    Page { path: history::PAGE, make: history::page, command: history::COMMAND },
    Page { path: unsafes::PAGE, make: unsafes::page, command: unsafes::COMMAND },
    Page { path: api::SNAPSHOT, make: api::snapshot, command: api::COMMAND },
    Page { path: api::LIVE, make: api::live, command: api::COMMAND },
];

/// Writes the pages that `command` makes anew.
pub fn write(command: &str) -> Result<ExitCode> {
    for page in PAGES.iter().filter(|page| page.command == command) {
        let file = root().join(page.path);
        fs::create_dir_all(file.parent().unwrap_or(root()))?;
        fs::write(&file, (page.make)()?).with_context(|| page.path.to_string())?;
        println!("{}", page.path);
    }
    Ok(ExitCode::SUCCESS)
}

/// An error if a page says other things than the code.
pub fn step() -> Result<Outcome> {
    let mut stale = Vec::new();
    for page in PAGES {
        let is = fs::read_to_string(root().join(page.path)).unwrap_or_default();
        let differences = compared(&is, &(page.make)()?);
        for line in &differences {
            println!("{}: {line}", page.path);
        }
        if !differences.is_empty() {
            stale.push(format!(
                "{} is not as the code is: if that is as it should be, `{}`",
                page.path, page.command
            ));
        }
    }
    if stale.is_empty() { Ok(Outcome::Passed) } else { bail!("{}", stale.join("; ")) }
}

/// Lines of one text that the other has not, as a diff marks them. Where only the order differs,
/// that alone.
fn compared(is: &str, should: &str) -> Vec<String> {
    if is == should {
        return Vec::new();
    }
    let only = |one: &str, other: &str, mark: &str| {
        let other: Vec<_> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(|line| format!("{mark} {line}")).collect::<Vec<_>>()
    };
    let mut lines = only(is, should, "-");
    lines.extend(only(should, is, "+"));
    if lines.is_empty() {
        lines.push("the same lines in another order or number".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_more_less_or_elsewhere_is_a_difference() {
        assert!(compared("a\nb\n", "a\nb\n").is_empty());
        assert_eq!(compared("a\nb\n", "a\nc\n"), ["- b", "+ c"]);
        assert_eq!(compared("", "a\n"), ["+ a"]);
        assert_eq!(compared("a\nb\n", "b\na\n").len(), 1);
    }
}
