//! The files of a new project, as they lie in this crate: nothing has to be fetched for them.

use include_dir::{Dir, include_dir};

use super::Language;

static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../wit");
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/src");
const SDK_MANIFEST: &str = include_str!("../../../guest-sdk/Cargo.toml");
const FIXTURE: &str = include_str!("../../templates/common/conformance.toml");

/// A file of a project: its path, and what stands in it.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// Every file of a new project.
pub(super) fn of(language: Language, name: &str) -> Vec<File> {
    let filled = |text: &str| {
        text.replace("{{name}}", name).replace("{{sdk_version}}", env!("CARGO_PKG_VERSION"))
    };
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: filled(text) };
    let mut files = vec![file("conformance.toml", FIXTURE)];
    copied(&WIT, "wit", &mut files);
    match language {
        Language::Rust => {
            let manifest = include_str!("../../templates/rust/Cargo.toml.in");
            let source = include_str!("../../templates/rust/src/lib.rs.in");
            files.push(file("Cargo.toml", manifest));
            files.push(file("src/lib.rs", source));
            files.push(file(".gitignore", "/target\n/adapter.wasm\n"));
            files.push(File { path: "sdk/Cargo.toml".to_owned(), text: sdk_manifest() });
            copied(&SDK, "sdk/src", &mut files);
        }
        Language::JavaScript => {
            let manifest = include_str!("../../templates/js/package.json.in");
            files.push(file("package.json", manifest));
            files.push(file("adapter.js", include_str!("../../templates/js/adapter.js.in")));
            files.push(file(".gitignore", "/node_modules\n/adapter.wasm\n"));
        }
        Language::Python => {
            let needs = include_str!("../../templates/python/requirements.txt");
            files.push(file("requirements.txt", needs));
            let source = include_str!("../../templates/python/adapter.py.in");
            files.push(file("adapter.py", source));
            files.push(file(".gitignore", "/.venv\n/adapter.wasm\n__pycache__\n"));
        }
    }
    files
}

/// The SDK's own manifest, in a workspace that is the author's: what concerns this repository's tests
/// stays here.
fn sdk_manifest() -> String {
    let mut kept = Vec::new();
    let mut skipped = false;
    for line in SDK_MANIFEST.lines() {
        if line.starts_with('[') {
            skipped = ["[package.metadata", "[[example]]"].iter().any(|it| line.starts_with(it));
        }
        let is_ours = line.starts_with("workspace = ") || line.starts_with("# The example");
        if !skipped && !is_ours {
            kept.push(line);
        }
    }
    // `[lints]` is inherited as in this repository.
    let text = kept.join("\n").replace("[lints]", "[lints]\nworkspace = true");
    format!("{text}\n")
}

fn copied(dir: &Dir<'_>, under: &str, into: &mut Vec<File>) {
    for file in dir.files() {
        // Only text lies in these folders.
        if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8()) {
            into.push(File { path: format!("{under}/{path}"), text: text.to_owned() });
        }
    }
    dir.dirs().for_each(|inner| copied(inner, under, into));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_stands_on_its_own() {
        let files = of(Language::Rust, "mybot");
        let text = |path: &str| &files.iter().find(|file| file.path == path).unwrap().text;
        assert!(text("Cargo.toml").contains("name = \"mybot\""));
        assert!(text("wit/types.wit").contains("package lastword:channel@0.1.0"));
        assert!(text("sdk/src/fake/mod.rs").contains("//! A host for unit tests"));
        assert!(!text("sdk/Cargo.toml").contains("../adapters"));
        assert!(files.iter().all(|file| !file.text.contains("{{name}}")));
    }
}
