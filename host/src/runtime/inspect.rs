//! `lastword adapter inspect`: one component as admission sees it, without a config and without a
//! host.

use std::path::Path;

use serde_json::Value;

use super::{RunError, channels};
use crate::env::Env;
use crate::sandbox::{Engine, EngineConfig};

/// Admits the component of a file and says what was found out: digest, manifest, imports, exports.
///
/// # Errors
/// Where it cannot be read or is refused, with the sentence that a channel would be refused with.
pub async fn inspect(file: &Path, env: &Env) -> Result<Value, RunError> {
    let config = EngineConfig::default();
    let bytes_max = config.component_bytes_max;
    let engine = Engine::new(env.clone(), config).map_err(RunError::Engine)?;
    let adapter = channels::admit(env, &engine, file, bytes_max)
        .await
        .map_err(|refusal| RunError::System(refusal.reason))?;
    serde_json::to_value(adapter.admitted()).map_err(|error| RunError::System(error.to_string()))
}
