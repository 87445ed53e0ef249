//! What may be read: one enum of queries, and the plain rows that they give. Field names are those
//! of the JSON that scripts rely on. A read error is never "no rows".

use serde::{Deserialize, Serialize};

use super::blob_face::{BlobQuery, BlobRows};
use super::face::{DeliveryClaim, TurnClaim};
use super::later::ScheduleRow;
use crate::lifecycle::id::{ChannelName, DeliveryId, TurnId};
use crate::lifecycle::lease::PullLease;
use crate::lifecycle::message::DeliveryKind;

/// Filters of a list. All hold together; none given means all rows, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListFilter {
    /// A state's word, or several with commas between; for the outbox also `held`.
    pub state: Option<String>,
    pub channel: Option<String>,
    pub conversation: Option<String>,
    /// The code of the row's end or wait.
    pub code: Option<String>,
    /// A kind's word, or several with commas between; of the outbox only.
    pub kind: Option<String>,
    /// Rows that were made before this time, in milliseconds since the epoch.
    pub made_before_ms: Option<i64>,
    /// Rows that were made at this time or later.
    pub made_since_ms: Option<i64>,
    /// Rows behind this id, in the order of the list.
    pub after: Option<String>,
    /// Whether the newest row comes first; else the oldest.
    pub newest_first: bool,
    /// At most 100,000.
    pub limit: u32,
}

/// One turn in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnRow {
    pub id: TurnId,
    pub channel: String,
    pub conversation: String,
    pub external_id: Option<String>,
    pub state: String,
    pub attempts: u32,
    pub accepted_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub code: Option<String>,
    pub reason: Option<String>,
}

/// One delivery in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    pub turn_id: Option<TurnId>,
    pub channel: String,
    pub conversation: String,
    pub kind: DeliveryKind,
    pub part: u32,
    pub parts: u32,
    pub state: String,
    pub held: bool,
    pub attempts: u32,
    pub next_attempt_at_ms: Option<i64>,
    pub platform_id: Option<String>,
    pub code: Option<String>,
    pub reason: Option<String>,
}

/// Why a row that is not at rest does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Short, no spaces.
    pub code: String,
    pub reason: String,
    pub since_ms: Option<i64>,
    /// None where no time ends it.
    pub until_ms: Option<i64>,
}

/// A try of a turn that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostTry {
    /// The try's serial number.
    pub number: u32,
    pub at_ms: i64,
    pub code: String,
    pub reason: String,
}

/// One attempt of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRow {
    pub call: u32,
    pub started_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub outcome: Option<String>,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub digest: Option<String>,
    pub contradicted: bool,
}

/// A turn with its deliveries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnDetail {
    #[serde(flatten)]
    pub row: TurnRow,
    /// Serial number of the last try, and what was charged.
    pub try_number: u32,
    pub host_losses: u32,
    pub due_at_ms: Option<i64>,
    /// `platform`, `posted` or `scheduled`.
    pub origin: String,
    /// How many programs have answered each other before it.
    pub hops: u32,
    pub ended_by: Option<String>,
    pub replay_of: Option<String>,
    /// Who ordered it, where somebody did.
    pub made_by: Option<String>,
    /// The turns that replay it.
    pub replays: Vec<String>,
    pub waits: Vec<Wait>,
    pub lost_tries: Vec<LostTry>,
    pub deliveries: Vec<DeliveryRow>,
    /// The message, only where payloads were asked for.
    pub message: Option<serde_json::Value>,
}

/// A delivery with its attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryDetail {
    #[serde(flatten)]
    pub row: DeliveryRow,
    pub created_at_ms: i64,
    pub maybe_sent: bool,
    pub possible_double: bool,
    pub asked: u32,
    pub about_turn: Option<String>,
    pub replay_of: Option<String>,
    pub resolved_by: Option<String>,
    pub rested_at_ms: Option<i64>,
    /// Who ordered it, where somebody did.
    pub made_by: Option<String>,
    /// The rows that repeat it.
    pub replays: Vec<String>,
    pub waits: Vec<Wait>,
    pub history: Vec<AttemptRow>,
    /// What the platform said later.
    pub late_receipts: Vec<serde_json::Value>,
    /// The text, only where payloads were asked for.
    pub body: Option<serde_json::Value>,
}

