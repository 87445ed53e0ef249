//! Pull workers: programs of their own that outlive the host, claim turns over its desk, say things
//! of them, are late, die, and say things twice.

use std::sync::Arc;
use std::time::Duration;

use lastword::env::Env;
use lastword::lifecycle::id::{ChannelName, TurnId};
use lastword::lifecycle::lease::LEASE_MS_MIN;
use lastword::workers::Hub;
use lastword::workers::pull::{ClaimAsk, Handed, claim};
use lastword::workers::pull_report::{Holder, Refusal, Said, Told, heartbeat, report, request_key};
use rand::Rng;
use serde_json::json;

use super::agent::began;
use super::chance::{Move, next_move};
use super::world::{Inside, Line, World};

/// The longest lease that a worker asks for; see `host`.
pub(super) const LEASE_MS_MAX: u64 = 120_000;

/// A turn in a worker's hand.
#[derive(Debug, Clone)]
pub(super) struct Hand {
    turn: TurnId,
    attempt: u32,
    token: String,
    text: String,
    lease_ms: u64,
    /// What it said last, and under which name: said again where the answer did not come.
    last: Option<(Vec<u8>, Option<String>)>,
    moves: u32,
}

/// One worker for as long as this host lives.
pub(super) struct Worker {
    pub(super) world: Arc<World>,
    pub(super) hub: Arc<Hub>,
    pub(super) env: Env,
    pub(super) base_ms: i64,
    pub(super) number: usize,
}

impl Worker {
    async fn sleep(&self, ms: u64) {
        self.env.sleep(Duration::from_millis(ms)).await;
    }

    /// Works until the host stops.
    pub(super) async fn run(self) {
        while self.hub.shutdown.is_running() {
            let held = self.world.with(|it| it.hands[self.number].clone());
            match held {
                None => self.fetch().await,
                Some(hand) => self.work(hand).await,
            }
        }
    }

