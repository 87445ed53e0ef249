//! Rows of files: who has one, who needs it, and which nobody needs any more. The bytes are on
//! disk before a row is made, and go after the last row of their content; this room reads and
//! writes none.

use super::blob_face::{
    BlobAnswer, BlobCommand, BlobQuery, BlobRow, BlobRows, NewBlob, TurnFile, TurnFiles,
};
use super::face::StoreError;
use super::read::Reader;
use super::step::{Result, Step, from_json, ms, turn_state};
use crate::lifecycle::id::{BlobId, ChannelName, TurnId};
use crate::lifecycle::message::{Attachment, InboundMessage, Place};

/// Files of one turn's document: beyond it nobody could have had them accepted.
const TURN_FILES_MAX: u32 = 100_000;

/// The row that needs files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Turn(i64),
    Delivery(i64),
    Context(i64),
    /// A turn for which a file was fetched from the platform.
    Fetched(i64),
}

impl Holder {
    fn key(self) -> (i64, i64) {
        match self {
            Self::Turn(number) => (0, number),
            Self::Delivery(number) => (1, number),
            Self::Context(number) => (2, number),
            Self::Fetched(number) => (3, number),
        }
    }
}

fn blob_id(number: i64, nonce: i64) -> BlobId {
    BlobId { number, nonce: nonce.unsigned_abs() }
}

