//! A store on a temporary folder with a clock of its own, and shorthand for its commands.

use std::time::Duration;

use tempfile::TempDir;

use super::twice;
use crate::env::Env;
use crate::env::Now;
use crate::lifecycle::delivery::DeliveryLimits;
use crate::lifecycle::id::{BootId, ChannelName, TurnId};
use crate::lifecycle::message::{DeliveryKind, InboundEvent, InboundMessage, Reply, Sender};
use crate::lifecycle::notice::NoticeText;
use crate::lifecycle::outcome::{Ledger, Outcome, Receipt, StateWrites};
use crate::lifecycle::settle::SettleMeans;
use crate::lifecycle::turn::{AbortReach, TurnLimits};
use crate::store::read::{AgeRules, Reader};
use crate::store::*;

pub(super) const LEASE: Lease = Lease { lease_ms: 60_000 };

pub(super) struct Rig {
    pub(super) core: Core,
    pub(super) now: Now,
    pub(super) dir: TempDir,
    pub(super) env: Env,
    pub(super) means: SettleMeans,
    pub(super) on_abort: AbortReach,
    pub(super) boot: i64,
    /// Whether each guarded command is carried out a second time, and must change nothing then.
    pub(super) twice: bool,
    pub(super) failure_notice: Option<NoticeText>,
    pub(super) pace: Pace,
}

/// Statements of the store, and those of the tests that look at every row after every step.
const STATEMENTS_CACHED: usize = 512;

/// In memory where the system has such a folder: these tests ask what is committed, not how fast.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn message(conversation: &str, id: &str, text: &str) -> InboundMessage {
    InboundMessage {
        external_id: id.to_owned(),
        conversation: conversation.to_owned(),
        sender: Sender { id: "ann".to_owned(), ..Sender::default() },
        text: text.to_owned(),
        wakes: true,
        ..InboundMessage::default()
    }
}

pub(super) fn finals(texts: &[&str]) -> Vec<NewDelivery> {
    let parts = u32::try_from(texts.len()).unwrap();
    let row = |(index, text): (usize, &&str)| NewDelivery {
        kind: DeliveryKind::Final,
        body: Reply { text: (*text).to_owned(), ..Reply::default() },
        part: u32::try_from(index).unwrap() + 1,
        parts,
    };
    texts.iter().enumerate().map(row).collect()
}

