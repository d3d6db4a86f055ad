//! One run of a test program, which may do whatever a mistake makes it do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::line::root;

/// Bytes of memory in use above which a process has gone wild. The tests' machines are sparse, so what
/// they map says nothing.
const LARGE: u64 = 2 << 30;
/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What a program's tests said.
#[derive(Debug, PartialEq)]
pub enum Said {
    Passed,
    /// The test that failed, or in the middle of which the process ended or was ended.
    Failed(String),
}

/// One run to come.
pub struct Run<'a> {
    pub program: &'a Path,
    pub tests: &'a [&'a str],
    /// How long these tests take where nothing is wrong.
    pub usual: Duration,
    pub mutant: Option<usize>,
    /// Where to write which mutants were come to.
    pub reached: Option<&'a Path>,
    /// What the program prints goes to a file of this name.
    pub output: &'a Path,
}

impl Run<'_> {
    /// Runs these tests one after the other up to the first that fails.
    pub fn done(&self) -> Result<Said> {
        // Time that the process has, whatever else the computer does; waiting for ever costs none.
        let seconds = self.usual.as_secs_f64().mul_add(4.0, 1.0).ceil();
        let patience = self.usual * 10 + Duration::from_secs(20);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -c 0; ulimit -t {seconds}; exec \"$@\""), "sh"])
            .arg(self.program)
            .args(["--exact", "--test-threads=1", "-Zunstable-options", "--fail-fast"])
            .args(self.tests)
            .current_dir(root().join("crates/bedframe"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUST_BACKTRACE", "0")
            .env("PROPTEST_CASES", "16")
            .env("PROPTEST_RNG_SEED", "1")
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
            .env_remove("BEDFRAME_MUTANT")
            .env_remove("BEDFRAME_REACHED")
            .stdin(Stdio::null())
            .stdout(File::create(self.output)?)
            .stderr(Stdio::null());
        if let Some(mutant) = self.mutant {
            command.env("BEDFRAME_MUTANT", mutant.to_string());
        }
        if let Some(path) = self.reached {
            command.env("BEDFRAME_REACHED", path);
        }
        let mut child = command.spawn().context("cannot run sh")?;
        if ended(&mut child, patience)? {
            return Ok(Said::Passed);
        }
        let text = String::from_utf8_lossy(&fs::read(self.output)?).into_owned();
        Ok(Said::Failed(failed(&text).unwrap_or("?").into()))
    }
}

/// Waits for a process; whether it ended well. One that takes too much is killed.
fn ended(child: &mut Child, patience: Duration) -> Result<bool> {
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    let (start, mut pause, mut stopped) =
        (Instant::now(), Duration::from_micros(500), Duration::ZERO);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        // Where there is no such file, nothing is known of memory.
        let memory = fs::read_to_string(folder.join("statm")).unwrap_or_default();
        let pages = memory.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        let state = fs::read_to_string(folder.join("stat")).unwrap_or_default();
        if state.rsplit(')').next().is_some_and(|state| state.trim_start().starts_with('T')) {
            stopped += pause;
        }
        let late = start.elapsed().saturating_sub(stopped) > patience;
        if late || pages.unwrap_or(0) > LARGE / 4096 {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        sleep(pause);
        pause = (pause * 2).min(LOOK);
    }
}

/// The test that failed: the one that says so, or the one that says nothing.
fn failed(output: &str) -> Option<&str> {
    let tests = output.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    let bad = tests.filter(|(_, end)| !end.starts_with("ok") && !end.starts_with("ignored"));
    bad.map(|(name, _)| name.trim_end_matches(" - should panic")).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_fails_is_named() {
        let text = "running 2 tests\ntest a ... ok\ntest b::c ... FAILED\n\nfailures:\n";
        assert_eq!(failed(text), Some("b::c"));
        assert_eq!(failed("running 1 test\ntest d - should panic ... "), Some("d"));
        assert_eq!(failed("test a ... ok\n"), None);
    }

    fn shell(words: &str, patience: u64) -> bool {
        let mut child = Command::new("sh").args(["-c", words]).spawn().unwrap();
        ended(&mut child, Duration::from_millis(patience)).unwrap()
    }

    #[test]
    fn what_does_not_end_is_ended() {
        assert!(shell("true", 60_000));
        assert!(!shell("false", 60_000));
        assert!(!shell("exec sleep 1000", 1));
    }
}
