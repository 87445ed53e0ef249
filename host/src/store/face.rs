//! The face of the store: one enum of commands and one of answers. Each command is one guarded
//! transaction step; an engine runs batches of them. That is the seam for a second engine, and
//! what a conformance suite speaks. No SQL type stands here.

use super::blob_face::{BlobAnswer, BlobCommand};
use super::later::{Fell, Post, Posted, ScheduleAct};
use crate::lifecycle::id::{BootId, ChannelName, ClaimToken, DeliveryId, TurnId};
use crate::lifecycle::message::{
    DeliveredPart, DeliveryKind, InboundEvent, InboundMessage, OutboundMessage, Reply,
};
use crate::lifecycle::outcome::{CallError, Fault, Ledger, Lookup, Outcome, StateWrites};
use crate::lifecycle::turn::{Loss, Origin, TurnLimits, TurnState};

pub use super::channels::{ChannelRules, Pace};
pub use super::error::StoreError;

/// What the whole host obeys; given once, before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRules {
    pub boot: BootId,
    pub turn: TurnLimits,
    pub dedup_window_ms: u64,
    pub retention_ms: u64,
    /// Unfinished turns in the whole store; beyond it intake is refused upward.
    pub pending_turns_max: u64,
    /// Context-only messages kept for a conversation's next turn; older ones are dropped, counted.
    pub context_messages_max: u32,
    /// Keys and bytes that a channel's guest may keep.
    pub state_keys_max: u64,
    pub state_bytes_max: u64,
}

/// How long a claim holds, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub lease_ms: u64,
}

/// A turn's claim as its holder knows it: what fences each of its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnClaim {
    pub turn: TurnId,
    pub token: ClaimToken,
    /// Serial number of the try; part of the fence, and `turn.attempt` of the handler's document.
    pub try_number: u32,
}

/// A turn that was claimed, with everything a handler is told.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedTurn {
    pub claim: TurnClaim,
    pub channel: ChannelName,
    pub conversation: String,
    pub accepted_at_ms: i64,
    pub message: InboundMessage,
    /// Context-only messages since the last turn, oldest first.
    pub context: Vec<InboundMessage>,
    /// What earlier tries delivered, in order; in front of it what earlier turns of the conversation
    /// delivered and the platform then failed.
    pub delivered: Vec<DeliveredPart>,
    /// Whether it has cost a host twice before: at most one suspect runs at a time.
    pub suspect: bool,
    pub origin: Origin,
}

/// The claim of a delivery; the same for a send and for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryClaim {
    pub delivery: DeliveryId,
    pub token: ClaimToken,
    /// Serial number of the attempt that is open (send), or of the last one (question).
    pub call: u32,
}

/// What a claimed delivery wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryWork {
    /// The row is in `sending`, its attempt is open: call the adapter.
    Send,
    /// The row is in open `unknown`: ask the adapter what became of it.
    Ask { first_attempt_at_ms: i64 },
}

/// A delivery that was claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedDelivery {
    pub claim: DeliveryClaim,
    pub work: DeliveryWork,
    pub channel: ChannelName,
    pub kind: DeliveryKind,
    /// The turn whose stop flag holds for it; none for free rows.
    pub turn: Option<TurnId>,
    /// By whose rules it was claimed: the call is made by this generation, or not at all.
    pub generation: u64,
    pub message: OutboundMessage,
}

/// A row of handler output, one per part of a split reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    pub kind: DeliveryKind,
    pub body: Reply,
    /// From 1.
    pub part: u32,
    pub parts: u32,
}

/// One batch of a platform: all or none are accepted, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Accept {
    pub channel: ChannelName,
    pub events: Vec<InboundEvent>,
    /// Stored in the same transaction. `Some(None)` forgets it (a lost cursor).
    pub cursor: Option<Option<String>>,
    pub state: StateWrites,
    /// With a handler's permit in hand: claims the first new turn that is the head of its line.
    pub claim: Option<Lease>,
}

/// What became of one event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptedEvent {
    /// A new turn, in the state in which it was accepted: queued, expired where it is too old, or
    /// aborted where it was taken back before it came.
    /// Whether it was claimed at once stands beside.
    Turn { turn: TurnId, state: TurnState },
    /// It was there already.
    Duplicate { turn: Option<TurnId>, state: Option<TurnState> },
    /// Stored as context for the conversation's next turn.
    Context,
    /// A piece of a group that a turn gathers already.
    Joined { turn: TurnId },
    /// New text of a message that no turn has taken up: of this turn, or of kept context.
    Edited { turn: Option<TurnId> },
    /// A message was taken back before anybody saw it: this turn ended by it; or kept context or a
    /// piece of a group is gone.
    TakenBack { turn: Option<TurnId> },
    /// An abort: what it stopped.
    Abort {
        stopped: Vec<TurnId>,
        /// Whether the same stop came before, and stopped them then.
        again: bool,
    },
    /// A late receipt, stored, and applied where its row is known and not at the adapter.
    Receipt { failed: Option<LateFailure> },
    /// Refused by a rule, with a sentence (an id used again too often).
    Refused { sentence: String },
    /// Without a conversation it is nobody's context: counted and dropped.
    Dropped,
}

