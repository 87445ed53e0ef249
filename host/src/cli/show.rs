//! `turns show` and `outbox show`: one row with its whole history: what was tried and what came of
//! it, why it waits and since when, who ordered what, and what was made of it later.

use serde_json::Value;

use super::args::ShowArgs;
use super::change::lock_failure;
use super::lists::{Listed, delivery_id, kind_and_part, open, state_word, turn_id, unexpected};
use super::output::{Exit, Failure, Form, Output, time};
use crate::config::Config;
use crate::env::Env;
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::runtime::{first_line, lines, running_host};
use crate::store::{AttemptRow, DeliveryDetail, DeliveryRow, Query, Rows, TurnDetail, Wait};

/// `turns show`.
pub(super) fn turn(
    env: &Env,
    config: &Config,
    args: &ShowArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if args.id.parse::<DeliveryId>().is_ok() {
        return Err(of_other(&args.id, "a delivery", "outbox"));
    }
    let id = turn_id(&args.id)?;
    let query = Query::Turn { id, payload: args.payload };
    match open(config)?.read(&query)? {
        Rows::Turn(Some(mut turn)) => {
            turn.waits = waits_now(env, config, turn.row.ended_at_ms.is_none(), turn.waits)?;
            show_turn(&turn, output)
        }
        Rows::Turn(None) => Err(Failure::new(Exit::Nothing, format!("there is no turn {id}"))),
        _ => Err(unexpected()),
    }
}

/// `outbox show`.
pub(super) fn delivery(
    env: &Env,
    config: &Config,
    args: &ShowArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if args.id.parse::<TurnId>().is_ok() {
        return Err(of_other(&args.id, "a turn", "turns"));
    }
    let id = delivery_id(&args.id)?;
    let query = Query::Delivery { id, payload: args.payload };
    match open(config)?.read(&query)? {
        Rows::Delivery(Some(mut delivery)) => {
            let live = delivery.rested_at_ms.is_none();
            delivery.waits = waits_now(env, config, live, delivery.waits)?;
            show_delivery(&delivery, output)
        }
        Rows::Delivery(None) => {
            Err(Failure::new(Exit::Nothing, format!("there is no delivery {id}")))
        }
        _ => Err(unexpected()),
    }
}

/// An id of the other kind.
fn of_other(id: &str, what: &str, command: &str) -> Failure {
    Failure::new(Exit::Nothing, format!("{id} is {what}: `lastword {command} show {id}` shows it"))
}

/// What still keeps a row waiting; first of all that nobody runs who could go on with it.
fn waits_now(
    env: &Env,
    config: &Config,
    live: bool,
    stored: Vec<Wait>,
) -> Result<Vec<Wait>, Failure> {
    let now_ms = env.now().wall_ms;
    let mut waits = Vec::new();
    if live && running_host(&config.data_dir).map_err(lock_failure)?.is_none() {
        let reason = "no host runs: `lastword run` goes on with it".to_owned();
        waits.push(Wait { code: "no_host".to_owned(), reason, since_ms: None, until_ms: None });
    }
    waits.extend(stored.into_iter().filter(|wait| wait.holds_at(now_ms)));
    Ok(waits)
}

fn show_waits(waits: &[Wait], output: &mut Output<'_>) -> Result<(), Failure> {
    for wait in waits {
        let since = wait.since_ms.map(|at| format!(", since {}", time(at))).unwrap_or_default();
        let until = wait.until_ms.map(|at| format!(", until {}", time(at))).unwrap_or_default();
        let text = format!("{} ({}{since}{until})", lines(&wait.reason), wait.code);
        output.facts(&[("waits", Some(text))])?;
    }
    Ok(())
}

/// What a message or a reply says; files and the rest of it stand in `--json`.
fn text_of(payload: &Value) -> String {
    payload.get("text").and_then(Value::as_str).map_or_else(|| payload.to_string(), str::to_owned)
}

fn ids(ids: &[String]) -> Option<String> {
    Some(ids.join(" ")).filter(|text| !text.is_empty())
}

