//! What the host tells of its channels: the rules of each, which ones the config names, and what
//! keeps one from sending besides a pause. The last decides nothing: it is there so that whoever is
//! shown a row that waits is told why and since when.

use super::face::Answer;
use super::step::{Result, Step};
use crate::lifecycle::bucket::Rate;
use crate::lifecycle::delivery::DeliveryLimits;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::notice::NoticeText;
use crate::lifecycle::outcome::Fault;
use crate::lifecycle::settle::SettleMeans;
use crate::lifecycle::turn::AbortReach;

/// How fast a channel and its conversations may be sent to. Held over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// The operator's, else the manifest's; none where there is no limit.
    pub rate: Option<Rate>,
    /// The least time between two messages of one conversation; 0 where there is none.
    pub conversation_interval_ms: u64,
}

/// What one channel obeys: given at start, and again whenever a new generation serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRules {
    pub channel: ChannelName,
    pub means: SettleMeans,
    pub delivery: DeliveryLimits,
    /// Which turns a person stops from the chat.
    pub on_abort: AbortReach,
    /// Whether the component exports `progress`; if not, such rows are cancelled at claim.
    pub has_progress: bool,
    /// What a conversation is told where a turn of it failed; nothing where it is to be silent.
    pub failure_notice: Option<NoticeText>,
    pub pace: Pace,
    /// Which of this start's generations of the channel these are the rules of. A row that is
    /// claimed by them is sent by it: what a lost answer means was judged by its manifest.
    pub generation: u64,
    /// For `status` and the attempt rows; empty where the channel is refused.
    pub adapter: String,
    pub version: String,
    pub digest: String,
}

/// What holds a channel back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldBy {
    /// It cannot be served: its component, settings, secrets or grants.
    Refused,
    /// Its calls keep breaking.
    Breaker,
}

impl HoldBy {
    fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Breaker => "breaker",
        }
    }
}

impl Step<'_> {
    pub(super) fn set_channel(&mut self, rules: ChannelRules) -> Result<Answer> {
        let same = self.one(
            "SELECT id FROM channel WHERE name = ?1 AND present = 1 AND adapter IS ?2
               AND version IS ?3 AND digest IS ?4",
            (&rules.channel.0, &rules.adapter, &rules.version, &rules.digest),
            |r| r.get::<_, i64>(0),
        )?;
        let id = match same {
            Some(id) => id,
            None => self.write_channel(&rules)?,
        };
        self.channels.ids.insert(rules.channel.clone(), id);
        self.channels.by_id.insert(id, rules);
        Ok(Answer::Done)
    }

    fn write_channel(&mut self, rules: &ChannelRules) -> Result<i64> {
        let ChannelRules { channel, adapter, version, digest, .. } = rules;
        let known = self.one(
            "UPDATE channel SET present = 1, removed_at_ms = NULL, adapter = ?2, version = ?3,
               digest = ?4
             WHERE name = ?1 RETURNING id",
            (&channel.0, adapter, version, digest),
            |r| r.get(0),
        )?;
        if let Some(id) = known {
            return Ok(id);
        }
        self.execute(
            "INSERT INTO channel (name, present, adapter, version, digest)
             VALUES (?1, 1, ?2, ?3, ?4)",
            (&channel.0, adapter, version, digest),
        )?;
        Ok(self.db.last_insert_rowid())
    }

    pub(super) fn channels_present(&mut self, names: &[ChannelName]) -> Result<Answer> {
        let all = self.all("SELECT id, name, present FROM channel", [], |r| {
            Ok((r.get::<_, i64>(0)?, ChannelName(r.get(1)?), r.get::<_, bool>(2)?))
        })?;
        let mut changed = 0;
        for (id, name, present) in &all {
            let named = names.contains(name);
            if named != *present {
                let gone_ms = Some(self.now.wall_ms).filter(|_| !named);
                let sql = "UPDATE channel SET present = ?2, removed_at_ms = ?3 WHERE id = ?1";
                changed += self.execute(sql, (id, named, gone_ms))? as u64;
            }
            if !named {
                self.channels.by_id.remove(id);
                self.channels.ids.remove(name);
            }
        }
        for name in names.iter().filter(|name| !all.iter().any(|(_, known, _)| known == *name)) {
            let sql = "INSERT INTO channel (name, present) VALUES (?1, 1)";
            changed += self.execute(sql, [&name.0])? as u64;
        }
        Ok(Answer::Changed(changed))
    }

    /// Notes a hold, since when it first held; or that it is over.
    pub(super) fn hold_channel(
        &mut self,
        channel: &ChannelName,
        by: HoldBy,
        fault: Option<&Fault>,
    ) -> Result<Answer> {
        let id = self.channel_id(channel)?;
        let changed = match fault {
            Some(fault) => self.execute(
                "INSERT INTO channel_hold (channel_id, by_what, code, reason, since_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET code = excluded.code, reason = excluded.reason",
                (id, by.word(), &fault.code, &fault.sentence, self.now.wall_ms),
            )?,
            None => self.execute(
                "DELETE FROM channel_hold WHERE channel_id = ?1 AND by_what = ?2",
                (id, by.word()),
            )?,
        };
        Ok(Answer::Changed(changed as u64))
    }

    /// A host begins: it will tell anew what holds.
    pub(super) fn clear_holds(&mut self) -> Result<Answer> {
        let changed = self.execute("DELETE FROM channel_hold", [])?;
        Ok(Answer::Changed(changed as u64))
    }
}
