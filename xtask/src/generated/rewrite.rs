//! All mutants of a file in one text, each behind `crate::mutant::on(NUMBER)`.
//!
//! Operands are computed once, in the order in which they were, and what is done with them is chosen
//! afterwards. So mutants lie within one another as the expressions do, and no code is there twice.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, BinOp, Block, Expr, ExprBinary, ExprStruct, FieldValue, File, parse_quote};

use super::list::{Genre, Mutant};

/// What became of a file.
pub struct Rewritten {
    pub file: File,
    /// The numbers of the mutants that found their places. The others lie where nothing can be asked,
    /// as in a constant.
    pub placed: Vec<usize>,
    /// Those among them that no compiler would take: a condition with `let` in it knows no `||`.
    pub refused: Vec<usize>,
}

/// Puts these mutants of one file, each with its number, into the file's text.
pub fn rewritten(text: &str, mutants: &[(usize, &Mutant)]) -> Result<Rewritten> {
    let mut file = syn::parse_file(text)?;
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (number, mutant) in mutants {
        let start = mutant.span.start;
        let key = (mutant.genre, start.line, start.column);
        places.entry(key).or_default().push((*number, mutant.replacement.clone()));
    }
    let mut rewriter = Rewriter { places, placed: Vec::new(), refused: Vec::new(), error: None };
    rewriter.visit_file_mut(&mut file);
    match rewriter.error {
        Some(error) => Err(error),
        None => Ok(Rewritten { file, placed: rewriter.placed, refused: rewriter.refused }),
    }
}

struct Rewriter {
    places: BTreeMap<(Genre, usize, usize), Vec<(usize, String)>>,
    placed: Vec<usize>,
    refused: Vec<usize>,
    error: Option<anyhow::Error>,
}

/// Whether this is a condition with `let` at its top, which is no expression of its own.
fn binds(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(ExprBinary { left, op: BinOp::And(_), right, .. }) => {
            binds(left) || binds(right)
        }
        _ => false,
    }
}

impl Rewriter {
    /// The mutants of a genre that begin where this does; they count as placed.
    fn take(&mut self, genre: Genre, node: &impl Spanned) -> Vec<(usize, String)> {
        let start = node.span().start();
        let found = self.places.remove(&(genre, start.line, start.column + 1)).unwrap_or_default();
        self.placed.extend(found.iter().map(|(number, _)| number));
        found
    }

    fn parse<T: syn::parse::Parse>(&mut self, text: &str) -> Option<T> {
        let parsed = syn::parse_str(text).with_context(|| format!("not understood: {text}"));
        parsed.map_err(|error| self.error = Some(error)).ok()
    }

