//! The rows of the store against the model's, all of them after each step. A time that chance
//! decided is taken over where it lies within what the model allows.

use super::pair::{Held, Pair, same};
use super::spec::Span;
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::ClaimToken;
use crate::lifecycle::turn::TurnState;
use crate::store::step::{delivery_code, delivery_id, turn_code, turn_id};

const TURNS: &str = "SELECT id, nonce, state, code, try, tries, host_losses, head, due_ms,
    claim_token, told_by FROM turn ORDER BY id";
const ROWS: &str = "SELECT id, nonce, state, code, maybe_sent, call, attempts, asked, head,
    next_at_ms, claim_token, part, kind, about_count, rested_at_ms FROM delivery ORDER BY id";

pub(super) fn rows(pair: &mut Pair) -> Held {
    turns(pair)?;
    deliveries(pair)
}

fn within(what: &str, span: &mut Span, found: i64) -> Held {
    if !(span.lo..=span.hi).contains(&found) {
        return Err(format!("{what}: the model says {span:?}, the store {found}"));
    }
    *span = Span::at(found);
    Ok(())
}

fn turns(pair: &mut Pair) -> Held {
    let db = pair.rig.core.connection().unwrap();
    let mut statement = db.prepare_cached(TURNS).unwrap();
    let mut found = statement.query([]).unwrap();
    for (place, turn) in pair.spec.turns.iter_mut().enumerate().filter(|(_, turn)| !turn.gone) {
        let Some(row) = found.next().unwrap() else {
            return Err(format!("turn {place} is not in the store"));
        };
        let at = |what: &str| format!("turn {place}, {what}");
        let id = turn_id(row.get(0).unwrap(), row.get(1).unwrap());
        same(&at("id"), *turn.id.get_or_insert(id), id)?;
        same(&at("state"), turn_code(turn.state), row.get(2).unwrap())?;
        same(&at("code"), turn.code.clone(), row.get(3).unwrap())?;
        same(&at("try"), turn.try_number, row.get(4).unwrap())?;
        same(&at("tries"), turn.tries, row.get(5).unwrap())?;
        same(&at("host losses"), turn.losses, row.get(6).unwrap())?;
        same(&at("head"), turn.head, row.get(7).unwrap())?;
        if turn.state == TurnState::Queued && turn.head {
            within(&at("due"), &mut turn.due, row.get(8).unwrap())?;
        }
        let token = row.get::<_, Option<i64>>(9).unwrap().map(ClaimToken);
        same(&at("claim"), turn.token, token)?;
    }
    match found.next().unwrap() {
        None => Ok(()),
        Some(row) => Err(format!("turn {} is not in the model", row.get::<_, i64>(0).unwrap())),
    }
}

fn deliveries(pair: &mut Pair) -> Held {
    let db = pair.rig.core.connection().unwrap();
    let mut statement = db.prepare_cached(ROWS).unwrap();
    let mut found = statement.query([]).unwrap();
    for (place, it) in pair.spec.rows.iter_mut().enumerate().filter(|(_, row)| !row.gone) {
        let Some(row) = found.next().unwrap() else {
            return Err(format!("delivery {place} is not in the store"));
        };
        let at = |what: &str| format!("delivery {place}, {what}");
        let id = delivery_id(row.get(0).unwrap(), row.get(1).unwrap());
        same(&at("id"), *it.id.get_or_insert(id), id)?;
        same(&at("state"), delivery_code(it.state), row.get(2).unwrap())?;
        if it.state != DeliveryState::Sending {
            same(&at("code"), it.code.clone(), row.get(3).unwrap())?;
        }
        same(&at("maybe sent"), it.maybe_sent, row.get(4).unwrap())?;
        same(&at("call"), it.call, row.get(5).unwrap())?;
        same(&at("attempts"), it.attempts, row.get(6).unwrap())?;
        same(&at("asked"), it.asked, row.get(7).unwrap())?;
        if it.state.is_live() && it.token.is_none() {
            same(&at("head"), it.head, row.get(8).unwrap())?;
            if it.head {
                within(&at("next"), &mut it.next, row.get(9).unwrap())?;
            }
        }
        let token = row.get::<_, Option<i64>>(10).unwrap().map(ClaimToken);
        same(&at("claim"), it.token, token)?;
        same(&at("part"), it.part, row.get(11).unwrap())?;
        same(&at("kind"), it.kind as i64, row.get(12).unwrap())?;
        same(&at("turns told of"), it.tells_of, row.get(13).unwrap())?;
        let rests = row.get::<_, Option<i64>>(14).unwrap().is_some();
        same(&at("rest"), !it.state.is_live(), rests)?;
    }
    match found.next().unwrap() {
        None => Ok(()),
        Some(row) => Err(format!("delivery {} is not in the model", row.get::<_, i64>(0).unwrap())),
    }
}
