//! Mistakes that a tool makes up, one in each place where it can: `cargo xtask mutants --generated`.
//!
//! cargo-mutants works on a copy of the library in `target/mutants`, as the seeded mistakes do, and the
//! copy's build is kept, so that a mutant costs one build of the library and of a few tests. Each mutant
//! is tried twice at most: first against the tests of its subject, and if it survives these, against all
//! that are quick enough. What survives both must be explained in [`EXPLAINED`].

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::line::{Line, root};
use crate::mutants::{WORK, copy_workspace};

/// Survivors, each with the reason why no test could tell.
const EXPLAINED: &str = "crates/bedframe/mutants/explained.txt";
/// Below the library's sources, and the test program that knows most of it beside the library's own
/// tests, if these are not enough. The first that fits.
const SUBJECTS: [(&str, &str); 9] = [
    ("index/entry.rs", ""),
    ("index/record.rs", ""),
    ("index/summary.rs", ""),
    ("credits/", "claims"),
    ("owners/", "owners"),
    ("scrub/", "scrub"),
    ("tlb.rs", "tlb"),
    ("vmap/", "vmap"),
    ("", "seed"),
];
/// The test programs for what survives.
const ALL: [&str; 8] =
    ["seed", "claims", "owners", "offline", "references", "scrub", "tlb", "vmap"];
const MODEL: &str = "against_model";
/// Tests that are left out: what depends on the moment proves nothing of a mutant, and some take
/// longer than all others together.
const SKIPPED: [&str; 4] = ["threads", "sixty_five_thousand_steps", "every_second_frame", "giant"];

/// Tries the mutants of these files, which are named below the library's `src`, or of all.
pub fn run(files: &[String], shard: Option<&str>) -> Result<ExitCode> {
    let there = Command::new("cargo").args(["mutants", "--version"]).stdin(Stdio::null()).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("cargo xtask mutants: a tool is missing: cargo install cargo-mutants --locked");
        return Ok(ExitCode::from(2));
    }
    for file in files {
        if !root().join("crates/bedframe/src").join(file).is_file() {
            eprintln!("cargo xtask mutants: {file}: no file of crates/bedframe/src");
            return Ok(ExitCode::from(2));
        }
    }
    let explained = explained(&fs::read_to_string(root().join(EXPLAINED)).context(EXPLAINED)?)?;
    copy_workspace(&root().join(WORK))?;
    let mut survivors = Vec::new();
    for (subject, program) in SUBJECTS {
        let of_it = |file: &&String| subject_of(file) == subject;
        let chosen: Vec<_> = files.iter().filter(of_it).map(|file| sources(file)).collect();
        let (chosen, others) = match (files.is_empty(), chosen.is_empty()) {
            (true, _) if subject.is_empty() => (vec![sources("**/*.rs")], others()),
            (true, _) => (vec![sources(&pattern(subject))], vec![]),
            (false, true) => continue,
            (false, false) => (chosen, vec![]),
        };
        let folder = format!("out-{}", subject.replace('/', "-"));
        // What an earlier run found is not to be gone on with.
        let _ = fs::remove_dir_all(root().join(WORK).join(&folder));
        let mutants = Pass { folder: &folder, files: &chosen, others: &others, shard };
        let first: Vec<_> = [program].into_iter().filter(|program| !program.is_empty()).collect();
        mutants.run(&first, &[])?;
        let missed = mutants.missed()?;
        let names: Vec<_> = missed.iter().map(|name| without_place(name)).collect();
        if unexplained(&names, &explained).is_empty() {
            survivors.extend(names);
        } else {
            println!("once more, those that survived, against all quick tests");
            let mut programs = ALL.to_vec();
            programs.push(MODEL);
            mutants.run(&programs, &missed)?;
            survivors.extend(mutants.missed()?.iter().map(|name| without_place(name)));
        }
    }
    Ok(judged(&survivors, &explained))
}

/// Files for which one of the subjects but the last is responsible.
fn others() -> Vec<String> {
    let named = SUBJECTS.iter().filter(|(subject, _)| !subject.is_empty());
    named.map(|(subject, _)| sources(&pattern(subject))).collect()
}

/// The files of a subject that is not all files.
fn pattern(subject: &str) -> String {
    if subject.ends_with('/') { format!("{subject}**") } else { subject.into() }
}

fn sources(file: &str) -> String {
    format!("crates/bedframe/src/{file}")
}

fn subject_of(file: &str) -> &'static str {
    SUBJECTS
        .iter()
        .find(|(subject, _)| file.starts_with(subject))
        .map_or("", |(subject, _)| subject)
}

/// Some mutants, which are tried once or twice.
struct Pass<'a> {
    folder: &'a str,
    files: &'a [String],
    others: &'a [String],
    shard: Option<&'a str>,
}

