//! How long and how often: tries, backoff, claims, ages, sweeps. Every setting of `[lifecycle]` with
//! its default (design part 3) and its reason.
//!
//! It decides nothing: the rules that use these numbers stand in `crate::lifecycle`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::Faults;
use super::section::{Hint, Section, as_duration, wrong_type};
use crate::lifecycle::notice::NoticeText;

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// As the durations of the config write it, so that a sentence can say "1year".
const YEAR: Duration = Duration::from_secs(31_557_600);

/// What becomes of a delivery that grew older than `delivery_max_age`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpireAction {
    /// It ends as `expired`.
    Fail,
    /// It goes out all the same: the age is waived, the tries are not.
    Deliver,
}

/// The settings of deliveries: `[lifecycle]`, and `[channels.X.lifecycle]` over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryLifecycle {
    /// `delivery_tries`: charged attempts of one delivery.
    pub delivery_tries: u32,
    /// `delivery_backoff`: the wait after the first, second, ... failed attempt; the last step
    /// holds for all later ones. 0 to 10 % of jitter come on top.
    pub delivery_backoff: Vec<Duration>,
    /// `delivery_max_age`: after this a queued delivery is too old.
    pub delivery_max_age: Duration,
    /// `expire_action`: what becomes of it then.
    pub expire_action: ExpireAction,
    /// `settle_delay`: how long after a call of unknown outcome the platform is first asked about
    /// it, because bytes under way may still land.
    pub settle_delay: Duration,
}

impl Default for DeliveryLifecycle {
    fn default() -> Self {
        Self {
            delivery_tries: 8,
            delivery_backoff: vec![
                Duration::from_secs(5),
                Duration::from_secs(25),
                2 * MINUTE,
                10 * MINUTE,
                30 * MINUTE,
            ],
            delivery_max_age: DAY,
            expire_action: ExpireAction::Fail,
            settle_delay: Duration::from_secs(30),
        }
    }
}

/// All of `[lifecycle]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// `turn_tries`: charged tries of one turn.
    pub turn_tries: u32,
    /// `turn_backoff`: the wait after the first failed try, with full jitter; doubles with each.
    pub turn_backoff: Duration,
    /// `turn_backoff_max`: where the doubling stops.
    pub turn_backoff_max: Duration,
    /// `turn_max_age`: after this a turn that could have run, and did not, is too old.
    pub turn_max_age: Duration,
    /// `host_losses_max`: deaths of the host under one turn before it is set aside.
    pub host_losses_max: u32,
    /// `hops_max`: programs that may answer each other in one chain of turns.
    pub hops_max: u32,
    /// `claim`: how long a claim holds without being renewed.
    pub claim: Duration,
    /// `handler_deadline`: the whole of one try.
    pub handler_deadline: Duration,
    /// `heartbeat_timeout`: the silence after which a try is lost; none where it is off.
    pub heartbeat_timeout: Option<Duration>,
    /// `sweep`: the time between two sweeps.
    pub sweep: Duration,
    /// `grace`: how long a row may be overdue before a sweep minds it.
    pub grace: Duration,
    /// `drain`: how long a planned stop lets running calls finish.
    pub drain: Duration,
    /// `dedup_window`: how long a repeated message is known for one.
    pub dedup_window: Duration,
    /// `retention`: how long what came to rest is kept.
    pub retention: Duration,
    /// `failure_notice`: what a conversation is told where a turn of it failed; nothing where it is
    /// off. A channel may have its own.
    pub failure_notice: Option<NoticeText>,
    /// The settings that a channel may have for itself.
    pub delivery: DeliveryLifecycle,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            turn_tries: 3,
            turn_backoff: Duration::from_secs(2),
            turn_backoff_max: 5 * MINUTE,
            turn_max_age: DAY,
            host_losses_max: 5,
            hops_max: 32,
            claim: MINUTE,
            handler_deadline: 10 * MINUTE,
            heartbeat_timeout: None,
            sweep: Duration::from_secs(15),
            grace: Duration::from_secs(30),
            drain: Duration::from_secs(20),
            dedup_window: 7 * DAY,
            retention: 7 * DAY,
            failure_notice: None,
            delivery: DeliveryLifecycle::default(),
        }
    }
}

