//! `lastword adapter inspect`: one component as admission sees it, without a config and without a
//! host.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{RunError, channels};
use crate::config::{Required, Trust};
use crate::env::Env;
use crate::sandbox::{self, Adapter, Ask, Engine, EngineConfig, Isolation};

/// Admits the component of a file and says what was found out: digest, manifest, imports, exports,
/// and in `asks` each single thing that it asks for, with its sentence in `words`.
///
/// # Errors
/// Where it cannot be read or is refused, with the sentence that a channel would be refused with.
pub async fn inspect(file: &Path, env: &Env) -> Result<Value, RunError> {
    let adapter = admit(file, Isolation::Engine, env).await?;
    let failed = |error: serde_json::Error| RunError::System(error.to_string());
    let mut seen = serde_json::to_value(adapter.admitted()).map_err(failed)?;
    let asks = sandbox::asks(adapter.manifest(), &Map::new(), &BTreeSet::new());
    let asks: Vec<Value> = asks.iter().map(ask_value).collect();
    if let Value::Object(seen) = &mut seen {
        seen.insert("asks".to_owned(), Value::from(asks));
        seen.insert("signing".to_owned(), sandbox::signing_line(adapter.manifest()).into());
    }
    Ok(seen)
}

/// The trusted comment that a publisher signs a component with.
///
/// # Errors
/// As [`inspect`].
pub async fn signing(file: &Path, env: &Env) -> Result<String, RunError> {
    Ok(sandbox::signing_line(admit(file, Isolation::Engine, env).await?.manifest()))
}

/// One thing that is asked, with its sentence.
pub(super) fn ask_value(ask: &Ask) -> Value {
    let mut value = serde_json::to_value(ask).unwrap_or_else(|_| json!({}));
    if let Value::Object(members) = &mut value {
        members.insert("words".to_owned(), format!("it may {ask}").into());
    }
    value
}

pub(super) async fn admit(file: &Path, on: Isolation, env: &Env) -> Result<Adapter, RunError> {
    let config = EngineConfig::default();
    let bytes_max = config.component_bytes_max;
    let engine = Engine::new(env.clone(), config).map_err(RunError::Engine)?;
    let nobody = (&Trust::default(), Required::No);
    let vetted = channels::admit(env, &engine, (file, on), bytes_max, nobody).await;
    Ok(vetted.map_err(|refusal| RunError::System(refusal.reason))?.adapter)
}
