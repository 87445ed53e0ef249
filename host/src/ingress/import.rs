//! `POST /v1/import`: entries of another program's queue, one bounded batch a request. The answer
//! says what became of each.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use super::Ingress;
use super::answer::{Refused, json_answer};
use super::api::{by, word};
use crate::lifecycle::import::ImportEntry;
use crate::store::{ImportedAs, Trial};

/// Entries of one request: what one transaction holds the writer for stays in milliseconds.
pub const IMPORT_ENTRIES_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    source: String,
    entries: Vec<ImportEntry>,
    #[serde(default)]
    dry_run: bool,
    by: Option<String>,
}

pub(super) async fn import(
    State(ingress): State<Ingress>,
    request: Request,
) -> Result<Response, Refused> {
    let Body { source, entries, dry_run, by: who } = ingress.read_json(request).await?;
    let (source, by) = (word("source", source)?, by(who)?);
    if entries.len() > IMPORT_ENTRIES_MAX {
        let sentence = format!("at most {IMPORT_ENTRIES_MAX} entries are taken at a time");
        return Err(Refused::invalid(sentence));
    }
    for entry in &entries {
        word("external_id", entry.external_id.clone())?;
        word("conversation", entry.conversation.clone())?;
        if entry.texts.is_empty() || entry.texts.iter().any(String::is_empty) {
            return Err(Refused::invalid("\"texts\" must hold at least one text, none empty"));
        }
    }
    let trial = if dry_run { Trial::DryRun } else { Trial::ForReal };
    // On a task of its own: an asker that hangs up is asked again, and told "already".
    let desk = ingress.desk()?.clone();
    let task = ingress.0.env.spawn(async move { desk.import(source, entries, trial, by).await });
    let imported = task.await.map_err(|_| {
        Refused::unavailable("host_fault", "the host failed at this request; its log says how")
    })??;
    if trial == Trial::ForReal {
        let count = |wanted| imported.iter().filter(|entry| entry.outcome == wanted).count();
        let (queued, held) = (count(ImportedAs::Queued), count(ImportedAs::Held));
        info!(queued, held, already = count(ImportedAs::Already), "entries imported");
    }
    Ok(json_answer(StatusCode::OK, &json!({"entries": imported})))
}
