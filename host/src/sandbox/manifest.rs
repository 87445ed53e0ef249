//! What an adapter says of itself, as plain data: what the operator sees, what the lock file
//! keeps, and what egress and splitting are judged by. `manifest_read` makes it from the guest's
//! answer and checks it; it knows no engine.

use serde::{Deserialize, Serialize};

/// A validated manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `[a-z][a-z0-9-]*`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    pub summary: String,
    pub targets: Vec<Target>,
    pub secrets: Vec<SecretSlot>,
    /// JSON Schema (2020-12) of the settings.
    pub settings_schema: serde_json::Value,
    pub limits: Limits,
    pub idempotency: Idempotency,
    /// Which optional interfaces the component exports.
    pub offers: Offers,
}

/// The optional exports, found by looking at the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Offers {
    pub progress: bool,
    pub reconcile: bool,
    pub webhook: bool,
    pub poll: bool,
    #[serde(default)]
    pub files: bool,
}

/// A place that the adapter asks to talk to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub id: String,
    pub origin: Origin,
    pub routes: Vec<Route>,
    pub inject: Vec<Injection>,
}

/// Templates of where the target is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Fixed(String),
    Matching(Vec<String>),
}

/// What may be asked there, and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub method: String,
    pub path: String,
    pub effect: Effect,
}

/// By which a call whose answer was lost is judged. In order of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Read,
    Prepare,
    Send,
}

/// A credential that the host writes into the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injection {
    pub place: Placement,
    pub credential: Credential,
}

/// Where the credential goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    Header(String),
    Query(String),
    FormField(String),
    PathPrefix,
}

/// Templates of settings and secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    Text(String),
    Basic { user: String, password: String },
}

/// A secret that the operator supplies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSlot {
    pub name: String,
    pub purpose: String,
    pub required: bool,
    pub encoding: SecretEncoding,
    pub prefix: Option<String>,
    pub uses: SecretUses,
}

/// How the operator writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretEncoding {
    Text,
    Hex,
    Base64,
}

/// What may be done with it; everything else answers as an empty slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SecretUses {
    pub inject: bool,
    pub sign: bool,
    pub verify: bool,
    pub compare: bool,
}

/// What a text's length is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextUnit {
    Bytes,
    Utf16Units,
    Chars,
}

/// The longest text of one platform message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextLimit {
    pub most: u32,
    pub unit: TextUnit,
}

/// What fits into one platform message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    pub text: Option<TextLimit>,
    pub caption: Option<TextLimit>,
    pub files: u32,
    pub file_bytes: Option<u64>,
    pub conversation_interval_ms: Option<u32>,
    pub channel_interval_ms: Option<u32>,
}

/// Whether the platform drops a repeated `delivery-id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotency {
    #[default]
    None,
    /// For this long from the first attempt's start.
    ForMs(u64),
    Always,
}

impl Manifest {
    /// Whether any route shows a message. If none does, the adapter is taken at its word about
    /// what was sent, and the host says so at admission.
    #[must_use]
    pub fn declares_send(&self) -> bool {
        self.targets.iter().flat_map(|target| &target.routes).any(|r| r.effect == Effect::Send)
    }
}
