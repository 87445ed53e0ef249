//! Orders on many rows: replay, resolve and purge by filter, one bounded page a request. The answer
//! says what became of each row, and where to go on.
//!
//! `POST /v1/replay`, `/v1/outbox/resolve`, `/v1/purge` with the filters of the lists. Without any
//! filter `"all": true` has to be said. `as_of_ms` of the first page, given again with the next
//! ones, keeps out what was made meanwhile.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tracing::info;

use super::Ingress;
use super::answer::{Refused, json_answer};
use super::api::{How, by};
use super::filter::{Filters, KEYS};
use crate::store::{
    BULK_ROWS_MAX, BulkAct, BulkAsk, BulkList, BulkResult, ListFilter, PurgeReach, Trial,
};

type Answer = Result<Response, Refused>;

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum List {
    Turns,
    Outbox,
}

impl From<List> for BulkList {
    fn from(list: List) -> Self {
        match list {
            List::Turns => Self::Turns,
            List::Outbox => Self::Outbox,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayOrder {
    list: List,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    all: bool,
    as_of_ms: Option<i64>,
    by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveOrder {
    how: How,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    all: bool,
    as_of_ms: Option<i64>,
    by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeOrder {
    list: List,
    /// Also what is unfinished or held, of channels that the config names no more.
    #[serde(default)]
    live: bool,
    /// Does it. Without it the answer says what would be done.
    #[serde(default)]
    yes: bool,
    #[serde(default)]
    all: bool,
    as_of_ms: Option<i64>,
    by: Option<String>,
}

/// What all orders have in common.
struct Common {
    list: BulkList,
    act: BulkAct,
    trial: Trial,
    all: bool,
    as_of_ms: Option<i64>,
    by: Option<String>,
}

pub(super) async fn replay(State(ingress): State<Ingress>, request: Request) -> Answer {
    let (order, filters): (ReplayOrder, _) = ingress.read_order(request).await?;
    let ReplayOrder { list, force, dry_run, all, as_of_ms, by } = order;
    let (list, act, trial) = (list.into(), BulkAct::Replay { force }, trial(dry_run));
    ingress.order(Common { list, act, trial, all, as_of_ms, by }, filters).await
}

pub(super) async fn resolve(State(ingress): State<Ingress>, request: Request) -> Answer {
    let (order, filters): (ResolveOrder, _) = ingress.read_order(request).await?;
    let ResolveOrder { how, dry_run, all, as_of_ms, by } = order;
    let (list, act, trial) = (BulkList::Outbox, BulkAct::Resolve(how.resolution()), trial(dry_run));
    ingress.order(Common { list, act, trial, all, as_of_ms, by }, filters).await
}

pub(super) async fn purge(State(ingress): State<Ingress>, request: Request) -> Answer {
    let (order, filters): (PurgeOrder, _) = ingress.read_order(request).await?;
    let PurgeOrder { list, live, yes, all, as_of_ms, by } = order;
    let reach = if live { PurgeReach::RemovedChannels } else { PurgeReach::AtRest };
    let (list, act, trial) = (list.into(), BulkAct::Purge(reach), trial(!yes));
    ingress.order(Common { list, act, trial, all, as_of_ms, by }, filters).await
}

fn trial(dry_run: bool) -> Trial {
    if dry_run { Trial::DryRun } else { Trial::ForReal }
}

impl Ingress {
    /// The filters of a body, and the rest of it.
    async fn read_order<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<(T, Filters), Refused> {
        let mut body: Map<String, Value> = self.read_json(request).await?;
        let found = KEYS.iter().filter_map(|key| body.remove_entry(*key));
        let filters: Map<String, Value> = found.collect();
        let wrong = |error: serde_json::Error| {
            Refused::invalid(format!("the body is not what is asked for: {error}"))
        };
        let filters = serde_json::from_value(Value::Object(filters)).map_err(wrong)?;
        Ok((serde_json::from_value(Value::Object(body)).map_err(wrong)?, filters))
    }

    async fn order(&self, order: Common, filters: Filters) -> Answer {
        let Common { list, act, trial, all, as_of_ms, by: who } = order;
        if filters.is_open() && !all {
            let sentence = "name a filter, or say \"all\": true to mean every row";
            return Err(Refused::invalid(sentence));
        }
        let by = by(who)?;
        let now_ms = as_of_ms.unwrap_or_else(|| self.0.env.now().wall_ms);
        let filter = filters.check(list, now_ms, (BULK_ROWS_MAX, BULK_ROWS_MAX))?;
        // What was made since the order began is not meant by it.
        let before_ms = now_ms.saturating_add(1);
        let made_before_ms = filter.made_before_ms.map_or(before_ms, |ms| ms.min(before_ms));
        let filter = ListFilter { made_before_ms: Some(made_before_ms), ..filter };
        let page = self.desk()?.bulk(BulkAsk { list, filter, act, trial, by }).await?;
        if trial == Trial::ForReal && !page.rows.is_empty() {
            let done = page.rows.iter().filter(|row| row.result == BulkResult::Done);
            info!(list = list.word(), rows = page.rows.len(), done = done.count(), "{act} ordered");
        }
        let answer = json!({"rows": page.rows, "next": page.next, "as_of_ms": now_ms});
        Ok(json_answer(StatusCode::OK, &answer))
    }
}
