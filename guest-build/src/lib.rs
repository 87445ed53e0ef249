//! Builds guests: finds a way to compile for WebAssembly on this machine, compiles the crates of
//! the guests' workspace, and leaves components in `target/guests`; and makes and builds the projects
//! of adapter authors, in three languages.
//!
//! It knows the layout of this repository and of such projects, and cargo. It does not know the host: what a component
//! must export, admission decides.

mod catalogue;
mod compile;
mod component;
mod handwritten;
pub mod project;
mod toolchain;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use catalogue::{Guest, Source};
use toolchain::Toolchain;

/// Which guests to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestSet {
    /// The folders of `adapters/`: what is shipped.
    Adapters,
    /// What `tests/guests/` holds: components for the host's tests.
    Tests,
    /// Both.
    All,
    /// These, by name.
    Named(Vec<String>),
}

/// What a guest was compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestTarget {
    /// `wasm32-unknown-unknown`: links no WASI at all.
    Plain,
    /// `wasm32-wasip2`: links the small WASI set of a language runtime.
    Wasip2,
    /// Written as text, by no compiler.
    Handwritten,
}

/// A component that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltGuest {
    /// The guest's name, as its file is called.
    pub name: String,
    /// What it was compiled for.
    pub target: GuestTarget,
    /// Where it is: `target/guests/NAME.wasm`, or `NAME.wasip2.wasm`.
    pub component: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// Builds a set of guests, and says where the components are. Quick where nothing changed.
///
/// `progress` gets plain lines for people: what is being compiled, and what was written.
///
/// # Errors
///
/// Where no way to build is found, the error says in one sentence what is missing and how to get
/// it. Where a guest does not compile, it carries the compiler's words.
pub fn build(
    repo_root: &Path,
    set: &GuestSet,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<BuiltGuest>> {
    let guests = select(catalogue::read(repo_root)?, set)?;
    let out_dir = repo_root.join("target").join("guests");
    std::fs::create_dir_all(&out_dir)
        .with_context(|| format!("cannot make the folder {}", out_dir.display()))?;
    let _turn = one_at_a_time(&out_dir, progress)?;
    let mut built = Vec::new();
    for target in [GuestTarget::Plain, GuestTarget::Wasip2] {
        let crates: Vec<&Guest> = guests.iter().filter(|guest| guest.builds_for(target)).collect();
        if crates.is_empty() {
            continue;
        }
        let toolchain = Toolchain::find(target, &out_dir, progress)?;
        let modules = compile::compile(repo_root, &toolchain, target, &crates, progress)?;
        for (guest, module) in crates.iter().zip(modules) {
            let to = out_dir.join(guest.file_name(target));
            let size_bytes = component::write(&module, &to, target, progress)?;
            built.push(BuiltGuest { name: guest.name.clone(), target, component: to, size_bytes });
        }
    }
    for guest in &guests {
        if let Source::Text(path) = &guest.source {
            let target = GuestTarget::Handwritten;
            let to = out_dir.join(guest.file_name(target));
            let size_bytes = handwritten::write(repo_root, path, &to, progress)?;
            built.push(BuiltGuest { name: guest.name.clone(), target, component: to, size_bytes });
        }
    }
    Ok(built)
}

/// Holds a lock beside the components for as long as the file lives: two builds at once would ask
/// rustup or apt twice, and write the same files.
fn one_at_a_time(out_dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<File> {
    let path = out_dir.join(".lock");
    let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    if lock.try_lock().is_err() {
        progress("waiting for another build of the guests");
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(lock)
}

fn select(guests: Vec<Guest>, set: &GuestSet) -> Result<Vec<Guest>> {
    let wanted = |guest: &Guest| match set {
        GuestSet::All => true,
        GuestSet::Adapters => guest.role == catalogue::Role::Adapter,
        GuestSet::Tests => guest.role == catalogue::Role::Test,
        GuestSet::Named(names) => names.contains(&guest.name),
    };
    if let GuestSet::Named(names) = set {
        for name in names {
            if !guests.iter().any(|guest| &guest.name == name) {
                let known: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
                bail!("there is no guest `{name}`; there are {}", known.join(", "));
            }
        }
    }
    Ok(guests.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
    }

    #[test]
    fn the_adapters_that_are_shipped_are_found_with_their_targets() {
        let adapters = select(catalogue::read(&root()).unwrap(), &GuestSet::Adapters).unwrap();
        let names: Vec<&str> = adapters.iter().map(|guest| guest.name.as_str()).collect();
        assert_eq!(names, ["echo", "matrix", "telegram", "webhook"]);
        for guest in &adapters {
            assert!(guest.builds_for(GuestTarget::Plain));
            let is_small = ["echo", "webhook"].contains(&guest.name.as_str());
            assert_eq!(guest.builds_for(GuestTarget::Wasip2), is_small);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let set = GuestSet::Named(vec!["webhok".to_owned()]);
        let error = select(catalogue::read(&root()).unwrap(), &set).unwrap_err().to_string();
        assert!(error.starts_with("there is no guest `webhok`; there are "), "{error}");
        assert!(error.contains("webhook"), "{error}");
    }
}