/// What a platform took at first and did not deliver after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateFailure {
    pub delivery: DeliveryId,
    pub turn: Option<TurnId>,
    pub fault: Fault,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// One per event, in order.
    pub events: Vec<AcceptedEvent>,
    pub claimed: Option<ClaimedTurn>,
    /// Turns that an abort stopped: their handlers and calls are to be ended.
    pub stopped: Vec<TurnId>,
    /// Whether the guest's writes were dropped because they passed the quota.
    pub state_dropped: bool,
    /// A turn was made, or put off, that is due only then: whoever waits for due times looks.
    pub next_due_ms: Option<i64>,
}

/// What may be claimed in the same step once a row is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClaimNext {
    /// The next delivery of the same conversation; the channel's permit is kept for it.
    pub delivery: Option<Lease>,
    /// If the turn ended: the next turn of the conversation, with a handler's permit in hand.
    pub turn: Option<Lease>,
}

/// What was claimed in the same step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Next {
    pub delivery: Option<Box<ClaimedDelivery>>,
    pub turn: Option<Box<ClaimedTurn>>,
}

/// The end of one attempt. Facts about the attempt are always recorded on it; the token guards
/// only the row.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordOutcome {
    pub claim: DeliveryClaim,
    pub outcome: Outcome,
    pub ledger: Ledger,
    pub digest: String,
    /// The guest's word was held against the wire and did not stand.
    pub contradicted: bool,
    pub state: StateWrites,
    pub next: ClaimNext,
}

/// What a question came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskAnswer {
    Told(Lookup),
    Failed(CallError),
    /// The call trapped, ran out of time or was ended.
    Broken(Fault),
    /// No call began: this was no question.
    NotAsked(Fault),
}

/// Which turns an abort names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AbortScope {
    Turn(TurnId),
    /// The oldest unfinished turn of the conversation, or all of them.
    Conversation {
        channel: ChannelName,
        conversation: String,
        all: bool,
    },
}

/// How a person settles a held row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    Delivered,
    Resend,
    Drop,
}

/// Which row is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOf {
    Turn(TurnId),
    Delivery(DeliveryId),
}

/// Why a channel takes part or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelSwitch {
    /// By the operator, or because its credentials are refused.
    Pause(Fault),
    Resume,
    /// Nothing is sent on it for so long.
    HoldBack {
        for_ms: u64,
    },
}

/// One guarded step of a sweep. A missed guard changes nothing and is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepStep {
    /// A turn whose claim is over: its host died, or its worker did not renew.
    LoseTurn { claim: TurnClaim, loss: Loss },
    /// A row in `sending` whose claim is over: `unknown`.
    LoseSend { claim: DeliveryClaim, fault: Fault },
    /// A question whose claim is over: asked again later.
    LoseAsk { claim: DeliveryClaim },
    /// A queued turn that is too old.
    ExpireTurn { turn: TurnId },
    /// A queued row that is too old.
    ExpireDelivery { delivery: DeliveryId },
    /// Rows whose due time was set in a future that the clock left again.
    ReleaseFuture { rows_max: u32 },
    /// A turn that a pull worker holds since an earlier start of the host: its lease begins anew.
    AdoptLease { claim: TurnClaim },
    /// Ended turns past retention with their rows; dedup keys past their window.
    Prune { rows_max: u32 },
}

/// What a look at the store itself does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether its files are still those that were opened; writes nothing.
    Look,
    /// Whether they take a write: one sync.
    Write,
}

