//! What is told of commits: notes once and after the commit only, depths that equal the table.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::rig::{LEASE, Rig, finals, message};
use crate::env::Env;
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::BootId;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{Fault, Outcome};
use crate::lifecycle::turn::{TurnLimits, TurnState};
use crate::store::*;

#[derive(Debug, Default)]
struct Ear(Mutex<Vec<(Note, usize)>>);

impl Watch for Ear {
    fn committed(&self, commit: &Commit<'_>) {
        let heard = commit.notes.iter().map(|note| (note.clone(), commit.commands));
        self.0.lock().unwrap().extend(heard);
    }
}

fn turn_moves(notes: &[Note]) -> Vec<(Option<TurnState>, TurnState)> {
    let of = |note: &Note| match &note.what {
        Happened::Turn { from, to, .. } => Some((*from, *to)),
        _ => None,
    };
    notes.iter().filter_map(of).collect()
}

#[test]
fn a_turns_life_is_told_once_in_order_with_its_times() {
    let mut rig = Rig::new();
    let mut told = Vec::new();
    let turn = rig.accept_turn(message("room", "m1", "hello"));
    told.extend_from_slice(rig.core.notes());
    rig.pass(Duration::from_millis(70));
    let claim = rig.claim_turn().unwrap().claim;
    told.extend_from_slice(rig.core.notes());
    rig.complete(claim, &["yes"]);
    told.extend_from_slice(rig.core.notes());
    let row = rig.claim_delivery().unwrap();
    told.extend_from_slice(rig.core.notes());
    rig.pass(Duration::from_millis(30));
    rig.delivered(row.claim);
    told.extend_from_slice(rig.core.notes());
    use TurnState as S;
    let moves = [
        (None, S::Queued),
        (Some(S::Queued), S::Running),
        (Some(S::Running), S::Delivering),
        (Some(S::Delivering), S::Delivered),
    ];
    assert_eq!(turn_moves(&told), moves);
    let waited = told.iter().find_map(|note| match &note.what {
        Happened::Turn { waited_ms, .. } => *waited_ms,
        _ => None,
    });
    assert_eq!(waited, Some(70));
    let last = Happened::Turn {
        turn,
        from: Some(S::Delivering),
        to: S::Delivered,
        code: None,
        attempt: 1,
        age_ms: 100,
        waited_ms: None,
    };
    assert!(told.iter().any(|note| note.what == last), "{told:?}");
    let ended = Happened::Attempt {
        delivery: row.claim.delivery,
        attempt: 1,
        outcome: "delivered",
        code: None,
        contradicted: false,
    };
    assert!(told.iter().any(|note| note.what == ended), "{told:?}");
    assert!(rig.claim_turn().is_none());
    assert!(rig.core.notes().is_empty(), "what found nothing to do tells nothing");
}

#[test]
fn what_is_rolled_back_is_told_by_nobody() {
    let mut rig = Rig::new();
    let mut bad = message("room", "m2", "b");
    bad.external_id = "x".repeat(100_000);
    let events = [message("room", "m1", "a"), bad].map(InboundEvent::Message).to_vec();
    let accept = Accept {
        channel: "hook".into(),
        events,
        cursor: None,
        state: Default::default(),
        claim: Some(LEASE),
    };
    assert!(rig.try_run(Command::Accept(accept)).is_err());
    assert!(rig.core.notes().is_empty(), "{:?}", rig.core.notes());
    // Of two commands in one batch only the one that stayed is told.
    let good = |id: &str| {
        Command::Accept(Accept {
            channel: "hook".into(),
            events: vec![InboundEvent::Message(message("room", id, "a"))],
            cursor: None,
            state: Default::default(),
            claim: None,
        })
    };
    let mut other = good("m4");
    if let Command::Accept(accept) = &mut other {
        accept.channel = "nobody".into();
    }
    let answers = rig.core.apply(rig.now, vec![good("m3"), other]);
    assert!(answers[0].is_ok() && answers[1].is_err());
    assert_eq!(turn_moves(rig.core.notes()), [(None, TurnState::Queued)]);
}

async fn threaded() -> (tempfile::TempDir, Store, Arc<Ear>) {
    let dir = tempfile::tempdir().unwrap();
    let ear = Arc::new(Ear::default());
    let watch: Arc<dyn Watch> = ear.clone();
    let path = dir.path().join("lastword.db");
    let store = Store::open_watched(&path, &Env::system(), Some(watch)).unwrap();
    introduce(&store).await;
    (dir, store, ear)
}

