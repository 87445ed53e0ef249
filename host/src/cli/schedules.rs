//! `schedules`: list and show by reading the store; add, change, pause, resume and cancel through
//! the host while one runs, else under the lock.

use serde_json::{Value, json};

use super::api::segment;
use super::args::{ScheduleAdd, ScheduleChange, SchedulesCommand, ShowArgs};
use super::change::{Change, known_channel};
use super::lists::{open, unexpected};
use super::output::{Exit, Failure, Form, Output, time};
use crate::config::Config;
use crate::env::Env;
use crate::store::{
    ChangeBody, Command, Query, Rows, ScheduleAct, ScheduleBody, ScheduleRow, SenderBody,
};

pub(super) async fn schedules(
    env: &Env,
    config: &Config,
    command: SchedulesCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let change = match command {
        SchedulesCommand::List => return list(config, output),
        SchedulesCommand::Show(args) => return show(config, &args, output),
        SchedulesCommand::Add(args) => add(config, args)?,
        SchedulesCommand::Change(args) => change(args)?,
        SchedulesCommand::Pause { name } => {
            let path = path(&name, "pause");
            of(ScheduleAct::Pause { name }, path, json!({}), "paused")
        }
        SchedulesCommand::Resume { name } => {
            let path = path(&name, "resume");
            of(ScheduleAct::Resume { name }, path, json!({}), "resumed")
        }
        SchedulesCommand::Cancel { name } => {
            let path = path(&name, "cancel");
            of(ScheduleAct::Cancel { name }, path, json!({}), "cancelled")
        }
    };
    change.carry_out(env, config, output).await
}

fn of(act: ScheduleAct, path: String, body: Value, done: &'static str) -> Change {
    Change::new(Command::Schedule(act), path, body, done)
}

fn path(name: &str, act: &str) -> String {
    format!("/v1/schedules/{}/{act}", segment(name))
}

fn add(config: &Config, args: ScheduleAdd) -> Result<Change, Failure> {
    known_channel(config, &args.channel)?;
    let body = ScheduleBody {
        name: args.name,
        channel: args.channel,
        conversation: args.conversation,
        text: args.text,
        sender: SenderBody::Id(args.sender),
        cron: args.cron,
        zone: args.zone,
        catch_up: args.catch_up,
    };
    let json = json!(body);
    Ok(of(body.into_act()?, "/v1/schedules".to_owned(), json, "added"))
}

fn change(args: ScheduleChange) -> Result<Change, Failure> {
    let body = ChangeBody {
        cron: args.cron,
        zone: args.zone,
        catch_up: args.catch_up,
        text: args.text,
        sender: args.sender.map(SenderBody::Id),
    };
    let (json, path) = (json!(body), path(&args.name, "change"));
    Ok(of(body.into_act(args.name)?, path, json, "changed"))
}

fn list(config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let rows = match open(config)?.read(&Query::Schedules)? {
        Rows::Schedules(rows) => rows,
        _ => return Err(unexpected()),
    };
    if output.form == Form::Json {
        return rows.iter().try_for_each(|row| output.json(row));
    }
    let head =
        ["name", "state", "next", "cron", "zone", "channel", "conversation", "made", "skipped"];
    let cells = rows.into_iter().map(|row| {
        let next = row.next_due_at_ms.map(time).unwrap_or_default();
        let counts = (row.made.to_string(), row.skipped.to_string());
        let place = (row.channel, row.conversation);
        vec![row.name, row.state, next, row.cron, row.zone, place.0, place.1, counts.0, counts.1]
    });
    output.table(&head, cells.collect())
}

fn show(config: &Config, args: &ShowArgs, output: &mut Output<'_>) -> Result<(), Failure> {
    let query = Query::Schedule { name: args.id.clone(), payload: args.payload };
    let row = match open(config)?.read(&query)? {
        Rows::Schedule(Some(row)) => *row,
        Rows::Schedule(None) => {
            let sentence = format!("there is no schedule \"{}\"", args.id);
            return Err(Failure::new(Exit::Nothing, sentence));
        }
        _ => return Err(unexpected()),
    };
    if output.form == Form::Json {
        return output.json(&row);
    }
    let ScheduleRow { made, skipped, .. } = row;
    let text = row.message.as_ref().and_then(|message| message.get("text"));
    output.facts(&[
        ("name", Some(row.name.clone())),
        ("state", Some(row.state.clone())),
        ("code", row.code.clone()),
        ("reason", row.reason.clone()),
        ("channel", Some(row.channel.clone())),
        ("conversation", Some(row.conversation.clone())),
        ("cron", Some(row.cron.clone())),
        ("zone", Some(row.zone.clone())),
        ("catch up", Some(row.catch_up.clone())),
        ("next due", row.next_due_at_ms.map(time)),
        ("last due", row.last_due_at_ms.map(time)),
        ("last turn", row.last_turn_id.map(|turn| turn.to_string())),
        ("made", Some(made.to_string())),
        ("skipped", Some(skipped.to_string())),
        ("text", text.and_then(Value::as_str).map(ToOwned::to_owned)),
    ])
}
