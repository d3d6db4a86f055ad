//! Every use of `unsafe` in what ships, with its obligations: `docs/unsafe.md`.
//!
//! Clippy insists on a `// SAFETY:` comment at each block; here the comments are brought together, so
//! that an auditor reads one page, and a change of any of them shows in a diff of that page.

use std::fmt::Write;

use anyhow::{Result, bail};
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItemFn, Item, ItemFn, ItemImpl, ItemTrait, Lit, Meta, TraitItemFn};

use crate::source::{self, Source, attributes, ships};

/// Where the list is kept.
pub const PAGE: &str = "docs/unsafe.md";
/// How it is made.
pub const COMMAND: &str = "cargo xtask unsafe";

const LIBRARY: &str = "crates/bedframe/src/lib.rs";

/// One use of `unsafe`.
#[derive(Debug, PartialEq)]
struct Use {
    /// `block`, `fn`, `impl` or `trait`.
    kind: &'static str,
    /// The function or type that it is or lies in.
    within: String,
    /// What must hold, or why it does.
    obligations: String,
}

/// What a kernel links: the library, and what stands on it.
const SHIPPED: [&str; 2] = [LIBRARY, "crates/bedframe-live/src/lib.rs"];

/// The page as it should be.
pub fn page() -> Result<String> {
    let mut files = Vec::new();
    let mut lines = Vec::new();
    for name in source::crates()? {
        let found = if SHIPPED.contains(&name.as_str()) { &mut files } else { &mut lines };
        for source in source::sources(&name)? {
            let uses = uses(&source)?;
            if !uses.is_empty() {
                found.push((source.path, uses));
            }
        }
    }
    Ok(written(&files, &lines))
}

fn written(library: &[(String, Vec<Use>)], others: &[(String, Vec<Use>)]) -> String {
    let mut page = format!(
        "# Every use of `unsafe`\n\n\
         Made by `{COMMAND}` from the comments in the code; `cargo xtask test --only audit` fails while it \
         is out of date. Tests are left out, and what only a checker of interleavings compiles. A comment \
         that says *as above* or *as in* another place means that place's.\n\n\
         A *block* has the reason why what it does is sound; a *fn* or *trait* says what whoever calls or \
         implements it must see to; an *impl* why it may be. Numbers are those of the obligations of the \
         function called, in its order.\n\n"
    );
    let all: Vec<_> = library.iter().flat_map(|(_, uses)| uses).collect();
    let count = |kind| all.iter().filter(|one| one.kind == kind).count();
    let _ = writeln!(
        page,
        "The library, live hand-over included, has {} blocks, {} functions, {} implementations and {} traits that are unsafe, in {} \
         files. All other files of it are compiled with `unsafe_code` denied.\n\n## The library\n",
        count("block"),
        count("fn"),
        count("impl"),
        count("trait"),
        library.len()
    );
    for (path, uses) in library {
        let short = path.trim_start_matches("crates/bedframe/src/").trim_start_matches("crates/");
        let _ = writeln!(
            page,
            "### [`{short}`](../{path})\n\n| | where | obligations |\n|---|---|---|"
        );
        for one in uses {
            let text = unlinked(&one.obligations).replace('|', "\\|");
            let _ = writeln!(page, "| {} | `{}` | {text} |", one.kind, one.within);
        }
        page.push('\n');
    }
    page.push_str(
        "## Other crates\n\nThey run on a hosted machine, as tests and tools; each use has its comment there.\n\n\
         | file | uses | in |\n|---|---|---|\n",
    );
    for (path, uses) in others {
        let mut names: Vec<_> = uses.iter().map(|one| format!("`{}`", one.within)).collect();
        names.dedup();
        let _ = writeln!(page, "| [`{path}`](../{path}) | {} | {} |", uses.len(), names.join(", "));
    }
    page
}

