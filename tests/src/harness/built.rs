//! Where the built things are: the binary beside this test's own, the components and the virtual
//! environment in the target folder. What is missing is an error that says how to make it.

use std::path::{Path, PathBuf};

/// The folder of the profile that this test was built with, such as `target/debug`.
fn profile_folder() -> PathBuf {
    let exe = std::env::current_exe().expect("a running test has a path");
    let folder = exe.parent().expect("a file has a folder");
    if folder.ends_with("deps") {
        return folder.parent().expect("deps has a parent").to_owned();
    }
    folder.to_owned()
}

/// The target folder, also where `CARGO_TARGET_DIR` moved it.
#[must_use]
pub fn target_folder() -> PathBuf {
    profile_folder().parent().expect("a profile has a parent").to_owned()
}

/// The top of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests/ has a parent").to_owned()
}

fn found(path: PathBuf, what: &str, how: &str) -> PathBuf {
    assert!(path.exists(), "{what} is not there ({}): build it with `{how}`", path.display());
    path
}

/// The real binary.
#[must_use]
pub fn binary() -> PathBuf {
    let name = format!("lastword{}", std::env::consts::EXE_SUFFIX);
    found(profile_folder().join(name), "the binary", "cargo build -p lastword")
}

/// A component, by its name without `.wasm`.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let path = target_folder().join("guests").join(format!("{name}.wasm"));
    found(path, &format!("the component {name}"), "cargo xtask guests")
}

/// The Python of the virtual environment that holds Synapse, matrix-nio and standardwebhooks.
#[must_use]
pub fn venv() -> PathBuf {
    let path = target_folder().join("venv/bin/python");
    found(path, "the virtual environment", "tests/matrix/setup.sh target/venv")
}
