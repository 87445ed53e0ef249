//! Builds a project with its language's own tools. What is missing is named, with how to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{COMPONENT, Language, ProjectError};
use crate::toolchain::{Toolchain, cargo};
use crate::{GuestTarget, component};

/// Lines of a tool's words that an error carries along.
const ERROR_LINES_MAX: usize = 60;

/// The world that templates in other languages than Rust are written for. An author who exports more
/// interfaces writes a world of their own into `wit/`, and its name into `wit/world`.
const WORLD: &str = "webhook-channel";

/// Builds the project in `folder`, and gives the component's path.
///
/// # Errors
///
/// Where there is no project, where a tool is missing, or where the adapter does not build.
pub fn build(folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ProjectError> {
    let language = Language::of(folder)?;
    let folder = fs::canonicalize(folder).map_err(|error| {
        ProjectError::Failed(format!("{} cannot be found: {error}", folder.display()))
    })?;
    match language {
        Language::Rust => rust(&folder, progress),
        Language::JavaScript => javascript(&folder, progress),
        Language::Python => python(&folder, progress),
    }
}

fn rust(folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ProjectError> {
    let target = folder.join("target");
    let failed = |error: &dyn std::fmt::Display| ProjectError::Failed(error.to_string());
    fs::create_dir_all(&target).map_err(|error| failed(&error))?;
    let toolchain = Toolchain::find(GuestTarget::Plain, &target, progress)
        .map_err(|error| ProjectError::Wrong(format!("{error:#}")))?;
    let triple = "wasm32-unknown-unknown";
    let mut command = toolchain.cargo_build(triple);
    command.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    command.arg("--target-dir").arg(&target).arg("--lib");
    progress("compiling with cargo");
    run(command, "install Rust from https://rustup.rs")?;
    let module = target.join(triple).join("release").join(format!("{}.wasm", crate_name(folder)?));
    let to = folder.join(COMPONENT);
    component::write(&module, &to, GuestTarget::Plain, progress)
        .map_err(|error| failed(&format!("{error:#}")))?;
    Ok(to)
}

/// What cargo calls the module of the project.
fn crate_name(folder: &Path) -> Result<String, ProjectError> {
    let mut command = Command::new(cargo());
    command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]);
    command.arg(folder.join("Cargo.toml"));
    let output = command
        .output()
        .map_err(|error| ProjectError::Failed(format!("cargo cannot be started: {error}")))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null);
    let of_project = |package: &&serde_json::Value| {
        let path = package["manifest_path"].as_str().map(Path::new).and_then(Path::parent);
        path.is_some_and(|path| path.ends_with(folder.file_name().unwrap_or_default()))
    };
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let name = packages.filter(of_project).find_map(|package| package["name"].as_str());
    let missing = || ProjectError::Wrong("the project's Cargo.toml names no package".to_owned());
    Ok(name.ok_or_else(missing)?.replace('-', "_"))
}

fn javascript(folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ProjectError> {
    let tool = folder.join("node_modules").join(".bin").join("componentize-js");
    if !tool.exists() {
        progress("fetching componentize-js with npm");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
        run(npm, "install Node.js 20 or newer, which brings npm")?;
    }
    let to = folder.join(COMPONENT);
    progress("componentizing");
    let mut command = Command::new(fs::canonicalize(&tool).unwrap_or(tool));
    command.args(["adapter.js", "--wit", "wit", "--world-name", &world(folder)]);
    // Nothing of WASI stands behind an adapter; a component that does not ask is smaller.
    command.args(["--disable", "http", "random", "clocks", "stdio", "fetch-event"]);
    command.args(["--out", COMPONENT]).current_dir(folder);
    run(command, "run `npm install` in the project's folder")?;
    Ok(to)
}

fn python(folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ProjectError> {
    let bin = folder.join(".venv").join("bin");
    if !bin.join("componentize-py").exists() {
        progress("fetching componentize-py with pip");
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", ".venv"]).current_dir(folder);
        run(venv, "install Python 3.10 or newer, with its module `venv`")?;
        let mut pip = Command::new(absolute(&bin.join("pip")));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
        pip.current_dir(folder);
        run(pip, "install Python's `pip`")?;
    }
    let to = folder.join(COMPONENT);
    progress("componentizing");
    let mut command = Command::new(absolute(&bin.join("componentize-py")));
    command.args(["--wit-path", "wit", "--world", &world(folder), "componentize"]);
    command.args(["--stub-wasi", "adapter", "--output", COMPONENT]).current_dir(folder);
    run(command, "run `pip install -r requirements.txt` in the project's .venv")?;
    Ok(to)
}

fn world(folder: &Path) -> String {
    let named = fs::read_to_string(folder.join("wit").join("world")).unwrap_or_default();
    let named = named.trim();
    if named.is_empty() { WORLD.to_owned() } else { named.to_owned() }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Runs a tool to its end; `get` says how one comes by it.
fn run(mut command: Command, get: &str) -> Result<(), ProjectError> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_owned();
    let name = name.to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        ProjectError::Wrong(format!("{name} cannot be started ({}): {get}", error.kind()))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words).into_owned();
    let lines: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(ERROR_LINES_MAX)..].join("\n");
    Err(ProjectError::Failed(format!("{name} failed:\n{last}")))
}
