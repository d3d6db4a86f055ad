//! The public interface of what a kernel links as text, one line for each thing: `docs/api/`.
//!
//! Made from the sources on the stable compiler, so that every run of the checks can compare it: whoever
//! adds, removes or changes a public item, a signature, a derive or an implementation sees it in the
//! diff of that file. It relies on how the library is written, and says so where that ends: all that is
//! public is re-exported by name in `lib.rs`, and a private type that shares a public one's name has its
//! implementations in its own file. What the compiler adds by itself,
//! `Send` and `Sync`, is not in it; a test of the library asserts those.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Fields, File, Ident, ImplItem, Item, ItemImpl, TraitItem, UseTree, Visibility,
};

use crate::source::{self, Source, attributes, ships};
use crate::unsafes::last_name;

/// Where the texts are kept.
pub const SNAPSHOT: &str = "docs/api/bedframe.txt";
pub const LIVE: &str = "docs/api/bedframe-live.txt";
/// How they are made.
pub const COMMAND: &str = "cargo xtask api";

/// The library's text as it should be.
pub fn snapshot() -> Result<String> {
    of("bedframe")
}

/// That of live hand-over.
pub fn live() -> Result<String> {
    of("bedframe-live")
}

fn of(package: &str) -> Result<String> {
    let root = format!("crates/{package}/src/lib.rs");
    let sources = source::sources(&root)?;
    let lib = sources.iter().find(|source| source.path == root).context("no lib.rs")?;
    let text = listed(&exports(&lib.items)?, &sources)?;
    Ok(format!(
        "The public interface of {package}, made by `{COMMAND}` from its sources.\n\
         A diff of this file is a change of the interface; `cargo xtask test --only audit` fails while it \
         is out of date.\n\n{text}"
    ))
}

/// The names that `lib.rs` makes public.
fn exports(items: &[Item]) -> Result<BTreeSet<String>> {
    fn names(tree: &UseTree, found: &mut BTreeSet<String>) -> Result<()> {
        match tree {
            UseTree::Path(path) => names(&path.tree, found),
            UseTree::Group(group) => group.items.iter().try_for_each(|tree| names(tree, found)),
            UseTree::Name(name) => {
                found.insert(name.ident.to_string());
                Ok(())
            }
            _ => bail!("lib.rs re-exports something by another name, or all of a module"),
        }
    }
    let mut found = BTreeSet::new();
    for item in items {
        match item {
            Item::Use(item) if is_public(&item.vis) => names(&item.tree, &mut found)?,
            Item::Use(_) => {}
            Item::Mod(item) if !is_public(&item.vis) => {}
            _ => bail!("lib.rs has more than private modules and what it re-exports"),
        }
    }
    Ok(found)
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// What is listed of one name.
#[derive(Default)]
struct Entry {
    definition: Vec<String>,
    /// Functions and constants of its own, by the implementation's head.
    own: BTreeMap<String, BTreeSet<String>>,
    /// Traits that it implements.
    traits: BTreeSet<String>,
}

fn listed(exports: &BTreeSet<String>, sources: &[Source]) -> Result<String> {
    let mut collector = Collector {
        exports,
        hidden: BTreeSet::new(),
        defined: BTreeMap::new(),
        entries: BTreeMap::new(),
    };
    for source in sources {
        let mut hidden = Hidden(BTreeSet::new());
        source.items.iter().for_each(|item| hidden.visit_item(item));
        collector.hidden = hidden.0;
        source.items.iter().for_each(|item| collector.visit_item(item));
    }
    let Collector { defined, entries, .. } = collector;
    for name in exports {
        let count = defined.get(name).copied().unwrap_or(0);
        ensure!(count == 1, "{name} is re-exported and defined {count} times");
    }
    let mut text = String::new();
    for entry in entries.values() {
        let mut put = |depth: usize, line: &str| {
            text.push_str(&"    ".repeat(depth));
            text.push_str(line);
            text.push('\n');
        };
        for (at, line) in entry.definition.iter().enumerate() {
            put(usize::from(at > 0), line);
        }
        for (head, lines) in entry.own.iter().filter(|(_, lines)| !lines.is_empty()) {
            put(0, head);
            lines.iter().for_each(|line| put(1, line));
        }
        entry.traits.iter().for_each(|line| put(0, line));
        text.push('\n');
    }
    Ok(text.trim_end().to_string() + "\n")
}

struct Collector<'a> {
    exports: &'a BTreeSet<String>,
    /// Types of the file at hand that are not public, whatever their names.
    hidden: BTreeSet<String>,
    /// How often something public of an exported name is defined.
    defined: BTreeMap<String, usize>,
    entries: BTreeMap<String, Entry>,
}

