//! Finds which file uses which, with `syn`: every path in the code is resolved through re-exports
//! to the file that defines the item.
//!
//! Ignores tests inside the sources (`#[cfg(test)]`). Does not resolve methods: a type must be
//! named somewhere to have one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// The path of a module from the crate's root: `["store", "commit"]`.
type Module = Vec<String>;

/// The meaning of a name in a module.
enum Name {
    /// An item that the file itself defines.
    Own,
    /// Another path, from the crate's root.
    Alias(Module),
}

/// A module of the crate, and its names.
#[derive(Default)]
struct Scope {
    /// The file that contains it.
    file: String,
    names: BTreeMap<String, Name>,
    /// The modules that it imports with a glob.
    globs: Vec<Module>,
}

/// A file and the files that it uses, by their paths below the sources' folder.
#[derive(Default)]
pub struct Imports {
    pub uses: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Reads the crate whose root is `lib.rs` in `folder`.
    ///
    /// # Panics
    /// When a file cannot be read or parsed.
    pub fn read(folder: &Path) -> Self {
        let mut crate_ = Crate::default();
        crate_.load(folder, "lib.rs", &[]);
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, paths) in &crate_.paths {
            let file = &crate_.scopes[module].file;
            let found = uses.entry(file.clone()).or_default();
            for path in paths {
                let Some(target) = crate_.file_of(path, 0) else { continue };
                if target != *file {
                    found.insert(target);
                }
            }
        }
        Self { uses }
    }

    /// Returns cycles of files, except between a module and those below it: every strongly
    /// connected component with more than one file.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let files: Vec<_> = self.uses.keys().cloned().collect();
        let reached: BTreeMap<_, _> = files.iter().map(|file| (file, self.reached(file))).collect();
        let mut circles = BTreeSet::new();
        for file in &files {
            let circle: Vec<_> = files
                .iter()
                .filter(|other| reached[file].contains(*other) && reached[other].contains(file))
                .cloned()
                .collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    /// Returns all files that a file uses, directly or indirectly.
    fn reached(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(file) = open.pop() {
            for next in self.uses.get(&file).into_iter().flatten() {
                if !is_family(&file, next) && reached.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        reached
    }
}

/// Whether one of the two files is a module that contains the other.
fn is_family(one: &str, other: &str) -> bool {
    let stem = |file: &str| format!("{}/", file.trim_end_matches(".rs"));
    one == "lib.rs"
        || other == "lib.rs"
        || stem(other).starts_with(&stem(one))
        || stem(one).starts_with(&stem(other))
}

#[derive(Default)]
struct Crate {
    scopes: BTreeMap<Module, Scope>,
    /// The paths that each module uses, from the crate's root.
    paths: BTreeMap<Module, BTreeSet<Module>>,
}

impl Crate {
    fn load(&mut self, folder: &Path, file: &str, module: &[String]) {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        self.add(folder, file, module, &parsed.items);
    }

    fn add(&mut self, folder: &Path, file: &str, module: &[String], items: &[Item]) {
        let scope = Scope { file: file.to_owned(), ..Scope::default() };
        self.scopes.insert(module.to_vec(), scope);
        self.paths.insert(module.to_vec(), BTreeSet::new());
        let items: Vec<_> = items.iter().filter(|item| !is_test(attributes(item))).collect();
        for item in &items {
            self.declare(folder, file, module, item);
        }
        for item in &items {
            if !matches!(item, Item::Mod(_)) {
                let mut reader = Reader { module, crate_: self };
                reader.visit_item(item);
            }
        }
    }

    /// Records the names of an item.
    fn declare(&mut self, folder: &Path, file: &str, module: &[String], item: &Item) {
        let own = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            Item::Mod(item) => {
                let mut inner = module.to_vec();
                inner.push(item.ident.to_string());
                match &item.content {
                    Some((_, items)) => self.add(folder, file, &inner, items),
                    None => self.load(folder, &format!("{}.rs", inner.join("/")), &inner),
                }
                None
            }
            Item::Use(item) => {
                let mut leaves = Vec::new();
                flatten(&item.tree, &mut Vec::new(), &mut leaves);
                for leaf in leaves {
                    let Some(path) = absolute(module, &leaf.path) else { continue };
                    let scope = self.scopes.entry(module.to_vec()).or_default();
                    match leaf.name {
                        Some(name) => {
                            scope.names.insert(name, Name::Alias(path));
                        }
                        None => scope.globs.push(path),
                    }
                }
                None
            }
            _ => None,
        };
        if let Some(own) = own {
            let scope = self.scopes.entry(module.to_vec()).or_default();
            scope.names.insert(own.to_string(), Name::Own);
        }
    }

    /// Returns the file that defines what a path names, if it is in this crate.
    fn file_of(&self, path: &[String], depth: usize) -> Option<String> {
        if depth > 20 {
            return None;
        }
        let mut module: Module = Vec::new();
        for (place, segment) in path.iter().enumerate() {
            let mut inner = module.clone();
            inner.push(segment.clone());
            if self.scopes.contains_key(&inner) {
                module = inner;
                continue;
            }
            let scope = &self.scopes[&module];
            match scope.names.get(segment) {
                Some(Name::Own) => return Some(scope.file.clone()),
                Some(Name::Alias(other)) => {
                    let mut other = other.clone();
                    other.extend_from_slice(&path[place + 1..]);
                    return self.file_of(&other, depth + 1);
                }
                None => {
                    let of_glob = scope.globs.iter().find_map(|glob| {
                        let mut other = glob.clone();
                        other.extend_from_slice(&path[place..]);
                        self.file_of(&other, depth + 1)
                    });
                    // A macro defines it, or it is from another crate.
                    return of_glob.or_else(|| Some(scope.file.clone()));
                }
            }
        }
        Some(self.scopes[&module].file.clone())
    }
}

/// Collects the paths of an item's code.
struct Reader<'c> {
    module: &'c [String],
    crate_: &'c mut Crate,
}

