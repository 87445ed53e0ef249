//! What a program asks for of schedules, as JSON: the same for the API and for the command line. No
//! SQL.

use serde::{Deserialize, Serialize};

use super::later::{Change, NewSchedule, ScheduleAct};
use super::request::{Refusal, SenderBody, check_word};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::message::InboundMessage;
use crate::lifecycle::recurrence::CatchUp;

/// The zone where none is given.
pub const ZONE_DEFAULT: &str = "UTC";
/// Characters of a schedule's name.
const NAME_CHARS_MAX: usize = 64;

/// The body of `POST /v1/schedules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleBody {
    pub name: String,
    pub channel: String,
    pub conversation: String,
    pub text: String,
    pub sender: SenderBody,
    pub cron: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<String>,
}

/// The body of `POST /v1/schedules/NAME/change`: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<SenderBody>,
}

impl ScheduleBody {
    /// The store's command. The expression itself is read where it is stored.
    ///
    /// # Errors
    /// Where a value is empty, too long, or no such word.
    pub fn into_act(self) -> Result<ScheduleAct, Refusal> {
        check_name(&self.name)?;
        check_word("channel", &self.channel)?;
        check_word("conversation", &self.conversation)?;
        check_text(&self.text)?;
        let message = InboundMessage {
            conversation: self.conversation,
            sender: self.sender.into_sender()?,
            text: self.text,
            wakes: true,
            ..InboundMessage::default()
        };
        Ok(ScheduleAct::Add(Box::new(NewSchedule {
            name: self.name,
            channel: ChannelName(self.channel),
            cron: self.cron,
            zone: self.zone.unwrap_or_else(|| ZONE_DEFAULT.to_owned()),
            catch_up: policy(self.catch_up.as_deref())?.unwrap_or_default(),
            message,
        })))
    }
}

impl ChangeBody {
    /// The store's command for the schedule of this name.
    ///
    /// # Errors
    /// Where nothing is to be changed, or a value is wrong.
    pub fn into_act(self, name: String) -> Result<ScheduleAct, Refusal> {
        if self == Self::default() {
            let sentence = "nothing to change: give cron, zone, catch_up, text or sender";
            return Err(Refusal::Wrong(sentence.to_owned()));
        }
        if let Some(text) = &self.text {
            check_text(text)?;
        }
        let change = Change {
            cron: self.cron,
            zone: self.zone,
            catch_up: policy(self.catch_up.as_deref())?,
            text: self.text,
            sender: self.sender.map(SenderBody::into_sender).transpose()?,
        };
        Ok(ScheduleAct::Change { name, change: Box::new(change) })
    }
}

fn policy(word: Option<&str>) -> Result<Option<CatchUp>, Refusal> {
    let Some(word) = word else { return Ok(None) };
    CatchUp::from_word(word)
        .map(Some)
        .ok_or_else(|| Refusal::Wrong("\"catch_up\" is one of all, latest, skip".to_owned()))
}

fn check_text(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::Wrong("\"text\" is empty: there is nothing to say".to_owned()));
    }
    Ok(())
}

/// A name stands in paths and on command lines.
fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Refusal::Wrong(format!(
        "a schedule's name has 1 to {NAME_CHARS_MAX} of the characters a-z A-Z 0-9 - _ ."
    )))
}
