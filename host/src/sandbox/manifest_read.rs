//! From what `describe` said to a validated [`Manifest`]. Every fault is a sentence, all at once.

use super::bindings::exports::lastword::channel::adapter as wit;
use super::egress::RoutePath;
use super::manifest::{
    Credential, Effect, Idempotency, Injection, Limits, Manifest, Offers, Origin, Placement, Route,
    SecretEncoding, SecretSlot, SecretUses, Target, TextLimit, TextUnit,
};
use super::schema;
use super::template::Template;
use super::text::visible;

/// Targets, slots, routes of a target, patterns, credentials: more is no adapter's need.
const LIST_MAX: usize = 64;
/// Bytes of names of targets and slots.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of every other text but the schema.
const TEXT_BYTES_MAX: usize = 1_024;

/// Reads and checks; `offers` is what the component's exports are.
pub(super) fn read(said: wit::Manifest, offers: Offers) -> Result<Manifest, Vec<String>> {
    let mut faults = Faults::default();
    let settings_schema = schema::read(&said.settings_schema).unwrap_or_else(|error| {
        faults.add(format!("settings-schema {error}"));
        serde_json::Value::Null
    });
    let manifest = Manifest {
        name: said.name,
        version: said.version,
        summary: said.summary,
        targets: said.targets.into_iter().map(target).collect(),
        secrets: said.secrets.into_iter().map(secret).collect(),
        settings_schema,
        limits: limits(said.limits),
        idempotency: match said.idempotency {
            wit::Idempotency::None => Idempotency::None,
            wit::Idempotency::ForMs(ms) => Idempotency::ForMs(ms),
            wit::Idempotency::Always => Idempotency::Always,
        },
        offers,
    };
    faults.check_manifest(&manifest);
    if faults.0.is_empty() { Ok(manifest) } else { Err(faults.0) }
}

fn target(said: wit::Target) -> Target {
    let origin = match said.origin {
        wit::Origin::Fixed(text) => Origin::Fixed(text),
        wit::Origin::Matching(texts) => Origin::Matching(texts),
    };
    let routes = said.routes.into_iter().map(|route| Route {
        method: route.method,
        path: route.path,
        effect: match route.effect {
            wit::Effect::Read => Effect::Read,
            wit::Effect::Prepare => Effect::Prepare,
            wit::Effect::Send => Effect::Send,
        },
    });
    let inject = said.inject.into_iter().map(|injection| Injection {
        place: match injection.place {
            wit::Placement::Header(name) => Placement::Header(name),
            wit::Placement::Query(name) => Placement::Query(name),
            wit::Placement::FormField(name) => Placement::FormField(name),
            wit::Placement::PathPrefix => Placement::PathPrefix,
        },
        credential: match injection.credential {
            wit::Credential::Text(text) => Credential::Text(text),
            wit::Credential::Basic((user, password)) => Credential::Basic { user, password },
        },
    });
    Target { id: said.id, origin, routes: routes.collect(), inject: inject.collect() }
}

fn secret(said: wit::SecretSlot) -> SecretSlot {
    SecretSlot {
        name: said.name,
        purpose: said.purpose,
        required: said.required,
        encoding: match said.encoding {
            wit::SecretEncoding::Text => SecretEncoding::Text,
            wit::SecretEncoding::Hex => SecretEncoding::Hex,
            wit::SecretEncoding::Base64 => SecretEncoding::Base64,
        },
        prefix: said.prefix,
        uses: SecretUses {
            inject: said.uses.contains(wit::SecretUses::INJECT),
            sign: said.uses.contains(wit::SecretUses::SIGN),
            verify: said.uses.contains(wit::SecretUses::VERIFY),
            compare: said.uses.contains(wit::SecretUses::COMPARE),
        },
    }
}

fn limits(said: wit::Limits) -> Limits {
    let text = |limit: wit::TextLimit| TextLimit {
        most: limit.most,
        unit: match limit.unit {
            wit::TextUnit::Bytes => TextUnit::Bytes,
            wit::TextUnit::Utf16Units => TextUnit::Utf16Units,
            wit::TextUnit::Chars => TextUnit::Chars,
        },
    };
    Limits {
        text: said.text.map(text),
        caption: said.caption.map(text),
        files: said.files,
        file_bytes: said.file_bytes,
        conversation_interval_ms: said.conversation_interval_ms,
        channel_interval_ms: said.channel_interval_ms,
    }
}

