//! From what came to what the guest sees: without the headers of the way, without secrets.

use std::borrow::Cow;

use super::connection::RawAnswer;
use super::{EgressAnswer, header};
use crate::sandbox::guard::Guard;

/// Makes the guest's answer.
pub(super) fn for_guest(raw: RawAnswer, guard: &Guard) -> EgressAnswer {
    let headers = header::visible(&raw.headers).into_iter();
    // A name cannot be redacted and stay one.
    let headers = headers.filter(|(name, _)| guard.leak(name.as_bytes()).is_none());
    let headers = headers.map(|(name, value)| (name, guard.redact_text(value)));
    let body = match guard.redact(&raw.body) {
        Cow::Borrowed(_) => raw.body,
        Cow::Owned(clean) => clean,
    };
    EgressAnswer { status: raw.status, headers: headers.collect(), body }
}
