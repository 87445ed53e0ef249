//! `[channels.NAME]`: which adapter, its settings, secret references, grants, limits.
//!
//! It knows no component: whether the adapter is there and asks for what is granted is found out
//! at admission, and refuses the channel, not the config.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::DeValue;

use super::error::{Faults, shown};
use super::lifecycle::{DeliveryLifecycle, read_notice};
use super::limits::Limits;
use super::secret::{Secret, SecretError, SecretRef};
use super::section::{Hint, Placed, Section, as_text, wrong_type};
use super::trust::{Required, Trust};
use crate::lifecycle::bucket::Rate;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::notice::NoticeText;
use crate::lifecycle::turn::AbortReach;

/// The policy for a send whose outcome nobody can find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// It waits for the operator.
    Hold,
    /// It is sent again, marked as a possible double.
    Resend,
}

/// Whether a repeated `delivery-id` may be trusted to be one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// As the adapter's manifest says.
    AsManifest,
    /// Never, whatever the manifest says: `idempotent = false`.
    Never,
}

/// What stands between the adapter and the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// The engine alone.
    Engine,
    /// A process of its own, which the kernel shuts in.
    Process,
}

/// What the operator allows of what the manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Ids of targets that may be reached.
    pub targets: Vec<String>,
    /// Of those, which may be at a private address.
    pub private_targets: Vec<String>,
}

/// One channel, whole: what is not set has its default or the global value.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelConfig {
    /// The NAME of `[channels.NAME]`.
    pub name: ChannelName,
    /// The component's file, already joined to the folder of the config.
    pub adapter: PathBuf,
    /// `isolation`: where the adapter runs.
    pub isolation: Isolation,
    /// `sha256`: the one component that may serve, by its digest in lower-case hex.
    pub sha256: Option<String>,
    /// `allow_downgrade`: whether a lower version may follow a higher one.
    pub allow_downgrade: bool,
    /// What becomes of a send whose outcome cannot be found out.
    pub on_unknown: OnUnknown,
    /// `on_abort`: which turns a person stops from the chat.
    pub on_abort: AbortReach,
    /// Whether the manifest's idempotency is trusted.
    pub idempotency: Idempotency,
    /// What a conversation is told where a turn of it failed; nothing where it is off.
    pub failure_notice: Option<NoticeText>,
    /// How fast it may send; none where the manifest decides.
    pub rate: Option<Rate>,
    /// The adapter's settings, checked against its schema at admission.
    pub settings: serde_json::Map<String, Json>,
    /// By slot; the first is the one in use, a second one is accepted in `verify` while a secret
    /// is being rotated.
    pub secrets: BTreeMap<String, Vec<SecretRef>>,
    /// What the operator allows.
    pub grants: Grants,
    /// `require_signed`: whether its component must be a trusted publisher's.
    pub require_signed: Required,
    /// `[limits]` with `[channels.NAME.limits]` over it.
    pub limits: Limits,
    /// The delivery settings of `[lifecycle]` with `[channels.NAME.lifecycle]` over them.
    pub lifecycle: DeliveryLifecycle,
}

impl ChannelConfig {
    /// Reads all secrets of this channel.
    ///
    /// # Errors
    /// One sentence for each secret that is not to be had: the channel is refused with them.
    pub fn resolve_secrets(&self) -> Result<BTreeMap<String, Vec<Secret>>, Vec<SecretError>> {
        let mut found: BTreeMap<String, Vec<Secret>> = BTreeMap::new();
        let mut missing = Vec::new();
        for (slot, references) in &self.secrets {
            for reference in references {
                match reference.resolve() {
                    Ok(secret) => found.entry(slot.clone()).or_default().push(secret),
                    Err(error) => missing.push(error),
                }
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(missing) }
    }
}

/// What a channel takes over where it says nothing itself.
pub(super) struct Inherited<'c> {
    pub(super) folder: &'c Path,
    pub(super) limits: &'c Limits,
    pub(super) trust: &'c Trust,
    pub(super) delivery: &'c DeliveryLifecycle,
    pub(super) failure_notice: &'c Option<NoticeText>,
    pub(super) call_most: Duration,
}