impl Lifecycle {
    /// How often a claim is renewed: two renewals may fail before it is lost.
    #[must_use]
    pub fn claim_renewal(&self) -> Duration {
        self.claim / 3
    }

    /// The longest call that may run under a claim.
    #[must_use]
    pub fn call_most(&self) -> Duration {
        self.claim / 2
    }
}

/// Ages and windows.
const AGE: RangeInclusive<Duration> = MS..=YEAR;
/// Waits between two tries.
const WAIT: RangeInclusive<Duration> = Duration::ZERO..=DAY;
/// What is charged: a hundred tries of anything are a loop, not patience.
const TRIES: RangeInclusive<u32> = 1..=100;
/// Programs in one chain: a longer one is a loop that nobody reads.
const HOPS: RangeInclusive<u32> = 0..=10_000;
const BACKOFF_STEPS_MAX: usize = 32;

const OF_ALL_CHANNELS: &str = "it is not per channel: it belongs in [lifecycle]";
const HINTS_GLOBAL: &[Hint] = &[
    ("send", "it belongs in [limits]"),
    ("webhook", "it belongs in [limits]"),
    ("poll", "it belongs in [limits]"),
    ("on_unknown", "it belongs in [channels.NAME]"),
];
const HINTS_CHANNEL: &[Hint] = &[
    ("turn_tries", OF_ALL_CHANNELS),
    ("turn_backoff", OF_ALL_CHANNELS),
    ("turn_backoff_max", OF_ALL_CHANNELS),
    ("turn_max_age", OF_ALL_CHANNELS),
    ("host_losses_max", OF_ALL_CHANNELS),
    ("hops_max", OF_ALL_CHANNELS),
    ("claim", OF_ALL_CHANNELS),
    ("handler_deadline", OF_ALL_CHANNELS),
    ("heartbeat_timeout", OF_ALL_CHANNELS),
    ("sweep", OF_ALL_CHANNELS),
    ("grace", OF_ALL_CHANNELS),
    ("drain", OF_ALL_CHANNELS),
    ("dedup_window", OF_ALL_CHANNELS),
    ("retention", OF_ALL_CHANNELS),
    ("on_unknown", "it belongs one level up, beside adapter"),
    ("failure_notice", "it belongs one level up, beside adapter"),
];

impl Lifecycle {
    /// Reads `[lifecycle]` over these values.
    pub(super) fn read(mut self, mut from: Section<'_>, faults: &mut Faults<'_>) -> Self {
        self.read_counts(&mut from, faults);
        self.read_times(&mut from, faults);
        self.read_turn_backoff(&mut from, faults);
        self.read_heartbeat(&mut from, faults);
        if let Some(found) = read_notice(&mut from, faults) {
            self.failure_notice = found;
        }
        self.delivery.read_into(&mut from, faults);
        from.finish(HINTS_GLOBAL, faults);
        self
    }

    fn read_counts(&mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) {
        for (key, field) in
            [("turn_tries", &mut self.turn_tries), ("host_losses_max", &mut self.host_losses_max)]
        {
            if let Some(found) = from.number(key, TRIES, faults) {
                *field = found.value;
            }
        }
        if let Some(found) = from.number("hops_max", HOPS, faults) {
            self.hops_max = found.value;
        }
    }

    fn read_times(&mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) {
        let short = Duration::from_millis(10);
        for (key, range, field) in [
            ("turn_max_age", AGE, &mut self.turn_max_age),
            // Shorter than this a claim is lost to a slow disk.
            ("claim", Duration::from_millis(200)..=HOUR, &mut self.claim),
            ("handler_deadline", short..=7 * DAY, &mut self.handler_deadline),
            ("sweep", short..=HOUR, &mut self.sweep),
            ("grace", Duration::ZERO..=HOUR, &mut self.grace),
            ("drain", Duration::ZERO..=HOUR, &mut self.drain),
            ("dedup_window", AGE, &mut self.dedup_window),
            ("retention", AGE, &mut self.retention),
        ] {
            if let Some(found) = from.duration(key, range, faults) {
                *field = found.value;
            }
        }
    }

