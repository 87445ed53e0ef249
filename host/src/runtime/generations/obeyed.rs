//! Which config a generation obeys: an order reads the file anew; a changed component, and one that is
//! gone back to, obey what the last order that was taken read. So what an order took away, a publisher
//! in `trust` or a grant, comes back neither with the next file nor by going back.

use std::sync::{Mutex, PoisonError};

use super::{Ask, Generations, NotSwapped, Slot, refused, rules};
use crate::config::{ChannelConfig, Config};
use crate::ingress::RefusedChannel;
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
    /// The config that what serves obeys, and the channel's part of it.
    pub(super) fn obeyed(
        &self,
        name: &ChannelName,
        slot: &Slot,
    ) -> Result<(Config, ChannelConfig), RefusedChannel> {
        let config = slot.obeyed.get().unwrap_or_else(|| self.0.config.clone());
        let gone = || refused("channel_unknown", "it is not configured");
        let channel = config.channels.get(name).cloned().ok_or_else(gone)?;
        Ok((config, channel))
    }

    /// The config that the new generation obeys, and the channel's part of it.
    pub(super) async fn config_for(
        &self,
        name: &ChannelName,
        slot: &Slot,
        ask: Ask,
    ) -> Result<(Config, ChannelConfig), NotSwapped> {
        match ask {
            Ask::File { .. } => self.obeyed(name, slot).map_err(NotSwapped::Refused),
            Ask::Order { .. } => self.read_anew(name).await.map_err(NotSwapped::Refused),
        }
    }

    async fn read_anew(
        &self,
        name: &ChannelName,
    ) -> Result<(Config, ChannelConfig), RefusedChannel> {
        let inner = &self.0;
        let file = inner.config.file.clone();
        let read = inner.env.spawn_blocking(move || Config::load(&file)).await;
        let wrong = |why: String| refused("config_refused", why);
        let config = read
            .map_err(|_| wrong("the config could not be read".to_owned()))?
            .map_err(|errors| wrong(format!("the config is refused: {errors}")))?;
        let removed = || wrong(format!("the config names no channel \"{name}\" any more"));
        let channel = config.channels.get(name).cloned().ok_or_else(removed)?;
        within(&inner.config, &channel).map_err(wrong)?;
        Ok((config, channel))
    }
}

/// Whether the limits of a channel fit the host that runs, whose claims and whose store were laid out
/// at its start.
fn within(runs: &Config, channel: &ChannelConfig) -> Result<(), String> {
    let (name, limits) = (&channel.name, &channel.limits);
    let longest = limits.send.max(limits.find);
    let call_most = runs.lifecycle.call_most();
    if longest > call_most {
        // Its row would be claimed by another worker while the call still runs.
        return Err(format!(
            "a send or a find on channel \"{name}\" may take {}, and at most half of the claim of the \
             host that runs, {}, is safe: another `claim` takes a restart",
            humantime::format_duration(longest),
            humantime::format_duration(call_most),
        ));
    }
    let (keys, bytes) = rules::state_most(runs);
    if u64::from(limits.state_keys) > keys || limits.state_bytes > bytes {
        return Err(format!(
            "channel \"{name}\" may keep {} keys of {} bytes, and the store of the host that runs \
             takes {keys} keys of {bytes} bytes: more takes a restart",
            limits.state_keys, limits.state_bytes
        ));
    }
    Ok(())
}
