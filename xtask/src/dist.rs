//! `cargo xtask dist`: what is handed out.

use std::path::Path;

use anyhow::{Context as _, Result};
use guest_build::{GuestSet, GuestTarget};

use crate::artifacts::{self, Profile};

/// Leaves `dist/lastword` and `dist/adapters/*.wasm`, and nothing of an earlier time.
pub(crate) fn run() -> Result<()> {
    let guests = artifacts::guests(&GuestSet::Adapters)?;
    let binary = artifacts::host(Profile::Release)?;
    let dist = artifacts::repository().join("dist");
    if dist.exists() {
        std::fs::remove_dir_all(&dist)
            .with_context(|| format!("cannot empty {}", dist.display()))?;
    }
    let adapters = dist.join("adapters");
    std::fs::create_dir_all(&adapters)
        .with_context(|| format!("cannot make {}", adapters.display()))?;
    copy(&binary, &dist.join("lastword"))?;
    // Without WASI, where there is a choice: the smaller one with fewer imports.
    for guest in guests.iter().filter(|guest| guest.target != GuestTarget::Wasip2) {
        copy(&guest.component, &adapters.join(format!("{}.wasm", guest.name)))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    println!("{} ({bytes} bytes)", to.display());
    Ok(())
}
