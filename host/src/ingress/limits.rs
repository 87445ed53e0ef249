//! What the host's HTTP side may use: the limits that no setting changes yet, each with its unit in
//! its name. `body_bytes_max` and the limits of a channel come from the config.

/// Limits of all requests together and of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressLimits {
    /// The longest body of an API request; a channel has its own for webhooks.
    pub body_bytes_max: u64,
    /// Bodies held at once, all together: `body_bytes_max` times the connections would be gigabytes.
    pub body_memory_bytes_max: u64,
    /// From the first to the last byte of a body. A platform that needs longer sends again.
    pub body_read_ms: u64,
    /// How long the rest of a body that is too long is read and dropped, so that its sender gets to
    /// see the answer instead of a broken connection.
    pub drain_ms: u64,
    /// How many bytes of it.
    pub drain_bytes_max: u64,
    /// From a connection's first byte, or the end of the request before, to the end of the head.
    pub header_read_ms: u64,
    /// How long a peer may take nothing of an answer; then its connection ends.
    pub write_stall_ms: u64,
    /// The whole head of a request.
    pub header_bytes_max: usize,
    /// Connections at once; further ones wait in the backlog of the system.
    pub connections_max: usize,
    /// Webhook calls of one channel at once; further ones are answered 503.
    pub calls_per_channel_max: usize,
    /// From the planned stop until connections that are still open are cut.
    pub close_ms: u64,
}

impl Default for IngressLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            body_memory_bytes_max: 256 << 20,
            body_read_ms: 30_000,
            drain_ms: 5_000,
            drain_bytes_max: 64 << 20,
            header_read_ms: 20_000,
            write_stall_ms: 30_000,
            header_bytes_max: 64 << 10,
            connections_max: 1_024,
            calls_per_channel_max: 256,
            close_ms: 5_000,
        }
    }
}

/// Bytes of the header lines that an adapter's reply may carry; further lines are left out.
pub(super) const REPLY_HEADER_BYTES_MAX: usize = 16 << 10;
/// Lines of them.
pub(super) const REPLY_HEADERS_MAX: usize = 64;
/// Bytes of all `lastword-turns` lines: common clients give up at 64 KiB of head.
pub(super) const TURNS_HEADER_BYTES_MAX: usize = 48 << 10;
/// Items in one `lastword-turns` line; a list may stand in several lines (RFC 9110, 5.3).
pub(super) const TURNS_PER_LINE_MAX: usize = 100;
/// Rows of one list of the API.
pub(super) const LIST_ROWS_MAX: u32 = 100_000;
/// Rows of one list where no limit is given.
pub(super) const LIST_ROWS_DEFAULT: u32 = 50;
/// Rows that are read at once for a list: what is held in memory of it.
pub(super) const LIST_PAGE_ROWS: u32 = 500;
/// Bytes of the words that an API request may name: channel, conversation, who asks.
pub(super) const WORD_BYTES_MAX: usize = 512;
