//! From a file's bytes to an adapter that may be bound: size, names, compilation or cache, types,
//! `describe` twice. Any fault refuses the whole, with a sentence. It opens no file.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::blobs::{BlobStore, CallFiles};
use super::cache::CacheKey;
use super::channel::Channel;
use super::child::compile::{Caps, compile, shape};
use super::engine::{Engine, Inner};
use super::exports::Exports;
use super::faces::{self, Faces};
use super::guest::Standing;
use super::jobs::Describe;
use super::limits::CallLimits;
use super::manifest::{Manifest, Offers};
use super::run::{Callee, Terms};
use super::spec::{ChannelSpec, Refusal, Rehearsal};
use super::state::StateSource;
use super::stop::StopSignal;
use super::{text, wasi};
use crate::lifecycle::outcome::CallEnd;

/// How a component begins: magic and the layer "component"; a core module has version 1 there.
const COMPONENT: &[u8; 8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8; 8] = b"\0asm\x01\0\0\0";

/// An admitted component. Cheap to clone.
#[derive(Clone)]
pub struct Adapter(pub(super) Arc<Parts>);

pub(super) struct Parts {
    pub(super) engine: Engine,
    pub(super) callee: Callee,
    admitted: Admitted,
}

/// What admission found out; `adapter inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
        &self.0.admitted
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.admitted.manifest
    }

    /// SHA-256 of the component's bytes, lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.admitted.digest
    }

    /// Binds it to a channel: settings against the schema, secrets, grants, templates, `check`.
    ///
    /// # Errors
    /// Every problem at once, each a sentence that says what to add or change.
    pub async fn bind(
        &self,
        spec: ChannelSpec,
        state: Arc<dyn StateSource>,
        blobs: Arc<dyn BlobStore>,
    ) -> Result<Channel, Refusal> {
        Channel::bind(self, spec, state, blobs, None).await
    }

    /// Binds it where a test owns time, chance and the moment of the host's death.
    ///
    /// # Errors
    /// As [`Adapter::bind`].
    pub async fn rehearse(
        &self,
        spec: ChannelSpec,
        state: Arc<dyn StateSource>,
        blobs: Arc<dyn BlobStore>,
        rehearsal: Rehearsal,
    ) -> Result<Channel, Refusal> {
        Channel::bind(self, spec, state, blobs, Some(rehearsal)).await
    }
}

impl Engine {
    /// Admits a component: size, imports, exports, compilation, `describe` twice.
    ///
    /// # Errors
    /// Sentences that name what is wrong with it.
    pub async fn admit(&self, bytes: Vec<u8>) -> Result<Adapter, Refusal> {
        let inner = &self.0;
        check_bytes(&bytes, inner.config.component_bytes_max)?;
        let (size_bytes, sha) = (bytes.len() as u64, Sha256::digest(&bytes));
        let digest = hex::encode(sha);
        let component = inner.component(bytes, sha.into()).await?;
        let faces = inner.names(&component)?;
        let refused = |error: wasmtime::Error| {
            Refusal::one(format!("it does not fit the contract: {error:#}"))
        };
        let pre = inner.linker.instantiate_pre(&component).map_err(refused)?;
        let exports = Exports::find(&pre, faces.offers).map_err(refused)?;
        let callee = Callee { pre, exports, digest: digest.clone() };
        let manifest = inner.describe_twice(&callee, faces.offers).await?;
        let notes = notes(&manifest);
        let Faces { offers: _, imports, exports, ignored_exports } = faces;
        let admitted =
            Admitted { digest, size_bytes, manifest, imports, exports, ignored_exports, notes };
        Ok(Adapter(Arc::new(Parts { engine: self.clone(), callee, admitted })))
    }
}

fn check_bytes(bytes: &[u8], most: u64) -> Result<(), Refusal> {
    if bytes.len() as u64 > most {
        let size = bytes.len();
        return Err(Refusal::one(format!("the file has {size} bytes; {most} is the most")));
    }
    if bytes.starts_with(CORE_MODULE) {
        return Err(Refusal::one(
            "the file is a core WebAssembly module, not a component; build it for wasm32-wasip2, \
             or wrap it with `wasm-tools component new`",
        ));
    }
    if !bytes.starts_with(COMPONENT) {
        return Err(Refusal::one("the file is no WebAssembly component"));
    }
    Ok(())
}

fn notes(manifest: &Manifest) -> Vec<String> {
    let mut notes = Vec::new();
    if !manifest.declares_send() {
        notes.push(format!(
            "adapter `{}` declares no route with effect `send`: the host takes its word for what \
             was sent",
            manifest.name
        ));
    }
    notes
}

impl Inner {
    /// The compiled component, loaded.
    async fn component(&self, bytes: Vec<u8>, sha: [u8; 32]) -> Result<Component, Refusal> {
        let code = self.code(bytes, sha).await?;
        let engine = self.engine.clone();
        let loading = self.env.spawn_blocking(move || load_own(&engine, &code));
        match loading.await {
            Ok(Ok(component)) => Ok(component),
            // Where it holds more instances, memories or tables than the pools give one component.
            Ok(Err(error)) => {
                let why = text::visible(&format!("{error:#}"), 1_024);
                Err(Refusal::one(format!("it was compiled, and cannot be loaded: {why}")))
            }
            Err(_) => Err(Refusal::one("it was compiled, and brought the engine down")),
        }
    }

