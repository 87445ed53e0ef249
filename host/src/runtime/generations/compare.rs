//! A version held against the one before: another adapter, a lower version, more than was granted.

use std::path::PathBuf;

use semver::Version;

use super::super::channels::{Serving, refused};
use super::super::rules;
use super::book::Entry;
use crate::config::ChannelConfig;
use crate::ingress::RefusedChannel;
use crate::sandbox::{Manifest, difference};

/// What ran before.
pub(in crate::runtime) struct Before {
    /// The file that the config named.
    file: PathBuf,
    /// What was approved of.
    manifest: Manifest,
}

impl Before {
    pub(in crate::runtime) fn of_entry(entry: &Entry) -> Self {
        Self { file: entry.file.clone(), manifest: entry.manifest.clone() }
    }

    pub(super) fn of_serving(serving: &Serving) -> Self {
        let manifest = serving.adapter.manifest().clone();
        Self { file: serving.config.adapter.clone(), manifest }
    }
}

/// What the operator allows this once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::runtime) struct Leave {
    /// A lower version.
    pub(in crate::runtime) downgrade: bool,
    /// Whatever it asks beyond what was granted.
    pub(in crate::runtime) more: bool,
}

/// Whether a version may come after the one before.
///
/// # Errors
/// Why not, with what to do.
pub(in crate::runtime) fn compare(
    before: &Before,
    channel: &ChannelConfig,
    (after, digest): (&Manifest, &str),
    leave: Leave,
) -> Result<(), RefusedChannel> {
    let Before { file, manifest: before } = before;
    let name = &channel.name;
    if before.name != after.name {
        if *file != channel.adapter {
            // The config names another file: the channel was given another adapter on purpose.
            return Ok(());
        }
        return Err(refused(
            "adapter_other",
            format!(
                "the file {} holds adapter `{}` now, and channel \"{name}\" runs `{}`, whose \
                 cursor and state are no other adapter's: put it under another file name, and \
                 name that in the config, if that is what is meant",
                file.display(),
                after.name,
                before.name
            ),
        ));
    }
    let lower = match (Version::parse(&after.version), Version::parse(&before.version)) {
        (Ok(after), Ok(before)) => after.cmp_precedence(&before).is_lt(),
        // Admission lets no other manifest through.
        (Err(_), _) | (_, Err(_)) => false,
    };
    if lower && !leave.downgrade && !channel.allow_downgrade {
        return Err(refused(
            "adapter_downgrade",
            format!(
                "version {} of adapter `{}` is lower than {}, which channel \"{name}\" runs: a \
                 fault that was mended may be in it again; `lastword adapter reload {name} \
                 --allow-downgrade`, or `allow_downgrade = true` in [channels.{name}], takes it",
                after.version, after.name, before.version
            ),
        ));
    }
    let difference = difference(Some(before), &rules::grants(channel), &channel.settings, after);
    if difference.is_more() && !leave.more {
        return Err(refused(
            "adapter_asks_more",
            format!(
                "version {} of adapter `{}` asks for more than was granted, and waits for \
                 approval: {}; `lastword adapter reload {name} --approve --sha256 {digest}` approves \
                 of it",
                after.version,
                after.name,
                difference.sentences().join("; ")
            ),
        ));
    }
    Ok(())
}
