//! `lastword adapter grant`: what a channel's component asks, what of it the config grants, and the
//! config's text with the rest granted too. It writes nothing.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{RunError, inspect, rules};
use crate::config::{self, ChannelConfig, Config};
use crate::env::Env;
use crate::sandbox::{self, Ask, Grants, Manifest};

/// What would be written, for whoever shows it and asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Granting {
    pub channel: String,
    pub adapter: String,
    pub version: String,
    /// What the component may do once this is granted, each with its sentence in `words`.
    pub asks: Vec<Value>,
    /// The whole table of the config, ready to be pasted.
    pub lines: String,
    pub targets: BTreeSet<String>,
    pub private_targets: BTreeSet<String>,
    /// What a person should know who grants this.
    pub notes: Vec<String>,
    /// Whether the config says something else so far.
    pub changes: bool,
    /// The config with the grant, comments and order as they were; none where it is written in a way
    /// that only its author can change.
    pub text: Option<String>,
}

/// What is to be granted beside what is granted already.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Only these targets; all that are asked for where none is named.
    pub targets: Vec<String>,
    /// These may be at a private address.
    pub private: Vec<String>,
}

/// Admits the component of a channel and works its grant out.
///
/// # Errors
/// Where the component is refused, or a wish names what it does not ask for.
pub async fn plan_grant(
    text: &str,
    channel: &ChannelConfig,
    wishes: &Wishes,
    env: &Env,
) -> Result<Granting, RunError> {
    let adapter = inspect::admit(&channel.adapter, rules::isolation(channel), env).await?;
    let manifest = adapter.manifest();
    let asked: BTreeSet<&String> = manifest.targets.iter().map(|target| &target.id).collect();
    for id in wishes.targets.iter().chain(&wishes.private) {
        if !asked.contains(id) {
            let known: Vec<_> = asked.iter().map(|id| format!("`{id}`")).collect();
            return Err(RunError::Config(format!(
                "adapter `{}` asks for no target `{id}`; it asks for: {}",
                manifest.name,
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )));
        }
    }
    // A target without an address cannot be reached, and a channel that grants one is refused.
    for (id, why) in left_out(manifest, channel) {
        if wishes.targets.contains(id) || wishes.private.contains(id) {
            return Err(RunError::Config(format!(
                "target `{id}` cannot be granted: it {why}; write that under \
                 [channels.{}.settings] first",
                channel.name
            )));
        }
    }
    let grants = wanted(manifest, channel, wishes);
    let all = sandbox::asks(manifest, &channel.settings, &grants.private_targets);
    let granted = |ask: &&Ask| ask.target().is_none_or(|id| grants.targets.contains(id));
    let in_order = config::Grants {
        targets: grants.targets.iter().cloned().collect(),
        private_targets: grants.private_targets.iter().cloned().collect(),
    };
    let edited = config::with_grants(text, &channel.name.0, &in_order);
    let same = |now: &[String], then: &BTreeSet<String>| {
        now.iter().collect::<BTreeSet<_>>() == then.iter().collect()
    };
    let changes = !same(&channel.grants.targets, &grants.targets)
        || !same(&channel.grants.private_targets, &grants.private_targets);
    Ok(Granting {
        channel: channel.name.0.clone(),
        adapter: manifest.name.clone(),
        version: manifest.version.clone(),
        asks: all.iter().filter(granted).map(inspect::ask_value).collect(),
        lines: sandbox::grant_lines(&channel.name.0, &grants),
        notes: notes(manifest, channel, &all, &grants),
        targets: grants.targets,
        private_targets: grants.private_targets,
        changes,
        text: edited,
    })
}

