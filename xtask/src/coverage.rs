//! Which lines of the library its own tests run: `cargo xtask coverage`.
//!
//! Lines as LLVM counts them, without the tests that lie in the library's files and without what only a
//! checker of interleavings compiles. What loom and shuttle run is not seen: they run another build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::line::{Line, root};
use crate::source;

const SOURCES: &str = "crates/bedframe/src/";
const REPORT: &str = "target/coverage.lcov";
/// What must be run at least, in hundredths.
const LEAST: f64 = 95.0;

/// How often each line of a file was run, by its number.
type Counts = BTreeMap<usize, u64>;

/// Runs the library's tests, prints a table, and answers whether enough was run. `missed` prints the
/// lines that were not, too; with `last` nothing is run, and the table is that of the last run.
pub fn run(missed: bool, last: bool) -> Result<ExitCode> {
    if !last {
        let line = match tools()? {
            Ok(line) => line,
            Err(command) => {
                eprintln!("cargo xtask coverage: a tool is missing: {command}");
                return Ok(ExitCode::from(2));
            }
        };
        fs::create_dir_all(root().join("target"))?;
        // Machines of terabytes take long where each step is counted, and run the lines of smaller ones.
        let line = line.words(["--lcov", "--output-path", REPORT]);
        line.words(["--", "--skip", "giant_worlds"]).run()?;
    }
    let report = fs::read_to_string(root().join(REPORT)).context(REPORT)?;
    let left_out = source::sources(&format!("{SOURCES}lib.rs"))?;
    let left_out = left_out.into_iter().map(|source| (source.path, source.left_out)).collect();
    let files = read(&report, &left_out)?;
    let (text, percent) = table(&files, missed);
    print!("{text}");
    if percent >= LEAST {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("less than {LEAST} % of the library's lines were run");
    Ok(ExitCode::from(1))
}

/// The command line, or what to run first.
fn tools() -> Result<std::result::Result<Line, String>> {
    let there = |words: &str| Line::new(words).output().is_ok_and(|output| output.status.success());
    if !there("cargo llvm-cov --version") {
        return Ok(Err("cargo install cargo-llvm-cov --locked".into()));
    }
    let line = Line::new("cargo llvm-cov test -p bedframe --lib --tests")
        // Less to compile; counting needs none of it.
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        // As many random cases as it takes to run all lines: counting makes each three times as slow.
        .env("PROPTEST_CASES", "32");
    let given = |name: &str| std::env::var_os(name).is_some();
    if given("LLVM_COV") && given("LLVM_PROFDATA") {
        return Ok(Ok(line));
    }
    let sysroot = Line::new("rustc --print sysroot").output()?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_string();
    let version = String::from_utf8_lossy(&Line::new("rustc -vV").output()?.stdout).into_owned();
    let find = |start: &str| version.lines().find_map(|line| line.strip_prefix(start));
    let host = find("host: ").context("rustc does not name its host")?;
    if Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/llvm-cov").exists() {
        return Ok(Ok(line));
    }
    // Any other version's tools may not read what this compiler's programs write.
    let llvm = find("LLVM version: ").and_then(|llvm| llvm.split('.').next());
    let llvm = llvm.context("rustc does not name its LLVM")?;
    let [cov, profdata] = ["cov", "profdata"].map(|tool| format!("llvm-{tool}-{llvm}"));
    if there(&format!("{cov} --version")) && there(&format!("{profdata} --version")) {
        return Ok(Ok(line.env("LLVM_COV", &cov).env("LLVM_PROFDATA", &profdata)));
    }
    Ok(Err(format!("apt-get install -y --no-install-recommends llvm-{llvm}")))
}

/// The library's files out of a report in lcov's format, without the lines that do not count.
fn read(
    report: &str,
    left_out: &BTreeMap<String, Vec<(usize, usize)>>,
) -> Result<BTreeMap<String, Counts>> {
    let mut files: BTreeMap<String, Counts> = BTreeMap::new();
    let mut file = None;
    for line in report.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            file = path.find(SOURCES).and_then(|at| path.get(at..)).map(String::from);
        } else if let (Some(file), Some(data)) = (&file, line.strip_prefix("DA:")) {
            let mut numbers = data.split(',');
            let mut number = || numbers.next().and_then(|number| number.parse::<u64>().ok());
            let (line, count) = number().zip(number()).context("not a line of lcov's")?;
            let line = line as usize;
            let Some(out) = left_out.get(file) else { continue };
            if !out.iter().any(|(first, last)| (*first..=*last).contains(&line)) {
                *files.entry(file.clone()).or_default().entry(line).or_default() += count;
            }
        }
    }
    ensure!(!files.is_empty(), "the report says nothing of {SOURCES}");
    Ok(files)
}

/// The table, and the percentage of all.
fn table(files: &BTreeMap<String, Counts>, missed: bool) -> (String, f64) {
    let mut text = format!("\n{:40} {:>6} {:>6} {:>7}\n", "file", "lines", "run", "%");
    let mut all = (0, 0);
    for (path, counts) in files {
        let run = counts.values().filter(|count| **count > 0).count();
        all = (all.0 + counts.len(), all.1 + run);
        text += &row(path.trim_start_matches(SOURCES), counts.len(), run);
        if missed && run < counts.len() {
            text += &format!("{:8}not run: {}\n", "", ranges(counts));
        }
    }
    text += &row("all", all.0, all.1);
    (text, percent(all.0, all.1))
}

fn row(name: &str, lines: usize, run: usize) -> String {
    format!("{name:40} {lines:>6} {run:>6} {:>7.1}\n", percent(lines, run))
}

fn percent(lines: usize, run: usize) -> f64 {
    if lines == 0 { 100.0 } else { run as f64 * 100.0 / lines as f64 }
}

/// The lines that were not run; lines between which nothing counts are one range.
fn ranges(counts: &Counts) -> String {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut open = false;
    for (line, count) in counts {
        match found.last_mut() {
            Some(last) if *count == 0 && open => last.1 = *line,
            _ if *count == 0 => found.push((*line, *line)),
            _ => {}
        }
        open = *count == 0;
    }
    let text =
        found.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    text.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "SF:/x/crates/bedframe/src/a.rs\nFN:1,f\nDA:1,5\nDA:2,0\nDA:3,0\nDA:5,1\nDA:9,0\n\
        end_of_record\nSF:/x/crates/other/src/b.rs\nDA:1,0\nend_of_record\n";

    fn files(left_out: &[(usize, usize)]) -> BTreeMap<String, Counts> {
        let left_out = [("crates/bedframe/src/a.rs".to_string(), left_out.to_vec())].into();
        read(REPORT, &left_out).unwrap()
    }

    #[test]
    fn lines_of_the_library_are_counted_and_no_others() {
        let (text, percent) = table(&files(&[]), true);
        assert_eq!(percent, 40.0);
        assert!(text.contains("a.rs") && text.contains("not run: 2-3, 9"), "{text}");
        assert!(!text.contains("b.rs"), "{text}");
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let (text, percent) = table(&files(&[(2, 4)]), true);
        assert!((percent - 200.0 / 3.0).abs() < 1e-9 && text.contains("not run: 9"), "{text}");
    }

    #[test]
    fn a_report_without_the_library_is_an_error() {
        assert!(read("SF:/x/b.rs\nDA:1,1\n", &BTreeMap::new()).is_err());
        let left_out = [("crates/bedframe/src/a.rs".to_string(), Vec::new())].into();
        assert!(read("SF:crates/bedframe/src/a.rs\nDA:one\n", &left_out).is_err());
    }
}
