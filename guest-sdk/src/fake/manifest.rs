//! What a manifest must hold to, as far as it can be seen without an operator.

use std::collections::BTreeMap;

use super::route::{Piece, pieces};
use crate::adapter::{
    Credential, Manifest, Origin, SecretEncoding, SecretSlot, SecretUses, Target,
};
use crate::encoding::{from_base64, from_hex};

pub(super) fn slot<'a>(manifest: &'a Manifest, name: &str) -> Option<&'a SecretSlot> {
    manifest.secrets.iter().find(|slot| slot.name == name)
}

/// A secret as a key, from how the operator writes it.
pub(super) fn decode_secret(
    manifest: &Manifest,
    name: &str,
    written: &str,
) -> Result<Vec<u8>, String> {
    let Some(slot) = slot(manifest, name) else {
        return Err(format!("the manifest declares no secret `{name}`"));
    };
    let prefix = slot.prefix.as_deref().unwrap_or("");
    let bare = written.strip_prefix(prefix).unwrap_or(written);
    let key = match slot.encoding {
        SecretEncoding::Text => Some(bare.as_bytes().to_vec()),
        SecretEncoding::Hex => from_hex(bare),
        SecretEncoding::Base64 => from_base64(bare),
    };
    key.ok_or_else(|| format!("the secret `{name}` is not encoded as the manifest says"))
}

/// What the schema gives to settings that the operator leaves out, as the real host applies it: on
/// the first level.
pub(super) fn setting_defaults(manifest: &Manifest) -> BTreeMap<String, String> {
    let schema: serde_json::Value =
        serde_json::from_str(&manifest.settings_schema).unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .filter_map(|(name, property)| Some((name.clone(), property.get("default")?.to_string())))
        .collect()
}

pub(super) fn validate(manifest: &Manifest) -> Result<(), String> {
    let mut letters = manifest.name.chars();
    let is_named = letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !is_named {
        return Err(format!("the name `{}` is not `[a-z][a-z0-9-]*`", manifest.name));
    }
    let release = manifest.version.split(['-', '+']).next().unwrap_or("");
    let numbers: Vec<&str> = release.split('.').collect();
    if numbers.len() != 3 || numbers.iter().any(|number| number.parse::<u64>().is_err()) {
        return Err(format!("the version `{}` is no semantic version", manifest.version));
    }
    let schema: serde_json::Value = serde_json::from_str(&manifest.settings_schema)
        .map_err(|error| format!("the schema of the settings is no JSON: {error}"))?;
    if !schema.is_object() {
        return Err("the schema of the settings is no object".to_owned());
    }
    for (at, target) in manifest.targets.iter().enumerate() {
        if manifest.targets[..at].iter().any(|other| other.id == target.id) {
            return Err(format!("two targets are called `{}`", target.id));
        }
        validate_target(manifest, &schema, target)?;
    }
    Ok(())
}

fn validate_target(
    manifest: &Manifest,
    schema: &serde_json::Value,
    target: &Target,
) -> Result<(), String> {
    let mut of_settings: Vec<&str> =
        target.routes.iter().map(|route| route.path.as_str()).collect();
    match &target.origin {
        Origin::Fixed(origin) => of_settings.push(origin),
        Origin::Matching(origins) => of_settings.extend(origins.iter().map(String::as_str)),
    }
    for route in &target.routes {
        if route.method.is_empty() || route.method.chars().any(|c| !c.is_ascii_uppercase()) {
            return Err(format!("the method `{}` is not upper-case", route.method));
        }
        if !route.path.is_empty() && !route.path.starts_with(['/', '{']) {
            return Err(format!("the path `{}` begins with no slash", route.path));
        }
    }
    let mut of_both = Vec::new();
    for injection in &target.inject {
        match &injection.credential {
            Credential::Text(template) => of_both.push(template.as_str()),
            Credential::Basic((user, password)) => of_both.extend([user.as_str(), password]),
        }
    }
    for template in of_settings {
        validate_template(manifest, schema, template, Secrets::Refused)?;
    }
    for template in of_both {
        validate_template(manifest, schema, template, Secrets::Allowed)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Secrets {
    Allowed,
    Refused,
}

fn validate_template(
    manifest: &Manifest,
    schema: &serde_json::Value,
    template: &str,
    secrets: Secrets,
) -> Result<(), String> {
    for piece in pieces(template)? {
        match (piece, secrets) {
            (Piece::Text(_), _) => {}
            (Piece::Setting(name), _) => {
                if schema["properties"].get(name).is_none() {
                    return Err(format!("the schema has no setting `{name}` for `{template}`"));
                }
            }
            (Piece::Secret(_), Secrets::Refused) => {
                return Err(format!("`{template}` may hold no secret"));
            }
            (Piece::Secret(name), Secrets::Allowed) => {
                let slot = slot(manifest, name);
                if !slot.is_some_and(|slot| slot.uses.contains(SecretUses::INJECT)) {
                    return Err(format!("no secret `{name}` is declared to be injected"));
                }
            }
        }
    }
    Ok(())
}
