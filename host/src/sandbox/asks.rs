//! What an adapter asks for, taken apart into single permissions with a sentence each, so that two
//! versions can be compared and a person can read what is allowed. Pure: it knows no engine.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::manifest::{
    Credential, Effect, Idempotency, Manifest, Offers, Origin, Placement, SecretUses, Target,
};
use super::schema;
use super::template::Template;

/// One thing that an adapter may do once it is granted. Two versions that ask the same make equal
/// values; its `Display` is the end of a sentence that begins with "it may".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Reach one fixed origin.
    Origin { target: String, origin: String, private: bool },
    /// Reach addresses that the platform hands out, at this pattern of origins.
    Pattern { target: String, pattern: String, private: bool },
    /// Make such requests there. Its effect is what a lost answer is judged by.
    Route { target: String, method: String, path: String, effect: Effect },
    /// Have the host write secrets into its requests there.
    Credential { target: String, place: String, slots: Vec<String> },
    /// Have this done with a secret.
    Secret { slot: String, usage: SecretUsage },
    /// Be called through an optional interface.
    Export { interface: Interface },
    /// Be believed that a repeated message is dropped by its platform.
    Repeats { for_ms: u64 },
}

/// What may be done with a secret; its value is never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretUsage {
    Inject,
    Sign,
    Verify,
    Compare,
}

/// The optional interfaces of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    Progress,
    Reconcile,
    Webhook,
    Poll,
    Files,
}

impl Ask {
    /// The target that it is about, if it is about one.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Origin { target, .. }
            | Self::Pattern { target, .. }
            | Self::Route { target, .. }
            | Self::Credential { target, .. } => Some(target),
            Self::Secret { .. } | Self::Export { .. } | Self::Repeats { .. } => None,
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let also = |private: &bool| if *private { ", also at a private address" } else { "" };
        match self {
            Self::Origin { target, origin, private } => {
                write!(f, "reach {origin} (target `{target}`){}", also(private))
            }
            Self::Pattern { target, pattern, private } => write!(
                f,
                "reach whatever address the platform hands out at {pattern} (target `{target}`){}",
                also(private)
            ),
            Self::Route { target, method, path, effect } => {
                let path = if path.is_empty() { "the origin itself" } else { path };
                let does = match effect {
                    Effect::Read => "reads",
                    Effect::Prepare => "prepares a message",
                    Effect::Send => "makes a message appear",
                };
                write!(f, "ask `{target}` for {method} {path}, which {does}")
            }
            Self::Credential { target, place, slots } => {
                let slots: Vec<_> = slots.iter().map(|slot| format!("`{slot}`")).collect();
                let slots = slots.join(" and ");
                write!(f, "have secret {slots} put into {place} of its requests to `{target}`")
            }
            Self::Secret { slot, usage } => match usage {
                SecretUsage::Inject => write!(f, "have secret `{slot}` put into requests"),
                SecretUsage::Sign => write!(f, "have texts signed with secret `{slot}`"),
                SecretUsage::Verify => write!(f, "have signatures checked with secret `{slot}`"),
                SecretUsage::Compare => write!(f, "ask whether a text is secret `{slot}`"),
            },
            Self::Export { interface } => f.write_str(match interface {
                Interface::Progress => "send progress and show that somebody types",
                Interface::Reconcile => "be asked, and believed, whether a message arrived",
                Interface::Webhook => "answer requests that come from outside",
                Interface::Poll => "fetch new messages by itself",
                Interface::Files => "fetch the files of messages",
            }),
            Self::Repeats { for_ms: u64::MAX } => f.write_str(
                "have a message whose answer was lost sent again at any time: it says that its \
                 platform drops repeats",
            ),
            Self::Repeats { for_ms } => {
                let time = std::time::Duration::from_millis(*for_ms);
                let time = humantime::format_duration(time);
                write!(
                    f,
                    "have a message whose answer was lost sent again within {time}: it says that \
                     its platform drops repeats"
                )
            }
        }
    }
}

