//! A copy of the workspace in which the library holds all its mutants.
//!
//! A mutant that does not compile is found by where the compiler's errors lie, and left out of the next
//! attempt. If the error lies in what the mutant puts in, the mutant itself is wrong; if it lies in what
//! had to be written around the place, the mutant may be right, and is built alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, parse_quote};

use super::list::{Mutant, SOURCES};
use super::rewrite::rewritten;
use crate::line::{Line, root};
use crate::mutants::{copy_workspace, executables, write_if_new};
use crate::source::files_below;

/// Where the copy lies.
pub const WORK: &str = "target/mutants-generated";
/// The root module.
const LIBRARY: &str = "lib.rs";
/// The module that the library's copy has in addition.
const RUNTIME: &str = include_str!("runtime.rs");

/// What the compiler made of the mutants.
#[derive(Default)]
pub struct Built {
    /// Test programs by name; the library's own tests are `bedframe`.
    pub programs: BTreeMap<String, PathBuf>,
    /// Do not compile.
    pub refused: BTreeSet<usize>,
    /// Cannot be chosen at run time.
    pub alone: BTreeSet<usize>,
}

/// Builds these test programs with all mutants but the refused.
pub fn build(mutants: &[Mutant], programs: &[&str], refused: BTreeSet<usize>) -> Result<Built> {
    let mut built = Built { refused, ..Built::default() };
    copy_workspace(&root().join(WORK), Some(SOURCES))?;
    let check = "cargo check --quiet --message-format json --target-dir target -p bedframe --lib";
    let mut whole = String::from(
        "cargo test --no-run --quiet --message-format json --target-dir target -p bedframe --lib",
    );
    programs.iter().for_each(|program| whole += &format!(" --test {program}"));
    for words in [check, &whole] {
        loop {
            let texts = write(mutants, &mut built)?;
            let output = Line::new(words)
                .dir(WORK)
                .env("CARGO_PROFILE_DEV_DEBUG", "false")
                .env("RUSTC_BOOTSTRAP", "bedframe")
                .env("RUSTFLAGS", "--cap-lints=allow")
                .output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            if output.status.success() {
                built.programs = executables(&said);
                break;
            }
            let messages: Vec<Value> =
                said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let before = (built.refused.len(), built.alone.len());
            leave_out(&messages, &texts, mutants, &mut built)?;
            let after = (built.refused.len(), built.alone.len());
            println!("{} mutants do not compile", built.refused.len());
            ensure!(before != after, "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(built)
}

/// Writes the library with its mutants; answers the text of each file by its path as the compiler
/// names it.
fn write(mutants: &[Mutant], built: &mut Built) -> Result<BTreeMap<String, String>> {
    let mut files: BTreeMap<String, Vec<(usize, &Mutant)>> = BTreeMap::new();
    let folder = root().join(SOURCES);
    for path in files_below(&folder)? {
        files.insert(path.strip_prefix(&folder)?.to_string_lossy().into_owned(), Vec::new());
    }
    for (number, mutant) in mutants.iter().enumerate() {
        let of_file = files.get_mut(&mutant.file).context("a mutant of no file")?;
        if !built.refused.contains(&number) && !built.alone.contains(&number) {
            of_file.push((number, mutant));
        }
    }
    let mut texts = BTreeMap::new();
    for (file, mutants) in files {
        let path = format!("{SOURCES}/{file}");
        let text = fs::read_to_string(root().join(&path)).with_context(|| path.clone())?;
        let target = root().join(WORK).join(&path);
        fs::create_dir_all(target.parent().context("no folder")?)?;
        if mutants.is_empty() && file != LIBRARY {
            write_if_new(&target, text.as_bytes())?;
            continue;
        }
        let mut made = rewritten(&text, &mutants).with_context(|| path.clone())?;
        let numbers = mutants.iter().map(|(number, _)| *number);
        built.alone.extend(numbers.filter(|number| !made.placed.contains(number)));
        built.refused.extend(made.refused);
        if file == LIBRARY {
            made.file.attrs.push(parse_quote!(#![feature(core_intrinsics, const_eval_select)]));
            made.file.items.push(parse_quote!(
                mod mutant;
            ));
        }
        let text = prettyplease::unparse(&made.file);
        write_if_new(&target, text.as_bytes())?;
        texts.insert(path, text);
    }
    let runtime = format!("{RUNTIME}\nconst MUTANTS: usize = {};\n", mutants.len());
    write_if_new(&root().join(WORK).join(SOURCES).join("mutant.rs"), runtime.as_bytes())?;
    Ok(texts)
}

/// Leaves out the mutants where the compiler found errors.
fn leave_out(
    messages: &[Value],
    texts: &BTreeMap<String, String>,
    mutants: &[Mutant],
    built: &mut Built,
) -> Result<()> {
    let mut regions = BTreeMap::new();
    for message in messages.iter().map(|message| &message["message"]) {
        if message["level"] != "error" {
            continue;
        }
        let spans = message["spans"].as_array().into_iter().flatten();
        let children = message["children"].as_array().into_iter().flatten();
        let inner = children.flat_map(|child| child["spans"].as_array().into_iter().flatten());
        let mut spans: Vec<_> = spans.chain(inner).collect();
        spans.sort_by_key(|span| span["is_primary"] != true);
        for span in spans {
            let Some(path) = span["file_name"].as_str() else { continue };
            let Some((path, text)) = texts.get_key_value(path) else { continue };
            if !regions.contains_key(path) {
                regions.insert(path, Regions::of(text)?);
            }
            let ends = (span["byte_start"].as_u64(), span["byte_end"].as_u64());
            let (Some(start), Some(end)) = ends else { continue };
            let Some(region) = regions[path].around(start as usize..end as usize) else { continue };
            for number in &region.mutants {
                let returns = mutants[*number].function.as_ref().map(|it| &*it.return_type);
                // What such a function returns has one type, which another body would change.
                let opaque = returns.is_some_and(|returns| returns.contains("impl "));
                if region.inserted && !opaque {
                    built.refused.insert(*number);
                } else {
                    built.alone.insert(*number);
                }
            }
            break;
        }
    }
    Ok(())
}

/// Part of a file that is there for some mutants.
#[derive(Debug)]
struct Region {
    bytes: Range<usize>,
    mutants: Vec<usize>,
    /// Whether it is what a mutant does and not what surrounds it.
    inserted: bool,
}

#[derive(Default)]
struct Regions(Vec<Region>);

impl Regions {
    fn of(text: &str) -> Result<Self> {
        let mut regions = Self::default();
        regions.visit_file(&syn::parse_file(text)?);
        Ok(regions)
    }

    /// The smallest that these bytes lie in.
    fn around(&self, bytes: Range<usize>) -> Option<&Region> {
        let holds =
            |region: &&Region| region.bytes.start <= bytes.start && bytes.end <= region.bytes.end;
        self.0.iter().filter(holds).min_by_key(|region| region.bytes.len())
    }

    fn add(&mut self, node: &impl Spanned, mutants: Vec<usize>, inserted: bool) {
        if !mutants.is_empty() {
            self.0.push(Region { bytes: node.span().byte_range(), mutants, inserted });
        }
    }
}

/// The mutant that an expression asks for.
fn asked(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Call(call) => {
            let Expr::Path(path) = &*call.func else { return None };
            let names: Vec<_> = path.path.segments.iter().map(|it| it.ident.to_string()).collect();
            let Some(Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. })) =
                call.args.first()
            else {
                return None;
            };
            let number = number.base10_parse().ok();
            number.filter(|_| names == ["crate", "mutant", "on"])
        }
        Expr::Binary(binary) => asked(&binary.right).or_else(|| asked(&binary.left)),
        Expr::Unary(unary) => asked(&unary.expr),
        Expr::Paren(paren) => asked(&paren.expr),
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Regions {
    fn visit_expr_if(&mut self, expr: &'ast syn::ExprIf) {
        if let Expr::Call(_) = &*expr.cond {
            self.add(&expr.then_branch, asked(&expr.cond).into_iter().collect(), true);
        }
        self.add(expr, asked(&expr.cond).into_iter().collect(), false);
        visit::visit_expr_if(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        // What chooses between the mutants of an operator is the only arm.
        if let [arm] = &*expr.arms {
            let (mut mutants, mut next) = (Vec::new(), Some(&*arm.body));
            while let Some(Expr::If(choice)) = next {
                mutants.extend(asked(&choice.cond));
                next = choice.else_branch.as_ref().map(|(_, other)| &**other);
            }
            self.add(expr, mutants, false);
        }
        // Without an arm that is always taken, some value may have none.
        let guards = expr.arms.iter().filter_map(|arm| arm.guard.as_ref());
        self.add(&expr.expr, guards.filter_map(|(_, guard)| asked(guard)).collect(), false);
        visit::visit_expr_match(self, expr);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let asked = arm.guard.as_ref().and_then(|(_, guard)| asked(guard));
        self.add(arm, asked.into_iter().collect(), false);
        visit::visit_arm(self, arm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mutants of the smallest region around a text, and whether they put it there.
    fn around(text: &str, part: &str) -> Option<(Vec<usize>, bool)> {
        let start = text.find(part).unwrap();
        let regions = Regions::of(text).unwrap();
        let region = regions.around(start..start + part.len())?;
        Some((region.mutants.clone(), region.inserted))
    }

    #[test]
    fn an_error_is_that_of_the_mutants_around_it() {
        let text = "fn f() {
            if crate::mutant::on(1) { return ONE; }
            (match (LEFT, RIGHT) { (__left, __right) =>
                if crate::mutant::on(2) { __left + TWO } else if crate::mutant::on(3) { THREE }
                else { SAME } });
            (match (FLAG) { __left => if __left != crate::mutant::on(4) { FOUR } else { __left } });
            match SCRUTINEE { A if (!crate::mutant::on(5) && (GUARD)) => BODY, B => OTHER }
        }";
        assert_eq!(around(text, "ONE"), Some((vec![1], true)));
        assert_eq!(around(text, "TWO"), Some((vec![2], true)));
        assert_eq!(around(text, "THREE"), Some((vec![3], true)));
        assert_eq!(around(text, "SAME"), Some((vec![3], false)));
        assert_eq!(around(text, "LEFT"), Some((vec![2, 3], false)));
        assert_eq!(around(text, "FOUR"), Some((vec![4], false)));
        assert_eq!(around(text, "FLAG"), Some((vec![4], false)));
        assert_eq!(around(text, "SCRUTINEE"), Some((vec![5], false)));
        assert_eq!(around(text, "GUARD"), Some((vec![5], false)));
        assert_eq!(around(text, "OTHER"), None);
    }
}
