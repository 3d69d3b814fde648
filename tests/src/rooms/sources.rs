//! Which modules of a crate name which, read from the sources. Modules for tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// A module that is a file, by its path in the crate.
pub type Module = Vec<String>;

/// A path as a file writes it.
type Written = Vec<String>;

/// The modules of a crate, and what they name.
pub struct Sources {
    paths: BTreeMap<Module, BTreeSet<Written>>,
    exports: BTreeMap<Module, BTreeMap<String, Written>>,
}

impl Sources {
    /// Reads every file below `folder`, a crate's `src`.
    pub fn read(folder: &Path) -> Self {
        let mut sources = Self {
            paths: BTreeMap::new(),
            exports: BTreeMap::new(),
        };
        sources.read_module(folder, &Vec::new());
        sources
    }

    fn read_module(&mut self, folder: &Path, module: &Module) {
        let file = match module.as_slice() {
            [] => folder.join("lib.rs"),
            names => folder.join(names.join("/")).with_extension("rs"),
        };
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let mut reader = Reader::default();
        reader.visit_file(&syn::parse_file(&text).unwrap_or_else(|error| panic!("{file:?}: {error}")));
        self.paths.insert(module.clone(), reader.paths);
        self.exports.insert(module.clone(), reader.exports);
        for child in reader.children {
            let child = module.iter().cloned().chain([child]).collect();
            self.read_module(folder, &child);
        }
    }

    /// The modules.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.paths.keys()
    }

    /// The paths that each module names, as it writes them.
    pub fn paths(&self) -> impl Iterator<Item = (&Module, &BTreeSet<Written>)> {
        self.paths.iter()
    }

    /// Which module names something of which other one.
    pub fn edges(&self) -> impl Iterator<Item = (&Module, &Module)> {
        self.paths.iter().flat_map(|(from, paths)| {
            let named: BTreeSet<_> = paths.iter().filter_map(|path| self.named(from, path)).collect();
            named
                .into_iter()
                .filter(move |to| *to != from)
                .map(move |to| (from, to))
        })
    }

    /// The module that defines what `from` names so; none: it is of another crate, or of the same file.
    fn named(&self, from: &Module, path: &[String]) -> Option<&Module> {
        let (first, rest) = path.split_first()?;
        let (mut at, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (from.clone(), rest),
            "super" => (parent(from)?, rest),
            name if self.paths.contains_key(&child(from, name)) => (from.clone(), path),
            _ => return None,
        };
        while rest.first().is_some_and(|first| first == "super") {
            (at, rest) = (parent(&at)?, &rest[1..]);
        }
        self.defines(at, rest, 0)
    }

    fn defines(&self, mut at: Module, mut rest: &[String], hops: usize) -> Option<&Module> {
        while let Some((name, after)) = rest.split_first() {
            let below = child(&at, name);
            if !self.paths.contains_key(&below) {
                break;
            }
            (at, rest) = (below, after);
        }
        let (module, exports) = self.exports.get_key_value(&at)?;
        let export = rest.first().and_then(|name| exports.get(name));
        match export {
            // Through a re-export, to where it is from; ten of them are a circle of their own.
            Some(export) if hops < 10 => {
                let path = export.clone();
                let base = match path.first().map(String::as_str) {
                    Some("self") => (at, &path[1..]),
                    Some("crate") => (Vec::new(), &path[1..]),
                    Some("super") => (parent(&at)?, &path[1..]),
                    _ => (at, &path[..]),
                };
                self.defines(base.0, base.1, hops + 1).or(Some(module))
            }
            _ => Some(module),
        }
    }

    /// Groups of modules that name each other, directly or through others. A parent and its child module may.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let mut seen: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
        for (from, to) in self.edges() {
            let related = parent(from).as_ref() == Some(to) || parent(to).as_ref() == Some(from);
            if !related {
                seen.entry(from).or_default().insert(to);
            }
        }
        let reach: BTreeMap<_, _> = seen.keys().map(|from| (*from, reachable(&seen, from))).collect();
        let mut circles = BTreeSet::new();
        for (from, reached) in &reach {
            let back = |to: &&&Module| reach.get(**to).is_some_and(|there| there.contains(*from));
            let circle: BTreeSet<_> = reached
                .iter()
                .filter(back)
                .map(|module| module.join("::"))
                .collect();
            if !circle.is_empty() {
                circles.insert(circle.into_iter().collect());
            }
        }
        circles.into_iter().collect()
    }
}

