//! What operators do, one by one and in bulk, and what happens to the machine itself: clocks that
//! jump, a host that stands still, a disk that is full.

use std::time::Duration;

use lastword::lifecycle::id::{DeliveryId, TurnId};
use lastword::lifecycle::message::{InboundMessage, Sender};
use lastword::lifecycle::outcome::Fault;
use lastword::lifecycle::recurrence::CatchUp;
use lastword::store::{
    AbortScope, BulkAct, BulkAsk, BulkList, BulkResult, ChannelSwitch, Command, ListFilter,
    NewSchedule, Operated, PurgeReach, Query, ReplayOf, Resolution, Rows, ScheduleAct, Trial,
};
use lastword::workers::operate::{bulk, operate};
use rand::Rng;

use super::host::Host;
use super::world::{Line, World};

const BY: &str = "simulation";
/// The wall clock strays no further than this from where it was: far below the dedup window.
const SKEW_MS_MAX: i64 = 5 * 86_400_000;
const SKEW_START_MS: i64 = 1_700_000_000_000;
/// Schedules of one seed.
const SCHEDULES: u32 = 3;

/// An operator resumes whatever is paused.
pub(super) async fn resume(host: &Host) {
    for line in Line::ALL {
        switch(host, line, ChannelSwitch::Resume).await;
    }
}

async fn switch(host: &Host, line: Line, switch: ChannelSwitch) {
    let command = Command::SwitchChannel { channel: line.name().into(), switch };
    let _ = operate(host.workers.hub(), command).await;
}

/// Pauses a channel, or holds it back.
pub(super) async fn pause(world: &World, host: &Host) {
    let (line, how) = world.with(|it| {
        let line = Line::ALL[it.rng.random_range(0..4)];
        let how = if it.rng.random_bool(0.5) {
            ChannelSwitch::Pause(Fault::new("operator", "scripted"))
        } else {
            ChannelSwitch::HoldBack { for_ms: it.rng.random_range(0..120_000) }
        };
        (line, how)
    });
    switch(host, line, how).await;
}

/// Stops a turn or a conversation.
pub(super) async fn abort(world: &World, host: &Host) {
    let scope = world.with(|it| {
        let live: Vec<TurnId> = it
            .shadow
            .turns
            .iter()
            .rev()
            .filter(|(_, told)| !told.state.is_ended())
            .map(|(turn, _)| *turn)
            .take(8)
            .collect();
        if live.is_empty() || it.rng.random_bool(0.3) {
            let line = Line::ALL[it.rng.random_range(0..4)];
            let conversation = format!("room{}", it.rng.random_range(0..3));
            let all = it.rng.random_bool(0.5);
            return AbortScope::Conversation { channel: line.name().into(), conversation, all };
        }
        AbortScope::Turn(live[it.rng.random_range(0..live.len())])
    });
    let command = Command::Abort { scope, by: BY.to_owned() };
    if let Ok(Operated::Done { ids }) = operate(host.workers.hub(), command).await {
        world.with(|it| {
            it.tell(|| format!("aborted {ids:?}"));
            let turns = ids.iter().filter_map(|id| id.parse::<TurnId>().ok());
            it.aborted.extend(turns);
        });
    }
}

/// Settles one held row, rightly or wrongly.
pub(super) async fn resolve(world: &World, host: &Host) {
    let filter = ListFilter { state: Some("held".to_owned()), limit: 20, ..ListFilter::default() };
    let Ok(Rows::Deliveries(rows)) = host.store.read(Query::Outbox(filter)).await else { return };
    let Some(row) = rows.first() else { return };
    let how = world.with(|it| {
        // Whoever dies now may have settled it.
        it.resolved.insert(row.id);
        [Resolution::Delivered, Resolution::Drop, Resolution::Resend][it.rng.random_range(0..3)]
    });
    let command = Command::Resolve { delivery: row.id, how, by: BY.to_owned() };
    let _ = operate(host.workers.hub(), command).await;
    world.with(|it| it.tell(|| format!("resolved {} as {how:?}", row.id)));
}

/// Replays one dead letter.
pub(super) async fn replay(world: &World, host: &Host) {
    let limit = 20;
    let state = Some("failed,expired".to_owned());
    let filter = ListFilter { state, limit, ..ListFilter::default() };
    let Ok(Rows::Turns(turns)) = host.store.read(Query::Turns(filter)).await else { return };
    let state = Some("dead,expired".to_owned());
    let filter = ListFilter { state, limit, ..ListFilter::default() };
    let Ok(Rows::Deliveries(rows)) = host.store.read(Query::Outbox(filter)).await else { return };
    let of = turns.iter().map(|row| ReplayOf::Turn(row.id));
    let all: Vec<ReplayOf> = of.chain(rows.iter().map(|row| ReplayOf::Delivery(row.id))).collect();
    if all.is_empty() {
        return;
    }
    let (of, force) = world.with(|it| {
        let of = all[it.rng.random_range(0..all.len())];
        (of, it.rng.random_bool(0.2))
    });
    let command = Command::Replay { of, force, by: BY.to_owned() };
    let done = operate(host.workers.hub(), command).await;
    world.with(|it| it.tell(|| format!("replayed {of:?}: {done:?}")));
}

