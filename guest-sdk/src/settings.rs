//! The operator's settings of this channel. They were held against the manifest's schema, and
//! against [`crate::Adapter::check`], before the channel started.

use serde::de::DeserializeOwned;

use crate::host;

/// Why a setting cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The setting's name.
    pub setting: String,
    /// What is wrong with it, in a sentence.
    pub sentence: String,
}

impl std::fmt::Display for SettingError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl std::error::Error for SettingError {}

/// A setting, where the operator gave it.
///
/// # Errors
///
/// Where it is not what `T` reads.
pub fn get<T: DeserializeOwned>(name: &str) -> Result<Option<T>, SettingError> {
    let Some(json) = host::setting(name) else {
        return Ok(None);
    };
    serde_json::from_str(&json).map(Some).map_err(|error| SettingError {
        setting: name.to_owned(),
        sentence: format!("the setting `{name}` is not what is expected: {error}"),
    })
}

/// A setting, or what holds where the operator gave none.
///
/// # Errors
///
/// Where it is there and not what `T` reads.
pub fn get_or<T: DeserializeOwned>(name: &str, otherwise: T) -> Result<T, SettingError> {
    Ok(get(name)?.unwrap_or(otherwise))
}

/// A setting that must be there.
///
/// # Errors
///
/// Where it is missing, or not what `T` reads.
pub fn require<T: DeserializeOwned>(name: &str) -> Result<T, SettingError> {
    get(name)?.ok_or_else(|| SettingError {
        setting: name.to_owned(),
        sentence: format!("the setting `{name}` is missing; add it to the channel's settings"),
    })
}

/// The public address of this channel's webhook prefix, without a slash at the end, where the
/// operator gave one.
pub fn public_url() -> Option<String> {
    host::public_url()
}
