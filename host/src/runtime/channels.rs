//! Admission and binding of all channels at start. What fails refuses its own channel, with
//! sentences that say what to add; the others start, and nothing that was accepted is lost.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use tracing::{error, info, warn};

use super::adapter::Served;
use super::metrics::CallMeter;
use super::{rules, signed};
use crate::config::{ChannelConfig, Config, Required, Trust};
use crate::env::Env;
use crate::ingress::RefusedChannel;
use crate::lifecycle::id::ChannelName;
use crate::sandbox::{Adapter, BlobStore, Engine, Isolation, Signer, StateSource};

/// Components that are admitted at once: compiling takes all processors as it is.
const ADMISSIONS_AT_ONCE: usize = 2;
/// Channels that are bound at once: each runs a guest's `check` for a moment.
const BINDINGS_AT_ONCE: usize = 8;

/// One channel of the config after start.
pub(super) enum Started {
    Serving(Box<Serving>),
    Refused(RefusedChannel),
}

/// A channel that serves.
pub(super) struct Serving {
    pub(super) config: ChannelConfig,
    pub(super) adapter: Adapter,
    pub(super) served: Arc<Served>,
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

/// Admits every component and binds every channel.
pub(super) async fn start(
    env: &Env,
    config: &Config,
    engine: &Engine,
    component_bytes_max: u64,
    sources: Sources,
    meter: &CallMeter,
) -> StartedChannels {
    let adapters = admit_all(env, config, engine, component_bytes_max).await;
    let adapters = &adapters;
    let bindings = config.channels.values().map(|channel| {
        let sources = sources.clone();
        async move {
            let started = match adapters.get(&(channel.adapter.clone(), rules::isolation(channel)))
            {
                Some(Ok(vetted)) => bind(config, channel, vetted, sources, meter.clone()).await,
                Some(Err(refusal)) => Err(refusal.clone()),
                None => Err(refused("adapter_missing", "its adapter was not looked at")),
            };
            (channel.name.clone(), report(&channel.name, started))
        }
    });
    // In a list first: the compiler proves the borrowing stream not general enough to be spawned.
    let bindings: Vec<_> = bindings.collect();
    stream::iter(bindings).buffer_unordered(BINDINGS_AT_ONCE).collect().await
}

fn report(name: &ChannelName, started: Result<Serving, RefusedChannel>) -> Started {
    match started {
        Ok(serving) => {
            let manifest = serving.adapter.manifest();
            let (adapter, version) = (&manifest.name, &manifest.version);
            let digest = serving.adapter.digest();
            let isolation = serving.adapter.isolation();
            info!(channel = %name, adapter, version, digest, ?isolation, "channel serves");
            for note in &serving.adapter.admitted().notes {
                warn!(channel = %name, adapter, "{note}");
            }
            Started::Serving(Box::new(serving))
        }
        Err(refusal) => {
            error!(channel = %name, code = refusal.code, "channel is refused: {}", refusal.reason);
            Started::Refused(refusal)
        }
    }
}

/// An admitted component, and the publisher whose signature it carries.
#[derive(Clone)]
pub(super) struct Vetted {
    pub(super) adapter: Adapter,
    pub(super) signer: Option<Signer>,
}

type Admitted = BTreeMap<(PathBuf, Isolation), Result<Vetted, RefusedChannel>>;

/// Each file once for each isolation, however many channels use it.
async fn admit_all(env: &Env, config: &Config, engine: &Engine, bytes_max: u64) -> Admitted {
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
        let trust = (&config.trust, required);
        let admitted = admit(env, engine, (file, on), bytes_max, trust).await;
        ((file.to_owned(), on), admitted)
    });
    let admissions: Vec<_> = admissions.collect();
    stream::iter(admissions).buffer_unordered(ADMISSIONS_AT_ONCE).collect().await
}

/// Admits the component of one file.
pub(super) async fn admit(
    env: &Env,
    engine: &Engine,
    (file, on): (&Path, Isolation),
    bytes_max: u64,
    (trust, required): (&Trust, Required),
) -> Result<Vetted, RefusedChannel> {
    let shown = file.display().to_string();
    let path = file.to_owned();
    let read = env.spawn_blocking(move || read_component(&path, bytes_max)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(sentence)) => return Err(refused("adapter_missing", sentence)),
        Err(_) => return Err(refused("adapter_missing", format!("{shown} could not be read"))),
    };
    let signed = signed::read(env, file, &bytes, trust, required).await?;
    let adapter = engine.admit_on(bytes, on).await.map_err(|refusal| {
        refused("adapter_refused", format!("the component {shown} is refused: {refusal}"))
    })?;
    let signer = signed::covers(signed, file, adapter.manifest())?;
    Ok(Vetted { adapter, signer })
}

/// A file is read whole and once: what was checked is what runs.
fn read_component(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        format!(
            "the component {shown} cannot be read: {error}; `adapter` in the config names a \
             .wasm file, relative to the config"
        )
    };
    // A pipe would be waited for, a folder read as nothing.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("the component {shown} is no file"));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("the component {shown} is longer than {bytes_max} bytes"));
    }
    Ok(bytes)
}

async fn bind(
    config: &Config,
    channel: &ChannelConfig,
    Vetted { adapter, signer }: &Vetted,
    sources: Sources,
    meter: CallMeter,
) -> Result<Serving, RefusedChannel> {
    if signer.is_none() && channel.require_signed == Required::Yes {
        let file = signed::beside(&channel.adapter);
        return Err(refused(
            "adapter_unsigned",
            format!(
                "its component must be signed by a publisher that `trust` in the config names, and \
                 there is no {}: put it there, or leave `require_signed` out",
                file.display()
            ),
        ));
    }
    if let Some(Signer(key)) = signer {
        info!(channel = %channel.name, key, "the component is signed by a trusted publisher");
    }
    let spec = rules::channel_spec(config, channel).map_err(|missing| {
        let sentences: Vec<String> = missing.iter().map(ToString::to_string).collect();
        refused("secret_missing", sentences.join("; "))
    })?;
    let limits = spec.limits.clone();
    let bound = adapter.bind(spec, sources.state, sources.files).await;
    let bound = bound.map_err(|refusal| refused("channel_refused", refusal.to_string()))?;
    let served = Arc::new(Served::new(&channel.name, bound, &limits, meter));
    Ok(Serving { config: channel.clone(), adapter: adapter.clone(), served })
}