impl Pass<'_> {
    /// Tries these mutants, or all of the files.
    fn run(&self, programs: &[&str], again: &[String]) -> Result<()> {
        let config = root().join(".cargo/mutants.toml");
        let mut words = vec!["--config".to_string(), config.display().to_string()];
        words.extend(["--output", self.folder].map(String::from));
        for file in self.files {
            words.extend(["--file".into(), file.clone()]);
        }
        for file in self.others {
            words.extend(["--exclude".into(), file.clone()]);
        }
        for name in again {
            words.push(format!("--re=^{}$", literally(name)));
        }
        if let Some(shard) = self.shard.filter(|_| again.is_empty()) {
            words.extend(["--shard".into(), shard.into()]);
        }
        // For building and for running: otherwise every test program is built for each mutant.
        words.push("--cargo-arg=--lib".into());
        for program in programs {
            words.push(format!("--cargo-arg=--test={program}"));
        }
        words.extend(["--", "--"].map(String::from));
        for test in SKIPPED {
            words.extend(["--skip", test].map(String::from));
        }
        let line = Line::new("cargo mutants --in-place --package bedframe --no-shuffle")
            .words(words)
            .dir(WORK)
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_TEST_DEBUG", "false")
            .env("PROPTEST_CASES", "16");
        // 2: some survived, 3: some did not end; anything else is no answer.
        println!("$ {line}");
        let code = line.code()?;
        ensure!([0, 2, 3].contains(&code), "cargo mutants ended with {code}");
        Ok(())
    }

    /// What no test noticed, by the tool's names.
    fn missed(&self) -> Result<Vec<String>> {
        let path = root().join(WORK).join(self.folder).join("mutants.out/missed.txt");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.lines().map(String::from).collect())
    }
}

/// A regular expression for this text and no other.
fn literally(text: &str) -> String {
    let special = |c: char| c.is_ascii_punctuation() && !"<>_:/".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// A mutant's name without line and column, which change with every edit above.
fn without_place(name: &str) -> String {
    let Some((place, what)) = name.split_once(": ") else { return name.into() };
    let file = place.split(':').next().unwrap_or(place);
    format!("{}: {what}", file.trim_start_matches("crates/bedframe/src/"))
}

/// How many survivors of a name are explained.
fn explained(text: &str) -> Result<BTreeMap<String, usize>> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut waiting = 0;
    for (at, line) in (1..).zip(text.lines()) {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if line.starts_with(' ') {
            waiting = 0;
            continue;
        }
        ensure!(line.contains(".rs: "), "{EXPLAINED}:{at}: `{line}` is no mutant's name");
        *names.entry(line.into()).or_default() += 1;
        waiting = at;
    }
    ensure!(waiting == 0, "{EXPLAINED}:{waiting}: no reason is given");
    Ok(names)
}

/// Prints what survived, and answers whether all of it is explained.
fn judged(survivors: &[String], explained: &BTreeMap<String, usize>) -> ExitCode {
    let open = unexplained(survivors, explained);
    for name in &open {
        println!("NOT CAUGHT {name}");
    }
    println!(
        "{} survived all tests; {} of them are explained in {EXPLAINED}",
        survivors.len(),
        survivors.len() - open.len()
    );
    if open.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn unexplained<'a>(
    survivors: &'a [String],
    explained: &BTreeMap<String, usize>,
) -> Vec<&'a String> {
    let mut left = explained.clone();
    let open = survivors.iter().filter(|name| match left.get_mut(*name) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    open.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_are_known_by_what_they_are_and_not_by_where() {
        let name = "crates/bedframe/src/index/entry.rs:54:9: replace A::b -> u8 with 0";
        assert_eq!(without_place(name), "index/entry.rs: replace A::b -> u8 with 0");
    }

    #[test]
    fn a_name_is_looked_for_as_it_is() {
        assert_eq!(
            literally("a.rs:7: replace | with ^ in A::b -> u8"),
            r"a\.rs:7: replace \| with \^ in A::b \-> u8"
        );
    }

    #[test]
    fn one_explanation_explains_one_survivor() {
        let text = "# Why.\n\na.rs: replace f with ()\n    equivalent: it does nothing\n";
        let explained = explained(text).unwrap();
        let one = "a.rs: replace f with ()".to_string();
        assert!(unexplained(std::slice::from_ref(&one), &explained).is_empty());
        assert_eq!(unexplained(&[one.clone(), one], &explained).len(), 1);
        assert_eq!(unexplained(&["b.rs: replace f with ()".into()], &explained).len(), 1);
    }

    #[test]
    fn an_explanation_gives_a_reason() {
        assert!(explained("a.rs: replace f with ()\n").is_err());
        assert!(explained("what\n    reason\n").is_err());
        let text = fs::read_to_string(root().join(EXPLAINED)).unwrap();
        for name in explained(&text).unwrap().keys() {
            let file = name.split(": ").next().unwrap_or_default();
            assert!(root().join("crates/bedframe/src").join(file).is_file(), "{name}");
        }
    }

    #[test]
    fn every_file_has_a_subject() {
        assert_eq!(subject_of("credits/share.rs"), "credits/");
        assert_eq!(subject_of("tlb.rs"), "tlb.rs");
        assert_eq!(subject_of("index/entry.rs"), "index/entry.rs");
        assert_eq!(subject_of("ledger/mod.rs"), "");
        let others = others();
        assert!(others.contains(&"crates/bedframe/src/credits/**".into()), "{others:?}");
        assert!(others.contains(&"crates/bedframe/src/index/entry.rs".into()), "{others:?}");
    }
}
