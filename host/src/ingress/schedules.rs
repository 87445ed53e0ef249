//! `/v1/schedules/...`: list, show, add, change, pause, resume, cancel.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::Ingress;
use super::answer::{Refused, Segment, json_answer};
use super::api::{Answer, word};
use super::lists::{AskedShow, document, shown, unexpected};
use crate::store::{ChangeBody, Command, Query, Rows, ScheduleAct, ScheduleBody};

pub(super) async fn list(State(ingress): State<Ingress>) -> Answer {
    match ingress.desk()?.read(Query::Schedules).await? {
        Rows::Schedules(rows) => Ok(json_answer(StatusCode::OK, &json!({"schedules": rows}))),
        _ => Err(unexpected()),
    }
}

pub(super) async fn show(
    State(ingress): State<Ingress>,
    Segment(name): Segment,
    asked: AskedShow,
) -> Answer {
    let payload = shown(asked)?;
    match ingress.desk()?.read(Query::Schedule { name, payload }).await? {
        Rows::Schedule(Some(row)) => document(&row),
        Rows::Schedule(None) => Err(Refused::nothing(
            "there is no schedule of this name; `lastword schedules list` shows them",
        )),
        _ => Err(unexpected()),
    }
}

pub(super) async fn add(State(ingress): State<Ingress>, request: Request) -> Answer {
    let body: ScheduleBody = ingress.read_json(request).await?;
    ingress.require_channel(&body.channel)?;
    ingress.carry_out(body.into_act()?, "schedule added").await
}

pub(super) async fn change(
    State(ingress): State<Ingress>,
    Segment(name): Segment,
    request: Request,
) -> Answer {
    let body: ChangeBody = ingress.read_json(request).await?;
    let name = word("name", name)?;
    ingress.carry_out(body.into_act(name)?, "schedule changed").await
}

pub(super) async fn pause(State(ingress): State<Ingress>, Segment(name): Segment) -> Answer {
    let name = word("name", name)?;
    ingress.carry_out(ScheduleAct::Pause { name }, "schedule paused").await
}

pub(super) async fn resume(State(ingress): State<Ingress>, Segment(name): Segment) -> Answer {
    let name = word("name", name)?;
    ingress.carry_out(ScheduleAct::Resume { name }, "schedule resumed").await
}

pub(super) async fn cancel(State(ingress): State<Ingress>, Segment(name): Segment) -> Answer {
    let name = word("name", name)?;
    ingress.carry_out(ScheduleAct::Cancel { name }, "schedule cancelled").await
}

impl Ingress {
    async fn carry_out(&self, act: ScheduleAct, done: &'static str) -> Result<Response, Refused> {
        self.operate(Command::Schedule(act), done).await
    }
}
