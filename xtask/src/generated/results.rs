//! What is known of mutants, kept in a file, so that a run goes on where another ended.
//!
//! What is known of a mutant holds while what ships of its file is the same. One that survived is tried again
//! with the tests that are new by their names. Of a test that has changed, or that there was no time for, and of
//! what other files have become, nothing is asked: `--afresh` forgets everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::list::{Mutant, SOURCES};
use crate::source::{Source, sources};

/// What is known of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// By this test.
    Caught(String),
    /// Does not compile.
    Refused,
    /// No test comes to its place.
    NotReached,
    Survived,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    /// A file that ships, and a number for what of it does: results that follow are of that.
    File(String, u64),
    /// The tests with which the mutants below were tried, besides those of earlier lines.
    Tests(Vec<String>),
    Mutant(String, Verdict),
}

pub struct Results {
    file: File,
    /// By the mutants' names, which say where they lie; with how many lines of tests came before.
    known: BTreeMap<String, (Verdict, usize)>,
    tests: Vec<BTreeSet<String>>,
}

impl Results {
    /// Goes on with the results in this file, as far as they still hold.
    pub fn read(path: &Path, afresh: bool) -> Result<Self> {
        let now = files()?;
        let text =
            if afresh { String::new() } else { fs::read_to_string(path).unwrap_or_default() };
        // The last line may have been cut off.
        let known = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let lines = still_true(known.collect(), &now);
        let mut file = File::create(path).with_context(|| path.display().to_string())?;
        for line in &lines {
            writeln!(file, "{}", serde_json::to_string(line)?)?;
        }
        let mut results = Self { file, known: BTreeMap::new(), tests: Vec::new() };
        lines.into_iter().for_each(|line| results.note(line));
        Ok(results)
    }

    fn note(&mut self, line: Line) {
        match line {
            Line::File(..) => {}
            Line::Tests(names) => self.tests.push(names.into_iter().collect()),
            Line::Mutant(name, verdict) => {
                self.known.insert(name, (verdict, self.tests.len()));
            }
        }
    }

    fn add_line(&mut self, line: Line) -> Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(&line)?)?;
        self.note(line);
        Ok(())
    }

    /// From here on, mutants are tried with these tests.
    pub fn begin(&mut self, tests: Vec<String>) -> Result<()> {
        self.add_line(Line::Tests(tests))
    }

    pub fn add(&mut self, mutant: &Mutant, verdict: Verdict) -> Result<()> {
        if verdict == Verdict::Survived || verdict == Verdict::NotReached {
            println!("survived: {}", mutant.name);
        }
        self.add_line(Line::Mutant(mutant.name.clone(), verdict))
    }

    pub fn of(&self, mutant: &Mutant) -> Option<&Verdict> {
        self.known.get(&mutant.name).map(|(verdict, _)| verdict)
    }

    /// Whether nothing can change what is known of it but another library.
    pub fn is_settled(&self, mutant: &Mutant) -> bool {
        matches!(self.of(mutant), Some(Verdict::Caught(_) | Verdict::Refused))
    }

    /// Whether a mutant has survived this test.
    pub fn has_survived(&self, mutant: &Mutant, test: &str) -> bool {
        let Some((_, lines)) = self.known.get(&mutant.name) else { return false };
        self.tests.iter().take(*lines).any(|tests| tests.contains(test))
    }
}

/// Each file that ships, with a number for what of it does.
fn files() -> Result<BTreeMap<String, u64>> {
    let number = |source| {
        let (path, text) = shipped(source);
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        (path, hasher.finish())
    };
    Ok(sources(&format!("{SOURCES}/lib.rs"))?.into_iter().map(number).collect())
}

