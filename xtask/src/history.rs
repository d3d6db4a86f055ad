//! The regression table: every row of what went wrong in other allocators has a test, and `docs/history.md`
//! lists them.
//!
//! Rows are in `crates/bedframe/tests/history/rows.toml`. The documentation of a test there says the rest: it
//! begins with the row's id, one paragraph begins with *Answer:*, and one may begin with *Also:* and name other
//! tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::line::root;
use crate::test_names::{Test, tests_of};

const ROWS: &str = "crates/bedframe/tests/history/rows.toml";
/// Where the page is kept.
pub const PAGE: &str = "docs/history.md";
/// How it is made.
pub const COMMAND: &str = "cargo xtask history";
/// Where tests of rows are: every test there must be one.
const PLACES: [&str; 2] = ["history::", "bedframe_firmware::history::"];
/// Whose rows they are, by the first letter of an id.
const SOURCES: [(&str, &str); 7] = [
    ("X", "Xen"),
    ("L", "Linux"),
    ("K", "pKVM"),
    ("A", "Asterinas"),
    ("F", "LLFree"),
    ("B", "buddy_system_allocator"),
    ("T", "Theseus"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    row: Vec<Row>,
}

/// What went wrong somewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    cause: String,
    observe: String,
}

/// What a test's documentation says of its row.
struct Said<'a> {
    id: &'a str,
    answer: String,
    also: Vec<String>,
}

/// The page as it should be; an error if a row has no test, or a test that is named is not there.
pub fn page() -> Result<String> {
    let rows = fs::read_to_string(root().join(ROWS)).context(ROWS)?;
    let rows: Rows = toml::from_str(&rows).context(ROWS)?;
    render(&rows.row, &tests_of(&["bedframe", "bedframe-firmware"])?)
}

