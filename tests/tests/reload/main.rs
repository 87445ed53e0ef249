//! Replacing adapters while the real binary runs: by command, by API, by changed file; refused ones,
//! broken ones, hostile ones; and what a restart knows of it.

#![allow(clippy::disallowed_methods, reason = "tests watch real processes on the real clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]

mod back;
mod files;
mod identity;
mod isolation;
mod orders;
mod pollers;
mod rollback;
mod signed;
mod swaps;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lastword_tests::harness::config::text;
use lastword_tests::harness::{
    Arrival, Channel, CommandEnd, Config, Host, Reply, Sink, Site, changeling, eventually, put,
};
use serde_json::{Value, json};

/// Ten times what it takes on a machine that has nothing else to do.
const SOON: Duration = Duration::from_secs(30);

/// A site with one channel `a`, whose adapter is a file beside the config.
struct Rig {
    sink: Sink,
    site: Site,
}

/// The channel, with everything of the adapter at `origin`.
fn channel(origin: &str) -> Channel {
    channel_of("a", "a.wasm", origin)
}

fn channel_of(name: &str, file: &str, origin: &str) -> Channel {
    Channel::new(name, Path::new(file))
        .set(".settings", "url", &text(origin))
        .set(".grants", "targets", r#"["api"]"#)
        .set(".grants", "private_targets", r#"["api"]"#)
}

/// Only by order: nothing happens by itself.
fn unwatched() -> Config {
    Config::new().set("reload", "watch", "false")
}

/// By changed file, looked for often.
fn watched() -> Config {
    Config::new().set("reload", "watch", &text("100ms"))
}

impl Rig {
    /// With the first version in its place.
    async fn new(config: Config) -> Self {
        Self::of(config, json!({})).await
    }

    async fn of(config: Config, nature: Value) -> Self {
        let sink = Sink::start().await;
        let site = Site::new(&config.channel(channel(sink.origin())));
        let rig = Self { sink, site };
        rig.version("1.0.0", nature);
        rig
    }

    fn place(&self) -> PathBuf {
        self.site.path().join("a.wasm")
    }

    /// Puts a version in the file's place.
    fn version(&self, version: &str, nature: Value) {
        put(&self.place(), &changeling(version, nature));
    }

    async fn reload(&self, more: &[&str]) -> CommandEnd {
        let mut words = vec!["adapter", "reload", "a", "--json"];
        words.extend(more);
        self.site.cli(&words).await
    }

    /// A reload that has to succeed.
    async fn reloaded(&self) -> Value {
        let end = self.reload(&[]).await;
        assert_eq!(end.code, 0, "{}{}", end.stdout, end.stderr);
        end.lines::<Value>().remove(0)
    }

    /// The generations of the channel, as `status` tells them.
    async fn generations(&self) -> Value {
        let status = self.site.status().await;
        status["channels"][0]["generation"].clone()
    }

    async fn version_that_serves(&self) -> String {
        let told = self.generations().await;
        told["current"]["version"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a version serves.
    async fn serves(&self, version: &str) -> Value {
        eventually(&format!("version {version} serves"), SOON, || async {
            let told = self.generations().await;
            (told["current"]["version"] == version).then_some(told)
        })
        .await
    }

    /// What was sent so far.
    fn sent(&self) -> Vec<Arrival> {
        self.sink.arrivals_at("/send")
    }

    /// Says something, and gives the version that sent the reply.
    async fn sent_by(&self, host: &Host, id: &str) -> String {
        let turn = host.platform("a").say(id, id, id).await;
        assert_eq!(self.site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
        let arrivals: Vec<_> = self.sent().into_iter().filter(|it| it.text() == id).collect();
        assert_eq!(arrivals.len(), 1, "sent once: {arrivals:?}");
        arrivals[0].field("generation").to_owned()
    }

    /// What the API asks for.
    fn bearer(&self) -> String {
        let lock = std::fs::read(self.site.path().join("data/host.lock")).unwrap();
        let lock: Value = serde_json::from_slice(&lock).unwrap();
        format!("Bearer {}", lock["token"].as_str().unwrap())
    }

    /// Asks the API.
    async fn post(&self, host: &Host, path: &str, body: &Value) -> Reply {
        let bearer = self.bearer();
        let url = format!("{}{path}", host.address);
        let headers = [("authorization", bearer.as_str())];
        let platform = host.platform("a");
        platform.request(http::Method::POST, &url, &headers, body.to_string()).await.unwrap()
    }
}
