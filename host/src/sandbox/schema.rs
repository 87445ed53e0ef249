//! The JSON Schema of an adapter's settings: read at admission, where it is a stranger's text, and
//! applied when a channel is bound. It knows no manifest.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

/// Bytes of a schema's text.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Nodes of a schema with every reference followed: a bound on the work that a validation may
/// take, so that references cannot multiply each other.
const NODES_MAX: u64 = 10_000;

/// Reads a schema; the error is the end of a sentence that begins with "settings-schema".
pub(super) fn read(text: &str) -> Result<Value, String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("has {} bytes; {SCHEMA_BYTES_MAX} is the most", text.len()));
    }
    let schema: Value = serde_json::from_str(text).map_err(|e| format!("is no JSON: {e}"))?;
    if !schema.is_object() {
        return Err("is no JSON object".to_owned());
    }
    let nodes = size(&schema, &schema, &mut Vec::new())?;
    if nodes > NODES_MAX {
        return Err(format!("has over {NODES_MAX} nodes when its references are followed"));
    }
    compile(&schema)?;
    Ok(schema)
}

/// Holds settings against a schema that was read; one sentence per fault, with the path.
pub(super) fn check(schema: &Value, settings: &Map<String, Value>) -> Result<(), Vec<String>> {
    let validator = compile(schema).map_err(|error| vec![format!("settings-schema {error}")])?;
    let settings = Value::Object(settings.clone());
    let faults: Vec<_> = validator
        .iter_errors(&settings)
        .take(20)
        .map(|fault| {
            let path = fault.instance_path().to_string().replace('/', ".");
            let path = path.trim_start_matches('.');
            let place =
                if path.is_empty() { "settings".to_owned() } else { format!("settings.{path}") };
            // The value itself is left out: somebody may have put a secret there by mistake.
            let meant = meant(schema, &fault);
            format!("{place}: {}{meant}", fault.masked_with("the value"))
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The names that may have been meant by unknown ones of the first level.
fn meant(schema: &Value, fault: &ValidationError<'_>) -> String {
    let ValidationErrorKind::AdditionalProperties { unexpected } = fault.kind() else {
        return String::new();
    };
    let known = schema.get("properties").and_then(Value::as_object);
    let known = known.filter(|_| fault.instance_path().as_str().is_empty());
    let near = |word: &String| {
        // The distance costs the product of the lengths.
        let word: String = word.chars().take(64).collect();
        let names = known.into_iter().flat_map(|known| known.keys());
        let near = names.map(|name| (strsim::osa_distance(&word, name), name));
        let near = near.filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1));
        near.min().map(|(_, name)| format!("; did you mean '{name}'?"))
    };
    unexpected.iter().filter_map(near).collect()
}

/// The settings with the defaults that the schema gives to missing ones of the first level.
pub(super) fn with_defaults(schema: &Value, settings: &Map<String, Value>) -> Map<String, Value> {
    let mut all = settings.clone();
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, property) in properties {
            if let Some(default) = property.get("default") {
                all.entry(name.clone()).or_insert_with(|| default.clone());
            }
        }
    }
    all
}

fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        // Linear in the text, whatever the pattern.
        .with_pattern_options(PatternOptions::regex().size_limit(1 << 20))
        .offline()
        .build(schema)
        .map_err(|error| format!("is no JSON Schema (2020-12): {error}"))
}

/// Counts nodes with references followed. Only `#/$defs/NAME` is followed; a circle is refused.
fn size(node: &Value, root: &Value, open: &mut Vec<String>) -> Result<u64, String> {
    match node {
        Value::Object(members) => {
            let mut nodes = 1;
            for (key, value) in members {
                nodes += match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => reference(target, root, open)?,
                    (
                        "$dynamicRef" | "$recursiveRef" | "$id" | "$anchor" | "$dynamicAnchor",
                        Value::String(_),
                    ) => {
                        return Err(format!("uses `{key}`, which settings have no need of"));
                    }
                    // Definitions count where they are used.
                    ("$defs", _) if std::ptr::eq(node, root) => 0,
                    _ => size(value, root, open)?,
                };
                if nodes > NODES_MAX {
                    break;
                }
            }
            Ok(nodes)
        }
        Value::Array(items) => {
            let mut nodes = 1;
            for item in items {
                nodes += size(item, root, open)?;
                if nodes > NODES_MAX {
                    break;
                }
            }
            Ok(nodes)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(1),
    }
}

