//! Pull workers' requests, carried from ingress to the workers of the host and back.

use serde_json::{Value, json};

use crate::ingress::{PullAsk, PullRefused, PullRefusedKind, PullReply};
use crate::lifecycle::id::TurnId;
use crate::lifecycle::turn::TurnState;
use crate::store::StoreError;
use crate::workers::Workers;
use crate::workers::pull::{self, ClaimAsk, Handed};
use crate::workers::pull_report::{self, Holder, Refusal, Said, Told, request_key};

/// # Errors
/// The store's; nothing was changed.
pub(super) async fn pull(workers: &Workers, ask: PullAsk) -> Result<PullReply, StoreError> {
    let hub = workers.hub();
    let done = match ask {
        PullAsk::Claim { worker, key, channels, wait_ms, lease_ms } => {
            // Two workers may count their requests alike.
            let key = key.map(|key| request_key(&[worker.as_bytes(), key.as_bytes()]));
            let ask = ClaimAsk { worker, key, channels, wait_ms, lease_ms };
            match pull::claim(hub, ask).await {
                Ok(Some(handed)) => document(handed).map(PullReply::Done),
                Ok(None) => Ok(PullReply::Nothing),
                Err(why) => Err(why),
            }
        }
        PullAsk::Heartbeat { turn, token, lease_ms } => {
            let holder = Holder { turn, token };
            let told = pull_report::heartbeat(hub, &holder, lease_ms).await;
            told.map(|told| PullReply::Done(about(turn, &told)))
        }
        PullAsk::Say { turn, token, key, events, must_end } => {
            let said = Said { body: events, must_end, key };
            let told = pull_report::report(hub, Holder { turn, token }, said).await;
            told.map(|told| PullReply::Done(about(turn, &told)))
        }
    };
    match done {
        Ok(reply) => Ok(reply),
        Err(Refusal::Store(error)) => Err(error),
        Err(why) => Ok(PullReply::Refused(refused(why))),
    }
}

/// What a handler is given, and the terms beside it.
fn document(handed: Handed) -> Result<Value, Refusal> {
    let unwritable = |_| Refusal::Store(StoreError::Corrupt("a document is no JSON".to_owned()));
    let mut value = serde_json::to_value(&handed.document).map_err(unwritable)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("token".to_owned(), json!(handed.token));
        fields.insert("lease_ms".to_owned(), json!(handed.lease.lease_ms));
        fields.insert("lease_until_ms".to_owned(), json!(handed.lease.until_ms));
    }
    Ok(value)
}

fn about(turn: TurnId, told: &Told) -> Value {
    let (state, lease) = match told {
        Told::Held(lease) => (TurnState::Running, Some(lease)),
        Told::Ended(state) => (*state, None),
    };
    json!({
        "turn": turn,
        "state": state.word(),
        "lease_ms": lease.map(|lease| lease.lease_ms),
        "lease_until_ms": lease.map(|lease| lease.until_ms),
    })
}

fn refused(why: Refusal) -> PullRefused {
    use PullRefusedKind as Kind;
    let (kind, code, sentence) = match why {
        Refusal::NotServed => {
            let sentence = "turns are not fetched from this host: [handler] kind is not \"pull\"";
            (Kind::NoSuchThing, "not_pull", sentence.to_owned())
        }
        Refusal::Invalid(sentence) => (Kind::WrongInput, "invalid", sentence),
        Refusal::Crowded { most } => {
            let sentence = format!("{most} workers wait already, which is `waiting_max`");
            (Kind::Crowded, "crowded", sentence)
        }
        Refusal::Stopping => {
            let sentence = "the host is stopping; come again when it is back";
            (Kind::Stopping, "stopping", sentence.to_owned())
        }
        Refusal::NoSuchTurn(turn) => {
            (Kind::NoSuchThing, "nothing", format!("there is no turn {turn}"))
        }
        Refusal::Over { code, sentence } => (Kind::Over, code, sentence),
        Refusal::Store(error) => (Kind::Stopping, "store_not_writable", error.to_string()),
    };
    PullRefused { kind, code, sentence }
}
