//! Seeded mistakes in the library: each must make the tests fail that are named with it.
//!
//! A mutant is a file in `crates/bedframe/mutants`: what the mistake is, which tests notice it, and
//! which text becomes which. The text must be there exactly once, so a mutant that the library has
//! outgrown is an error and not a test that shows nothing. The library, what its tests need, and
//! the tests are copied to `target/mutants`, where one after the other is broken, built and mended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::line::{Line, root};
use crate::steps::Outcome;

/// Where the mutants are described.
const MUTANTS: &str = "crates/bedframe/mutants";
/// Where they are built.
pub const WORK: &str = "target/mutants";
/// What is copied there: the library and what its tests are built upon.
pub const CRATES: [&str; 3] = ["bedframe", "bedframe-hosted", "bedframe-model"];
/// A test that takes longer than this has gone round in circles, and so has noticed the mutant.
const PATIENCE: Duration = Duration::from_secs(60);

/// One mistake.
#[derive(Debug, PartialEq)]
struct Mutant {
    name: String,
    what: String,
    /// Each a test program and the name of a test in it.
    tests: Vec<(String, String)>,
    patches: Vec<Patch>,
}

#[derive(Debug, PartialEq)]
struct Patch {
    /// Below the library's `src`.
    file: String,
    find: String,
    replace: String,
}

/// How a test of a mutant ended.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Hung,
}

/// Builds every mutant and runs its tests. An error if one of them is not caught, or if a test
/// fails on the library as it is.
pub fn run() -> Result<Outcome> {
    let mutants = read_all(&root().join(MUTANTS))?;
    ensure!(!mutants.is_empty(), "{MUTANTS} holds no mutant");
    let work = root().join(WORK);
    copy_workspace(&work, None)?;
    let programs = mutants.iter().flat_map(|mutant| &mutant.tests).map(|(program, _)| program);
    let mut programs: Vec<_> = programs.map(String::as_str).collect();
    programs.sort_unstable();
    programs.dedup();

    let built = build(&programs)?;
    let mut healthy: Vec<_> = mutants.iter().flat_map(|mutant| &mutant.tests).collect();
    healthy.sort_unstable();
    healthy.dedup();
    for test in healthy {
        let verdict = judge(&built, test)?;
        ensure!(
            verdict == Verdict::Passed,
            "{} {} does not pass on the library itself",
            test.0,
            test.1
        );
    }
    let mut missed = Vec::new();
    for mutant in &mutants {
        let start = Instant::now();
        let verdicts = try_mutant(mutant, &work.join("crates/bedframe/src"))
            .with_context(|| format!("mutant {}", mutant.name))?;
        println!("{:24} {} ({:.1} s)", mutant.name, mutant.what, start.elapsed().as_secs_f64());
        for ((program, test), verdict) in mutant.tests.iter().zip(verdicts) {
            let said = match verdict {
                Verdict::Passed => "NOT CAUGHT by",
                Verdict::Failed => "caught by",
                Verdict::Hung => "caught, since it did not end, by",
            };
            println!("{:24}   {said} {program} {test}", "");
            if verdict == Verdict::Passed {
                missed.push(format!("{} by {program} {test}", mutant.name));
            }
        }
    }
    ensure!(missed.is_empty(), "not caught: {}", missed.join(", "));
    println!("{} mutants, all caught", mutants.len());
    Ok(Outcome::Passed)
}

/// Breaks the copy, builds it, runs the mutant's tests, and mends the copy again.
fn try_mutant(mutant: &Mutant, sources: &Path) -> Result<Vec<Verdict>> {
    let mut healthy = BTreeMap::new();
    let mut broken = BTreeMap::new();
    for patch in &mutant.patches {
        let path = sources.join(&patch.file);
        let text = match broken.remove(&path) {
            Some(text) => text,
            None => fs::read_to_string(&path).with_context(|| patch.file.clone())?,
        };
        healthy.entry(path.clone()).or_insert_with(|| text.clone());
        broken.insert(path, patch.apply(&text)?);
    }
    write_all(&broken)?;
    let programs: Vec<_> = mutant.tests.iter().map(|(program, _)| program.as_str()).collect();
    let verdicts = build(&programs)
        .and_then(|built| mutant.tests.iter().map(|test| judge(&built, test)).collect());
    write_all(&healthy)?;
    verdicts
}

