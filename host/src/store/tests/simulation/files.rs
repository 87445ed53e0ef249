//! Files in the simulation: messages and replies that carry some, and sweeps that forget those that
//! nothing names. That no row names a file that is gone is checked after every step.

use super::*;
use crate::lifecycle::id::BlobId;
use crate::lifecycle::message::{Attachment, AttachmentSource};

/// Ids of messages that carry files: their redeliveries would carry others.
pub(super) const CARRIES: &str = "file-";

impl World {
    fn put_file(&mut self) -> BlobId {
        // Few contents, so that several rows have the same.
        let digest = [self.chance.random_range(0..4); 32];
        let quota = BlobQuota { channel_bytes: u64::MAX, all_bytes: u64::MAX };
        let new = NewBlob { channel: "hook".into(), digest, size_bytes: 10, quota };
        match self.rig.run(Command::Blob(BlobCommand::Put(new))) {
            Answer::Blob(BlobAnswer::Stored(blob)) => blob,
            other => panic!("{other:?}"),
        }
    }

    fn file(&mut self) -> Attachment {
        Attachment {
            name: None,
            media_type: "text/plain".to_owned(),
            size_bytes: None,
            source: AttachmentSource::Blob(self.put_file().to_string()),
            access: Default::default(),
        }
    }

    pub(super) fn arrive_with_file(&mut self, room: &str, id: &str) {
        let id = format!("{CARRIES}{id}");
        let mut message = message(room, &id, &id);
        message.attachments = vec![self.file(), self.file()];
        let turn = self.rig.accept_turn(message);
        self.accepted.insert(format!("{room}/{id}"), turn);
        self.said(turn, &id, &id);
        if self.chance.random_bool(0.5) {
            let blob = self.put_file();
            let fetched = BlobCommand::Fetched { turn, file: 1, blob };
            self.rig.run(Command::Blob(fetched));
        }
    }

    pub(super) fn with_files(&mut self, mut rows: Vec<NewDelivery>) -> Vec<NewDelivery> {
        if self.chance.random_bool(0.3)
            && let Some(row) = rows.last_mut()
        {
            row.body.attachments = vec![self.file()];
        }
        rows
    }

    /// Forgets what nothing names any more; the contents that it says are gone, are.
    pub(super) fn sweep_files(&mut self) {
        let forget = BlobCommand::Forget { before_ms: self.rig.now.wall_ms, rows_max: 50 };
        let Answer::Blob(BlobAnswer::Forgotten { contents, .. }) =
            self.rig.run(Command::Blob(forget))
        else {
            panic!("it forgets")
        };
        for digest in contents {
            let query = Query::Blob(BlobQuery::Kept { digest });
            let kept = self.rig.ask(&query);
            assert_eq!(kept, Rows::Blob(BlobRows::Kept(false)), "a content that a row has is gone");
        }
    }
}
