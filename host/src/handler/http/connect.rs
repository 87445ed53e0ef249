//! One connection to the operator's handler, plain or TLS.
//!
//! A connection per try: none is kept, so none can be stale, and dropping the try closes it. The
//! address is the operator's own, so private ones are fine; the policy of adapters' egress is not
//! meant for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::env::Env;

/// Name lookup, connect and TLS handshake together.
const CONNECT_MAX: Duration = Duration::from_millis(crate::handler::START_MS_MAX);

/// What both kinds of connection can do.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where to connect to.
#[derive(Clone)]
pub(super) struct Endpoint {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Endpoint {
    /// # Errors
    /// A sentence, where the address is none of http or https.
    pub(super) fn new(url: &Url, roots: RootCertStore) -> Result<Self, String> {
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err("the handler's `url` names no host".to_owned()),
        };
        let port = url.port_or_known_default().ok_or("the handler's `url` names no port")?;
        let tls = match url.scheme() {
            "http" => None,
            "https" => Some(tls(&host, roots)?),
            _ => return Err("the handler's `url` must begin with http:// or https://".to_owned()),
        };
        Ok(Self { host, port, tls })
    }

    /// Connects, within ten seconds.
    ///
    /// # Errors
    /// Half a sentence, without the address.
    pub(super) async fn connect(&self, env: &Env) -> Result<Box<dyn Stream>, String> {
        match env.timeout(CONNECT_MAX, self.connect_unbounded()).await {
            Ok(result) => result,
            Err(_) => Err(format!("no connection within {} s", CONNECT_MAX.as_secs())),
        }
    }

    async fn connect_unbounded(&self) -> Result<Box<dyn Stream>, String> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(|error| error.to_string())?;
        // A request is one write, and its answer may come in small lines.
        let _ = tcp.set_nodelay(true);
        let Some((connector, name)) = &self.tls else { return Ok(Box::new(tcp)) };
        match connector.connect(name.clone(), tcp).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(format!("TLS failed: {error}")),
        }
    }
}

/// The roots that browsers trust.
pub(super) fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn tls(host: &str, roots: RootCertStore) -> Result<(TlsConnector, ServerName<'static>), String> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| "the host in the handler's `url` is no name for TLS".to_owned())?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

    // For this test alone: self-signed for `localhost`, valid from 2020 to 2099.
    const CERT: &[u8] = include_bytes!("test-tls/localhost.cert.der");
    const KEY: &[u8] = include_bytes!("test-tls/localhost.key.der");

    /// A TLS server that says "hello" to whoever trusts it; gives its address.
    async fn server() -> (Url, tokio::task::JoinHandle<()>) {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(CERT)],
                PrivatePkcs8KeyDer::from(KEY).into(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = Env::system().spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await {
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        (Url::parse(&format!("https://localhost:{port}/")).unwrap(), task)
    }

    #[tokio::test]
    async fn a_server_whose_root_is_trusted_is_spoken_to_by_tls() {
        let (url, _server) = server().await;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(CERT)).unwrap();
        let endpoint = Endpoint::new(&url, roots).unwrap();
        let mut stream = endpoint.connect(&Env::system()).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello");
    }

    #[tokio::test]
    async fn a_server_that_nobody_vouches_for_is_refused() {
        let (url, _server) = server().await;
        let endpoint = Endpoint::new(&url, public_roots()).unwrap();
        let error = endpoint.connect(&Env::system()).await.err().unwrap();
        assert!(error.contains("TLS failed"), "{error}");
    }
}
