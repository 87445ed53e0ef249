//! The reading half of the API: lists as one JSON object a line, read and sent page by page so that
//! a list of a hundred thousand rows holds no more memory than a short one; single rows as one
//! document.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Asked, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Ingress;
use super::answer::{Refused, Segment, json_answer, typed_answer};
use super::api::{delivery_id, turn_id};
use super::filter::Filters;
use super::limits::{LIST_PAGE_ROWS, LIST_ROWS_DEFAULT, LIST_ROWS_MAX};
use crate::store::{BulkList, ListFilter, Query, Rows};

type Answer = Result<Response, Refused>;

/// Whether payloads are shown: only where they are asked for.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ShowQuery {
    payload: bool,
}

type AskedList = Result<Asked<Filters>, QueryRejection>;
pub(super) type AskedShow = Result<Asked<ShowQuery>, QueryRejection>;

pub(super) async fn turns(State(ingress): State<Ingress>, asked: AskedList) -> Answer {
    let filter = filter(&ingress, asked, BulkList::Turns)?;
    ingress.list(filter, Query::Turns).await
}

pub(super) async fn outbox(State(ingress): State<Ingress>, asked: AskedList) -> Answer {
    let filter = filter(&ingress, asked, BulkList::Outbox)?;
    ingress.list(filter, Query::Outbox).await
}

pub(super) async fn turn(
    State(ingress): State<Ingress>,
    Segment(id): Segment,
    asked: AskedShow,
) -> Answer {
    let (id, payload) = (turn_id(&id)?, shown(asked)?);
    match ingress.desk()?.read(Query::Turn { id, payload }).await? {
        Rows::Turn(Some(mut turn)) => {
            let now_ms = ingress.0.env.now().wall_ms;
            turn.waits.retain(|wait| wait.holds_at(now_ms));
            document(&turn)
        }
        Rows::Turn(None) => Err(Refused::nothing(format!("there is no turn {id}"))),
        _ => Err(unexpected()),
    }
}

pub(super) async fn delivery(
    State(ingress): State<Ingress>,
    Segment(id): Segment,
    asked: AskedShow,
) -> Answer {
    let (id, payload) = (delivery_id(&id)?, shown(asked)?);
    match ingress.desk()?.read(Query::Delivery { id, payload }).await? {
        Rows::Delivery(Some(mut delivery)) => {
            let now_ms = ingress.0.env.now().wall_ms;
            delivery.waits.retain(|wait| wait.holds_at(now_ms));
            document(&delivery)
        }
        Rows::Delivery(None) => Err(Refused::nothing(format!("there is no delivery {id}"))),
        _ => Err(unexpected()),
    }
}

pub(super) async fn channels(State(ingress): State<Ingress>) -> Answer {
    let status = ingress.desk()?.status(ingress.phase()).await?;
    let mut text = String::new();
    let channels = status.get("channels").and_then(Value::as_array);
    for channel in channels.into_iter().flatten() {
        text.push_str(&channel.to_string());
        text.push('\n');
    }
    Ok(typed_answer(StatusCode::OK, NDJSON, Body::from(text)))
}

const NDJSON: &str = "application/x-ndjson";

fn filter(ingress: &Ingress, asked: AskedList, list: BulkList) -> Result<ListFilter, Refused> {
    let Asked(asked) = asked.map_err(|error| Refused::invalid(error.body_text()))?;
    let now_ms = ingress.0.env.now().wall_ms;
    asked.check(list, now_ms, (LIST_ROWS_DEFAULT, LIST_ROWS_MAX))
}

pub(super) fn shown(asked: AskedShow) -> Result<bool, Refused> {
    let Asked(asked) = asked.map_err(|error| Refused::invalid(error.body_text()))?;
    Ok(asked.payload)
}

pub(super) fn document(row: &impl Serialize) -> Answer {
    let value = serde_json::to_value(row).map_err(|_| unwritable())?;
    Ok(json_answer(StatusCode::OK, &value))
}

fn unwritable() -> Refused {
    let sentence = "a row could not be written as JSON";
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "host_fault", sentence)
}

/// The store answered another question than it was asked.
pub(super) fn unexpected() -> Refused {
    tracing::error!("the store gave rows of another kind than were asked for");
    let sentence = "the store gave rows of another kind than were asked for";
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "host_fault", sentence)
}

/// A list while it is being sent.
struct Page {
    ingress: Ingress,
    query: fn(ListFilter) -> Query,
    /// With what is still to come as its limit; none where the list is over.
    rest: Option<ListFilter>,
    lines: VecDeque<Bytes>,
}

impl Ingress {
    async fn list(&self, filter: ListFilter, query: fn(ListFilter) -> Query) -> Answer {
        let mut page =
            Page { ingress: self.clone(), query, rest: Some(filter), lines: VecDeque::new() };
        // The first page before the head: an error still has a status then.
        page.read().await?;
        let stream = futures_util::stream::unfold(page, |mut page| async move {
            if page.lines.is_empty()
                && let Err(error) = page.read().await
            {
                // The head is out. Breaking off tells the reader that the list is not whole.
                let broken = std::io::Error::other(error.sentence);
                page.rest = None;
                return Some((Err(broken), page));
            }
            let line = page.lines.pop_front()?;
            Some((Ok(line), page))
        });
        Ok(typed_answer(StatusCode::OK, NDJSON, Body::from_stream(stream)))
    }
}

impl Page {
    async fn read(&mut self) -> Result<(), Refused> {
        let Some(mut rest) = self.rest.take() else { return Ok(()) };
        let asked = rest.limit.min(LIST_PAGE_ROWS);
        let filter = ListFilter { limit: asked, ..rest.clone() };
        let rows = self.ingress.desk()?.read((self.query)(filter)).await?;
        let (lines, count, last) = match &rows {
            Rows::Turns(rows) => lines(rows, rows.last().map(|row| row.id.to_string()))?,
            Rows::Deliveries(rows) => lines(rows, rows.last().map(|row| row.id.to_string()))?,
            _ => return Err(unexpected()),
        };
        self.lines.extend(lines);
        rest.limit = rest.limit.saturating_sub(count);
        // A short page is the last one.
        if count == asked && rest.limit > 0 {
            rest.after = last;
            self.rest = Some(rest);
        }
        Ok(())
    }
}

type Lines = (Option<Bytes>, u32, Option<String>);

/// One page as one piece of the body.
fn lines<T: Serialize>(rows: &[T], last: Option<String>) -> Result<Lines, Refused> {
    if rows.is_empty() {
        return Ok((None, 0, None));
    }
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, row).map_err(|_| unwritable())?;
        text.push(b'\n');
    }
    Ok((Some(text.into()), u32::try_from(rows.len()).unwrap_or(u32::MAX), last))
}
