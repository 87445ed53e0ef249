//! `adapter inspect`: what a component is and what it asks for, found out as at admission, without
//! a config and without a host.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::output::{Exit, Failure, Form, Output};
use crate::sandbox::{Admitted, Credential, Engine, EngineConfig, Origin, Refusal};

pub(super) fn inspect(file: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let config = EngineConfig::default();
    let bytes = read(file, config.component_bytes_max)?;
    super::wait_for(async |env| {
        let refused = |refusal: Refusal| {
            let sentence = format!("the component {} is refused: {refusal}", file.display());
            Failure::new(Exit::Failed, sentence)
        };
        let engine = Engine::new(env, config).map_err(refused)?;
        let adapter = engine.admit(bytes).await.map_err(refused)?;
        match output.form {
            Form::Json => output.json(adapter.admitted()),
            Form::Human => show(adapter.admitted(), output),
        }
    })
}

/// One byte more than the engine takes, so that it is the engine that says no.
fn read(file: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::Nothing,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("the component {} cannot be read: {error}", file.display()))
    };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    opened.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn show(admitted: &Admitted, output: &mut Output<'_>) -> Result<(), Failure> {
    let manifest = &admitted.manifest;
    output.facts(&[
        ("adapter", Some(format!("{} {}", manifest.name, manifest.version))),
        ("summary", Some(manifest.summary.clone())),
        ("digest", Some(admitted.digest.clone())),
        ("size", Some(format!("{} bytes", admitted.size_bytes))),
        ("exports", Some(admitted.exports.join(" "))),
        ("imports", Some(admitted.imports.join(" "))),
        ("ignored", Some(admitted.ignored_exports.join(" ")).filter(|names| !names.is_empty())),
    ])?;
    for note in &admitted.notes {
        output.facts(&[("note", Some(note.clone()))])?;
    }
    for target in &manifest.targets {
        output.line("")?;
        output.line(&format!("target {}", target.id))?;
        let origins = match &target.origin {
            Origin::Fixed(origin) => vec![origin.clone()],
            Origin::Matching(origins) => origins.clone(),
        };
        for origin in origins {
            output.line(&format!("  at {origin}"))?;
        }
        for route in &target.routes {
            let effect = format!("{:?}", route.effect).to_lowercase();
            output.line(&format!("  {} {} ({effect})", route.method, route.path))?;
        }
        for injection in &target.inject {
            let credential = match &injection.credential {
                Credential::Text(template) => template.clone(),
                Credential::Basic { user, password } => format!("Basic of {user} and {password}"),
            };
            output.line(&format!("  the host adds {credential}"))?;
        }
    }
    for secret in &manifest.secrets {
        let need = if secret.required { "required" } else { "optional" };
        output.line("")?;
        output.line(&format!("secret {} ({need}): {}", secret.name, secret.purpose))?;
    }
    Ok(())
}
