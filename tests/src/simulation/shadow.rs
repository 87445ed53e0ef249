//! What the store told of each commit, kept beside the rows: every move is held against the state
//! machines of the design, written down here once more, and what a host may do is judged by what
//! was on disk at that moment.

use std::collections::BTreeMap;

use lastword::lifecycle::delivery::DeliveryState;
use lastword::lifecycle::id::{DeliveryId, TurnId};
use lastword::lifecycle::turn::TurnState;
use lastword::store::{Commit, Happened, Watch};
use std::sync::Arc;

use super::world::{Inside, World};

/// A turn as it was told of last.
#[derive(Debug, Clone)]
pub(super) struct TurnTold {
    pub(super) state: TurnState,
    pub(super) code: Option<String>,
    /// The serial number of its last try.
    pub(super) attempt: u32,
    /// Whether it ever failed because nobody knew whether its reply arrived.
    pub(super) was_unknown: bool,
}

/// A delivery as it was told of last.
#[derive(Debug, Clone)]
pub(super) struct RowTold {
    pub(super) state: DeliveryState,
    pub(super) turn: Option<TurnId>,
    pub(super) attempt: u32,
}

impl RowTold {
    /// Whether it is out of the way of those behind it.
    pub(super) fn rests(&self) -> bool {
        match self.state {
            DeliveryState::Queued | DeliveryState::Sending | DeliveryState::UnknownOpen => false,
            DeliveryState::UnknownHeld
            | DeliveryState::Delivered
            | DeliveryState::Dead
            | DeliveryState::Cancelled
            | DeliveryState::Expired => true,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    pub(super) turns: BTreeMap<TurnId, TurnTold>,
    pub(super) rows: BTreeMap<DeliveryId, RowTold>,
}

/// Hears of each commit, before anybody is answered.
#[derive(Debug)]
pub(super) struct Listener(pub(super) Arc<World>);

impl Watch for Listener {
    fn committed(&self, commit: &Commit<'_>) {
        self.0.with(|it| {
            for note in commit.notes {
                it.tell(|| format!("    {} {:?}", note.channel, note.what));
                hear(it, &note.what);
            }
        });
    }
}

fn hear(it: &mut Inside, what: &Happened) {
    match what {
        Happened::Turn { turn, from, to, code, attempt, .. } => {
            turn_moved(it, *turn, *from, *to, code.clone(), *attempt);
        }
        Happened::Delivery { delivery, turn, from, to, attempt, .. } => {
            let told = RowTold { state: *to, turn: *turn, attempt: *attempt };
            row_moved(it, *delivery, *from, told);
        }
        Happened::Purged { delivery, from } => {
            it.breaks(format!("{delivery} was forgotten while it was {from:?}"));
        }
        Happened::Attempt { .. } | Happened::Channel { .. } => {}
    }
}

fn turn_moved(
    it: &mut Inside,
    turn: TurnId,
    from: Option<TurnState>,
    to: TurnState,
    code: Option<String>,
    attempt: u32,
) {
    let before = it.shadow.turns.get(&turn).cloned();
    if before.as_ref().map(|told| told.state) != from {
        it.breaks(format!("{turn} was {before:?} and is said to leave {from:?}"));
    }
    let unknown = before.as_ref().is_some_and(|told| {
        told.state == TurnState::Failed && told.code.as_deref() == Some("outcome_unknown")
    });
    if !turn_may(from, to, unknown) {
        it.breaks(format!("{turn} went from {from:?} to {to:?}, which no turn does"));
    }
    let last = before.as_ref().map_or(0, |told| told.attempt);
    let was_unknown =
        before.is_some_and(|told| told.was_unknown) || code.as_deref() == Some("outcome_unknown");
    let fresh = to == TurnState::Running;
    if attempt < last || (fresh && attempt <= last) {
        it.breaks(format!("{turn} is at try {attempt} after try {last}"));
    }
    if fresh && it.aborted.contains(&turn) {
        it.breaks(format!("{turn} is claimed after its abort was confirmed"));
    }
    it.shadow.turns.insert(turn, TurnTold { state: to, code, attempt, was_unknown });
}

/// The table of part 3 of the design; an end is an end.
fn turn_may(from: Option<TurnState>, to: TurnState, unknown: bool) -> bool {
    use TurnState::{Aborted, Delivered, Delivering, Expired, Failed, Queued, Running, Silent};
    let Some(from) = from else { return matches!(to, Queued | Expired | Aborted) };
    match from {
        Queued => matches!(to, Running | Failed | Expired | Aborted),
        Running => matches!(to, Queued | Delivering | Silent | Failed | Aborted),
        Delivering => matches!(to, Delivered | Failed | Aborted),
        Failed => unknown && matches!(to, Delivered | Failed),
        Delivered | Silent | Aborted | Expired => false,
    }
}

fn row_moved(it: &mut Inside, id: DeliveryId, from: Option<DeliveryState>, told: RowTold) {
    let before = it.shadow.rows.get(&id).cloned();
    if before.as_ref().map(|told| told.state) != from {
        it.breaks(format!("{id} was {before:?} and is said to leave {from:?}"));
    }
    let to = told.state;
    if !row_may(from, to) {
        it.breaks(format!("{id} went from {from:?} to {to:?}, which no delivery does"));
    }
    let stopped = told.turn.is_some_and(|turn| it.aborted.contains(&turn));
    if stopped && matches!(to, DeliveryState::Queued | DeliveryState::Sending) {
        it.breaks(format!("{id} came to {to:?} after the abort of its turn was confirmed"));
    }
    let last = before.map_or(0, |told| told.attempt);
    if told.attempt < last || (to == DeliveryState::Sending && told.attempt <= last) {
        it.breaks(format!("{id} is at call {} after call {last}", told.attempt));
    }
    it.shadow.rows.insert(id, told);
}

fn row_may(from: Option<DeliveryState>, to: DeliveryState) -> bool {
    use DeliveryState::{
        Cancelled, Dead, Delivered, Expired, Queued, Sending, UnknownHeld, UnknownOpen,
    };
    let Some(from) = from else { return to == Queued };
    match from {
        Queued => matches!(to, Sending | Cancelled | Expired | UnknownHeld | Dead | Delivered),
        Sending => matches!(to, Delivered | Queued | Cancelled | Dead | UnknownOpen | UnknownHeld),
        UnknownOpen => matches!(to, Queued | Delivered | UnknownHeld),
        UnknownHeld => matches!(to, Delivered | Cancelled),
        Delivered | Dead | Cancelled | Expired => false,
    }
}
