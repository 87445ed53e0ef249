//! Threat 1: a loop without an end, in the export that the setting `how` names, or in the one that
//! a message says: `send`, or `realloc`, which is the guest's allocator while the host copies an
//! answer in.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use hostile::{Threat, deliver, for_ever, hear, how};
use lastword_sdk::prelude::*;

struct EndlessLoop;

/// From now on nothing is allocated any more.
static ARMED: AtomicBool = AtomicBool::new(false);

struct Looping;

#[allow(unsafe_code, reason = "an allocator is what `cabi_realloc` calls")]
// SAFETY: every call goes to the system's allocator as it came, or does not return.
unsafe impl GlobalAlloc for Looping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ARMED.load(Ordering::Relaxed) {
            for_ever();
        }
        // SAFETY: the caller's own promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Looping = Looping;

fn loops_in(export: &str) {
    if how() == export {
        for_ever();
    }
}

impl Threat for EndlessLoop {
    const NAME: &'static str = "endless-loop";

    fn check() -> Result<(), Vec<Problem>> {
        loops_in("check");
        Ok(())
    }

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        loops_in("send");
        match message.text.as_str() {
            "send" => for_ever(),
            "realloc" => {
                ARMED.store(true, Ordering::Relaxed);
                // The host asks for room for the answer, and waits.
                std::hint::black_box(lastword_sdk::env::random_bytes(64));
                for_ever()
            }
            _ => deliver(message),
        }
    }

    fn hear(request: &Request) -> Result<Reply, Refusal> {
        loops_in("handle");
        if request.route() == "loop" {
            for_ever();
        }
        hear(request)
    }
}

impl Progress for EndlessLoop {
    fn send_progress(_: ProgressKind, message: OutboundMessage) -> Result<Receipt, SendError> {
        loops_in("progress");
        deliver(&message)
    }

    fn indicate(_: Place, _: Activity) -> Result<Option<u32>, CallError> {
        loops_in("indicate");
        Err(CallError::Unsupported)
    }
}

impl Reconcile for EndlessLoop {
    fn find(_: OutboundMessage, _: u64) -> Result<Lookup, CallError> {
        loops_in("find");
        Err(CallError::Unsupported)
    }
}

impl Poll for EndlessLoop {
    fn next(_: Option<String>, _: u32, _: u32) -> Result<Batch, PollError> {
        loops_in("poll");
        let wait = RateLimit { retry_after_ms: 3_600_000, scope: RateScope::Channel };
        Err(PollError::Failed(CallError::RateLimited(wait)))
    }
}

impl Files for EndlessLoop {
    fn download(_: Place, _: Attachment) -> Result<String, CallError> {
        loops_in("download");
        Err(CallError::Unsupported)
    }
}

hostile::component!(EndlessLoop, poll, progress, reconcile, files);