impl Step<'_> {
    pub(super) fn blob(&mut self, command: BlobCommand) -> Result<BlobAnswer> {
        match command {
            BlobCommand::Put(new) => self.put_blob(&new),
            BlobCommand::Fetched { turn, file, blob } => self.fetched(turn, file, blob),
            BlobCommand::Forget { before_ms, rows_max } => self.forget_blobs(before_ms, rows_max),
        }
    }

    fn put_blob(&mut self, new: &NewBlob) -> Result<BlobAnswer> {
        let channel = self.channel_id(&new.channel)?;
        let number = |sql: &str| self.one(sql, [channel], |r| r.get::<_, i64>(0));
        let of_channel = number("SELECT bytes FROM blob_usage WHERE channel_id = ?1")?.unwrap_or(0);
        let of_all = self
            .one("SELECT value FROM meta WHERE name = 'blob_bytes'", [], |r| r.get::<_, i64>(0))?
            .unwrap_or(0);
        for (held, most, whose) in [
            (of_channel, new.quota.channel_bytes, "a channel"),
            (of_all, new.quota.all_bytes, "all channels together"),
        ] {
            if held.max(0).unsigned_abs().saturating_add(new.size_bytes) > most {
                return Ok(BlobAnswer::OverQuota(format!(
                    "files of {whose} may take {most} bytes, {held} are taken, and this one has {}",
                    new.size_bytes
                )));
            }
        }
        let nonce = self.nonce();
        self.execute(
            "INSERT INTO blob (nonce, channel_id, digest, size_bytes, unused_since_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (nonce.cast_signed(), channel, &new.digest[..], ms(new.size_bytes), self.now.wall_ms),
        )?;
        let number = self.db.last_insert_rowid();
        Ok(BlobAnswer::Stored(BlobId { number, nonce }))
    }

    /// Writes down that a row needs its files. They are those of its channel.
    pub(super) fn hold_files(
        &self,
        holder: Holder,
        channel: i64,
        files: &[Attachment],
    ) -> Result<()> {
        for (place, file) in (0_i64..).zip(files) {
            let blob = file.blob().map_err(|error| StoreError::Invalid(error.to_string()))?;
            if let Some(blob) = blob
                && !self.hold(holder, place, channel, blob)?
            {
                let sentence = format!("file {blob} is none of this channel's");
                return Err(StoreError::Invalid(sentence));
            }
        }
        Ok(())
    }

    /// The same where the channel is to be looked up; nothing is, where there is no file.
    pub(super) fn hold_files_of(&self, holder: Holder, files: &[Attachment]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let (_, number) = holder.key();
        let sql = match holder {
            Holder::Turn(_) | Holder::Fetched(_) => "SELECT channel_id FROM turn WHERE id = ?1",
            Holder::Delivery(_) => "SELECT channel_id FROM delivery WHERE id = ?1",
            Holder::Context(_) => {
                "SELECT v.channel_id FROM context c JOIN conversation v ON v.id = c.conversation_id
                 WHERE c.id = ?1"
            }
        };
        match self.one(sql, [number], |r| r.get(0))? {
            Some(channel) => self.hold_files(holder, channel, files),
            None => Ok(()),
        }
    }

    /// The same for a row whose files changed.
    pub(super) fn hold_files_anew(&self, holder: Holder, files: &[Attachment]) -> Result<()> {
        self.execute("DELETE FROM blob_use WHERE kind = ?1 AND holder = ?2", holder.key())?;
        self.hold_files_of(holder, files)
    }

    fn hold(&self, holder: Holder, place: i64, channel: i64, blob: BlobId) -> Result<bool> {
        let (kind, number) = holder.key();
        let changed = self.execute(
            "INSERT INTO blob_use (kind, holder, place, blob_id)
             SELECT ?1, ?2, ?3, id FROM blob WHERE id = ?4 AND nonce = ?5 AND channel_id = ?6",
            (kind, number, place, blob.number, blob.nonce.cast_signed(), channel),
        )?;
        Ok(changed == 1)
    }

    /// The files that an earlier turn's message had fetched are the new one's too.
    pub(super) fn inherit_fetched(&self, from: i64, to: i64, files: usize) -> Result<()> {
        if files == 0 {
            return Ok(());
        }
        self.execute(
            "INSERT INTO blob_use (kind, holder, place, blob_id)
             SELECT 3, ?2, place, blob_id FROM blob_use
             WHERE kind = 3 AND holder = ?1 AND place <= ?3",
            (from, to, i64::try_from(files).unwrap_or(i64::MAX)),
        )?;
        Ok(())
    }

    /// The first that was fetched stays; a second one is needed by nobody.
    fn fetched(&mut self, turn: TurnId, file: u32, blob: BlobId) -> Result<BlobAnswer> {
        let channel = self.one(
            "SELECT channel_id FROM turn WHERE id = ?1 AND nonce = ?2",
            (turn.number, turn.nonce.cast_signed()),
            |r| r.get::<_, i64>(0),
        )?;
        let Some(channel) = channel else {
            return Err(StoreError::Invalid(format!("there is no turn {turn}")));
        };
        let known = self.one(
            "SELECT b.id, b.nonce FROM blob_use u JOIN blob b ON b.id = u.blob_id
             WHERE u.kind = 3 AND u.holder = ?1 AND u.place = ?2",
            (turn.number, file),
            |r| Ok(blob_id(r.get(0)?, r.get(1)?)),
        )?;
        if let Some(known) = known {
            return Ok(BlobAnswer::Stored(known));
        }
        if !self.hold(Holder::Fetched(turn.number), file.into(), channel, blob)? {
            return Err(StoreError::Invalid(format!("file {blob} is none of this channel's")));
        }
        Ok(BlobAnswer::Stored(blob))
    }

    /// Rows that nobody has needed since `before_ms`; says which contents no row has any more.
    fn forget_blobs(&mut self, before_ms: i64, rows_max: u32) -> Result<BlobAnswer> {
        let rows = self.all(
            "SELECT id, digest FROM blob WHERE unused_since_ms < ?1 LIMIT ?2",
            (before_ms, rows_max),
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, [u8; 32]>(1)?)),
        )?;
        let mut gone = Vec::new();
        for (number, digest) in &rows {
            let sql = "DELETE FROM blob WHERE id = ?1 AND uses = 0 AND unused_since_ms < ?2";
            self.execute(sql, (number, before_ms))?;
            if !self.exists("SELECT 1 FROM blob WHERE digest = ?1", [&digest[..]])? {
                gone.push(*digest);
            }
        }
        Ok(BlobAnswer::Forgotten { rows: rows.len() as u64, contents: gone })
    }
}

