//! The trait through which workers call an adapter. `runtime` fills it with the sandbox's channel;
//! tests and the simulation fill it with a script. The trait for agents is
//! [`crate::handler::Handler`]; webhooks come in through `ingress`.
//!
//! It knows no engine: what goes in and out are plain words of `lifecycle` and of the sandbox's
//! face.

use std::sync::Arc;

use async_trait::async_trait;

use crate::gate::StopHandle;
use crate::lifecycle::id::BlobId;
use crate::lifecycle::message::{Attachment, DeliveryKind, OutboundMessage, Place};
use crate::lifecycle::outcome::{
    Call, CallEnd, CallError, Fault, Ledger, Lookup, SendAnswer, StateWrites, Usage,
};
pub use crate::sandbox::{Activity, Batch, Offers, PollError, TextLimit};

/// What the workers have to know of the generation that serves a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdapterFacts {
    /// The optional interfaces that the component exports.
    pub offers: Offers,
    /// The longest text of one platform message; none where there is no limit.
    pub text: Option<TextLimit>,
    /// The longest text beside files; none where it is that of `text`.
    pub caption: Option<TextLimit>,
    /// Files in one message; 0 where it takes none.
    pub files: u32,
    /// Bytes of one file.
    pub file_bytes: Option<u64>,
    /// The least time between two messages of one conversation, and of the whole channel.
    pub conversation_interval_ms: u64,
    pub channel_interval_ms: u64,
    /// How many deliveries of the channel may be at the adapter at once.
    pub calls_at_once: u32,
    /// The adapter's own deadline of a send and of a question; at most half of a claim. The worker
    /// gives up a little later, should the adapter's side fail to keep it.
    pub call_ms: u64,
    /// SHA-256 of the component, lower-case hex.
    pub digest: String,
}

/// Who makes a call for a row that is claimed.
pub enum GenerationOf {
    /// The adapter itself: it never changes.
    This,
    Other(Arc<dyn Adapter>),
    /// It is gone. Nothing is called, and the row goes back uncharged, to be claimed anew.
    Gone,
}

/// One channel's adapter, as the workers call it. Every call ends by itself: by its answer, by a
/// limit, or soon after `stop` was set, and says with its ledger what left.
///
/// A future that is dropped ends its call at once; what left is unknown then.
#[async_trait]
pub trait Adapter: Send + Sync + 'static {
    /// What serves now. Asked again for each piece of work, so that a new generation acts at once.
    fn facts(&self) -> AdapterFacts;

    /// Whether anything serves. A channel that was refused may be mended while the host runs.
    fn serves(&self) -> bool {
        true
    }

    /// The generation by whose rules a row was claimed.
    fn generation(&self, _number: u64) -> GenerationOf {
        GenerationOf::This
    }

    /// Sends one message: finals and notices with `send-final`, the others with `send-progress`.
    async fn send(
        &self,
        kind: DeliveryKind,
        message: OutboundMessage,
        stop: StopHandle,
    ) -> Call<SendAnswer>;

    /// Asks what became of a message. `since_ms` is when its first attempt began.
    async fn find(
        &self,
        message: OutboundMessage,
        since_ms: u64,
        stop: StopHandle,
    ) -> Call<Result<Lookup, CallError>>;

    /// Fetches messages; may wait at the platform for up to `wait_ms`, gives `most` at most.
    async fn poll(
        &self,
        cursor: Option<String>,
        wait_ms: u32,
        most: u32,
        stop: StopHandle,
    ) -> Call<Result<Batch, PollError>>;

    /// Fetches a file that is still at the platform into the host's store.
    async fn download(
        &self,
        _place: Place,
        _file: Attachment,
        _stop: StopHandle,
    ) -> Call<Result<BlobId, CallError>> {
        not_called(Fault::new("no_files_export", "the adapter exports no `files`"))
    }

    /// Shows or clears an activity; says after how many milliseconds it fades.
    async fn indicate(
        &self,
        place: Place,
        activity: Activity,
        stop: StopHandle,
    ) -> Call<Result<Option<u32>, CallError>>;
}

/// A call that never began.
#[must_use]
pub fn not_called<T>(fault: Fault) -> Call<T> {
    bare(CallEnd::NotCalled(fault), Ledger::default())
}

/// A call whose future had to be dropped: nobody knows what left, so it is taken for a send that
/// was never answered.
#[must_use]
pub(super) fn given_up<T>() -> Call<T> {
    let ledger = Ledger { declares_send: true, send_begun: 1, ..Ledger::default() };
    bare(CallEnd::DeadlinePassed, ledger)
}

fn bare<T>(end: CallEnd<T>, ledger: Ledger) -> Call<T> {
    Call {
        end,
        ledger,
        state: StateWrites::default(),
        usage: Usage::default(),
        digest: String::new(),
    }
}