    /// Compiled code: out of the cache, or compiled now, one component at a time.
    async fn code(&self, bytes: Vec<u8>, sha: [u8; 32]) -> Result<Vec<u8>, Refusal> {
        let key = self.cache_key(&sha);
        if let Some(cache) = self.cache.clone() {
            let cached = self.env.spawn_blocking(move || cache.load(&key)).await;
            if let Ok(Some(code)) = cached {
                return Ok(code);
            }
        }
        let _permit = self.compiling.acquire().await;
        let compiled = match &self.config.helper {
            Some(helper) => {
                let (wall_ms, memory_bytes) =
                    (self.config.compile_ms_max, self.config.compile_memory_bytes_max);
                let caps = Caps { wall_ms, memory_bytes };
                compile(&self.env, helper, caps, shape(&self.engine), &bytes).await
            }
            None => self.compile_here(bytes).await,
        };
        let code = compiled.map_err(Refusal::one)?;
        let Some(cache) = self.cache.clone() else { return Ok(code) };
        let (env, begun) = (self.env.clone(), self.env.elapsed());
        let storing = self.env.spawn_blocking(move || {
            cache.store(&key, &code, &env);
            code
        });
        let stored = storing.await;
        tracing::debug!(ms = (self.env.elapsed() - begun).as_millis() as u64, "code is cached");
        stored.map_err(|_| Refusal::one("the host ends"))
    }

    /// For programs whose binary knows no hidden modes: bounded in the time that it is waited for,
    /// and in nothing else.
    async fn compile_here(&self, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let (engine, most) = (self.engine.clone(), self.config.compile_ms_max);
        let work = self.env.spawn_blocking(move || engine.precompile_component(&bytes));
        match self.env.timeout(Duration::from_millis(most), work).await {
            Ok(Ok(Ok(code))) => Ok(code),
            Ok(Ok(Err(error))) => {
                let why = text::visible(&format!("{error:#}"), 1_024);
                Err(format!("it cannot be compiled: {why}"))
            }
            Ok(Err(_)) => Err("it brought the compiler down".to_owned()),
            Err(_) => Err(format!("it was not compiled within {most} ms")),
        }
    }

    fn cache_key(&self, sha: &[u8; 32]) -> CacheKey {
        let mut hash = Sha256::new_with_prefix(shape(&self.engine));
        hash.update(sha);
        CacheKey(hash.finalize().into())
    }

    /// Imports and exports by name, before anything is linked.
    fn names(&self, component: &Component) -> Result<Faces, Refusal> {
        let types = component.component_type();
        let imports = types.imports(&self.engine).map(|(name, _)| name.to_owned());
        let exports = types.exports(&self.engine).map(|(name, _)| name.to_owned());
        Ok(faces::judge(imports.collect(), exports.collect(), wasi::serves)?)
    }

    async fn describe_twice(&self, callee: &Callee, offers: Offers) -> Result<Manifest, Refusal> {
        let first = match self.describe(callee, offers).await {
            // The first call of new code pays for its pages; a slow machine gets one more.
            Err(CallEnd::DeadlinePassed | CallEnd::CpuSpent) => self.describe(callee, offers).await,
            other => other,
        };
        let first = first.map_err(|end| self.refuse_describe(end))??;
        let second = self.describe(callee, offers).await;
        let second = second.map_err(|end| self.refuse_describe(end))??;
        if first != second {
            return Err(Refusal::one(
                "`describe` said two different things when it was asked twice; what an adapter is \
                 must depend on its bytes alone",
            ));
        }
        Ok(first)
    }

    async fn describe(
        &self,
        callee: &Callee,
        offers: Offers,
    ) -> Result<Result<Manifest, Vec<String>>, CallEnd<()>> {
        let wall_ms = self.config.describe_ms;
        let limits = CallLimits { cpu_ms: wall_ms, ..CallLimits::default() };
        let terms = Terms {
            standing: Standing::Unbound,
            limits: Arc::new(limits),
            wall_ms,
            queue: None,
            lane: self.runner.lanes.lane(),
            stop: StopSignal::never(),
            files: CallFiles::default(),
        };
        match self.runner.call(callee, terms, Describe(offers)).await.end {
            CallEnd::Answered(manifest) => Ok(manifest),
            other => Err(other.map(|_| ())),
        }
    }

    fn refuse_describe(&self, end: CallEnd<()>) -> Refusal {
        let most = self.config.describe_ms;
        Refusal::one(match end {
            CallEnd::Trapped(words) => format!("`describe` trapped: {words}"),
            CallEnd::DeadlinePassed | CallEnd::CpuSpent => {
                format!("`describe` did not answer within {most} ms")
            }
            CallEnd::NotCalled(fault) => format!("`describe` was not called: {}", fault.sentence),
            CallEnd::Cancelled | CallEnd::Answered(()) => "`describe` was cancelled".to_owned(),
        })
    }
}

/// Loads compiled code that this host made.
#[allow(
    unsafe_code,
    reason = "loading code that was compiled elsewhere is the one way to compile it elsewhere"
)]
fn load_own(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` trusts its bytes to come from the compiler of a compatible engine. They
    // do; there are three ways to here. (1) `Cache::load` gives bytes only if their HMAC fits,
    // under a key that this host made from chance and that no other user can read; the MAC covers
    // the cache key, which covers the component's digest and the engine's version, target and
    // settings; and only `Inner::code` writes entries, with what (2) or (3) gave. (2) `compile`
    // gives what came over a socket pair whose other end only our own child holds: the same binary,
    // started by us, which writes there what `precompile_component` returned, and says by an
    // engine of which shape; another shape than ours is refused. (3) `compile_here` gives what
    // `precompile_component` of this very engine returned. In each case the bytes are in memory
    // that nobody else holds. A file of a publisher never comes here.
    unsafe { Component::deserialize(engine, code) }
}
