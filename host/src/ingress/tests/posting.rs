//! Posting a message: what the request must carry, and what each outcome is told as.

use super::scripted::*;
use crate::ingress::IngressLimits;
use crate::lifecycle::outcome::CallEnd;
use crate::lifecycle::turn::TurnState;
use crate::store::{PostOutcome, StoreError};

const BODY: &str = r#"{"channel":"hook","conversation":"r","text":"hi","sender":"ann"}"#;

async fn host() -> Host {
    let hook = ScriptedHook::new(|_| CallEnd::Answered(reply(200, vec![])));
    Host::start(hook, IngressLimits::default()).await.0
}

// Case: A17
#[tokio::test]
async fn a_post_needs_its_key_and_is_told_its_turn() {
    let host = host().await;
    let answer = host.request("POST /v1/messages", BODY).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("Idempotency-Key is missing"), "{}", answer.body);
    let head = "POST /v1/messages";
    let answer = host.keyed(head, "k1", BODY).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = turn(1).to_string();
    assert_eq!(
        answer.json(),
        serde_json::json!(
            {"turn_id": id, "state": "queued", "duplicate": false, "due_at_ms": null}
        )
    );
    let posts = host.desk.posts.lock().unwrap().clone();
    assert_eq!((posts.len(), posts[0].message.external_id.as_str()), (1, "k1"));
}

#[tokio::test]
async fn each_outcome_of_a_post_has_its_status_and_its_sentence() {
    let host = host().await;
    let head = "POST /v1/messages";
    let duplicate =
        PostOutcome::Duplicate { turn: turn(1), state: Some(TurnState::Delivered), due_ms: None };
    for (outcome, status) in [
        (duplicate, 200),
        (PostOutcome::OtherContent, 422),
        (PostOutcome::UnknownAbout, 404),
        (PostOutcome::TooManyHops { hops_max: 3 }, 409),
    ] {
        *host.desk.posted.lock().unwrap() = Some(outcome);
        assert_eq!(host.keyed(head, "k1", BODY).await.status, status);
    }
    *host.desk.fails.lock().unwrap() = Some(StoreError::Full { pending: 7 });
    assert_eq!(host.keyed(head, "k1", BODY).await.status, 429);
    let count = host.desk.posts.lock().unwrap().len();
    for (body, status) in [
        (BODY.replace("hook", "nobody"), 404),
        (BODY.replace("hi", ""), 400),
        (BODY.replace("\"sender\":\"ann\"", "\"sender\":7"), 400),
        (BODY.replace("}", ",\"not_before_ms\":1800000000}"), 400),
        (BODY.replace("}", ",\"evil\":1}"), 400),
    ] {
        assert_eq!(host.keyed(head, "k1", &body).await.status, status, "{body}");
    }
    assert_eq!(host.desk.posts.lock().unwrap().len(), count);
}
