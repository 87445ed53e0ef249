//! From what the compiler left to the component that the host loads.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use wit_component::ComponentEncoder;

use crate::GuestTarget;

/// Writes the component of `module` to `to`, where it is not there already, and gives its size.
pub(crate) fn write(
    module: &Path,
    to: &Path,
    target: GuestTarget,
    progress: &mut dyn FnMut(&str),
) -> Result<u64> {
    if let Some(size_bytes) = size_if_newer(to, &[module])? {
        return Ok(size_bytes);
    }
    let bytes = fs::read(module).with_context(|| format!("cargo left no {}", module.display()))?;
    let component = match target {
        // Its linker makes components by itself.
        GuestTarget::Wasip2 => bytes,
        GuestTarget::Plain | GuestTarget::Handwritten => {
            encode(&bytes).with_context(|| format!("{} makes no component", module.display()))?
        }
    };
    replace(to, &component, progress)
}

/// Makes a component of a core module that carries its world in a section of its own.
pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default().validate(true).module(module)?.encode()
}

/// The size of `made`, where it is newer than everything that it is made `of`.
pub(crate) fn size_if_newer(made: &Path, of: &[&Path]) -> Result<Option<u64>> {
    let Ok(metadata) = fs::metadata(made) else {
        return Ok(None);
    };
    let made_at = metadata.modified()?;
    for source in of {
        let changed_at: SystemTime = fs::metadata(source)
            .and_then(|metadata| metadata.modified())
            .with_context(|| format!("cannot look at {}", source.display()))?;
        if changed_at >= made_at {
            return Ok(None);
        }
    }
    Ok(Some(metadata.len()))
}

/// Puts `component` in the place of `to` in one step: a host that watches the file never sees
/// half of it.
pub(crate) fn replace(to: &Path, component: &[u8], progress: &mut dyn FnMut(&str)) -> Result<u64> {
    let staged = to.with_extension(format!("wasm.{}", std::process::id()));
    fs::write(&staged, component)
        .and_then(|()| fs::rename(&staged, to))
        .with_context(|| format!("cannot write {}", to.display()))?;
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    progress(&format!("{name}: {} KiB", component.len().div_ceil(1024)));
    Ok(component.len() as u64)
}
