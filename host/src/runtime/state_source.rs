//! What guests remember, read from the store: the sandbox's port, filled.

use async_trait::async_trait;

use crate::lifecycle::id::ChannelName;
use crate::sandbox::{StateSize, StateSource, StateUnavailable};
use crate::store::{Query, Rows, Store};

/// The committed state in the store.
#[derive(Debug, Clone)]
pub(super) struct StoredState(pub(super) Store);

fn unavailable(error: impl std::fmt::Display) -> StateUnavailable {
    tracing::warn!("a guest's state could not be read: {error}");
    // The guest needs no path of this machine.
    StateUnavailable("the host's store cannot be read now".to_owned())
}

#[async_trait]
impl StateSource for StoredState {
    async fn get(
        &self,
        channel: &ChannelName,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StateUnavailable> {
        let query = Query::StateGet { channel: channel.clone(), key: key.to_owned() };
        match self.0.read(query).await.map_err(unavailable)? {
            Rows::Bytes(value) => Ok(value),
            _ => Err(unavailable("rows of another kind")),
        }
    }

    async fn size(&self, channel: &ChannelName) -> Result<StateSize, StateUnavailable> {
        let query = Query::StateUsage { channel: channel.clone() };
        match self.0.read(query).await.map_err(unavailable)? {
            Rows::Usage { keys, bytes } => Ok(StateSize { bytes, keys }),
            _ => Err(unavailable("rows of another kind")),
        }
    }
}

/// State for checks that start nothing: there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoState;

#[async_trait]
impl StateSource for NoState {
    async fn get(
        &self,
        _channel: &ChannelName,
        _key: &str,
    ) -> Result<Option<Vec<u8>>, StateUnavailable> {
        Ok(None)
    }

    async fn size(&self, _channel: &ChannelName) -> Result<StateSize, StateUnavailable> {
        Ok(StateSize::default())
    }
}