/// As long as the longest of an adapter's own names.
const NAME_BYTES_MAX: usize = 64;
/// More than any manifest asks for.
const GRANTS_MAX: usize = 64;
const SECRET_SLOTS_MAX: usize = 64;
/// The secret in use and the one before it.
const SECRETS_PER_SLOT_MAX: usize = 2;

const HINTS: &[Hint] = &[
    ("digest", "a component is pinned with `sha256`"),
    ("trust", "it is not per channel: it belongs at the top of the file"),
    ("targets", "it belongs in [channels.NAME.grants]"),
    ("private_targets", "it belongs in [channels.NAME.grants]"),
];

/// Reads one channel. Nothing where its name or its adapter is missing or wrong.
pub(super) fn read(
    key: &Placed<&str>,
    value: &Spanned<DeValue<'_>>,
    inherited: &Inherited<'_>,
    faults: &mut Faults<'_>,
) -> Option<ChannelConfig> {
    let name = read_name(key, faults);
    let path = format!("channels.{}", shown(key.value));
    let Some(table) = value.get_ref().as_table() else {
        wrong_type(faults, value, &format!("[{path}]"), "a table");
        return None;
    };
    let mut from = Section::new(&path, key.span.clone(), table);
    let adapter = read_adapter(&mut from, inherited.folder, faults);
    let grounds = [("engine", Isolation::Engine), ("process", Isolation::Process)];
    let isolation = from.word("isolation", &grounds, faults);
    let sha256 = read_sha256(&mut from, faults);
    let allow_downgrade = from.truth("allow_downgrade", faults);
    let policies = [("hold", OnUnknown::Hold), ("resend", OnUnknown::Resend)];
    let on_unknown = from.word("on_unknown", &policies, faults);
    let reaches = [("this", AbortReach::This), ("all", AbortReach::All)];
    let on_abort = from.word("on_abort", &reaches, faults);
    let idempotent = from.truth("idempotent", faults);
    let notice = read_notice(&mut from, faults);
    let rate = read_rate(&mut from, faults);
    let settings = read_settings(&mut from, faults);
    let secrets = read_secrets(&mut from, inherited.folder, faults);
    let grants = read_grants(&mut from, faults);
    let require_signed = inherited.trust.read_required(&mut from, faults);
    let limits = from.section("limits", faults);
    let limits = inherited.limits.clone().read(limits, inherited.call_most, faults);
    let lifecycle = from.section("lifecycle", faults);
    let lifecycle = inherited.delivery.clone().read(lifecycle, faults);
    from.finish(HINTS, faults);
    Some(ChannelConfig {
        name: name?,
        adapter: adapter?,
        isolation: isolation.map_or(Isolation::Engine, |found| found.value),
        sha256,
        allow_downgrade: allow_downgrade.is_some_and(|found| found.value),
        on_unknown: on_unknown.map_or(OnUnknown::Hold, |found| found.value),
        on_abort: on_abort.map(|found| found.value).unwrap_or_default(),
        idempotency: match idempotent.map(|found| found.value) {
            Some(false) => Idempotency::Never,
            Some(true) | None => Idempotency::AsManifest,
        },
        failure_notice: notice.unwrap_or_else(|| inherited.failure_notice.clone()),
        rate,
        settings,
        secrets,
        grants,
        require_signed,
        limits,
        lifecycle,
    })
}

fn read_name(key: &Placed<&str>, faults: &mut Faults<'_>) -> Option<ChannelName> {
    let name = key.value;
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if first && rest && name.len() <= NAME_BYTES_MAX {
        return Some(ChannelName(name.to_owned()));
    }
    let sentence = format!(
        "\"{}\" is no name of a channel: one begins with a-z or 0-9 and goes on with a-z, 0-9, _ \
         and -, {NAME_BYTES_MAX} at most",
        shown(name)
    );
    faults.add(&key.span, sentence);
    None
}

