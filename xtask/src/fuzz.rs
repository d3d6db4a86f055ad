//! Fuzzing: every target in turn, from what is committed and from what earlier runs have found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::line::{Line, root};

/// The package of targets.
const PACKAGE: &str = "fuzz";
/// Inputs that are choices, and not a format: longer ones are more of the same.
const CHOICES: [&str; 5] = ["model", "books", "handover", "live", "scripts"];
/// What goes wrong only after so long goes wrong by not ending.
const SECONDS_FOR_ONE: u64 = 20;

/// How one target has fared.
struct Ran {
    target: String,
    executions: u64,
    seconds: f64,
    edges: u64,
    features: u64,
    inputs: u64,
    /// Inputs at which something did not hold.
    found: Vec<PathBuf>,
    /// How it ended, if not well.
    failed: Option<String>,
}

/// Fuzzes all targets, or those that are named, for so many minutes together.
pub fn fuzz(minutes: f64, chosen: &[String]) -> Result<ExitCode> {
    let targets = targets()?;
    let unknown = chosen.iter().find(|name| !targets.contains(name));
    if let Some(name) = unknown {
        eprintln!("cargo xtask fuzz: no target {name}: expected one of {}", targets.join(", "));
        return Ok(ExitCode::from(2));
    }
    if !(minutes > 0.0 && minutes <= 100_000.0) {
        eprintln!("cargo xtask fuzz: --minutes {minutes}: expected a number above 0, up to 100000");
        return Ok(ExitCode::from(2));
    }
    if let Some(missing) = missing() {
        eprintln!("cargo xtask fuzz: {missing}");
        return Ok(ExitCode::from(2));
    }
    let chosen = |name: &&String| chosen.is_empty() || chosen.contains(name);
    let targets: Vec<_> = targets.iter().filter(chosen).collect();
    for target in &targets {
        build(target)?;
    }
    let seconds = ((minutes * 60.0 / targets.len() as f64) as u64).max(1);
    let mut all = Vec::new();
    for (number, target) in (1..).zip(&targets) {
        println!("\n=== {number}/{}  {target}: {seconds} s", targets.len());
        all.push(run(target, seconds)?);
    }
    Ok(report(&all))
}

/// Every target, by the files of the package.
fn targets() -> Result<Vec<String>> {
    let folder = root().join(PACKAGE).join("targets");
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = file?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        names.extend(name.map(String::from));
    }
    names.sort();
    Ok(names)
}

/// What fuzzing needs and this machine does not have, and how to get it.
fn missing() -> Option<&'static str> {
    let works = |words: &str| Line::new(words).works();
    if !works("cargo +nightly --version") {
        return Some("a nightly compiler is missing: rustup toolchain install nightly");
    }
    if !works("cargo fuzz --version") {
        return Some("cargo-fuzz is missing: cargo install cargo-fuzz --locked");
    }
    if !works("c++ --version") {
        return Some("a C++ compiler is missing, which builds libFuzzer: apt-get install g++");
    }
    None
}

fn is_choices(target: &str) -> bool {
    CHOICES.contains(&target)
}

/// Where a target is built: everything below it is built with its flags.
fn built(target: &str) -> &'static str {
    match target {
        "scripts" => "target/fuzz/shuttle",
        _ if is_choices(target) => "target/fuzz/choices",
        _ => "target/fuzz/formats",
    }
}

/// The program that it is built as.
fn program(target: &str) -> String {
    format!("{}/x86_64-unknown-linux-gnu/release/{target}", built(target))
}

/// Without a sanitizer: parsers have no unsafe code, and the library's memory is a mapping of the hosted
/// machine's, of which a sanitizer knows nothing. What is compared guides the fuzzer through a format; for
/// choices it costs more than half of the time and guides nowhere.
fn build(target: &str) -> Result<()> {
    let compares = if is_choices(target) { "--no-trace-compares" } else { "" };
    let words = format!("cargo +nightly fuzz build --sanitizer none {compares} {target}");
    let folder = root().join(built(target));
    let line = Line::new(&words).words(["--target-dir", &folder.display().to_string()]);
    // cargo-fuzz adds its own flags to these.
    let flags = if target == "scripts" { "--cfg shuttle" } else { "" };
    line.env("RUSTFLAGS", flags).run()
}

