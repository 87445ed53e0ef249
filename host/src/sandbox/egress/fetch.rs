//! One request of a guest, through every step in order. The order is the policy: nothing is
//! resolved for a request that may not leave, nothing is dialled that was not checked, and
//! credentials go in after the last thing that a guest could read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use zeroize::Zeroizing;

use super::connection::{Caps, Connection, Failed, left};
use super::dial::{Dialer, NoConnection, Refused};
use super::pool::Pool;
use super::target::{BoundTarget, Permit};
use super::wire::Wire;
use super::{Body, EgressAnswer, EgressError, EgressRequest, answer, header, scan};
use crate::env::Env;
use crate::lifecycle::id::ChannelName;
use crate::sandbox::guard::Guard;
use crate::sandbox::limits::CallLimits;
use crate::sandbox::manifest::Effect;

/// What is kept of a call's time for the guest to make something of a late answer.
const REST_MIN: Duration = Duration::from_millis(250);

/// Whether this call may make messages appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Sends {
    /// `send-final` and `send-progress`.
    Allowed,
    /// Every other call: a message that the outbox does not know is none of ours.
    Never,
}

/// The way out of one channel.
pub(in crate::sandbox) struct Egress {
    pub(in crate::sandbox) env: Env,
    pub(in crate::sandbox) channel: ChannelName,
    pub(in crate::sandbox) targets: BTreeMap<String, BoundTarget>,
    pub(in crate::sandbox) guard: Arc<Guard>,
    pub(in crate::sandbox) dialer: Dialer,
    pub(in crate::sandbox) limits: CallLimits,
    /// Declared by the manifest and not granted.
    withheld: BTreeSet<String>,
    pool: Pool,
}

/// A request that may leave.
struct Ready {
    permit: Permit,
    method: Method,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Egress {
    /// Puts the parts together; the pool begins empty.
    pub(in crate::sandbox) fn new(
        env: Env,
        channel: ChannelName,
        targets: BTreeMap<String, BoundTarget>,
        guard: Arc<Guard>,
        dialer: Dialer,
        limits: CallLimits,
    ) -> Self {
        let (withheld, pool) = (BTreeSet::new(), Pool::default());
        Self { env, channel, targets, guard, dialer, limits, withheld, pool }
    }

    /// Names the targets that the operator did not grant, for the sentence that says so.
    pub(in crate::sandbox) fn withholding(mut self, targets: BTreeSet<String>) -> Self {
        self.withheld = targets;
        self
    }

    /// One request and its whole answer. `deadline` is the call's, on [`Env::elapsed`]'s clock.
    pub(in crate::sandbox) async fn fetch(
        &self,
        wire: &mut Wire,
        request: EgressRequest,
        sends: Sends,
        deadline: Duration,
    ) -> Result<EgressAnswer, EgressError> {
        wire.fetches += 1;
        if wire.fetches > self.limits.fetches {
            let most = self.limits.fetches;
            return Err(EgressError::Denied(format!("a call may make {most} requests")));
        }
        let target = self.targets.get(&request.target).ok_or_else(|| self.unknown(&request))?;
        let ready = self.ready(wire, target, &request, sends)?;
        let begun = self.env.elapsed();
        let whole = left(&self.env, deadline);
        let mut end = begun + whole.saturating_sub(REST_MIN.min(whole / 2));
        if let Some(timeout_ms) = request.timeout_ms {
            end = end.min(begun + Duration::from_millis(timeout_ms.into()));
        }
        let effect = ready.permit.effect;
        let result = self.send(wire, target, ready, end).await;
        tracing::debug!(
            channel = %self.channel,
            target = %target.id,
            method = %request.method,
            ?effect,
            status = result.as_ref().map_or(0, |answer| answer.status),
            ms = self.env.elapsed().saturating_sub(begun).as_millis() as u64,
            "request"
        );
        result
    }

    fn unknown(&self, request: &EgressRequest) -> EgressError {
        if let Some(name) = self.withheld.get(&request.target) {
            let granted = self.targets.keys().chain([name]).map(|id| format!("\"{id}\""));
            return EgressError::Denied(format!(
                "target `{name}` is not granted; to allow it, write in the config:\n\
                 [channels.{}.grants]\ntargets = [{}]",
                self.channel,
                granted.collect::<Vec<_>>().join(", ")
            ));
        }
        let name: String = request.target.chars().take(64).collect();
        EgressError::Denied(format!("the manifest declares no target `{}`", name.escape_debug()))
    }

    /// All that is decided without the network.
    fn ready(
        &self,
        wire: &Wire,
        target: &BoundTarget,
        request: &EgressRequest,
        sends: Sends,
    ) -> Result<Ready, EgressError> {
        let denied = |why: String| EgressError::Denied(format!("target `{}`: {why}", target.id));
        let permit = target.permit(request).map_err(denied)?;
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| denied("the method is none".to_owned()))?;
        if permit.effect == Effect::Send {
            self.check_send(wire, sends).map_err(denied)?;
        }
        let mut headers = header::read(&request.headers, &target.injected_headers())
            .map_err(|why| denied(format!("the request {why}")))?;
        scan::scan(&self.guard, request).map_err(|why| denied(format!("the request {why}")))?;
        let body = match &request.body {
            None => Zeroizing::new(Vec::new()),
            Some(Body::Bytes(bytes)) => Zeroizing::new(bytes.clone()),
            Some(Body::Form(fields)) => {
                let form = target.form(fields).map_err(denied)?;
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(CONTENT_TYPE, form_type);
                Zeroizing::new(form.as_bytes().to_vec())
            }
        };
        let most = self
            .limits
            .request_body_bytes
            .min(self.limits.bytes_out.saturating_sub(wire.bytes_out));
        if body.len() as u64 > most {
            return Err(EgressError::RequestTooLarge(format!(
                "the body has {} bytes; {most} are left to this request",
                body.len()
            )));
        }
        Ok(Ready { permit, method, headers, body })
    }

