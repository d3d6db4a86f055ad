//! What `cargo xtask test` does, in order.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::calls::{print_panics, uncalled};
use crate::line::{Line, root};

/// How a step ended, if it did not fail.
pub enum Outcome {
    /// Everything in it was done and is well.
    Passed,
    /// There was nothing to do, and why.
    Skipped(String),
}

/// One thing that can pass or fail.
pub struct Step {
    /// How it is named on the command line.
    pub name: &'static str,
    /// What it shows.
    pub what: &'static str,
    /// Does it.
    pub run: fn() -> Result<Outcome>,
}

/// All steps: the quick ones, which fail most often, first.
pub const STEPS: &[Step] = &[
    Step { name: "format", what: "every file is formatted", run: format },
    Step { name: "clippy", what: "no warning from the compiler or clippy", run: clippy },
    Step {
        name: "audit",
        what: "every known defect has its test; its page, that of unsafe code and the public interface's are as the code is",
        run: crate::audit::step,
    },
    Step { name: "test", what: "all tests and examples, debug build", run: test },
    Step { name: "test-release", what: "the library's tests, as it ships", run: test_release },
    Step { name: "doc", what: "documentation builds without a warning", run: doc },
    Step { name: "features", what: "no feature, each alone, all together", run: features },
    Step { name: "no-panic", what: "no_std, and no call can panic", run: no_panic },
    Step { name: "width32", what: "32-bit processors: one runs, Arm builds", run: width32 },
    Step {
        name: "stress",
        what: "threads on one memory, every frame's contents checked",
        run: crate::stress::step,
    },
    Step { name: "loom", what: "all interleavings of pairs of calls", run: loom },
    Step { name: "shuttle", what: "long random interleavings of many calls", run: shuttle },
    Step {
        name: "mutants",
        what: "seeded mistakes are caught by the tests named",
        run: crate::mutants::run,
    },
    Step { name: "package", what: "every crate builds from its package", run: package },
];

/// The folder of the program that calls everything.
const NO_PANIC: &str = "checks/no-panic";

fn all(lines: impl IntoIterator<Item = Line>) -> Result<Outcome> {
    // Go on after a failure: the next line may say more.
    let results: Vec<_> = lines.into_iter().map(|line| line.run()).collect();
    results.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Outcome::Passed)
}

fn format() -> Result<Outcome> {
    all([
        Line::new("cargo fmt --all --check"),
        Line::new("cargo fmt --check").dir(NO_PANIC),
        Line::new("cargo fmt --check").dir("fuzz"),
    ])
}

fn clippy() -> Result<Outcome> {
    all([
        Line::new("cargo clippy --workspace --all-targets -- -D warnings"),
        Line::new("cargo clippy --release -- -D warnings").dir(NO_PANIC),
    ])
}

fn test() -> Result<Outcome> {
    all([Line::new("cargo test --workspace --no-fail-fast")])
}

fn test_release() -> Result<Outcome> {
    // What programs do does not depend on how they are optimised, and they take long to be.
    let library = "-p bedframe -p bedframe-live -p bedframe-model -p bedframe-hosted";
    all([Line::new(&format!("cargo test {library} --no-fail-fast --release --lib --tests"))])
}

fn doc() -> Result<Outcome> {
    all([Line::new("cargo doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings")])
}

fn features() -> Result<Outcome> {
    let mut lines = Vec::new();
    for (package, features) in packages()? {
        let line =
            |choice: &str| Line::new(&format!("cargo clippy -p {package} {choice} -- -D warnings"));
        // The library is built bare even while it has no features.
        if features.is_empty() && package != "bedframe" {
            continue;
        }
        lines.push(line("--no-default-features"));
        for feature in &features {
            lines.push(line(&format!("--no-default-features --features {feature}")));
        }
        if features.len() > 1 {
            lines.push(line("--all-features"));
        }
    }
    ensure!(!lines.is_empty(), "the workspace has no package bedframe");
    all(lines)
}

/// Publishable packages of the workspace, each with its features.
fn packages() -> Result<Vec<(String, Vec<String>)>> {
    let output = Line::new("cargo metadata --no-deps --format-version 1").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages in cargo's answer")?;
    let publishable = packages.iter().filter(|package| package["publish"].is_null());
    publishable
        .map(|package| {
            let name = package["name"].as_str().context("a package without a name")?;
            let features = package["features"].as_object().context("no table of features")?;
            let features = features.keys().filter(|feature| *feature != "default");
            Ok((name.to_string(), features.cloned().collect()))
        })
        .collect()
}

fn no_panic() -> Result<Outcome> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Outcome::Skipped("this program is written for x86-64 Linux".into()));
    }
    let uncalled = uncalled()?;
    ensure!(uncalled.is_empty(), "{NO_PANIC} does not call {}", uncalled.join(", "));
    let cargo = |words: &str| Line::new(&format!("cargo {words}")).dir(NO_PANIC);
    if let Err(error) = cargo("build --release").run() {
        print_panics(cargo, "x86_64-unknown-linux-gnu", "-Wl,")?;
        return Err(error);
    }
    cargo("run --release").run()?;
    must_not_link(cargo("build --release --features prove_the_check"))
}

