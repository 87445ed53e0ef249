//! `/healthz`, `/readyz` and `/metrics`. They change nothing and call no guest.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::answer::{Refused, json_answer, typed_answer};
use super::exposition::Form;
use super::ports::{Closed, StoreHealth};
use super::{Ingress, Phase};

pub(super) fn routes() -> Router<Ingress> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// The process lives and serves.
async fn healthz() -> Response {
    json_answer(StatusCode::OK, &json!({"ok": true}))
}

/// Whether messages are taken in. Refused channels do not make the host unready: the others serve.
/// Whoever probes may be a stranger: why a channel is refused, with its paths and the names of its
/// secrets, is said to the token alone.
async fn readyz(State(ingress): State<Ingress>, headers: HeaderMap) -> Response {
    let known = ingress.0.token.fits(&headers);
    let phase = ingress.phase();
    let behind = ingress.behind().ok();
    let (writable, sentence) = match behind.map(|behind| behind.desk.store_health()) {
        Some(StoreHealth::Writable) => (Some(true), None),
        Some(StoreHealth::NotWritable(sentence)) => (Some(false), Some(sentence)),
        None => (None, None),
    };
    let ready = writable == Some(true) && phase == Phase::Open;
    let doors = || behind.iter().flat_map(|behind| &behind.doors);
    let refused = doors().filter_map(|(name, door)| match door.now() {
        Err(Closed::Refused(why)) => {
            let reason = known.then_some(why.reason);
            Some(json!({"name": name, "code": why.code, "reason": reason}))
        }
        Ok(_) | Err(Closed::NoWebhook) => None,
    });
    let body = json!({
        "ready": ready,
        "phase": phase.word(),
        "store": {"writable": writable, "reason": sentence},
        "channels": doors().count(),
        "refused": refused.collect::<Vec<_>>(),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_answer(status, &body)
}

async fn metrics(State(ingress): State<Ingress>, headers: HeaderMap) -> Result<Response, Refused> {
    let (form, text) = (Form::asked_by(&headers), ingress.desk()?.metrics_text().await);
    Ok(typed_answer(StatusCode::OK, form.media_type(), Body::from(form.of(text))))
}
