//! What pull workers say of their turns: signs of life, progress, the end. One request is one step
//! of the store: all of it is taken, or nothing. A token that holds no more changes nothing.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::channel::Channel;
use super::deliverer::{self, DeliveryStart};
use super::hub::{Hub, wrong_answer};
use super::parts::rows_of;
use super::turn_files::take_offered;
use super::turn_run;
use crate::handler::{HandlerEvent, Protocol, Step, read_events};
use crate::lifecycle::id::{ChannelName, ClaimToken, TurnId};
use crate::lifecycle::lease::LEASE_MS_MIN;
use crate::lifecycle::turn::TurnState;
use crate::store::{
    Answer, Command, HeldLease, NewDelivery, PullAnswer, PullCommand, PullEnd, PullEnded,
    PullRefusal, PullReport, Query, RequestKey, Rows, StoreError,
};

/// Whose turn, by what token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub turn: TurnId,
    pub token: String,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Events, in any form that an `http` handler may answer with.
    pub body: Vec<u8>,
    /// Whether they must end the try.
    pub must_end: bool,
    /// The worker's own name for this request: again under the same one, it changes nothing.
    pub key: Option<String>,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Held(HeldLease),
    /// The try is over; the turn was in this state right after it.
    Ended(TurnState),
}

/// Why a worker's request changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// What answers turns here is no pull worker.
    NotServed,
    Invalid(String),
    /// So many wait that no more may.
    Crowded {
        most: u32,
    },
    Stopping,
    NoSuchTurn(TurnId),
    /// The token holds no more: a code and a sentence.
    Over {
        code: &'static str,
        sentence: String,
    },
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The token as workers are told it.
pub(super) fn token_text(token: ClaimToken) -> String {
    format!("{:016x}", token.0)
}

fn token(holder: &Holder) -> Result<ClaimToken, Refusal> {
    let digits = Some(&holder.token).filter(|text| text.len() == 16);
    let read = digits.and_then(|text| i64::from_str_radix(text, 16).ok());
    read.map(ClaimToken).ok_or_else(|| refused(holder.turn, PullRefusal::Stale))
}

/// The name of a request that may come again.
#[must_use]
pub fn request_key(words: &[&[u8]]) -> RequestKey {
    let mut digest = Sha256::new();
    for word in words {
        // Framed by length: no two lists of words are one text.
        digest.update((word.len() as u64).to_be_bytes());
        digest.update(word);
    }
    let whole: [u8; 32] = digest.finalize().into();
    let mut key = RequestKey::default();
    key.copy_from_slice(&whole[..16]);
    key
}

/// Keeps a lease.
///
/// # Errors
/// Why it is not kept; nothing was changed.
pub async fn heartbeat(
    hub: &Arc<Hub>,
    holder: &Holder,
    lease_ms: Option<u64>,
) -> Result<Told, Refusal> {
    let most = hub.pull.as_ref().map_or(u64::MAX, |desk| desk.rules.lease_max_ms);
    if lease_ms.is_some_and(|ms| !(LEASE_MS_MIN..=most).contains(&ms)) {
        let sentence = format!("\"lease_ms\" must be from {LEASE_MS_MIN} to {most}");
        return Err(Refusal::Invalid(sentence));
    }
    let (turn, token) = (holder.turn, token(holder)?);
    match run(hub, PullCommand::Renew { turn, token, lease_ms }).await? {
        PullAnswer::Held(lease) => Ok(Told::Held(lease)),
        PullAnswer::Refused(why) => Err(refused(turn, why)),
        PullAnswer::Claimed(_) | PullAnswer::Said { .. } | PullAnswer::Ended(_) => {
            Err(wrong_answer("renew a lease").into())
        }
    }
}

/// Takes what a worker says. Goes on where the worker goes away: it may be committed by then.
///
/// # Errors
/// Why nothing of it was taken.
pub async fn report(hub: &Arc<Hub>, holder: Holder, said: Said) -> Result<Told, Refusal> {
    let worker = Arc::clone(hub);
    let work = async move { take(&worker, &holder, &said).await };
    match hub.env.spawn(hub.tasks.track_future(work)).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::NotWritable("the host ends".to_owned()).into()),
    }
}

async fn take(hub: &Arc<Hub>, holder: &Holder, said: &Said) -> Result<Told, Refusal> {
    let (turn, token) = (holder.turn, token(holder)?);
    let limits = hub.rules.handler;
    let mut events = read_events(&said.body, limits)
        .map_err(|failure| Refusal::Invalid(format!("{}; nothing was taken", failure.reason)))?;
    let channel = channel_of(hub, turn).await?;
    for event in &mut events {
        take_files(hub, channel, event).await?;
    }
    let facts = channel.facts();
    let (rows, end) = meaning(hub, events, |kind, reply| rows_of(kind, reply, &facts))?;
    if said.must_end && end.is_none() {
        let sentence =
            "the last event must be \"final\", \"silent\" or \"fail\"; nothing was taken";
        return Err(Refusal::Invalid(sentence.to_owned()));
    }
    let named = said.key.as_deref().map(str::as_bytes);
    let key = (named.is_some() || end.is_some())
        .then(|| request_key(&[named.unwrap_or_default(), &said.body]));
    let counted = match &end {
        None => None,
        Some(PullEnd::Final(_) | PullEnd::Silence) => Some(&hub.metrics.tries_decided),
        Some(PullEnd::Lost(_)) => Some(&hub.metrics.tries_failed),
    };
    let fold = hub.delivery_fold(channel);
    let report = PullReport {
        turn,
        token,
        key,
        rows,
        end,
        claim_first: hub.lease_if(fold.as_ref()),
        rows_max: limits.events_max,
        bytes_max: limits.output_bytes_max as u64,
    };
    let (told, first) = match run(hub, PullCommand::Report(report)).await? {
        PullAnswer::Said { lease, first } => (Told::Held(lease), first),
        PullAnswer::Ended(ended) => {
            let PullEnded { state, again, turn_ended, first } = *ended;
            if !again {
                if let Some(counter) = counted {
                    counter.up();
                }
                tracing::info!(turn = %turn, state = state.word(), "try ended by its worker");
            }
            if let Some(end) = turn_ended {
                hub.turn_ended(&end);
            }
            hub.wake_turns();
            (Told::Ended(state), first)
        }
        PullAnswer::Refused(why) => {
            hub.metrics.late_events_refused.up();
            return Err(refused(turn, why));
        }
        PullAnswer::Claimed(_) | PullAnswer::Held(_) => return Err(wrong_answer("report").into()),
    };
    match (first, fold) {
        (Some(claimed), Some((ticket, approach))) => {
            deliverer::start(hub, DeliveryStart { claimed, ticket, approach });
        }
        (_, fold) => {
            drop(fold);
            channel.wake();
        }
    }
    Ok(told)
}

