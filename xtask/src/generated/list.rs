//! Which mutants there are: cargo-mutants says it.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::line::{Line, root};

/// Where the library's sources lie.
pub const SOURCES: &str = "crates/bedframe/src";

/// One mistake, as the tool describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Mutant {
    /// Below the workspace's root until [`all`] has made it one below the library's sources.
    pub file: String,
    /// With the place in front, which makes it the only one of its name.
    pub name: String,
    pub genre: Genre,
    pub replacement: String,
    pub span: Span,
    #[serde(default)]
    pub function: Option<Function>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Genre {
    BinaryOperator,
    FnValue,
    MatchArm,
    MatchArmGuard,
    StructField,
    UnaryOperator,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Function {
    pub return_type: String,
}

/// The text that the mutant replaces.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Span {
    pub start: Place,
    pub end: Place,
}

/// Line and column, in characters, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Mutant {
    /// Its name without line and column, which change with every edit above.
    pub fn what(&self) -> String {
        let what = self.name.split_once(": ").map_or(&*self.name, |(_, what)| what);
        format!("{}: {what}", self.file)
    }

    /// The file's text with this mistake.
    pub fn applied(&self, text: &str) -> Result<String> {
        let (start, end) = (at(text, self.span.start)?, at(text, self.span.end)?);
        let (before, after) = (text.get(..start), text.get(end..));
        let (before, after) = before.zip(after).context("the span is no part of the file")?;
        let mut after = after;
        if self.genre == Genre::StructField {
            after = after.trim_start().strip_prefix(',').unwrap_or(after);
        }
        Ok(format!("{before}{}{after}", self.replacement))
    }
}

/// The byte at which a place lies.
fn at(text: &str, place: Place) -> Result<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n').take(place.line.saturating_sub(1)) {
        start += line.len();
    }
    let line = text.get(start..).context("the file has no such line")?;
    let column = line.char_indices().nth(place.column.saturating_sub(1));
    Ok(start + column.map_or(line.len(), |(at, _)| at))
}

/// All mutants of the library, in the order of their places.
pub fn all() -> Result<Vec<Mutant>> {
    let config = root().join(".cargo/mutants.toml");
    let line = Line::new("cargo mutants --list --json --package bedframe")
        .words(["--config".to_string(), config.display().to_string()]);
    let output = line.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo mutants --list: {error}");
    let mut mutants: Vec<Mutant> = serde_json::from_slice(&output.stdout)?;
    for mutant in &mut mutants {
        let below = mutant.file.strip_prefix(SOURCES).and_then(|file| file.strip_prefix('/'));
        mutant.file = below.with_context(|| mutant.file.clone())?.into();
    }
    mutants.sort_by(|one, other| {
        (&one.file, one.span.start, one.genre, &one.name).cmp(&(
            &other.file,
            other.span.start,
            other.genre,
            &other.name,
        ))
    });
    ensure!(!mutants.is_empty(), "cargo mutants finds nothing to change");
    Ok(mutants)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn mutant(genre: Genre, start: (usize, usize), len: usize, replacement: &str) -> Mutant {
        let place = |column| Place { line: start.0, column };
        Mutant {
            file: "a.rs".into(),
            name: format!("crates/bedframe/src/a.rs:{}:{}: what", start.0, start.1),
            genre,
            replacement: replacement.into(),
            span: Span { start: place(start.1), end: place(start.1 + len) },
            function: None,
        }
    }

    #[test]
    fn a_mutant_is_known_by_what_it_is_and_not_by_where() {
        assert_eq!(mutant(Genre::FnValue, (54, 9), 1, "0").what(), "a.rs: what");
    }

    #[test]
    fn a_mutant_replaces_its_own_text() {
        let text = "// äöü\nlet x = ä << b;\n";
        let shift = mutant(Genre::BinaryOperator, (2, 11), 2, ">>");
        assert_eq!(shift.applied(text).unwrap(), "// äöü\nlet x = ä >> b;\n");
        let text = "S { a: 1, b: 2, ..c }";
        let field = mutant(Genre::StructField, (1, 5), 4, "");
        assert_eq!(field.applied(text).unwrap(), "S {  b: 2, ..c }");
    }
}
