//! From a name to a connection: resolve, check every address, dial only what was checked. The
//! pooled connection stays with the address it was checked for. It knows no requests.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::address::{Reach, Standing, allowed, standing};
use super::budget::DayBudget;
use super::connection::{Connection, Stream, left};
use super::origin::{Authority, Scheme};
use crate::env::Env;
use crate::lifecycle::id::ChannelName;

/// Addresses of one name that are tried.
const ADDRESSES_TRIED_MAX: usize = 4;
/// Names that are looked up at once for one channel. A lookup holds a blocking thread until the
/// system gives it up, whoever still waits for it: threads that the store needs too.
const LOOKUPS_MAX: usize = 4;

/// Who turns names into addresses.
#[async_trait]
pub(in crate::sandbox) trait Resolve: Send + Sync {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
pub(in crate::sandbox) struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Opens connections for every channel of the host.
#[derive(Clone)]
pub(in crate::sandbox) struct Dialer {
    env: Env,
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
    /// By channel, of which the config has a bounded number: kept here, where a channel that is bound
    /// anew finds what it sent before, and what it still looks up.
    dues: Arc<Mutex<BTreeMap<ChannelName, Dues>>>,
    /// Where a test plays every platform, without TLS and whatever its address.
    stage: Option<SocketAddr>,
}

/// What all that a channel asks for has together, under whatever adapter. Cheap to clone.
#[derive(Clone)]
pub(super) struct Dues {
    /// What it sent within the last 24 hours.
    pub(super) day: Arc<DayBudget>,
    lookups: Arc<Semaphore>,
}

impl Default for Dues {
    fn default() -> Self {
        Self { day: Arc::default(), lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

/// Why there is no connection; no byte of a request left in any case.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoConnection {
    /// The address is not allowed, whoever asks again.
    Denied(Refused),
    Failed(String),
}

/// What was wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The grant `private_targets` would allow it.
    NeedsPrivateGrant,
    Never,
}

impl Dialer {
    /// A dialer that trusts the roots that browsers trust.
    pub(in crate::sandbox) fn new(env: Env, resolver: Arc<dyn Resolve>) -> Result<Self, String> {
        let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { env, resolver, tls, dues: Arc::default(), stage: None })
    }

    /// Leads every connection to one address, where a test plays all platforms.
    pub(in crate::sandbox) fn staged(self, stage: SocketAddr) -> Self {
        Self { stage: Some(stage), ..self }
    }

    /// What the channel has, whatever was bound for it before.
    pub(super) fn dues(&self, channel: &ChannelName) -> Dues {
        let mut dues = self.dues.lock().unwrap_or_else(PoisonError::into_inner);
        dues.entry(channel.clone()).or_default().clone()
    }

    /// Opens a connection within `wait`.
    pub(super) async fn dial(
        &self,
        dues: &Dues,
        authority: &Authority,
        reach: Reach,
        wait: Duration,
    ) -> Result<Connection, NoConnection> {
        let deadline = self.env.elapsed() + wait;
        let late = |_| NoConnection::Failed("no connection came about in time".to_owned());
        self.env
            .timeout(wait, self.connect(dues, authority, reach, deadline))
            .await
            .map_err(late)?
    }

    async fn connect(
        &self,
        dues: &Dues,
        authority: &Authority,
        reach: Reach,
        deadline: Duration,
    ) -> Result<Connection, NoConnection> {
        let addresses = match self.stage {
            Some(stage) => vec![stage],
            None => self.checked_addresses(dues, authority, reach).await?,
        };
        let tried = addresses.len().min(ADDRESSES_TRIED_MAX);
        let mut last = "the name has no address".to_owned();
        for (place, address) in addresses.into_iter().take(tried).enumerate() {
            // The last one gets all that is left, an earlier one leaves a fair share.
            let share = left(&self.env, deadline) / u32::try_from(tried - place).unwrap_or(1);
            match self.env.timeout(share, self.open(authority, address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => last = "the address does not answer".to_owned(),
            }
        }
        Err(NoConnection::Failed(last))
    }

    /// One address that is not allowed refuses the whole name: an answer that mixes public and
    /// private ones is an attack or a mistake, and both want to be seen.
    async fn checked_addresses(
        &self,
        dues: &Dues,
        authority: &Authority,
        reach: Reach,
    ) -> Result<Vec<SocketAddr>, NoConnection> {
        let addresses = match authority.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, authority.port)],
            Err(_) => self
                .resolved(dues, authority)
                .await
                .ok_or_else(|| NoConnection::Failed("the name cannot be resolved".to_owned()))?,
        };
        for address in &addresses {
            if !allowed(address.ip(), reach) {
                tracing::debug!(host = %authority.host, address = %address.ip(), "address refused");
                return Err(NoConnection::Denied(match standing(address.ip()) {
                    Standing::Private => Refused::NeedsPrivateGrant,
                    Standing::Never | Standing::Public => Refused::Never,
                }));
            }
        }
        Ok(addresses)
    }

    /// The lookup holds its place until it is over, also where its call waits for it no more.
    async fn resolved(&self, dues: &Dues, authority: &Authority) -> Option<Vec<SocketAddr>> {
        let place = Arc::clone(&dues.lookups).acquire_owned().await.ok()?;
        let (resolver, host) = (Arc::clone(&self.resolver), authority.host.clone());
        let port = authority.port;
        let lookup = self.env.spawn(async move {
            let found = resolver.resolve(&host, port).await;
            drop(place);
            found
        });
        lookup.await.ok()?.ok()
    }

    async fn open(&self, authority: &Authority, address: SocketAddr) -> Result<Connection, String> {
        let tcp = TcpStream::connect(address).await;
        let tcp = tcp.map_err(|error| format!("it cannot be connected to: {}", error.kind()))?;
        // Without it a small request may wait for an acknowledgement.
        let _ = tcp.set_nodelay(true);
        let stream = match (authority.scheme, self.stage) {
            (Scheme::Http, _) | (Scheme::Https, Some(_)) => Stream::Plain(tcp),
            (Scheme::Https, None) => {
                let name = ServerName::try_from(authority.host.clone());
                let name = name.map_err(|_| "its host is no name for TLS".to_owned())?;
                let tls = self.tls.connect(name, tcp).await;
                Stream::Tls(Box::new(tls.map_err(|error| format!("TLS failed: {error}"))?))
            }
        };
        Connection::open(stream).await
    }
}
