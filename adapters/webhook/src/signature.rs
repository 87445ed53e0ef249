//! Signatures as in Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, in base64,
//! behind `v1,`.

use lastword_sdk::encoding::{from_base64, to_base64};
use lastword_sdk::prelude::*;
use lastword_sdk::secrets::Mac;

const INBOUND_KEY: &str = "inbound-key";
const OUTBOUND_KEY: &str = "outbound-key";

/// How far the sender's clock may be from ours, either way.
const TOLERANCE_SECONDS: u64 = 5 * 60;

/// Signatures that are looked at. A sender that rotates its key sends two.
const SIGNATURES_MAX: usize = 16;

/// Checks that a request was signed by whoever holds `inbound-key`, where the operator set one.
pub(crate) fn check(request: &Request) -> Result<(), Refusal> {
    if !secrets::exists(INBOUND_KEY) {
        return Ok(());
    }
    let id = required(request, "webhook-id")?;
    let timestamp = required(request, "webhook-timestamp")?;
    let signatures = required(request, "webhook-signature")?;
    let at_seconds: u64 = timestamp
        .parse()
        .map_err(|_| Refusal::unsigned("`webhook-timestamp` is no number of seconds"))?;
    if (env::now_ms() / 1000).abs_diff(at_seconds) > TOLERANCE_SECONDS {
        return Err(Refusal::unsigned("`webhook-timestamp` is more than 5 minutes off"));
    }
    let signed = content(id, timestamp, &request.body);
    let is_right = signatures
        .split_ascii_whitespace()
        .take(SIGNATURES_MAX)
        .filter_map(|signature| from_base64(signature.strip_prefix("v1,")?))
        .any(|code| secrets::verify(INBOUND_KEY, Mac::HmacSha256, &signed, &code));
    if is_right {
        Ok(())
    } else {
        Err(Refusal::unsigned("no signature in `webhook-signature` is right for this body"))
    }
}

/// Adds the three headers to a request that is about to leave. Without `outbound-key` it goes
/// unsigned, with its id.
pub(crate) fn sign(request: http::Request, id: &str, body: &[u8]) -> http::Request {
    let timestamp = (env::now_ms() / 1000).to_string();
    let signed = content(id, &timestamp, body);
    let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp);
    match secrets::sign(OUTBOUND_KEY, Mac::HmacSha256, &signed) {
        Some(code) => request.header("webhook-signature", format!("v1,{}", to_base64(&code))),
        None => request,
    }
}

fn required<'a>(request: &'a Request, name: &str) -> Result<&'a str, Refusal> {
    request.header(name).ok_or_else(|| Refusal::unsigned(format!("the header `{name}` is missing")))
}

fn content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), timestamp.as_bytes(), body].join(&b'.')
}