/// What was found wrong, in order.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, sentence: String) {
        // A manifest of a million faults is told its first ones.
        if self.0.len() < 20 {
            self.0.push(format!("the manifest's {}", visible(&sentence, TEXT_BYTES_MAX)));
        }
    }

    fn check_manifest(&mut self, manifest: &Manifest) {
        let name = &manifest.name;
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !is_name(name, b"-") {
            self.add(format!("name `{name}` is not of the form [a-z][a-z0-9-]*"));
        }
        if manifest.version.len() > 64 || semver::Version::parse(&manifest.version).is_err() {
            self.add(format!("version `{}` is no semantic version", manifest.version));
        }
        self.text("summary", &manifest.summary);
        self.count("targets", manifest.targets.len());
        self.count("secrets", manifest.secrets.len());
        self.unique("target", manifest.targets.iter().map(|target| target.id.as_str()));
        self.unique("secret", manifest.secrets.iter().map(|slot| slot.name.as_str()));
        for target in &manifest.targets {
            self.check_target(target, manifest);
        }
        for slot in &manifest.secrets {
            self.text("secret's purpose", &slot.purpose);
            self.text("secret's prefix", slot.prefix.as_deref().unwrap_or_default());
        }
        for (what, limit) in [("text", manifest.limits.text), ("caption", manifest.limits.caption)]
        {
            // Below this no splitting keeps a code point, a fence and a word together.
            let least = if what == "text" { 16 } else { 0 };
            if limit.is_some_and(|limit| limit.most < least) {
                self.add(format!("limit of {what} is below {least}"));
            }
        }
    }

    fn check_target(&mut self, target: &Target, manifest: &Manifest) {
        let id = &target.id;
        self.count("routes of a target", target.routes.len());
        self.count("credentials of a target", target.inject.len());
        let origins = match &target.origin {
            Origin::Fixed(text) => std::slice::from_ref(text),
            Origin::Matching(texts) => texts,
        };
        self.count("origins of a target", origins.len());
        if origins.is_empty() {
            self.add(format!("target `{id}` names no origin"));
        }
        for origin in origins {
            self.template(id, "origin", origin, None);
        }
        for route in &target.routes {
            if !matches!(
                route.method.as_str(),
                "GET"
                    | "HEAD"
                    | "POST"
                    | "PUT"
                    | "PATCH"
                    | "DELETE"
                    | "OPTIONS"
                    | "PROPFIND"
                    | "REPORT"
                    | "SEARCH"
            ) {
                self.add(format!("target `{id}` has the method `{}`", route.method));
            }
            self.template(id, "route", &route.path, None);
            if let Err(error) = RoutePath::parse(&route.path) {
                self.add(format!("target `{id}`: the route `{}` {error}", route.path));
            }
        }
        for injection in &target.inject {
            self.check_injection(id, injection, manifest);
        }
    }

    fn check_injection(&mut self, id: &str, injection: &Injection, manifest: &Manifest) {
        match &injection.place {
            Placement::Header(name) => {
                let known = http::header::HeaderName::from_bytes(name.as_bytes());
                let framing = ["host", "content-length", "transfer-encoding", "connection"];
                if known.map_or(true, |name| framing.contains(&name.as_str())) {
                    self.add(format!("target `{id}` puts a credential into the header `{name}`"));
                }
            }
            Placement::Query(name) | Placement::FormField(name) => {
                self.text("credential's field", name);
                if name.is_empty() {
                    self.add(format!("target `{id}` puts a credential into a field without name"));
                }
            }
            Placement::PathPrefix => {}
        }
        match &injection.credential {
            Credential::Text(text) => self.template(id, "credential", text, Some(manifest)),
            Credential::Basic { user, password } => {
                self.template(id, "user", user, Some(manifest));
                self.template(id, "password", password, Some(manifest));
            }
        }
    }

    /// `manifest` is given where secrets may be named.
    fn template(&mut self, id: &str, what: &str, text: &str, manifest: Option<&Manifest>) {
        self.text(what, text);
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => return self.add(format!("target `{id}`: the {what} {error}")),
        };
        for slot in template.secrets() {
            let Some(manifest) = manifest else {
                self.add(format!("target `{id}`: the {what} may not name the secret `{slot}`"));
                continue;
            };
            match manifest.secrets.iter().find(|declared| declared.name == slot) {
                Some(declared) if declared.uses.inject => {}
                Some(_) => self.add(format!(
                    "target `{id}`: the {what} injects `{slot}`, whose slot does not declare that \
                     use"
                )),
                None => self.add(format!("target `{id}`: no slot `{slot}` is declared")),
            }
        }
    }

    fn text(&mut self, what: &str, text: &str) {
        if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            self.add(format!("{what} has control characters or over {TEXT_BYTES_MAX} bytes"));
        }
    }

    fn count(&mut self, what: &str, count: usize) {
        if count > LIST_MAX {
            self.add(format!("{what} are {count}; {LIST_MAX} is the most"));
        }
    }

    fn unique<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            if !is_name(name, b"-_") {
                self.add(format!("{what} `{name}` is not 1 to {NAME_BYTES_MAX} of [a-z0-9_-]"));
            }
            if !seen.insert(name) {
                self.add(format!("{what} `{name}` stands there twice"));
            }
        }
    }
}

fn is_name(name: &str, also: &[u8]) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || also.contains(&b);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}
