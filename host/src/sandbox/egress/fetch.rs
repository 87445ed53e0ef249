//! One request of a guest, through every step in order. The order is the policy: nothing is
//! resolved for a request that may not leave, nothing is dialled that was not checked, and
//! credentials go in after the last thing that a guest could read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};

use super::audit::{Line, Tally, Told};
use super::body::OutBody;
use super::building::Building;
use super::connection::{Caps, Connection, Failed, left};
use super::dial::{Dialer, Dues, NoConnection, Refused};
use super::intake::{Taker, not_kept};
use super::origin::Authority;
use super::pool::Pool;
use super::target::{BoundTarget, Permit};
use super::wire::Wire;
use super::{
    Body, EgressAnswer, EgressError, EgressRequest, EgressSaved, Reach, answer, header, scan,
};
use crate::env::Env;
use crate::sandbox::blobs::{BlobError, CallFiles, FileRoom};
use crate::sandbox::grants::grant_lines;
use crate::sandbox::limits::CallLimits;
use crate::sandbox::manifest::Effect;
use crate::sandbox::spec::Grants;

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
    pub(in crate::sandbox) room: Arc<FileRoom>,
    pub(in crate::sandbox) targets: BTreeMap<String, BoundTarget>,
    pub(in crate::sandbox) dialer: Dialer,
    pub(in crate::sandbox) limits: CallLimits,
    /// Declared by the manifest and not granted.
    withheld: BTreeSet<String>,
    pool: Pool,
    pub(super) dues: Dues,
}

/// A request that may leave.
struct Ready {
    permit: Permit,
    method: Method,
    headers: HeaderMap,
    body: OutBody,
    own_bytes: Bytes,
}

/// Bytes of a body apart from the files in it, which have a budget of their own.
#[derive(Debug, Clone, Copy)]
struct Bytes(u64);

/// One call, as its requests need it.
pub(in crate::sandbox) struct OneCall<'a> {
    pub(in crate::sandbox) wire: &'a mut Wire,
    pub(in crate::sandbox) files: &'a mut CallFiles,
    pub(in crate::sandbox) sends: Sends,
    /// The call's own, on [`Env::elapsed`]'s clock.
    pub(in crate::sandbox) deadline: Duration,
}

impl Egress {
    /// Puts the parts together; the pool begins empty.
    pub(in crate::sandbox) fn new(
        env: Env,
        room: Arc<FileRoom>,
        targets: BTreeMap<String, BoundTarget>,
        dialer: Dialer,
        limits: CallLimits,
    ) -> Self {
        let (withheld, pool) = (BTreeSet::new(), Pool::default());
        let dues = dialer.dues(&room.channel);
        Self { env, room, targets, dialer, limits, withheld, pool, dues }
    }

    /// Names the targets that the operator did not grant, for the sentence that says so.
    pub(in crate::sandbox) fn withholding(mut self, targets: BTreeSet<String>) -> Self {
        self.withheld = targets;
        self
    }

    /// One request and its whole answer.
    pub(in crate::sandbox) async fn fetch(
        &self,
        call: OneCall<'_>,
        request: EgressRequest,
    ) -> Result<EgressAnswer, EgressError> {
        let mut line = self.line(&call, &request);
        let result = self.go(call, &request, Taker::Memory, &mut line.tally).await;
        line.end(result.as_ref().map(|answer| answer.status));
        result
    }

    /// One `GET`, the body of whose 2xx answer becomes a file.
    pub(in crate::sandbox) async fn download(
        &self,
        call: OneCall<'_>,
        request: EgressRequest,
    ) -> Result<EgressSaved, EgressError> {
        let mut line = self.line(&call, &request);
        let result = self.save(call, &request, &mut line.tally).await;
        line.end(result.as_ref().map(|saved| saved.status));
        result
    }