impl Reader<'_> {
    pub(super) fn blob(&self, query: &BlobQuery) -> Result<BlobRows> {
        match query {
            BlobQuery::Find { blob } => self.find_blob(*blob).map(BlobRows::Blob),
            BlobQuery::Kept { digest } => {
                let sql = "SELECT 1 FROM blob WHERE digest = ?1 LIMIT 1";
                let found = self.one(sql, [&digest[..]], |_| Ok(()))?;
                Ok(BlobRows::Kept(found.is_some()))
            }
            BlobQuery::Usage { channel } => {
                let sql = "SELECT u.files, u.bytes FROM blob_usage u
                           JOIN channel c ON c.id = u.channel_id WHERE c.name = ?1";
                let read = |r: &rusqlite::Row<'_>| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?));
                let (files, bytes) = self.one(sql, [&channel.0], read)?.unwrap_or((0, 0));
                let [files, bytes] = [files, bytes].map(|n| n.max(0).unsigned_abs());
                Ok(BlobRows::Usage { files, bytes })
            }
            BlobQuery::TurnFiles { turn } => {
                self.turn_files(*turn).map(|files| BlobRows::TurnFiles(files.map(Box::new)))
            }
        }
    }

    fn find_blob(&self, blob: BlobId) -> Result<Option<BlobRow>> {
        self.one(
            "SELECT c.name, b.digest, b.size_bytes FROM blob b JOIN channel c ON c.id = b.channel_id
             WHERE b.id = ?1 AND b.nonce = ?2",
            (blob.number, blob.nonce.cast_signed()),
            |r| {
                let channel = ChannelName(r.get(0)?);
                let size_bytes = r.get::<_, i64>(2)?.max(0).unsigned_abs();
                Ok(BlobRow { channel, digest: r.get(1)?, size_bytes })
            },
        )
    }

    /// The files of a turn's document: its message's, then those of its context, oldest first.
    fn turn_files(&self, turn: TurnId) -> Result<Option<TurnFiles>> {
        let found = self.one(
            "SELECT c.name, v.name, t.state, t.try, t.payload FROM turn t
             JOIN channel c ON c.id = t.channel_id JOIN conversation v ON v.id = t.conversation_id
             WHERE t.id = ?1 AND t.nonce = ?2",
            (turn.number, turn.nonce.cast_signed()),
            |r| {
                let names: (String, String) = (r.get(0)?, r.get(1)?);
                Ok((names, r.get::<_, i64>(2)?, r.get::<_, u32>(3)?, r.get::<_, String>(4)?))
            },
        )?;
        let Some(((channel, conversation), state, try_number, payload)) = found else {
            return Ok(None);
        };
        let mut payloads = vec![payload];
        payloads.extend(self.all(
            "SELECT payload FROM context WHERE turn_id = ?1 ORDER BY id",
            [turn.number],
            |r| r.get::<_, String>(0),
        )?);
        let fetched = self.all(
            "SELECT u.place, b.id, b.nonce FROM blob_use u JOIN blob b ON b.id = u.blob_id
             WHERE u.kind = 3 AND u.holder = ?1 LIMIT ?2",
            (turn.number, TURN_FILES_MAX),
            |r| Ok((r.get::<_, i64>(0)?, blob_id(r.get(1)?, r.get(2)?))),
        )?;
        let mut files = Vec::new();
        for payload in payloads {
            let message: InboundMessage = from_json(&payload)?;
            let place = Place {
                conversation: conversation.clone(),
                context: message.context,
                reply_to: Some(message.external_id).filter(|id| !id.is_empty()),
            };
            for file in message.attachments {
                let number = i64::try_from(files.len() + 1).unwrap_or(i64::MAX);
                let fetched = fetched.iter().find(|(place, _)| *place == number).map(|(_, b)| *b);
                files.push(TurnFile { place: place.clone(), file, fetched });
            }
        }
        let (channel, state) = (ChannelName(channel), turn_state(state)?);
        Ok(Some(TurnFiles { channel, state, try_number, files }))
    }
}