/// The page, or all that is missing.
fn render(rows: &[Row], tests: &BTreeMap<String, Test>) -> Result<String> {
    let mut wrong = Vec::new();
    let mut of_row: BTreeMap<&str, Vec<(&str, Said<'_>)>> = BTreeMap::new();
    for (name, test) in tests {
        if !PLACES.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        match said(&test.doc, rows) {
            Ok(said) => {
                let missing = said.also.iter().filter(|also| !tests.contains_key(*also));
                wrong.extend(missing.map(|also| format!("{name} names {also}, which is no test")));
                of_row.entry(said.id).or_default().push((name, said));
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    for (at, row) in rows.iter().enumerate() {
        if !of_row.contains_key(row.id.as_str()) {
            wrong.push(format!("{} has no test: {}", row.id, row.cause));
        }
        if rows[..at].iter().any(|other| other.id == row.id) {
            wrong.push(format!("{} is there twice", row.id));
        }
        if !SOURCES.iter().any(|(letter, _)| is_of(row, letter)) {
            wrong.push(format!("{} begins with the letter of no allocator", row.id));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    let mut page = String::from(HEAD);
    for (letter, source) in SOURCES {
        let rows = rows.iter().filter(|row| is_of(row, letter));
        let _ = write!(page, "\n## {source}\n\n{COLUMNS}");
        for row in rows {
            let said = &of_row[row.id.as_str()];
            let tests: Vec<_> = said.iter().map(|(name, said)| cell(name, said, tests)).collect();
            let answers: Vec<_> = said.iter().map(|(_, said)| said.answer.as_str()).collect();
            let Row { id, cause, observe } = row;
            let (tests, answers) = (tests.join("; "), answers.join(" "));
            let _ = writeln!(page, "| {id} | {cause} | {observe} | {tests} | {answers} |");
        }
    }
    Ok(page)
}

fn is_of(row: &Row, letter: &str) -> bool {
    row.id.split_once(' ').is_some_and(|(first, _)| first == letter)
}

/// A test, with links to it and to those that it names.
fn cell(name: &str, said: &Said<'_>, tests: &BTreeMap<String, Test>) -> String {
    let link = |name: &str| format!("[`{name}`](../{})", tests[name].file);
    let also: Vec<_> = said.also.iter().map(|also| link(also)).collect();
    let first = link(name);
    if also.is_empty() { first } else { format!("{first}; also {}", also.join(", ")) }
}

/// What a test's documentation says.
fn said<'a>(doc: &str, rows: &'a [Row]) -> Result<Said<'a>> {
    let paragraphs: Vec<String> = doc
        .split("\n\n")
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let paragraph = |start: &str| paragraphs.iter().find_map(|text| text.strip_prefix(start));
    let begins = |row: &&Row| doc.strip_prefix(&row.id).is_some_and(|rest| rest.starts_with(": "));
    let row = rows.iter().find(begins).context("its documentation begins with the id of no row")?;
    let answer = paragraph("Answer: ").context("no paragraph begins with \"Answer: \"")?;
    let cells = [&row.cause, &row.observe, answer];
    ensure!(cells.iter().all(|text| !text.contains('|')), "a \"|\" would end a column");
    let also = paragraph("Also: ").map_or(Vec::new(), |text| {
        // Names are in backticks.
        text.split('`').skip(1).step_by(2).map(String::from).collect()
    });
    let first = answer.chars().next().context("an empty answer")?;
    let answer = answer.replacen(first, &first.to_uppercase().to_string(), 1);
    Ok(Said { id: &row.id, answer, also })
}

const HEAD: &str = "\
# What went wrong before

Each row is a defect of a real page allocator that was fixed in public, or found by reading: what went
wrong, what a test has to look at, the test that shows that it does not happen here, and why it does not.
Tests under `history::` are in `crates/bedframe/tests/history`; run them with
`cargo test -p bedframe --test history`. Those under `interleavings::` and `index::interleavings::` explore
all interleavings of two calls: `cargo xtask test --only loom`.

This page is written by `cargo xtask history`, from `rows.toml` beside the tests and from what their
documentation says. `cargo xtask test` fails if it is stale, if a row has no test, or if a test that is
named is not there.
";

const COLUMNS: &str = "\
| row | what went wrong | what a test looks at | test | how Bedframe answers |
|---|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str) -> Row {
        Row { id: id.into(), cause: "cause".into(), observe: "look".into() }
    }

    fn tests(of: &[(&str, &str)]) -> BTreeMap<String, Test> {
        let test = |doc: &str| Test { file: "f.rs".into(), doc: doc.into() };
        of.iter().map(|(name, doc)| (name.to_string(), test(doc))).collect()
    }

    const GOOD: &str =
        "X 1, XSA-2: what\nit shows.\n\nAnswer: so\nand so.\n\nAlso: `seed::a`, `b`\n";

    #[test]
    fn a_row_is_a_line_of_its_allocators_table() {
        let tests = tests(&[("history::t", GOOD), ("seed::a", ""), ("b", "")]);
        let page = render(&[row("X 1, XSA-2")], &tests).unwrap();
        let line = "| X 1, XSA-2 | cause | look | [`history::t`](../f.rs); also [`seed::a`](../f.rs), \
                    [`b`](../f.rs) | So and so. |";
        assert!(page.contains(&format!("## Xen\n\n{COLUMNS}{line}\n")), "{page}");
    }

    #[test]
    fn whatever_is_missing_is_named() {
        let all = [("history::t", GOOD), ("seed::a", ""), ("b", "")];
        let rows = [row("X 1, XSA-2"), row("F x.rs")];
        let error = render(&rows, &tests(&all)).unwrap_err().to_string();
        assert_eq!(error, "F x.rs has no test: cause");
        for (tests, expected) in [
            (tests(&all[..2]), "history::t names b, which is no test"),
            (tests(&[("history::t", "X 1, XSA-2: what.\n")]), "no paragraph begins with \"Answer"),
            (
                tests(&[("history::t", "X 1: what.\n\nAnswer: so.\n")]),
                "begins with the id of no row",
            ),
            (tests(&[("history::t", "It.\n\nX 1, XSA-2: a.\n\nAnswer: so.\n")]), "id of no row"),
            (tests(&[("history::t", "X 1, XSA-2: a.\n\nAnswer: a|b.\n")]), "end a column"),
            (tests(&[("history::t", "")]), "begins with the id of no row"),
            (tests(&[("seed::t", GOOD)]), "X 1, XSA-2 has no test"),
        ] {
            let error = render(&rows[..1], &tests).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let twice = render(&[row("X 1"), row("X 1")], &tests(&[])).unwrap_err().to_string();
        assert!(twice.contains("X 1 is there twice"), "{twice}");
        let other = render(&[row("Q 1")], &tests(&[])).unwrap_err().to_string();
        assert!(other.contains("Q 1 begins with the letter of no allocator"), "{other}");
    }
}
