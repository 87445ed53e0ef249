//! What a channel is to its calls: settings, secrets and the way out, checked and rendered once.
//! Binding lists every problem at once. It runs no guest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::asks::unrenderable;
use super::blobs::{BlobStore, FileRoom};
use super::egress::{BoundTarget, Dialer, Egress, Reach};
use super::grants::grant_lines;
use super::guard::{GUARDED_BYTES_MIN, Guard};
use super::limits::{CallLimits, EngineConfig};
use super::manifest::{Manifest, Origin, Target};
use super::schema;
use super::secrets::{Vault, listed};
use super::spec::{ChannelSpec, Grants, Rehearsal};
use super::state::{StateSize, StateSource};
use crate::env::Env;
use crate::lifecycle::id::ChannelName;

/// One channel, from the inside.
pub(super) struct Bound {
    pub(super) name: ChannelName,
    pub(super) settings: Map<String, Value>,
    pub(super) public_url: Option<String>,
    pub(super) vault: Vault,
    pub(super) guard: Arc<Guard>,
    pub(super) egress: Egress,
    pub(super) state: Arc<dyn StateSource>,
    pub(super) files: Arc<FileRoom>,
    pub(super) quota: StateSize,
    pub(super) limits: Arc<CallLimits>,
    pub(super) declares_send: bool,
    /// For the conformance suite alone.
    pub(super) rehearsal: Option<Rehearsal>,
}

impl Bound {
    /// Binds a manifest to a channel's configuration.
    pub(super) fn new(
        manifest: &Manifest,
        spec: ChannelSpec,
        state: Arc<dyn StateSource>,
        blobs: Arc<dyn BlobStore>,
        env: &Env,
        dialer: &Dialer,
        engine: &EngineConfig,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let channel = spec.name.0.as_str();
        check_limits(&spec.limits, engine, &mut problems);
        let settings = schema::with_defaults(&manifest.settings_schema, &spec.settings);
        if let Err(faults) = schema::check(&manifest.settings_schema, &settings) {
            let named = |fault| format!("[channels.{channel}] {fault}");
            problems.extend(faults.into_iter().map(named));
        }
        let (vault, faults) = Vault::bind(manifest, &spec.secrets, channel);
        problems.extend(faults);
        check_grants(manifest, &spec, &mut problems);
        // Templates of settings that are wrong would only say the same again.
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut targets = BTreeMap::new();
        let mut withheld = BTreeSet::new();
        for target in &manifest.targets {
            if !spec.grants.targets.contains(&target.id) {
                withheld.insert(target.id.clone());
                continue;
            }
            let private = spec.grants.private_targets.contains(&target.id);
            let reach = if private { Reach::PrivateToo } else { Reach::PublicOnly };
            match BoundTarget::bind(target, reach, &settings, &vault) {
                Ok(bound) => {
                    targets.insert(target.id.clone(), bound);
                }
                Err(faults) => problems.extend(faults),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let credentials = targets.values().flat_map(BoundTarget::credentials);
        let guard = Guard::new(vault.values().chain(credentials), vault.names())
            .map_err(|why| vec![format!("[channels.{channel}] its secrets {why}")])?;
        let guard = Arc::new(guard);
        warn_of_short_secrets(&vault, channel);
        let files = Arc::new(FileRoom {
            env: env.clone(),
            channel: spec.name.clone(),
            guard: Arc::clone(&guard),
            store: blobs,
        });
        let egress = Egress::new(
            env.clone(),
            Arc::clone(&files),
            targets,
            dialer.clone(),
            spec.limits.clone(),
        )
        .withholding(withheld);
        Ok(Self {
            name: spec.name,
            settings,
            public_url: spec.public_url,
            vault,
            guard,
            egress,
            state,
            files,
            quota: StateSize { bytes: spec.limits.state_bytes, keys: spec.limits.state_keys },
            limits: Arc::new(spec.limits),
            declares_send: manifest.declares_send(),
            rehearsal: None,
        })
    }
}

fn check_limits(limits: &CallLimits, engine: &EngineConfig, problems: &mut Vec<String>) {
    if limits.memory_bytes > engine.memory_bytes_max {
        problems.push(format!(
            "the limit `memory` is {} bytes; the host's pools are laid out for {} at most",
            limits.memory_bytes, engine.memory_bytes_max
        ));
    }
}

fn check_grants(manifest: &Manifest, spec: &ChannelSpec, problems: &mut Vec<String>) {
    let (channel, grants) = (&spec.name, &spec.grants);
    // Addresses that a platform hands out while running may stay out of reach: a request there is
    // denied, and the rest works.
    let is_needed = |target: &&Target| matches!(target.origin, Origin::Fixed(_));
    let missing: Vec<_> = manifest
        .targets
        .iter()
        .filter(|target| is_needed(target) && !grants.targets.contains(&target.id))
        .collect();
    if !missing.is_empty() {
        // Not what these settings leave without an address: it would refuse the channel again.
        let asked = manifest.targets.iter().filter(|target| {
            is_needed(target) || unrenderable(manifest, target, &spec.settings).is_none()
        });
        let all = Grants {
            targets: asked.map(|target| target.id.clone()).collect(),
            private_targets: grants.private_targets.clone(),
        };
        problems.push(format!(
            "adapter `{}` asks for {}, which is not granted; to allow it, `lastword adapter grant \
             {channel}`, or make the config say:\n{}",
            manifest.name,
            listed(missing.iter().map(|target| &target.id)),
            grant_lines(&channel.0, &all)
        ));
    }
    let declared = |id: &String| manifest.targets.iter().any(|target| target.id == *id);
    for (key, granted) in
        [("targets", &grants.targets), ("private_targets", &grants.private_targets)]
    {
        for id in granted.iter().filter(|id| !declared(id)) {
            problems.push(format!(
                "[channels.{channel}.grants] {key} names `{id}`, which adapter `{}` does not ask \
                 for; it asks for: {}",
                manifest.name,
                listed(manifest.targets.iter().map(|target| &target.id))
            ));
        }
    }
    for id in grants.private_targets.difference(&grants.targets) {
        problems.push(format!(
            "[channels.{channel}.grants] private_targets names `{id}`, which `targets` does not"
        ));
    }
}

fn warn_of_short_secrets(vault: &Vault, channel: &str) {
    if vault.values().any(|value| value.len() < GUARDED_BYTES_MIN) {
        tracing::warn!(
            channel,
            "a secret has fewer than {GUARDED_BYTES_MIN} bytes: it is too short to be found where \
             a platform echoes it"
        );
    }
}
