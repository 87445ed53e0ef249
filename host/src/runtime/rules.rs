//! The config in the words of each room: what the store, the workers, the sandbox and ingress obey.
//! One file, so that no setting is read twice in two ways.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::{
    self, ChannelConfig, Config, DeliveryLifecycle, ExpireAction, Idempotency, Limits, LogPayloads,
    OnUnknown, PullConfig, SecretError,
};
use crate::files::{FileQuota, QuotaOf};
use crate::handler::{self, HandlerLimits};
use crate::ingress::IngressLimits;
use crate::lifecycle::bucket::Rate;
use crate::lifecycle::delivery::{self, DeliveryLimits};
use crate::lifecycle::id::BootId;
use crate::lifecycle::settle::{self, SettleMeans};
use crate::lifecycle::turn::TurnLimits;
use crate::sandbox::{
    self, CachePlace, CallLimits, ChannelSpec, EngineConfig, Grants, Manifest, SecretMap,
};
use crate::store::{ChannelRules, HostRules, Pace};
use crate::workers::rules::{PullRules, WorkerRules};

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn at_most_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The keys and the bytes that the store lets a channel keep: it has one quota, and the sandbox holds
/// each channel to its own.
pub(super) fn state_most(config: &Config) -> (u64, u64) {
    let all = config.channels.values().map(|channel| &channel.limits);
    all.chain([&config.limits]).fold((0, 0), |(keys, bytes), limits| {
        (u64::from(limits.state_keys).max(keys), limits.state_bytes.max(bytes))
    })
}

/// For the store.
pub(super) fn host_rules(config: &Config, boot: BootId) -> HostRules {
    let lifecycle = &config.lifecycle;
    let (keys, bytes) = state_most(config);
    HostRules {
        boot,
        turn: TurnLimits {
            tries_max: lifecycle.turn_tries,
            host_losses_max: lifecycle.host_losses_max,
            hops_max: lifecycle.hops_max,
            backoff_first_ms: ms(lifecycle.turn_backoff),
            backoff_max_ms: ms(lifecycle.turn_backoff_max),
            age_max_ms: ms(lifecycle.turn_max_age),
        },
        dedup_window_ms: ms(lifecycle.dedup_window),
        retention_ms: ms(lifecycle.retention),
        pending_turns_max: u64::from(config.host_limits.pending_turns),
        context_messages_max: config.host_limits.context_messages,
        state_keys_max: keys,
        state_bytes_max: bytes,
    }
}

/// For the store: what one channel obeys under the adapter that serves it.
pub(super) fn channel_rules(
    config: &ChannelConfig,
    manifest: &Manifest,
    digest: &str,
    generation: u64,
) -> ChannelRules {
    ChannelRules {
        channel: config.name.clone(),
        means: SettleMeans {
            idempotency: idempotency(config.idempotency, manifest.idempotency),
            can_ask: manifest.offers.reconcile,
            on_unknown: match config.on_unknown {
                OnUnknown::Hold => settle::OnUnknown::Hold,
                OnUnknown::Resend => settle::OnUnknown::Resend,
            },
        },
        delivery: delivery_limits(&config.lifecycle),
        on_abort: config.on_abort,
        has_progress: manifest.offers.progress,
        failure_notice: config.failure_notice.clone(),
        pace: pace(config.rate, &manifest.limits),
        generation,
        adapter: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: digest.to_owned(),
    }
}

/// The operator's rate stands in place of the manifest's: who has the account knows what it may.
fn pace(rate: Option<Rate>, says: &sandbox::Limits) -> Pace {
    let interval_us = says.channel_interval_ms.map_or(0, |ms| u64::from(ms) * 1_000);
    let manifests = (interval_us > 0).then_some(Rate { interval_us, burst: 1 });
    let conversation_interval_ms = says.conversation_interval_ms.map_or(0, u64::from);
    Pace { rate: rate.or(manifests), conversation_interval_ms }
}

fn idempotency(trust: Idempotency, says: sandbox::Idempotency) -> settle::Idempotency {
    match (trust, says) {
        (Idempotency::Never, _) | (_, sandbox::Idempotency::None) => settle::Idempotency::None,
        (Idempotency::AsManifest, sandbox::Idempotency::ForMs(ms)) => {
            settle::Idempotency::ForMs(ms)
        }
        (Idempotency::AsManifest, sandbox::Idempotency::Always) => settle::Idempotency::Always,
    }
}

fn delivery_limits(config: &DeliveryLifecycle) -> DeliveryLimits {
    DeliveryLimits {
        tries_max: config.delivery_tries,
        backoff_ms: config.delivery_backoff.iter().map(|step| ms(*step)).collect(),
        age_max_ms: ms(config.delivery_max_age),
        expire_action: match config.expire_action {
            ExpireAction::Fail => delivery::ExpireAction::Fail,
            ExpireAction::Deliver => delivery::ExpireAction::Deliver,
        },
        settle_delay_ms: ms(config.settle_delay),
        ..DeliveryLimits::default()
    }
}

/// For the handlers, and for whoever reads what they say.
pub(super) fn handler_limits(config: &Config) -> HandlerLimits {
    let caps = &config.handler.caps;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    HandlerLimits {
        line_bytes_max: size(caps.line_bytes),
        output_bytes_max: size(caps.output_bytes),
        events_max: caps.events,
        linger_ms: ms(caps.linger),
        stderr_lines_max: caps.stderr_lines,
        stderr_line_bytes_max: size(caps.stderr_line_bytes),
    }
}

pub(super) fn log_payloads(config: &Config) -> handler::LogPayloads {
    match config.log_payloads {
        LogPayloads::No => handler::LogPayloads::No,
        LogPayloads::Yes => handler::LogPayloads::Yes,
    }
}

