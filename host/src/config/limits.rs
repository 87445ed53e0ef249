//! What one call of an adapter may use, and what one request may carry: every limit with its
//! default, its range and its reason.
//!
//! It knows no engine: `runtime` hands these numbers to the sandbox and to ingress. `[limits]` sets
//! them for all channels, `[channels.X.limits]` over that for one.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::Faults;
use super::host_limits::HINTS_CHANNEL;
use super::section::{Hint, Section};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// The limits of one channel, or the global ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `body`: the longest body of a webhook or of an API request.
    pub body_bytes: u64,
    /// `send`: the wall clock of `send-final` and `send-progress`. At most half of `claim`, so that
    /// a call has ended before anybody else may claim its row.
    pub send: Duration,
    /// `webhook`: the wall clock of `webhook.handle`. Platforms wait 3 to 10 s for their answer.
    pub webhook: Duration,
    /// `poll`: the wall clock of `poll.next`, long polling included.
    pub poll: Duration,
    /// `describe`: the wall clock of `adapter.describe`, which only builds a value.
    pub describe: Duration,
    /// `check`: the wall clock of `adapter.check`, which has no network.
    pub check: Duration,
    /// `find`: the wall clock of `reconcile.find`. It runs under a claim, as a send does.
    pub find: Duration,
    /// `indicate`: the wall clock of `progress.indicate`, which nobody waits for.
    pub indicate: Duration,
    /// `download`: the wall clock of `files.download`, which fetches one file.
    pub download: Duration,
    /// `connect`: looking a name up, connecting and agreeing on TLS, for one request.
    pub connect: Duration,
    /// `first_byte`: from a request's beginning to the first byte of its answer.
    pub first_byte: Duration,
    /// `between_bytes`: from one piece of an answer to the next.
    pub between_bytes: Duration,
    /// `cpu`: time on the processor in one call, apart from waiting.
    pub cpu: Duration,
    /// `memory`: the linear memories of one call, together.
    pub memory_bytes: u64,
    /// `table_elements`: the entries of the tables of one call, together.
    pub table_elements: u32,
    /// `handles`: resource handles that one call may hold.
    pub handles: u32,
    /// `host_calls`: calls of one call into the host, requests included.
    pub host_calls: u32,
    /// `fetches`: requests to the network in one call.
    pub fetches: u32,
    /// `request_bytes`: one request to the network, body included.
    pub request_bytes: u64,
    /// `answer_bytes`: one answer from the network, after decompression.
    pub answer_bytes: u64,
    /// `call_bytes_out`: all requests of one call, apart from files.
    pub call_bytes_out: u64,
    /// `call_bytes_in`: all answers of one call, after decompression, apart from files.
    pub call_bytes_in: u64,
    /// `day_bytes_out`: all that a channel sends within 24 hours, files included. It bounds what an
    /// adapter can carry out to a place that it was granted; counted anew when the host starts.
    pub day_bytes_out: u64,
    /// `file_bytes`: one file, whichever way it goes.
    pub file_bytes: u64,
    /// `files_bytes`: all files that a channel keeps.
    pub files_bytes: u64,
    /// `all_files_bytes`: all files of all channels; past it this one stores no more.
    pub all_files_bytes: u64,
    /// `log_lines`: lines that one call may log; what comes later is counted and dropped.
    pub log_lines: u32,
    /// `log_line_bytes`: one such line with its fields; the rest is cut.
    pub log_line_bytes: u64,
    /// `state_bytes`: keys and values that one channel may keep between calls.
    pub state_bytes: u64,
    /// `state_keys`: how many keys they may be.
    pub state_keys: u32,
    /// `events_per_call`: events that one webhook or one poll may bring.
    pub events_per_call: u32,
    /// `calls_at_once`: calls of one channel at once, sends among them; further ones wait.
    pub calls_at_once: u32,
    /// `send_requests`: requests on `send` routes in one call. One call is one message, so that an
    /// adapter which sends a message in a loop is stopped at the second one; a platform that takes
    /// a message in several requests needs more.
    pub send_requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 * MIB,
            send: Duration::from_secs(30),
            webhook: Duration::from_millis(2_500),
            poll: Duration::from_secs(60),
            describe: Duration::from_millis(250),
            check: Duration::from_secs(1),
            find: Duration::from_secs(30),
            indicate: Duration::from_secs(5),
            download: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(10),
            cpu: Duration::from_secs(2),
            memory_bytes: 64 * MIB,
            table_elements: 100_000,
            handles: 1_000,
            host_calls: 256,
            fetches: 64,
            request_bytes: 8 * MIB,
            answer_bytes: 8 * MIB,
            call_bytes_out: 16 * MIB,
            call_bytes_in: 16 * MIB,
            day_bytes_out: 10 * GIB,
            file_bytes: 64 * MIB,
            files_bytes: 2 * GIB,
            all_files_bytes: 8 * GIB,
            log_lines: 200,
            log_line_bytes: 4 * KIB,
            state_bytes: MIB,
            state_keys: 1_000,
            events_per_call: 1_000,
            calls_at_once: 16,
            send_requests: 1,
        }
    }
}

/// Calls that wait for a person or a platform: an hour is more than any of them answers in.
const CALL: RangeInclusive<Duration> = MS..=HOUR;
/// Body, request and answer: they are held in memory whole.
const CARRIED_BYTES: RangeInclusive<u64> = 1..=256 * MIB;

