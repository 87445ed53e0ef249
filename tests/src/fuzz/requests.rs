//! Requests to a whole host in this process: webhooks go through the real component in its sandbox,
//! the API to the store. Every request is answered, in the host's own form, and what is wrong in it
//! is the sender's fault: never a trap, never a panic, never a 500.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use lastword::config::Config;
use lastword::env::Env;
use lastword::runtime::Host;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::harness::config::text;
use crate::harness::{Channel, Platform, Reply};

/// A host is given up after so many inputs, and its store with it.
const INPUTS_PER_HOST: u32 = 20_000;
const TOKEN: &str = "fuzz";
const CLAIM_WITHIN: Duration = Duration::from_millis(200);

/// Webhook paths, by the first byte of an input.
const HOOKS: [&str; 4] = ["messages", "events", "abort", "?kind=x"];

/// Paths of the API with their method, by the first byte. `*` is filled from the input's first line.
const PATHS: [(&str, &str); 25] = [
    ("POST", "messages"),
    ("POST", "import"),
    ("POST", "replay"),
    ("POST", "outbox/resolve"),
    ("POST", "purge"),
    ("POST", "abort"),
    ("POST", "schedules"),
    ("POST", "schedules/*/change"),
    ("POST", "schedules/*/pause"),
    ("POST", "schedules/*/resume"),
    ("POST", "schedules/*/cancel"),
    ("POST", "turns/claim"),
    ("POST", "turns/*/heartbeat"),
    ("POST", "turns/*/events"),
    ("POST", "turns/*/complete"),
    ("POST", "channels/*/pause"),
    ("POST", "channels/*/resume"),
    ("POST", "outbox/*/resolve"),
    ("POST", "replay/*"),
    ("GET", "turns?*"),
    ("GET", "outbox?*"),
    ("GET", "turns/*"),
    ("GET", "outbox/*"),
    ("GET", "schedules/*"),
    ("GET", "*"),
];

/// Panics of the whole process: those of the host's tasks are caught there and answered with a 503.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// A host and how it is asked.
pub(super) struct Requests {
    runtime: Runtime,
    ask: Ask,
    running: Option<Running>,
}

#[derive(Clone, Copy)]
enum Ask {
    Hooks,
    Api,
}

struct Running {
    host: Host,
    platform: Platform,
    inputs: u32,
    _folder: TempDir,
}

impl Requests {
    pub(super) fn of_webhooks() -> Box<Self> {
        Self::new(Ask::Hooks)
    }

    pub(super) fn of_the_api() -> Box<Self> {
        Self::new(Ask::Api)
    }

    fn new(ask: Ask) -> Box<Self> {
        static LISTEN: Once = Once::new();
        LISTEN.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                PANICS.fetch_add(1, Ordering::SeqCst);
                before(panic);
            }));
        });
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        Box::new(Self { runtime, ask, running: None })
    }

    pub(super) fn take(&mut self, input: &[u8]) {
        let Some((first, rest)) = input.split_first() else { return };
        let Self { runtime, ask, running } = self;
        runtime.block_on(async {
            if running.as_ref().is_none_or(|running| running.inputs >= INPUTS_PER_HOST) {
                if let Some(Running { host, .. }) = running.take() {
                    host.stop().await;
                }
                *running = Some(start().await);
            }
            let Some(running) = running else { return };
            running.inputs += 1;
            match ask {
                Ask::Hooks => running.hook(usize::from(*first), rest).await,
                Ask::Api => running.api(usize::from(*first), rest).await,
            }
        });
        assert_eq!(PANICS.swap(0, Ordering::SeqCst), 0, "a task of the host panicked");
    }
}

/// In memory where the system has such a place: what is looked for here is no fault of the disk.
async fn start() -> Running {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let hook = Channel::webhook("hook", "http://127.0.0.1:9/");
    let config = crate::harness::Config::new().pull().channel(hook);
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let config = config.set("api", "token", &text("file:token")).to_toml();
    let config = Config::parse(&config, Path::new("lastword.toml"), folder.path()).unwrap();
    let host = Host::start(&config, Env::system(), None).await.unwrap();
    let platform = Platform::new(&format!("http://{}", host.address()), "hook");
    Running { host, platform, inputs: 0, _folder: folder }
}

impl Running {
    async fn hook(&self, path: usize, body: &[u8]) {
        let path = HOOKS[path % HOOKS.len()];
        let reply = self.platform.post_bytes(path, body.to_vec()).await;
        let reply = reply.unwrap_or_else(|error| panic!("no answer: {}", error.0));
        assert!(
            matches!(reply.status, 200..=299 | 400..=499),
            "a webhook was answered {}: {}",
            reply.status,
            reply.text()
        );
    }

    async fn api(&self, path: usize, input: &[u8]) {
        let (method, form) = PATHS[path % PATHS.len()];
        let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let (word, body) = match form.contains('*') {
            true => (&input[..end], input.get(end + 1..).unwrap_or_default()),
            false => (&input[..0], input),
        };
        let url = format!("http://{}/v1/{}", self.host.address(), form.replace('*', &shown(word)));
        let method = if method == "GET" { Method::GET } else { Method::POST };
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "k1"),
            ("lastword-token", "t1"),
        ];
        if url.parse::<http::Uri>().is_err() {
            return;
        }
        let asked = self.platform.request(method, &url, &headers, body.to_vec());
        let reply = match form {
            // A claim waits for as long as it asks for.
            "turns/claim" => match tokio::time::timeout(CLAIM_WITHIN, asked).await {
                Ok(reply) => reply,
                Err(_) => return,
            },
            _ => asked.await,
        };
        hold(form, &reply.unwrap_or_else(|error| panic!("no answer: {}", error.0)));
    }
}

/// The status is one of the face's, and a refusal says why.
fn hold(form: &str, reply: &Reply) {
    match reply.status {
        200 | 201 | 204 => {}
        400 | 404 | 405 | 409 | 413 | 422 | 429 => {
            let error = &reply.json()["error"];
            let told = |name: &str| error[name].as_str().is_some_and(|word| !word.is_empty());
            assert!(told("code") && told("sentence"), "{form}: {}", reply.text());
        }
        status => panic!("{form} was answered {status}: {}", reply.text()),
    }
}

/// What may stand in a path or a query, the rest with its percent signs.
fn shown(word: &[u8]) -> String {
    let shown = word.iter().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(*byte).to_string(),
        b'%' | b'&' | b'=' | b'+' | b',' | b'.' | b'-' | b'_' | b'~' | b'/' | b'?' | b':' => {
            char::from(*byte).to_string()
        }
        other => format!("%{other:02x}"),
    });
    shown.collect()
}
