//! `/hooks/CHANNEL/...`: a platform's request goes to the guest, what the guest makes of it is
//! committed, and only then the platform is answered.
//!
//! The channel is the one of the path and of nothing else: nothing that a guest or a platform says
//! names another. Every failure before the commit is answered 503 (429 when full), so that the
//! platform sends the message again; what will never be taken is answered 413.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tracing::{debug, info, warn};

use super::answer::Refused;
use super::metrics::HookEnd;
use super::ports::{Closed, Door, OpenDoor};
use super::reply::{self, Counts};
use super::{Ingress, Phase};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::outcome::{Call, CallEnd, StateWrites};
use crate::sandbox::{WebhookReply, WebhookRequest};
use crate::store::AcceptedEvent;

const PREFIX: &str = "/hooks/";

/// Everything that is no other path of the host.
pub(super) async fn handle(State(ingress): State<Ingress>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some((name, rest)) = channel_and_rest(parts.uri.path()) else {
        let sentence = "there is no such path; platforms call /hooks/CHANNEL, operators /v1";
        return Refused::nothing(sentence).into_response();
    };
    let behind = match ingress.behind() {
        Ok(behind) => behind,
        Err(starting) => return starting.into_response(),
    };
    let Some((channel, door)) = behind.doors.get_key_value(&ChannelName(name.to_owned())) else {
        return unknown_channel().into_response();
    };
    let began = ingress.0.env.elapsed();
    let answer = match ingress.enter(channel, door) {
        Ok(door) => {
            let path = rest.to_owned();
            ingress.serve(channel, door, &parts, path, body).await
        }
        Err(refused) => Err(refused),
    };
    let took = ingress.0.env.elapsed().saturating_sub(began);
    ingress.finish(channel, answer, took)
}

/// The channel's name and what follows it, as it came. No decoding: a name has no character that
/// anybody would encode.
fn channel_and_rest(path: &str) -> Option<(&str, &str)> {
    let after = path.strip_prefix(PREFIX)?;
    let end = after.find('/').unwrap_or(after.len());
    Some(after.split_at(end))
}

fn unknown_channel() -> Refused {
    let sentence = "there is no channel of this name; `lastword channels list` shows them";
    Refused::nothing(sentence)
}

impl Ingress {
    /// Whether the channel takes requests now.
    fn enter<'a>(&self, channel: &ChannelName, door: &'a Door) -> Result<&'a OpenDoor, Refused> {
        if self.phase() == Phase::Stopping {
            let sentence = "the host is stopping; send it again in a moment";
            return Err(Refused::unavailable("stopping", sentence).retry_after(5));
        }
        match door.now() {
            Ok(door) => Ok(door),
            Err(Closed::NoWebhook) => {
                let sentence = format!(
                    "the adapter of channel \"{channel}\" takes no webhooks: it fetches its \
                     messages itself"
                );
                Err(Refused::nothing(sentence))
            }
            // Why stands in /readyz and `lastword status`, for the operator.
            Err(Closed::Refused(_)) => {
                let sentence = format!(
                    "channel \"{channel}\" is not served until its operator mends it; send it again"
                );
                Err(Refused::unavailable("channel_refused", sentence).retry_after(60))
            }
        }
    }

    async fn serve(
        &self,
        channel: &ChannelName,
        door: &OpenDoor,
        parts: &Parts,
        path: String,
        body: axum::body::Body,
    ) -> Result<Response, Refused> {
        let body = self.read_body(&parts.headers, body, door.body_bytes_max).await?;
        let Ok(_permit) = door.calls.try_acquire() else {
            let sentence = format!("channel \"{channel}\" is busy; send it again");
            return Err(Refused::unavailable("channel_busy", sentence).retry_after(1));
        };
        let request = WebhookRequest {
            method: parts.method.as_str().to_owned(),
            path,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: guest_headers(&parts.headers),
            body: body.bytes,
        };
        let call = door.hook.handle(request).await;
        let (reply, state) = judge(channel, call)?;
        let accepted = self.commit(channel, &reply, state).await?;
        let counts = Counts::of(&accepted);
        report(channel, &accepted, &counts);
        self.0.metrics.events(channel, &counts);
        Ok(reply::answer(channel, reply, &accepted, &counts))
    }

    /// Commits what the call brought, on a task of its own: a platform that hangs up must not leave
    /// an abort committed and its handler running.
    async fn commit(
        &self,
        channel: &ChannelName,
        reply: &WebhookReply,
        state: StateWrites,
    ) -> Result<Vec<AcceptedEvent>, Refused> {
        // A challenge, a refusal, a ping: nothing to commit, so nothing that could fail.
        let commits = (200..300).contains(&reply.status)
            && !(reply.events.is_empty() && state.writes.is_empty());
        if !commits {
            return Ok(Vec::new());
        }
        let (desk, name) = (self.desk()?.clone(), channel.clone());
        let events = reply.events.clone();
        let task = self.0.env.spawn(async move { desk.accept(&name, events, state).await });
        match task.await {
            Ok(Ok(accepted)) => Ok(accepted),
            Ok(Err(error)) => {
                warn!(%channel, %error, "a webhook's events were not accepted");
                Err(Refused::from(error))
            }
            Err(_) => {
                let sentence = "the host failed at this request; send it again";
                Err(Refused::unavailable("host_fault", sentence).retry_after(5))
            }
        }
    }

    fn finish(
        &self,
        channel: &ChannelName,
        answer: Result<Response, Refused>,
        took: Duration,
    ) -> Response {
        let (end, response) = match answer {
            Ok(response) => (HookEnd::of_status(response.status()), response),
            Err(refused) => {
                debug!(%channel, code = refused.code, "a webhook was refused");
                (HookEnd::Refused(refused.code), refused.into_response())
            }
        };
        self.0.metrics.request(channel, end, took);
        response
    }
}

