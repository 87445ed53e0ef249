//! The one way out, in a fixed order: target, method and path against manifest and grant; header
//! hygiene; scan of the guest's raw request for secrets; resolve; refuse every address that is
//! not public unless granted; dial only what was checked; put credentials in; follow no redirect;
//! cap bytes and time; take secrets out of the answer. The ledger is kept where bytes leave.
//!
//! It knows no engine: `imports` turns the contract's types into [`EgressRequest`] and back.

mod address;
mod answer;
mod audit;
mod body;
mod budget;
mod building;
mod connection;
mod dial;
mod fetch;
mod header;
mod intake;
mod origin;
mod path;
mod pool;
mod reply;
mod scan;
mod target;
mod wire;

#[cfg(test)]
pub(super) mod tests;

use crate::lifecycle::id::BlobId;

pub(super) use address::Reach;
#[cfg(test)]
pub(super) use dial::Resolve;
pub(super) use dial::{Dialer, SystemResolver};
pub(super) use fetch::{Egress, OneCall, Sends};
pub(super) use path::{RESERVED, RoutePath};
pub(super) use target::BoundTarget;
pub(super) use wire::Wire;

/// Whether an origin is at a private address by its own name alone; what a name resolves to is
/// judged when it is dialled.
#[must_use]
pub fn looks_private(origin: &str) -> bool {
    let Ok(origin::FixedOrigin { authority, .. }) = origin::FixedOrigin::parse(origin) else {
        return false;
    };
    let host = authority.host.as_str();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|ip| address::standing(ip) == address::Standing::Private)
}

/// What the guest asks, before anything is believed of it.
#[derive(Debug, Clone, Default)]
pub(super) struct EgressRequest {
    pub(super) target: String,
    pub(super) method: String,
    pub(super) address: Address,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Body>,
    /// Bounded by what is left of the call.
    pub(super) timeout_ms: Option<u32>,
}

/// Where in the target.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Path(Vec<String>),
    Url(String),
}

impl Default for Address {
    fn default() -> Self {
        Self::Path(Vec::new())
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Bytes(Vec<u8>),
    Form(Vec<(String, String)>),
    /// A file of the channel, by its id.
    Blob(String),
    Multipart(Vec<Part>),
}

impl Body {
    /// Its bytes apart from files, before anything is written around them: never more than it has
    /// on the wire.
    fn own_bytes(&self) -> u64 {
        let bytes = match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Form(fields) => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
            Self::Blob(_) => 0,
            Self::Multipart(parts) => parts.iter().map(Part::own_bytes).sum(),
        };
        bytes as u64
    }
}

impl Part {
    fn own_bytes(&self) -> usize {
        let word = |word: &Option<String>| word.as_ref().map_or(0, String::len);
        let content = match &self.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Blob(_) => 0,
        };
        self.name.len() + word(&self.file_name) + word(&self.media_type) + content
    }
}

/// One part of a multipart body.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) media_type: Option<String>,
    pub(super) content: Content,
}

/// What a part holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    /// A file of the channel, by its id.
    Blob(String),
}

/// What the guest sees of an answer whose body became a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EgressSaved {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// Where the status is 2xx.
    pub(super) blob: Option<BlobId>,
    pub(super) size_bytes: u64,
}

/// What the guest sees of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EgressAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer; `http.error` of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EgressError {
    Denied(String),
    NotSent(String),
    RequestTooLarge(String),
    Unanswered(String),
    AnswerTooLarge(u16),
}