/// One channel as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChannelRow {
    pub name: String,
    /// Whether the config names it.
    pub present: bool,
    pub paused: bool,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub not_before_ms: Option<i64>,
    pub adapter: Option<String>,
    pub version: Option<String>,
    pub digest: Option<String>,
    pub turns_unfinished: u64,
    pub deliveries_unfinished: u64,
    pub held: u64,
    pub oldest_unfinished_at_ms: Option<i64>,
    /// What came of the last attempt of the reply that waits and is due first, where there was one.
    pub waiting_code: Option<String>,
    pub waiting_reason: Option<String>,
    /// Failed and expired turns, of which so many were set aside for killing the host.
    pub turns_dead: u64,
    pub turns_quarantined: u64,
    /// Dead and expired deliveries.
    pub deliveries_dead: u64,
    pub paused_at_ms: Option<i64>,
    pub removed_at_ms: Option<i64>,
}

/// What a claim sweep finds. Claims of other boots are over at once; those of this boot by expiry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    pub turns: Vec<ClaimedTurnRow>,
    pub deliveries: Vec<ClaimedDeliveryRow>,
}

/// A running turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedTurnRow {
    pub claim: TurnClaim,
    /// Where a pull worker holds it: on what terms.
    pub pulled: Option<PullLease>,
    pub same_boot: bool,
    pub expires_mono_ms: i64,
}

/// A turn that a pull worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullLeaseRow {
    pub turn_id: TurnId,
    pub worker: String,
    pub channel: String,
    pub attempt: u32,
    pub claimed_at_ms: i64,
    pub renewed_at_ms: i64,
    pub lease_ms: u64,
}

/// A delivery at the adapter, or one that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedDeliveryRow {
    pub claim: DeliveryClaim,
    pub asks: bool,
    pub same_boot: bool,
    pub expires_mono_ms: i64,
}

/// Everything that reads the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    Turns(ListFilter),
    Turn {
        id: TurnId,
        payload: bool,
    },
    Outbox(ListFilter),
    Delivery {
        id: DeliveryId,
        payload: bool,
    },
    Channels,
    /// Claims with a number over the last page's, at most `rows_max` of each.
    Claims {
        after_turn: i64,
        after_delivery: i64,
        rows_max: u32,
    },
    /// Queued turns that could have run since before `turn_max_age`, as of `now_ms`.
    OldTurns {
        now_ms: i64,
        rows_max: u32,
    },
    /// Queued rows at the head of their line that are too old by their channel's rule.
    OldDeliveries {
        now_ms: i64,
        rows_max: u32,
    },
    /// When a channel has something due.
    NextDelivery {
        channel: ChannelName,
    },
    /// When any turn is due.
    NextTurn,
    /// Schedules, by name.
    Schedules,
    Schedule {
        name: String,
        payload: bool,
    },
    /// When the next turn that is due later takes its place in line.
    NextFall,
    /// The same, of these channels alone.
    NextTurnOf {
        channels: Vec<ChannelName>,
    },
    /// The channel of a turn.
    TurnChannel {
        id: TurnId,
    },
    /// Turns that pull workers hold, at most `rows_max`.
    PullLeases {
        rows_max: u32,
    },
    Cursor {
        channel: ChannelName,
    },
    StateGet {
        channel: ChannelName,
        key: String,
    },
    StateUsage {
        channel: ChannelName,
    },
    Summary,
    /// Per channel, what costs the same however many rows wait: for metrics.
    Gauges,
    Blob(BlobQuery),
}

/// When something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextDue {
    /// Milliseconds since the epoch; past or present means now.
    At(i64),
    Nothing,
}

/// Counts over the whole store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    pub turns_queued: u64,
    /// Out of line until their time comes.
    pub turns_due_later: u64,
    pub schedules: u64,
    pub schedules_paused: u64,
    pub turns_running: u64,
    pub turns_delivering: u64,
    pub deliveries_queued: u64,
    pub deliveries_sending: u64,
    pub deliveries_unknown_open: u64,
    pub deliveries_held: u64,
    pub deliveries_dead: u64,
}

/// One result per query.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    Turns(Vec<TurnRow>),
    Turn(Option<Box<TurnDetail>>),
    Deliveries(Vec<DeliveryRow>),
    Delivery(Option<Box<DeliveryDetail>>),
    Channels(Vec<ChannelRow>),
    Claims(Claims),
    TurnIds(Vec<TurnId>),
    PullLeases(Vec<PullLeaseRow>),
    DeliveryIds(Vec<DeliveryId>),
    Schedules(Vec<ScheduleRow>),
    Schedule(Option<Box<ScheduleRow>>),
    Due(NextDue),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    /// Keys, and bytes of keys and values.
    Usage {
        keys: u64,
        bytes: u64,
    },
    Summary(Summary),
    Gauges(Vec<super::gauges::ChannelGauges>),
    Blob(BlobRows),
}
