//! From the traits of an author to the exports of a component.

use crate::bindings;
use crate::message::{
    Activity, Attachment, Batch, CallError, Lookup, OutboundMessage, Place, PollError,
    ProgressKind, Receipt, SendError,
};
use crate::webhook::{self, Request};
use crate::{Adapter, Files, Outbound, Poll, Progress, Reconcile, Webhook};

/// Makes a component of an adapter. Lists the optional interfaces that it offers: `progress`,
/// `reconcile`, `webhook`, `poll`, `files`. The component exports these and no other.
///
/// ```
/// # use lastword_sdk::prelude::*;
/// # struct Mine;
/// # impl Adapter for Mine {
/// #     fn describe() -> Manifest { Manifest::new("mine", "0.1.0", "") }
/// # }
/// # impl Outbound for Mine {
/// #     fn send_final(_: OutboundMessage) -> Result<Receipt, SendError> { Ok(Receipt::new("1")) }
/// # }
/// # impl Webhook for Mine {
/// #     fn handle(_: Request) -> Result<Reply, Refusal> { Err(Refusal::no_such_path()) }
/// # }
/// lastword_sdk::export!(Mine with webhook);
/// ```
#[macro_export]
macro_rules! export {
    ($adapter:ident) => {
        $crate::export!($adapter with);
    };
    ($adapter:ident with $($interface:ident),* $(,)?) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            $crate::__private::channel::export_channel!(
                $adapter with_types_in $crate::__private::channel
            );
            $($crate::__export_interface!($interface of $adapter);)*
        };
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn is_outbound<T: $crate::Outbound>() {}
            is_outbound::<$adapter>();
            $($crate::__check_interface!($interface of $adapter);)*
        };
    };
}

/// One optional interface of [`export!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_interface {
    (webhook of $adapter:ident) => {
        $crate::__private::webhook::export_webhook!(
            $adapter with_types_in $crate::__private::webhook
        );
    };
    (poll of $adapter:ident) => {
        $crate::__private::poll::export_poll!($adapter with_types_in $crate::__private::poll);
    };
    (progress of $adapter:ident) => {
        $crate::__private::progress::export_progress!(
            $adapter with_types_in $crate::__private::progress
        );
    };
    (files of $adapter:ident) => {
        $crate::__private::files::export_files!($adapter with_types_in $crate::__private::files);
    };
    (reconcile of $adapter:ident) => {
        $crate::__private::reconcile::export_reconcile!(
            $adapter with_types_in $crate::__private::reconcile
        );
    };
}

/// Holds natively what [`__export_interface!`] asks for, so that `cargo test` finds a missing
/// trait.
#[doc(hidden)]
#[macro_export]
macro_rules! __check_interface {
    (webhook of $adapter:ident) => {
        const fn is_webhook<T: $crate::Webhook>() {}
        is_webhook::<$adapter>();
    };
    (poll of $adapter:ident) => {
        const fn is_poll<T: $crate::Poll>() {}
        is_poll::<$adapter>();
    };
    (progress of $adapter:ident) => {
        const fn is_progress<T: $crate::Progress>() {}
        is_progress::<$adapter>();
    };
    (files of $adapter:ident) => {
        const fn is_files<T: $crate::Files>() {}
        is_files::<$adapter>();
    };
    (reconcile of $adapter:ident) => {
        const fn is_reconcile<T: $crate::Reconcile>() {}
        is_reconcile::<$adapter>();
    };
}

use bindings::channel::exports::lastword::channel as required;

impl<T: Adapter> required::adapter::Guest for T {
    fn describe() -> required::adapter::Manifest {
        report_panics();
        <T as Adapter>::describe()
    }

    fn check() -> Result<(), Vec<required::adapter::Problem>> {
        report_panics();
        <T as Adapter>::check()
    }
}

impl<T: Outbound> required::outbound::Guest for T {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        report_panics();
        <T as Outbound>::send_final(message)
    }
}

impl<T: Progress> bindings::progress::exports::lastword::channel::progress::Guest for T {
    fn send_progress(kind: ProgressKind, message: OutboundMessage) -> Result<Receipt, SendError> {
        report_panics();
        <T as Progress>::send_progress(kind, message)
    }

    fn indicate(place: Place, activity: Activity) -> Result<Option<u32>, CallError> {
        report_panics();
        <T as Progress>::indicate(place, activity)
    }
}

impl<T: Reconcile> bindings::reconcile::exports::lastword::channel::reconcile::Guest for T {
    fn find(message: OutboundMessage, since_ms: u64) -> Result<Lookup, CallError> {
        report_panics();
        <T as Reconcile>::find(message, since_ms)
    }
}

impl<T: Webhook> bindings::webhook::exports::lastword::channel::webhook::Guest for T {
    fn handle(request: Request) -> webhook::Reply {
        report_panics();
        <T as Webhook>::handle(request).unwrap_or_else(webhook::Refusal::into_reply)
    }
}

impl<T: Poll> bindings::poll::exports::lastword::channel::poll::Guest for T {
    fn next(cursor: Option<String>, wait_ms: u32, most: u32) -> Result<Batch, PollError> {
        report_panics();
        <T as Poll>::next(cursor, wait_ms, most)
    }
}

impl<T: Files> bindings::files::exports::lastword::channel::files::Guest for T {
    fn download(place: Place, file: Attachment) -> Result<String, CallError> {
        report_panics();
        <T as Files>::download(place, file)
    }
}

/// A trap says nothing of why: the message of a panic goes to the log first. An instance lives for
/// one call, so that this is done once per call.
fn report_panics() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let words = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        crate::log::error("the adapter panicked", &[("message", words), ("place", &place)]);
    }));
}
