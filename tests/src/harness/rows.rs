//! The rows that `--json` prints, with every field that the outside face promises: a field that is
//! missing, or is of another type, fails the test that reads it.

use serde::Deserialize;

/// One line of `turns list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TurnRow {
    pub id: String,
    pub channel: String,
    pub conversation: String,
    #[serde(deserialize_with = "present")]
    pub external_id: Option<String>,
    pub state: String,
    pub attempts: u32,
    pub accepted_at_ms: i64,
    #[serde(deserialize_with = "present")]
    pub ended_at_ms: Option<i64>,
    #[serde(deserialize_with = "present")]
    pub code: Option<String>,
    #[serde(deserialize_with = "present")]
    pub reason: Option<String>,
}

/// One line of `outbox list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OutboxRow {
    pub id: String,
    #[serde(deserialize_with = "present")]
    pub turn_id: Option<String>,
    pub channel: String,
    pub conversation: String,
    pub kind: String,
    pub part: u32,
    pub parts: u32,
    pub state: String,
    pub held: bool,
    pub attempts: u32,
    #[serde(deserialize_with = "present")]
    pub next_attempt_at_ms: Option<i64>,
    #[serde(deserialize_with = "present")]
    pub platform_id: Option<String>,
    #[serde(deserialize_with = "present")]
    pub code: Option<String>,
    #[serde(deserialize_with = "present")]
    pub reason: Option<String>,
}

/// An absent value is `null`, never a missing field: serde would take both without this.
fn present<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(from)
}
