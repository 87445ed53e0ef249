//! Entries of another program's queue among everything else: each once, held ones in nobody's way.

use super::*;
use crate::lifecycle::import::EntryFacts;

impl World {
    pub(super) fn import(&mut self) {
        let entries: Vec<ImportRow> =
            (0..self.chance.random_range(1..4)).map(|_| self.entry()).collect();
        let import = Import {
            source: "other".to_owned(),
            rows: entries.clone(),
            trial: Trial::ForReal,
            by: "sim".to_owned(),
        };
        let Answer::Imported(done) = self.rig.run(Command::Import(Box::new(import))) else {
            panic!("an import was given another's answer")
        };
        for (entry, done) in entries.iter().zip(done) {
            let new = self.imported.insert(entry.external_id.clone());
            assert_eq!(new, done.outcome != ImportedAs::Already, "{}", entry.external_id);
            assert_eq!(new, !done.ids.is_empty(), "{}", entry.external_id);
        }
        let kept = self.count("SELECT count(*) FROM import");
        assert_eq!(kept, i64::try_from(self.imported.len()).unwrap(), "each entry once");
    }

    fn entry(&mut self) -> ImportRow {
        let number = self.chance.random_range(0..40);
        let texts = ["one", "two", "three"];
        let count = self.chance.random_range(1..=3);
        let now_ms = self.rig.now.wall_ms;
        let facts = EntryFacts {
            enqueued_at_ms: self.chance.random_bool(0.8).then_some(now_ms - 60_000),
            last_attempt_at_ms: self.chance.random_bool(0.5).then_some(now_ms - 1_000),
            attempts: self.chance.random_range(0..9),
            maybe_sent: self.chance.random_bool(0.2),
            ..EntryFacts::default()
        };
        ImportRow {
            external_id: format!("e{number}"),
            channel: "hook".into(),
            conversation: self.room().to_owned(),
            context: None,
            reply_to: None,
            rows: super::super::rig::finals(&texts[..count]),
            facts,
        }
    }
}
