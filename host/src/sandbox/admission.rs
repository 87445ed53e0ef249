//! From a file's bytes to an adapter that may be bound: size, names, compilation or cache, types,
//! `describe` twice. Any fault refuses the whole, with a sentence. It opens no file.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::blobs::{BlobStore, CallFiles};
use super::bound::Bound;
use super::cache::CacheKey;
use super::channel::Channel;
use super::child::Helper;
use super::child::compile::{Caps, compile, shape};
use super::child::ward::Ward;
use super::engine::{Engine, Inner};
use super::exports::Exports;
use super::faces::{self, Faces};
use super::guest::{Guest, Standing};
use super::jobs::Describe;
use super::lanes::Lane;
use super::limits::CallLimits;
use super::manifest::{Manifest, Offers};
use super::orders::Order;
use super::run::{Callee, Ended, Ground, Here, Ran, Terms};
use super::spec::{ChannelSpec, Isolation, Refusal, Rehearsal};
use super::state::StateSource;
use super::stop::StopSignal;
use super::{text, wasi};
use crate::lifecycle::outcome::{CallEnd, Fault};

/// How a component begins: magic and the layer "component"; a core module has version 1 there.
const COMPONENT: &[u8; 8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8; 8] = b"\0asm\x01\0\0\0";

/// An admitted component. Cheap to clone.
#[derive(Clone)]
pub struct Adapter(pub(super) Arc<Parts>);

pub(super) struct Parts {
    pub(super) engine: Engine,
    /// For channels that run in the host; an isolated adapter has a process for each channel.
    callee: Callee,
    isolated: Option<Isolated>,
    admitted: Admitted,
}

/// What the processes of an isolated adapter are started with.
struct Isolated {
    code: Arc<Vec<u8>>,
    helper: Helper,
}

/// An admitted component that nobody has to keep: to find one that is still in use.
#[derive(Clone)]
pub struct WeakAdapter(std::sync::Weak<Parts>);