fn reference(target: &str, root: &Value, open: &mut Vec<String>) -> Result<u64, String> {
    let name = target.strip_prefix("#/$defs/").filter(|name| !name.contains(['/', '%', '~']));
    let name =
        name.ok_or_else(|| format!("refers to `{target}`; only `#/$defs/NAME` is followed"))?;
    if open.iter().any(|other| other == name) {
        return Err(format!("refers to `{name}` in a circle"));
    }
    let definition = root.get("$defs").and_then(|defs| defs.get(name));
    let definition = definition.ok_or_else(|| format!("refers to `{name}`, which is not there"))?;
    open.push(name.to_owned());
    let nodes = size(definition, root, open)?;
    open.pop();
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_refused_with_the_path_and_without_the_value() {
        let schema = json!({
            "type": "object", "required": ["url"], "additionalProperties": false,
            "properties": {
                "url": { "type": "string", "pattern": "^https://" },
                "n": { "type": "integer" },
            },
        });
        let schema = read(&schema.to_string()).unwrap();
        let check = |settings: Value| check(&schema, settings.as_object().unwrap());
        assert_eq!(check(json!({ "url": "https://x" })), Ok(()));
        let faults = check(json!({ "n": "s3cret-by-mistake" })).unwrap_err().join("\n");
        assert!(faults.contains("settings.n: ") && faults.contains("url"), "{faults}");
        assert!(!faults.contains("s3cret"), "{faults}");
        let fault = check(json!({ "url": "https://x", "ulr": 1 })).unwrap_err().remove(0);
        assert!(fault.contains("ulr") && fault.contains("did you mean 'url'?"), "{fault}");
        let fault = check(json!({ "url": "https://x", "weather": 1 })).unwrap_err().remove(0);
        assert!(!fault.contains("did you mean"), "{fault}");
    }

    #[test]
    fn a_schema_that_would_run_for_ever_or_reach_out_is_refused() {
        let double = |n: usize| {
            let once = json!({ "$ref": format!("#/$defs/d{n}") });
            json!({ "allOf": [once, once] })
        };
        let circle = json!({ "$ref": "#/$defs/a" });
        let mut bomb = json!({ "$defs": {}, "$ref": "#/$defs/d0" });
        for n in 0..30 {
            bomb["$defs"][format!("d{n}")] = double(n + 1);
        }
        bomb["$defs"]["d30"] = json!({ "type": "object" });
        for (schema, word) in [
            (json!({ "$ref": "#" }), "only"),
            (json!({ "$ref": "https://example.com/schema" }), "only"),
            (json!({ "$ref": "#/$defs/a", "$defs": { "a": { "not": circle } } }), "circle"),
            (json!({ "$ref": "#/$defs/none" }), "not there"),
            (json!({ "$id": "https://example.com/x" }), "$id"),
            (json!({ "$dynamicRef": "#x" }), "$dynamicRef"),
            (json!({ "type": "no-such-type" }), "JSON Schema"),
            (json!({ "pattern": "(" }), "JSON Schema"),
            (json!([]), "object"),
            (bomb, "nodes"),
        ] {
            let error = read(&schema.to_string()).unwrap_err();
            assert!(error.contains(word), "{schema}: {error}");
        }
        assert!(read("{").is_err() && read(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn a_missing_setting_gets_the_schemas_default() {
        let schema =
            json!({ "properties": { "a": { "default": 1 }, "b": { "default": 2 }, "c": {} } });
        let settings = with_defaults(&schema, json!({ "b": 3 }).as_object().unwrap());
        assert_eq!(Value::Object(settings), json!({ "a": 1, "b": 3 }));
    }
}