/// Everything that changes the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Rules(HostRules),
    Channel(ChannelRules),
    /// Channels that the config names; the others are marked as removed, their rows wait.
    ChannelsPresent(Vec<ChannelName>),
    Accept(Accept),
    /// A message of a program, under a key of its own.
    Post(Box<Post>),
    /// Schedules: add, change, pause, resume, cancel.
    Schedule(ScheduleAct),
    /// Turns whose time has come take their place in line, at most so many.
    FallDue {
        rows_max: u32,
    },
    /// The next due turn, channels taken in turn.
    ClaimTurn {
        lease: Lease,
    },
    RenewTurn {
        claim: TurnClaim,
        lease: Lease,
    },
    /// Progress of a running turn.
    Progress {
        claim: TurnClaim,
        rows: Vec<NewDelivery>,
        claim_first: Option<Lease>,
    },
    /// The handler's final: the turn goes to `delivering` with its rows, at least one.
    Complete {
        claim: TurnClaim,
        rows: Vec<NewDelivery>,
        claim_first: Option<Lease>,
    },
    Silence {
        claim: TurnClaim,
        claim_next_turn: Option<Lease>,
    },
    LoseTry {
        claim: TurnClaim,
        loss: Loss,
    },
    /// The next due delivery of a channel; its permit and rate token are in hand.
    ClaimDelivery {
        channel: ChannelName,
        lease: Lease,
    },
    RenewDelivery {
        claim: DeliveryClaim,
        lease: Lease,
    },
    Record(Box<RecordOutcome>),
    RecordAsk {
        claim: DeliveryClaim,
        answer: AskAnswer,
        state: StateWrites,
        next: ClaimNext,
    },
    Abort {
        scope: AbortScope,
        by: String,
    },
    Resolve {
        delivery: DeliveryId,
        how: Resolution,
        by: String,
    },
    /// `force` replays what was replayed before.
    Replay {
        of: ReplayOf,
        force: bool,
        by: String,
    },
    SwitchChannel {
        channel: ChannelName,
        switch: ChannelSwitch,
    },
    /// Entries of another program's queue, each once.
    Import(Box<super::import::Import>),
    /// What keeps a channel from sending, for whoever is shown what waits; or that it is over.
    HoldChannel {
        channel: ChannelName,
        by: super::channels::HoldBy,
        fault: Option<Fault>,
    },
    /// A host begins: what the last one told of channels is forgotten.
    ClearHolds,
    /// One act on many rows, each looked at again.
    Bulk(Box<super::bulk::Bulk>),
    Sweep(SweepStep),
    /// Whether the store can be written.
    Probe(Probe),
    /// After a restore: up to so many rows that were under way are held for a person.
    HoldUnderWay {
        rows_max: u32,
    },
    /// Of pull workers.
    Pull(Box<super::pull_face::PullCommand>),
    Blob(BlobCommand),
}

/// What a guarded command on a claimed row came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guarded {
    #[default]
    Done,
    /// The row left the state, the claim or the try that the command names; nothing was changed.
    Lost,
}

/// The end of a turn, where a command brought one about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnEnd {
    pub turn: TurnId,
    pub state: TurnState,
    pub code: Option<String>,
}

/// What recording an outcome came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recorded {
    /// Whether the claim still held. If not, the facts stand on the attempt all the same.
    pub claim_held: bool,
    /// The row's state now.
    pub state: Option<crate::lifecycle::delivery::DeliveryState>,
    pub turn_ended: Option<TurnEnd>,
    pub next: Next,
    /// The channel was paused by this outcome.
    pub channel_paused: bool,
    /// The platform had said before that what is now known to be sent was not delivered.
    pub failed_late: Option<LateFailure>,
    pub state_dropped: bool,
}

/// What an operator's command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operated {
    /// Turns that were stopped, or rows that were made or changed, by id.
    Done { ids: Vec<String> },
    /// There is no such row, or nothing to do.
    Nothing { sentence: String },
    /// The state of the row refuses it.
    Refused { sentence: String },
}

/// One answer per command, in the order of the commands.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Done,
    Accepted(Box<Accepted>),
    Posted(Box<Posted>),
    ClaimedTurn(Option<Box<ClaimedTurn>>),
    ClaimedDelivery(Option<Box<ClaimedDelivery>>),
    Guarded(Guarded),
    /// For `Progress` and `Complete`.
    Enqueued {
        guarded: Guarded,
        ids: Vec<DeliveryId>,
        first: Option<Box<ClaimedDelivery>>,
    },
    /// For `Silence`, `LoseTry`, `Sweep(LoseTurn)`, `Sweep(ExpireTurn)`.
    TurnEnded {
        guarded: Guarded,
        end: Option<TurnEnd>,
        next: Next,
    },
    Recorded(Box<Recorded>),
    /// For `Abort`: also the turns whose handlers and calls are to be ended.
    Operated {
        operated: Operated,
        stopped: Vec<TurnId>,
    },
    /// For `Bulk`: one per row, in order, and the turns whose handlers and calls are to be ended.
    Bulk {
        rows: Vec<super::bulk::BulkRow>,
        stopped: Vec<TurnId>,
    },
    Pull(Box<super::pull_face::PullAnswer>),
    /// For `Import`: one per entry, in order.
    Imported(Vec<super::import::Imported>),
    /// Rows that a bounded step changed.
    Changed(u64),
    /// For `FallDue`.
    Fell(Fell),
    Blob(BlobAnswer),
}
