//! Many threads on one memory: the stress program as it ships, and under ThreadSanitizer.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::line::Line;
use crate::steps::Outcome;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the stress program and runs it with `args`; its exit code is ours.
pub fn stress(args: &[String]) -> Result<ExitCode> {
    let line = Line::new("cargo run --quiet --release --package bedframe-stress --");
    line.words(args).exit_code()
}

/// A short run, with more threads than small machines have CPUs.
pub fn step() -> Result<Outcome> {
    Line::new("cargo run --release -p bedframe-stress -- --seconds 6 --threads 4").run()?;
    Ok(Outcome::Passed)
}

/// Runs the stress program and the library's tests with threads under ThreadSanitizer.
///
/// It is no step of `cargo xtask test`: the standard library and all else is built anew with the
/// sanitizer, which takes minutes. Nothing is suppressed. The sanitizer does not model fences, but
/// what they order here is hints, which are atomics and so race with nothing; that each holder of a
/// frame comes after the one before is the doing of compare-exchanges, which it does model, and the
/// stress program's accesses to frames are plain ones, so that it sees where that fails.
pub fn tsan() -> Result<ExitCode> {
    if let Some(file) = missing() {
        eprintln!(
            "cargo xtask tsan: {file} is missing: ThreadSanitizer needs Debian's packages, \
             installed as root with\n  apt-get install -y --no-install-recommends rustc-web \
             rust-web-src cargo-web lld-22 clang-22 libclang-rt-22-dev"
        );
        return Ok(ExitCode::from(2));
    }
    let run = sanitized("run -p bedframe-stress");
    run.words(["--", "--seconds", "15", "--threads", "4", "--operations", "1000"]).run()?;
    // One test at a time: hosted machines are mapped by plain system calls, which the sanitizer does
    // not see, so two tests that come to use the same addresses one after the other look like a race.
    let test = sanitized("test -p bedframe --test seed");
    test.words(["threads::", "--", "--test-threads", "1"]).run()?;
    println!("no data race");
    Ok(ExitCode::SUCCESS)
}

/// Debian's cargo, with a standard library that is built with the sanitizer as everything else is:
/// with the installed one it would not see what that orders.
fn sanitized(words: &str) -> Line {
    // By its full name: a rustup cargo that comes first in PATH would take another compiler.
    let options = format!("--release -Zbuild-std --target {TARGET} --target-dir target/tsan");
    Line::new(&format!("/usr/bin/cargo {words} {options}"))
        .env("PATH", "/usr/bin:$PATH")
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "RUSTFLAGS",
            "-Zsanitizer=thread -Zexternal-clangrt -Clinker=clang-22 -Clink-arg=-fsanitize=thread",
        )
        .env("TSAN_OPTIONS", "halt_on_error=1:external_symbolizer_path=/usr/bin/addr2line")
}

/// What the sanitizer needs and this machine does not have.
fn missing() -> Option<&'static str> {
    const FILES: [&str; 5] = [
        "/usr/bin/rustc",
        "/usr/bin/cargo",
        "/usr/bin/clang-22",
        "/usr/lib/rustlib/src/rust/library/core/Cargo.toml",
        "/usr/lib/llvm-22/lib/clang/22/lib/linux/libclang_rt.tsan-x86_64.a",
    ];
    FILES.into_iter().find(|file| !Path::new(file).exists())
}
