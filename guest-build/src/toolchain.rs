//! Finds a way to compile for WebAssembly: rustup's target where it is installed or can be, else
//! Debian's second toolchain, which builds the standard library from its source.
//!
//! The order is: what is there already, what rustup can fetch, what apt can install, and then one
//! sentence that says what is missing. That Debian's was taken is remembered beside the
//! components, so that rustup is not asked again each time.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::GuestTarget;

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 5] =
    ["rustc-web", "rust-web-src", "rust-web-llvm", "lld-22", "wasi-libc"];
const DEBIAN_WASI_LIBC: &str = "/usr/lib/wasm32-wasi";

/// `rustup` or `debian`: takes this way and no other. For the tests of both, and for people who
/// know better.
const OVERRIDE: &str = "LASTWORD_GUEST_TOOLCHAIN";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Rustup,
    Debian,
}

/// A way to build that was found open.
#[derive(Debug)]
pub(crate) struct Toolchain {
    way: Way,
}

impl Toolchain {
    /// Finds a way to build for `target`, and installs what it may.
    pub(crate) fn find(
        target: GuestTarget,
        memory_dir: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Toolchain> {
        let triple = match target {
            GuestTarget::Plain | GuestTarget::Handwritten => "wasm32-unknown-unknown",
            GuestTarget::Wasip2 => "wasm32-wasip2",
        };
        let memory = memory_dir.join(".toolchain");
        let way = match forced()? {
            Some(Way::Rustup) if !rustup_has(triple) => add_with_rustup(triple, progress)
                .map(|()| Way::Rustup)
                .map_err(|why| anyhow::anyhow!("rustup cannot add {triple}: {why}"))?,
            Some(Way::Debian) if !debian_is_complete() => install_with_apt(progress)
                .map(|()| Way::Debian)
                .map_err(|why| anyhow::anyhow!("Debian's toolchain is not there: {why}"))?,
            Some(way) => way,
            None => choose(triple, &memory, progress)?,
        };
        Ok(Toolchain { way })
    }

    /// A `cargo build --release` for `triple`, to which the crates are to be added.
    pub(crate) fn cargo_build(&self, triple: &str) -> Command {
        let mut command = Command::new(cargo());
        command.args(["build", "--release", "--target", triple]);
        // What is meant for the native side does not hold for guests.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC"] {
            command.env_remove(name);
        }
        command.env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
        match self.way {
            Way::Rustup => {}
            Way::Debian => {
                command.arg("-Zbuild-std=std,panic_abort");
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command.env("PATH", path_with_linkers());
                if triple == "wasm32-wasip2" {
                    let flags = format!("-C link-self-contained=no -L native={DEBIAN_WASI_LIBC}");
                    command.env("RUSTFLAGS", flags);
                }
            }
        }
        command
    }
}

/// The cargo that runs us, or the one that is found.
pub(crate) fn cargo() -> OsString {
    variable("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

fn choose(triple: &str, memory: &Path, progress: &mut dyn FnMut(&str)) -> Result<Way> {
    if rustup_has(triple) {
        return Ok(Way::Rustup);
    }
    let remembered = fs::read_to_string(memory).is_ok_and(|way| way.trim() == "debian");
    if remembered && debian_is_complete() {
        return Ok(Way::Debian);
    }
    let Err(rustup_words) = add_with_rustup(triple, progress) else {
        return Ok(Way::Rustup);
    };
    if !debian_is_complete()
        && let Err(apt_words) = install_with_apt(progress)
    {
        bail!(
            "nothing here compiles for {triple}: run `rustup target add {triple}` \
             (it said: {rustup_words}), or on Debian 12 `apt-get install {}` ({apt_words})",
            DEBIAN_PACKAGES.join(" ")
        );
    }
    progress("guests are built with Debian's second toolchain, its standard library from source");
    fs::write(memory, "debian\n").with_context(|| format!("cannot write {}", memory.display()))?;
    Ok(Way::Debian)
}

/// Whether the toolchain in use has the standard library of `triple`, whoever put it there.
fn rustup_has(triple: &str) -> bool {
    let Some(sysroot) = sysroot(OsStr::new("rustc")) else {
        return false;
    };
    let library = sysroot.join("lib/rustlib").join(triple).join("lib");
    fs::read_dir(library).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
        })
    })
}

fn add_with_rustup(triple: &str, progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    progress(&format!("asking rustup for {triple}"));
    run(Command::new("rustup").args(["target", "add", triple]))?;
    if rustup_has(triple) { Ok(()) } else { Err("it is not there afterwards".to_owned()) }
}

fn debian_is_complete() -> bool {
    let Some(sysroot) = sysroot(OsStr::new(DEBIAN_RUSTC)) else {
        return false;
    };
    sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
        && Path::new(DEBIAN_WASI_LIBC).join("libc.a").is_file()
}

fn install_with_apt(progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    if !id.is_ok_and(|output| output.stdout.trim_ascii() == b"0") {
        return Err("which only root may".to_owned());
    }
    progress("installing Debian's second toolchain with apt-get");
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "-y", "--no-install-recommends"]).args(DEBIAN_PACKAGES);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    if run(&mut install()).is_err() {
        run(Command::new("apt-get").arg("update"))?;
        run(&mut install())?;
    }
    if debian_is_complete() { Ok(()) } else { Err("it is not complete afterwards".to_owned()) }
}

/// Runs a command to its end, and gives its last words where it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = words.lines().rev().find(|line| !line.trim().is_empty());
    Err(last.unwrap_or("it failed without a word").trim().to_owned())
}

fn sysroot(rustc: &OsStr) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !path.trim().is_empty()).then(|| PathBuf::from(path.trim()))
}

/// `PATH` with the folder of rustup's own linkers in front, where there is one.
fn path_with_linkers() -> OsString {
    let path = variable("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Some(sysroot) = sysroot(OsStr::new("rustc")) {
        let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        folders.insert(0, sysroot.join("lib/rustlib").join(host).join("bin"));
    }
    std::env::join_paths(folders).unwrap_or(path)
}

fn forced() -> Result<Option<Way>> {
    match variable(OVERRIDE).as_deref().map(OsStr::to_string_lossy).as_deref() {
        None | Some("") => Ok(None),
        Some("rustup") => Ok(Some(Way::Rustup)),
        Some("debian") => Ok(Some(Way::Debian)),
        Some(other) => bail!("{OVERRIDE} is `{other}`; it may be `rustup` or `debian`"),
    }
}

#[allow(clippy::disallowed_methods, reason = "a build tool stands in the shell's environment")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
