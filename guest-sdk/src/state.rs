//! What an adapter remembers between calls, per channel. Writes are seen at once by the call that
//! made them, and are committed in the transaction that commits its result.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::channel::lastword::channel::state::Error;
use crate::host;

/// What stands under `key`: 1 to 256 bytes.
///
/// # Errors
///
/// [`Error`], as the host gives it.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    host::get_state(key)
}

/// Writes `value` under `key`.
///
/// # Errors
///
/// [`Error::OverQuota`] where the channel has no room for it, or another [`Error`].
pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    host::set_state(key, value)
}

/// Removes `key`, where it is there.
///
/// # Errors
///
/// [`Error`], as the host gives it.
pub fn delete(key: &str) -> Result<(), Error> {
    host::delete_state(key)
}

/// What stands under `key`, read as JSON. What cannot be read counts as not there: it was written
/// by another version of the adapter.
///
/// # Errors
///
/// [`Error`], as the host gives it.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    Ok(get(key)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Writes `value` under `key`, as JSON.
///
/// # Errors
///
/// [`Error::Unavailable`] where the value has no JSON form, or another [`Error`].
pub fn set_json<T: Serialize>(key: &str, value: &T) -> Result<(), Error> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Error::Unavailable(format!("the value has no JSON form: {error}")))?;
    set(key, &bytes)
}
