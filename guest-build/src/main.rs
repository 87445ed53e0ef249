//! `cargo run -p guest-build -- [NAME...]`: builds the named guests, or all of them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

use std::path::Path;
use std::process::ExitCode;

use guest_build::{GuestSet, build};

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let set = if names.is_empty() { GuestSet::All } else { GuestSet::Named(names) };
    let Some(repo_root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else {
        return ExitCode::FAILURE;
    };
    match build(repo_root, &set, &mut |line| eprintln!("{line}")) {
        Ok(built) => {
            for guest in built {
                println!("{}", guest.component.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