/// The lines that hold still, behind those of the files as they are now.
fn still_true(known: Vec<Line>, now: &BTreeMap<String, u64>) -> Vec<Line> {
    let of = |line: &Line| match line {
        Line::File(path, number) => Some((path.clone(), *number)),
        _ => None,
    };
    let then: BTreeMap<_, _> = known.iter().filter_map(of).collect();
    let same = |name: &str| {
        let path = name.split_once(".rs:").map(|(path, _)| format!("{path}.rs"));
        path.is_some_and(|path| now.contains_key(&path) && now.get(&path) == then.get(&path))
    };
    let rest = known.into_iter().filter(|line| match line {
        Line::File(..) => false,
        Line::Tests(_) => true,
        Line::Mutant(name, _) => same(name),
    });
    let files = now.iter().map(|(path, number)| Line::File(path.clone(), *number));
    files.chain(rest).collect()
}

/// What ships of a file, without comments and layout.
fn shipped(source: Source) -> (String, String) {
    let file = syn::File { shebang: None, attrs: Vec::new(), items: source.items };
    (source.path, prettyplease::unparse(&file))
}

#[cfg(test)]
mod tests {
    use super::super::list::{Genre, tests::mutant};
    use super::*;
    use crate::source::parse;

    #[test]
    fn a_run_goes_on_where_another_ended() {
        let path = std::env::temp_dir().join(format!("results-{}", std::process::id()));
        let (mut a, mut b) =
            (mutant(Genre::FnValue, (1, 1), 1, ""), mutant(Genre::FnValue, (2, 1), 1, ""));
        let file = sources(&format!("{SOURCES}/lib.rs")).unwrap().pop().unwrap().path;
        (a.name, b.name) = (format!("{file}:1:1: a"), format!("{file}:1:1: b"));
        let mut results = Results::read(&path, true).unwrap();
        results.begin(vec!["old".into()]).unwrap();
        results.add(&a, Verdict::Survived).unwrap();
        results.add(&b, Verdict::Caught("old".into())).unwrap();
        results.begin(vec!["old".into(), "new".into()]).unwrap();
        drop(results);
        let results = Results::read(&path, false).unwrap();
        assert!(results.has_survived(&a, "old") && !results.has_survived(&a, "new"));
        assert!(results.is_settled(&b) && !results.is_settled(&a));
        let results = Results::read(&path, true).unwrap();
        assert_eq!((results.of(&a), results.of(&b)), (None, None));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_known_holds_as_long_as_the_file_is_the_same() {
        let known = || {
            let mutant = |name: &str| Line::Mutant(format!("{name}.rs:1:1: x"), Verdict::Survived);
            let file = |name: &str| Line::File(format!("{name}.rs"), 1);
            vec![
                file("a"),
                file("b"),
                mutant("a"),
                file("gone"),
                mutant("b"),
                mutant("gone"),
                mutant("new"),
            ]
        };
        let holds = |now: &[(&str, u64)]| {
            let now = now.iter().map(|(name, number)| (format!("{name}.rs"), *number)).collect();
            let mut left = Vec::new();
            for line in still_true(known(), &now) {
                match line {
                    Line::File(path, number) => assert_eq!(now.get(&path), Some(&number)),
                    Line::Mutant(name, _) => left.push(name.replace(".rs:1:1: x", "")),
                    Line::Tests(_) => {}
                }
            }
            left.join(" ")
        };
        assert_eq!(holds(&[("a", 1), ("b", 1), ("new", 1)]), "a b");
        assert_eq!(holds(&[("a", 2), ("b", 1), ("new", 1)]), "b", "a has changed");
        assert_eq!(holds(&[]), "");
    }

    #[test]
    fn comments_and_tests_do_not_ship() {
        let of = |text: &str| shipped(parse("a.rs", text.into()).unwrap());
        let same = "fn f() -> u8 {\n    // One.\n    1\n}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(of("fn f() -> u8 { 1 }"), of(same));
        assert_ne!(of("fn f() -> u8 { 1 }"), of("fn f() -> u8 { 2 }"));
    }
}
