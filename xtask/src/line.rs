//! Command lines that say what they are before they run.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's root folder.
pub fn root() -> &'static Path {
    // This crate's folder lies in it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// One command line: where, with which variables, what.
pub struct Line {
    dir: PathBuf,
    env: Vec<(&'static str, String)>,
    words: Vec<String>,
}

impl Line {
    /// From words between blanks.
    pub fn new(words: &str) -> Self {
        let words = words.split_whitespace().map(String::from).collect();
        Self { dir: PathBuf::new(), env: Vec::new(), words }
    }

    /// In this folder of the workspace.
    pub fn dir(mut self, dir: &str) -> Self {
        self.dir = dir.into();
        self
    }

    /// With this variable; `$PATH` in the value is the present one.
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// And with these words, which may hold blanks.
    pub fn words<T: ToString>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.to_string()));
        self
    }

    /// Runs it with its output going where ours goes. An error if it does not end with status 0.
    pub fn run(&self) -> Result<()> {
        println!("$ {self}");
        let status = self.command().status().with_context(|| self.cannot())?;
        if !status.success() {
            bail!("{status}: {self}");
        }
        Ok(())
    }

    /// Runs it as if it had been called in our place: nothing of ours is on standard output, and
    /// its exit code is the answer.
    pub fn exit_code(&self) -> Result<ExitCode> {
        eprintln!("$ {self}");
        Ok(ExitCode::from(self.code()?))
    }

    /// Runs it without a word; its exit code, 1 after a signal, which has none.
    pub fn code(&self) -> Result<u8> {
        let status = self.command().status().with_context(|| self.cannot())?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }

    /// Runs it and keeps its output.
    pub fn output(&self) -> Result<Output> {
        println!("$ {self}");
        self.command().output().with_context(|| self.cannot())
    }

    /// Whether it runs and ends with status 0. Nothing of it is shown.
    pub fn works(&self) -> bool {
        self.command().output().is_ok_and(|output| output.status.success())
    }

    fn cannot(&self) -> String {
        format!("cannot run {}", self.words[0])
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).current_dir(root().join(&self.dir)).stdin(Stdio::null());
        // What cargo told this program about itself would be wrong for other packages, and its
        // library path would lead another compiler to this one's libraries.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_")
                || text.starts_with("CARGO_MANIFEST_")
                || ["CARGO", "CARGO_BIN_NAME", "LD_LIBRARY_PATH"].contains(&&*text)
            {
                command.env_remove(&name);
            }
        }
        for (name, value) in &self.env {
            let value = match value.split_once("$PATH") {
                None => value.into(),
                Some((before, after)) => {
                    let mut whole = OsString::from(before);
                    whole.push(std::env::var_os("PATH").unwrap_or_default());
                    whole.push(after);
                    whole
                }
            };
            command.env(name, value);
        }
        command
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |word: &str| {
            if word.contains([' ', '*', '"', '[']) { format!("'{word}'") } else { word.into() }
        };
        let mut words: Vec<_> =
            self.env.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        words.extend(self.words.iter().map(|word| quoted(word)));
        let line = words.join(" ");
        if self.dir == Path::new("") {
            f.write_str(&line)
        } else {
            write!(f, "(cd {} && {line})", self.dir.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted_into_a_shell() {
        let line = Line::new("cargo test --test loom*")
            .env("RUSTFLAGS", "--cfg loom")
            .env("PATH", "/usr/bin:$PATH")
            .dir("checks/no-panic");
        assert_eq!(
            line.to_string(),
            "(cd checks/no-panic && RUSTFLAGS='--cfg loom' PATH=/usr/bin:$PATH \
             cargo test --test 'loom*')"
        );
    }

    #[test]
    fn failure_is_an_error_that_names_the_line() {
        Line::new("true").run().unwrap();
        let error = Line::new("false").run().unwrap_err().to_string();
        assert!(error.ends_with(": false"), "{error}");
        let error = Line::new("no-such-program-anywhere x").run().unwrap_err().to_string();
        assert_eq!(error, "cannot run no-such-program-anywhere");
    }

    #[test]
    fn the_present_path_stays_in_the_new_one() {
        let mut command = Line::new("printenv PATH").env("PATH", "/first:$PATH:/last").command();
        let path = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(path.starts_with("/first:") && path.trim_end().ends_with(":/last"), "{path}");
        assert_eq!(path.trim().len(), std::env::var("PATH").unwrap().len() + 13);
    }
}