fn write_all(files: &BTreeMap<PathBuf, String>) -> Result<()> {
    for (path, text) in files {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Patch {
    fn apply(&self, text: &str) -> Result<String> {
        let count = text.matches(&self.find).count();
        ensure!(count == 1, "{} has this text {count} times, not once:\n{}", self.file, self.find);
        Ok(text.replacen(&self.find, &self.replace, 1))
    }
}

/// Builds these test programs in the copy, or the library's own tests if there are none; answers
/// where each lies.
pub fn build(programs: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut words = String::from(
        "cargo test --quiet --no-run --message-format json --target-dir target -p bedframe",
    );
    for program in programs {
        words += &format!(" --test {program}");
    }
    if programs.is_empty() {
        words += " --lib";
    }
    // No debug information, and quick to build: each mutant is built once and runs for a second.
    let line = Line::new(&words)
        .dir(WORK)
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .env("RUSTFLAGS", "-Awarnings");
    let output = line.output()?;
    if !output.status.success() {
        bail!("does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

/// The programs that cargo's messages say it has built.
pub fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.filter_map(|message| {
        let names = (message["target"]["name"].as_str(), message["executable"].as_str());
        names.0.zip(names.1).map(|(name, path)| (name.into(), path.into()))
    });
    built.collect()
}

/// Runs one test.
fn judge(built: &BTreeMap<String, PathBuf>, test: &(String, String)) -> Result<Verdict> {
    let (program, name) = test;
    let path = built.get(program).with_context(|| format!("no test program {program}"))?;
    let mut child = Command::new(path)
        .args(["--exact", name, "--nocapture"])
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", path.display()))?;
    let start = Instant::now();
    // Its output fits into a pipe, so nobody needs to read it meanwhile.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(Verdict::Hung);
        }
        sleep(Duration::from_millis(20));
    };
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("running 1 test"), "{program} has no test {name}");
    Ok(if status.success() { Verdict::Passed } else { Verdict::Failed })
}

/// Copies the crates, and a workspace that consists of them alone. What is the same already keeps
/// its time, so that little is built anew.
/// The folder `without`, if any, is left as it is there.
pub fn copy_workspace(work: &Path, without: Option<&str>) -> Result<()> {
    let without = without.map(|folder| root().join(folder));
    for name in CRATES {
        let (from, to) = (root().join("crates").join(name), work.join("crates").join(name));
        copy_folder(&from, &to, without.as_deref())?;
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    write_if_new(&work.join("Cargo.toml"), trimmed(&manifest)?.as_bytes())?;
    write_if_new(&work.join("Cargo.lock"), &fs::read(root().join("Cargo.lock"))?)
}

/// Leaves a file that is the same already, and its time.
pub fn write_if_new(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The workspace's manifest without the members that were not copied.
fn trimmed(manifest: &str) -> Result<String> {
    let is_list = |line: &&str| line.starts_with("members") || line.starts_with("default-members");
    let lists: Vec<_> = manifest.lines().filter(is_list).collect();
    ensure!(lists.iter().all(|line| line.ends_with(']')), "the members are not on one line");
    ensure!(!lists.is_empty(), "the workspace lists no members");
    let mut lines: Vec<_> = manifest.lines().filter(|line| !is_list(line)).collect();
    let at = lines.iter().position(|line| *line == "[workspace]").context("no [workspace]")?;
    lines.insert(at + 1, "members = [\"crates/*\"]");
    Ok(lines.join("\n") + "\n")
}

/// Makes `to` what `from` is.
fn copy_folder(from: &Path, to: &Path, without: Option<&Path>) -> Result<()> {
    if without == Some(from) {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if from.join(name).exists() {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target, without)?;
        } else {
            write_if_new(&target, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn read_all(folder: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {MUTANTS}"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "mutant") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path)?;
            mutants.push(parse(&name, &text).with_context(|| path.display().to_string())?);
        }
    }
    mutants.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(mutants)
}

/// Reads a mutant:
///
/// ```text
/// What the mistake is.
///
/// caught by PROGRAM TEST
///
/// === FILE
/// text that is there once
/// === becomes
/// other text
/// === end
/// ```
fn parse(name: &str, text: &str) -> Result<Mutant> {
    let mut mutant =
        Mutant { name: name.into(), what: String::new(), tests: Vec::new(), patches: Vec::new() };
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(file) = line.strip_prefix("=== ") {
            let mut until = |end: &str| -> Result<String> {
                let part: Vec<_> = lines.by_ref().take_while(|line| *line != end).collect();
                Ok(part.join("\n"))
            };
            let (find, replace) = (until("=== becomes")?, until("=== end")?);
            ensure!(!find.trim().is_empty(), "nothing to look for in {file}");
            ensure!(find != replace, "the patch to {file} changes nothing");
            mutant.patches.push(Patch { file: file.into(), find, replace });
        } else if let Some(test) = line.strip_prefix("caught by ") {
            let (program, test) = test.split_once(' ').context("caught by PROGRAM TEST")?;
            mutant.tests.push((program.into(), test.into()));
        } else if !line.is_empty() {
            ensure!(mutant.what.is_empty(), "a second description: {line}");
            mutant.what = line.into();
        }
    }
    ensure!(!mutant.what.is_empty(), "no description");
    ensure!(!mutant.tests.is_empty(), "no test is named");
    ensure!(!mutant.patches.is_empty(), "nothing is changed");
    Ok(mutant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "What.\n\ncaught by seed a::b\n\n=== a.rs\none\ntwo\n=== becomes\n=== end\n";

    #[test]
    fn mutants_are_read_as_they_are_written() {
        let mutant = parse("x", TEXT).unwrap();
        assert_eq!(mutant.tests, [("seed".to_string(), "a::b".to_string())]);
        assert_eq!(mutant.patches[0].find, "one\ntwo");
        assert_eq!(mutant.patches[0].replace, "");
        for wrong in
            ["", "What.\n", &TEXT.replace("caught", "seen"), &TEXT.replace("one\ntwo\n", "")]
        {
            assert!(parse("x", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_that_is_not_there_exactly_once_is_an_error() {
        let patch = Patch { file: "a.rs".into(), find: "b".into(), replace: "c".into() };
        assert_eq!(patch.apply("abd").unwrap(), "acd");
        for wrong in ["ad", "abb"] {
            assert!(patch.apply(wrong).unwrap_err().to_string().contains("not once"), "{wrong}");
        }
    }

    #[test]
    fn every_mutant_still_fits_the_library() {
        for mutant in read_all(&root().join(MUTANTS)).unwrap() {
            for patch in &mutant.patches {
                let path = root().join("crates/bedframe/src").join(&patch.file);
                let text = fs::read_to_string(path).unwrap();
                assert!(patch.apply(&text).is_ok(), "{}: {}", mutant.name, patch.find);
            }
        }
    }

    #[test]
    fn the_copied_workspace_has_only_what_was_copied() {
        let manifest =
            "[workspace]\nmembers = [\"a\", \"xtask\"]\ndefault-members = [\"a\"]\n[b]\n";
        assert_eq!(trimmed(manifest).unwrap(), "[workspace]\nmembers = [\"crates/*\"]\n[b]\n");
        assert!(trimmed("[workspace]\nmembers = [\n\"a\"]\n").is_err());
    }
}
