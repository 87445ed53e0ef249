//! `adapter inspect`: what a component is and what it asks for.

use std::path::Path;

use serde_json::Value;

use super::output::{Exit, Failure, Form, Output};
use crate::runtime;

pub(super) fn inspect(file: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    is_there(file)?;
    super::wait_for(async |env| {
        let admitted = runtime::inspect(file, &env).await?;
        match output.form {
            Form::Json => output.json(&admitted),
            Form::Human => show(&admitted, output),
        }
    })
}

/// The line that a publisher signs with, for `minisign -t`.
pub(super) fn signing(file: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    is_there(file)?;
    super::wait_for(async |env| {
        let line = runtime::signing(file, &env).await?;
        output.line(&line)
    })
}

fn is_there(file: &Path) -> Result<(), Failure> {
    if file.exists() {
        return Ok(());
    }
    let sentence = format!("there is no component at {}", file.display());
    Err(Failure::new(Exit::Nothing, sentence))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn words(value: &Value, pointer: &str) -> Option<String> {
    let words: Vec<&str> = items(value, pointer).filter_map(Value::as_str).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn show(admitted: &Value, output: &mut Output<'_>) -> Result<(), Failure> {
    let (name, version) = (text(admitted, "/manifest/name"), text(admitted, "/manifest/version"));
    let size = admitted.pointer("/size_bytes").map(|bytes| format!("{bytes} bytes"));
    output.facts(&[
        ("adapter", Some(format!("{name} {version}"))),
        ("summary", Some(text(admitted, "/manifest/summary").to_owned())),
        ("digest", Some(text(admitted, "/digest").to_owned())),
        ("size", size),
        ("exports", words(admitted, "/exports")),
        ("imports", words(admitted, "/imports")),
        ("ignored", words(admitted, "/ignored_exports")),
    ])?;
    for note in items(admitted, "/notes").filter_map(Value::as_str) {
        output.line(&format!("note: {note}"))?;
    }
    output.line("")?;
    output.line("Where it is granted")?;
    for ask in items(admitted, "/asks") {
        output.line(&format!("  {}", text(ask, "/words")))?;
    }
    output.line("")?;
    for secret in items(admitted, "/manifest/secrets") {
        let required = secret.pointer("/required").and_then(Value::as_bool) == Some(true);
        let need = if required { "required" } else { "optional" };
        let (name, purpose) = (text(secret, "/name"), text(secret, "/purpose"));
        output.line(&format!("secret {name} ({need}): {purpose}"))?;
    }
    let schema = admitted.pointer("/manifest/settings_schema").unwrap_or(&Value::Null);
    let required: Vec<&str> = items(schema, "/required").filter_map(Value::as_str).collect();
    let settings = schema.pointer("/properties").and_then(Value::as_object);
    for (name, setting) in settings.into_iter().flatten() {
        let need = if required.contains(&name.as_str()) { "required" } else { "optional" };
        output.line(&format!("setting {name} ({need}): {}", text(setting, "/description")))?;
    }
    output.line("")?;
    output.line(
        "It reaches nothing else, and sees no secret. `lastword adapter grant CHANNEL` grants it.",
    )
}