/// One page of an order on many rows.
pub(super) async fn bulk_order(world: &World, host: &Host) {
    let ask = world.with(|it| {
        let acts = [
            (BulkAct::Replay { force: false }, BulkList::Turns),
            (BulkAct::Replay { force: false }, BulkList::Outbox),
            (BulkAct::Resolve(Resolution::Delivered), BulkList::Outbox),
            (BulkAct::Resolve(Resolution::Resend), BulkList::Outbox),
            (BulkAct::Purge(PurgeReach::AtRest), BulkList::Turns),
            (BulkAct::Purge(PurgeReach::AtRest), BulkList::Outbox),
        ];
        let (act, list) = acts[it.rng.random_range(0..acts.len())];
        let trial = if it.rng.random_bool(0.4) { Trial::DryRun } else { Trial::ForReal };
        if trial == Trial::ForReal {
            it.purged |= matches!(act, BulkAct::Purge(_));
            if matches!(act, BulkAct::Resolve(_)) {
                let held = lastword::lifecycle::delivery::DeliveryState::UnknownHeld;
                let ids = it.shadow.rows.iter().filter(|(_, told)| told.state == held);
                let ids: Vec<_> = ids.map(|(id, _)| *id).collect();
                it.resolved.extend(ids);
            }
        }
        let limit = it.rng.random_range(1..6);
        let filter = ListFilter { limit, ..ListFilter::default() };
        BulkAsk { list, filter, act, trial, by: BY.to_owned() }
    });
    let done = bulk(host.workers.hub(), ask.clone()).await;
    world.with(|it| {
        if let Ok(page) = &done {
            it.aborted.extend(page.stopped.iter().copied());
            // Some were not held yet when they were asked for.
            let settled = matches!(ask.act, BulkAct::Resolve(_)) && ask.trial == Trial::ForReal;
            let rows = page.rows.iter().filter(|row| settled && row.result == BulkResult::Done);
            it.resolved.extend(rows.filter_map(|row| row.id.parse::<DeliveryId>().ok()));
        }
        it.tell(|| format!("bulk {:?} {:?}: {done:?}", ask.act, ask.trial));
    });
}

/// Makes, changes, pauses or cancels a schedule.
pub(super) async fn schedule(world: &World, host: &Host) {
    let act = world.with(|it| {
        let name = format!("s{}", it.rng.random_range(0..SCHEDULES));
        let line = Line::ALL[it.rng.random_range(0..4)];
        match it.rng.random_range(0..6) {
            0..3 => {
                let all = [CatchUp::All, CatchUp::Latest, CatchUp::Skip];
                let message = InboundMessage {
                    conversation: format!("room{}", it.rng.random_range(0..3)),
                    text: format!("by {name}"),
                    sender: Sender { id: name.clone(), ..Sender::default() },
                    wakes: true,
                    ..InboundMessage::default()
                };
                ScheduleAct::Add(Box::new(NewSchedule {
                    name,
                    channel: line.name().into(),
                    cron: ["*/5 * * * *", "0 * * * *"][it.rng.random_range(0..2)].to_owned(),
                    zone: "UTC".to_owned(),
                    catch_up: all[it.rng.random_range(0..3)],
                    message,
                }))
            }
            3 => ScheduleAct::Pause { name },
            4 => ScheduleAct::Resume { name },
            _ => ScheduleAct::Cancel { name },
        }
    });
    let _ = operate(host.workers.hub(), Command::Schedule(act)).await;
}

/// No schedule makes turns any more.
pub(super) async fn cancel_schedules(host: &Host) {
    for number in 0..SCHEDULES {
        let act = ScheduleAct::Cancel { name: format!("s{number}") };
        let _ = operate(host.workers.hub(), Command::Schedule(act)).await;
    }
}

/// The wall clock jumps, by minutes, hours or a day.
pub(super) fn jump(world: &World, host: &Host) {
    const DAY_MS: i64 = 86_400_000;
    let by_ms = world.with(|it| {
        let size_ms = [90_000, 3_600_000, DAY_MS][it.rng.random_range(0..3)];
        let by_ms = if it.rng.random_bool(0.5) { size_ms } else { -size_ms };
        let strays = (it.skew_ms + by_ms - SKEW_START_MS).abs() > SKEW_MS_MAX;
        let by_ms = if strays { -by_ms } else { by_ms };
        it.skew_ms += by_ms;
        it.calm_since_ms = host.now_ms();
        it.tell(|| format!("the clock jumps by {by_ms}"));
        by_ms
    });
    host.env.jump(by_ms);
}

/// The whole host stands still for a while, as under a closed lid; then everything is late at once.
pub(super) async fn stand_still(world: &World, host: &Host) {
    let ms = world.with(|it| {
        let ms = it.rng.random_range(1_000..200_000);
        it.calm_since_ms = host.now_ms() + i64::try_from(ms).unwrap_or(0);
        it.tell(|| format!("the host stands still for {ms} ms"));
        ms
    });
    tokio::time::advance(Duration::from_millis(ms)).await;
}

/// The disk is full for some commits, or for a while, or fails under a commit that is there after
/// all.
pub(super) async fn break_disk(world: &World, host: &Host) {
    enum Fault {
        Commits(u64),
        For(u64),
        Doubt(u64),
    }
    let fault = world.with(|it| {
        it.calm_since_ms = host.now_ms();
        match it.rng.random_range(0..3) {
            0 => Fault::Commits(it.rng.random_range(1..20)),
            1 => Fault::For(it.rng.random_range(100..150_000)),
            _ => {
                it.doubted = true;
                Fault::Doubt(it.rng.random_range(1..4))
            }
        }
    });
    match fault {
        Fault::Commits(count) => host.store.refuse_next(count),
        Fault::Doubt(count) => host.store.doubt_next(count),
        Fault::For(ms) => {
            host.store.refuse_next(u64::MAX);
            host.env.sleep(Duration::from_millis(ms)).await;
            host.store.refuse_next(0);
            world.with(|it| it.calm_since_ms = host.now_ms());
        }
    }
}