/// The text without links that lead somewhere only in the documentation of the code.
fn unlinked(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, after)) = after.split_once("`]") else { break };
        plain.extend([before, "`", name, "`"]);
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// What a file has of it, in the order of the text.
fn uses(source: &Source) -> Result<Vec<Use>> {
    let mut finder = Finder {
        lines: source.text.lines().collect(),
        within: Vec::new(),
        owner: None,
        of_trait: false,
        found: Vec::new(),
        bare: Vec::new(),
    };
    for item in &source.items {
        finder.visit_item(item);
    }
    if let Some(line) = finder.bare.first() {
        bail!("{}:{line}: an unsafe without a SAFETY comment or section", source.path);
    }
    Ok(finder.found)
}

struct Finder<'a> {
    lines: Vec<&'a str>,
    /// The functions that the visit is in, the innermost last.
    within: Vec<String>,
    /// The type or trait whose functions are visited.
    owner: Option<String>,
    /// Whether they implement a trait's, which says what must hold.
    of_trait: bool,
    found: Vec<Use>,
    /// Lines where obligations are missing.
    bare: Vec<usize>,
}

impl Finder<'_> {
    fn note(&mut self, kind: &'static str, within: String, at: Span, obligations: Option<String>) {
        match obligations {
            Some(obligations) => self.found.push(Use { kind, within, obligations }),
            None => self.bare.push(at.start().line),
        }
    }

    /// A function's name with its type's.
    fn named(&self, name: &str) -> String {
        match &self.owner {
            Some(owner) => format!("{owner}::{name}"),
            None => name.into(),
        }
    }

    /// The comment above a line: the nearest one, as many lines of code away as a statement may have
    /// before its unsafe part.
    fn comment_above(&self, line: usize) -> Option<String> {
        const REACH: usize = 12;
        let above = self.lines.get(..line.checked_sub(1)?)?;
        let from = above.len().saturating_sub(REACH);
        let is_comment = |line: &&&str| line.trim_start().starts_with("//");
        let last = above.iter().skip(from).rposition(|line| is_comment(&line))? + from;
        let length = above[..=last].iter().rev().take_while(is_comment).count();
        let block = above.get(last + 1 - length..=last)?;
        let first = block.iter().position(|line| line.trim_start().starts_with("// SAFETY:"))?;
        let texts: Vec<_> =
            block[first..].iter().map(|line| line.trim().trim_start_matches('/').trim()).collect();
        Some(texts.join(" ").trim_start_matches("SAFETY:").trim().to_string())
    }

    fn function(
        &mut self,
        attrs: &[Attribute],
        signature: &syn::Signature,
        body: impl FnOnce(&mut Self),
    ) {
        if !ships(attrs) {
            return;
        }
        let name = self.named(&signature.ident.to_string());
        if signature.unsafety.is_some() {
            let said =
                section(attrs).or_else(|| self.of_trait.then(|| "Those of the trait.".into()));
            self.note("fn", name.clone(), signature.span(), said);
        }
        self.within.push(name);
        body(self);
        self.within.pop();
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if ships(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.attrs, &item.sig, |me| visit::visit_item_fn(me, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.attrs, &item.sig, |me| visit::visit_impl_item_fn(me, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.function(&item.attrs, &item.sig, |me| visit::visit_trait_item_fn(me, item));
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let owner = last_name(&item.self_ty);
        if let (Some(token), Some((_, path, _))) = (&item.unsafety, &item.trait_) {
            let what = path.segments.last().map_or(String::new(), |last| last.ident.to_string());
            let said = self.comment_above(item.span().start().line);
            let said = said.or_else(|| self.comment_above(token.span.start().line));
            self.note("impl", format!("{what} for {owner}"), token.span, said);
        }
        let outer = self.owner.replace(owner);
        self.of_trait = item.trait_.is_some();
        visit::visit_item_impl(self, item);
        self.of_trait = false;
        self.owner = outer;
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        let owner = item.ident.to_string();
        if let Some(token) = &item.unsafety {
            self.note("trait", owner.clone(), token.span, section(&item.attrs));
        }
        let outer = self.owner.replace(owner);
        visit::visit_item_trait(self, item);
        self.owner = outer;
    }

    fn visit_expr_unsafe(&mut self, item: &'ast syn::ExprUnsafe) {
        let within = self.within.last().cloned().unwrap_or_default();
        let at = item.unsafe_token.span;
        let said = self.comment_above(at.start().line);
        self.note("block", within, at, said);
        visit::visit_expr_unsafe(self, item);
    }
}

/// The last name of a type's path, or of what it refers to.
pub fn last_name(ty: &syn::Type) -> String {
    match ty {
        syn::Type::Path(path) => {
            path.path.segments.last().map_or(String::new(), |last| last.ident.to_string())
        }
        syn::Type::Reference(to) => last_name(&to.elem),
        _ => String::new(),
    }
}

/// What documentation says under `# Safety`, on one line.
fn section(attrs: &[Attribute]) -> Option<String> {
    let lines = attrs.iter().filter_map(|attr| {
        let Meta::NameValue(pair) = &attr.meta else { return None };
        let Expr::Lit(value) = &pair.value else { return None };
        match &value.lit {
            Lit::Str(text) if pair.path.is_ident("doc") => Some(text.value()),
            _ => None,
        }
    });
    let lines: Vec<_> = lines.map(|line| line.trim().to_string()).collect();
    let start = lines.iter().position(|line| line == "# Safety")?;
    let text = lines[start + 1..].iter().take_while(|line| !line.starts_with("# "));
    Some(text.filter(|line| !line.is_empty()).cloned().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<Vec<Use>> {
        uses(&source::parse("x.rs", text.into())?)
    }

    #[test]
    fn uses_are_found_with_where_they_are_and_what_must_hold() {
        let text = "/// T.\n///\n/// # Safety\n///\n/// 1. One.\n///    Two.\n///\n/// # Cost\n///\n/// No.\n\
            pub unsafe trait T {\n    /// # Safety\n    /// Three.\n    unsafe fn a();\n}\n\
            // Other.\n// SAFETY: four,\n// five.\nunsafe impl T for S {\n    unsafe fn a() {\n        \
            // SAFETY: six.\n        let x =\n            unsafe { *p };\n    }\n}\n\
            #[cfg(test)]\nmod tests { fn f() { unsafe { g() } } }\n";
        let found = found(text).unwrap();
        let texts = found.iter().map(|one| (one.kind, &*one.within, &*one.obligations));
        assert_eq!(
            texts.collect::<Vec<_>>(),
            [
                ("trait", "T", "1. One. Two."),
                ("fn", "T::a", "Three."),
                ("impl", "T for S", "four, five."),
                ("fn", "S::a", "Those of the trait."),
                ("block", "S::a", "six."),
            ]
        );
    }

    #[test]
    fn a_use_without_a_comment_is_an_error_that_names_the_line() {
        let error = found("fn f() {\n    // Fine.\n    unsafe { g() }\n}\n").unwrap_err();
        assert!(error.to_string().starts_with("x.rs:3:"), "{error}");
        assert!(found("unsafe fn f() {}\n").is_err());
        assert!(found("unsafe impl S for T {}\n").is_err());
    }

    #[test]
    fn links_of_the_documentation_are_names() {
        let text = "As [`a`] and [`b`](crate::b), x[1] (c), [`d";
        assert_eq!(unlinked(text), "As `a` and `b`, x[1] (c), [`d");
    }

    #[test]
    fn a_changed_reason_changes_the_page() {
        let page = |text: &str| {
            let source = source::parse("crates/bedframe/src/x.rs", text.into()).unwrap();
            written(&[(source.path.clone(), uses(&source).unwrap())], &[])
        };
        let one = page("fn f() {\n    // SAFETY: a | b.\n    unsafe { g() }\n}\n");
        assert!(one.contains("| block | `f` | a \\| b. |"), "{one}");
        assert_ne!(one, page("fn f() {\n    // SAFETY: c.\n    unsafe { g() }\n}\n"));
    }
}