async fn introduce(store: &Store) {
    let rules = HostRules {
        boot: BootId(1),
        turn: TurnLimits::default(),
        dedup_window_ms: 1_000_000,
        retention_ms: 1_000_000,
        pending_turns_max: 1_000_000,
        context_messages_max: 10,
        state_keys_max: 10,
        state_bytes_max: 1_000,
    };
    store.run(Command::Rules(rules)).await.unwrap();
    store.run(Command::ChannelsPresent(vec!["hook".into()])).await.unwrap();
    store.run(Command::Channel(super::rig::channel_rules(Default::default()))).await.unwrap();
}

async fn accept(store: &Store, n: usize) {
    let room = format!("room{}", n % 50);
    let accept = Accept {
        channel: "hook".into(),
        events: vec![InboundEvent::Message(message(&room, &format!("m{n}"), "hello"))],
        cursor: None,
        state: Default::default(),
        claim: None,
    };
    store.run(Command::Accept(accept)).await.unwrap();
}

async fn claim_turn(store: &Store) -> Box<ClaimedTurn> {
    match store.run(Command::ClaimTurn { lease: LEASE }).await.unwrap() {
        Answer::ClaimedTurn(Some(turn)) => turn,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn depths_that_are_counted_while_commits_go_on_equal_the_table() {
    let (dir, store, ear) = threaded().await;
    for n in 0..40 {
        accept(&store, n).await;
    }
    drop(store);
    // Another opening: what was there before is only in the table.
    let path = dir.path().join("lastword.db");
    let store = Store::open(&path, &Env::system()).unwrap();
    introduce(&store).await;
    let busy = store.clone();
    let working = Env::system().spawn(async move {
        for n in 40..140 {
            accept(&busy, n).await;
            if n % 3 == 0 {
                let claim = claim_turn(&busy).await.claim;
                let rows = finals(&["a", "b"]);
                let claim_first = (n % 2 == 0).then_some(LEASE);
                busy.run(Command::Complete { claim, rows, claim_first }).await.unwrap();
            }
        }
    });
    let counted = store.depths().await.unwrap();
    assert!(counted[&"hook".into()][0] >= 40, "{counted:?}");
    working.await.unwrap();
    let depths = store.depths().await.unwrap()[&"hook".into()];
    let sql =
        |rows: &str, state: usize| format!("SELECT count(*) FROM {rows} WHERE state = {state}");
    for (place, (rows, _)) in LIVE.iter().enumerate() {
        let rows = if *rows == "turns" { "turn" } else { "delivery" };
        let in_table = crate::store::handle::count(&path, &sql(rows, place % 3)).unwrap();
        assert_eq!(depths[place], in_table.unsigned_abs(), "{:?}", LIVE[place]);
    }
    assert_eq!(depths.iter().sum::<u64>(), 140 + 66);
    let heard = ear.0.lock().unwrap();
    assert_eq!(heard.len(), 40, "each commit is told to whoever watches");
}

#[test]
fn dead_letters_held_rows_and_ages_are_counted_per_channel() {
    let mut rig = Rig::new();
    rig.delivering("m1", &["a"]);
    rig.pass(Duration::from_secs(5));
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Rejected(Fault::new("rude", "simulated")));
    rig.delivering("m2", &["b"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(Fault::new("deadline", "simulated")));
    let held_at = rig.now.wall_ms;
    rig.accept_turn(message("room", "m3", "waits"));
    let Rows::Gauges(channels) = rig.read().read(&Query::Gauges).unwrap() else { panic!() };
    let [channel] = &channels[..] else { panic!("{channels:?}") };
    assert_eq!((channel.dead_turns, channel.dead_deliveries, channel.held), (2, 1, 1));
    let Rows::Channels(shown) = rig.ask(&Query::Channels) else { panic!() };
    assert_eq!((shown[0].turns_dead, shown[0].deliveries_dead, shown[0].held), (2, 1, 1));
    assert!(channel.present && !channel.paused);
    let oldest = |rows, state| {
        channel.oldest.iter().find(|it| it.rows == rows && it.state == state).map(|it| it.since_ms)
    };
    assert_eq!(oldest("turns", "queued"), Some(held_at));
    assert_eq!(oldest("deliveries", "held"), Some(held_at));
    assert_eq!(oldest("deliveries", "queued"), None);
    assert_eq!(delivery_word(DeliveryState::UnknownHeld), "held");
}
