//! Write a channel adapter for Lastword: a WebAssembly component that knows one platform.
//!
//! An adapter is a type with a trait for each interface that it offers, and one macro that lists
//! the optional ones:
//!
//! ```
//! use lastword_sdk::prelude::*;
//!
//! struct Hello;
//!
//! impl Adapter for Hello {
//!     fn describe() -> Manifest {
//!         Manifest::new("hello", "0.1.0", "Posts each reply to one address.")
//!             .target(Target::fixed("api", "https://api.example").post("/messages", Effect::Send))
//!     }
//! }
//!
//! impl Outbound for Hello {
//!     fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
//!         let body = json!({ "to": message.place.conversation, "text": message.text });
//!         http::post("api").path(["messages"]).json(&body).send()?.for_send()?;
//!         Ok(Receipt::new(message.delivery_id))
//!     }
//! }
//!
//! lastword_sdk::export!(Hello);
//! ```
//!
//! [`adapter::Manifest`] says what an adapter asks for: places to talk to, secrets, settings,
//! limits. [`http`] talks to those places; the host builds the addresses and adds the credentials,
//! and no secret is ever seen in here. [`blobs`] names files, which the host keeps and streams:
//! their bytes need not pass through an adapter at all. [`settings`], [`secrets`], [`state`], [`log`] and
//! [`mod@env`] are the rest of what a host offers.
//!
//! **The wire decides.** The host watches each request on a route whose effect is `send`. An answer
//! that says "not sent" does not stand where such a request left and was not answered, and one that
//! says "sent" does not stand without a whole 2xx answer. [`http::Response::for_send`] and the `?`
//! on [`http::Error`] say what is true of each case, so that an adapter rarely needs to think
//! about it.
//!
//! An instance lives for one call: what must last goes through [`state`].
//!
//! `fake` is a host for the unit tests of an adapter, which run natively with `cargo test`.
#![deny(missing_docs)]

pub mod adapter;
mod bindings;
pub mod blobs;
pub mod encoding;
pub mod env;
mod error;
mod export;
#[cfg(not(target_family = "wasm"))]
pub mod fake;
mod host;
pub mod http;
pub mod log;
pub mod message;
mod multipart;
pub mod secrets;
pub mod settings;
pub mod state;
mod traits;
pub mod webhook;

pub use traits::{Adapter, Files, Outbound, Poll, Progress, Reconcile, Webhook};

/// What nearly every adapter uses.
pub mod prelude {
    pub use crate::adapter::{Effect, Manifest, Problem, RateScope, SecretSlot, Target, TextUnit};
    pub use crate::message::{
        AbortRequest, Activity, Attachment, AttachmentSource, Audience, Batch, CallError, Deletion,
        Fault, InboundEvent, InboundMessage, Lookup, OutboundMessage, Place, PollError,
        ProgressKind, RateLimit, Receipt, SendError, Sender, TextFormat,
    };
    pub use crate::webhook::{Refusal, Reply, Request};
    pub use crate::{Adapter, Files, Outbound, Poll, Progress, Reconcile, Webhook};
    pub use crate::{blobs, env, http, log, secrets, settings, state};
    pub use serde_json::{Value, json};
}

/// What [`export!`] expands to. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::{channel, files, poll, progress, reconcile, webhook};
}