/// All that a manifest asks. Templates are rendered with `settings` over the schema's own defaults
/// where that is possible, since a default of a new version may lead somewhere else than the old
/// one's; else they stand as they are. `private` names the targets granted at private addresses.
#[must_use]
pub fn asks(
    manifest: &Manifest,
    settings: &Map<String, Value>,
    private: &BTreeSet<String>,
) -> BTreeSet<Ask> {
    let settings = schema::with_defaults(&manifest.settings_schema, settings);
    let mut all = BTreeSet::new();
    for target in &manifest.targets {
        ask_target(target, &settings, private.contains(&target.id), &mut all);
    }
    for slot in &manifest.secrets {
        let usages = usages(slot.uses).map(|usage| Ask::Secret { slot: slot.name.clone(), usage });
        all.extend(usages);
    }
    all.extend(interfaces(manifest.offers).map(|interface| Ask::Export { interface }));
    match manifest.idempotency {
        Idempotency::None => {}
        Idempotency::ForMs(for_ms) => {
            all.insert(Ask::Repeats { for_ms });
        }
        Idempotency::Always => {
            all.insert(Ask::Repeats { for_ms: u64::MAX });
        }
    }
    all
}

/// Why a target of this manifest cannot be rendered with these settings, such as one that is not set:
/// granted all the same it would refuse the channel. None where it can.
#[must_use]
pub fn unrenderable(
    manifest: &Manifest,
    target: &Target,
    settings: &Map<String, Value>,
) -> Option<String> {
    let settings = schema::with_defaults(&manifest.settings_schema, settings);
    let render = |text: &String| Template::parse(text)?.render_settings(&settings);
    let origins = match &target.origin {
        Origin::Fixed(text) => std::slice::from_ref(text),
        Origin::Matching(texts) => texts,
    };
    let paths = target.routes.iter().map(|route| &route.path);
    origins.iter().chain(paths).find_map(|text| render(text).err())
}

fn ask_target(
    target: &Target,
    settings: &Map<String, Value>,
    private: bool,
    all: &mut BTreeSet<Ask>,
) {
    let rendered = |text: &String| {
        let template = Template::parse(text).and_then(|found| found.render_settings(settings));
        template.unwrap_or_else(|_| text.clone())
    };
    let id = || target.id.clone();
    match &target.origin {
        Origin::Fixed(text) => {
            all.insert(Ask::Origin { target: id(), origin: rendered(text), private });
        }
        Origin::Matching(texts) => all.extend(texts.iter().map(|text| Ask::Pattern {
            target: id(),
            pattern: rendered(text),
            private,
        })),
    }
    all.extend(target.routes.iter().map(|route| Ask::Route {
        target: id(),
        method: route.method.clone(),
        path: rendered(&route.path),
        effect: route.effect,
    }));
    for injection in &target.inject {
        let texts = match &injection.credential {
            Credential::Text(text) => vec![text],
            Credential::Basic { user, password } => vec![user, password],
        };
        let mut slots: Vec<String> = Vec::new();
        for template in texts.into_iter().filter_map(|text| Template::parse(text).ok()) {
            slots.extend(template.secrets().map(str::to_owned));
        }
        if !slots.is_empty() {
            slots.sort_unstable();
            slots.dedup();
            all.insert(Ask::Credential { target: id(), place: place(&injection.place), slots });
        }
    }
}

fn place(place: &Placement) -> String {
    match place {
        Placement::Header(name) => format!("the header `{}`", name.to_ascii_lowercase()),
        Placement::Query(name) => format!("the query parameter `{name}`"),
        Placement::FormField(name) => format!("the form field `{name}`"),
        Placement::PathPrefix => "the path in front".to_owned(),
    }
}

fn usages(uses: SecretUses) -> impl Iterator<Item = SecretUsage> {
    let SecretUses { inject, sign, verify, compare } = uses;
    [
        (inject, SecretUsage::Inject),
        (sign, SecretUsage::Sign),
        (verify, SecretUsage::Verify),
        (compare, SecretUsage::Compare),
    ]
    .into_iter()
    .filter_map(|(declared, usage)| declared.then_some(usage))
}

fn interfaces(offers: Offers) -> impl Iterator<Item = Interface> {
    let Offers { progress, reconcile, webhook, poll, files } = offers;
    [
        (progress, Interface::Progress),
        (reconcile, Interface::Reconcile),
        (webhook, Interface::Webhook),
        (poll, Interface::Poll),
        (files, Interface::Files),
    ]
    .into_iter()
    .filter_map(|(offered, interface)| offered.then_some(interface))
}
