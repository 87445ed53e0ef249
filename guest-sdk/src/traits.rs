//! One trait per interface of the contract. What they mean stands in `/wit`; here they have the
//! types that are good to use in Rust.

use crate::adapter::{Manifest, Problem};
use crate::message::{
    Activity, Attachment, Batch, CallError, Lookup, OutboundMessage, Place, PollError,
    ProgressKind, Receipt, SendError,
};
use crate::webhook::{Refusal, Reply, Request};

/// What an adapter is. Required.
pub trait Adapter {
    /// What the adapter asks for and can do. Called before there is a channel: only
    /// [`crate::log`] and [`crate::env`] work, anything else traps. Twice the same bytes must say
    /// twice the same.
    fn describe() -> Manifest;

    /// Checks the operator's settings and which secrets exist, without the network. What the
    /// schema of the settings can say has been checked by then.
    ///
    /// # Errors
    ///
    /// One problem per setting that is wrong, in a sentence for the operator.
    fn check() -> Result<(), Vec<Problem>> {
        Ok(())
    }
}

/// Sending. Required.
pub trait Outbound: Adapter {
    /// Sends the final reply of a turn.
    ///
    /// # Errors
    ///
    /// [`SendError`] names what the host is to do next.
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError>;
}

/// What happens before the final reply. Listed as `progress`.
pub trait Progress: Outbound {
    /// Sends what a tool did, or a part of the answer ahead of the rest.
    ///
    /// # Errors
    ///
    /// As [`Outbound::send_final`]; the host gives such a message one try.
    fn send_progress(kind: ProgressKind, message: OutboundMessage) -> Result<Receipt, SendError>;

    /// Shows or clears an activity. Says after how many milliseconds it fades and has to be shown
    /// again.
    ///
    /// # Errors
    ///
    /// [`CallError::Unsupported`] unless it is written otherwise. Never stored, never retried.
    fn indicate(place: Place, activity: Activity) -> Result<Option<u32>, CallError> {
        let _ = (place, activity);
        Err(CallError::Unsupported)
    }
}

/// Finding out what became of a message whose outcome is unknown. Listed as `reconcile`.
pub trait Reconcile: Outbound {
    /// Asks the platform. `since_ms` is when the first attempt began.
    ///
    /// # Errors
    ///
    /// [`CallError`], where the platform could not be asked.
    fn find(message: OutboundMessage, since_ms: u64) -> Result<Lookup, CallError>;
}

/// Messages that the platform pushes. Listed as `webhook`.
pub trait Webhook: Adapter {
    /// Reads a request. The host commits every event before the answer goes out.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] is answered with its status and its sentence, and carries no events.
    fn handle(request: Request) -> Result<Reply, Refusal>;
}

/// Messages that the host fetches. Listed as `poll`.
pub trait Poll: Adapter {
    /// Fetches what came after `cursor`; with none, what comes from now on. May wait at the
    /// platform for up to `wait_ms`, and gives `most` events at most.
    ///
    /// # Errors
    ///
    /// [`PollError`] names what the host is to do next.
    fn next(cursor: Option<String>, wait_ms: u32, most: u32) -> Result<Batch, PollError>;
}

/// Files that are still at the platform. Listed as `files`.
pub trait Files: Adapter {
    /// Fetches a [`crate::message::AttachmentSource::Remote`] source, with
    /// [`crate::http::Request::download`], and gives the blob. Called when somebody wants the
    /// bytes, which may be never, or long after the message came.
    ///
    /// # Errors
    ///
    /// [`CallError`], where the platform does not give the file.
    fn download(place: Place, file: Attachment) -> Result<String, CallError>;
}