/// For the workers.
pub(super) fn worker_rules(config: &Config) -> WorkerRules {
    let lifecycle = &config.lifecycle;
    WorkerRules {
        claim_ms: ms(lifecycle.claim),
        renew_ms: ms(lifecycle.claim_renewal()),
        handler_deadline_ms: ms(lifecycle.handler_deadline),
        heartbeat_timeout_ms: lifecycle.heartbeat_timeout.map(ms),
        handlers: config.handler.concurrency,
        handler: handler_limits(config),
        log_payloads: log_payloads(config),
        sweep_ms: ms(lifecycle.sweep),
        grace_ms: ms(lifecycle.grace),
        drain_ms: ms(lifecycle.drain),
        ..WorkerRules::default()
    }
}

/// For the workers: what those obey that fetch turns.
pub(super) fn pull_rules(config: &PullConfig) -> PullRules {
    PullRules {
        lease_ms: ms(config.lease),
        lease_max_ms: ms(config.lease_max),
        waiting_max: config.waiting_max,
    }
}

/// For the sandbox: what the calls of one channel may use.
pub(super) fn call_limits(limits: &Limits) -> CallLimits {
    let default = CallLimits::default();
    CallLimits {
        send_ms: ms(limits.send),
        webhook_ms: ms(limits.webhook),
        poll_ms: ms(limits.poll),
        find_ms: ms(limits.find),
        indicate_ms: ms(limits.indicate),
        check_ms: ms(limits.check),
        download_ms: ms(limits.download),
        file_bytes: limits.file_bytes,
        cpu_ms: ms(limits.cpu),
        memory_bytes: limits.memory_bytes,
        table_elements: u64::from(limits.table_elements),
        resource_handles: limits.handles,
        host_calls: limits.host_calls,
        fetches: limits.fetches,
        request_body_bytes: limits.request_bytes,
        answer_body_bytes: limits.answer_bytes,
        log_lines: limits.log_lines,
        log_line_bytes: at_most_u32(limits.log_line_bytes),
        state_bytes: limits.state_bytes,
        state_keys: u64::from(limits.state_keys),
        events_per_call: limits.events_per_call,
        calls_at_once: limits.calls_at_once,
        send_requests: limits.send_requests,
        // All requests of a call together: what one may carry, at least.
        bytes_out: limits.call_bytes_out.max(limits.request_bytes),
        bytes_in: limits.call_bytes_in.max(limits.answer_bytes),
        day_bytes_out: limits.day_bytes_out,
        connect_ms: ms(limits.connect),
        first_byte_ms: ms(limits.first_byte),
        between_bytes_ms: ms(limits.between_bytes),
        lifted_bytes: default.lifted_bytes.max(limits.request_bytes),
        ..default
    }
}

/// For the files of all channels.
pub(super) fn file_quota(config: &Config) -> QuotaOf {
    let of = |limits: &Limits| FileQuota {
        file_bytes: limits.file_bytes,
        channel_bytes: limits.files_bytes,
        all_bytes: limits.all_files_bytes,
    };
    let channels = config.channels.values();
    let channels = channels.map(|channel| (channel.name.clone(), of(&channel.limits)));
    QuotaOf { channels: channels.collect(), other: of(&config.limits) }
}

/// For the sandbox: where a channel's adapter runs.
pub(super) fn isolation(channel: &ChannelConfig) -> sandbox::Isolation {
    match channel.isolation {
        config::Isolation::Engine => sandbox::Isolation::Engine,
        config::Isolation::Process => sandbox::Isolation::Process,
    }
}

/// For the sandbox: what its pools are laid out for.
pub(super) fn engine_config(config: &Config, cache: Option<CachePlace>) -> EngineConfig {
    let limits = || config.channels.values().map(|channel| &channel.limits).chain([&config.limits]);
    let memory = limits().map(|limits| limits.memory_bytes).max().unwrap_or_default();
    let describe = limits().map(|limits| ms(limits.describe)).max().unwrap_or_default();
    EngineConfig {
        cache,
        memory_bytes_max: memory,
        describe_ms: describe,
        component_bytes_max: config.host_limits.component_bytes,
        compile_ms_max: ms(config.host_limits.compile),
        compile_memory_bytes_max: config.host_limits.compile_memory_bytes,
        ..Default::default()
    }
}

/// For the sandbox: what the operator allows of what an adapter asks.
pub(super) fn grants(channel: &ChannelConfig) -> Grants {
    Grants {
        targets: channel.grants.targets.iter().cloned().collect(),
        private_targets: channel.grants.private_targets.iter().cloned().collect(),
    }
}

/// For the sandbox: one channel with its secrets.
///
/// # Errors
/// All secrets that are not to be had, each with its sentence.
pub(super) fn channel_spec(
    config: &Config,
    channel: &ChannelConfig,
) -> Result<ChannelSpec, Vec<SecretError>> {
    let mut secrets = SecretMap::new();
    for (slot, values) in channel.resolve_secrets()? {
        let values = values.iter().map(|value| Zeroizing::new(value.expose().to_owned()));
        secrets.insert(slot, values.collect());
    }
    let name = channel.name.clone();
    Ok(ChannelSpec {
        settings: channel.settings.clone(),
        secrets,
        grants: grants(channel),
        limits: call_limits(&channel.limits),
        public_url: config.public_url.as_ref().map(|url| format!("{url}/hooks/{name}")),
        name,
    })
}

/// For ingress.
pub(super) fn ingress_limits(config: &Config) -> IngressLimits {
    IngressLimits { body_bytes_max: config.limits.body_bytes, ..IngressLimits::default() }
}
