//! The config: one TOML file in, one plain value out, or all that is wrong with it at once.
//!
//! Every setting stands here with its default and its range, every limit with its unit; a key that
//! nobody reads is an error, so that what is accepted acts. It opens no store, loads no component
//! and resolves no secret: [`SecretRef::resolve`] is a step of its own. Relative paths are taken
//! from the folder of the config file.

mod channel;
mod error;
mod grant_edit;
mod handler;
mod host_limits;
mod lifecycle;
mod limits;
mod place;
mod reload;
mod secret;
mod section;
#[cfg(test)]
mod tests;
mod trust;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;
use url::Url;

pub use channel::{ChannelConfig, Grants, Idempotency, Isolation, OnUnknown};
pub(crate) use error::nearest;
pub use error::{ConfigError, ConfigErrors};
pub use grant_edit::with_grants;
pub use handler::{HandlerCaps, HandlerConfig, HandlerKind, PullConfig};
pub use host_limits::HostLimits;
pub use lifecycle::{DeliveryLifecycle, ExpireAction, Lifecycle};
pub use limits::Limits;
pub(crate) use place::Places;
pub use reload::Reload;
pub use secret::{Secret, SecretError, SecretRef};
pub use trust::{Required, Trust};

use crate::lifecycle::id::ChannelName;
use error::{Faults, whole_file};
use section::{Hint, Section};

/// Where the host listens when nothing else is said: not reachable from other machines.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);
const DATA_DIR_DEFAULT: &str = "data";
/// A config is written by hand; a file longer than this is another file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Each has an instance pool, a pager and a place in every list.
const CHANNELS_MAX: usize = 1_000;

/// The whole config of one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Its folder, absolute: what relative paths are relative to, and where an `exec` handler is
    /// started.
    pub folder: PathBuf,
    /// Where the store, the lock and the caches live.
    pub data_dir: PathBuf,
    /// Where the host listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// What platforms call, without a slash at the end.
    pub public_url: Option<String>,
    /// What answers turns.
    pub handler: HandlerConfig,
    /// The token of the API; a random one per start where it is not set.
    pub api_token: Option<SecretRef>,
    /// Tries, times, ages.
    pub lifecycle: Lifecycle,
    /// The limits of what belongs to no channel, as the API.
    pub limits: Limits,
    /// The limits of the whole host.
    pub host_limits: HostLimits,
    /// `trust` and `require_signed`: whose components may serve.
    pub trust: Trust,
    /// How changed adapters are found.
    pub reload: Reload,
    /// `log_payloads`: whether the log may say what messages say.
    pub log_payloads: LogPayloads,
    /// By name, each with the global limits and lifecycle under its own.
    pub channels: BTreeMap<ChannelName, ChannelConfig>,
}

/// Whether the text of messages may stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogPayloads {
    /// Ids only.
    #[default]
    No,
    /// For tracking something down: the log is then as private as the messages.
    Yes,
}

/// Keys of other places that are looked for at the top of the file.
const HINTS: &[Hint] = &[
    ("token", "it belongs in [api]"),
    ("retention", "it belongs in [lifecycle]"),
    ("drain", "it belongs in [lifecycle]"),
    ("dedup_window", "it belongs in [lifecycle]"),
    ("adapter", "it belongs in [channels.NAME]"),
    ("command", "it belongs in [handler]"),
    ("kind", "it belongs in [handler]"),
    ("concurrency", "it belongs in [handler]"),
    ("body", "it belongs in [limits]"),
    ("pending_turns", "it belongs in [limits]"),
    ("schedules", "schedules are made by `lastword schedules add`, while a host runs or not"),
];

impl Config {
    /// Reads and checks a config file.
    ///
    /// # Errors
    /// Everything that is wrong in it, or that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let failed = |sentence: String| ConfigErrors {
            file: path.to_owned(),
            errors: vec![whole_file(sentence)],
        };
        let file = std::fs::File::open(path).map_err(|error| {
            failed(format!("{error}: `lastword init` writes a config to start from"))
        })?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(failed(format!("longer than {FILE_BYTES_MAX} bytes: this is no config")));
        }
        let absolute = std::path::absolute(path)
            .map_err(|error| failed(format!("its folder cannot be found: {error}")))?;
        let folder = absolute.parent().unwrap_or(&absolute);
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, path, folder),
            Err(error) => {
                let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                Err(failed(format!("line {line} holds bytes that are no UTF-8 text")))
            }
        }
    }

    /// Checks the text of a config. `file` is its name in errors, `folder` what its relative paths
    /// are relative to.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(text: &str, file: &Path, folder: &Path) -> Result<Self, ConfigErrors> {
        let (document, syntax) = DeTable::parse_recoverable(text);
        let mut faults = Faults::new(text);
        let config = read(&document, file, folder, &mut faults);
        if !syntax.is_empty() {
            let first = report_syntax(&syntax, text, &mut faults);
            return Err(first.into_errors(file));
        }
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            Some(_) | None => Err(faults.into_errors(file)),
        }
    }
}

/// Reports what is no TOML. What was read before the first such place stands in the right tables,
/// so its faults are kept; behind it everything may be misread, and what is missing may be there.
fn report_syntax<'a>(
    syntax: &[toml::de::Error],
    text: &'a str,
    read: &mut Faults<'a>,
) -> Faults<'a> {
    let mut faults = Faults::new(text);
    let mut first = text.len();
    for error in syntax {
        let span = error.span().unwrap_or(0..0);
        first = first.min(span.start);
        // Of the text only the parser's own words are shown, never a line that may hold a secret.
        faults.add(&span, format!("this is no TOML: {}", error.message()));
    }
    read.keep_before(first);
    faults.append(std::mem::replace(read, Faults::new(text)));
    faults
}