    fn read_turn_backoff(&mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) {
        let first = from.duration("turn_backoff", WAIT, faults);
        let most = from.duration("turn_backoff_max", WAIT, faults);
        self.turn_backoff = first.map_or(self.turn_backoff, |found| found.value);
        match most {
            Some(most) if most.value < self.turn_backoff => {
                let first = humantime::format_duration(self.turn_backoff);
                let name = from.name("turn_backoff_max");
                faults.add(&most.span, format!("{name} is shorter than turn_backoff, {first}"));
            }
            Some(most) => self.turn_backoff_max = most.value,
            None => self.turn_backoff_max = self.turn_backoff_max.max(self.turn_backoff),
        }
    }

    fn read_heartbeat(&mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) {
        let key = "heartbeat_timeout";
        let name = from.name(key);
        let Some(value) = from.raw(key) else { return };
        if value.get_ref().as_str() == Some("off") {
            self.heartbeat_timeout = None;
            return;
        }
        let range = Duration::from_millis(10)..=7 * DAY;
        let Some(found) = as_duration(value, &name, &range, faults) else { return };
        if found.value >= self.handler_deadline {
            let deadline = humantime::format_duration(self.handler_deadline);
            let sentence = format!(
                "{name} must be shorter than handler_deadline, {deadline}, or it could never act"
            );
            faults.add(&found.span, sentence);
        }
        self.heartbeat_timeout = Some(found.value);
    }
}

/// Reads `failure_notice`: `true` for the host's own words, `false`, or a text.
pub(super) fn read_notice(
    from: &mut Section<'_>,
    faults: &mut Faults<'_>,
) -> Option<Option<NoticeText>> {
    let key = "failure_notice";
    let name = from.name(key);
    let value = from.raw(key)?;
    if let Some(on) = value.get_ref().as_bool() {
        return Some(on.then(NoticeText::default));
    }
    let Some(text) = value.get_ref().as_str() else {
        wrong_type(faults, value, &name, "true, false or a text");
        return None;
    };
    match NoticeText::new(text) {
        Ok(text) => Some(Some(text)),
        Err(why) => {
            faults.add(&value.span(), format!("{name} is no text for a notice: {why}"));
            None
        }
    }
}

impl DeliveryLifecycle {
    /// Reads `[channels.X.lifecycle]` over these values.
    pub(super) fn read(mut self, mut from: Section<'_>, faults: &mut Faults<'_>) -> Self {
        self.read_into(&mut from, faults);
        from.finish(HINTS_CHANNEL, faults);
        self
    }

    fn read_into(&mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) {
        if let Some(found) = from.number("delivery_tries", TRIES, faults) {
            self.delivery_tries = found.value;
        }
        if let Some(found) = from.duration("delivery_max_age", AGE, faults) {
            self.delivery_max_age = found.value;
        }
        if let Some(found) = from.duration("settle_delay", Duration::ZERO..=HOUR, faults) {
            self.settle_delay = found.value;
        }
        let actions = [("fail", ExpireAction::Fail), ("deliver", ExpireAction::Deliver)];
        if let Some(found) = from.word("expire_action", &actions, faults) {
            self.expire_action = found.value;
        }
        self.read_backoff(from, faults);
    }

    fn read_backoff(&mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) {
        let key = "delivery_backoff";
        let name = from.name(key);
        let Some(list) = from.list(key, faults) else { return };
        if list.value.is_empty() || list.value.len() > BACKOFF_STEPS_MAX {
            let sentence = format!(
                "{name} must be a list of 1 to {BACKOFF_STEPS_MAX} durations, such as \
                 [\"5s\", \"25s\", \"2m\"]"
            );
            faults.add(&list.span, sentence);
            return;
        }
        let item = format!("each step of {name}");
        let steps: Vec<_> = list
            .value
            .iter()
            .filter_map(|value| as_duration(value, &item, &WAIT, faults))
            .map(|found| found.value)
            .collect();
        if steps.len() == list.value.len() {
            self.delivery_backoff = steps;
        }
    }
}