fn show_turn(turn: &TurnDetail, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.form == Form::Json {
        return output.json(turn);
    }
    let row = &turn.row;
    output.facts(&[
        ("turn", Some(row.id.to_string())),
        ("channel", Some(row.channel.clone())),
        ("conversation", Some(row.conversation.clone())),
        ("external id", row.external_id.clone()),
        ("state", Some(row.state.clone())),
        ("attempts", Some(row.attempts.to_string())),
        ("host losses", Some(turn.host_losses).filter(|count| *count > 0).map(|n| n.to_string())),
        ("accepted", Some(time(row.accepted_at_ms))),
        ("due", turn.due_at_ms.map(time)),
        ("ended", row.ended_at_ms.map(time)),
        ("ended by", turn.ended_by.clone()),
        ("code", row.code.clone()),
        ("reason", row.reason.as_deref().map(lines)),
        ("ordered by", turn.made_by.clone()),
        ("replay of", turn.replay_of.clone()),
        ("replayed as", ids(&turn.replays)),
        ("text", turn.message.as_ref().map(text_of)),
    ])?;
    show_waits(&turn.waits, output)?;
    if !turn.lost_tries.is_empty() {
        output.line("")?;
        let head = ["lost try", "at", "code", "reason"];
        let tries = turn.lost_tries.iter().map(|lost| {
            vec![lost.number.to_string(), time(lost.at_ms), lost.code.clone(), lost.reason.clone()]
        });
        output.table(&head, tries.collect())?;
    }
    if turn.deliveries.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.table(DeliveryRow::HEAD, turn.deliveries.iter().map(Listed::cells).collect())
}

fn show_delivery(delivery: &DeliveryDetail, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.form == Form::Json {
        return output.json(delivery);
    }
    let row = &delivery.row;
    let doubted = delivery.maybe_sent.then(|| "may have been sent".to_owned());
    output.facts(&[
        ("delivery", Some(row.id.to_string())),
        ("turn", row.turn_id.map(|id| id.to_string())),
        ("about turn", delivery.about_turn.clone()),
        ("channel", Some(row.channel.clone())),
        ("conversation", Some(row.conversation.clone())),
        ("kind", Some(kind_and_part(row))),
        ("state", Some(state_word(row))),
        ("doubt", doubted),
        ("double", delivery.possible_double.then(|| "possibly shown twice".to_owned())),
        ("attempts", Some(row.attempts.to_string())),
        ("asked", Some(delivery.asked).filter(|count| *count > 0).map(|n| n.to_string())),
        ("next attempt", row.next_attempt_at_ms.map(time)),
        ("platform id", row.platform_id.clone()),
        ("code", row.code.clone()),
        ("reason", row.reason.as_deref().map(lines)),
        ("made", Some(time(delivery.created_at_ms))),
        ("at rest", delivery.rested_at_ms.map(time)),
        ("ordered by", delivery.made_by.clone()),
        ("replay of", delivery.replay_of.clone()),
        ("repeated as", ids(&delivery.replays)),
        ("resolved by", delivery.resolved_by.clone()),
        ("text", delivery.body.as_ref().map(text_of)),
    ])?;
    show_waits(&delivery.waits, output)?;
    for receipt in &delivery.late_receipts {
        output.facts(&[("late receipt", Some(receipt.to_string()))])?;
    }
    if delivery.history.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let head = ["call", "started", "ended", "outcome", "code", "reason", "note"];
    output.table(&head, delivery.history.iter().map(attempt_cells).collect())
}

fn attempt_cells(attempt: &AttemptRow) -> Vec<String> {
    let note = if attempt.contradicted { "the adapter's word did not stand" } else { "" };
    vec![
        attempt.call.to_string(),
        time(attempt.started_at_ms),
        attempt.ended_at_ms.map(time).unwrap_or_default(),
        attempt.outcome.clone().unwrap_or_default(),
        attempt.code.clone().unwrap_or_default(),
        attempt.reason.as_deref().map(first_line).unwrap_or_default().to_owned(),
        note.to_owned(),
    ]
}
