//! One line for each request of a guest, at level `debug` under the target `lastword::egress`: where
//! it went by the names of the manifest, and what became of it. Never a path, a query, a header or
//! a body: credentials and what people write stand there. A request that was refused is told the
//! operator at level `warn`, the first of each call.

use std::time::Duration;

use super::{EgressError, EgressRequest};
use crate::env::Env;
use crate::sandbox::manifest::Effect;

/// The target of these lines, for `LASTWORD_LOG`.
pub(super) const TARGET: &str = "lastword::egress";

/// Methods that are named; what else a guest calls one is its own text.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// What the host itself quotes in its sentences.
const HOST_WORDS: [&str; 5] = ["send", "%", ".", "..", ".` or `.."];

/// Bytes of one request, where any of it may have left, and of its answer as it was unpacked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) out: u64,
    pub(super) into: u64,
    pub(super) effect: Option<Effect>,
}

/// A request whose end is not known yet. Dropped before its end it is told as `cut_off`: a call that
/// is ended in the middle of a request leaves its line too.
pub(super) struct Line<'a> {
    env: &'a Env,
    channel: &'a str,
    to: String,
    method: &'static str,
    begun: Duration,
    told: Told,
    pub(super) tally: Tally,
    written: bool,
}

/// Whether the operator heard of this call's refusals already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Yes,
    No,
}

impl<'a> Line<'a> {
    /// Begins. `to` is the target's id where the manifest declares it: what a guest calls one is its
    /// own text.
    pub(super) fn begin(
        env: &'a Env,
        channel: &'a str,
        to: Option<&str>,
        request: &EgressRequest,
        told: Told,
    ) -> Self {
        let method = METHODS.into_iter().find(|known| *known == request.method);
        Self {
            env,
            channel,
            to: to.unwrap_or("(undeclared)").to_owned(),
            method: method.unwrap_or("(other)"),
            begun: env.elapsed(),
            told,
            tally: Tally::default(),
            written: false,
        }
    }

    /// Writes it: with the status, or why there is none.
    pub(super) fn end(mut self, end: Result<u16, &EgressError>) {
        let (status, how) = match end {
            Ok(status) => (status, "answered"),
            Err(EgressError::Denied(_)) => (0, "denied"),
            Err(EgressError::NotSent(_)) => (0, "not_sent"),
            Err(EgressError::RequestTooLarge(_)) => (0, "request_too_large"),
            Err(EgressError::Unanswered(_)) => (0, "unanswered"),
            Err(EgressError::AnswerTooLarge(status)) => (*status, "answer_too_large"),
        };
        self.write(status, how);
        if let (Err(EgressError::Denied(why)), Told::No) = (end, self.told) {
            let (channel, to, method) = (self.channel, self.to.as_str(), self.method);
            match why.split_once('\n') {
                Some((why, config)) => {
                    let config = config.replace('\n', " | ");
                    tracing::warn!(
                        target: TARGET, channel, to, method, config, "request denied: {why}"
                    );
                }
                None => {
                    let why = of_the_host(why, to);
                    tracing::warn!(target: TARGET, channel, to, method, "request denied: {why}");
                }
            }
        }
    }

    fn write(&mut self, status: u16, end: &'static str) {
        self.written = true;
        let (channel, to, method) = (self.channel, self.to.as_str(), self.method);
        let Tally { out, into, effect } = self.tally;
        let effect = effect.map_or("", word);
        let took = self.env.elapsed().saturating_sub(self.begun);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(
            target: TARGET,
            channel, to, method, effect, status, end, bytes_out = out, bytes_in = into, ms,
            "request"
        );
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.written {
            self.write(0, "cut_off");
        }
    }
}

/// The sentence without what the guest called things. All of that stands between the first and the
/// last of its quotes, for a name of the guest's may hold quotes itself.
fn of_the_host(why: &str, to: &str) -> String {
    let declared = format!("target `{to}`");
    let (head, rest) = match why.strip_prefix(&declared) {
        Some(rest) => (declared.as_str(), rest),
        None => ("", why),
    };
    let quoted = rest.split_once('`').and_then(|(before, from)| {
        let (quoted, after) = from.rsplit_once('`')?;
        Some((before, quoted, after))
    });
    match quoted {
        Some((before, quoted, after)) if !HOST_WORDS.contains(&quoted) => {
            format!("{head}{before}`(its own word)`{after}")
        }
        Some(_) | None => why.to_owned(),
    }
}

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Prepare => "prepare",
        Effect::Send => "send",
    }
}