impl Reader<'_> {
    fn note(&mut self, segments: &[String]) {
        let path = match segments.first().map(String::as_str) {
            Some("crate" | "self" | "super") => absolute(self.module, segments),
            Some(first) => {
                let scope = &self.crate_.scopes[self.module];
                let mut inner = self.module.to_vec();
                inner.push(first.to_owned());
                match scope.names.get(first) {
                    Some(Name::Alias(other)) => {
                        let mut path = other.clone();
                        path.extend_from_slice(&segments[1..]);
                        Some(path)
                    }
                    _ if self.crate_.scopes.contains_key(&inner) => {
                        inner.extend_from_slice(&segments[1..]);
                        Some(inner)
                    }
                    _ => None,
                }
            }
            None => None,
        };
        if let Some(path) = path {
            self.crate_.paths.entry(self.module.to_vec()).or_default().insert(path);
        }
    }

    /// Scans a macro's input, which has any syntax. A path is a sequence of names and `::`.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons < 2 {
                        self.flush(&mut path);
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.flush(&mut path);
                    colons = 0;
                    self.scan(group.stream());
                }
                _ => {
                    self.flush(&mut path);
                    colons = 0;
                }
            }
        }
        self.flush(&mut path);
    }

    fn flush(&mut self, path: &mut Vec<String>) {
        if !path.is_empty() {
            self.note(path);
            path.clear();
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.note(&segments);
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for leaf in leaves {
            self.note(&leaf.path);
        }
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        visit::visit_macro(self, item);
        self.scan(item.tokens.clone());
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, item: &'ast Attribute) {
        if let syn::Meta::List(list) = &item.meta {
            self.scan(list.tokens.clone());
        }
    }
}

/// A leaf of a `use`: its path, and the name it gets. A glob gets none.
struct Leaf {
    path: Vec<String>,
    name: Option<String>,
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    match tree {
        UseTree::Path(part) => {
            before.push(part.ident.to_string());
            flatten(&part.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(part) if part.ident == "self" => {
            leaves.push(Leaf { path: before.clone(), name: before.last().cloned() });
        }
        UseTree::Name(part) => {
            let name = part.ident.to_string();
            leaves.push(Leaf {
                path: [&before[..], std::slice::from_ref(&name)].concat(),
                name: Some(name),
            });
        }
        UseTree::Rename(part) => {
            let path = match part.ident == "self" {
                true => before.clone(),
                false => [&before[..], &[part.ident.to_string()]].concat(),
            };
            leaves.push(Leaf { path, name: Some(part.rename.to_string()) });
        }
        UseTree::Glob(_) => leaves.push(Leaf { path: before.clone(), name: None }),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, leaves);
            }
        }
    }
}

/// Returns a path from the crate's root; `None` if its first name has another meaning.
fn absolute(module: &[String], path: &[String]) -> Option<Module> {
    let mut from: Module = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => [module, &path[..1]].concat(),
    };
    for (place, segment) in path.iter().enumerate() {
        match segment.as_str() {
            "crate" | "self" if place == 0 => {}
            "super" => {
                from.pop()?;
            }
            _ if place == 0 => {}
            _ => from.push(segment.clone()),
        }
    }
    Some(from)
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
