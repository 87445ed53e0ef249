//! Guests that stand as text, because no compiler would make them: without a required export, with
//! a foreign import, with a start function that never ends.
//!
//! A file holds a core module, and names its world in its first line, as `;; world: NAME`. The
//! worlds stand in `worlds.wit` beside it and use the contract.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::catalogue::TEXT_FOLDER;
use crate::component;

/// Writes the component of the module in `text` to `to`, where it is not there already, and gives
/// its size.
pub(crate) fn write(
    repo_root: &Path,
    text: &Path,
    to: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<u64> {
    let worlds = repo_root.join(TEXT_FOLDER).join("worlds.wit");
    let contract = repo_root.join("wit");
    if let Some(size_bytes) = component::size_if_newer(to, &[text, &worlds, &contract])? {
        return Ok(size_bytes);
    }
    let bytes = encode(&contract, &worlds, text)
        .with_context(|| format!("{} makes no component", text.display()))?;
    component::replace(to, &bytes, progress)
}

fn encode(contract: &Path, worlds: &Path, text: &Path) -> Result<Vec<u8>> {
    let source = fs::read_to_string(text)?;
    let world = source
        .lines()
        .next()
        .and_then(|line| line.strip_prefix(";; world: "))
        .context("its first line is not `;; world: NAME`")?;
    let mut resolve = Resolve::default();
    resolve.push_dir(contract)?;
    let package = resolve.push_file(worlds)?;
    let world = resolve.select_world(&[package], Some(world.trim()))?;
    let mut module = wat::parse_str(&source)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    component::encode(&module)
}
