//! The tests that the workspace's crates have, by their names, as the sources say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta};

use crate::line::root;
use crate::source::files_below;

/// One test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Test {
    /// The file that it is in, below the workspace's root.
    pub file: String,
    /// What its documentation says. Empty for one that a macro makes.
    pub doc: String,
}

/// All tests of these crates: of the first by the names that `cargo test` gives them, behind the name of the
/// test program where it has one, and of the others with the crate's name before that.
pub fn tests_of(crates: &[&str]) -> Result<BTreeMap<String, Test>> {
    let mut tests = BTreeMap::new();
    for (number, name) in crates.iter().enumerate() {
        let prefix = if number == 0 { String::new() } else { name.replace('-', "_") };
        for folder in ["src", "tests"] {
            let folder = format!("crates/{name}/{folder}");
            for path in files_below(&root().join(&folder))? {
                let below = path.strip_prefix(root())?;
                let file = below.to_str().context("a file's name that is no text")?.to_string();
                let modules = modules(below.strip_prefix(&folder)?);
                let place = [vec![prefix.clone()], modules].concat();
                let text = fs::read_to_string(&path).with_context(|| file.clone())?;
                let found = tests_in(&text).with_context(|| file.clone())?;
                for (within, doc) in found {
                    let place = place.iter().filter(|part| !part.is_empty());
                    let name = place.map(String::as_str).chain([within.as_str()]);
                    let name = name.collect::<Vec<_>>().join("::");
                    tests.insert(name, Test { file: file.clone(), doc });
                }
            }
        }
    }
    ensure!(!tests.is_empty(), "the crates have no tests");
    Ok(tests)
}

/// The modules that a source file stands for.
fn modules(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let mut parts: Vec<String> =
        parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["main", "lib", "mod"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// The tests of a source file: their names below the file's module, and their documentation.
pub fn tests_in(source: &str) -> Result<Vec<(String, String)>> {
    let mut tests = Vec::new();
    collect(&syn::parse_file(source)?.items, "", &mut tests);
    Ok(tests)
}

fn collect(items: &[Item], within: &str, tests: &mut Vec<(String, String)>) {
    for item in items {
        match item {
            Item::Fn(function) if is_test(&function.attrs) => {
                let name = format!("{within}{}", function.sig.ident);
                tests.push((name, documentation(&function.attrs)));
            }
            Item::Mod(module) => {
                let inner = module.content.as_ref().map_or(&[][..], |(_, items)| items);
                collect(inner, &format!("{within}{}::", module.ident), tests);
            }
            // `proptest!` and our own make a test of every function in them.
            Item::Macro(call) if call.ident.is_none() => {
                let words = call.mac.tokens.clone().into_iter().map(|token| token.to_string());
                let words: Vec<String> = words.collect();
                for pair in words.windows(2).filter(|pair| pair[0] == "fn") {
                    tests.push((format!("{within}{}", pair[1]), String::new()));
                }
            }
            _ => {}
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("test"))
}

fn documentation(attributes: &[Attribute]) -> String {
    let mut doc = String::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let Meta::NameValue(pair) = &attribute.meta else { continue };
        let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &pair.value else { continue };
        doc.push_str(line.value().trim());
        doc.push('\n');
    }
    doc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_wherever_they_are() {
        let source = "/// First.\n///\n/// Second.\n#[test]\nfn a() {}\nfn b() {}\nmod m { #[test]\n fn c() {} }\n\
            proptest! { #![x(1)] #[test] fn d(x in 0..1) {} }\nmacro_rules! e { () => { fn f() {} } }";
        let found = tests_in(source).unwrap();
        let doc = "First.\n\nSecond.\n".to_string();
        let none = String::new();
        assert_eq!(found, [("a".into(), doc), ("m::c".into(), none.clone()), ("d".into(), none)]);
        assert!(tests_in("fn (").is_err());
    }

    #[test]
    fn files_are_modules() {
        let of = |file: &str| modules(Path::new(file)).join("::");
        assert_eq!(of("history/main.rs"), "history");
        assert_eq!(of("history/edges.rs"), "history::edges");
        assert_eq!((of("tlb.rs"), of("lib.rs")), ("tlb".into(), String::new()));
        assert_eq!(of("index/interleavings/mod.rs"), "index::interleavings");
    }

    #[test]
    fn this_test_is_one() {
        let tests = tests_of(&["bedframe", "bedframe-model"]).unwrap();
        for name in
            ["tlb::nobody_is_reached", "seed::edges::free_memory_is_cut_at_edges_and_nowhere_else"]
        {
            assert!(tests.contains_key(name), "{name}");
        }
        assert!(tests.keys().any(|name| name.starts_with("bedframe_model::")));
    }
}
