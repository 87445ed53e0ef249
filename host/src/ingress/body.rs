//! Reading a request's body: under its cap, within its time, and within the memory that all bodies
//! share. The rest of a body that is too long is read and dropped for a while beside the answer, so
//! that its sender sees the answer and not a broken connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Ingress;
use super::answer::Refused;

/// Memory is counted in blocks of this size, for a semaphore counts in 32 bits.
const BLOCK_BYTES: u64 = 4 << 10;

/// How many blocks `bytes` are.
pub(super) fn blocks(bytes: u64) -> usize {
    usize::try_from(bytes / BLOCK_BYTES).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// A body in memory, with its share of what bodies may take together.
pub(super) struct HeldBody {
    pub(super) bytes: Vec<u8>,
    /// Given back when the request is done with.
    _share: Option<OwnedSemaphorePermit>,
}

impl Ingress {
    /// Reads a body of up to `most` bytes.
    pub(super) async fn read_body(
        &self,
        headers: &HeaderMap,
        mut body: Body,
        most: u64,
    ) -> Result<HeldBody, Refused> {
        let declared = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse::<u64>().ok());
        if declared.is_some_and(|bytes| bytes > most) {
            self.drop_rest(body);
            return Err(too_long(most));
        }
        let within = Duration::from_millis(self.0.limits.body_read_ms);
        let memory = Arc::clone(&self.0.body_memory);
        let read = self.0.env.timeout(within, collect(&mut body, most, memory)).await;
        match read {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(NotRead::TooLong)) => {
                self.drop_rest(body);
                Err(too_long(most))
            }
            Ok(Err(NotRead::NoMemory)) => {
                self.drop_rest(body);
                let sentence = "too many bodies are being taken in at once; send it again";
                Err(Refused::unavailable("busy", sentence).retry_after(1))
            }
            Ok(Err(NotRead::Broken)) => Err(Refused::invalid("the body broke off")),
            Err(_) => {
                let sentence = format!("the body did not come within {} s", within.as_secs());
                Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "timeout", sentence))
            }
        }
    }

    /// Reads and drops what still comes, on a task of its own beside the answer; no more tasks than
    /// connections.
    pub(super) fn drop_rest(&self, mut body: Body) {
        let limits = &self.0.limits;
        let (most, within) = (limits.drain_bytes_max, Duration::from_millis(limits.drain_ms));
        let env = self.0.env.clone();
        self.0.env.spawn(async move {
            let drain = async {
                let mut dropped = 0;
                while let Some(Ok(frame)) = body.frame().await {
                    dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if dropped > most {
                        break;
                    }
                }
            };
            // Either way the body is dropped here, and with it the connection, if there is more.
            let _ = env.timeout(within, drain).await;
        });
    }
}

enum NotRead {
    TooLong,
    NoMemory,
    Broken,
}

/// Takes its share of the memory as bytes come, not as they are announced: a sender that announces
/// much and sends little holds nothing.
async fn collect(body: &mut Body, most: u64, memory: Arc<Semaphore>) -> Result<HeldBody, NotRead> {
    let mut bytes = Vec::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    let mut held = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| NotRead::Broken)?;
        let Some(data) = frame.data_ref() else { continue };
        let length = bytes.len() as u64 + data.len() as u64;
        if length > most {
            return Err(NotRead::TooLong);
        }
        while held * BLOCK_BYTES < length {
            let missing = (length - held * BLOCK_BYTES).div_ceil(BLOCK_BYTES);
            let count = u32::try_from(missing).unwrap_or(u32::MAX);
            let permit =
                Arc::clone(&memory).try_acquire_many_owned(count).map_err(|_| NotRead::NoMemory)?;
            held += u64::from(count);
            match &mut share {
                Some(share) => share.merge(permit),
                None => share = Some(permit),
            }
        }
        bytes.extend_from_slice(data);
    }
    Ok(HeldBody { bytes, _share: share })
}

fn too_long(most: u64) -> Refused {
    let sentence = format!("the body is longer than {most} bytes, the limit [limits] body");
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_long", sentence)
}
