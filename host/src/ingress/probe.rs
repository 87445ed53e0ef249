//! `/healthz`, `/readyz` and `/metrics`. They change nothing and call no guest.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde_json::json;

use super::answer::{json_answer, typed_answer};
use super::ports::{Door, StoreHealth};
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
async fn readyz(State(ingress): State<Ingress>) -> Response {
    let phase = match ingress.phase() {
        Phase::Starting => "starting",
        Phase::Open => "open",
        Phase::Stopping => "stopping",
    };
    let (writable, sentence) = match ingress.0.desk.store_health() {
        StoreHealth::Writable => (true, None),
        StoreHealth::NotWritable(sentence) => (false, Some(sentence)),
    };
    let ready = writable && phase == "open";
    let doors = ingress.doors();
    let refused = doors.iter().filter_map(|(name, door)| match door {
        Door::Refused(why) => Some(json!({"name": name, "code": why.code, "reason": why.reason})),
        Door::Open(_) | Door::NoWebhook => None,
    });
    let body = json!({
        "ready": ready,
        "phase": phase,
        "store": {"writable": writable, "reason": sentence},
        "channels": doors.len(),
        "refused": refused.collect::<Vec<_>>(),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_answer(status, &body)
}

async fn metrics(State(ingress): State<Ingress>) -> Response {
    let text = ingress.0.desk.metrics_text();
    // What prometheus-client writes is OpenMetrics.
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    typed_answer(StatusCode::OK, media_type, Body::from(text))
}
