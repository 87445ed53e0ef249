//! Templates of the manifest: `{setting.NAME}`, `{secret.SLOT}`, `{{` and `}}`. Parsed once at
//! admission, rendered when a channel is bound; nothing a guest says later is ever a template.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::secrets::Vault;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Setting(String),
    Secret(String),
}

/// What a rendering came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rendered {
    Text(Zeroizing<String>),
    /// A secret that it names is not there: an injection without it is left out.
    EmptySlot,
}

impl Template {
    /// Parses; the error is the end of a sentence that the caller begins.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if brace.starts_with("{{") || brace.starts_with("}}") {
                plain.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let end = brace.find('}').filter(|end| *end > 0 && brace.starts_with('{'));
            let Some(end) = end else {
                return Err(format!(
                    "has a lone brace in `{text}`; write `{{{{` or `}}}}` for one"
                ));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(placeholder(&brace[1..end])?);
            rest = &brace[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The secrets that it names.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Secret(slot) => Some(slot.as_str()),
            Part::Text(_) | Part::Setting(_) => None,
        })
    }

    /// Renders a template of settings alone.
    pub(super) fn render_settings(&self, settings: &Map<String, Value>) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Setting(name) => out.push_str(&setting_text(settings, name)?),
                Part::Secret(slot) => return Err(format!("may not name the secret `{slot}`")),
            }
        }
        Ok(out)
    }

    /// Renders settings and secrets.
    pub(super) fn render(
        &self,
        settings: &Map<String, Value>,
        vault: &Vault,
    ) -> Result<Rendered, String> {
        let mut out = Zeroizing::new(String::new());
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Setting(name) => out.push_str(&setting_text(settings, name)?),
                Part::Secret(slot) => match vault.injectable(slot) {
                    Some(value) => out.push_str(value),
                    None => return Ok(Rendered::EmptySlot),
                },
            }
        }
        Ok(Rendered::Text(out))
    }
}

fn placeholder(inner: &str) -> Result<Part, String> {
    let named = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    match inner.split_once('.') {
        Some(("setting", name)) if named(name) => Ok(Part::Setting(name.to_owned())),
        Some(("secret", name)) if named(name) => Ok(Part::Secret(name.to_owned())),
        _ => Err(format!(
            "has `{{{inner}}}`, which is neither `{{setting.NAME}}` nor `{{secret.SLOT}}`"
        )),
    }
}

fn setting_text(settings: &Map<String, Value>, name: &str) -> Result<String, String> {
    match settings.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Bool(value)) => Ok(value.to_string()),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => {
            Err(format!("needs setting `{name}` as text, number or true/false"))
        }
        None => Err(format!("needs setting `{name}`, which is not there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_of_plain_types_are_rendered_and_double_braces_are_braces() {
        let template = Template::parse("{{a}}/{setting.host}:{setting.port}/{setting.on}").unwrap();
        let settings = json!({ "host": "h{x}", "port": 80, "on": true });
        let rendered = template.render_settings(settings.as_object().unwrap());
        assert_eq!(rendered.as_deref(), Ok("{a}/h{x}:80/true"));
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_wrong_piece() {
        for bad in ["{", "}", "a{b", "{}", "{x.y}", "{setting.}", "{secret.a b}", "{setting.{x}}"] {
            let error = Template::parse(bad).unwrap_err();
            assert!(error.contains('`'), "{bad}: {error}");
        }
    }

    #[test]
    fn a_missing_or_structured_setting_is_named() {
        let settings = json!({ "list": [1] });
        for name in ["list", "none"] {
            let template = Template::parse(&format!("{{setting.{name}}}")).unwrap();
            let error = template.render_settings(settings.as_object().unwrap()).unwrap_err();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}
