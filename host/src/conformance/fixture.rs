//! What an author says of the platform: settings and secrets for the test, what is asked along the
//! way and how it is answered, what is pushed and what is polled. One TOML file, read whole. Unknown
//! keys are errors, and so is a rule that nobody can test for want of a recording.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::ConformanceError;
use crate::lifecycle::id::DeliveryId;

/// A fixture is written by a person.
const FIXTURE_BYTES_MAX: u64 = 8 << 20;

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fixture {
    pub(super) channel: ChannelFixture,
    /// What is asked beside the messages themselves; the first that fits answers.
    #[serde(default, rename = "exchange")]
    pub(super) exchanges: Vec<Exchange>,
    pub(super) send: SendFixture,
    #[serde(default, rename = "webhook")]
    pub(super) webhooks: Vec<WebhookFixture>,
    #[serde(default, rename = "poll")]
    pub(super) polls: Vec<PollFixture>,
    #[serde(default, rename = "reconcile")]
    pub(super) lookups: Vec<LookupFixture>,
    #[serde(default, rename = "file")]
    pub(super) files: Vec<FileFixture>,
    /// How the platform shows the bot its own messages.
    pub(super) own_messages: OwnMessages,
}

/// Whether a bot hears itself on this platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OwnMessages {
    /// It does: a `webhook` or a `poll` is marked `own = true`.
    Recorded,
    /// The platform never delivers them.
    NeverDelivered,
}

/// One channel of the adapter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelFixture {
    #[serde(default)]
    pub(super) settings: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) public_url: Option<String>,
    /// What the clock says throughout, in milliseconds since 1970.
    #[serde(default = "default_now_ms")]
    pub(super) now_ms: u64,
}

/// 2026-01-01T00:00:00Z.
fn default_now_ms() -> u64 {
    1_767_225_600_000
}

/// An answer of the platform.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: String,
}

/// Declares a table that has an answer's keys among its own: one that is flattened into another
/// could not refuse unknown keys.
macro_rules! answering {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $(pub(super) $field: $kind,)*
            status: u16,
            #[serde(default)]
            headers: BTreeMap<String, String>,
            #[serde(default)]
            body: String,
        }

        impl $name {
            pub(super) fn answer(&self) -> Answer {
                let Self { status, headers, body, .. } = self.clone();
                Answer { status, headers, body }
            }
        }
    };
}

answering! {
    /// A request along the way, and its answer.
    Exchange { request: RequestPattern }
}
answering! {
    /// The platform asks to wait.
    RateLimited { retry_after_ms: u32 }
}
answering! {
    /// What else the platform says, by a name of the author's own.
    OtherOutcome { name: String, outcome: OutcomeWord }
}

/// `METHOD PATH`: in the path `*` is any text without a slash and `**` any text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct RequestPattern {
    method: String,
    path: String,
}

impl TryFrom<String> for RequestPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(' ') {
            Some((method, path)) if path.starts_with('/') && !method.is_empty() => {
                Ok(Self { method: method.to_owned(), path: path.to_owned() })
            }
            Some(_) | None => {
                Err(format!("`{text}` is no request; write it as `POST /path/of/it`"))
            }
        }
    }
}

impl Exchange {
    /// The same, told of one message: `{delivery_id}` in the body is its id.
    pub(super) fn about(&self, delivery: DeliveryId) -> Self {
        let body = self.body.replace("{delivery_id}", &delivery.to_string());
        Self { body, ..self.clone() }
    }
}

impl RequestPattern {
    pub(super) fn fits(&self, method: &str, path: &str) -> bool {
        self.method == method && glob(self.path.as_bytes(), path.as_bytes())
    }
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return text.is_empty();
    };
    if *first != b'*' {
        return text.split_first().is_some_and(|(byte, more)| byte == first && glob(rest, more));
    }
    let (rest, over_slashes) = match rest.strip_prefix(b"*") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let reach = if over_slashes {
        text.len()
    } else {
        text.iter().position(|byte| *byte == b'/').unwrap_or(text.len())
    };
    (0..=reach).any(|at| glob(rest, &text[at..]))
}

/// How a message is sent, and what the platform may say to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendFixture {
    pub(super) conversation: String,
    pub(super) context: Option<String>,
    pub(super) reply_to: Option<String>,
    /// The request that makes the message appear. Left out by an adapter that declares no route
    /// with the effect `send`, together with what the platform may say to it.
    pub(super) request: Option<RequestPattern>,
    /// What the receipt names; `{delivery_id}` stands for the delivery's own id.
    pub(super) platform_id: String,
    pub(super) delivered: Option<Answer>,
    pub(super) rate_limited: Option<RateLimited>,
    pub(super) unauthorized: Option<Answer>,
    pub(super) rejected: Option<Answer>,
    /// What else this platform says, by a name of the author's own.
    #[serde(default)]
    pub(super) other: Vec<OtherOutcome>,
}

/// What an adapter says of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutcomeWord {
    Delivered,
    Transient,
    RateLimited,
    Offline,
    Closed,
    Moved,
    Rejected,
    Unauthorized,
    Unknown,
}

