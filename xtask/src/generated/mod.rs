//! Mistakes that a tool makes up, one in each place where it can: `cargo xtask mutants --generated`.
//!
//! cargo-mutants says which there are. A copy of the library in `target/mutants-generated` holds all of
//! them at once, each behind a question that the environment answers, so one build serves for all. The
//! few that cannot be chosen while a program runs are built one by one. Each is tried with the tests that
//! come to its place, and what survives them must be explained in [`EXPLAINED`].

mod alone;
mod build;
mod explained;
mod list;
mod process;
mod reach;
mod results;
mod rewrite;
mod trial;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Result;

use crate::line::root;
use build::{WORK, build};
use explained::{EXPLAINED, Explained};
use list::{Mutant, SOURCES};
use reach::{Reach, Test};
use results::{Results, Verdict};
use trial::Trial;

/// The test programs, the library's own tests apart.
const PROGRAMS: [&str; 11] = [
    "against_model",
    "claims",
    "faults",
    "history",
    "offline",
    "owners",
    "references",
    "scrub",
    "seed",
    "tlb",
    "vmap",
];

/// What to try.
pub struct Chosen<'a> {
    /// Named below the library's `src`; all if there is none.
    pub files: &'a [String],
    /// The I-th of N parts, counted from 0.
    pub shard: Option<(usize, usize)>,
    /// Processes at once.
    pub jobs: usize,
    /// Forget what earlier runs found.
    pub afresh: bool,
    /// Leave out what is not quick.
    pub quick: bool,
}

/// Tries these mutants.
pub fn run(chosen: &Chosen) -> Result<ExitCode> {
    let there = Command::new("cargo").args(["mutants", "--version"]).stdin(Stdio::null()).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("cargo xtask mutants: a tool is missing: cargo install cargo-mutants --locked");
        return Ok(ExitCode::from(2));
    }
    for file in chosen.files {
        if !root().join(SOURCES).join(file).is_file() {
            eprintln!("cargo xtask mutants: {file}: no file of {SOURCES}");
            return Ok(ExitCode::from(2));
        }
    }
    let start = Instant::now();
    let explained = Explained::read()?;
    let mutants = list::all()?;
    let wanted: Vec<_> =
        (0..mutants.len()).filter(|number| chosen.wants(*number, &mutants)).collect();
    let scratch = root().join(WORK).join("scratch");
    fs::create_dir_all(&scratch)?;
    let path = root().join(WORK).join("results.json");
    let mut results = Results::read(&path, chosen.afresh)?;
    let refused = |number: &usize| results.of(&mutants[*number]) == Some(&Verdict::Refused);
    let built = build(&mutants, &PROGRAMS, (0..mutants.len()).filter(refused).collect())?;
    for number in &built.refused {
        if !results.is_settled(&mutants[*number]) {
            results.add(&mutants[*number], Verdict::Refused)?;
        }
    }
    let longest = if chosen.quick { trial::QUICK } else { reach::SLOW };
    let reach = Reach::found(&built.programs, mutants.len(), longest, &scratch)?;
    println!("{} tests, and {} that are too slow", reach.tests.len(), reach.slow);
    results.begin(reach.tests.iter().map(Test::title).collect())?;
    let open = wanted.iter().copied().filter(|number| !results.is_settled(&mutants[*number]));
    let (alone, guarded): (Vec<_>, Vec<_>) = open.partition(|number| built.alone.contains(number));
    let results = Mutex::new(results);
    Trial::new(&mutants, &built.programs, &reach, &scratch).run(&guarded, chosen.jobs, &results)?;
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    alone::run(&mutants, &alone, &reach, &mut results, &scratch)?;
    println!("{:.0} minutes", start.elapsed().as_secs_f64() / 60.0);
    Ok(judged(&mutants, &wanted, &results, explained))
}

impl Chosen<'_> {
    fn wants(&self, number: usize, mutants: &[Mutant]) -> bool {
        let file = self.files.is_empty() || self.files.contains(&mutants[number].file);
        file && self.shard.is_none_or(|(part, parts)| number % parts == part)
    }
}

/// `I/N`, for the command line.
pub fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text
        .split_once('/')
        .and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    parts.filter(|(part, parts)| part < parts).ok_or(format!("`{text}` is not I/N with I below N"))
}

/// Prints what survived and is not explained, and a table; answers whether all is explained.
fn judged(
    mutants: &[Mutant],
    wanted: &[usize],
    results: &Results,
    mut explained: Explained,
) -> ExitCode {
    // Mutants, not buildable, caught, not reached, survived, explained.
    let mut table: BTreeMap<&str, [usize; 6]> = BTreeMap::new();
    let mut all = [0; 6];
    for number in wanted {
        let mutant = &mutants[*number];
        let row = table.entry(mutant.file.split('/').next().unwrap_or_default()).or_default();
        let verdict = results.of(mutant);
        let column = match verdict {
            Some(Verdict::Refused) => 1,
            Some(Verdict::Caught(_)) => 2,
            Some(Verdict::NotReached) => 3,
            Some(Verdict::Survived) | None => 4,
        };
        let excused = column > 2 && explained.take(&mutant.what());
        for row in [row, &mut all] {
            row[0] += 1;
            row[column] += 1;
            row[5] += usize::from(excused);
        }
        if column > 2 && !excused {
            let why = if column == 3 { ", no test comes there" } else { "" };
            println!("NOT CAUGHT {} (line {}{why})", mutant.what(), mutant.span.start.line);
        }
    }
    if wanted.len() == mutants.len() {
        for name in explained.rest() {
            println!("EXPLAINED, and did not survive: {name}");
        }
    }
    println!("\n{:14} mutants  not buildable  caught  not reached  survived  explained", "");
    for (name, row) in table.into_iter().chain([("all", all)]) {
        let [mutants, refused, caught, unreached, survived, explained] = row;
        println!(
            "{name:14} {mutants:7}  {refused:13}  {caught:6}  {unreached:11}  {survived:8}  {explained:9}"
        );
    }
    let open = all[3] + all[4] - all[5];
    println!("\n{open} are neither caught nor explained in {EXPLAINED}");
    if open == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_from_0() {
        assert_eq!(shard("0/3"), Ok((0, 3)));
        assert_eq!(shard("2/3"), Ok((2, 3)));
        for wrong in ["3/3", "0/0", "1", "a/2", ""] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
    }
}
