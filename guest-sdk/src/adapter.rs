//! The manifest: what an adapter asks for and can do, built field by field.
//!
//! ```
//! use lastword_sdk::prelude::*;
//!
//! let manifest = Manifest::new("chat", "1.2.0", "Talks to a chat server.")
//!     .target(
//!         Target::fixed("api", "{setting.server}")
//!             .get("/me", Effect::Read)
//!             .post("/rooms/*/messages", Effect::Send)
//!             .inject_header("authorization", "Bearer {secret.token}"),
//!     )
//!     .secret(SecretSlot::required("token", "signs in to the server").injected())
//!     .settings(json!({
//!         "type": "object",
//!         "properties": { "server": { "type": "string" } },
//!         "required": ["server"],
//!     }))
//!     .text_limit(4_096, TextUnit::Utf16Units);
//! # let _ = manifest;
//! ```

pub use crate::bindings::channel::exports::lastword::channel::adapter::{
    Credential, Effect, Idempotency, Injection, Limits, Manifest, Origin, Placement, Problem,
    Route, SecretEncoding, SecretSlot, SecretUses, Target, TextLimit, TextUnit,
};
pub use crate::bindings::channel::lastword::channel::types::RateScope;

impl Manifest {
    /// An adapter that asks for nothing: no targets, no secrets, no settings, no limits, and a
    /// platform that drops no repeated message.
    pub fn new(name: &str, version: &str, summary: &str) -> Manifest {
        Manifest {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            targets: Vec::new(),
            secrets: Vec::new(),
            settings_schema: r#"{"type":"object","properties":{}}"#.to_owned(),
            limits: Limits {
                text: None,
                caption: None,
                files: 0,
                file_bytes: None,
                conversation_interval_ms: None,
                channel_interval_ms: None,
            },
            idempotency: Idempotency::None,
        }
    }

    /// Adds a place to talk to.
    #[must_use]
    pub fn target(mut self, target: Target) -> Manifest {
        self.targets.push(target);
        self
    }

    /// Adds a secret.
    #[must_use]
    pub fn secret(mut self, slot: SecretSlot) -> Manifest {
        self.secrets.push(slot);
        self
    }

    /// The JSON Schema (2020-12) of the settings: an object.
    #[must_use]
    pub fn settings(mut self, schema: serde_json::Value) -> Manifest {
        self.settings_schema = schema.to_string();
        self
    }

    /// The longest text that fits into one message.
    #[must_use]
    pub fn text_limit(mut self, most: u32, unit: TextUnit) -> Manifest {
        self.limits.text = Some(TextLimit { most, unit });
        self
    }

    /// The platform drops a repeated delivery id for this many milliseconds.
    #[must_use]
    pub fn idempotent_for_ms(mut self, window_ms: u64) -> Manifest {
        self.idempotency = Idempotency::ForMs(window_ms);
        self
    }
}

impl Target {
    /// A place with one origin, a template of settings.
    pub fn fixed(id: &str, origin: &str) -> Target {
        Target {
            id: id.to_owned(),
            origin: Origin::Fixed(origin.to_owned()),
            routes: Vec::new(),
            inject: Vec::new(),
        }
    }

    /// Allows `GET` on a path.
    #[must_use]
    pub fn get(self, path: &str, effect: Effect) -> Target {
        self.route("GET", path, effect)
    }

    /// Allows `POST` on a path.
    #[must_use]
    pub fn post(self, path: &str, effect: Effect) -> Target {
        self.route("POST", path, effect)
    }

    /// Allows `PUT` on a path.
    #[must_use]
    pub fn put(self, path: &str, effect: Effect) -> Target {
        self.route("PUT", path, effect)
    }

    /// Allows a method on a path: `*` is one segment, a last `**` any rest.
    #[must_use]
    pub fn route(mut self, method: &str, path: &str, effect: Effect) -> Target {
        self.routes.push(Route { method: method.to_owned(), path: path.to_owned(), effect });
        self
    }

    /// Lets the host add a header, from a template of settings and secrets.
    #[must_use]
    pub fn inject_header(self, name: &str, template: &str) -> Target {
        self.inject(Placement::Header(name.to_owned()), template)
    }

    /// Lets the host put a path in front of every route, as `/bot{secret.token}`, from a template of
    /// settings and secrets.
    #[must_use]
    pub fn inject_path_prefix(self, template: &str) -> Target {
        self.inject(Placement::PathPrefix, template)
    }

    /// Lets the host add a field to every body that is a form, from a template of settings and
    /// secrets.
    #[must_use]
    pub fn inject_form_field(self, name: &str, template: &str) -> Target {
        self.inject(Placement::FormField(name.to_owned()), template)
    }

    fn inject(mut self, place: Placement, template: &str) -> Target {
        let credential = Credential::Text(template.to_owned());
        self.inject.push(Injection { place, credential });
        self
    }
}

impl SecretSlot {
    /// A secret without which the channel does not start.
    pub fn required(name: &str, purpose: &str) -> SecretSlot {
        SecretSlot {
            name: name.to_owned(),
            purpose: purpose.to_owned(),
            required: true,
            encoding: SecretEncoding::Text,
            prefix: None,
            uses: SecretUses::empty(),
        }
    }

    /// A secret that may be left out.
    pub fn optional(name: &str, purpose: &str) -> SecretSlot {
        SecretSlot { required: false, ..SecretSlot::required(name, purpose) }
    }

    /// The operator writes it in base64, behind a prefix, as in `whsec_...`.
    #[must_use]
    pub fn base64_after(mut self, prefix: &str) -> SecretSlot {
        self.encoding = SecretEncoding::Base64;
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// The operator writes it in hexadecimal.
    #[must_use]
    pub fn hex(mut self) -> SecretSlot {
        self.encoding = SecretEncoding::Hex;
        self
    }

    /// The host writes it into requests.
    #[must_use]
    pub fn injected(mut self) -> SecretSlot {
        self.uses |= SecretUses::INJECT;
        self
    }

    /// [`crate::secrets::sign`] may use it.
    #[must_use]
    pub fn signs(mut self) -> SecretSlot {
        self.uses |= SecretUses::SIGN;
        self
    }

    /// [`crate::secrets::verify`] may use it.
    #[must_use]
    pub fn verifies(mut self) -> SecretSlot {
        self.uses |= SecretUses::VERIFY;
        self
    }

    /// [`crate::secrets::equals`] may use it.
    #[must_use]
    pub fn compares(mut self) -> SecretSlot {
        self.uses |= SecretUses::COMPARE;
        self
    }
}

impl Problem {
    /// What is wrong with a setting, in a sentence.
    pub fn new(setting: impl Into<String>, sentence: impl Into<String>) -> Problem {
        Problem { setting: setting.into(), sentence: sentence.into() }
    }
}

impl From<crate::settings::SettingError> for Problem {
    fn from(error: crate::settings::SettingError) -> Problem {
        Problem::new(error.setting, error.sentence)
    }
}
