//! From a channel of the config to one that can serve: its component read, held against what ran
//! before, admitted and bound. At start for all channels, later for one that is reloaded. What fails
//! refuses its own channel, with sentences that say what to add; the others start, and nothing that
//! was accepted is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _};
use tracing::{error, info, warn};

use super::generations::book::{Book, Entry};
use super::generations::compare::{Before, Leave, compare};
use super::generations::kept::Kept;
use super::generations::served::RefusedVersion;
use super::generations::source::{self, Component};
use super::{rules, signed};
use crate::config::{ChannelConfig, Config, Required, Trust};
use crate::env::Env;
use crate::ingress::RefusedChannel;
use crate::lifecycle::id::ChannelName;
use crate::sandbox::{
    Adapter, BlobStore, CallLimits, Channel, Engine, Isolation, Signer, StateSource, WeakAdapter,
};

/// Components that are admitted at once: compiling takes all processors as it is.
const ADMISSIONS_AT_ONCE: usize = 2;
/// Channels that are bound at once: each runs a guest's `check` for a moment.
const BINDINGS_AT_ONCE: usize = 8;

/// One channel of the config after start.
pub(super) enum Started {
    Serving(Box<Ready>),
    Refused(RefusedVersion),
}

/// An admitted component, and the publisher whose signature it carries.
#[derive(Clone)]
pub(super) struct Vetted {
    pub(super) adapter: Adapter,
    pub(super) signer: Option<Signer>,
}

/// A channel that serves from the start on.
pub(super) struct Ready {
    pub(super) serving: Serving,
    /// Why the component of the last run serves, and not the one in the file.
    pub(super) instead_of: Option<RefusedVersion>,
}

/// A component that is admitted and bound to a channel.
pub(super) struct Serving {
    pub(super) config: ChannelConfig,
    pub(super) adapter: Adapter,
    pub(super) channel: Channel,
    pub(super) limits: CallLimits,
}

/// All channels of the config, by name.
pub(super) type StartedChannels = BTreeMap<ChannelName, Started>;

pub(super) fn refused(code: &str, reason: impl Into<String>) -> RefusedChannel {
    RefusedChannel { code: code.to_owned(), reason: reason.into() }
}

/// Where guests read what the host keeps for them.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) state: Arc<dyn StateSource>,
    pub(super) files: Arc<dyn BlobStore>,
}

/// What components are admitted and bound with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) env: Env,
    pub(super) engine: Engine,
    pub(super) component_bytes_max: u64,
    pub(super) sources: Sources,
    /// Components that somebody runs: channels of one component share its code.
    known: Arc<Mutex<BTreeMap<(String, Isolation), WeakAdapter>>>,
}

impl Stage {
    pub(super) fn new(env: &Env, engine: &Engine, bytes_max: u64, sources: Sources) -> Self {
        Self {
            env: env.clone(),
            engine: engine.clone(),
            component_bytes_max: bytes_max,
            sources,
            known: Arc::default(),
        }
    }

    /// Reads a component's file.
    pub(super) async fn read(&self, file: &Path) -> Result<Component, RefusedChannel> {
        source::read(&self.env, file, self.component_bytes_max).await
    }

    /// Admits what was read, after its signature; `file` is named where it is refused.
    pub(super) async fn admit(
        &self,
        (file, on): (&Path, Isolation),
        component: &Component,
        (trust, required): (&Trust, Required),
    ) -> Result<Vetted, RefusedChannel> {
        let signed = signed::verify(file, component, trust, required)?;
        let adapter = self.adapter((file, on), component).await?;
        let signer = signed::covers(signed, file, adapter.manifest())?;
        Ok(Vetted { adapter, signer })
    }