/// The channel of this name, or the one that uses this component.
///
/// # Errors
/// The end of it: there is none, or there are several.
pub fn channel_of<'c>(config: &'c Config, name_or_file: &str) -> Result<&'c ChannelConfig, String> {
    let named = config.channels.values().find(|channel| channel.name.0 == name_or_file);
    if let Some(channel) = named {
        return Ok(channel);
    }
    let file = std::path::absolute(Path::new(name_or_file)).ok();
    let mut using = config.channels.values().filter(|channel| {
        file.as_ref()
            .is_some_and(|file| std::path::absolute(&channel.adapter).ok().as_ref() == Some(file))
    });
    match (using.next(), using.next()) {
        (Some(channel), None) => Ok(channel),
        (Some(one), Some(other)) => Err(format!(
            "several channels use {name_or_file}, `{}` and `{}` among them: name the channel",
            one.name, other.name
        )),
        (None, _) => Err(format!(
            "no channel of the config has the name or the component {name_or_file}: write \
             [channels.NAME] with adapter = \"FILE\" first"
        )),
    }
}

fn wanted(manifest: &Manifest, channel: &ChannelConfig, wishes: &Wishes) -> Grants {
    let asked = manifest.targets.iter().map(|target| &target.id);
    let now = &channel.grants;
    let optional: BTreeSet<&String> = left_out(manifest, channel).map(|(id, _)| id).collect();
    let named = |id: &&String| {
        let all = wishes.targets.is_empty() && !optional.contains(id);
        all || wishes.targets.contains(id) || now.targets.contains(id)
    };
    // Who says that a target may be at a private address says that it may be reached.
    let private = |id: &&String| wishes.private.contains(id) || now.private_targets.contains(id);
    let targets = asked.clone().filter(|id| named(id) || wishes.private.contains(id));
    Grants {
        targets: targets.cloned().collect(),
        private_targets: asked.filter(private).cloned().collect(),
    }
}

/// Targets that the channel's settings leave without an address, and why.
fn left_out<'m>(
    manifest: &'m Manifest,
    channel: &ChannelConfig,
) -> impl Iterator<Item = (&'m String, String)> {
    manifest.targets.iter().filter_map(|target| {
        let why = sandbox::unrenderable(manifest, target, &channel.settings)?;
        Some((&target.id, why))
    })
}

fn notes(
    manifest: &Manifest,
    channel: &ChannelConfig,
    asks: &BTreeSet<Ask>,
    grants: &Grants,
) -> Vec<String> {
    let left_out = left_out(manifest, channel).filter(|(id, _)| !grants.targets.contains(*id));
    let note = |(id, why)| format!("target `{id}` is left out: it {why}");
    let mut notes: Vec<String> = left_out.map(note).collect();
    notes.extend(barred(asks, |target| grants.targets.contains(target)).map(|(target, origin)| {
        format!(
            "target `{target}` is at {origin}, a private address: requests there are refused \
                 without `--private {target}`"
        )
    }));
    notes
}

/// Targets that are granted, and at a private address by their own name, where they may not be.
fn barred(
    asks: &BTreeSet<Ask>,
    granted: impl Fn(&String) -> bool,
) -> impl Iterator<Item = (&String, &String)> {
    asks.iter().filter_map(move |ask| match ask {
        Ask::Origin { target, origin, private: false }
            if granted(target) && sandbox::looks_private(origin) =>
        {
            Some((target, origin))
        }
        _ => None,
    })
}

/// Targets of a channel as it stands whose every request will be refused, each with its sentence.
pub(super) fn barred_targets(manifest: &Manifest, channel: &ChannelConfig) -> Vec<String> {
    let private = channel.grants.private_targets.iter().cloned().collect();
    let asks = sandbox::asks(manifest, &channel.settings, &private);
    let name = &channel.name;
    let sentence = |(target, origin)| {
        format!(
            "target `{target}` is at {origin}, a private address, and `private_targets` does not \
             name it: every request there is refused; `lastword adapter grant {name} --private \
             {target}` allows them"
        )
    };
    barred(&asks, |target| channel.grants.targets.contains(target)).map(sentence).collect()
}
