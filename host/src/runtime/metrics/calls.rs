//! Calls of guests: how often, how they ended, how long they took, what was refused them.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::env::Env;
use crate::lifecycle::outcome::{Call, CallEnd, CallError};
use crate::sandbox::{Batch, PollError};

/// Shared by all channels. Cheap to clone.
#[derive(Clone)]
pub(in crate::runtime) struct CallMeter {
    env: Env,
    calls: Family<Ended, Counter>,
    seconds: Family<Export, Histogram, fn() -> Histogram>,
    denied: Family<OfChannel, Counter>,
    fetches: Family<OfChannel, Counter>,
    log_lines_dropped: Family<OfChannel, Counter>,
    polls_failed: Family<OfChannel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    channel: String,
    export: &'static str,
    end: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Export {
    channel: String,
    export: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfChannel {
    channel: String,
}

fn seconds() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

impl CallMeter {
    pub(in crate::runtime) fn new(env: &Env) -> Self {
        Self {
            env: env.clone(),
            calls: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            denied: Family::default(),
            fetches: Family::default(),
            log_lines_dropped: Family::default(),
            polls_failed: Family::default(),
        }
    }

    pub(in crate::runtime) fn register(&self, registry: &mut Registry) {
        let help = "Calls of adapters by export and by how they ended";
        registry.register("lastword_guest_calls", help, self.calls.clone());
        let help = "Seconds that calls of adapters took, waiting included";
        registry.register("lastword_guest_call_seconds", help, self.seconds.clone());
        let help = "Requests of adapters that were refused before anything left";
        registry.register("lastword_egress_denied", help, self.denied.clone());
        let help = "Requests that adapters asked for";
        registry.register("lastword_egress_requests", help, self.fetches.clone());
        let help = "Log lines of adapters over their cap";
        registry.register("lastword_guest_log_lines_dropped", help, self.log_lines_dropped.clone());
        let help = "Polls that failed, as where the platform cannot be reached";
        registry.register("lastword_polls_failed", help, self.polls_failed.clone());
    }

    /// Runs one call and counts it. A call whose future is dropped is counted by nobody.
    pub(in crate::runtime) async fn of<T>(
        &self,
        channel: &str,
        export: &'static str,
        call: impl Future<Output = Call<T>>,
    ) -> Call<T> {
        let began = self.env.elapsed();
        let call = call.await;
        self.ended(channel, export, &call, self.env.elapsed().saturating_sub(began));
        call
    }

    /// Counts a poll that brought neither messages nor the word that there are none.
    pub(in crate::runtime) fn polled(&self, channel: &str, call: &Call<Result<Batch, PollError>>) {
        let failed = match &call.end {
            CallEnd::Answered(Err(PollError::Failed(CallError::Unsupported)))
            | CallEnd::Answered(Ok(_))
            | CallEnd::Cancelled => false,
            CallEnd::Answered(Err(_))
            | CallEnd::Trapped(_)
            | CallEnd::DeadlinePassed
            | CallEnd::CpuSpent
            | CallEnd::NotCalled(_) => true,
        };
        if failed {
            self.polls_failed.get_or_create(&OfChannel { channel: channel.to_owned() }).inc();
        }
    }

    fn ended<T>(&self, channel: &str, export: &'static str, call: &Call<T>, took: Duration) {
        let end = match &call.end {
            CallEnd::Answered(_) => "answered",
            CallEnd::Trapped(_) => "trapped",
            CallEnd::DeadlinePassed => "deadline",
            CallEnd::CpuSpent => "cpu",
            CallEnd::Cancelled => "cancelled",
            CallEnd::NotCalled(_) => "not_called",
        };
        let channel = channel.to_owned();
        self.calls.get_or_create(&Ended { channel: channel.clone(), export, end }).inc();
        let of = Export { channel: channel.clone(), export };
        self.seconds.get_or_create(&of).observe(took.as_secs_f64());
        let of = OfChannel { channel };
        for (family, count) in [
            (&self.denied, call.usage.denied),
            (&self.fetches, call.usage.fetches),
            (&self.log_lines_dropped, call.usage.log_lines_dropped),
        ] {
            if count > 0 {
                family.get_or_create(&of).inc_by(count.into());
            }
        }
    }
}
