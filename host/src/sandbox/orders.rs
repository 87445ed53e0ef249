//! The calls that a host makes of a guest, in the contract's own words: which export, with what,
//! and what it said. They run inside a live instance, in this process or in the adapter's own; what
//! was said is read by `jobs`, always in the host.

use serde::{Deserialize, Serialize};
use wasmtime::component::Instance;
use wasmtime::{Result, Store};

use super::bindings::exports::lastword::channel::{adapter, poll, progress, reconcile, webhook};
use super::bindings::lastword::channel::types as wit;
use super::exports::Exports;

/// One call of one export.
#[derive(Serialize, Deserialize)]
pub(super) enum Order {
    /// `adapter.describe`, with every export's types checked beside it.
    Describe,
    Check,
    SendFinal(wit::OutboundMessage),
    SendProgress(progress::ProgressKind, wit::OutboundMessage),
    Indicate(wit::Place, progress::Activity),
    Find(wit::OutboundMessage, u64),
    Webhook(webhook::Request),
    Poll {
        cursor: Option<String>,
        wait_ms: u32,
        most: u32,
    },
    Download(wit::Place, wit::Attachment),
}

/// What the guest said, before anything of it is believed.
#[derive(Serialize, Deserialize)]
pub(super) enum Said {
    Described(adapter::Manifest),
    Checked(std::result::Result<(), Vec<adapter::Problem>>),
    Sent(std::result::Result<wit::Receipt, wit::SendError>),
    Indicated(std::result::Result<Option<u32>, wit::CallError>),
    Found(std::result::Result<reconcile::Lookup, wit::CallError>),
    Handled(webhook::Reply),
    Polled(std::result::Result<poll::Batch, poll::PollError>),
    Downloaded(std::result::Result<String, wit::CallError>),
}

/// An optional export that the caller knows to be there.
fn offered<'a, T>(export: &'a Option<T>, name: &str) -> Result<&'a T> {
    export.as_ref().ok_or_else(|| wasmtime::format_err!("the adapter exports no `{name}`"))
}

impl Order {
    /// Calls the export. An error is a trap.
    pub(super) async fn run<T: Send + 'static>(
        self,
        store: &mut Store<T>,
        at: &Instance,
        exports: &Exports,
    ) -> Result<Said> {
        Ok(match self {
            Self::Describe => {
                exports.check_types(store, at)?;
                let adapter = exports.adapter.load(&mut *store, at)?;
                Said::Described(adapter.call_describe(&mut *store).await?)
            }
            Self::Check => {
                let adapter = exports.adapter.load(&mut *store, at)?;
                Said::Checked(adapter.call_check(&mut *store).await?)
            }
            Self::SendFinal(message) => {
                let outbound = exports.outbound.load(&mut *store, at)?;
                Said::Sent(outbound.call_send_final(&mut *store, &message).await?)
            }
            Self::SendProgress(kind, message) => {
                let progress = offered(&exports.progress, "progress")?.load(&mut *store, at)?;
                Said::Sent(progress.call_send_progress(&mut *store, kind, &message).await?)
            }
            Self::Indicate(place, activity) => {
                let progress = offered(&exports.progress, "progress")?.load(&mut *store, at)?;
                Said::Indicated(progress.call_indicate(&mut *store, &place, activity).await?)
            }
            Self::Find(message, since_ms) => {
                let reconcile = offered(&exports.reconcile, "reconcile")?.load(&mut *store, at)?;
                Said::Found(reconcile.call_find(&mut *store, &message, since_ms).await?)
            }
            Self::Webhook(request) => {
                let webhook = offered(&exports.webhook, "webhook")?.load(&mut *store, at)?;
                Said::Handled(webhook.call_handle(&mut *store, &request).await?)
            }
            Self::Poll { cursor, wait_ms, most } => {
                let poll = offered(&exports.poll, "poll")?.load(&mut *store, at)?;
                let cursor = cursor.as_deref();
                Said::Polled(poll.call_next(&mut *store, cursor, wait_ms, most).await?)
            }
            Self::Download(place, file) => {
                let files = offered(&exports.files, "files")?.load(&mut *store, at)?;
                Said::Downloaded(files.call_download(&mut *store, &place, &file).await?)
            }
        })
    }
}
