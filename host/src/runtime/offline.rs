//! A command on a store that no host owns: it takes the lock itself, tells the store the config's
//! rules, carries the one command out, and gives the lock back.

use std::time::Duration;

use super::lock::HostLock;
use super::{RunError, rules, store_path};
use crate::config::Config;
use crate::env::Env;
use crate::lifecycle::id::ChannelName;
use crate::store::{
    Answer, BulkAct, BulkAsk, BulkPage, Command, Operated, PurgeReach, Store, StoreError,
};

/// For how long the end of a command waits until the store's log is moved into its file.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);

/// What becomes of a store that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    Refused,
    /// It is made, as by a first start.
    Made,
}

/// The store of a config, owned for as long as this lives.
pub struct Offline {
    store: Store,
    channels: Vec<ChannelName>,
    _lock: HostLock,
}

impl Offline {
    /// Takes the lock and opens the store. No component is loaded: channels have the rules that
    /// hold without one.
    ///
    /// # Errors
    /// [`RunError::Lock`] with the running host, where there is one; the store's own.
    pub async fn open(config: &Config, env: &Env) -> Result<Self, RunError> {
        Self::open_or(Absent::Refused, config, env).await
    }

    /// The same, where `absent` says what becomes of a store that is not there.
    ///
    /// # Errors
    /// As [`Offline::open`].
    pub(super) async fn open_or(
        absent: Absent,
        config: &Config,
        env: &Env,
    ) -> Result<Self, RunError> {
        let path = store_path(config);
        if absent == Absent::Refused && !path.exists() {
            let sentence =
                format!("there is no store at {} yet: `lastword run` makes it", path.display());
            return Err(RunError::Nothing(sentence));
        }
        let lock = HostLock::take_soon(&config.data_dir, env).await?;
        let opening = env.clone();
        let store = env.spawn_blocking(move || Store::open(&path, &opening)).await;
        let store =
            store.map_err(|_| RunError::System("the thread of the store fell".to_owned()))??;
        store.run(Command::Rules(rules::host_rules(config, env.boot_id()))).await?;
        let channels = config.channels.keys().cloned().collect();
        Ok(Self { store, channels, _lock: lock })
    }

    /// Carries out an operator's command: `Abort`, `Resolve`, `Replay` or `SwitchChannel`. No
    /// handler and no call runs that would have to be told.
    ///
    /// # Errors
    /// The store's; nothing was changed then.
    pub async fn operate(&self, command: Command) -> Result<Operated, StoreError> {
        match self.store.run(command).await? {
            Answer::Operated { operated, stopped: _ } => Ok(operated),
            Answer::Done => Ok(Operated::Done { ids: Vec::new() }),
            _ => Err(StoreError::Corrupt("a command was given another's answer".to_owned())),
        }
    }

    /// Carries out one page of an order on many rows.
    ///
    /// # Errors
    /// The store's; nothing of the page was changed then.
    pub async fn bulk(&self, ask: BulkAsk) -> Result<BulkPage, StoreError> {
        if ask.act == BulkAct::Purge(PurgeReach::RemovedChannels) {
            // Which channels are gone is said by the config of now, not by that of the last run.
            self.store.run(Command::ChannelsPresent(self.channels.clone())).await?;
        }
        self.store.bulk(ask).await
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Drop for Offline {
    /// Before the lock is given back.
    fn drop(&mut self) {
        // What is not moved stands in the log, for the next start.
        let _ = self.store.close(CLOSES_WITHIN);
    }
}
