//! What one call, one component and one engine may use. Every number has its unit in its name.
//! The config may change the numbers of [`CallLimits`]; nothing here reads the config.

use serde::{Deserialize, Serialize};

/// What calls of one channel may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallLimits {
    /// Wall clock of `send-final` and `send-progress`. At most half of a delivery's claim.
    pub send_ms: u64,
    /// Wall clock of `webhook.handle`: platforms give up after a few seconds.
    pub webhook_ms: u64,
    /// Wall clock of `poll.next`, long polling included.
    pub poll_ms: u64,
    /// Wall clock of `reconcile.find`.
    pub find_ms: u64,
    /// Wall clock of `progress.indicate`.
    pub indicate_ms: u64,
    /// Wall clock of `adapter.check`.
    pub check_ms: u64,
    /// CPU time of one call, apart from waiting; measured in epoch ticks of 10 ms.
    pub cpu_ms: u64,
    /// All linear memories of one call together.
    pub memory_bytes: u64,
    /// All tables of one call together.
    pub table_elements: u64,
    /// Core instances of one call.
    pub instances: u32,
    /// Handles of the component model alive at once in one call.
    pub resource_handles: u32,
    /// Calls of the contract's imports, `log` apart.
    pub host_calls: u32,
    /// Calls of WASI functions: cheap, and language runtimes make many.
    pub wasi_calls: u32,
    /// Requests to targets.
    pub fetches: u32,
    /// Of those, requests on `send` routes: one message is one call is one platform message, so
    /// that an adapter which sends one part in a loop is stopped.
    pub send_requests: u32,
    /// Bytes of all requests of one call.
    pub bytes_out: u64,
    /// Bytes of all answers of one call, decompressed.
    pub bytes_in: u64,
    /// Bytes of one request's body.
    pub request_body_bytes: u64,
    /// Bytes of one answer's body, decompressed.
    pub answer_body_bytes: u64,
    /// Bytes of one file; the files of one call together may have some times as many.
    pub file_bytes: u64,
    /// Wall clock of `files.download`.
    pub download_ms: u64,
    /// Time to look a name up, connect and agree on TLS.
    pub connect_ms: u64,
    /// Time from a request's beginning to the first byte of its answer.
    pub first_byte_ms: u64,
    /// Time between two pieces of an answer once its first byte is there.
    pub between_bytes_ms: u64,
    /// Bytes that a channel may send within 24 hours, files included: how much an adapter can carry
    /// out to a place that it was granted.
    pub day_bytes_out: u64,
    /// Log lines of one call; further ones are dropped and counted.
    pub log_lines: u32,
    /// Bytes of one log line; the rest is cut off.
    pub log_line_bytes: u32,
    /// Keys and values of the channel's state together.
    pub state_bytes: u64,
    /// Keys of the channel's state.
    pub state_keys: u64,
    /// Bytes that the host copies out of the guest for one import call or one result.
    pub lifted_bytes: u64,
    /// Events of one webhook or one poll.
    pub events_per_call: u32,
    /// Bytes of one inbound text.
    pub text_bytes: u64,
    /// Bytes of a webhook reply's body.
    pub reply_body_bytes: u64,
    /// Calls of this channel at once, to the platform and from it each; further ones wait within
    /// their own wall clock.
    pub calls_at_once: u32,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            send_ms: 30_000,
            webhook_ms: 2_500,
            poll_ms: 60_000,
            find_ms: 30_000,
            indicate_ms: 5_000,
            check_ms: 1_000,
            cpu_ms: 2_000,
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            instances: 100,
            resource_handles: 1_000,
            host_calls: 256,
            wasi_calls: 20_000,
            fetches: 64,
            send_requests: 1,
            bytes_out: 16 << 20,
            bytes_in: 16 << 20,
            request_body_bytes: 8 << 20,
            answer_body_bytes: 8 << 20,
            file_bytes: 64 << 20,
            download_ms: 60_000,
            connect_ms: 10_000,
            first_byte_ms: 60_000,
            between_bytes_ms: 10_000,
            day_bytes_out: 10 << 30,
            log_lines: 200,
            log_line_bytes: 4 << 10,
            state_bytes: 1 << 20,
            state_keys: 1_000,
            lifted_bytes: 16 << 20,
            events_per_call: 1_000,
            text_bytes: 256 << 10,
            reply_body_bytes: 1 << 20,
            calls_at_once: 16,
        }
    }
}

/// What the contract itself fixes; no setting changes it.
pub(super) mod contract {
    /// Bytes of an identifier.
    pub(crate) const ID_BYTES_MAX: usize = 512;
    /// Pairs of extras.
    pub(crate) const EXTRAS_PAIRS_MAX: usize = 64;
    /// Bytes of all extras of one record together.
    pub(crate) const EXTRAS_BYTES_MAX: usize = 16 << 10;
    /// Bytes of an inbound message's context.
    pub(crate) const CONTEXT_BYTES_MAX: usize = 4 << 10;
    /// Bytes of a poll cursor.
    pub(crate) const CURSOR_BYTES_MAX: usize = 16 << 10;
    /// Bytes of a state key.
    pub(crate) const STATE_KEY_BYTES_MAX: usize = 256;
    /// Bytes that `env.random-bytes` gives at most.
    pub(crate) const RANDOM_BYTES_MAX: u32 = 4_096;
    /// Attachments of one message: beyond it no platform of today goes.
    pub(crate) const ATTACHMENTS_MAX: usize = 100;
    /// Bytes of names, media types and other short words.
    pub(crate) const WORD_BYTES_MAX: usize = 1_024;
    /// Bytes of a fault's code.
    pub(crate) const FAULT_CODE_BYTES_MAX: usize = 64;
    /// Bytes of a fault's sentence.
    pub(crate) const FAULT_SENTENCE_BYTES_MAX: usize = 1_024;
}

/// What one engine holds: the pools are laid out for this once, at start.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where compiled code is kept between starts; none: it is compiled at each start.
    pub cache: Option<super::CachePlace>,
    /// Calls at once over all channels.
    pub calls_max: u32,
    /// The largest memory that any channel's limits may allow.
    pub memory_bytes_max: u64,
    /// Bytes of one component.
    pub component_bytes_max: u64,
    /// Wall clock of one compilation; then its process is killed.
    pub compile_ms_max: u64,
    /// Memory of one compilation's process.
    pub compile_memory_bytes_max: u64,
    /// Whose hidden modes compile, and run channels that are isolated. Without one, components are
    /// compiled in this process, and channels that ask for a process of their own are refused.
    pub helper: Option<super::Helper>,
    /// Wall clock of `describe`, of which there are two at each admission.
    pub describe_ms: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            cache: None,
            calls_max: 256,
            memory_bytes_max: 256 << 20,
            component_bytes_max: 32 << 20,
            compile_ms_max: 60_000,
            compile_memory_bytes_max: 2 << 30,
            helper: super::Helper::own(),
            describe_ms: 250,
        }
    }
}
