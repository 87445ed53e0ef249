//! Which config a new generation obeys: an order reads the file anew, a changed component obeys what
//! the last order that was taken read. So a publisher that an order took out of `trust` does not come
//! back in with the next file.

use std::sync::{Mutex, PoisonError};

use super::generation::Generation;
use super::{Ask, Generations, NotSwapped, Slot, refused};
use crate::config::{ChannelConfig, Config};
use crate::lifecycle::id::ChannelName;

/// The config of the last order that was taken; none before one.
#[derive(Default)]
pub(super) struct Obeyed(Mutex<Option<Config>>);

impl Obeyed {
    fn get(&self) -> Option<Config> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What serves from now on was staged by this config.
    pub(super) fn set(&self, config: Config) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }
}

impl Generations {
    /// The config that the new generation obeys, and the channel's part of it.
    pub(super) async fn config_for(
        &self,
        name: &ChannelName,
        (slot, current): (&Slot, Option<&Generation>),
        ask: Ask,
    ) -> Result<(Config, ChannelConfig), NotSwapped> {
        let inner = &self.0;
        if let Ask::File { .. } = ask {
            let mut config = slot.obeyed.get().unwrap_or_else(|| inner.config.clone());
            let channel = match current {
                Some(current) => Some(current.serving.config.clone()),
                None => config.channels.remove(name),
            };
            let gone = || NotSwapped::Refused(refused("channel_unknown", "it is not configured"));
            return Ok((config, channel.ok_or_else(gone)?));
        }
        let file = inner.config.file.clone();
        let read = inner.env.spawn_blocking(move || Config::load(&file)).await;
        let wrong = |why: String| NotSwapped::Refused(refused("config_refused", why));
        let config = read
            .map_err(|_| wrong("the config could not be read".to_owned()))?
            .map_err(|errors| wrong(format!("the config is refused: {errors}")))?;
        let removed = || wrong(format!("the config names no channel \"{name}\" any more"));
        let channel = config.channels.get(name).cloned().ok_or_else(removed)?;
        Ok((config, channel))
    }
}
