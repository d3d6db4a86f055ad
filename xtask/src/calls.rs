//! That the program under `checks/no-panic` leaves nothing out, and where its panics are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::line::{Line, root};
use crate::source::files_below;

/// Public functions of the library, and of live hand-over, that the program does not call.
pub fn uncalled() -> Result<Vec<String>> {
    let text = |package: &str| text_below(&root().join("crates").join(package).join("src"));
    let library = text("bedframe")? + &text("bedframe-live")?;
    let program = text_below(&root().join("checks/no-panic/src"))?;
    ensure!(!library.is_empty() && !program.is_empty(), "no sources to compare");
    Ok(public_functions(&library)
        .filter(|name| !is_called(&program, name))
        .map(Into::into)
        .collect())
}

/// Names of `pub fn`, by their look: the library's own style keeps what is not public `pub(crate)`.
fn public_functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("pub ")?;
        let rest = rest.trim_start_matches("const ").trim_start_matches("unsafe ");
        rest.strip_prefix("fn ")?.split(['(', '<']).next()
    })
}

fn is_called(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        (before.ends_with('.') || before.ends_with("::"))
            && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

fn text_below(folder: &Path) -> Result<String> {
    let read =
        |path: &PathBuf| fs::read_to_string(path).with_context(|| path.display().to_string());
    files_below(folder)?.iter().map(read).collect()
}

/// Prints where the calls of panic functions come from: the linker only says that there are some.
/// `cargo` makes a line of the program's folder from words for a cargo, `target` is what it builds
/// for, and `to_linker` how an argument is handed through to the linker.
pub fn print_panics(cargo: fn(&str) -> Line, target: &str, to_linker: &str) -> Result<()> {
    // Linked in spite of what is missing, with lines to find the places by.
    cargo(&format!(
        "build --release --target {target} --target-dir ../../target/panics \
         --config profile.release.debug=1 --config target.{target}.rustflags=\
         [\"-Clink-arg={to_linker}--unresolved-symbols=ignore-all\"]"
    ))
    .run()?;
    let program = format!("target/panics/{target}/release/no-panic");
    let code = Line::new(&format!("objdump --disassemble --demangle --no-show-raw-insn {program}"));
    let code = code.output()?;
    ensure!(code.status.success(), "objdump: {}", String::from_utf8_lossy(&code.stderr));
    let code = String::from_utf8_lossy(&code.stdout);
    let mut within = "";
    for line in code.lines() {
        if let Some((_, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            within = name;
        }
        let Some((address, called)) = line.split_once(':') else { continue };
        let Some((_, called)) = called.split_once("call").or_else(|| called.split_once("jmp"))
        else {
            continue;
        };
        let panics = ["core::panicking::", "_failed", "slice_index_fail", "rust_begin_unwind"];
        // What panic functions call is not the cause.
        if within.starts_with("core::panicking::")
            || !panics.iter().any(|panic| called.contains(panic))
        {
            continue;
        }
        // The call's own address names the right line; its return address may be the next one.
        let address = address.trim();
        let place = Line::new(&format!(
            "addr2line --inlines --functions --demangle --exe {program} {address}"
        ));
        let place = place.output()?;
        println!("in {within}: {}\n{}", called.trim(), String::from_utf8_lossy(&place.stdout));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_functions_are_found_and_only_whole_names_count_as_calls() {
        let library = "    pub const fn a(self) {}\npub unsafe fn bb<T>() {}\npub(crate) fn c() {}\n\
            fn d() {}\n    pub fn e(&self) -> u8 {}\n// pub fn f()\npub const unsafe fn g() {}";
        assert_eq!(public_functions(library).collect::<Vec<_>>(), ["a", "bb", "e", "g"]);
        let program = "x.a(); X::bb(1); e(); x.e_with(); g.g";
        let calls = ["a", "bb", "e", "g"].map(|name| is_called(program, name));
        assert_eq!(calls, [true, true, false, true]);
    }
}