fn read(
    document: &Spanned<DeTable<'_>>,
    file: &Path,
    folder: &Path,
    faults: &mut Faults<'_>,
) -> Option<Config> {
    let mut top = Section::new("", 0..0, document.get_ref());
    let data_dir = read_data_dir(&mut top, folder, faults);
    let listen = read_listen(&mut top, faults);
    let public_url = read_public_url(&mut top, faults);
    let handler = read_handler(&mut top, faults);
    let api_token = read_api_token(&mut top, folder, faults);
    let lifecycle = top.section("lifecycle", faults);
    refuse_heartbeat_of_pull(handler.as_ref(), &lifecycle, faults);
    let lifecycle = Lifecycle::default().read(lifecycle, faults);
    let mut limits = top.section("limits", faults);
    let host_limits = HostLimits::default().read(&mut limits, faults);
    let limits = Limits::default().read(limits, lifecycle.call_most(), faults);
    let reload = Reload::default().read(top.section("reload", faults), faults);
    let log_payloads = match top.truth("log_payloads", faults).map(|found| found.value) {
        Some(true) => LogPayloads::Yes,
        Some(false) | None => LogPayloads::No,
    };
    let trust = Trust::read(&mut top, faults);
    let channels = read_channels(&mut top, folder, (&lifecycle, &limits, &trust), faults);
    top.finish(HINTS, faults);
    Some(Config {
        file: file.to_owned(),
        folder: folder.to_owned(),
        data_dir,
        listen: listen.unwrap_or(LISTEN_DEFAULT),
        public_url,
        handler: handler?,
        api_token,
        lifecycle,
        limits,
        host_limits,
        trust,
        reload,
        log_payloads,
        channels,
    })
}

fn read_data_dir(top: &mut Section<'_>, folder: &Path, faults: &mut Faults<'_>) -> PathBuf {
    let found = top.text("data_dir", faults);
    if let Some(found) = &found
        && (found.value.is_empty() || found.value.contains('\0'))
    {
        faults.add(&found.span, "data_dir must be a folder, such as \"data\"");
    }
    folder.join(found.map_or(DATA_DIR_DEFAULT, |found| found.value))
}

fn read_listen(top: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<SocketAddr> {
    let text = top.text("listen", faults)?;
    // `localhost` is the one name that needs no resolver, and the one that people write.
    let address = match text.value.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.value.to_owned(),
    };
    let found = address.parse().ok();
    if found.is_none() {
        let sentence = "listen must be an address and a port, such as \"127.0.0.1:8787\"; port 0 \
                        picks a free one";
        faults.add(&text.span, sentence);
    }
    found
}

fn read_public_url(top: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = top.text("public_url", faults)?;
    let found = Url::parse(text.value).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if found.is_none() {
        let sentence = "public_url must be the address that platforms call, without query or \
                        password, such as \"https://bot.example\"";
        faults.add(&text.span, sentence);
    }
    found.map(|url| url.as_str().trim_end_matches('/').to_owned())
}

fn read_handler(top: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<HandlerConfig> {
    let present = top.key_span("handler").is_some();
    let section = top.section("handler", faults);
    if !present {
        let sentence = "[handler] is missing: say what answers turns, such as kind = \"exec\" and \
                        command = [\"python3\", \"agent.py\"]";
        faults.add_missing(&(0..0), sentence);
        return None;
    }
    if section.is_present() { handler::read(section, faults) } else { None }
}

/// A lease is how long a pull worker may be silent; a second bound beside it would not act.
fn refuse_heartbeat_of_pull(
    handler: Option<&HandlerConfig>,
    lifecycle: &Section<'_>,
    faults: &mut Faults<'_>,
) {
    let pulled = handler.is_some_and(|it| matches!(it.kind, HandlerKind::Pull(_)));
    if let Some(span) = lifecycle.key_span("heartbeat_timeout").filter(|_| pulled) {
        let sentence = "[lifecycle] heartbeat_timeout does not act with kind = \"pull\", where \
                        `lease` in [handler] bounds the silence: leave it out";
        faults.add(&span, sentence);
    }
}

fn read_api_token(
    top: &mut Section<'_>,
    folder: &Path,
    faults: &mut Faults<'_>,
) -> Option<SecretRef> {
    let mut section = top.section("api", faults);
    let name = section.name("token");
    let token = section
        .text("token", faults)
        .and_then(|text| channel::read_reference(&text, &name, folder, faults));
    section.finish(&[("listen", "it belongs at the top of the file")], faults);
    token
}

fn read_channels(
    top: &mut Section<'_>,
    folder: &Path,
    (lifecycle, limits, trust): (&Lifecycle, &Limits, &Trust),
    faults: &mut Faults<'_>,
) -> BTreeMap<ChannelName, ChannelConfig> {
    let section = top.section("channels", faults);
    let inherited = channel::Inherited {
        folder,
        limits,
        trust,
        delivery: &lifecycle.delivery,
        failure_notice: &lifecycle.failure_notice,
        call_most: lifecycle.call_most(),
    };
    if section.entries().count() > CHANNELS_MAX {
        faults.add(section.span(), format!("more than {CHANNELS_MAX} channels"));
        return BTreeMap::new();
    }
    let read = section.entries().filter_map(|(key, value)| {
        let channel = channel::read(&key, value, &inherited, faults)?;
        Some((channel.name.clone(), channel))
    });
    read.collect()
}

/// Reads a TOML document that is no config: recordings of the conformance suite.
///
/// # Errors
/// The parser's words, with the line.
pub(crate) fn read_document<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}