/// A request that the platform pushes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookFixture {
    pub(super) name: String,
    #[serde(default = "default_method")]
    pub(super) method: String,
    #[serde(default)]
    pub(super) path: String,
    #[serde(default)]
    pub(super) query: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: String,
    /// Headers that prove where it comes from.
    #[serde(default)]
    pub(super) proof: Vec<String>,
    /// Anybody may push it: said aloud, since a webhook without a proof is open to all.
    #[serde(default)]
    pub(super) unproven: bool,
    /// Whether the proof covers the body too.
    #[serde(default)]
    pub(super) body_is_signed: bool,
    /// Whether it tells of a message of the bot itself.
    #[serde(default)]
    pub(super) own: bool,
    #[serde(default = "default_status")]
    pub(super) status: u16,
    /// What comes of it, each with the fields that are compared.
    #[serde(default)]
    pub(super) events: Vec<serde_json::Value>,
}

fn default_method() -> String {
    "POST".to_owned()
}

fn default_status() -> u16 {
    200
}

/// One poll.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PollFixture {
    pub(super) name: String,
    /// Where it goes on; none for the very first.
    pub(super) cursor: Option<String>,
    /// What is asked in it, before the exchanges of all.
    #[serde(default, rename = "exchange")]
    pub(super) exchanges: Vec<Exchange>,
    /// Where the next one goes on.
    pub(super) cursor_after: String,
    #[serde(default)]
    pub(super) own: bool,
    #[serde(default)]
    pub(super) events: Vec<serde_json::Value>,
}

/// A message of unknown outcome, asked about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookupFixture {
    pub(super) name: String,
    #[serde(default, rename = "exchange")]
    pub(super) exchanges: Vec<Exchange>,
    pub(super) expect: LookupWord,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LookupWord {
    Found,
    Absent,
    Undecided,
}

/// A file at the platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileFixture {
    pub(super) name: String,
    /// What the adapter called it in an attachment.
    pub(super) reference: String,
    #[serde(default = "default_media_type")]
    pub(super) media_type: String,
    #[serde(default, rename = "exchange")]
    pub(super) exchanges: Vec<Exchange>,
    /// What it holds.
    pub(super) content: String,
}

fn default_media_type() -> String {
    "application/octet-stream".to_owned()
}

impl SendFixture {
    /// What is missing for an adapter that declares a `send` route.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let there = [
            (self.request.is_some(), "request"),
            (self.delivered.is_some(), "delivered"),
            (self.rate_limited.is_some(), "rate_limited"),
            (self.unauthorized.is_some(), "unauthorized"),
            (self.rejected.is_some(), "rejected"),
        ];
        there.into_iter().filter(|(is_there, _)| !is_there).map(|(_, name)| name).collect()
    }
}

impl Fixture {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, ConformanceError> {
        let shown = path.display();
        let refused = |why: String| ConformanceError::Fixture(why);
        let size = std::fs::metadata(path).map_err(|error| {
            refused(format!(
                "the fixture {shown} cannot be read: {error}; it says how the platform speaks, \
                 see docs/writing-an-adapter.md"
            ))
        })?;
        if size.len() > FIXTURE_BYTES_MAX {
            let most = FIXTURE_BYTES_MAX;
            return Err(refused(format!("the fixture {shown} has more than {most} bytes")));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| refused(format!("the fixture {shown} cannot be read: {error}")))?;
        Self::parse(&text).map_err(|why| refused(format!("the fixture {shown}: {why}")))
    }

    /// Reads the text of one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fixture: Self = crate::config::read_document(text)?;
        fixture.check()?;
        Ok(fixture)
    }

    /// What the types cannot say.
    fn check(&self) -> Result<(), String> {
        let has_own = self.webhooks.iter().any(|it| it.own) || self.polls.iter().any(|it| it.own);
        if (self.own_messages == OwnMessages::Recorded) != has_own {
            return Err("`own_messages` is \"recorded\" where a `webhook` or a `poll` is marked \
                        `own = true`, and \"never_delivered\" where none is"
                .to_owned());
        }
        for webhook in &self.webhooks {
            let (name, headers) = (&webhook.name, &webhook.headers);
            if let Some(header) = webhook.proof.iter().find(|it| !headers.contains_key(*it)) {
                return Err(format!(
                    "the webhook \"{name}\" has no header `{header}`, which \
                                    `proof` names"
                ));
            }
            if !(100..600).contains(&webhook.status) {
                return Err(format!("the webhook \"{name}\" expects no status of HTTP"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_segment_and_two_do_not() {
        let fits = |pattern: &str, path: &str| {
            RequestPattern::try_from(format!("GET {pattern}")).unwrap().fits("GET", path)
        };
        assert!(fits("/bot*/send", "/bot12:ab/send"));
        assert!(!fits("/bot*/send", "/bot12/x/send"));
        assert!(fits("/bot**", "/bot12/x/send"));
        assert!(fits("/a", "/a") && !fits("/a", "/ab") && !fits("/a", "/"));
    }

    #[test]
    fn a_request_that_is_none_is_refused_with_how_to_write_one() {
        let error = RequestPattern::try_from("/send".to_owned()).unwrap_err();
        assert!(error.contains("POST /path"), "{error}");
    }
}
