//! What answers turns: the user's agent behind `exec` and `http`, the built-in `echo`, or a type
//! of the embedding program.
//!
//! A handler gets one [`HandlerDocument`] and gives [`HandlerEvent`]s until it ends. It knows no
//! store, no adapter and no claim: whoever calls it keeps the claim renewed while the future lives,
//! holds the deadline and the heartbeat against it, and reads its events through a [`Protocol`],
//! which says what each means for the turn. Dropping the future of [`Handler::answer`] ends what
//! it started: the process group is killed, the request's connection is closed.

mod decoder;
pub mod document;
pub mod echo;
pub mod event;
pub mod exec;
pub mod guard;
pub mod http;
mod outlet;
pub mod protocol;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::gate::StopHandle;

pub use document::{HandlerDocument, TurnFacts};
pub use echo::Echo;
pub use event::{AskedRetry, HandlerEvent};
pub use exec::{Exec, ExecSettings, LogPayloads};
pub use http::{Http, HttpSettings, read_events};
pub use protocol::{Protocol, Step, TryEnd};

/// How long a start may take, such as a connection; a handler that cannot be started says so within
/// this time.
pub const START_MS_MAX: u64 = 10_000;

/// Caps on what one try may say. Every one of them acts; over it, the try has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerLimits {
    /// One line of output. Longer replies than this serve nobody, and the line is held in memory.
    pub line_bytes_max: usize,
    /// All output of one try, signs of life included.
    pub output_bytes_max: usize,
    /// Events of one try, signs of life apart: each becomes a row.
    pub events_max: u32,
    /// How long a handler may live on after the event that decided its try.
    pub linger_ms: u64,
    /// Lines of a process's error output that reach the log; the rest is counted.
    pub stderr_lines_max: u32,
    /// Bytes of one such line; the rest of it is cut.
    pub stderr_line_bytes_max: usize,
}

impl Default for HandlerLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: 1024 * 1024,
            output_bytes_max: 8 * 1024 * 1024,
            events_max: 10_000,
            linger_ms: 5_000,
            stderr_lines_max: 200,
            stderr_line_bytes_max: 4096,
        }
    }
}

/// How a handler's stream ended, as the handler sees it. What it means for the turn is said by
/// [`Protocol::end`]: a stream that ended without `final` or `silent` is a failed try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerEnd {
    /// The stream is over.
    Ended,
    /// It could not be started, broke, or broke a rule.
    Failed(Failure),
    /// It was told to stop and has stopped.
    Stopped,
}

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One of the codes of this module, for lists.
    pub code: &'static str,
    /// A sentence for the person who has to act. No message text; the handler's own reason, where
    /// it gave one.
    pub reason: String,
    pub retry: Retry,
}

/// What a failed try costs, and what may come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The try is spent; where the handler said so, not before this many milliseconds.
    Spent { after_ms: Option<u64> },
    /// A signal from outside ended the handler's command. The try is spent, unless the host was
    /// being stopped: whoever stops a service tells all its processes at once.
    Killed,
    /// The handler never began: wait by backoff and tell the operator, for the next message would
    /// fare no better.
    NotStarted,
    /// The handler said "never".
    Never,
}

impl Failure {
    /// The handler said so itself.
    pub const SAID: &'static str = "handler_failed";
    /// It could not be started or reached.
    pub const NOT_STARTED: &'static str = "handler_not_started";
    /// Its output broke the protocol.
    pub const PROTOCOL: &'static str = "handler_protocol";
    /// Its output passed a cap.
    pub const LIMIT: &'static str = "handler_limit";
    /// It ended without a final reply.
    pub const NO_FINAL: &'static str = "handler_no_final";
    /// It answered with an error status.
    pub const STATUS: &'static str = "handler_status";
    /// It gave a file that it may not give, or that is too large.
    pub const FILE: &'static str = "handler_file";
    /// Its connection or its pipe broke.
    pub const BROKEN: &'static str = "handler_broken";

    /// A failure that spends the try.
    pub fn spent(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), retry: Retry::Spent { after_ms: None } }
    }

    /// A handler that never began.
    pub fn not_started(reason: impl Into<String>) -> Self {
        Self { code: Self::NOT_STARTED, reason: reason.into(), retry: Retry::NotStarted }
    }
}

/// How a handler gets at files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerFiles {
    /// Not at all.
    None,
    /// By addresses of the host.
    ByAddress,
    /// By copies in a folder of its try, where it may also leave files of its own.
    ByPath,
}

/// Something that answers turns.
///
/// The built-in ones are [`Echo`], [`Exec`] and [`Http`]; a program that embeds Lastword brings its
/// own:
///
/// ```
/// use async_trait::async_trait;
/// use lastword::gate::StopHandle;
/// use lastword::handler::{Handler, HandlerDocument, HandlerEnd, HandlerEvent};
/// use lastword::lifecycle::message::Reply;
/// use tokio::sync::mpsc::Sender;
///
/// /// Answers with the number of words it was sent.
/// struct Counter;
///
/// #[async_trait]
/// impl Handler for Counter {
///     async fn answer(
///         &self,
///         document: HandlerDocument,
///         events: Sender<HandlerEvent>,
///         _stop: StopHandle,
///     ) -> HandlerEnd {
///         let words = document.message.text.split_whitespace().count();
///         let reply = Reply { text: format!("{words} words"), ..Reply::default() };
///         // A closed channel means that the try is over: there is nobody to tell.
///         let _ = events.send(HandlerEvent::Final(reply)).await;
///         HandlerEnd::Ended
///     }
/// }
/// ```
///
/// Rules that the caller holds every handler to:
/// - The first `Final`, `Silent` or `Fail` decides the try; what comes after it is refused.
/// - The claim is renewed while the future lives. A future that blocks its thread is not a live
///   one: put blocking work on threads of its own.
/// - The future may be dropped at any await: on abort, on `handler_deadline`, on
///   `heartbeat_timeout`, when the claim is lost, and where a planned stop outlasts `drain`. Where
///   it can, the caller first sets `stop`; a handler that hears it ends with
///   [`HandlerEnd::Stopped`].
/// - A panic is a failed try.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one try of one turn.
    async fn answer(
        &self,
        document: HandlerDocument,
        events: mpsc::Sender<HandlerEvent>,
        stop: StopHandle,
    ) -> HandlerEnd;

    /// How it gets at files.
    fn files(&self) -> HandlerFiles {
        HandlerFiles::ByAddress
    }
}
