//! What ingress counts. Labels come from the config and from this file, never from a request, so
//! that nobody outside can grow them.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::reply::Counts;
use crate::lifecycle::id::ChannelName;

/// Counters of webhooks. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct IngressMetrics {
    requests: Family<RequestLabels, Counter>,
    events: Family<EventLabels, Counter>,
    seconds: Family<ChannelLabels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    channel: String,
    /// `2xx` to `5xx` where the adapter answered, else the host's code.
    end: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    channel: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    channel: String,
}

/// How a webhook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookEnd {
    Answered(&'static str),
    Refused(&'static str),
}

impl HookEnd {
    pub(super) fn of_status(status: StatusCode) -> Self {
        Self::Answered(match status.as_u16() {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        })
    }
}

fn seconds() -> Histogram {
    Histogram::new([0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
}

impl Default for IngressMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            events: Family::default(),
            seconds: Family::new_with_constructor(seconds),
        }
    }
}

impl IngressMetrics {
    /// Puts the counters where `/metrics` finds them.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Webhook requests by how they ended";
        registry.register("lastword_webhook_requests", help, self.requests.clone());
        let help = "Events of webhooks by what became of them";
        registry.register("lastword_webhook_events", help, self.events.clone());
        let help = "Seconds from a webhook's head to its answer, commit included";
        registry.register("lastword_webhook_seconds", help, self.seconds.clone());
    }

    pub(super) fn request(&self, channel: &ChannelName, end: HookEnd, took: Duration) {
        let end = match end {
            HookEnd::Answered(end) | HookEnd::Refused(end) => end,
        };
        let labels = RequestLabels { channel: channel.0.clone(), end };
        self.requests.get_or_create(&labels).inc();
        let labels = ChannelLabels { channel: channel.0.clone() };
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(super) fn events(&self, channel: &ChannelName, counts: &Counts) {
        for (kind, count) in [
            ("accepted", counts.accepted),
            ("duplicate", counts.duplicates),
            ("receipt", counts.receipts),
            ("refused", counts.refused),
            ("dropped", counts.dropped),
        ] {
            if count > 0 {
                let labels = EventLabels { channel: channel.0.clone(), kind };
                self.events.get_or_create(&labels).inc_by(count);
            }
        }
    }
}