/// The same program with a panic in it that can be reached.
fn must_not_link(line: Line) -> Result<Outcome> {
    const SYMBOL: &str = "bedframe_reachable_panic";
    let output = line.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "a reachable panic was linked: the check proves nothing");
    let missed = said.lines().any(|line| line.contains("undefined") && line.contains(SYMBOL));
    ensure!(missed, "failed, but not for want of {SYMBOL}:\n{said}");
    println!("did not link for want of {SYMBOL}, as it must");
    Ok(Outcome::Passed)
}

/// A compiler that can build `core` for processors that the installed one has no library for.
fn debian(words: &str) -> Line {
    // By its full name: a rustup cargo that comes first in PATH would take another compiler.
    Line::new(&format!("/usr/bin/cargo {words}"))
        .env("PATH", "/usr/bin:$PATH")
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .dir(NO_PANIC)
}

fn width32() -> Result<Outcome> {
    need_debian_tools()?;
    // All of it is compiled, nothing is linked: an Arm kernel brings its own start.
    let arm = "build --release --lib --target armv7a-none-eabi -Zbuild-std=core";
    debian(arm).run()?;
    let x86 = "--release --target i686-unknown-linux-gnu -Zbuild-std=core,compiler_builtins";
    if let Err(error) = debian(&format!("build {x86}")).run() {
        let cargo = |words: &str| debian(&format!("{words} -Zbuild-std=core,compiler_builtins"));
        print_panics(cargo, "i686-unknown-linux-gnu", "")?;
        return Err(error);
    }
    let output = debian(&format!("run {x86}")).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    print!("{said}");
    if said.contains("Exec format error") {
        println!("this machine runs no 32-bit programs: it was linked and not run");
    } else {
        ensure!(output.status.success(), "{}: the 32-bit program failed", output.status);
    }
    Ok(Outcome::Passed)
}

/// Installs what [`debian`] needs where that is missing and possible.
fn need_debian_tools() -> Result<()> {
    const FILES: [&str; 4] = [
        "/usr/bin/rustc",
        "/usr/bin/cargo",
        "/usr/bin/ld.lld-22",
        "/usr/lib/rustlib/src/rust/library/core/Cargo.toml",
    ];
    const INSTALL: &str =
        "apt-get install -y --no-install-recommends rustc-web rust-web-src cargo-web lld-22";
    let missing = || FILES.into_iter().find(|file| !Path::new(file).exists());
    let Some(file) = missing() else { return Ok(()) };
    println!("{file} is missing");
    let root = Line::new("id -u").output()?.stdout.trim_ascii() == b"0";
    if !root || !Path::new("/usr/bin/apt-get").exists() {
        bail!("{file} is missing: install Debian's packages with `{INSTALL}` as root");
    }
    let apt = |words: &str| Line::new(words).env("DEBIAN_FRONTEND", "noninteractive").run();
    apt("apt-get update")?;
    apt(INSTALL)?;
    match missing() {
        None => Ok(()),
        Some(file) => bail!("{file} is still missing after `{INSTALL}`"),
    }
}

fn loom() -> Result<Outcome> {
    interleavings("loom")
}

fn shuttle() -> Result<Outcome> {
    interleavings("shuttle")
}

fn interleavings(checker: &str) -> Result<Outcome> {
    // Its own folder: the flag would have everything else built anew. A backtrace is larger than the
    // stack of a checker's thread: the test would hang instead of failing.
    let words = "cargo test --release -p bedframe --lib interleavings";
    let line = Line::new(&format!("{words} --target-dir target/{checker}"));
    all([line.env("RUSTFLAGS", &format!("--cfg {checker}")).env("RUST_BACKTRACE", "0")])
}

fn package() -> Result<Outcome> {
    // In CI nothing may be left out of the commit; at work it may.
    let dirty = if std::env::var_os("CI").is_some() { "" } else { "--allow-dirty" };
    // A folder of its own each time: cargo unpacks a package for those that depend on it under a name
    // made of its target folder and the version, and does not look whether it has changed since.
    let _ = fs::remove_dir_all(root().join(PACKAGES));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    // The fuzz targets use a part of the library's tests, and nobody needs them without the repository.
    let all_but = "--exclude xtask --exclude bedframe-fuzz";
    let words = format!("cargo package --workspace {all_but} {dirty}");
    let result = all([Line::new(&words).words(["--target-dir", &format!("{PACKAGES}/{now}")])]);
    let _ = fs::remove_dir_all(root().join(PACKAGES));
    result
}

/// Where packages are built.
const PACKAGES: &str = "target/packages";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_the_table() {
        for (at, step) in STEPS.iter().enumerate() {
            assert!(step.name.len() < 14 && !step.what.is_empty());
            assert!(STEPS[..at].iter().all(|other| other.name != step.name), "{}", step.name);
        }
    }

    #[test]
    fn the_library_is_among_the_packages_and_this_program_is_not() {
        let names: Vec<_> = packages().unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().any(|name| name == "bedframe"), "{names:?}");
        assert!(names.iter().all(|name| name != "xtask"), "{names:?}");
    }

    #[test]
    fn a_program_that_links_proves_nothing() {
        let Err(error) = must_not_link(Line::new("true")) else { panic!("accepted") };
        assert!(error.to_string().contains("proves nothing"));
        let Err(error) = must_not_link(Line::new("false")) else { panic!("accepted") };
        assert!(error.to_string().contains("not for want of"));
    }
}