/// Each call holds an instance with memory of its own.
const CALLS_MAX: u32 = 256;
/// Files are kept on disk: as much as a disk may have.
const FILES_BYTES: RangeInclusive<u64> = 0..=1024 * 1024 * GIB;

/// Keys that belong beside `[limits]`.
const HINTS: &[Hint] = &[
    ("claim", "it belongs in [lifecycle]"),
    ("drain", "it belongs in [lifecycle]"),
    ("concurrency", "it belongs in [handler]"),
    ("line_bytes", "it belongs in [handler]"),
    ("output_bytes", "it belongs in [handler]"),
    ("blobs", "the limits of files are file_bytes, files_bytes and all_files_bytes"),
    HINTS_CHANNEL[0],
    HINTS_CHANNEL[1],
    HINTS_CHANNEL[2],
];

impl Limits {
    /// Reads the settings of one table over these values. `call_most` is half of the claim: a send
    /// or a lookup that is not set takes it where its default is longer.
    pub(super) fn read(
        mut self,
        mut from: Section<'_>,
        call_most: Duration,
        faults: &mut Faults<'_>,
    ) -> Self {
        self.read_calls(&mut from, call_most, faults);
        self.read_sizes(&mut from, faults);
        self.read_counts(&mut from, faults);
        from.finish(HINTS, faults);
        self
    }

    fn read_calls(&mut self, from: &mut Section<'_>, call_most: Duration, faults: &mut Faults<'_>) {
        for (key, field) in [("send", &mut self.send), ("find", &mut self.find)] {
            match from.duration(key, CALL, faults) {
                Some(found) if found.value > call_most => {
                    let sentence = format!(
                        "{} is {}, but at most half of [lifecycle] claim, {}, is safe: a call must \
                         have ended before its row can be claimed again",
                        from.name(key),
                        humantime::format_duration(found.value),
                        humantime::format_duration(call_most),
                    );
                    faults.add(&found.span, sentence);
                }
                Some(found) => *field = found.value,
                None => *field = (*field).min(call_most),
            }
        }
        for (key, field) in [
            ("webhook", &mut self.webhook),
            ("poll", &mut self.poll),
            ("describe", &mut self.describe),
            ("check", &mut self.check),
            ("indicate", &mut self.indicate),
            ("download", &mut self.download),
            ("connect", &mut self.connect),
            ("first_byte", &mut self.first_byte),
            ("between_bytes", &mut self.between_bytes),
        ] {
            if let Some(found) = from.duration(key, CALL, faults) {
                *field = found.value;
            }
        }
        // The engine looks at the budget in ticks of 10 ms: less than two says nothing.
        let cpu = from.duration("cpu", Duration::from_millis(20)..=HOUR, faults);
        self.cpu = cpu.map_or(self.cpu, |found| found.value);
    }

    fn read_sizes(&mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) {
        // One page of WebAssembly is 64 KiB, 4 GiB is all that 32-bit memory can be.
        let memory = 64 * KIB..=4096 * MIB;
        for (key, range, field) in [
            ("body", CARRIED_BYTES, &mut self.body_bytes),
            ("memory", memory, &mut self.memory_bytes),
            ("request_bytes", CARRIED_BYTES, &mut self.request_bytes),
            ("answer_bytes", CARRIED_BYTES, &mut self.answer_bytes),
            ("call_bytes_out", CARRIED_BYTES, &mut self.call_bytes_out),
            ("call_bytes_in", CARRIED_BYTES, &mut self.call_bytes_in),
            ("day_bytes_out", 1..=1024 * 1024 * GIB, &mut self.day_bytes_out),
            ("file_bytes", 1..=64 * GIB, &mut self.file_bytes),
            ("files_bytes", FILES_BYTES, &mut self.files_bytes),
            ("all_files_bytes", FILES_BYTES, &mut self.all_files_bytes),
            ("log_line_bytes", 64..=MIB, &mut self.log_line_bytes),
            ("state_bytes", 0..=256 * MIB, &mut self.state_bytes),
        ] {
            if let Some(found) = from.bytes(key, range, faults) {
                *field = found.value;
            }
        }
    }

    fn read_counts(&mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) {
        for (key, range, field) in [
            ("table_elements", 0..=10_000_000, &mut self.table_elements),
            ("handles", 1..=1_000_000, &mut self.handles),
            ("host_calls", 0..=1_000_000, &mut self.host_calls),
            ("log_lines", 0..=100_000, &mut self.log_lines),
            ("state_keys", 0..=1_000_000, &mut self.state_keys),
            ("events_per_call", 1..=100_000, &mut self.events_per_call),
            ("calls_at_once", 1..=CALLS_MAX, &mut self.calls_at_once),
            ("send_requests", 1..=100, &mut self.send_requests),
        ] {
            if let Some(found) = from.number(key, range, faults) {
                *field = found.value;
            }
        }
        // A request is a call into the host: more of them than of those could never act.
        match from.number("fetches", 0..=100_000, faults) {
            Some(found) if found.value > self.host_calls => {
                let sentence = format!(
                    "{} is {}, but a request is a call into the host and host_calls is {}: raise \
                     host_calls too",
                    from.name("fetches"),
                    found.value,
                    self.host_calls
                );
                faults.add(&found.span, sentence);
            }
            Some(found) => self.fetches = found.value,
            None => self.fetches = self.fetches.min(self.host_calls),
        }
    }
}