fn read_adapter(from: &mut Section<'_>, folder: &Path, faults: &mut Faults<'_>) -> Option<PathBuf> {
    let name = from.name("adapter");
    if from.key_span("adapter").is_none() {
        let sentence = format!(
            "{name} is missing: name the component's file, such as adapter = \"webhook.wasm\""
        );
        faults.add_missing(&from.span().clone(), sentence);
    }
    let found = from.text("adapter", faults)?;
    if found.value.is_empty() {
        faults.add(&found.span, format!("{name} is empty: name the component's file"));
        return None;
    }
    Some(folder.join(found.value))
}

/// A digest as `sha256sum` prints it.
fn read_sha256(from: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let name = from.name("sha256");
    let found = from.text("sha256", faults)?;
    let digest = found.value.to_ascii_lowercase();
    if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(digest);
    }
    let sentence = format!("{name} must be 64 hexadecimal digits, as `sha256sum FILE` prints them");
    faults.add(&found.span, sentence);
    None
}

fn read_settings(from: &mut Section<'_>, faults: &mut Faults<'_>) -> serde_json::Map<String, Json> {
    let section = from.section("settings", faults);
    let mut settings = serde_json::Map::new();
    for (key, value) in section.entries() {
        let name = section.name(key.value);
        if let Some(value) = to_json(value, &name, faults) {
            settings.insert(key.value.to_owned(), value);
        }
    }
    settings
}

/// A setting as the adapter gets it. Dates become text; what JSON has no number for is refused.
fn to_json(value: &Spanned<DeValue<'_>>, name: &str, faults: &mut Faults<'_>) -> Option<Json> {
    let found = match value.get_ref() {
        DeValue::String(text) => Some(Json::from(text.as_ref())),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(Json::from)
        }
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Json::Number),
        DeValue::Boolean(truth) => Some(Json::from(*truth)),
        DeValue::Datetime(time) => Some(Json::from(time.to_string())),
        DeValue::Array(items) => {
            let found: Vec<_> =
                items.iter().filter_map(|item| to_json(item, name, faults)).collect();
            return Some(Json::Array(found));
        }
        DeValue::Table(entries) => {
            let mut map = serde_json::Map::new();
            for (key, value) in entries {
                let name = format!("{name}.{}", shown(key.get_ref()));
                if let Some(value) = to_json(value, &name, faults) {
                    map.insert(key.get_ref().to_string(), value);
                }
            }
            return Some(Json::Object(map));
        }
    };
    if found.is_none() {
        let sentence = format!(
            "{name} is a number that JSON cannot carry: write one within 64 bits, or text in quotes"
        );
        faults.add(&value.span(), sentence);
    }
    found
}

fn read_secrets(
    from: &mut Section<'_>,
    folder: &Path,
    faults: &mut Faults<'_>,
) -> BTreeMap<String, Vec<SecretRef>> {
    let section = from.section("secrets", faults);
    let mut secrets = BTreeMap::new();
    for (slot, value) in section.entries() {
        let name = section.name(slot.value);
        if slot.value.is_empty() || slot.value.len() > NAME_BYTES_MAX {
            let sentence = format!(
                "\"{}\" is no name of a secret: one has 1 to {NAME_BYTES_MAX} bytes",
                shown(slot.value)
            );
            faults.add(&slot.span, sentence);
            continue;
        }
        if let Some(references) = read_slot(value, &name, folder, faults) {
            secrets.insert(slot.value.to_owned(), references);
        }
    }
    if secrets.len() > SECRET_SLOTS_MAX {
        let sentence = format!("{} has more than {SECRET_SLOTS_MAX} secrets", section.name(""));
        faults.add(section.span(), sentence);
    }
    secrets
}