pub(super) fn channel_rules(means: SettleMeans) -> ChannelRules {
    ChannelRules {
        channel: "hook".into(),
        means,
        delivery: DeliveryLimits::default(),
        on_abort: AbortReach::default(),
        has_progress: true,
        failure_notice: None,
        pace: Default::default(),
        generation: 0,
        adapter: "webhook".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "d1".to_owned(),
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(SettleMeans::default())
    }

    pub(super) fn with(means: SettleMeans) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let env = Env::simulated(7, 1_000_000_000_000);
        let dir = quick_folder();
        let core = Core::open(&dir.path().join("lastword.db"), &env).unwrap();
        let now = Now { wall_ms: 1_000_000_000_000, mono_ms: 0 };
        let mut rig = Self {
            core,
            now,
            dir,
            env,
            means,
            on_abort: AbortReach::This,
            boot: 1,
            twice: false,
            failure_notice: None,
            pace: Pace::default(),
        };
        rig.introduce();
        rig
    }

    pub(super) fn rules(&self) -> HostRules {
        HostRules {
            boot: BootId(self.boot),
            turn: TurnLimits::default(),
            dedup_window_ms: 7 * 86_400_000,
            retention_ms: 7 * 86_400_000,
            pending_turns_max: 1_000,
            context_messages_max: 10,
            state_keys_max: 10,
            state_bytes_max: 1_000,
        }
    }

    /// What a host tells its store as it begins, or when the config changes.
    pub(super) fn introduce(&mut self) {
        let db = self.core.connection().unwrap();
        db.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        self.run(Command::Rules(self.rules()));
        self.run(Command::ChannelsPresent(vec!["hook".into()]));
        let rules = ChannelRules {
            on_abort: self.on_abort,
            failure_notice: self.failure_notice.clone(),
            pace: self.pace,
            ..channel_rules(self.means.clone())
        };
        self.run(Command::Channel(rules));
    }

    /// A kill: what was committed stays, and another boot begins.
    pub(super) fn crash(&mut self) {
        self.core = Core::open(&self.dir.path().join("lastword.db"), &self.env).unwrap();
        self.boot += 1;
        self.now.mono_ms = 0;
        self.introduce();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
    }

    pub(super) fn try_run(&mut self, command: Command) -> Result<Answer, StoreError> {
        let again = if self.twice { twice::again(&command) } else { None };
        let answer = self.core.apply(self.now, vec![command]).pop().unwrap();
        if let Some(again) = again.filter(|_| answer.is_ok()) {
            let before = twice::rows(self.core.connection().unwrap());
            self.core.apply(self.now, vec![again.clone()]).pop().unwrap().unwrap();
            twice::compare(&before, &twice::rows(self.core.connection().unwrap()), &again);
        }
        answer
    }

    /// A read on the writer's own connection, which is quick and knows the boot and its ages.
    pub(super) fn ask(&self, query: &Query) -> Rows {
        let limits = DeliveryLimits::default();
        let id = "SELECT id FROM channel WHERE name = 'hook'";
        let db = self.core.connection().unwrap();
        let id = db.prepare_cached(id).unwrap().query_row([], |row| row.get(0)).unwrap();
        let ages = AgeRules {
            boot: Some(BootId(self.boot)),
            turn_age_max_ms: TurnLimits::default().age_max_ms,
            channels: vec![(id, limits.age_max_ms, limits.expire_action)],
            ..AgeRules::default()
        };
        Reader { db, ages: &ages }.run(query).unwrap()
    }

    pub(super) fn run(&mut self, command: Command) -> Answer {
        self.try_run(command).unwrap()
    }

    pub(super) fn accept(&mut self, message: InboundMessage) -> AcceptedEvent {
        self.accept_events(vec![InboundEvent::Message(message)]).events.remove(0)
    }

    pub(super) fn accept_events(&mut self, events: Vec<InboundEvent>) -> Accepted {
        let accept = Accept {
            channel: ChannelName::from("hook"),
            events,
            cursor: None,
            state: StateWrites::default(),
            claim: None,
        };
        match self.run(Command::Accept(accept)) {
            Answer::Accepted(accepted) => *accepted,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn accept_turn(&mut self, message: InboundMessage) -> TurnId {
        match self.accept(message) {
            AcceptedEvent::Turn { turn, .. } => turn,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn claim_turn(&mut self) -> Option<Box<ClaimedTurn>> {
        match self.run(Command::ClaimTurn { lease: LEASE }) {
            Answer::ClaimedTurn(turn) => turn,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn complete(&mut self, claim: TurnClaim, texts: &[&str]) -> Guarded {
        let rows = finals(texts);
        match self.run(Command::Complete { claim, rows, claim_first: None }) {
            Answer::Enqueued { guarded, .. } => guarded,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn claim_delivery(&mut self) -> Option<Box<ClaimedDelivery>> {
        let channel = ChannelName::from("hook");
        match self.run(Command::ClaimDelivery { channel, lease: LEASE }) {
            Answer::ClaimedDelivery(row) => row,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn record(&mut self, claim: DeliveryClaim, outcome: Outcome) -> Recorded {
        let record = RecordOutcome {
            claim,
            outcome,
            ledger: Ledger::default(),
            digest: "d1".to_owned(),
            contradicted: false,
            state: StateWrites::default(),
            next: ClaimNext::default(),
        };
        match self.run(Command::Record(Box::new(record))) {
            Answer::Recorded(recorded) => *recorded,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn delivered(&mut self, claim: DeliveryClaim) -> Recorded {
        self.record(claim, Outcome::Delivered(Receipt::default()))
    }

    /// A turn in `delivering` with these final parts.
    pub(super) fn delivering(&mut self, id: &str, texts: &[&str]) -> TurnId {
        let turn = self.accept_turn(message("room", id, "hello"));
        let claimed = self.claim_turn().unwrap();
        assert_eq!(claimed.claim.turn, turn);
        assert_eq!(self.complete(claimed.claim, texts), Guarded::Done);
        turn
    }

    pub(super) fn read(&self) -> ReadOnly {
        ReadOnly::open(&self.dir.path().join("lastword.db")).unwrap()
    }

    pub(super) fn turn(&self, id: TurnId) -> TurnDetail {
        match self.ask(&Query::Turn { id, payload: false }) {
            Rows::Turn(Some(turn)) => *turn,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn outbox(&self) -> Vec<DeliveryRow> {
        match self.ask(&Query::Outbox(ListFilter::default())) {
            Rows::Deliveries(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn states(&self) -> Vec<String> {
        let word = |row: DeliveryRow| if row.held { "held".to_owned() } else { row.state };
        self.outbox().into_iter().map(word).collect()
    }
}