    fn line(&self, call: &OneCall<'_>, request: &EgressRequest) -> Line<'_> {
        let told = if call.wire.denied == 0 { Told::No } else { Told::Yes };
        let id = request.target.as_str();
        let declared = self.targets.contains_key(id) || self.withheld.contains(id);
        Line::begin(&self.env, &self.room.channel.0, declared.then_some(id), request, told)
    }

    async fn save(
        &self,
        mut call: OneCall<'_>,
        request: &EgressRequest,
        tally: &mut Tally,
    ) -> Result<EgressSaved, EgressError> {
        if request.method != "GET" {
            let sentence = "a download is a GET, and changes nothing at the platform";
            return Err(EgressError::Denied(sentence.to_owned()));
        }
        let unsent = |error: BlobError| EgressError::NotSent(error.to_string());
        let mut sink = self.room.store.create(&self.room.channel).await.map_err(unsent)?;
        let answer = self.go(call.reborrow(), request, Taker::File(&mut *sink), tally).await?;
        let EgressAnswer { status, headers, body: _ } = answer;
        if !(200..300).contains(&status) {
            return Ok(EgressSaved { status, headers, blob: None, size_bytes: 0 });
        }
        // What came is charged by now, and was no more than was left.
        let kept = call.files.commit(sink).await;
        let (blob, size_bytes) = kept.map_err(|error| match not_kept(error, status) {
            Failed::TooLarge(status) => EgressError::AnswerTooLarge(status),
            Failed::Unanswered(why) | Failed::NotSent(why) => EgressError::Unanswered(why),
        })?;
        Ok(EgressSaved { status, headers, blob: Some(blob), size_bytes })
    }

    async fn go(
        &self,
        call: OneCall<'_>,
        request: &EgressRequest,
        taker: Taker<'_>,
        tally: &mut Tally,
    ) -> Result<EgressAnswer, EgressError> {
        let OneCall { wire, files, sends, deadline } = call;
        wire.fetches += 1;
        if wire.fetches > self.limits.fetches {
            let most = self.limits.fetches;
            return Err(EgressError::Denied(format!("a call may make {most} requests")));
        }
        let target = self.targets.get(&request.target).ok_or_else(|| self.unknown(request))?;
        let ready = self.ready(wire, files, target, request, sends).await?;
        tally.effect = Some(ready.permit.effect);
        let begun = self.env.elapsed();
        let whole = left(&self.env, deadline);
        let mut end = begun + whole.saturating_sub(REST_MIN.min(whole / 2));
        if let Some(timeout_ms) = request.timeout_ms {
            end = end.min(begun + Duration::from_millis(timeout_ms.into()));
        }
        self.send((wire, files), target, ready, (end, taker), tally).await
    }

    /// The whole table of the config that would grant one target more than it grants.
    fn lines_with(&self, target: &str, more: Reach) -> String {
        let private = |target: &BoundTarget| target.reach == Reach::PrivateToo;
        let mut grants = Grants {
            targets: self.targets.keys().cloned().collect(),
            private_targets: self
                .targets
                .values()
                .filter(|it| private(it))
                .map(|it| it.id.clone())
                .collect(),
        };
        grants.targets.insert(target.to_owned());
        match more {
            Reach::PublicOnly => {}
            Reach::PrivateToo => {
                grants.private_targets.insert(target.to_owned());
            }
        }
        grant_lines(&self.room.channel.0, &grants)
    }

    fn unknown(&self, request: &EgressRequest) -> EgressError {
        if let Some(name) = self.withheld.get(&request.target) {
            return EgressError::Denied(format!(
                "target `{name}` is not granted; to allow it, make the config say:\n{}",
                self.lines_with(name, Reach::PublicOnly)
            ));
        }
        let name: String = request.target.chars().take(64).collect();
        EgressError::Denied(format!("the manifest declares no target `{}`", name.escape_debug()))
    }

    /// All that is decided without the network.
    async fn ready(
        &self,
        wire: &mut Wire,
        files: &mut CallFiles,
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
        // Before the scan, which is the dearer the longer the body is.
        let most = self
            .limits
            .request_body_bytes
            .min(self.limits.bytes_out.saturating_sub(wire.bytes_out));
        let too_large = |bytes: u64| {
            EgressError::RequestTooLarge(format!(
                "the body has {bytes} bytes apart from files; {most} are left to this request"
            ))
        };
        if let Some(bytes) = request.body.as_ref().map(Body::own_bytes).filter(|it| *it > most) {
            return Err(too_large(bytes));
        }
        if let Err(why) = scan::scan(&self.room.guard, request) {
            wire.barred += u32::from(permit.effect == Effect::Send);
            return Err(denied(format!("the request {why}")));
        }
        let mut body = Building::new(self, files);
        match &request.body {
            None => {}
            Some(Body::Bytes(bytes)) => body.body.push_bytes(bytes),
            Some(Body::Form(fields)) => {
                let form = target.form(fields).map_err(denied)?;
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(CONTENT_TYPE, form_type);
                body.body.push_bytes(form.as_bytes());
            }
            Some(Body::Blob(blob)) => body.push_blob(&target.id, blob).await?,
            Some(Body::Multipart(parts)) => {
                let form_type = body.push_parts(&target.id, parts).await?;
                headers.insert(CONTENT_TYPE, form_type);
            }
        }
        let Building { body, file_bytes, .. } = body;
        let own_bytes = body.len().saturating_sub(file_bytes);
        if own_bytes > most {
            return Err(too_large(own_bytes));
        }
        let own_bytes = Bytes(own_bytes);
        Ok(Ready { permit, method, headers, body, own_bytes })
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

    /// The budget, the connection, the credentials, the exchange.
    async fn send(
        &self,
        (wire, files): (&mut Wire, &mut CallFiles),
        target: &BoundTarget,
        ready: Ready,
        (end, taker): (Duration, Taker<'_>),
        tally: &mut Tally,
    ) -> Result<EgressAnswer, EgressError> {
        let (effect, authority) = (ready.permit.effect, ready.permit.authority.clone());
        let file_bytes = ready.body.len().saturating_sub(ready.own_bytes.0);
        let now = self.env.elapsed();
        let day = self.day_of(target, &ready, now)?;
        let opened = self.connection(target, (&authority, target.reach, effect), end).await;
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(error) => {
                self.dues.day.give_back(now, day);
                return Err(error);
            }
        };
        let (request, bytes) = build(target, ready)?;
        wire.bytes_out += bytes;
        let body_bytes = match &taker {
            Taker::Memory => self
                .limits
                .answer_body_bytes
                .min(self.limits.bytes_in.saturating_sub(wire.bytes_in)),
            Taker::File(_) => self.limits.file_bytes.min(files.left_in(self.limits.file_bytes)),
        };
        let caps = Caps {
            deadline: end,
            first_byte: Duration::from_millis(self.limits.first_byte_ms),
            between_bytes: Duration::from_millis(self.limits.between_bytes_ms),
            body_bytes,
        };
        wire.begin(effect, connection.fresh_mark());
        tally.out = bytes + file_bytes;
        let into_file = matches!(taker, Taker::File(_));
        let raw = connection.exchange(&self.env, request, &caps, taker).await;
        // Whatever way it ended: bytes that came and were of no use are charged as well.
        tally.into = match &raw {
            Ok(answer) => answer.body_bytes,
            Err(Failed::TooLarge(_)) if !into_file => body_bytes,
            Err(_) => connection.came(),
        };
        match into_file {
            true => files.charge_in(tally.into),
            false => wire.bytes_in += tally.into,
        }
        wire.settle(raw.as_ref().ok().map(|answer| answer.status));
        if let Err(Failed::NotSent(_)) = &raw {
            self.dues.day.give_back(now, day);
            tally.out = 0;
        }
        let name = &target.id;
        match raw {
            Ok(raw) => {
                self.pool.give(authority, target.reach, connection, self.env.elapsed()).await;
                Ok(answer::for_guest(raw, &self.room.guard))
            }
            Err(Failed::NotSent(why)) => {
                Err(EgressError::NotSent(format!("target `{name}`: {why}")))
            }
            Err(Failed::Unanswered(why)) => {
                Err(EgressError::Unanswered(format!("target `{name}`: {why}")))
            }
            Err(Failed::TooLarge(status)) => Err(EgressError::AnswerTooLarge(status)),
        }
    }

    /// Takes a request's bytes off what the channel may send within a day.
    fn day_of(
        &self,
        target: &BoundTarget,
        ready: &Ready,
        now: Duration,
    ) -> Result<u64, EgressError> {
        let head = ready.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let path = target.path_and_query(&ready.permit).len();
        let bytes = (head.sum::<usize>() + path) as u64 + ready.body.len();
        let most = self.limits.day_bytes_out;
        match self.dues.day.take(now, bytes, most) {
            Ok(()) => Ok(bytes),
            Err(spent) => Err(EgressError::NotSent(self.day_is_over(spent, "request", bytes))),
        }
    }

    /// The sentence for what a channel may not send any more within a day.
    pub(super) fn day_is_over(&self, spent: u64, what: &str, bytes: u64) -> String {
        format!(
            "the channel has sent {spent} of the {} bytes that it may send within 24 hours, and \
             this {what} has {bytes}; the limit is `day_bytes_out` in [channels.{}.limits]",
            self.limits.day_bytes_out, self.room.channel
        )
    }

    async fn connection(
        &self,
        target: &BoundTarget,
        (authority, reach, effect): (&Authority, Reach, Effect),
        end: Duration,
    ) -> Result<Connection, EgressError> {
        let now = self.env.elapsed();
        if let Some(open) = self.pool.take(authority, reach, effect, now).await {
            return Ok(open);
        }
        let wait = Duration::from_millis(self.limits.connect_ms).min(left(&self.env, end));
        let name = &target.id;
        match self.dialer.dial(&self.dues, authority, reach, wait).await {
            Ok(connection) => Ok(connection),
            Err(NoConnection::Failed(why)) => {
                Err(EgressError::NotSent(format!("target `{name}`: {why}")))
            }
            Err(NoConnection::Denied(Refused::NeedsPrivateGrant)) => {
                Err(EgressError::Denied(format!(
                    "target `{name}` is at a private address; to allow it, make the config say:\n{}",
                    self.lines_with(name, Reach::PrivateToo)
                )))
            }
            Err(NoConnection::Denied(Refused::Never)) => Err(EgressError::Denied(format!(
                "target `{name}` is at an address that is nobody's to dial: reserved, translated \
                 or a cloud's metadata"
            ))),
        }
    }
}

impl OneCall<'_> {
    fn reborrow(&mut self) -> OneCall<'_> {
        let Self { wire, files, sends, deadline } = self;
        OneCall { wire, files, sends: *sends, deadline: *deadline }
    }
}

/// The request as it is sent, and its bytes.
fn build(target: &BoundTarget, ready: Ready) -> Result<(Request<OutBody>, u64), EgressError> {
    let Ready { permit, method, mut headers, body, own_bytes } = ready;
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
    let bytes = (path.len() + head) as u64 + own_bytes.0;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| unsendable())?;
    *request.headers_mut() = headers;
    Ok((request, bytes))
}