    async fn adapter(
        &self,
        (file, on): (&Path, Isolation),
        component: &Component,
    ) -> Result<Adapter, RefusedChannel> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (component.digest.clone(), on);
        if let Some(adapter) = known().get(&key).and_then(WeakAdapter::upgrade) {
            return Ok(adapter);
        }
        let adapter = admit_bytes(&self.engine, (file, on), component.bytes.clone()).await?;
        let mut known = known();
        known.retain(|_, adapter| adapter.upgrade().is_some());
        known.insert(key, adapter.downgrade());
        Ok(adapter)
    }

    /// Holds an admitted component against what ran before, and binds it.
    pub(super) async fn bind(
        &self,
        config: &Config,
        channel: &ChannelConfig,
        Vetted { adapter, signer }: &Vetted,
        before: Option<&Before>,
        leave: Leave,
    ) -> Result<Serving, RefusedChannel> {
        if signer.is_none() && channel.require_signed == Required::Yes {
            return Err(unsigned(channel));
        }
        if let Some(Signer(key)) = signer {
            info!(channel = %channel.name, key, "the component is signed by a trusted publisher");
        }
        if let Some(before) = before {
            compare(before, channel, (adapter.manifest(), adapter.digest()), leave)?;
        }
        let spec = rules::channel_spec(config, channel).map_err(|missing| {
            let sentences: Vec<String> = missing.iter().map(ToString::to_string).collect();
            refused("secret_missing", sentences.join("; "))
        })?;
        let limits = spec.limits.clone();
        let Sources { state, files } = self.sources.clone();
        let bound = adapter.bind(spec, state, files).await;
        let bound = bound.map_err(|refusal| refused("channel_refused", refusal.to_string()))?;
        Ok(Serving { config: channel.clone(), adapter: adapter.clone(), channel: bound, limits })
    }
}

fn unsigned(channel: &ChannelConfig) -> RefusedChannel {
    let file = signed::beside(&channel.adapter);
    refused(
        "adapter_unsigned",
        format!(
            "its component must be signed by a publisher that `trust` in the config names, and \
             there is no {}: put it there, or leave `require_signed` out",
            file.display()
        ),
    )
}

