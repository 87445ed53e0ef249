//! From what came to what the guest sees: decompressed under a cap, without the headers of the
//! way, without secrets.

use http::header::CONTENT_ENCODING;
use tokio::io::AsyncReadExt as _;

use super::connection::{Failed, RawAnswer};
use super::{EgressAnswer, header};
use crate::sandbox::guard::Guard;

/// Makes the guest's answer.
pub(super) async fn for_guest(
    raw: RawAnswer,
    guard: &Guard,
    body_bytes_max: u64,
) -> Result<EgressAnswer, Failed> {
    let encoding = raw.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_vec());
    let body = match encoding.as_deref() {
        None | Some(b"" | b"identity") => raw.body,
        Some(b"gzip" | b"x-gzip") => gunzip(&raw.body, raw.status, body_bytes_max).await?,
        // The host asks for none; what it cannot read it cannot clear of secrets.
        Some(_) => {
            let sentence = "the answer came in an encoding that nobody asked for";
            return Err(Failed::Unanswered(sentence.to_owned()));
        }
    };
    let headers = header::visible(&raw.headers);
    let headers = headers.into_iter().map(|(name, value)| (name, guard.redact_text(value)));
    let body = match guard.redact(&body) {
        std::borrow::Cow::Borrowed(_) => body,
        std::borrow::Cow::Owned(clean) => clean,
    };
    Ok(EgressAnswer { status: raw.status, headers: headers.collect(), body })
}

async fn gunzip(body: &[u8], status: u16, most: u64) -> Result<Vec<u8>, Failed> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    let decoder = async_compression::tokio::bufread::GzipDecoder::new(body);
    let read = decoder.take(most.saturating_add(1)).read_to_end(&mut out).await;
    if out.len() as u64 > most {
        return Err(Failed::TooLarge(status));
    }
    read.map_err(|_| Failed::Unanswered("the answer's compression is broken".to_owned()))?;
    Ok(out)
}
