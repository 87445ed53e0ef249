//! Which room of the host may know which: arrows point down.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::{Source, hold};

/// Each room and what it may name of the crate. `env` is everybody's: it alone asks the system for
/// time, ids and chance. `gate` holds what workers, handlers and callers share in memory.
const ROOMS: [(&str, &[&str]); 14] = [
    ("lifecycle", &[]),
    ("env", &["lifecycle"]),
    ("config", &["env", "lifecycle"]),
    ("gate", &["env", "lifecycle"]),
    ("handler", &["env", "gate", "lifecycle"]),
    ("sandbox", &["env", "lifecycle"]),
    ("store", &["env", "lifecycle"]),
    // It holds adapters against recordings, without a host around them.
    ("conformance", &["config", "env", "lifecycle", "sandbox"]),
    // Contents on disk, and their rows.
    ("files", &["env", "lifecycle", "store"]),
    ("workers", &["env", "files", "gate", "handler", "lifecycle", "sandbox", "store"]),
    ("ingress", &["env", "files", "gate", "lifecycle", "sandbox", "store"]),
    (
        "runtime",
        &[
            "config",
            "env",
            "files",
            "gate",
            "handler",
            "ingress",
            "lifecycle",
            "sandbox",
            "store",
            "workers",
        ],
    ),
    // It shows rows, and reads the config to find them.
    ("cli", &["config", "conformance", "env", "lifecycle", "runtime", "store"]),
    // The guard and the sandbox's children are the same binary and must start before anything else.
    ("main", &["cli", "handler", "sandbox"]),
];

/// A library that one room alone may name.
const OWNED: [(&str, &str); 6] = [
    ("rusqlite", "store"),
    ("wasmtime", "sandbox"),
    ("wasmtime_wasi", "sandbox"),
    ("clap", "cli"),
    ("comfy_table", "cli"),
    ("toml", "config"),
];

/// What pure code cannot name.
const IMPURE: [&str; 6] = ["tokio", "Instant", "SystemTime", "File", "TcpStream", "Command"];

/// The room of a file: the folder, or the file's own name.
fn room(in_host: &str) -> &str {
    let end = in_host.find('/').unwrap_or(in_host.len());
    in_host[..end].trim_end_matches(".rs")
}

/// Rooms that a file names by `crate::` or, in the binary, by the crate's name.
#[derive(Default)]
struct Named(BTreeSet<String>);

impl Named {
    fn take(&mut self, first: &str, tree: &syn::UseTree) {
        if !matches!(first, "crate" | "lastword") {
            return;
        }
        match tree {
            syn::UseTree::Path(path) => drop(self.0.insert(path.ident.to_string())),
            syn::UseTree::Name(name) => drop(self.0.insert(name.ident.to_string())),
            syn::UseTree::Rename(rename) => drop(self.0.insert(rename.ident.to_string())),
            syn::UseTree::Glob(_) => drop(self.0.insert("*".into())),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.take(first, tree);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Named {
    fn visit_use_path(&mut self, path: &'ast syn::UsePath) {
        self.take(&path.ident.to_string(), &path.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let mut segments = path.segments.iter();
        if let (Some(first), Some(second)) = (segments.next(), segments.next())
            && matches!(first.ident.to_string().as_str(), "crate" | "lastword")
        {
            self.0.insert(second.ident.to_string());
        }
        visit::visit_path(self, path);
    }
}

fn wrong_arrows(source: &Source) -> Vec<String> {
    let Some(in_host) = source.in_host() else { return Vec::new() };
    let from = room(in_host);
    if from == "lib" {
        return Vec::new();
    }
    let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == from) else {
        return vec![format!("{}: `{from}` is no room of the house", source.path)];
    };
    let mut named = Named::default();
    named.visit_file(&syn::parse_file(&source.text).unwrap());
    let wrong = named.0.iter().filter(|to| *to != from && !may.contains(&to.as_str()));
    wrong.map(|to| format!("{}: `{from}` may not know `{to}`", source.path)).collect()
}

fn identifiers(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => drop(found.insert(ident.to_string())),
            TokenTree::Group(group) => identifiers(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn wrong_libraries(source: &Source) -> Vec<String> {
    let Some(in_host) = source.in_host() else { return Vec::new() };
    let mut named = BTreeSet::new();
    identifiers(source.text.parse().unwrap(), &mut named);
    let mut wrong = Vec::new();
    for (library, owner) in OWNED {
        if room(in_host) != owner && named.contains(library) {
            wrong.push(format!("{}: only `{owner}` names `{library}`", source.path));
        }
    }
    for word in IMPURE {
        if room(in_host) == "lifecycle" && named.contains(word) {
            wrong.push(format!("{}: `lifecycle` is pure and names `{word}`", source.path));
        }
    }
    wrong
}

#[test]
fn rooms_know_only_what_is_below_them() {
    hold(wrong_arrows);
}

#[test]
fn libraries_stay_in_the_room_that_owns_them() {
    hold(wrong_libraries);
}

#[test]
fn the_rules_of_rooms_find_what_they_are_about() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let arrows = |path, text| wrong_arrows(&source(path, text)).len();
    assert_eq!(arrows("host/src/store/x.rs", "use crate::lifecycle::id::TurnId;"), 0);
    assert_eq!(arrows("host/src/store/x.rs", "use crate::sandbox::Call;"), 1);
    assert_eq!(arrows("host/src/store/x.rs", "use crate::{sandbox::Call, workers};"), 2);
    assert_eq!(arrows("host/src/store/x.rs", "fn f() { crate::sandbox::call(); }"), 1);
    assert_eq!(arrows("host/src/store/x.rs", "mod t { use crate::store::Row; }"), 0);
    assert_eq!(arrows("host/src/env.rs", "use crate::store::Row;"), 1);
    assert_eq!(arrows("host/src/attic/x.rs", ""), 1);
    assert_eq!(arrows("host/src/main.rs", "fn main() { lastword::store::open(); }"), 1);
    let libraries = |path, text| wrong_libraries(&source(path, text)).len();
    assert_eq!(libraries("host/src/store/x.rs", "use rusqlite::Connection;"), 0);
    assert_eq!(libraries("host/src/workers/x.rs", "use rusqlite::Connection;"), 1);
    assert_eq!(libraries("host/src/workers/x.rs", "/// Not rusqlite's.\nfn f() {}"), 0);
    assert_eq!(libraries("host/src/workers/x.rs", "fn f() { g(wasmtime::Engine::new()) }"), 1);
    assert_eq!(libraries("host/src/lifecycle/x.rs", "use std::time::Instant;"), 1);
}
