//! One delivery at the adapter: gate, call, judgement, record; then the next row of the same
//! conversation with the same permit, as long as the store hands one over.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::{Change, Health};
use super::channel::Ticket;
use super::deliverer::DeliveryStart;
use super::dispatcher;
use super::hub::{Hub, wrong_answer};
use super::ports::{given_up, not_called};
use super::rules::{CALL_SLACK_MS, CLAIM_LEFT_FOR_CALL, INTERVAL_WAIT_MS_MAX};
use super::turn_run::TurnStart;
use crate::gate::{Approach, GatePass, StopReason};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::outcome::{
    Call, CallEnd, Fault, Ledger, NotSent, Outcome, RateScope, StateWrites, judge,
};
use crate::store::{
    Answer, AskAnswer, ClaimNext, ClaimedDelivery, Command, DeliveryWork, HoldBy, RecordOutcome,
    Recorded, StoreError,
};

/// Works on the claimed row and on those that follow it.
pub(super) async fn run(hub: &Arc<Hub>, start: DeliveryStart) {
    let channel = Arc::clone(start.ticket.channel());
    let mut next = Some(start);
    while let Some(DeliveryStart { claimed, mut ticket, approach }) = next.take() {
        let command = match claimed.work {
            DeliveryWork::Send => Some(send(hub, &claimed, &mut ticket, approach).await),
            DeliveryWork::Ask { first_attempt_at_ms } => {
                ask(hub, &claimed, first_attempt_at_ms, &mut ticket, approach).await
            }
        };
        let Some(finished) = command else { break };
        next = record(hub, &claimed, finished, ticket).await;
    }
    channel.wake();
}

/// What is to be written down, still without what may be claimed next.
enum Finished {
    Sent(Box<RecordOutcome>),
    Asked { answer: AskAnswer, state: StateWrites },
}

async fn send(
    hub: &Arc<Hub>,
    claimed: &ClaimedDelivery,
    ticket: &mut Ticket,
    approach: Approach,
) -> Finished {
    if let Err(wait_ms) = keep_interval(hub, claimed, ticket).await {
        let not_sent =
            NotSent::RateLimited { retry_after_ms: wait_ms, scope: RateScope::Conversation };
        return not_begun(claimed, not_sent);
    }
    // Where the whole host stood still since the claim, others may have taken the row for lost: a
    // call that could outlive its claim is not begun.
    if hub.mono_ms().abs_diff(ticket.taken_ms()) > hub.rules.claim_ms / CLAIM_LEFT_FOR_CALL {
        tracing::warn!(delivery = %claimed.claim.delivery, "not sent: its claim is too old");
        return not_begun(claimed, NotSent::Stopped);
    }
    // The stop flag is read under the row's gate, and only then the adapter is called.
    let pass = match approach.enter(claimed.turn, claimed.claim.delivery) {
        Ok(pass) => pass,
        Err(reason) => {
            tracing::info!(delivery = %claimed.claim.delivery, "not sent: {reason}");
            return not_begun(claimed, NotSent::Stopped);
        }
    };
    hub.metrics.sends.up();
    hub.say_payload("reply", &claimed.claim.delivery, &claimed.message.text);
    let call = call_send(hub, claimed, ticket, pass).await;
    tell_breaker(hub, ticket, health(&call.end));
    let Call { end, ledger, state, usage: _, digest } = call;
    let verdict = judge(end, &ledger);
    if let Some(contradiction) = verdict.contradiction {
        hub.metrics.contradictions.up();
        hub.status.contradicted(&claimed.channel);
        let delivery = claimed.claim.delivery;
        tracing::warn!(%delivery, ?contradiction, "the adapter's word does not stand");
    }
    count(hub, &verdict.outcome);
    Finished::Sent(Box::new(RecordOutcome {
        claim: claimed.claim,
        outcome: verdict.outcome,
        ledger,
        digest,
        contradicted: verdict.contradiction.is_some(),
        state,
        next: ClaimNext::default(),
    }))
}

async fn call_send(
    hub: &Hub,
    claimed: &ClaimedDelivery,
    ticket: &Ticket,
    pass: GatePass,
) -> Call<crate::lifecycle::outcome::SendAnswer> {
    let Some(adapter) = ticket.channel().adapter_of(claimed.generation) else {
        return not_called(generation_gone());
    };
    let most = Duration::from_millis(adapter.facts().call_ms + CALL_SLACK_MS);
    let sending = adapter.send(claimed.kind, claimed.message.clone(), pass.stop().clone());
    // The adapter's side keeps its own deadline and says what left; this is for when it does not.
    let call = hub.env.timeout(most, sending).await.unwrap_or_else(|_| given_up());
    drop(pass);
    call
}

