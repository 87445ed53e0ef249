//! What a host and the process of an adapter say to each other, in the contract's own words: one
//! message for each import that the guest calls and one for its answer, one for each call and one
//! for its end. In the host every import is answered by the same code as for adapters that run in
//! it: that is where counts, quotas, egress, secrets and the ledger are.

use serde::{Deserialize, Serialize};
use wasmtime::Result;

use crate::sandbox::bindings::lastword::channel::{blobs, env, http, secrets, settings, state};
use crate::sandbox::faces::Faces;
use crate::sandbox::guest::Guest;
use crate::sandbox::limits::CallLimits;
use crate::sandbox::log_sink::Level;
use crate::sandbox::orders::{Order, Said};

/// The first message to a child; the compiled code follows as a message of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    /// Calls at once that there is room for.
    pub(super) calls: u32,
    /// The largest memory of one call.
    pub(super) memory_bytes: u64,
    /// What the process may have in all.
    pub(super) data_bytes: u64,
    /// See [`super::compile::shape`].
    pub(super) shape: [u8; 32],
    /// The host's process, with which it is to die.
    pub(super) host: u32,
}

/// The first message of a child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Loaded {
    /// It is locked down, and the code fits.
    Ready(Faces),
    Refused(Vec<String>),
}

/// From the host. Calls are told apart by their number.
#[derive(Serialize, Deserialize)]
pub(super) enum ToChild {
    Call { call: u64, order: Box<Order>, limits: Box<CallLimits>, given: Given },
    Answer { call: u64, answer: std::result::Result<Answer, String> },
    Cancel { call: u64 },
}

/// Chance and time of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Given {
    /// Time goes on from here, and chance from this seed.
    Running { seed: [u8; 32], wall_ms: u64 },
    /// In `describe` and in rehearsals both stand still.
    Fixed { now_ms: u64 },
}

/// From a child.
#[derive(Serialize, Deserialize)]
pub(super) enum ToHost {
    Ask { call: u64, ask: Ask },
    Log { call: u64, line: LogLine },
    Done { call: u64, done: Box<Done> },
}

/// What a child says, before it is read: the places of [`ToHost`]'s kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ask,
    Log,
    Done,
}

impl Kind {
    pub(super) fn at(place: u32) -> Option<Self> {
        [Self::Ask, Self::Log, Self::Done].get(usize::try_from(place).ok()?).copied()
    }
}

/// One line of a guest's log, cut to a little more than its cap.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct LogLine {
    pub(in crate::sandbox) level: Level,
    pub(in crate::sandbox) message: String,
    pub(in crate::sandbox) fields: Vec<(String, String)>,
}

/// How a call ended in the child, and what it used there.
#[derive(Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) end: End,
    pub(super) cpu_us: u64,
    pub(super) memory_peak_bytes: u64,
    pub(super) memory_refused: bool,
    /// Lines over the cap, and the last errors among them.
    pub(super) log_dropped: u32,
    pub(super) log_last: Vec<LogLine>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum End {
    Said(Said),
    Trapped(String),
    CpuSpent,
    Cancelled,
    Busy,
}

/// A call of an import.
#[derive(Serialize, Deserialize)]
pub(super) enum Ask {
    Fetch(http::Request),
    Download(http::Request),
    BlobSize(String),
    BlobRead(String, u64, u32),
    BlobWrite(Vec<u8>),
    SecretExists(String),
    SecretSign(String, secrets::Mac, Vec<u8>),
    SecretVerify(String, secrets::Mac, Vec<u8>, Vec<u8>),
    SecretEquals(String, Vec<u8>),
    Setting(String),
    PublicUrl,
    StateGet(String),
    StateSet(String, Vec<u8>),
    StateDelete(String),
    NowMs,
    RandomBytes(u32),
}

/// Its answer.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Fetched(std::result::Result<http::Response, http::Error>),
    Saved(std::result::Result<http::Saved, http::Error>),
    Size(std::result::Result<u64, blobs::Error>),
    Read(std::result::Result<Vec<u8>, blobs::Error>),
    Written(std::result::Result<String, blobs::Error>),
    Truth(bool),
    Code(Option<Vec<u8>>),
    Text(Option<String>),
    Value(std::result::Result<Option<Vec<u8>>, state::Error>),
    Stored(std::result::Result<(), state::Error>),
    Number(u64),
    Bytes(Vec<u8>),
}

/// Answers as the import itself does. An error is a trap.
pub(super) async fn answer(guest: &mut Guest, ask: Ask) -> Result<Answer> {
    Ok(match ask {
        Ask::Fetch(request) => Answer::Fetched(http::Host::fetch(guest, request).await?),
        Ask::Download(request) => Answer::Saved(http::Host::download(guest, request).await?),
        Ask::BlobSize(blob) => Answer::Size(blobs::Host::size(guest, blob).await?),
        Ask::BlobRead(blob, offset, count) => {
            Answer::Read(blobs::Host::read(guest, blob, offset, count).await?)
        }
        Ask::BlobWrite(bytes) => Answer::Written(blobs::Host::write(guest, bytes).await?),
        Ask::SecretExists(slot) => Answer::Truth(secrets::Host::exists(guest, slot).await?),
        Ask::SecretSign(slot, mac, data) => {
            Answer::Code(secrets::Host::sign(guest, slot, mac, data).await?)
        }
        Ask::SecretVerify(slot, mac, data, code) => {
            Answer::Truth(secrets::Host::verify(guest, slot, mac, data, code).await?)
        }
        Ask::SecretEquals(slot, candidate) => {
            Answer::Truth(secrets::Host::equals(guest, slot, candidate).await?)
        }
        Ask::Setting(key) => Answer::Text(settings::Host::get(guest, key).await?),
        Ask::PublicUrl => Answer::Text(settings::Host::public_url(guest).await?),
        Ask::StateGet(key) => Answer::Value(state::Host::get(guest, key).await?),
        Ask::StateSet(key, value) => Answer::Stored(state::Host::set(guest, key, value).await?),
        Ask::StateDelete(key) => Answer::Stored(state::Host::delete(guest, key).await?),
        Ask::NowMs => Answer::Number(env::Host::now_ms(guest).await?),
        Ask::RandomBytes(count) => Answer::Bytes(env::Host::random_bytes(guest, count).await?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;

    #[test]
    fn kind_and_call_are_read_without_the_rest() {
        let line = LogLine { level: Level::Info, message: String::new(), fields: Vec::new() };
        let done = Done {
            end: End::Busy,
            cpu_us: 0,
            memory_peak_bytes: 0,
            memory_refused: false,
            log_dropped: 0,
            log_last: Vec::new(),
        };
        for (message, kind) in [
            (ToHost::Ask { call: u64::MAX, ask: Ask::NowMs }, Kind::Ask),
            (ToHost::Log { call: u64::MAX, line }, Kind::Log),
            (ToHost::Done { call: u64::MAX, done: Box::new(done) }, Kind::Done),
        ] {
            let (place, call) = frame::head_of(&frame::encode(&message).unwrap()).unwrap();
            assert_eq!((Kind::at(place), call), (Some(kind), u64::MAX));
        }
        assert_eq!(Kind::at(3), None);
    }
}