/// Runs a target for so many seconds, or until something does not hold.
fn run(target: &str, seconds: u64) -> Result<Ran> {
    let folder = |kind: &str| format!("{PACKAGE}/{kind}/{target}");
    let artifacts = root().join(folder("artifacts"));
    for made in [&artifacts, &root().join(folder("corpus"))] {
        fs::create_dir_all(made).with_context(|| made.display().to_string())?;
    }
    let before = files(&artifacts)?;
    let options = if is_choices(target) {
        ["-len_control=0", "-max_len=600"]
    } else {
        ["-use_value_profile=1", "-max_len=4096"]
    };
    // The first folder is the one that grows.
    let line = Line::new(&program(target))
        .words([
            folder("corpus"),
            folder("seeds"),
            format!("-artifact_prefix={PACKAGE}/artifacts/{target}/"),
        ])
        .words([format!("-max_total_time={seconds}"), format!("-timeout={SECONDS_FOR_ONE}")])
        .words([format!("-report_slow_units={SECONDS_FOR_ONE}"), "-rss_limit_mb=4096".into()])
        .words(["-print_final_stats=1"])
        .words(options);
    let start = Instant::now();
    let output = line.output()?;
    let seconds = start.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    let found: Vec<_> =
        files(&artifacts)?.into_iter().filter(|file| !before.contains(file)).collect();
    let failed = (!output.status.success()).then(|| output.status.to_string());
    if failed.is_some() {
        // What the program said when something did not hold.
        let from = said.find("panicked at").or(said.find("ERROR: ")).unwrap_or(0);
        said[from..].lines().take(40).for_each(|line| println!("{line}"));
    }
    let ran = Ran {
        target: target.into(),
        executions: last_number(&said, "stat::number_of_executed_units:"),
        seconds,
        edges: last_number(&said, " cov: "),
        features: last_number(&said, " ft: "),
        inputs: last_number(&said, " corp: "),
        found,
        failed,
    };
    println!("{} executions, {} edges covered", ran.executions, ran.edges);
    Ok(ran)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect()
}

/// The number that stands behind the last `label`; 0 if there is none.
fn last_number(text: &str, label: &str) -> u64 {
    let behind = text.rfind(label).map_or("", |at| &text[at + label.len()..]).trim_start();
    let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    behind[..digits].parse().unwrap_or(0)
}

/// Prints the table, and what was found. Exit code 1 if anything was.
fn report(all: &[Ran]) -> ExitCode {
    println!(
        "\n{:12} {:>12} {:>9} {:>8} {:>8} {:>9} {:>7}  found",
        "target", "executions", "time", "a second", "edges", "features", "inputs"
    );
    for ran in all {
        let found = ran.failed.as_deref().unwrap_or("nothing");
        println!(
            "{:12} {:>12} {:>7.0} s {:>8.0} {:>8} {:>9} {:>7}  {found}",
            ran.target,
            ran.executions,
            ran.seconds,
            ran.executions as f64 / ran.seconds,
            ran.edges,
            ran.features,
            ran.inputs
        );
    }
    println!("{:12} {:>12}", "all", all.iter().map(|ran| ran.executions).sum::<u64>());
    for ran in all {
        for file in &ran.found {
            let file = file.strip_prefix(root()).unwrap_or(file).display();
            println!("\n{}: {file}\n  again:   {} {file}", ran.target, program(&ran.target));
            println!(
                "  to keep: move it to {PACKAGE}/seeds/{}, and name a test after it",
                ran.target
            );
        }
    }
    if all.iter().all(|ran| ran.failed.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_what_the_fuzzer_says() {
        let said = "#1\tINITED cov: 4 ft: 5 corp: 1/1b\n#900\tDONE   cov: 2618 ft: 22663 corp: 868/18Kb\n\
            stat::number_of_executed_units: 2841\n";
        assert_eq!(last_number(said, " cov: "), 2618);
        assert_eq!(last_number(said, " corp: "), 868);
        assert_eq!(last_number(said, "stat::number_of_executed_units:"), 2841);
        assert_eq!(last_number(said, "stat::other:"), 0);
    }

    /// Each has seeds, which the tests replay, and each folder of seeds has one.
    #[test]
    fn targets_and_seeds_are_the_same() {
        let folder = root().join(PACKAGE).join("seeds");
        let mut seeds: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        seeds.sort();
        assert_eq!(targets().unwrap(), seeds);
    }
}