impl Collector<'_> {
    /// Notes a definition, if it is exported.
    fn define(&mut self, visibility: &Visibility, name: &Ident, lines: Vec<String>) {
        let name = name.to_string();
        if is_public(visibility) && self.exports.contains(&name) {
            *self.defined.entry(name.clone()).or_default() += 1;
            self.entries.entry(name).or_default().definition = lines;
        }
    }

    fn implementation(&mut self, item: &ItemImpl) {
        let owner = last_name(&item.self_ty);
        if self.hidden.contains(&owner) {
            return;
        }
        let Some((_, path, _)) = &item.trait_ else {
            if self.exports.contains(&owner) {
                let head = line(&Item::Impl(ItemImpl { items: Vec::new(), ..bare(item) }));
                let own = self.entries.entry(owner).or_default().own.entry(head).or_default();
                own.extend(item.items.iter().filter_map(public_item));
            }
            return;
        };
        // Under the type, or else under the trait, or else under a type that the trait is about.
        let last = path.segments.last().map_or(String::new(), |last| last.ident.to_string());
        let mut within = Names(Vec::new());
        within.visit_path(path);
        let mut names = [owner, last].into_iter().chain(within.0);
        let Some(name) = names.find(|name| self.exports.contains(name)) else { return };
        let mut short = bare(item);
        short.items =
            item.items.iter().filter(|item| !matches!(item, ImplItem::Fn(_))).cloned().collect();
        self.entries.entry(name).or_default().traits.insert(line(&Item::Impl(short)));
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !ships(attributes(item)) {
            return;
        }
        match item {
            Item::Struct(item) => {
                let mut head = item.clone();
                head.attrs.clear();
                head.fields = Fields::Unit;
                let mut lines = vec![line(&Item::Struct(head)).trim_end_matches(';').to_string()];
                lines.extend(kept(&item.attrs));
                let fields = item.fields.iter().enumerate();
                lines.extend(fields.filter(|(_, field)| is_public(&field.vis)).map(
                    |(at, field)| {
                        let name = field.ident.as_ref().map_or(at.to_string(), Ident::to_string);
                        format!("pub {name}: {}", type_text(&field.ty))
                    },
                ));
                if item.fields.iter().any(|field| !is_public(&field.vis)) {
                    lines.push("(private fields)".into());
                }
                self.define(&item.vis, &item.ident, lines);
            }
            Item::Enum(item) => {
                let one = |variants| {
                    let mut one = item.clone();
                    one.attrs.clear();
                    one.variants = variants;
                    Item::Enum(one)
                };
                let head = line(&one(Punctuated::new()));
                let mut lines = vec![head];
                lines.extend(kept(&item.attrs));
                for variant in &item.variants {
                    let mut variant = variant.clone();
                    lines.extend(kept(&variant.attrs));
                    variant.attrs.clear();
                    variant.fields.iter_mut().for_each(|field| field.attrs.clear());
                    let text = inside(&one([variant].into_iter().collect()));
                    lines.push(text.trim_end_matches(',').to_string());
                }
                self.define(&item.vis, &item.ident, lines);
            }
            Item::Trait(item) => {
                let mut head = item.clone();
                head.attrs.clear();
                head.items.clear();
                let mut lines = vec![line(&Item::Trait(head.clone()))];
                for part in &item.items {
                    head.items = vec![bare_trait_item(part)];
                    let provided = matches!(part, TraitItem::Fn(part) if part.default.is_some());
                    let note = if provided { " (provided)" } else { "" };
                    lines.push(inside(&Item::Trait(head.clone())) + note);
                }
                self.define(&item.vis, &item.ident, lines);
            }
            Item::Const(item) => {
                let mut short = item.clone();
                short.attrs.clear();
                self.define(&item.vis, &item.ident, vec![line(&Item::Const(short))]);
            }
            Item::Type(item) => {
                let mut short = item.clone();
                short.attrs.clear();
                self.define(&item.vis, &item.ident, vec![line(&Item::Type(short))]);
            }
            Item::Fn(item) => {
                let mut short = item.clone();
                short.attrs.clear();
                short.block = Box::new(empty());
                self.define(&item.vis, &item.sig.ident, vec![line(&Item::Fn(short))]);
            }
            Item::Impl(item) => self.implementation(item),
            _ => visit::visit_item(self, item),
        }
    }
}