/// The channel that a turn's replies are fitted to.
async fn channel_of(hub: &Hub, turn: TurnId) -> Result<&Arc<Channel>, Refusal> {
    let name = match hub.store.read(Query::TurnChannel { id: turn }).await? {
        Rows::Text(Some(name)) => ChannelName(name),
        Rows::Text(None) => return Err(Refusal::NoSuchTurn(turn)),
        _ => return Err(wrong_answer("the channel of a turn").into()),
    };
    hub.channel(&name).ok_or_else(|| {
        let sentence = format!(
            "the channel \"{name}\" is not served, so that replies could not be fitted to it; send \
             it again when it is"
        );
        Refusal::Over { code: "channel_not_served", sentence }
    })
}

/// The files of an event, which the worker has uploaded before.
async fn take_files(hub: &Hub, channel: &Channel, event: &mut HandlerEvent) -> Result<(), Refusal> {
    let (HandlerEvent::Tool(reply) | HandlerEvent::Block(reply) | HandlerEvent::Final(reply)) =
        event
    else {
        return Ok(());
    };
    let taken = take_offered(hub, channel, None, std::mem::take(reply)).await;
    *reply = taken
        .map_err(|failure| Refusal::Invalid(format!("{}; nothing was taken", failure.reason)))?;
    Ok(())
}

type Meaning = (Vec<NewDelivery>, Option<PullEnd>);

/// The rows and the end that the events come to, by the rules that hold for every handler.
fn meaning(
    hub: &Hub,
    events: Vec<HandlerEvent>,
    rows_of: impl Fn(
        crate::lifecycle::message::DeliveryKind,
        crate::lifecycle::message::Reply,
    ) -> Vec<NewDelivery>,
) -> Result<Meaning, Refusal> {
    let mut protocol = Protocol::new(hub.rules.handler);
    let (mut rows, mut end) = (Vec::new(), None);
    for event in events {
        match protocol.take(event) {
            Step::Alive => {}
            Step::Say(kind, reply) => rows.extend(rows_of(kind, reply)),
            Step::Complete(reply) => {
                let kind = crate::lifecycle::message::DeliveryKind::Final;
                end = Some(PullEnd::Final(rows_of(kind, reply)));
            }
            Step::Silent => end = Some(PullEnd::Silence),
            Step::Failed(failure) => end = Some(PullEnd::Lost(turn_run::loss(failure))),
            Step::Refused(rule) => {
                let sentence = format!("an event is {rule}; nothing of the request was taken");
                return Err(Refusal::Over { code: "after_the_end", sentence });
            }
        }
    }
    Ok((rows, end))
}

async fn run(hub: &Hub, command: PullCommand) -> Result<PullAnswer, Refusal> {
    match hub.store.run(Command::Pull(Box::new(command))).await? {
        Answer::Pull(answer) => Ok(*answer),
        _ => Err(wrong_answer("a worker's request").into()),
    }
}

/// What the worker is told.
pub(super) fn refused(turn: TurnId, why: PullRefusal) -> Refusal {
    let over = |code, sentence: String| Refusal::Over { code, sentence };
    match why {
        PullRefusal::NoSuchTurn => Refusal::NoSuchTurn(turn),
        PullRefusal::Stale => {
            let sentence = format!(
                "the token does not hold turn {turn}: its lease ran out, or a newer try has it; \
                 drop the work and claim again"
            );
            over("stale_token", sentence)
        }
        PullRefusal::Aborted { by } => {
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            over("aborted", format!("turn {turn} was stopped{by}; drop its work"))
        }
        PullRefusal::Ended { state } => {
            let rule = match state {
                TurnState::Silent => "refused: the turn was ended by the silent event before it",
                TurnState::Queued | TurnState::Failed => "refused: the try had failed before it",
                TurnState::Running
                | TurnState::Delivering
                | TurnState::Delivered
                | TurnState::Aborted
                | TurnState::Expired => {
                    "refused: the turn was completed by the final reply before it"
                }
            };
            over("after_the_end", rule.to_owned())
        }
        PullRefusal::DeadlineOver => {
            let sentence = format!(
                "turn {turn} is at `handler_deadline`: its lease is not renewed any more; end it now"
            );
            over("handler_deadline", sentence)
        }
        PullRefusal::TooMuch => {
            let sentence = "one try may not say so much: its events or their text pass the limit; \
                            end it now";
            over("too_much", sentence.to_owned())
        }
    }
}
