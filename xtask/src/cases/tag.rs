//! The tests of one source file and the tags above them. Rust is read by a parser of Rust; only the
//! comments, which a parser drops, are read as lines.

use anyhow::{Result, bail};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;

/// How a tag opens.
const TAG: &str = "// Case:";

/// One test that holds cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    /// As `cargo test -- --list` prints it: modules and function, without the crate.
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) is_ignored: bool,
    pub(super) cases: Vec<String>,
}

impl Test {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// A module that a file declares and another file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Child {
    /// From the file's own module down: inline modules, then its name.
    pub(super) modules: Vec<String>,
    /// Of `#[path = "..."]`.
    pub(super) path: Option<String>,
}

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) tests: Vec<Test>,
    pub(super) children: Vec<Child>,
}

/// Reads a file whose module is `modules`.
///
/// # Errors
/// What is no Rust, and a tag that stands above no test or cannot be read.
pub(super) fn read(path: &str, text: &str, modules: &[String]) -> Result<File> {
    let parsed = match syn::parse_file(text) {
        Ok(parsed) => parsed,
        Err(error) => bail!("{path}:{}: {error}", error.span().start().line),
    };
    let mut reader = Reader {
        path,
        lines: text.lines().map(str::trim).collect(),
        modules: modules.to_vec(),
        depth: modules.len(),
        file: File::default(),
        used: Vec::new(),
    };
    reader.items(&parsed.items)?;
    for line in tag_lines(text) {
        if !reader.used.contains(&line) {
            bail!("{path}:{line}: a tag stands directly above the attributes of a test");
        }
    }
    Ok(reader.file)
}

/// The lines of all tags, counted from 1.
pub(super) fn tag_lines(text: &str) -> impl Iterator<Item = usize> {
    let is_tag = |(at, line): (usize, &str)| line.trim().starts_with(TAG).then_some(at + 1);
    text.lines().enumerate().filter_map(is_tag)
}

struct Reader<'t> {
    path: &'t str,
    lines: Vec<&'t str>,
    /// Of the crate down to where the reader is.
    modules: Vec<String>,
    /// How many of them lead to the file itself.
    depth: usize,
    file: File,
    used: Vec<usize>,
}

impl Reader<'_> {
    fn items(&mut self, items: &[syn::Item]) -> Result<()> {
        for item in items {
            match item {
                syn::Item::Fn(item) if item.attrs.iter().any(is_test) => {
                    let ignored = item.attrs.iter().any(|attr| ignores(&attr.meta));
                    // Documentation is an attribute as well.
                    let first = item.span().start().line;
                    self.test(&item.sig.ident, first, ignored)?;
                }
                syn::Item::Mod(item) => self.module(item)?,
                syn::Item::Macro(item) => self.tests_in_macro(item.mac.tokens.clone())?,
                _ => {}
            }
        }
        Ok(())
    }

    fn module(&mut self, item: &syn::ItemMod) -> Result<()> {
        self.modules.push(item.ident.to_string());
        if let Some((_, items)) = &item.content {
            self.items(items)?;
        } else {
            let modules = self.modules.get(self.depth..).unwrap_or_default().to_vec();
            let path = item.attrs.iter().find_map(path_of);
            self.file.children.push(Child { modules, path });
        }
        self.modules.pop();
        Ok(())
    }

    /// Tests inside a macro such as `proptest!`: attributes in a row, then `fn` and a name.
    fn tests_in_macro(&mut self, tokens: TokenStream) -> Result<()> {
        let mut attributes: Vec<(usize, TokenStream)> = Vec::new();
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match (&token, tokens.peek()) {
                (TokenTree::Punct(mark), Some(TokenTree::Group(group)))
                    if mark.as_char() == '#' =>
                {
                    attributes.push((mark.span().start().line, group.stream()));
                    tokens.next();
                }
                (TokenTree::Ident(word), Some(TokenTree::Ident(name))) if word == "fn" => {
                    let has = |wanted| move |(_, stream): &(_, TokenStream)| names(stream, wanted);
                    let first = attributes.first().map_or(0, |(line, _)| *line);
                    if attributes.iter().any(has("test")) {
                        let ignored = attributes.iter().any(has("ignore"));
                        self.test(&name.clone(), first, ignored)?;
                    }
                    attributes.clear();
                }
                _ => attributes.clear(),
            }
        }
        Ok(())
    }

    /// Notes a test, if a tag stands in the comment above line `first` or among its attributes.
    fn test(&mut self, ident: &proc_macro2::Ident, first: usize, is_ignored: bool) -> Result<()> {
        let line = ident.span().start().line;
        let above = (1..first).rev().take_while(|at| self.at(*at).starts_with("//"));
        let around: Vec<usize> = above.chain(first..line).collect();
        let mut cases = Vec::new();
        for at in around {
            if let Some(ids) = self.at(at).strip_prefix(TAG) {
                cases.extend(self.ids(at, ids)?);
                self.used.push(at);
            }
        }
        if !cases.is_empty() {
            let mut name = self.modules.join("::");
            if !name.is_empty() {
                name.push_str("::");
            }
            name.push_str(&ident.to_string());
            let file = self.path.to_owned();
            self.file.tests.push(Test { name, file, line, is_ignored, cases });
        }
        Ok(())
    }

    fn at(&self, line: usize) -> &str {
        line.checked_sub(1).and_then(|at| self.lines.get(at)).copied().unwrap_or_default()
    }

    fn ids(&self, line: usize, text: &str) -> Result<Vec<String>> {
        let ids: Vec<String> = text.split(',').map(|id| id.trim().to_owned()).collect();
        let is_id = |id: &String| {
            id.strip_prefix(|c: char| c.is_ascii_uppercase())
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        if let Some(wrong) = ids.iter().find(|id| !is_id(id)) {
            let path = self.path;
            bail!("{path}:{line}: `{wrong}` is no id of a case (`// Case: A1, B3` is a tag)");
        }
        Ok(ids)
    }
}

/// `#[test]`, `#[tokio::test(...)]`.
fn is_test(attr: &syn::Attribute) -> bool {
    attr.path().segments.last().is_some_and(|last| last.ident == "test")
}

/// The mark of a test that is not run, also behind a condition: a case is held everywhere or not
/// at all.
fn ignores(meta: &syn::Meta) -> bool {
    match meta {
        syn::Meta::List(list) if list.path.is_ident("cfg_attr") => names(&list.tokens, "ignore"),
        meta => meta.path().is_ident("ignore"),
    }
}

fn path_of(attr: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attr.meta else { return None };
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. })
            if pair.path.is_ident("path") =>
        {
            Some(text.value())
        }
        _ => None,
    }
}

fn names(tokens: &TokenStream, wanted: &str) -> bool {
    tokens
        .clone()
        .into_iter()
        .any(|token| matches!(token, TokenTree::Ident(word) if word == wanted))
}