/// The names of types that are not public.
struct Hidden(BTreeSet<String>);

impl<'ast> Visit<'ast> for Hidden {
    fn visit_item(&mut self, item: &'ast Item) {
        let named = match item {
            Item::Struct(item) => Some((&item.vis, &item.ident)),
            Item::Enum(item) => Some((&item.vis, &item.ident)),
            Item::Union(item) => Some((&item.vis, &item.ident)),
            _ => None,
        };
        if let Some((_, name)) = named.filter(|(visibility, _)| !is_public(visibility)) {
            self.0.insert(name.to_string());
        }
        visit::visit_item(self, item);
    }
}

/// The last names of all paths.
struct Names(Vec<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        self.0.push(segment.ident.to_string());
        visit::visit_path_segment(self, segment);
    }
}

/// An implementation without attributes and documentation.
fn bare(item: &ItemImpl) -> ItemImpl {
    let mut item = item.clone();
    item.attrs.clear();
    for part in &mut item.items {
        match part {
            ImplItem::Const(part) => part.attrs.clear(),
            ImplItem::Type(part) => part.attrs.clear(),
            _ => {}
        }
    }
    item
}

fn bare_trait_item(item: &TraitItem) -> TraitItem {
    let mut item = item.clone();
    match &mut item {
        TraitItem::Fn(part) => {
            part.attrs.clear();
            part.default = None;
        }
        TraitItem::Const(part) => part.attrs.clear(),
        TraitItem::Type(part) => part.attrs.clear(),
        _ => {}
    }
    item
}

/// A public function or constant of a type, on one line.
fn public_item(item: &ImplItem) -> Option<String> {
    let holder = |item: ImplItem| -> Item {
        let mut holder: ItemImpl = syn::parse_quote!(impl X {});
        holder.items.push(item);
        Item::Impl(holder)
    };
    match item {
        ImplItem::Fn(part) if is_public(&part.vis) && ships(&part.attrs) => {
            let mut short = part.clone();
            short.attrs.clear();
            short.block = empty();
            let attrs: String = kept(&part.attrs).map(|text| text + " ").collect();
            let text = inside(&holder(ImplItem::Fn(short)));
            Some(attrs + text.trim_end_matches("{}").trim_end())
        }
        ImplItem::Const(part) if is_public(&part.vis) && ships(&part.attrs) => {
            let mut short = part.clone();
            short.attrs.clear();
            Some(inside(&holder(ImplItem::Const(short))))
        }
        _ => None,
    }
}

fn empty() -> Block {
    syn::parse_quote!({})
}

/// The attributes that a user of the item notices.
fn kept(attrs: &[Attribute]) -> impl Iterator<Item = String> + '_ {
    const KEPT: [&str; 5] = ["derive", "must_use", "non_exhaustive", "repr", "default"];
    let kept = attrs.iter().filter(|attr| KEPT.iter().any(|name| attr.path().is_ident(name)));
    kept.map(|attr| {
        let mut holder: syn::ItemStruct = syn::parse_quote!(
            struct X;
        );
        holder.attrs.push(attr.clone());
        line(&Item::Struct(holder)).trim_end_matches("struct X;").trim_end().to_string()
    })
}

