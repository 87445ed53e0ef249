//! The shape of files and functions.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::{Source, hold};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if !source.is_rust() || lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines; {FILE_LINES_MAX} at most", source.path)]
}

/// Rust's own marks come first, such as `#!`.
fn headless(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.text.trim_start().starts_with("//!") {
        return Vec::new();
    }
    vec![format!("{}: opens without `//!`, which says what the file owns", source.path)]
}

struct Functions<'s> {
    path: &'s str,
    found: Vec<String>,
}

impl Functions<'_> {
    fn look(&mut self, name: &syn::Ident, span: Span) {
        let lines = span.end().line - span.start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            let (path, at) = (self.path, span.start().line);
            self.found.push(format!("{path}:{at}: `{name}` has {lines} lines"));
        }
    }
}

/// From brace to brace: attributes, documentation and a long signature are not the function.
impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        // A test may be a table of cases, which is data.
        let is_test = |attr: &syn::Attribute| {
            attr.path().segments.last().is_some_and(|last| last.ident == "test")
        };
        if !item.attrs.iter().any(is_test) {
            self.look(&item.sig.ident, item.block.span());
        }
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.look(&item.sig.ident, item.block.span());
        visit::visit_impl_item_fn(self, item);
    }
}

fn long_functions(source: &Source) -> Vec<String> {
    if !source.is_rust() {
        return Vec::new();
    }
    let file = syn::parse_file(&source.text).unwrap_or_else(|e| panic!("{}: {e}", source.path));
    let mut functions = Functions { path: &source.path, found: Vec::new() };
    functions.visit_file(&file);
    functions.found
}

#[test]
fn files_have_at_most_500_lines() {
    hold(too_long);
}

#[test]
fn functions_have_at_most_70_lines() {
    hold(long_functions);
}

#[test]
fn every_file_opens_with_what_it_owns() {
    hold(headless);
}

#[test]
fn the_rules_of_shape_find_what_they_are_about() {
    let source = |text: String| Source { path: "host/src/x.rs".into(), text };
    assert_eq!(too_long(&source("//\n".repeat(500))).len(), 0);
    assert_eq!(too_long(&source("//\n".repeat(501))).len(), 1);
    assert_eq!(headless(&source("//! Owns nothing.\n".into())).len(), 0);
    assert_eq!(headless(&source("use std::fs;\n".into())).len(), 1);
    let function =
        |lines: usize| format!("/// Says.\nfn f() {{\n{}}}\n", "f();\n".repeat(lines - 2));
    assert_eq!(long_functions(&source(function(70))).len(), 0);
    assert_eq!(long_functions(&source(function(71))).len(), 1);
    let method = format!("struct S; impl S {{ {} }}", function(71));
    assert_eq!(long_functions(&source(method)).len(), 1);
}
