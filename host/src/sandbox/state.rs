//! What an adapter remembers between calls, as one call sees it: the stored values behind a port,
//! and the call's own writes in front of them. The writes are handed back with the call; whoever
//! commits its result commits them too. It knows no store.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::limits::contract::STATE_KEY_BYTES_MAX;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::outcome::StateWrites;

/// How much a channel's stored state takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateSize {
    /// Keys and values together.
    pub bytes: u64,
    pub keys: u64,
}

/// The stored state could not be read: a sentence, which the guest sees as `unavailable`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StateUnavailable(pub String);

/// Where the committed state is read from; `runtime` fills it from the store.
#[async_trait]
pub trait StateSource: Send + Sync {
    /// The committed value of a key.
    ///
    /// # Errors
    /// A read error is never "no value".
    async fn get(
        &self,
        channel: &ChannelName,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StateUnavailable>;

    /// What the channel's committed state takes.
    ///
    /// # Errors
    /// A read error is never "empty".
    async fn size(&self, channel: &ChannelName) -> Result<StateSize, StateUnavailable>;
}

/// Why a guest's `get`, `set` or `delete` was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StateError {
    BadKey,
    OverQuota(String),
    Unavailable(String),
}

impl From<StateUnavailable> for StateError {
    fn from(error: StateUnavailable) -> Self {
        Self::Unavailable(error.0)
    }
}

/// One call's view: its own writes first, then what is stored.
#[derive(Debug, Default)]
pub(super) struct CallState {
    writes: Vec<(String, Option<Vec<u8>>)>,
    /// Place of each key in `writes`.
    places: BTreeMap<String, usize>,
    /// What the state takes with this call's writes in it; read at the first write.
    size: Option<StateSize>,
    held_bytes: u64,
}

fn cost(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

impl CallState {
    /// The value that this call sees.
    pub(super) async fn get(
        &self,
        source: &dyn StateSource,
        channel: &ChannelName,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StateError> {
        check_key(key)?;
        match self.places.get(key) {
            Some(place) => Ok(self.writes[*place].1.clone()),
            None => Ok(source.get(channel, key).await?),
        }
    }

    /// Sets or, with `None`, deletes. The quota is checked here, where the guest can still act.
    pub(super) async fn set(
        &mut self,
        source: &dyn StateSource,
        channel: &ChannelName,
        quota: StateSize,
        key: String,
        value: Option<Vec<u8>>,
    ) -> Result<(), StateError> {
        check_key(&key)?;
        let before = self.get(source, channel, &key).await?;
        let mut size = match self.size {
            Some(size) => size,
            None => source.size(channel).await?,
        };
        if let Some(before) = &before {
            size.bytes = size.bytes.saturating_sub(cost(&key, before));
            size.keys = size.keys.saturating_sub(1);
        }
        if let Some(value) = &value {
            size.bytes += cost(&key, value);
            size.keys += 1;
            let grew = before.as_ref().is_none_or(|before| before.len() < value.len());
            if grew && (size.bytes > quota.bytes || size.keys > quota.keys) {
                return Err(StateError::OverQuota(format!(
                    "the state of a channel holds at most {} bytes under {} keys; this would \
                     make {} bytes under {} keys",
                    quota.bytes, quota.keys, size.bytes, size.keys
                )));
            }
        }
        self.size = Some(size);
        self.record(key, value);
        Ok(())
    }

    /// What the writes of this call would take with this one: they are held until it is over.
    pub(super) fn held_with(&self, key: &str, value: Option<&[u8]>) -> u64 {
        let before = self.places.get(key).map_or(0, |place| {
            let (key, value) = &self.writes[*place];
            cost(key, value.as_deref().unwrap_or_default())
        });
        let after = cost(key, value.unwrap_or_default());
        self.held_bytes.saturating_sub(before).saturating_add(after)
    }

    fn record(&mut self, key: String, value: Option<Vec<u8>>) {
        self.held_bytes = self.held_with(&key, value.as_deref());
        if let Some(place) = self.places.get(&key) {
            self.writes[*place].1 = value;
            return;
        }
        self.places.insert(key.clone(), self.writes.len());
        self.writes.push((key, value));
    }

    /// What the call leaves behind.
    pub(super) fn into_writes(self) -> StateWrites {
        StateWrites { writes: self.writes }
    }
}

fn check_key(key: &str) -> Result<(), StateError> {
    if (1..=STATE_KEY_BYTES_MAX).contains(&key.len()) { Ok(()) } else { Err(StateError::BadKey) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stored(BTreeMap<String, Vec<u8>>);

    #[async_trait]
    impl StateSource for Stored {
        async fn get(
            &self,
            _: &ChannelName,
            key: &str,
        ) -> Result<Option<Vec<u8>>, StateUnavailable> {
            Ok(self.0.get(key).cloned())
        }

        async fn size(&self, _: &ChannelName) -> Result<StateSize, StateUnavailable> {
            let bytes = self.0.iter().map(|(key, value)| cost(key, value)).sum();
            Ok(StateSize { bytes, keys: self.0.len() as u64 })
        }
    }

    const QUOTA: StateSize = StateSize { bytes: 20, keys: 2 };

    #[tokio::test]
    async fn a_call_sees_its_own_writes_and_hands_back_one_entry_per_key() {
        let stored = Stored(BTreeMap::from([("a".to_owned(), b"old".to_vec())]));
        let (channel, mut state) = (ChannelName::from("c"), CallState::default());
        for value in [Some(b"new".to_vec()), None, Some(b"newest".to_vec())] {
            state.set(&stored, &channel, QUOTA, "a".into(), value.clone()).await.unwrap();
            assert_eq!(state.get(&stored, &channel, "a").await, Ok(value));
        }
        state.set(&stored, &channel, QUOTA, "b".into(), None).await.unwrap();
        let writes = state.into_writes().writes;
        assert_eq!(writes, [("a".into(), Some(b"newest".to_vec())), ("b".into(), None)]);
    }

    #[tokio::test]
    async fn a_write_over_the_quota_is_refused_and_leaves_the_state_as_it_was() {
        let stored = Stored(BTreeMap::from([("a".to_owned(), b"old".to_vec())]));
        let (channel, mut state) = (ChannelName::from("c"), CallState::default());
        let big = state.set(&stored, &channel, QUOTA, "b".into(), Some(vec![0; 16])).await;
        assert!(matches!(big, Err(StateError::OverQuota(_))), "{big:?}");
        state.set(&stored, &channel, QUOTA, "b".into(), Some(vec![0; 15])).await.unwrap();
        let third = state.set(&stored, &channel, QUOTA, "c".into(), Some(vec![])).await;
        assert!(matches!(third, Err(StateError::OverQuota(_))), "{third:?}");
        state.set(&stored, &channel, QUOTA, "a".into(), None).await.unwrap();
        state.set(&stored, &channel, QUOTA, "c".into(), Some(vec![])).await.unwrap();
        assert_eq!(state.into_writes().writes.len(), 3);
    }

    #[tokio::test]
    async fn keys_are_one_to_256_bytes_and_may_hold_anything() {
        let (stored, channel) = (Stored(BTreeMap::new()), ChannelName::from("c"));
        let state = CallState::default();
        for bad in [String::new(), "k".repeat(257)] {
            assert_eq!(state.get(&stored, &channel, &bad).await, Err(StateError::BadKey));
        }
        assert_eq!(state.get(&stored, &channel, "a\0/..\u{202e}").await, Ok(None));
    }
}