    fn check_send(&self, wire: &Wire, sends: Sends) -> Result<(), String> {
        match sends {
            Sends::Never => Err("a route with effect `send` may be used by send-final and \
                                 send-progress alone"
                .to_owned()),
            Sends::Allowed if wire.sends_begun() >= self.limits.send_requests => Err(format!(
                "a call may make {} request(s) on routes with effect `send`",
                self.limits.send_requests
            )),
            Sends::Allowed => Ok(()),
        }
    }

    /// The connection, the credentials, the exchange.
    async fn send(
        &self,
        wire: &mut Wire,
        target: &BoundTarget,
        ready: Ready,
        end: Duration,
    ) -> Result<EgressAnswer, EgressError> {
        let effect = ready.permit.effect;
        let authority = ready.permit.authority.clone();
        let mut connection = self.connection(target, &ready.permit, end).await?;
        let (request, bytes) = build(target, ready)?;
        wire.bytes_out += bytes;
        let body_bytes =
            self.limits.answer_body_bytes.min(self.limits.bytes_in.saturating_sub(wire.bytes_in));
        let between_bytes = Duration::from_millis(self.limits.between_bytes_ms);
        let caps = Caps { deadline: end, between_bytes, body_bytes };
        wire.begin(effect, connection.fresh_mark());
        let raw = connection.exchange(&self.env, request, &caps).await;
        let whole = raw.is_ok();
        let seen = match raw {
            Ok(raw) => answer::for_guest(raw, &self.guard, body_bytes).await,
            Err(failed) => Err(failed),
        };
        wire.settle(seen.as_ref().ok().map(|answer| answer.status));
        if whole {
            self.pool.give(authority, target.reach, connection, self.env.elapsed()).await;
        }
        let name = &target.id;
        match seen {
            Ok(answer) => {
                wire.bytes_in += answer.body.len() as u64;
                Ok(answer)
            }
            Err(Failed::NotSent(why)) => {
                Err(EgressError::NotSent(format!("target `{name}`: {why}")))
            }
            Err(Failed::Unanswered(why)) => {
                Err(EgressError::Unanswered(format!("target `{name}`: {why}")))
            }
            Err(Failed::TooLarge(status)) => {
                wire.bytes_in += body_bytes;
                Err(EgressError::AnswerTooLarge(status))
            }
        }
    }

    async fn connection(
        &self,
        target: &BoundTarget,
        permit: &Permit,
        end: Duration,
    ) -> Result<Connection, EgressError> {
        let (authority, now) = (&permit.authority, self.env.elapsed());
        if let Some(open) = self.pool.take(authority, target.reach, permit.effect, now).await {
            return Ok(open);
        }
        let wait = Duration::from_millis(self.limits.connect_ms).min(left(&self.env, end));
        let name = &target.id;
        match self.dialer.dial(authority, target.reach, wait).await {
            Ok(connection) => Ok(connection),
            Err(NoConnection::Failed(why)) => {
                Err(EgressError::NotSent(format!("target `{name}`: {why}")))
            }
            Err(NoConnection::Denied(Refused::NeedsPrivateGrant)) => {
                Err(EgressError::Denied(format!(
                    "target `{name}` is at a private address; to allow it, add to the config:\n\
                     [channels.{}.grants]\nprivate_targets = [\"{name}\"]",
                    self.channel
                )))
            }
            Err(NoConnection::Denied(Refused::Never)) => Err(EgressError::Denied(format!(
                "target `{name}` is at an address that is nobody's to dial: reserved, translated \
                 or a cloud's metadata"
            ))),
        }
    }
}

/// The request as it is sent, and its bytes.
fn build(target: &BoundTarget, ready: Ready) -> Result<(Request<Full<Bytes>>, u64), EgressError> {
    let Ready { permit, method, mut headers, body } = ready;
    let unsendable =
        || EgressError::Denied(format!("target `{}`: its address cannot be sent", target.id));
    let path = target.path_and_query(&permit);
    target.inject_headers(&mut headers);
    let host = HeaderValue::from_str(&permit.authority.host_header()).map_err(|_| unsendable())?;
    headers.insert(HOST, host);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let agent = HeaderValue::from_static(concat!("lastword/", env!("CARGO_PKG_VERSION")));
    headers.entry(USER_AGENT).or_insert(agent);
    let head: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let bytes = (path.len() + head + body.len()) as u64;
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(&body)));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| unsendable())?;
    *request.headers_mut() = headers;
    Ok((request, bytes))
}
