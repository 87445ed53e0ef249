//! The filters of lists and of orders on many rows, as requests give them: one reading for both, so
//! that what a list shows is what an order takes.

use serde::Deserialize;

use super::answer::Refused;
use super::api::{delivery_id, turn_id, word};
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::turn::TurnState;
use crate::store::{BulkList, ListFilter};

/// The keys of [`Filters`], for documents that carry others beside them.
pub(super) const KEYS: [&str; 9] = [
    "state",
    "channel",
    "conversation",
    "code",
    "kind",
    "older_than",
    "newer_than",
    "after",
    "limit",
];

/// The filters, as they stand in a query or in a body.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filters {
    pub(super) state: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) conversation: Option<String>,
    pub(super) code: Option<String>,
    pub(super) kind: Option<String>,
    /// Ages, such as "2h".
    pub(super) older_than: Option<String>,
    pub(super) newer_than: Option<String>,
    pub(super) after: Option<String>,
    pub(super) limit: Option<u32>,
    /// Newest first. Of lists only: an order goes through its rows as they were made.
    pub(super) newest: bool,
}

impl Filters {
    /// Whether nothing narrows the rows down.
    pub(super) fn is_open(&self) -> bool {
        let Self { state, channel, conversation, code, kind, older_than, newer_than, .. } = self;
        [state, channel, conversation, code, kind, older_than, newer_than]
            .into_iter()
            .all(Option::is_none)
    }

    /// As the store takes them; ages are judged as of `now_ms`.
    pub(super) fn check(
        self,
        list: BulkList,
        now_ms: i64,
        limit: (u32, u32),
    ) -> Result<ListFilter, Refused> {
        let (limit_default, limit_max) = limit;
        check_words("state", self.state.as_deref(), &states(list))?;
        match list {
            BulkList::Outbox => {
                let kinds = DeliveryKind::ALL.map(DeliveryKind::word);
                check_words("kind", self.kind.as_deref(), &kinds)?;
            }
            BulkList::Turns if self.kind.is_some() => {
                return Err(Refused::invalid("turns have no \"kind\"; deliveries do"));
            }
            BulkList::Turns => {}
        }
        if let Some(after) = &self.after {
            match list {
                BulkList::Turns => turn_id(after).map(|_| ())?,
                BulkList::Outbox => delivery_id(after).map(|_| ())?,
            }
        }
        let limit = self.limit.unwrap_or(limit_default);
        if !(1..=limit_max).contains(&limit) {
            return Err(Refused::invalid(format!("\"limit\" must be from 1 to {limit_max}")));
        }
        let checked = |name, text: Option<String>| text.map(|text| word(name, text)).transpose();
        Ok(ListFilter {
            state: self.state,
            channel: checked("channel", self.channel)?,
            conversation: checked("conversation", self.conversation)?,
            code: checked("code", self.code)?,
            kind: self.kind,
            made_before_ms: age("older_than", self.older_than, now_ms)?,
            made_since_ms: age("newer_than", self.newer_than, now_ms)?,
            after: self.after,
            newest_first: self.newest,
            limit,
        })
    }
}

fn states(list: BulkList) -> Vec<&'static str> {
    match list {
        BulkList::Turns => TurnState::ALL.map(TurnState::word).to_vec(),
        BulkList::Outbox => {
            let mut states = DeliveryState::ALL.map(DeliveryState::word).to_vec();
            // Open and held unknowns share a word.
            states.dedup();
            states.push("held");
            states
        }
    }
}

fn check_words(name: &str, words: Option<&str>, right: &[&str]) -> Result<(), Refused> {
    let wrong = words.into_iter().flat_map(|words| words.split(',')).any(|word| {
        let word = word.trim();
        !right.contains(&word)
    });
    if wrong {
        let right = right.join(", ");
        return Err(Refused::invalid(format!("\"{name}\" must be of {right}")));
    }
    Ok(())
}

/// The time at which what is as old as this was made.
fn age(name: &str, text: Option<String>, now_ms: i64) -> Result<Option<i64>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let age = humantime::parse_duration(&text).map_err(|_| {
        Refused::invalid(format!("\"{name}\" must be an age with its unit, such as \"2h\""))
    })?;
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Ok(Some(now_ms.saturating_sub(age_ms)))
}
