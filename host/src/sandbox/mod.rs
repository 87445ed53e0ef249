//! The only room that names the engine: admission, instances, imports, egress, grants.
//!
//! It knows no store, no workers and no config files. State comes in through [`StateSource`],
//! secrets through [`SecretMap`], files through [`BlobStore`], and one call gives back one value: how it ended, what left on
//! the wire, what it wants remembered, what it used.
//!
//! ```text
//! Engine::admit(bytes) -> Adapter      imports, exports, compile or cache, describe twice
//! Adapter::bind(spec)  -> Channel      schema, secrets, grants, templates, check
//! Channel::send(..)    -> Call<..>     fresh instance, limits, mediated imports, wire ledger
//! ```

mod admission;
mod asks;
mod bindings;
mod blobs;
mod bound;
mod cache;
mod channel;
mod child;
mod convert_in;
mod convert_out;
mod cpu;
mod egress;
mod engine;
mod escapes;
mod exports;
mod faces;
mod grants;
mod guard;
mod guest;
mod imports;
mod jobs;
mod lanes;
mod limits;
mod log_sink;
mod manifest;
mod manifest_read;
mod orders;
mod run;
mod schema;
mod secrets;
mod signature;
mod spec;
mod state;
mod stop;
mod template;
mod text;
mod ticker;
mod wasi;

#[cfg(test)]
mod tests;

pub use admission::{Adapter, Admitted, WeakAdapter};
pub use asks::{Ask, Interface, SecretUsage, asks, unrenderable};
pub use blobs::{BlobError, BlobSink, BlobStore, NoBlobs, OpenBlob};
pub use channel::Channel;
pub use child::{Helper, child_main};
pub use egress::looks_private;
pub use engine::Engine;
pub use grants::{Difference, difference, grant_lines};
pub use limits::{CallLimits, EngineConfig};
pub use manifest::{
    Credential, Effect, Idempotency, Injection, Limits, Manifest, Offers, Origin, Placement, Route,
    SecretEncoding, SecretSlot, SecretUses, Target, TextLimit, TextUnit,
};
pub use secrets::SecretMap;
pub use signature::{SIGNATURE_BYTES_MAX, Signed, Signer, TrustedKey, signing_line, verify};
pub use spec::{
    Activity, Batch, ChannelSpec, Grants, Isolation, PollError, Refusal, Rehearsal, WebhookReply,
    WebhookRequest,
};
pub use state::{StateSize, StateSource, StateUnavailable};
pub use stop::{StopHandle, StopSignal, stop_pair};
pub use text::{first_line, lines};

/// Where compiled code is kept between starts.
#[derive(Debug, Clone)]
pub struct CachePlace {
    /// A private folder (0700), made where it is missing.
    pub dir: std::path::PathBuf,
    /// The key that authenticates entries (0600), made where it is missing.
    pub key_file: std::path::PathBuf,
}