/// What of the call stands. A guest that fell, or that says "no" and hands over messages, has
/// accepted nothing.
fn judge(
    channel: &ChannelName,
    call: Call<WebhookReply>,
) -> Result<(WebhookReply, StateWrites), Refused> {
    let again = "the adapter could not take the request; send it again";
    let (code, words) = match call.end {
        CallEnd::Answered(WebhookReply { too_much: Some(words), .. }) => {
            warn!(%channel, digest = call.digest, reason = words, "a webhook brought too much");
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_much", words));
        }
        CallEnd::Answered(reply) => match fault_of(&reply) {
            None => return Ok((reply, call.state)),
            Some(words) => ("adapter_fault", words),
        },
        CallEnd::Trapped(words) => ("adapter_trapped", words),
        CallEnd::DeadlinePassed => ("adapter_deadline", "its wall clock ran out".to_owned()),
        CallEnd::CpuSpent => ("adapter_cpu", "its CPU time ran out".to_owned()),
        CallEnd::Cancelled => ("adapter_cancelled", "the call was ended".to_owned()),
        CallEnd::NotCalled(fault) => ("adapter_not_called", fault.sentence),
    };
    let digest = call.digest;
    warn!(%channel, digest, code, reason = words, "a webhook call came to nothing");
    Err(Refused::unavailable(code, again).retry_after(5))
}

fn fault_of(reply: &WebhookReply) -> Option<String> {
    let status = reply.status;
    if !(200..600).contains(&status) {
        return Some(format!("it answered with {status}, which is no status of an answer"));
    }
    if !(200..300).contains(&status) && !reply.events.is_empty() {
        let count = reply.events.len();
        return Some(format!("it answered {status} beside {count} events; events want a 2xx"));
    }
    None
}

/// Names are lower-case by the HTTP library; values that are no UTF-8 are left out.
fn guest_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let texts = headers.iter().filter_map(|(name, value)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    texts.collect()
}

/// Ids in the log, never text.
fn report(channel: &ChannelName, accepted: &[AcceptedEvent], counts: &Counts) {
    for event in accepted {
        match event {
            AcceptedEvent::Refused { sentence } => {
                warn!(%channel, reason = sentence, "an event was refused");
            }
            AcceptedEvent::Abort { stopped, again: false } => {
                info!(%channel, stopped = stopped.len(), "a person stopped the work");
            }
            AcceptedEvent::Turn { turn, .. } => debug!(%channel, %turn, "accepted"),
            AcceptedEvent::Duplicate { .. }
            | AcceptedEvent::Abort { again: true, .. }
            | AcceptedEvent::Context
            | AcceptedEvent::Joined { .. }
            | AcceptedEvent::Edited { .. }
            | AcceptedEvent::TakenBack { .. }
            | AcceptedEvent::Receipt { .. }
            | AcceptedEvent::Dropped => {}
        }
    }
    if counts.dropped > 0 {
        info!(%channel, events = counts.dropped, "events without a conversation are dropped");
    }
}

/// The status of a guest's reply, which [`fault_of`] has checked.
pub(super) fn status_of(reply: &WebhookReply) -> StatusCode {
    StatusCode::from_u16(reply.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_split_after_the_channel_and_left_as_it_came() {
        for (path, split) in [
            ("/hooks/a/messages", Some(("a", "/messages"))),
            ("/hooks/a", Some(("a", ""))),
            ("/hooks/a/", Some(("a", "/"))),
            ("/hooks/a//%2e%2e/../b", Some(("a", "//%2e%2e/../b"))),
            ("/hooks/", Some(("", ""))),
            ("/hooks", None),
            ("/hook/a", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(channel_and_rest(path), split, "{path}");
        }
    }

    #[test]
    fn a_reply_with_events_beside_a_refusal_is_the_adapters_fault() {
        use crate::lifecycle::message::{Deletion, InboundEvent};
        let event = InboundEvent::Deleted(Deletion {
            conversation: "room".to_owned(),
            external_id: "m1".to_owned(),
        });
        let reply = |status, events| WebhookReply {
            status,
            headers: vec![],
            body: vec![],
            events,
            too_much: None,
        };
        assert_eq!(fault_of(&reply(204, vec![event.clone()])), None);
        assert_eq!(fault_of(&reply(401, vec![])), None);
        assert!(fault_of(&reply(401, vec![event])).is_some());
        for status in [0, 99, 101, 199, 600, u16::MAX] {
            assert!(fault_of(&reply(status, vec![])).is_some(), "{status}");
        }
    }
}
