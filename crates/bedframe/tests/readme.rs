//! The lines in README.md and in the crate's documentation are those of `examples/kernel.rs`.

use std::fs;

fn file(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What `examples/kernel.rs` has between its marks.
fn example() -> String {
    let file = file("examples/kernel.rs");
    let (_, rest) = file.split_once("// [begin]\n").expect("a beginning");
    let (lines, _) = rest.split_once("// [end]\n").expect("an end");
    lines.to_string()
}

#[test]
fn the_readme_shows_the_example() {
    let readme = file("../../README.md");
    assert!(readme.contains(&format!("```rust\n{}```\n", example())));
}

#[test]
fn the_crate_documentation_shows_the_example() {
    let source = file("src/lib.rs");
    let documentation = source.lines().map_while(|line| line.strip_prefix("//!"));
    let documentation = documentation.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let shown = documentation.filter(|line| !line.starts_with("# "));
    let shown = shown.map(|line| format!("{line}\n")).collect::<String>();
    assert!(shown.contains(&format!("```\n{}```\n", example())));
}