    async fn fetch(&self) {
        let (ask, loses) = self.world.with(|it| {
            it.posts += 1;
            let calls = it.posts.to_be_bytes();
            let only = vec![ChannelName::from(Line::ALL[it.rng.random_range(0..4)].name())];
            let ask = ClaimAsk {
                worker: format!("w{}", self.number),
                key: it.rng.random_bool(0.5).then(|| request_key(&[b"claim", &calls])),
                channels: it.rng.random_bool(0.1).then_some(only),
                wait_ms: it.rng.random_range(0..60_000),
                lease_ms: Some(it.rng.random_range(LEASE_MS_MIN..LEASE_MS_MAX)),
            };
            (ask, it.rng.random_bool(it.setting.mood.faults / 8.0))
        });
        let again = ask.clone();
        match claim(&self.hub, ask).await {
            Ok(Some(handed)) if !loses => self.take(handed),
            // It did not hear the answer, and asks again under the same name.
            Ok(Some(_)) if again.key.is_some() => {
                if let Ok(Some(handed)) = claim(&self.hub, again).await {
                    self.take(handed);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => self.sleep(500).await,
            Err(_) => self.sleep(1_000).await,
        }
    }

    fn take(&self, handed: Handed) {
        let Handed { document, token, lease } = handed;
        let now_ms = self.base_ms + self.env.now().mono_ms;
        self.world.with(|it| {
            began(it, &document, now_ms);
            it.hands[self.number] = Some(Hand {
                turn: document.turn.id,
                attempt: document.turn.attempt,
                token,
                text: document.message.text.clone(),
                lease_ms: lease.lease_ms,
                last: None,
                moves: 0,
            });
        });
    }

    async fn work(&self, mut hand: Hand) {
        let (step, wait_ms) = self.world.with(|it| {
            it.step();
            let step = next_move(&mut it.rng, it.setting.mood);
            // Whoever only lives on would hold its turn for ever.
            let step = if hand.moves > 6 { Move::Answers } else { step };
            let most = match step {
                Move::Sleeps => hand.lease_ms * 2,
                _ => hand.lease_ms / 3,
            };
            (step, it.rng.random_range(0..most))
        });
        self.sleep(wait_ms).await;
        hand.moves += 1;
        match step {
            Move::Vanishes => return self.world.with(|it| it.hands[self.number] = None),
            Move::Heartbeat => {
                let holder = self.holder(&hand);
                let told = heartbeat(&self.hub, &holder, None).await;
                return self.heard(hand, told, false);
            }
            _ => {}
        }
        let before = hand.last.clone();
        let repeats = step == Move::Again && before.is_some();
        let said = match before {
            Some(last) if repeats => last,
            _ => self.world.with(|it| says(it, &hand, step)),
        };
        hand.last = Some(said.clone());
        // Remembered before it is said: a host that dies now may have taken it.
        self.world.with(|it| it.hands[self.number] = Some(hand.clone()));
        let stale = self.is_stale(&hand);
        let (body, key) = said;
        let ends = Said { body, must_end: false, key };
        let told = report(&self.hub, self.holder(&hand), ends).await;
        if stale && !repeats && told.is_ok() {
            let Hand { turn, attempt, .. } = hand;
            self.world.with(|it| {
                it.breaks(format!("a word of try {attempt} of {turn} counted in a newer one"));
            });
        }
        self.heard(hand, told, repeats);
    }

    fn holder(&self, hand: &Hand) -> Holder {
        Holder { turn: hand.turn, token: hand.token.clone() }
    }

    /// Whether a newer try is on disk already.
    fn is_stale(&self, hand: &Hand) -> bool {
        self.world.with(|it| {
            it.shadow.turns.get(&hand.turn).is_some_and(|told| told.attempt > hand.attempt)
        })
    }

    fn heard(&self, hand: Hand, told: Result<Told, Refusal>, repeated: bool) {
        let keeps = match &told {
            Ok(Told::Held(_)) => true,
            Ok(Told::Ended(_)) => false,
            // What it said was nonsense: it thinks again.
            Err(Refusal::Invalid(_)) => true,
            // Nothing is known: it says it again.
            Err(Refusal::Store(_) | Refusal::Stopping | Refusal::Crowded { .. }) => true,
            Err(Refusal::Over { .. } | Refusal::NoSuchTurn(_) | Refusal::NotServed) => false,
        };
        self.world.with(|it| {
            let Hand { turn, attempt, .. } = &hand;
            let number = self.number;
            it.tell(|| format!("w{number} on {turn} try {attempt}, again {repeated}: {told:?}"));
            it.hands[self.number] = keeps.then_some(hand);
        });
    }
}

/// What is said, and the worker's name for it.
fn says(it: &mut Inside, hand: &Hand, step: Move) -> (Vec<u8>, Option<String>) {
    let text = &hand.text;
    let last = |event: serde_json::Value| format!("{event}\n");
    let progress = json!({"type": "tool", "text": format!("tool {text}")});
    let body = match step {
        Move::Says => last(progress) + &last(json!({"type": "block", "text": text})),
        Move::Silent => last(json!({"type": "silent"})),
        Move::Fails => last(json!({"type": "fail", "reason": "scripted", "retry": true})),
        Move::FailsForGood => last(json!({"type": "fail", "reason": "scripted", "retry": false})),
        Move::AnswersLong => {
            let long = format!("re {text} ").repeat(12);
            last(progress) + &last(json!({"type": "final", "text": long}))
        }
        Move::Nonsense => "{\"type\": \"finale\"}\n".to_owned(),
        Move::Answers | Move::Heartbeat | Move::Sleeps | Move::Vanishes | Move::Again => {
            last(json!({"type": "final", "text": format!("re {text}")}))
        }
    };
    it.posts += 1;
    let key = it.rng.random_bool(0.5).then(|| format!("said {}", it.posts));
    (body.into_bytes(), key)
}