fn type_text(ty: &syn::Type) -> String {
    let text = line(&syn::parse_quote!(type X = #ty;));
    text.trim_start_matches("type X =").trim_end_matches(';').trim().to_string()
}

/// An item on one line.
fn line(item: &Item) -> String {
    let text = prettyplease::unparse(&File {
        shebang: None,
        attrs: Vec::new(),
        items: vec![item.clone()],
    });
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    // What is broken over lines has blanks and a comma that one line has not.
    let text = text.replace("( ", "(").replace(", )", ")").replace(",)", ")").replace(" )", ")");
    let text = text.replace(" {}", "").replace(", >", ">");
    text.trim_end_matches(',').to_string()
}

/// What stands between the outermost braces of an item.
fn inside(item: &Item) -> String {
    let text = line(item);
    let part = text.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
    part.map_or(String::new(), |(part, _)| part.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lib: &str, module: &str) -> Result<String> {
        let lib = source::parse("lib.rs", lib.into())?;
        let module = source::parse("m.rs", module.into())?;
        listed(&exports(&lib.items)?, &[module])
    }

    const LIB: &str = "mod m; pub use m::{A, E, N, T};";
    const MODULE: &str = "
        /// Documented.
        #[derive(Clone, Copy)]
        #[allow(dead_code)]
        pub struct A<P: T> { pub one: Option<u8>, two: P }
        impl<P: T> A<P> {
            /// New.
            #[must_use]
            pub const fn new(one: &'static [u8], a_name_that_is_long: Result<u8, Option<u64>>, another: u8) -> Self { loop {} }
            pub(crate) fn hidden(&self) {}
            pub const ZERO: u8 = 0;
            #[cfg(test)]
            pub fn tested() {}
        }
        impl<P: T> Iterator for A<P> { type Item = u8; fn next(&mut self) -> Option<u8> { None } }
        impl From<E> for u64 { fn from(e: E) -> u64 { 0 } }
        #[non_exhaustive]
        pub enum E { One, Two { x: u8 }, Three(u8) }
        pub unsafe trait T { type X; fn must(&self); fn may(&self) -> u8 { 0 } }
        impl<X: T> T for &X { type X = u8; fn must(&self) {} }
        pub const N: u64 = 1 << 12;
        struct Private; impl Private { pub fn unseen() {} }
    ";

    #[test]
    fn every_public_thing_is_one_line() {
        assert_eq!(
            text(LIB, MODULE).unwrap(),
            "pub struct A<P: T>
    #[derive(Clone, Copy)]
    pub one: Option<u8>
    (private fields)
impl<P: T> A<P>
    #[must_use] pub const fn new(one: &'static [u8], a_name_that_is_long: Result<u8, Option<u64>>, another: u8) -> Self
    pub const ZERO: u8 = 0;
impl<P: T> Iterator for A<P> { type Item = u8; }

pub enum E
    #[non_exhaustive]
    One
    Two { x: u8 }
    Three(u8)
impl From<E> for u64

pub const N: u64 = 1 << 12;

pub unsafe trait T
    type X;
    fn must(&self);
    fn may(&self) -> u8; (provided)
impl<X: T> T for &X { type X = u8; }
"
        );
    }

    #[test]
    fn any_change_of_the_interface_changes_the_text() {
        let before = text(LIB, MODULE).unwrap();
        for (from, to) in [
            ("another: u8", "another: u16"),
            ("pub one", "one"),
            ("Clone, Copy", "Clone"),
            ("Three(u8)", "Three(u16)"),
            ("fn may(&self) -> u8 { 0 }", "fn may(&self) -> u8;"),
            ("impl From<E> for u64 { fn from(e: E) -> u64 { 0 } }", ""),
            ("1 << 12", "1 << 13"),
            ("pub const fn new", "pub fn new"),
            ("#[non_exhaustive]", ""),
        ] {
            let changed = MODULE.replace(from, to);
            assert!(changed != MODULE && text(LIB, &changed).unwrap() != before, "{from}");
        }
        let private = MODULE.replace("pub(crate) fn hidden(&self) {}", "fn other() {}");
        assert_eq!(text(LIB, &private).unwrap(), before);
    }

    #[test]
    fn what_could_hide_something_is_an_error() {
        for lib in ["pub use m::*;", "pub use m::{A as B};", "pub fn f() {}", "pub mod m;"] {
            assert!(text(lib, MODULE).is_err(), "{lib}");
        }
        assert!(text("pub use m::{A, Missing};", MODULE).is_err());
        assert!(text(LIB, &format!("{MODULE} mod inner {{ pub struct A; }}")).is_err());
    }

    #[test]
    fn a_private_type_is_not_taken_for_the_public_one_of_its_name() {
        let lib = "mod m; pub use m::{N};";
        let module = "pub const N: u64 = 1; struct A; impl A { pub fn unseen() {} }";
        let before = text(lib, module).unwrap();
        assert_eq!(before, "pub const N: u64 = 1;\n");
        let sources = [MODULE, module].map(|text| source::parse("m.rs", text.into()).unwrap());
        let exports = exports(&source::parse("lib.rs", LIB.into()).unwrap().items).unwrap();
        let Err(error) = listed(&exports, &sources) else { panic!("N is defined twice") };
        assert!(error.to_string().contains("N is re-exported and defined 2 times"), "{error}");
        let sources = [MODULE, "struct A; impl A { pub fn unseen() {} }"];
        let sources = sources.map(|text| source::parse("m.rs", text.into()).unwrap());
        assert!(!listed(&exports, &sources).unwrap().contains("unseen"));
    }
}
