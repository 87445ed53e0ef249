//! The one engine of a host.

use std::sync::Arc;

use super::channel::Channel;
use super::limits::EngineConfig;
use super::manifest::Manifest;
use super::spec::{ChannelSpec, Refusal};
use super::state::StateSource;
use crate::env::Env;

/// Admits components and runs their calls. Cheap to clone; one per host.
#[derive(Clone)]
pub struct Engine(Arc<()>);

impl Engine {
    /// An engine with its pools laid out.
    ///
    /// # Errors
    /// A sentence, where the system gives no memory or the cache cannot be kept private.
    pub fn new(env: Env, config: EngineConfig) -> Result<Self, Refusal> {
        let _ = (env, config);
        Ok(Self(Arc::new(())))
    }

    /// Admits a component: size, imports, exports, compilation, `describe` twice.
    ///
    /// # Errors
    /// Sentences that name what is wrong with it.
    pub async fn admit(&self, bytes: Vec<u8>) -> Result<Adapter, Refusal> {
        let _ = bytes;
        Err(Refusal::one("the sandbox admits nothing yet"))
    }
}

/// An admitted component. Cheap to clone.
#[derive(Clone)]
pub struct Adapter(Arc<Admitted>);

/// What admission found out; `adapter inspect` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Admitted {
    /// SHA-256 of the component's bytes, lower-case hex.
    pub digest: String,
    pub size_bytes: u64,
    pub manifest: Manifest,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// Exports outside the contract: shown, never called.
    pub ignored_exports: Vec<String>,
    /// What the operator should know, such as an adapter without a `send` route.
    pub notes: Vec<String>,
}

impl Adapter {
    /// All that admission found out.
    #[must_use]
    pub fn admitted(&self) -> &Admitted {
        &self.0
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// SHA-256 of the component's bytes, lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Binds it to a channel: settings against the schema, secrets, grants, templates, `check`.
    ///
    /// # Errors
    /// Every problem at once, each a sentence that says what to add or change.
    pub async fn bind(
        &self,
        spec: ChannelSpec,
        state: Arc<dyn StateSource>,
    ) -> Result<Channel, Refusal> {
        let _ = (spec, state);
        Err(Refusal::one("the sandbox binds nothing yet"))
    }
}
