//! Which tests come to which mutants, and how long they take.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::process::{Run, Said};

/// Tests that are left out: what depends on the moment proves nothing of a mutant.
const SKIPPED: [&str; 1] = ["threads"];
/// A test that takes longer than this is left out.
pub const SLOW: Duration = Duration::from_secs(1);

/// A test that is run for mutants.
#[derive(Debug)]
pub struct Test {
    pub program: String,
    pub name: String,
    /// How long it takes by itself.
    pub time: Duration,
}

impl Test {
    /// What it is known by.
    pub fn title(&self) -> String {
        format!("{} {}", self.program, self.name)
    }
}

/// The tests, the quickest first, and for each mutant those that come to its place.
pub struct Reach {
    pub tests: Vec<Test>,
    pub of: Vec<Vec<usize>>,
    /// How many tests are too slow.
    pub slow: usize,
}

impl Reach {
    /// Runs each test by itself with no mutant on; keeps those that take no longer than `longest`.
    pub fn found(
        programs: &BTreeMap<String, PathBuf>,
        mutants: usize,
        longest: Duration,
        scratch: &Path,
    ) -> Result<Self> {
        let mut found = Vec::new();
        let mut slow = 0;
        for (program, path) in programs {
            for name in names(path)? {
                if SKIPPED.iter().any(|word| name.contains(word)) {
                    continue;
                }
                let (reached, output) = (scratch.join("reached"), scratch.join("output"));
                fs::write(&reached, [])?;
                let run = Run {
                    program: path,
                    tests: &[&name],
                    usual: longest,
                    mutant: None,
                    reached: Some(&reached),
                    output: &output,
                };
                let (start, before) = (Instant::now(), children());
                let said = run.done()?;
                // What else the computer does meanwhile is not the test's.
                let of_cpu = children().zip(before).map(|(now, before)| now - before + TICK);
                let time = start.elapsed().min(of_cpu.unwrap_or(Duration::MAX));
                ensure!(
                    said == Said::Passed || time > longest,
                    "{program} {name} fails with no mutant on"
                );
                if time > longest {
                    slow += 1;
                    continue;
                }
                let bytes = fs::read(&reached)?;
                let numbers: Vec<_> = bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|bytes| u32::from_le_bytes(*bytes) as usize)
                    .collect();
                found.push((Test { program: program.clone(), name, time }, numbers));
            }
        }
        found.sort_by_key(|(test, _)| test.time);
        let mut of = vec![Vec::new(); mutants];
        for (at, (_, numbers)) in found.iter().enumerate() {
            for number in numbers {
                let tests: &mut Vec<usize> = of.get_mut(*number).context("no such mutant")?;
                // Two threads may come to a place at once.
                if tests.last() != Some(&at) {
                    tests.push(at);
                }
            }
        }
        Ok(Self { tests: found.into_iter().map(|(test, _)| test).collect(), of, slow })
    }
}

/// The unit of what the system says of time.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all processes that this one has waited for, where the system says it.
fn children() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<_> = stat.rsplit(") ").next()?.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(TICK * (ticks(13)? + ticks(14)?))
}

/// The tests of a program.
fn names(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program).args(["--list", "--format=terse"]).output()?;
    ensure!(output.status.success(), "{} does not list its tests", program.display());
    let ignored = Command::new(program).args(["--list", "--format=terse", "--ignored"]).output()?;
    let ignored = String::from_utf8_lossy(&ignored.stdout).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tests = text.lines().filter(|line| !ignored.lines().any(|other| other == *line));
    Ok(tests.filter_map(|line| line.strip_suffix(": test")).map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_time_of_children_is_theirs() {
        let before = children().unwrap();
        let words = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", words]).status().unwrap().success());
        assert!(children().unwrap() > before);
    }
}