/// Every Rust file below `folder`.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn reachable<'a>(
    seen: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
    from: &'a Module,
) -> BTreeSet<&'a Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for to in seen.get(module).into_iter().flatten() {
            if reached.insert(*to) {
                next.push(to);
            }
        }
    }
    reached
}

fn parent(module: &Module) -> Option<Module> {
    let (_, above) = module.split_last()?;
    Some(above.to_vec())
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// What a file names, exports and declares.
#[derive(Default)]
struct Reader {
    paths: BTreeSet<Written>,
    exports: BTreeMap<String, Written>,
    children: Vec<String>,
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_none() {
            self.children.push(module.ident.to_string());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_export = !matches!(item.vis, Visibility::Inherited);
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for (name, path) in leaves {
            if is_export {
                self.exports.insert(name, path.clone());
            }
            self.paths.insert(path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let written: Written = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if written.len() > 1 {
            self.paths.insert(written);
        }
        visit::visit_path(self, path);
    }
}

fn is_for_tests(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// Each leaf of a `use`, by the name that it gets.
fn flatten(tree: &UseTree, above: &mut Written, leaves: &mut Vec<(String, Written)>) {
    let leaf = |name: &str, of: &str| {
        let path = above.iter().cloned().chain([of.to_owned()]).collect();
        (name.to_owned(), path)
    };
    match tree {
        UseTree::Path(path) => {
            above.push(path.ident.to_string());
            flatten(&path.tree, above, leaves);
            above.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|item| flatten(item, above, leaves)),
        UseTree::Name(name) if name.ident == "self" => leaves.push((String::new(), above.clone())),
        UseTree::Name(name) => leaves.push(leaf(&name.ident.to_string(), &name.ident.to_string())),
        UseTree::Rename(rename) => {
            leaves.push(leaf(&rename.rename.to_string(), &rename.ident.to_string()));
        }
        UseTree::Glob(_) => leaves.push((String::new(), above.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, files: &[(&str, &str)]) -> Sources {
        for (name, text) in files {
            let file = folder.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        Sources::read(folder)
    }

    #[test]
    fn files_that_see_each_other_through_a_third_or_a_re_export_are_a_circle() {
        let folder = tempfile::tempdir().unwrap();
        let sources = written(
            folder.path(),
            &[
                ("lib.rs", "mod a; mod b; mod c; pub use self::c::C;"),
                ("a.rs", "mod inner; use crate::b::B; pub struct A;"),
                ("a/inner.rs", "use super::A;"),
                ("b.rs", "fn f(c: &super::C) {} pub struct B;"),
                ("c.rs", "pub struct C; fn f() { crate::a::A; }"),
            ],
        );
        assert_eq!(sources.circles(), [["a", "b", "c"]]);
    }

    #[test]
    fn parents_children_and_tests_are_no_circle() {
        let folder = tempfile::tempdir().unwrap();
        let sources = written(
            folder.path(),
            &[
                ("lib.rs", "mod a; mod b; #[cfg(test)] mod helps;"),
                ("a.rs", "mod inner; use self::inner::f; use crate::b::B;"),
                ("a/inner.rs", "pub fn f() { super::super::b::B; super::g() }"),
                (
                    "b.rs",
                    "pub struct B; #[cfg(test)] mod tests { use crate::a::*; }",
                ),
            ],
        );
        assert!(sources.circles().is_empty(), "{:?}", sources.circles());
    }
}