    /// `if on(1) { FIRST } else if on(2) { SECOND } else { OTHERWISE }`
    fn chosen(mutants: Vec<(usize, Expr)>, otherwise: Expr) -> Expr {
        mutants.into_iter().rev().fold(otherwise, |otherwise, (number, expr)| match otherwise {
            Expr::If(otherwise) => {
                parse_quote!(if crate::mutant::on(#number) { #expr } else #otherwise)
            }
            _ => parse_quote!(if crate::mutant::on(#number) { #expr } else { #otherwise }),
        })
    }

    /// The operator's mutants, each applied to these operands, and the operator itself.
    fn operators(&mut self, op: BinOp, left: &Expr, right: &Expr) -> Option<Expr> {
        let mut others = Vec::new();
        for (number, text) in self.take(Genre::BinaryOperator, &op) {
            let op: BinOp = self.parse(&text)?;
            others.push((number, parse_quote!(#left #op #right)));
        }
        let same = parse_quote!(#left #op #right);
        (!others.is_empty()).then(|| Self::chosen(others, same))
    }

    fn binary(&mut self, expr: &ExprBinary) -> Option<Expr> {
        let ExprBinary { left, op, right, .. } = expr;
        match op {
            // The right side is computed if the left one says so.
            BinOp::And(_) | BinOp::Or(_) => {
                let (number, _) = self.take(Genre::BinaryOperator, op).pop()?;
                if binds(left) || binds(right) {
                    self.refused.push(number);
                    return None;
                }
                Some(if matches!(op, BinOp::And(_)) {
                    parse_quote!((match (#left) {
                        __left => if __left != crate::mutant::on(#number) { #right } else { __left }
                    }))
                } else {
                    parse_quote!((match (#left) {
                        __left => if __left == crate::mutant::on(#number) { #right } else { __left }
                    }))
                })
            }
            // A comparison looks at its sides and takes nothing from them.
            BinOp::Eq(_)
            | BinOp::Ne(_)
            | BinOp::Lt(_)
            | BinOp::Le(_)
            | BinOp::Gt(_)
            | BinOp::Ge(_) => {
                let chosen =
                    self.operators(*op, &parse_quote!(*__left), &parse_quote!(*__right))?;
                Some(parse_quote!((match (&(#left), &(#right)) { (__left, __right) => #chosen })))
            }
            BinOp::AddAssign(_)
            | BinOp::SubAssign(_)
            | BinOp::MulAssign(_)
            | BinOp::DivAssign(_)
            | BinOp::RemAssign(_)
            | BinOp::BitXorAssign(_)
            | BinOp::BitAndAssign(_)
            | BinOp::BitOrAssign(_)
            | BinOp::ShlAssign(_)
            | BinOp::ShrAssign(_) => {
                let chosen = self.operators(*op, left, &parse_quote!(__right))?;
                Some(parse_quote!((match (#right) { __right => #chosen })))
            }
            _ => {
                let chosen = self.operators(*op, &parse_quote!(__left), &parse_quote!(__right))?;
                Some(parse_quote!((match (#left, #right) { (__left, __right) => #chosen })))
            }
        }
    }

    fn field(&mut self, field: &mut FieldValue, rest: &Expr) {
        let Some((number, _)) = self.take(Genre::StructField, field).pop() else { return };
        let (member, value) = (&field.member, &field.expr);
        *field = parse_quote! {
            #member: if crate::mutant::on(#number) { (#rest).#member } else { #value }
        };
    }
}

impl VisitMut for Rewriter {
    fn visit_block_mut(&mut self, block: &mut Block) {
        // Places are those of the text as it was, so they are looked up before anything changes.
        let others = block.stmts.first().map(|first| self.take(Genre::FnValue, first));
        visit_mut::visit_block_mut(self, block);
        for (number, text) in others.into_iter().flatten().rev() {
            if let Some(value) = self.parse::<Expr>(&text) {
                block
                    .stmts
                    .insert(0, parse_quote!(if crate::mutant::on(#number) { return #value; }));
            }
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        let deleted = self.take(Genre::MatchArm, arm).pop();
        let guarded = match &arm.guard {
            Some((_, guard)) => self.take(Genre::MatchArmGuard, guard),
            None => Vec::new(),
        };
        visit_mut::visit_arm_mut(self, arm);
        let mut guard = arm.guard.take().map(|(_, guard)| *guard);
        for (number, text) in guarded {
            guard = guard.map(|guard| match &*text {
                "true" => parse_quote!((crate::mutant::on(#number) || (#guard))),
                _ => parse_quote!((!crate::mutant::on(#number) && (#guard))),
            });
        }
        if let Some((number, _)) = deleted {
            guard = Some(match guard {
                Some(guard) => parse_quote!((!crate::mutant::on(#number) && (#guard))),
                None => parse_quote!((!crate::mutant::on(#number))),
            });
        }
        arm.guard = guard.map(|guard| (Default::default(), Box::new(guard)));
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        visit_mut::visit_expr_mut(self, expr);
        let changed = match expr {
            Expr::Binary(binary) => self.binary(binary),
            Expr::Unary(unary) => {
                let (op, operand) = (unary.op, &unary.expr);
                self.take(Genre::UnaryOperator, &op).pop().map(|(number, _)| {
                    parse_quote!((match (#operand) {
                        __right => if crate::mutant::on(#number) { __right } else { #op __right }
                    }))
                })
            }
            _ => None,
        };
        if let Some(changed) = changed {
            *expr = changed;
        }
    }

    fn visit_expr_struct_mut(&mut self, expr: &mut ExprStruct) {
        if let Some(rest) = expr.rest.clone() {
            expr.fields.iter_mut().for_each(|field| self.field(field, &rest));
        }
        visit_mut::visit_expr_struct_mut(self, expr);
    }

    // Nothing can be asked where the compiler has to know the value.
    fn visit_item_const_mut(&mut self, _: &mut syn::ItemConst) {}
    fn visit_item_static_mut(&mut self, _: &mut syn::ItemStatic) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}
    fn visit_trait_item_const_mut(&mut self, _: &mut syn::TraitItemConst) {}
    fn visit_expr_const_mut(&mut self, _: &mut syn::ExprConst) {}
    fn visit_variant_mut(&mut self, _: &mut syn::Variant) {}
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_pat_mut(&mut self, _: &mut syn::Pat) {}
    fn visit_generic_argument_mut(&mut self, _: &mut syn::GenericArgument) {}
    fn visit_expr_repeat_mut(&mut self, expr: &mut syn::ExprRepeat) {
        self.visit_expr_mut(&mut expr.expr);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::super::list::tests::mutant;
    use super::*;

    const SAMPLE: &str = "\
#[derive(Default)]
struct S { a: u32, b: u32 }
const C: u32 = 1 << 0;
fn f(a: u32, b: u32, flag: bool) -> u32 {
    let mut sum = a - b * 2;
    sum += C;
    if flag && !(a < b) || b == 0 { sum |= 64; }
    match sum {
        2 => 100,
        x if x > 5 => x * 10,
        _ => S { a: sum, ..S::default() }.a,
    }
}
fn main() {
    print!(\"{} {} {} {}\", f(9, 3, true), f(7, 3, false), f(3, 0, false), f(10, 4, false));
}
";

    /// A mutant at the only place in the sample where this text begins.
    fn at(text: &str, genre: Genre, len: usize, replacement: &str) -> Mutant {
        assert_eq!(SAMPLE.matches(text).count(), 1, "{text}");
        let (before, _) = SAMPLE.split_once(text).unwrap();
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        mutant(genre, (line, column), len, replacement)
    }

    /// What the sample prints with one mutant on, as if its text had been replaced.
    #[test]
    fn each_mutant_does_what_its_text_says() {
        use Genre::*;
        let samples = [
            (at("let mut sum", FnValue, 1, "1"), "1 1 1 1"),
            (at("- b * 2", BinaryOperator, 1, "+"), "800 140 680 190"),
            (at("* 2", BinaryOperator, 1, "+"), "690 3 660 5"),
            (at("* 2", BinaryOperator, 1, "/"), "730 70 680 90"),
            (at("+= C", BinaryOperator, 2, "-="), "660 0 660 1"),
            (at("&& !", BinaryOperator, 2, "||"), "680 660 680 670"),
            (at("|| b", BinaryOperator, 2, "&&"), "4 100 4 3"),
            (at("!(a", UnaryOperator, 1, ""), "4 100 680 3"),
            (at("< b)", BinaryOperator, 1, ">"), "4 100 680 3"),
            (at("== 0", BinaryOperator, 2, "!="), "680 660 4 670"),
            (at("x > 5", MatchArmGuard, 5, "true"), "680 100 680 30"),
            (at("x > 5", MatchArmGuard, 5, "false"), "68 100 68 3"),
            (at("> 5", BinaryOperator, 1, "<"), "68 100 68 30"),
            (at("2 => 100", MatchArm, 9, ""), "680 2 680 3"),
            (at("x if x", MatchArm, 21, ""), "68 100 68 3"),
            (at("a: sum", StructField, 6, ""), "680 100 680 0"),
        ];
        let mutants: Vec<_> = samples.iter().map(|(mutant, _)| mutant).enumerate().collect();
        let rewritten = rewritten(SAMPLE, &mutants).unwrap();
        assert_eq!(rewritten.placed.len(), mutants.len());
        let text = prettyplease::unparse(&rewritten.file)
            + "mod mutant { pub fn on(number: usize) -> bool {
                std::env::var(\"M\").is_ok_and(|it| it == number.to_string())
            } }";
        let folder = std::env::temp_dir().join(format!("rewritten-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.rs"), text).unwrap();
        let built =
            Command::new("rustc").args(["-Awarnings", "a.rs"]).current_dir(&folder).status();
        assert!(built.unwrap().success());
        let printed = |on: usize| {
            let output = Command::new(folder.join("a")).env("M", on.to_string()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(printed(samples.len()), "680 100 680 3", "no mutant is on");
        for (number, (mutant, expected)) in samples.iter().enumerate() {
            assert_eq!(printed(number), *expected, "{mutant:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_constant_asks_nothing() {
        let shift = at("<< 0", Genre::BinaryOperator, 2, ">>");
        let rewritten = rewritten(SAMPLE, &[(0, &shift)]).unwrap();
        assert!(rewritten.placed.is_empty() && rewritten.refused.is_empty());
    }

    #[test]
    fn a_condition_that_binds_has_no_other_operator() {
        let text = "fn f(a: Option<u8>) -> bool {\n    if true && let Some(_) = a { true }\n}\n";
        let or = mutant(Genre::BinaryOperator, (2, 13), 2, "||");
        let rewritten = rewritten(text, &[(7, &or)]).unwrap();
        assert_eq!((rewritten.placed, rewritten.refused), (vec![7], vec![7]));
    }
}
