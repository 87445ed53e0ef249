//! The way out against real sockets: what left, what was answered, what was refused before.

mod audit;
mod bounds;
mod exchange;
mod files;
mod keeping;
pub(in crate::sandbox) mod peer;
mod policy;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::dial::{Dialer, Resolve};
use super::fetch::{Egress, OneCall, Sends};
use super::wire::Wire;
use super::{Address, BoundTarget, EgressAnswer, EgressError, EgressRequest, EgressSaved, Reach};
use crate::env::Env;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::outcome::Ledger;
use crate::sandbox::blobs::{CallFiles, FileRoom};
use crate::sandbox::guard::Guard;
use crate::sandbox::limits::CallLimits;
use crate::sandbox::manifest::{
    Credential, Effect, Idempotency, Injection, Limits, Manifest, Offers, Origin, Placement, Route,
    SecretEncoding, SecretSlot, SecretUses, Target,
};
use crate::sandbox::secrets::{SecretMap, Vault};
use crate::sandbox::tests::kept::Kept;

const TOKEN: &str = "tok/en+s3cret=";

/// Gives the same addresses for every name, a new list each time it is asked.
struct Names(std::sync::Mutex<Vec<Vec<IpAddr>>>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut answers = self.0.lock().unwrap();
        let now = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Ok(now.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

fn route(method: &str, path: &str, effect: Effect) -> Route {
    Route { method: method.into(), path: path.into(), effect }
}

fn inject(place: Placement, text: &str) -> Injection {
    Injection { place, credential: Credential::Text(text.into()) }
}

/// A target `api` with one route of each effect, and whatever a test adds.
fn target(origin: Origin) -> Target {
    let routes = vec![
        route("GET", "/read/**", Effect::Read),
        route("POST", "/prepare", Effect::Prepare),
        route("POST", "/send", Effect::Send),
        route("PUT", "/rooms/*/send", Effect::Send),
    ];
    Target { id: "api".into(), origin, routes, inject: Vec::new() }
}

fn manifest(target: Target) -> Manifest {
    let uses = SecretUses { inject: true, ..SecretUses::default() };
    let slot = |name: &str| SecretSlot {
        name: name.into(),
        purpose: "signs in".into(),
        required: false,
        encoding: SecretEncoding::Text,
        prefix: None,
        uses,
    };
    Manifest {
        name: "test".into(),
        version: "1.0.0".into(),
        summary: String::new(),
        targets: vec![target],
        secrets: vec![slot("token"), slot("empty")],
        settings_schema: Value::Object(Map::new()),
        limits: Limits::default(),
        idempotency: Idempotency::None,
        offers: Offers::default(),
    }
}

fn vault() -> Vault {
    let mut secrets = SecretMap::new();
    secrets.insert("token", vec![Zeroizing::new(TOKEN.to_owned())]);
    Vault::bind(&manifest(target(Origin::Fixed("http://x".into()))), &secrets, "c").0
}

fn bound(target: &Target, reach: Reach) -> Result<BoundTarget, Vec<String>> {
    BoundTarget::bind(target, reach, &Map::new(), &vault())
}

/// One channel's way out to one target, and one call's wire.
struct Out {
    env: Env,
    egress: Egress,
    wire: Wire,
    files: CallFiles,
}

impl Out {
    fn new(target: &Target, reach: Reach, limits: CallLimits) -> Self {
        Self::resolving(target, reach, limits, vec![vec![IpAddr::from([127, 0, 0, 1])]])
    }

    fn resolving(
        target: &Target,
        reach: Reach,
        limits: CallLimits,
        names: Vec<Vec<IpAddr>>,
    ) -> Self {
        Self::with(target, reach, limits, (names, Kept::default()))
    }

    /// With files.
    fn keeping(target: &Target, reach: Reach, limits: CallLimits, kept: Kept) -> Self {
        let names = vec![vec![IpAddr::from([127, 0, 0, 1])]];
        Self::with(target, reach, limits, (names, kept))
    }

    fn with(
        target: &Target,
        reach: Reach,
        limits: CallLimits,
        (names, kept): (Vec<Vec<IpAddr>>, Kept),
    ) -> Self {
        let env = Env::system();
        let vault = vault();
        let bound = bound(target, reach).unwrap();
        let guard = Guard::new(vault.values().chain(bound.credentials()), vault.names()).unwrap();
        let dialer = Dialer::new(env.clone(), Arc::new(Names(names.into()))).unwrap();
        let targets = BTreeMap::from([(target.id.clone(), bound)]);
        let channel = ChannelName::from("c");
        let room =
            FileRoom { env: env.clone(), channel, guard: Arc::new(guard), store: Arc::new(kept) };
        let egress = Egress::new(env.clone(), Arc::new(room), targets, dialer, limits);
        Self { env, egress, wire: Wire::default(), files: CallFiles::default() }
    }

    /// To a server of this test.
    fn to(port: u16) -> Self {
        let origin = Origin::Fixed(format!("http://127.0.0.1:{port}"));
        Self::new(&target(origin), Reach::PrivateToo, quick())
    }

    async fn fetch(&mut self, request: EgressRequest) -> Result<EgressAnswer, EgressError> {
        self.fetch_within(request, Duration::from_secs(10)).await
    }

    async fn fetch_within(
        &mut self,
        request: EgressRequest,
        left: Duration,
    ) -> Result<EgressAnswer, EgressError> {
        let call = one_call(&self.env, &mut self.wire, &mut self.files, left);
        self.egress.fetch(call, request).await
    }

    async fn download(&mut self, request: EgressRequest) -> Result<EgressSaved, EgressError> {
        let left = Duration::from_secs(10);
        let call = one_call(&self.env, &mut self.wire, &mut self.files, left);
        self.egress.download(call, request).await
    }

    fn ledger(&self) -> Ledger {
        self.wire.ledger(true)
    }

    /// begun, answered, accepted, others.
    fn counts(&self) -> (u32, u32, u32, u32) {
        let ledger = self.ledger();
        (ledger.send_begun, ledger.send_answered, ledger.send_accepted, ledger.other_begun)
    }
}

fn one_call<'a>(
    env: &Env,
    wire: &'a mut Wire,
    files: &'a mut CallFiles,
    left: Duration,
) -> OneCall<'a> {
    OneCall { wire, files, sends: Sends::Allowed, deadline: env.elapsed() + left }
}

fn quick() -> CallLimits {
    CallLimits { connect_ms: 2_000, send_requests: 8, ..CallLimits::default() }
}

fn request(method: &str, path: &[&str]) -> EgressRequest {
    EgressRequest {
        target: "api".into(),
        method: method.into(),
        address: Address::Path(path.iter().map(|s| (*s).to_owned()).collect()),
        ..EgressRequest::default()
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn send() -> EgressRequest {
    request("POST", &["send"])
}
