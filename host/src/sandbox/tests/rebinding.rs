//! A name whose owner lets it mean another address each time it is looked up.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::sandbox::egress::{Dialer, Resolve};

/// Public at every other look, and private in between; then both at once.
struct Flips {
    looks: AtomicUsize,
}

#[async_trait]
impl Resolve for Flips {
    async fn resolve(&self, _: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let (private, public) = ([127, 0, 0, 1], [203, 0, 114, 1]);
        let at = |ip: [u8; 4]| SocketAddr::from((ip, port));
        Ok(match self.looks.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => vec![at(private)],
            1 => vec![at(public), at(private)],
            _ => vec![at(private), at(public)],
        })
    }
}

#[tokio::test]
async fn a_component_whose_name_flips_between_addresses_reaches_no_private_one() {
    let peer = Peer::start(vec![ok()]).await;
    let flips = Arc::new(Flips { looks: AtomicUsize::new(0) });
    let mut engine = engine();
    let inner = Arc::get_mut(&mut engine.0).expect("nobody else holds a new engine");
    inner.dialer = Dialer::new(Env::system(), Arc::clone(&flips) as Arc<dyn Resolve>).unwrap();
    let adapter = engine.admit_on(guest("rebinds"), isolation()).await.unwrap();
    let settings = json!({ "url": format!("http://rebound.example:{}", peer.port) });
    let mut spec = spec(settings, &["api"]);
    spec.grants.private_targets.clear();
    let channel = adapter.bind(spec, Arc::new(Stored::default()), Arc::new(NoBlobs)).await.unwrap();
    let call = send(&channel, "x").await;
    let CallEnd::Answered(Err(told)) = &call.end else { panic!("{:?}", call.end) };
    let words = format!("{told:?}");
    assert_eq!(words.matches(": denied").count(), 6, "{words}");
    assert!(words.contains("private"), "{words}");
    assert_eq!((peer.connections(), call.usage.bytes_out, call.usage.denied), (0, 0, 6));
    assert!(flips.looks.load(Ordering::Relaxed) >= 6, "each request is checked anew");
}