impl WeakAdapter {
    /// The component, where somebody uses it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Adapter> {
        self.0.upgrade().map(Adapter)
    }
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

    /// Where its calls run.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        match self.0.isolated {
            Some(_) => Isolation::Process,
            None => Isolation::Engine,
        }
    }

    /// What the calls of one channel go to.
    pub(super) fn callee_of(&self, bound: &Bound) -> Callee {
        let Some(Isolated { code, helper }) = &self.0.isolated else {
            return self.0.callee.clone();
        };
        let inner = &self.0.engine.0;
        let code = (Arc::clone(code), shape(&inner.engine));
        let named = (bound.name.0.as_str(), Some(Arc::clone(&bound.guard)));
        let ward = Ward::new(&inner.env, helper.clone(), code, named, &bound.limits);
        Callee { ground: Arc::new(ward), digest: self.0.callee.digest.clone() }
    }

    /// The same without keeping it.
    #[must_use]
    pub fn downgrade(&self) -> WeakAdapter {
        WeakAdapter(Arc::downgrade(&self.0))
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
        self.admit_on(bytes, Isolation::Engine).await
    }

    /// As [`Engine::admit`], for channels with this isolation: with a process of its own not an
    /// instruction of it ever runs in this one, and its compiled code is not even loaded.
    ///
    /// # Errors
    /// As [`Engine::admit`], and where the system has not the means.
    pub async fn admit_on(&self, bytes: Vec<u8>, on: Isolation) -> Result<Adapter, Refusal> {
        let inner = &self.0;
        check_bytes(&bytes, inner.config.component_bytes_max)?;
        let (size_bytes, sha) = (bytes.len() as u64, Sha256::digest(&bytes));
        let digest = hex::encode(sha);
        let (ground, faces, isolated) = match on {
            Isolation::Engine => {
                let (ground, faces) = inner.here(bytes, sha.into()).await?;
                (ground, faces, None)
            }
            Isolation::Process => inner.away(bytes, sha.into(), &digest).await?,
        };
        let callee = Callee { ground, digest: digest.clone() };
        let manifest = inner.describe_twice(&callee, faces.offers).await?;
        let notes = notes(&manifest);
        let Faces { offers: _, imports, exports, ignored_exports } = faces;
        let admitted =
            Admitted { digest, size_bytes, manifest, imports, exports, ignored_exports, notes };
        let callee = match isolated {
            // The process that described it goes; each channel has its own.
            Some(_) => Callee { ground: Arc::new(NoGround), digest: callee.digest },
            None => callee,
        };
        Ok(Adapter(Arc::new(Parts { engine: self.clone(), callee, isolated, admitted })))
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
    /// Loaded into this process.
    async fn here(
        &self,
        bytes: Vec<u8>,
        sha: [u8; 32],
    ) -> Result<(Arc<dyn Ground>, Faces), Refusal> {
        let component = self.component(bytes, sha).await?;
        let faces = names(&self.engine, &component)?;
        let refused = |error: wasmtime::Error| {
            Refusal::one(format!("it does not fit the contract: {error:#}"))
        };
        let pre = self.linker.instantiate_pre(&component).map_err(refused)?;
        let exports = Exports::find(&pre, faces.offers).map_err(refused)?;
        let (env, ticker) = (self.env.clone(), Arc::clone(&self.ticker));
        let ground: Arc<dyn Ground> = Arc::new(Here { env, ticker, pre, exports });
        Ok((ground, faces))
    }

    /// Loaded into a process of its own, in which it is asked what it is.
    async fn away(
        &self,
        bytes: Vec<u8>,
        sha: [u8; 32],
        digest: &str,
    ) -> Result<(Arc<dyn Ground>, Faces, Option<Isolated>), Refusal> {
        let helper = self.config.helper.clone().ok_or_else(|| {
            Refusal::one(
                "`isolation = \"process\"` needs a binary that runs the sandbox's child processes, \
                 and this program's does not",
            )
        })?;
        let code = Arc::new(self.code(bytes, sha).await?);
        let shape = shape(&self.engine);
        let limits = CallLimits { calls_at_once: 1, ..CallLimits::default() };
        let loaded = (Arc::clone(&code), shape);
        let ward = Ward::new(&self.env, helper.clone(), loaded, (&digest[..12], None), &limits);
        let faces = ward.faces().await?;
        let ground: Arc<dyn Ground> = Arc::new(ward);
        Ok((ground, faces, Some(Isolated { code, helper })))
    }

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
        let begun = self.env.elapsed();
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
        let ms = u64::try_from((self.env.elapsed() - begun).as_millis()).unwrap_or(u64::MAX);
        tracing::info!(ms, code_bytes = code.len(), "a component was compiled");
        let Some(cache) = self.cache.clone() else { return Ok(code) };
        let env = self.env.clone();
        let storing = self.env.spawn_blocking(move || {
            cache.store(&key, &code, &env);
            code
        });
        storing.await.map_err(|_| Refusal::one("the host ends"))
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

/// Imports and exports by name, before anything is linked.
pub(super) fn names(
    engine: &wasmtime::Engine,
    component: &Component,
) -> Result<Faces, Vec<String>> {
    let types = component.component_type();
    let imports = types.imports(engine).map(|(name, _)| name.to_owned());
    let exports = types.exports(engine).map(|(name, _)| name.to_owned());
    faces::judge(imports.collect(), exports.collect(), wasi::serves)
}

/// Where an isolated adapter runs that is bound to no channel: nowhere.
struct NoGround;

#[async_trait::async_trait]
impl Ground for NoGround {
    async fn run(&self, guest: Guest, _: (Lane, Order), _: &mut StopSignal) -> Ran {
        let fault = Fault::new("no_process", "the adapter is bound to no channel");
        Ran { ended: Ended::NotRun(fault), guest, cpu: Duration::ZERO }
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