/// Whether these are the bytes that the operator means.
pub(super) fn verify(channel: &ChannelConfig, digest: &str) -> Result<(), RefusedChannel> {
    match &channel.sha256 {
        Some(pinned) if *pinned != digest => Err(refused(
            "adapter_pinned",
            format!(
                "the component {} has the digest {digest}, and the config pins {pinned}: put the pinned \
                 one in its place, or change `sha256` in [channels.{}]",
                channel.adapter.display(),
                channel.name
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Bytes that were gone back from do not serve again by themselves.
pub(super) fn taken_back(name: &ChannelName) -> RefusedChannel {
    refused(
        super::generations::ROLLED_BACK,
        format!(
            "these bytes served, were taken back, and are not tried again by themselves: put a \
             mended version in their place, or `lastword adapter reload {name}` tries them once more"
        ),
    )
}

/// The file holds other bytes than those that the operator has looked at.
pub(super) fn changed(channel: &ChannelConfig, digest: &str) -> RefusedChannel {
    let (name, file) = (&channel.name, channel.adapter.display());
    refused(
        "adapter_changed",
        format!(
            "the file {file} holds {digest} by now, which is not what was asked for: look at it \
             (`lastword adapter inspect {file}`), then `lastword adapter reload {name} --sha256 \
             {digest}`"
        ),
    )
}

/// What is known of the last run.
pub(super) struct LastRun<'a> {
    pub(super) book: &'a Book,
    /// Where components are kept that serve; none where nothing is to be written.
    pub(super) kept: Option<&'a Kept>,
}

/// Admits every component and binds every channel.
pub(super) async fn start(stage: &Stage, config: &Config, last: LastRun<'_>) -> StartedChannels {
    let adapters = admit_all(stage, config, last.kept).await;
    let (adapters, last) = (&adapters, &last);
    let bindings = config.channels.values().map(|channel| async move {
        let started = match adapters.get(&(channel.adapter.clone(), rules::isolation(channel))) {
            Some(found) => start_one(stage, config, channel, found, last).await,
            None => {
                let why = refused("adapter_missing", "its adapter was not looked at");
                Err(refused_version(stage, None, why, None))
            }
        };
        (channel.name.clone(), report(&channel.name, started))
    });
    // In a list first: the compiler proves the borrowing stream not general enough to be spawned.
    let bindings: Vec<_> = bindings.collect();
    stream::iter(bindings).buffer_unordered(BINDINGS_AT_ONCE).collect().await
}

fn report(name: &ChannelName, started: Result<Ready, RefusedVersion>) -> Started {
    match started {
        Ok(ready) => {
            let Serving { adapter, .. } = &ready.serving;
            let manifest = adapter.manifest();
            let (version, digest) = (&manifest.version, adapter.digest());
            let isolation = adapter.isolation();
            info!(
                channel = %name, adapter = manifest.name, version, digest, ?isolation, "channel serves"
            );
            for note in &adapter.admitted().notes {
                warn!(channel = %name, adapter = manifest.name, "{note}");
            }
            if let Some(why) = &ready.instead_of {
                warn!(
                    channel = %name, code = why.code,
                    "the component of the last run serves, not the one in the file: {}", why.reason
                );
            }
            Started::Serving(Box::new(ready))
        }
        Err(refusal) => {
            error!(channel = %name, code = refusal.code, "channel is refused: {}", refusal.reason);
            Started::Refused(refusal)
        }
    }
}

/// A component of the config: its digest, where it could be read, and what came of it.
struct Found {
    digest: Option<String>,
    admitted: Result<Vetted, RefusedChannel>,
}

type FoundAll = BTreeMap<(PathBuf, Isolation), Found>;

/// Each file once for each isolation, however many channels use it.
async fn admit_all(stage: &Stage, config: &Config, kept: Option<&Kept>) -> FoundAll {
    let channels = config.channels.values();
    let mut files: Vec<_> =
        channels.map(|it| (it.adapter.as_path(), rules::isolation(it))).collect();
    files.sort_unstable();
    files.dedup();
    let admissions = files.into_iter().map(|(file, on)| async move {
        let mut channels = config.channels.values().filter(|channel| channel.adapter == *file);
        // Where nobody would take it unsigned, an unsigned one is not even compiled.
        let all = channels.all(|channel| channel.require_signed == Required::Yes);
        let required = if all { Required::Yes } else { Required::No };
        let found = find(stage, (file, on), kept, (&config.trust, required)).await;
        ((file.to_owned(), on), found)
    });
    let admissions: Vec<_> = admissions.collect();
    stream::iter(admissions).buffer_unordered(ADMISSIONS_AT_ONCE).collect().await
}

async fn find(
    stage: &Stage,
    (file, on): (&Path, Isolation),
    kept: Option<&Kept>,
    signed: (&Trust, Required),
) -> Found {
    let component = match stage.read(file).await {
        Ok(component) => component,
        Err(refusal) => return Found { digest: None, admitted: Err(refusal) },
    };
    let digest = Some(component.digest.clone());
    let admitted = stage.admit((file, on), &component, signed).await;
    if let (Ok(_), Some(kept)) = (&admitted, kept) {
        kept.put(component).await;
    }
    Found { digest, admitted }
}

/// The component in the file, or, where that one is refused, the one of the last run.
async fn start_one(
    stage: &Stage,
    config: &Config,
    channel: &ChannelConfig,
    found: &Found,
    last: &LastRun<'_>,
) -> Result<Ready, RefusedVersion> {
    let entry = last.book.of(&channel.name);
    let entry = entry.as_ref();
    let fresh = start_fresh(stage, config, channel, found, entry).await;
    let refusal = match fresh {
        Ok(serving) => return Ok(Ready { serving, instead_of: None }),
        Err(refusal) => refusal,
    };
    let again = match (entry, last.kept) {
        (Some(entry), Some(kept))
            if entry.file == channel.adapter && found.digest.as_ref() != Some(&entry.sha256) =>
        {
            bind_kept(stage, (config, channel), (kept, &entry.sha256), None).await.ok()
        }
        _ => None,
    };
    let refusal = refused_version(stage, found.digest.clone(), refusal, entry);
    match again {
        Some(serving) => Ok(Ready { serving, instead_of: Some(refusal) }),
        None => Err(refusal),
    }
}

/// What stood refused before this start stands since then.
fn refused_version(
    stage: &Stage,
    digest: Option<String>,
    RefusedChannel { code, reason }: RefusedChannel,
    entry: Option<&Entry>,
) -> RefusedVersion {
    let standing = entry.and_then(|entry| entry.refused.as_ref());
    match standing.filter(|it| it.code == code && it.digest == digest) {
        // How it broke is known from the time when it did.
        Some(standing) if code == super::generations::ROLLED_BACK => standing.clone(),
        Some(standing) => RefusedVersion { at_ms: standing.at_ms, digest, code, reason },
        None => RefusedVersion { at_ms: stage.env.now().wall_ms, digest, code, reason },
    }
}

async fn start_fresh(
    stage: &Stage,
    config: &Config,
    channel: &ChannelConfig,
    found: &Found,
    entry: Option<&Entry>,
) -> Result<Serving, RefusedChannel> {
    let vetted = found.admitted.as_ref().map_err(Clone::clone)?;
    let digest = vetted.adapter.digest();
    verify(channel, digest)?;
    if entry.and_then(|entry| entry.taken_back.as_deref()) == Some(digest) {
        return Err(taken_back(&channel.name));
    }
    let before = entry.filter(|entry| entry.sha256 != digest).map(Before::of_entry);
    stage.bind(config, channel, vetted, before.as_ref(), Leave::default()).await
}

/// A component that ran before, from its copy. It is held to the config as it is now like any other:
/// that it once ran allows it nothing.
pub(super) async fn bind_kept(
    stage: &Stage,
    (config, channel): (&Config, &ChannelConfig),
    (kept, digest): (&Kept, &str),
    before: Option<&Before>,
) -> Result<Serving, RefusedChannel> {
    let component = kept.get(digest, stage.component_bytes_max).ok_or_else(|| {
        let short = digest.get(..12).unwrap_or(digest);
        refused("adapter_missing", format!("no copy of the component {short} is left in data_dir"))
    })?;
    verify(channel, &component.digest)?;
    let signed = (&config.trust, channel.require_signed);
    let (copy, on) = (kept.path(digest), rules::isolation(channel));
    let vetted = stage.admit((&copy, on), &component, signed).await?;
    // It was approved of when it came, and is the lower version by its nature.
    let leave = Leave { downgrade: true, more: true };
    stage.bind(config, channel, &vetted, before, leave).await
}

/// Admits the component of one file.
pub(super) async fn admit(
    env: &Env,
    engine: &Engine,
    (file, on): (&Path, Isolation),
    bytes_max: u64,
    (trust, required): (&Trust, Required),
) -> Result<Vetted, RefusedChannel> {
    let component = source::read(env, file, bytes_max).await?;
    let signed = signed::verify(file, &component, trust, required)?;
    let adapter = admit_bytes(engine, (file, on), component.bytes).await?;
    let signer = signed::covers(signed, file, adapter.manifest())?;
    Ok(Vetted { adapter, signer })
}

async fn admit_bytes(
    engine: &Engine,
    (file, on): (&Path, Isolation),
    bytes: Vec<u8>,
) -> Result<Adapter, RefusedChannel> {
    engine.admit_on(bytes, on).await.map_err(|refusal| {
        let sentence = format!("the component {} is refused: {refusal}", file.display());
        refused("adapter_refused", sentence)
    })
}
