//! Entries of another program's queue: cut to what each platform takes, written, and the channels
//! told to look.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::hub::{Hub, wrong_answer};
use super::parts::rows_of;
use super::ports::{AdapterFacts, TextLimit};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::import::ImportEntry;
use crate::lifecycle::message::{DeliveryKind, Reply};
use crate::store::{Answer, Command, Import, ImportRow, Imported, Store, StoreError, Trial};

/// Takes entries in, each once. One answer per entry, in order; an entry of a channel that does not
/// serve is left, since nobody knows how long its messages may be.
///
/// # Errors
/// The store's; nothing was written then.
pub async fn import(
    hub: &Arc<Hub>,
    source: String,
    entries: Vec<ImportEntry>,
    trial: Trial,
    by: String,
) -> Result<Vec<Imported>, StoreError> {
    let names: BTreeSet<_> = entries.iter().map(|it| ChannelName(it.channel.clone())).collect();
    let limit = |name: &ChannelName| match hub.channel(name) {
        Some(channel) => Ok(channel.facts().text),
        None => Err("its channel does not serve; `lastword channels list` says why".to_owned()),
    };
    let imported = write(&hub.store, source, entries, limit, trial, by).await?;
    names.iter().for_each(|name| hub.wake_channel(name));
    Ok(imported)
}

/// The same on a store without workers. `limit` says how long a message of a channel may be, or why
/// that is not known.
///
/// # Errors
/// The store's; nothing was written then.
pub async fn write(
    store: &Store,
    source: String,
    entries: Vec<ImportEntry>,
    limit: impl Fn(&ChannelName) -> Result<Option<TextLimit>, String>,
    trial: Trial,
    by: String,
) -> Result<Vec<Imported>, StoreError> {
    let mut rows = Vec::with_capacity(entries.len());
    let mut all: Vec<Option<Imported>> = Vec::with_capacity(entries.len());
    for entry in entries {
        match limit(&ChannelName(entry.channel.clone())) {
            Ok(limit) => {
                all.push(None);
                rows.push(row_of(entry, limit));
            }
            Err(why) => {
                all.push(Some(Imported::left(entry.external_id, "channel_not_serving", why)));
            }
        }
    }
    if rows.is_empty() {
        return Ok(all.into_iter().flatten().collect());
    }
    let command = Command::Import(Box::new(Import { source, rows, trial, by }));
    let Answer::Imported(written) = store.run(command).await? else {
        return Err(wrong_answer("import"));
    };
    let mut written = written.into_iter();
    Ok(all.into_iter().filter_map(|left| left.or_else(|| written.next())).collect())
}

/// Messages of one entry are parts of one reply: where one does not arrive, those behind it do not
/// go on.
fn row_of(entry: ImportEntry, limit: Option<TextLimit>) -> ImportRow {
    let ImportEntry { external_id, channel, conversation, context, reply_to, texts, format, facts } =
        entry;
    let replies = texts.into_iter().map(|text| Reply { text, format, ..Reply::default() });
    // Only texts are imported: of the platform their limit alone matters.
    let facts_of = AdapterFacts { text: limit, ..AdapterFacts::default() };
    let mut rows: Vec<_> =
        replies.flat_map(|reply| rows_of(DeliveryKind::Final, reply, &facts_of)).collect();
    let parts = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    for (part, row) in (1..).zip(&mut rows) {
        (row.part, row.parts) = (part, parts);
    }
    let channel = ChannelName(channel);
    ImportRow { external_id, channel, conversation, context, reply_to, rows, facts }
}