/// Two swaps came between the claim and its call. Nothing left, and nothing is charged.
fn generation_gone() -> Fault {
    Fault::new("generation_gone", "the generation by whose rules it was claimed serves no more")
}

/// Waits for the conversation's place in time. A long wait goes back to the store.
async fn keep_interval(
    hub: &Hub,
    claimed: &ClaimedDelivery,
    ticket: &mut Ticket,
) -> Result<(), u64> {
    let channel = Arc::clone(ticket.channel());
    let interval_ms = channel.facts().conversation_interval_ms;
    let conversation = &claimed.message.place.conversation;
    let wait_ms = channel.take_place(hub.mono_ms(), conversation, interval_ms);
    if wait_ms == 0 {
        return Ok(());
    }
    if wait_ms > INTERVAL_WAIT_MS_MAX {
        channel.refund_place(conversation, interval_ms);
        return Err(wait_ms);
    }
    let waiter = channel.waiters.try_acquire();
    if waiter.is_ok() {
        ticket.lend();
    }
    hub.sleep_ms(wait_ms).await;
    drop(waiter);
    ticket.take_back().await;
    Ok(())
}

/// The call did not start: nothing left, nothing is charged.
fn not_begun(claimed: &ClaimedDelivery, not_sent: NotSent) -> Finished {
    Finished::Sent(Box::new(RecordOutcome {
        claim: claimed.claim,
        outcome: Outcome::NotSent(not_sent),
        ledger: Ledger::default(),
        digest: String::new(),
        contradicted: false,
        state: StateWrites::default(),
        next: ClaimNext::default(),
    }))
}

/// Asks what became of the row. Nothing is to be written where the turn was aborted: the row says so
/// already.
async fn ask(
    hub: &Arc<Hub>,
    claimed: &ClaimedDelivery,
    since_ms: i64,
    ticket: &mut Ticket,
    approach: Approach,
) -> Option<Finished> {
    let pass = match approach.enter(claimed.turn, claimed.claim.delivery) {
        Ok(pass) => pass,
        Err(StopReason::PlannedStop) => return Some(not_asked(host_stops())),
        Err(_) => return None,
    };
    hub.metrics.asks.up();
    let channel = Arc::clone(ticket.channel());
    let since_ms = u64::try_from(since_ms).unwrap_or(0);
    let call = match channel.adapter_of(claimed.generation) {
        Some(adapter) => {
            let finding = adapter.find(claimed.message.clone(), since_ms, pass.stop().clone());
            let most = Duration::from_millis(adapter.facts().call_ms + CALL_SLACK_MS);
            hub.env.timeout(most, finding).await.unwrap_or_else(|_| given_up())
        }
        None => not_called(generation_gone()),
    };
    let stopped = pass.stop().reason() == Some(StopReason::PlannedStop);
    drop(pass);
    tell_breaker(hub, ticket, health(&call.end));
    let answer = match call.end {
        CallEnd::Answered(Ok(lookup)) => AskAnswer::Told(lookup),
        CallEnd::Answered(Err(error)) => AskAnswer::Failed(error),
        CallEnd::Cancelled if stopped => AskAnswer::NotAsked(host_stops()),
        CallEnd::Trapped(words) => AskAnswer::Broken(Fault::new("trap", words)),
        CallEnd::DeadlinePassed => broken("deadline", "the call ran out of its time"),
        CallEnd::CpuSpent => broken("cpu", "the call ran out of its CPU time"),
        CallEnd::Cancelled => broken("cancelled", "the call was ended by the host"),
        CallEnd::NotCalled(fault) => AskAnswer::NotAsked(fault),
    };
    Some(Finished::Asked { answer, state: call.state })
}

fn not_asked(fault: Fault) -> Finished {
    Finished::Asked { answer: AskAnswer::NotAsked(fault), state: StateWrites::default() }
}

/// It is asked about after the next start.
fn host_stops() -> Fault {
    Fault::new("planned_stop", "the host stops")
}

fn broken(code: &str, sentence: &str) -> AskAnswer {
    AskAnswer::Broken(Fault::new(code, sentence))
}

