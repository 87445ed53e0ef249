//! What the status of an answer means for a try: pure.

use http::{HeaderMap, StatusCode, header};

use crate::handler::{Failure, Retry};

/// `Retry-After` is heeded up to this: by then the turn is too old anyway.
const RETRY_AFTER_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// What to do with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Its body holds events.
    Events,
    /// No reply, on purpose.
    Silent,
    Failed(Failure),
}

/// Judges an answer by its head. `now_ms` is the wall clock, for dates in `Retry-After`.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, now_ms: i64) -> Meaning {
    let failed = |retry| {
        let reason = format!("the handler answered {}", status.as_u16());
        Meaning::Failed(Failure { code: Failure::STATUS, reason, retry })
    };
    let spent = || Retry::Spent { after_ms: retry_after_ms(headers, now_ms) };
    match status.as_u16() {
        204 => Meaning::Silent,
        200..=299 => Meaning::Events,
        300..=399 => Meaning::Failed(Failure::spent(
            Failure::STATUS,
            format!(
                "the handler answered {}, a redirect; redirects are not followed: set `url` to \
                 where it leads",
                status.as_u16()
            ),
        )),
        408 | 429 => failed(spent()),
        400..=499 => failed(Retry::Never),
        _ => failed(spent()),
    }
}

/// Seconds or a date (RFC 9110, 10.2.3); what is neither is as if it were not there.
fn retry_after_ms(headers: &HeaderMap, now_ms: i64) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after_ms = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time.
        text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000)
    } else {
        let date = jiff::fmt::rfc2822::parse(text).ok()?;
        let wait_ms = date.timestamp().as_millisecond().saturating_sub(now_ms);
        u64::try_from(wait_ms).unwrap_or(0)
    };
    Some(after_ms.min(RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(status: u16, retry_after: Option<&str>) -> Meaning {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
        }
        // Sun, 06 Nov 1994 08:49:07 GMT
        judge(StatusCode::from_u16(status).unwrap(), &headers, 784_111_747_000)
    }

    fn retry(status: u16, retry_after: Option<&str>) -> Retry {
        match meaning(status, retry_after) {
            Meaning::Failed(failure) => failure.retry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_class_of_status_has_its_meaning() {
        assert_eq!(meaning(204, None), Meaning::Silent);
        for status in [200, 201, 202] {
            assert_eq!(meaning(status, None), Meaning::Events);
        }
        for status in [302, 408, 429, 500, 502, 503, 504, 599] {
            assert_eq!(retry(status, None), Retry::Spent { after_ms: None }, "{status}");
        }
        for status in [400, 401, 403, 404, 410, 413, 422] {
            assert_eq!(retry(status, Some("1")), Retry::Never, "{status}");
        }
    }

    #[test]
    fn retry_after_is_heeded_in_seconds_and_as_a_date() {
        let after = |text| retry(503, Some(text));
        assert_eq!(after("7"), Retry::Spent { after_ms: Some(7_000) });
        let date = after("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date, Retry::Spent { after_ms: Some(30_000) });
        let past = after("Sun, 06 Nov 1994 08:00:00 GMT");
        assert_eq!(past, Retry::Spent { after_ms: Some(0) });
        for endless in ["99999999999999999999999", "999999999"] {
            let capped = Retry::Spent { after_ms: Some(RETRY_AFTER_MS_MAX) };
            assert_eq!(after(endless), capped);
        }
        for nonsense in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(nonsense), Retry::Spent { after_ms: None }, "{nonsense}");
        }
    }
}
