//! The files of a crate, parsed, as they are compiled into what ships.
//!
//! Items that exist only for tests or for a checker of interleavings are left out: whoever lists what a
//! crate contains means what an embedder gets. Macros are not expanded.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta, Token, punctuated::Punctuated};

use crate::line::root;

/// One file.
pub struct Source {
    /// Below the workspace's root, with slashes.
    pub path: String,
    pub text: String,
    /// Without the items that do not ship.
    pub items: Vec<Item>,
    /// First and last lines of the items left out, counted from 1. Modules that are files of their own
    /// are left out whole, and are no `Source`.
    pub left_out: Vec<(usize, usize)>,
}

/// The files of the crate whose root module is `path`, in the order of their paths.
pub fn sources(path: &str) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    // The root's modules lie beside it, as those of a `mod.rs`.
    add(Path::new(path), Path::new(path).parent().unwrap_or(Path::new("")), &mut found)?;
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// What `#[path]` says of a module.
fn path_of(module: &ItemMod) -> Option<String> {
    let attr = module.attrs.iter().find(|attr| attr.path().is_ident("path"))?;
    match &attr.meta.require_name_value().ok()?.value {
        Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) => Some(path.value()),
        _ => None,
    }
}

/// Adds a file and the files of its modules, which lie in `folder`.
fn add(path: &Path, folder: &Path, found: &mut Vec<Source>) -> Result<()> {
    let name = path.to_string_lossy().into_owned();
    let text = fs::read_to_string(root().join(path)).with_context(|| name.clone())?;
    let source = parse(&name, text)?;
    for item in &source.items {
        let Item::Mod(module) = item else { continue };
        if module.content.is_some() {
            continue;
        }
        if let Some(path) = path_of(module) {
            // What lies in another crate's tests is not this one's.
            ensure!(path.starts_with("../../"), "{name}: {path}, a module's path, is not followed");
            continue;
        }
        let inner = folder.join(module.ident.to_string());
        let files = [inner.with_extension("rs"), inner.join("mod.rs")];
        let Some(file) = files.iter().find(|file| root().join(file).exists()) else {
            bail!("{name}: no file for the module {}", module.ident)
        };
        add(file, &inner, found)?;
    }
    found.push(source);
    Ok(())
}

/// One file from its text.
pub fn parse(path: &str, text: String) -> Result<Source> {
    let file = syn::parse_file(&text).with_context(|| path.to_string())?;
    let mut items = file.items;
    items.retain(|item| ships(attributes(item)));
    let mut left_out = LeftOut(Vec::new());
    left_out.visit_file(&syn::parse_file(&text)?);
    Ok(Source { path: path.into(), text, items, left_out: left_out.0 })
}

/// Whether something with these attributes is in what an embedder compiles on one target or another.
pub fn ships(attrs: &[Attribute]) -> bool {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg")).all(|attr| {
        let meta = attr.parse_args::<Meta>();
        meta.map_or(true, |meta| holds(&meta) != Some(false))
    })
}

/// What a condition is without tests and checkers; `None` if that depends on the target.
fn holds(meta: &Meta) -> Option<bool> {
    let Meta::List(list) = meta else {
        let unset = ["test", "loom", "shuttle"].iter().any(|name| meta.path().is_ident(name));
        return if unset { Some(false) } else { None };
    };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let parts: Vec<_> = parts.iter().map(holds).collect();
    // One part that is `decisive` decides; otherwise one that is not known leaves it open.
    let decide = |decisive: bool| {
        if parts.contains(&Some(decisive)) {
            Some(decisive)
        } else if parts.contains(&None) {
            None
        } else {
            Some(!decisive)
        }
    };
    if list.path.is_ident("any") {
        decide(true)
    } else if list.path.is_ident("all") {
        decide(false)
    } else {
        parts.first().copied().flatten().map(|part| !part)
    }
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The lines of what does not ship.
struct LeftOut(Vec<(usize, usize)>);

impl LeftOut {
    /// Notes an item that does not ship, its attributes and documentation included.
    fn note(&mut self, attrs: &[Attribute], item: &impl Spanned) -> bool {
        let out = !ships(attrs);
        if out {
            self.0.push((item.span().start().line, item.span().end().line));
        }
        out
    }
}

impl<'ast> Visit<'ast> for LeftOut {
    fn visit_item(&mut self, item: &'ast Item) {
        if !self.note(attributes(item), item) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !self.note(&item.attrs, item) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }
}

/// All Rust files below a folder, which need not be there, in the order of their paths.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop().filter(|folder| folder.exists()) {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The root modules of all crates that ship, the library's first.
pub fn crates() -> Result<Vec<String>> {
    let folder = root().join("crates");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        for file in ["lib.rs", "main.rs"] {
            let path: PathBuf = ["crates", &name, "src", file].iter().collect();
            if root().join(&path).exists() {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort_by_key(|path| (!path.starts_with("crates/bedframe/"), path.clone()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ships_with(attribute: &str) -> bool {
        ships(attributes(&syn::parse_str(&format!("{attribute} fn f() {{}}")).unwrap()))
    }

    #[test]
    fn what_tests_and_checkers_alone_compile_does_not_ship() {
        for out in ["test", "loom", "all(test, any(loom, shuttle))", "all(unix, loom)"] {
            assert!(!ships_with(&format!("#[cfg({out})]")), "{out}");
        }
        for in_it in ["unix", "not(loom)", "not(any(loom, shuttle))", "any(loom, not(unix))"] {
            assert!(ships_with(&format!("#[cfg({in_it})]")), "{in_it}");
        }
        assert!(ships_with("#[inline]") && ships_with(""));
    }

    #[test]
    fn lines_of_tests_are_left_out() {
        let text = "fn a() {}\n\n/// B.\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n\
            impl X {\n    #[cfg(loom)]\n    fn c() {}\n    fn d() {}\n}\n";
        let source = parse("x.rs", text.into()).unwrap();
        assert_eq!(source.left_out, [(3, 7), (9, 10)]);
        assert_eq!(source.items.len(), 2);
    }

    #[test]
    fn the_modules_of_the_library_are_followed() {
        let all = sources("crates/bedframe/src/lib.rs").unwrap();
        let has = |path: &str| all.iter().any(|source| source.path.ends_with(path));
        assert!(has("bedframe/src/index/chunk/put.rs") && has("bedframe/src/lib.rs"));
        assert!(!has("interleavings/mod.rs") && !has("sync/checked.rs"));
    }
}
