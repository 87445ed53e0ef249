//! Taking in another program's queue on a store that no host owns. The components are looked at, not
//! run: how long a message may be is said by their manifests.

use std::collections::{BTreeMap, BTreeSet};

use super::channels::{self, Vetted};
use super::{Absent, Offline, RunError, cache_place, rules};
use crate::config::Config;
use crate::env::Env;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::import::ImportEntry;
use crate::sandbox::Engine;
use crate::store::{Command, Imported, StoreError, Trial};
use crate::workers::import;
use crate::workers::ports::TextLimit;

/// A store that is owned for an import.
pub struct OfflineImport {
    offline: Offline,
    limits: BTreeMap<ChannelName, Result<Option<TextLimit>, String>>,
}

impl OfflineImport {
    /// Takes the lock, opens the store and looks at the components of the channels that are meant.
    ///
    /// # Errors
    /// As [`Offline::open`], and where the sandbox cannot be laid out. A component that is refused
    /// leaves the entries of its channel.
    pub async fn open(
        config: &Config,
        env: &Env,
        meant: &BTreeSet<ChannelName>,
        absent: Absent,
    ) -> Result<Self, RunError> {
        let offline = Offline::open_or(absent, config, env).await?;
        let store = offline.store();
        let present = config.channels.keys().cloned().collect();
        store.run(Command::ChannelsPresent(present)).await?;
        let engine_config = rules::engine_config(config, Some(cache_place(config)));
        let bytes_max = engine_config.component_bytes_max;
        let engine = Engine::new(env.clone(), engine_config).map_err(RunError::Engine)?;
        let mut limits = BTreeMap::new();
        for (name, channel) in config.channels.iter().filter(|(name, _)| meant.contains(*name)) {
            let signed = (&config.trust, channel.require_signed);
            let of = (channel.adapter.as_path(), rules::isolation(channel));
            let admitted = channels::admit(env, &engine, of, bytes_max, signed).await;
            let limit = match admitted {
                Ok(Vetted { adapter, .. }) => {
                    let manifest = adapter.manifest();
                    let rules = rules::channel_rules(channel, manifest, adapter.digest(), 0);
                    store.run(Command::Channel(rules)).await?;
                    Ok(manifest.limits.text)
                }
                Err(refused) => Err(refused.reason),
            };
            limits.insert(name.clone(), limit);
        }
        Ok(Self { offline, limits })
    }

    /// Takes entries in, each once. One answer per entry, in order.
    ///
    /// # Errors
    /// The store's; nothing was written then.
    pub async fn import(
        &self,
        source: String,
        entries: Vec<ImportEntry>,
        trial: Trial,
        by: String,
    ) -> Result<Vec<Imported>, StoreError> {
        let limit = |name: &ChannelName| match self.limits.get(name) {
            Some(limit) => limit.clone(),
            None => Err(format!("the config names no channel \"{name}\"")),
        };
        import::write(self.offline.store(), source, entries, limit, trial, by).await
    }
}
