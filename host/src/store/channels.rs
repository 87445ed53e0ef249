//! The channels' rows: which the config names, and what serves each.

use super::face::{Answer, ChannelRules};
use super::step::{Result, Step};
use crate::lifecycle::id::ChannelName;

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
            "UPDATE channel SET present = 1, adapter = ?2, version = ?3, digest = ?4
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
                let sql = "UPDATE channel SET present = ?2 WHERE id = ?1";
                changed += self.execute(sql, (id, named))? as u64;
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
}