fn read_slot(
    value: &Spanned<DeValue<'_>>,
    name: &str,
    folder: &Path,
    faults: &mut Faults<'_>,
) -> Option<Vec<SecretRef>> {
    let Some(items) = value.get_ref().as_array() else {
        let text = as_text(value, name, faults)?;
        return Some(vec![read_reference(&text, name, folder, faults)?]);
    };
    let count = items.iter().count();
    if count == 0 || count > SECRETS_PER_SLOT_MAX {
        let sentence = format!(
            "{name} must be one reference, or two while a secret is being rotated, the new one first"
        );
        faults.add(&value.span(), sentence);
        return None;
    }
    let references: Vec<_> = items
        .iter()
        .filter_map(|item| {
            let text = as_text(item, name, faults)?;
            read_reference(&text, name, folder, faults)
        })
        .collect();
    (references.len() == count).then_some(references)
}

/// Reads `env:NAME` or `file:PATH`. What is neither is not repeated: it may be the secret itself.
pub(super) fn read_reference(
    text: &Placed<&str>,
    name: &str,
    folder: &Path,
    faults: &mut Faults<'_>,
) -> Option<SecretRef> {
    if let Some(variable) = text.value.strip_prefix("env:") {
        let begins = variable.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if begins && variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Some(SecretRef::Variable(variable.to_owned()));
        }
    }
    if let Some(path) = text.value.strip_prefix("file:")
        && !path.is_empty()
        && !path.contains('\0')
    {
        return Some(SecretRef::File(folder.join(path)));
    }
    let sentence = format!(
        "{name} must be a reference, \"env:NAME\" or \"file:PATH\": secrets do not stand in the \
         config"
    );
    faults.add(&text.span, sentence);
    None
}

/// `rate = { per_second = 1.5, burst = 5 }`.
fn read_rate(from: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<Rate> {
    let mut section = from.section("rate", faults);
    let name = section.name("per_second");
    let burst = section.number("burst", 1..=10_000, faults);
    let value = section.raw("per_second");
    let present = section.is_present();
    let span = section.span().clone();
    section.finish(&[], faults);
    if !present {
        return None;
    }
    let Some(value) = value else {
        faults.add_missing(&span, format!("{name} is missing: say how many messages may go"));
        return None;
    };
    let per_second: Option<f64> = match value.get_ref() {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    };
    let Some(per_second) = per_second.filter(|found| (0.001..=1_000.0).contains(found)) else {
        faults.add(&value.span(), format!("{name} must be a number from 0.001 to 1000"));
        return None;
    };
    let interval = std::time::Duration::from_secs_f64(per_second.recip());
    let interval_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
    Some(Rate { interval_us, burst: burst.map_or(1, |found| found.value) })
}

fn read_grants(from: &mut Section<'_>, faults: &mut Faults<'_>) -> Grants {
    let mut section = from.section("grants", faults);
    let targets = read_target_list(&mut section, "targets", faults);
    let private = read_target_list(&mut section, "private_targets", faults);
    for target in &private {
        if targets.iter().any(|granted| granted.value == target.value) {
            continue;
        }
        let granted: Vec<_> = targets.iter().map(|granted| granted.value.as_str()).collect();
        let sentence = format!(
            "{} names \"{}\", which {} does not grant",
            section.name("private_targets"),
            shown(&target.value),
            section.name("targets")
        );
        faults.add_wrong_word(&target.span, &target.value, &granted, sentence);
    }
    section.finish(&[], faults);
    let values = |list: Vec<Placed<String>>| list.into_iter().map(|item| item.value).collect();
    Grants { targets: values(targets), private_targets: values(private) }
}

fn read_target_list(
    section: &mut Section<'_>,
    key: &'static str,
    faults: &mut Faults<'_>,
) -> Vec<Placed<String>> {
    let name = section.name(key);
    let Some(list) = section.texts(key, faults) else { return Vec::new() };
    if list.value.len() > GRANTS_MAX {
        faults.add(&list.span, format!("{name} has more than {GRANTS_MAX} targets"));
    }
    for item in &list.value {
        if item.value.is_empty() || item.value.len() > NAME_BYTES_MAX {
            let sentence = format!("each item of {name} must be the name of a target");
            faults.add(&item.span, sentence);
        }
    }
    list.value
}
