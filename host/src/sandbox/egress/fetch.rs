//! One request of a guest, through every step in order. The order is the policy: nothing is
//! resolved for a request that may not leave, nothing is dialled that was not checked, and
//! credentials go in after the last thing that a guest could read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};

use super::body::{OutBody, part_head, parts_end};
use super::connection::{Caps, Connection, Failed, Taker, left, not_kept};
use super::dial::{Dialer, NoConnection, Refused};
use super::pool::Pool;
use super::target::{BoundTarget, Permit};
use super::wire::Wire;
use super::{
    Body, Content, EgressAnswer, EgressError, EgressRequest, EgressSaved, Part, answer, header,
    scan,
};
use crate::env::Env;
use crate::sandbox::blobs::{BlobError, CallFiles, FileRoom, NoBlob};
use crate::sandbox::limits::CallLimits;
use crate::sandbox::manifest::Effect;

/// What is kept of a call's time for the guest to make something of a late answer.
const REST_MIN: Duration = Duration::from_millis(250);

/// Parts of one multipart body: more than files in any message.
const PARTS_MAX: usize = 200;

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
        Self { env, room, targets, dialer, limits, withheld, pool }
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
        self.ask(call, request, Taker::Memory).await
    }

    /// One `GET`, the body of whose 2xx answer becomes a file.
    pub(in crate::sandbox) async fn download(
        &self,
        mut call: OneCall<'_>,
        request: EgressRequest,
    ) -> Result<EgressSaved, EgressError> {
        if request.method != "GET" {
            let sentence = "a download is a GET, and changes nothing at the platform";
            return Err(EgressError::Denied(sentence.to_owned()));
        }
        let unsent = |error: BlobError| EgressError::NotSent(error.to_string());
        let mut sink = self.room.store.create(&self.room.channel).await.map_err(unsent)?;
        let answer = self.ask(call.reborrow(), request, Taker::File(&mut *sink)).await?;
        let EgressAnswer { status, headers, body: _ } = answer;
        if !(200..300).contains(&status) {
            return Ok(EgressSaved { status, headers, blob: None, size_bytes: 0 });
        }
        let kept = call.files.commit(sink).await;
        let (blob, size_bytes) = kept.map_err(|error| match not_kept(error, status) {
            Failed::TooLarge(status) => EgressError::AnswerTooLarge(status),
            Failed::Unanswered(why) | Failed::NotSent(why) => EgressError::Unanswered(why),
        })?;
        let spent = call.files.spend_in(size_bytes, self.limits.file_bytes);
        spent.map_err(|_| EgressError::AnswerTooLarge(status))?;
        Ok(EgressSaved { status, headers, blob: Some(blob), size_bytes })
    }

    async fn ask(
        &self,
        call: OneCall<'_>,
        request: EgressRequest,
        taker: Taker<'_>,
    ) -> Result<EgressAnswer, EgressError> {
        let OneCall { wire, files, sends, deadline } = call;
        wire.fetches += 1;
        if wire.fetches > self.limits.fetches {
            let most = self.limits.fetches;
            return Err(EgressError::Denied(format!("a call may make {most} requests")));
        }
        let target = self.targets.get(&request.target).ok_or_else(|| self.unknown(&request))?;
        let ready = self.ready(wire, files, target, &request, sends).await?;
        let begun = self.env.elapsed();
        let whole = left(&self.env, deadline);
        let mut end = begun + whole.saturating_sub(REST_MIN.min(whole / 2));
        if let Some(timeout_ms) = request.timeout_ms {
            end = end.min(begun + Duration::from_millis(timeout_ms.into()));
        }
        let effect = ready.permit.effect;
        let result = self.send(wire, target, ready, end, taker).await;
        tracing::debug!(
            channel = %self.room.channel,
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
                self.room.channel,
                granted.collect::<Vec<_>>().join(", ")
            ));
        }
        let name: String = request.target.chars().take(64).collect();
        EgressError::Denied(format!("the manifest declares no target `{}`", name.escape_debug()))
    }

    /// All that is decided without the network.
    async fn ready(
        &self,
        wire: &Wire,
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
        scan::scan(&self.room.guard, request)
            .map_err(|why| denied(format!("the request {why}")))?;
        let mut body = Building { egress: self, files, body: OutBody::default(), file_bytes: 0 };
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
        let most = self
            .limits
            .request_body_bytes
            .min(self.limits.bytes_out.saturating_sub(wire.bytes_out));
        let own_bytes = body.len().saturating_sub(file_bytes);
        if own_bytes > most {
            return Err(EgressError::RequestTooLarge(format!(
                "the body has {own_bytes} bytes apart from files; {most} are left to this request"
            )));
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

    /// The connection, the credentials, the exchange.
    async fn send(
        &self,
        wire: &mut Wire,
        target: &BoundTarget,
        ready: Ready,
        end: Duration,
        taker: Taker<'_>,
    ) -> Result<EgressAnswer, EgressError> {
        let effect = ready.permit.effect;
        let authority = ready.permit.authority.clone();
        let mut connection = self.connection(target, &ready.permit, end).await?;
        let (request, bytes) = build(target, ready)?;
        wire.bytes_out += bytes;
        let body_bytes = match &taker {
            Taker::Memory => self
                .limits
                .answer_body_bytes
                .min(self.limits.bytes_in.saturating_sub(wire.bytes_in)),
            Taker::File(_) => self.limits.file_bytes,
        };
        let between_bytes = Duration::from_millis(self.limits.between_bytes_ms);
        let caps = Caps { deadline: end, between_bytes, body_bytes };
        wire.begin(effect, connection.fresh_mark());
        let raw = connection.exchange(&self.env, request, &caps, taker).await;
        let whole = raw.is_ok();
        let seen = match raw {
            Ok(raw) => answer::for_guest(raw, &self.room.guard, body_bytes).await,
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
                    self.room.channel
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

/// A body that is being put together. Its files are looked through before anything is resolved.
struct Building<'a> {
    egress: &'a Egress,
    files: &'a mut CallFiles,
    body: OutBody,
    file_bytes: u64,
}

impl Building<'_> {
    async fn push_blob(&mut self, target: &str, blob: &str) -> Result<(), EgressError> {
        let opened = self.files.handle(&self.egress.room, blob).await;
        let (file, size) = opened.map_err(|no| match no {
            NoBlob::Unknown => EgressError::Denied(format!(
                "target `{target}`: the body names a file that this call was not given and did \
                 not make"
            )),
            NoBlob::Denied(why) => {
                EgressError::Denied(format!("target `{target}`: a file of the body {why}"))
            }
            NoBlob::Unavailable(why) => EgressError::NotSent(format!("target `{target}`: {why}")),
        })?;
        let spent = self.files.spend_out(size, self.egress.limits.file_bytes);
        spent.map_err(EgressError::RequestTooLarge)?;
        self.file_bytes += size;
        self.body.push_file(file, size);
        Ok(())
    }

    /// Writes the parts, and gives the content type with a boundary that nobody could foresee.
    async fn push_parts(
        &mut self,
        target: &str,
        parts: &[Part],
    ) -> Result<HeaderValue, EgressError> {
        let denied = |why: String| EgressError::Denied(format!("target `{target}`: {why}"));
        if parts.len() > PARTS_MAX {
            return Err(denied(format!("a body may have {PARTS_MAX} parts")));
        }
        let boundary =
            format!("{:016x}{:016x}", self.egress.env.random_u64(), self.egress.env.random_u64());
        for part in parts {
            let media_type = part.media_type.as_deref();
            if media_type.is_some_and(|text| HeaderValue::from_str(text).is_err()) {
                return Err(denied("a part's media type is none".to_owned()));
            }
            let head = part_head(&boundary, &part.name, part.file_name.as_deref(), media_type);
            self.body.push_bytes(head.as_bytes());
            match &part.content {
                Content::Bytes(bytes) => self.body.push_bytes(bytes),
                Content::Blob(blob) => self.push_blob(target, blob).await?,
            }
            self.body.push_bytes(b"\r\n");
        }
        self.body.push_bytes(parts_end(&boundary).as_bytes());
        let form_type = format!("multipart/form-data; boundary={boundary}");
        HeaderValue::from_str(&form_type).map_err(|_| denied("it has no content type".to_owned()))
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