/// Writes it down, again and again until the store takes it, and takes what comes next with it.
async fn record(
    hub: &Arc<Hub>,
    claimed: &ClaimedDelivery,
    finished: Finished,
    mut ticket: Ticket,
) -> Option<DeliveryStart> {
    let goes_on = hub.shutdown.is_running() && ticket.renew(hub.mono_ms()).is_ok();
    let delivery_fold = goes_on.then(|| hub.gate.approach());
    let turn_fold = hub.turn_fold();
    let next = ClaimNext {
        delivery: hub.lease_if(delivery_fold.as_ref()),
        turn: hub.lease_if(turn_fold.as_ref()),
    };
    let command = match finished {
        Finished::Sent(mut outcome) => {
            outcome.next = next;
            Command::Record(outcome)
        }
        Finished::Asked { answer, state } => {
            Command::RecordAsk { claim: claimed.claim, answer, state, next }
        }
    };
    let recorded = match hub.persist(command).await {
        Ok(Answer::Recorded(recorded)) => recorded,
        Ok(_) => return not_recorded(claimed, &wrong_answer("record")),
        Err(error) => return not_recorded(claimed, &error),
    };
    report(hub, claimed, &recorded);
    let Recorded { turn_ended, next, .. } = *recorded;
    match (next.turn, turn_fold) {
        (Some(claimed), Some((permit, approach))) => {
            dispatcher::start(hub, TurnStart { claimed, permit, approach });
            // It may be another conversation's, and this one's next is due too.
            hub.wake_turns();
        }
        (_, fold) => {
            drop(fold);
            if turn_ended.is_some() {
                hub.wake_turns();
            }
        }
    }
    let (claimed, approach) = next.delivery.zip(delivery_fold)?;
    Some(DeliveryStart { claimed, ticket, approach })
}

/// The row stays as it is until its claim is over; then the sweep finds it and calls it unknown.
fn not_recorded(claimed: &ClaimedDelivery, error: &StoreError) -> Option<DeliveryStart> {
    let delivery = claimed.claim.delivery;
    tracing::error!(%delivery, call = claimed.claim.call, "an outcome is not written: {error}");
    None
}

fn report(hub: &Hub, claimed: &ClaimedDelivery, recorded: &Recorded) {
    let delivery = claimed.claim.delivery;
    let state = recorded.state.map_or("", |state| state.word());
    tracing::info!(%delivery, call = claimed.claim.call, state, "attempt recorded");
    if !recorded.claim_held {
        hub.metrics.claims_lost.up();
    }
    if recorded.state_dropped {
        hub.metrics.state_writes_dropped.up();
    }
    if let Some(end) = &recorded.turn_ended {
        hub.turn_ended(end);
    }
    if let Some(failure) = &recorded.failed_late {
        hub.failed_late(&claimed.channel, failure);
    }
    if recorded.channel_paused {
        channel_paused(hub, claimed);
    }
}

fn channel_paused(hub: &Hub, claimed: &ClaimedDelivery) {
    hub.metrics.channels_paused.up();
    let name = &claimed.channel;
    if let Some(channel) = hub.channel(name) {
        channel.set_paused(true);
    }
    let sentence = format!(
        "the platform refuses the credentials of channel \"{name}\"; it is paused, nothing is \
         charged: mend the secret, then `lastword channels resume {name}`"
    );
    hub.status.event(hub.env.now().wall_ms, "unauthorized", Some(name), sentence);
}

fn tell_breaker(hub: &Arc<Hub>, ticket: &mut Ticket, health: Health) {
    let name = ticket.channel().name.clone();
    match ticket.used(hub.mono_ms(), health) {
        Change::None => {}
        Change::Opened { for_ms } => {
            hub.metrics.breakers_opened.up();
            let sentence = format!(
                "calls of channel \"{name}\" keep breaking; its deliveries wait {for_ms} ms, \
                 uncharged, then one is tried"
            );
            note_breaker(hub, &name, Some(Fault::new("breaker_open", sentence.clone())));
            hub.status.event(hub.env.now().wall_ms, "breaker_open", Some(&name), sentence);
        }
        Change::Closed => {
            note_breaker(hub, &name, None);
            tracing::info!(channel = %name, "the adapter works again");
        }
    }
}

/// For whoever is shown a row that waits. Nothing waits for it: the breaker itself is in memory.
pub(super) fn note_breaker(hub: &Arc<Hub>, channel: &ChannelName, fault: Option<Fault>) {
    let command = Command::HoldChannel { channel: channel.clone(), by: HoldBy::Breaker, fault };
    let worker = Arc::clone(hub);
    hub.spawn(async move {
        if let Err(error) = worker.store.run(command).await {
            tracing::warn!("what holds a channel could not be noted: {error}");
        }
    });
}

fn health<T>(end: &CallEnd<T>) -> Health {
    match end {
        CallEnd::Answered(_) => Health::Works,
        CallEnd::Trapped(_) | CallEnd::DeadlinePassed | CallEnd::CpuSpent => Health::Broke,
        CallEnd::Cancelled | CallEnd::NotCalled(_) => Health::Neither,
    }
}

fn count(hub: &Hub, outcome: &Outcome) {
    let counter = match outcome {
        Outcome::Delivered(_) => &hub.metrics.sends_delivered,
        Outcome::NotSent(_) => &hub.metrics.sends_not_sent,
        Outcome::Rejected(_) => &hub.metrics.sends_rejected,
        Outcome::Unknown(_) => &hub.metrics.sends_unknown,
    };
    counter.up();
}
