//! Writing a config file: short backoffs and claims, so that what takes minutes in use takes
//! moments here, and a TOML line for whatever a scenario wants otherwise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The `isolation` of every channel of a run of tests; none where each has its own.
pub const ISOLATION_VARIABLE: &str = "LASTWORD_TEST_ISOLATION";

/// A config under construction; values are TOML as they stand in the file.
#[derive(Debug, Clone)]
pub struct Config {
    top: BTreeMap<String, String>,
    sections: BTreeMap<String, BTreeMap<String, String>>,
}

/// One channel under construction.
#[derive(Debug, Clone)]
pub struct Channel {
    name: String,
    lines: Vec<(String, String, String)>,
}

/// Text as TOML. JSON's escapes are among TOML's.
#[must_use]
pub fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

impl Config {
    /// The `echo` handler, a free port, a known token, and short times.
    #[must_use]
    pub fn new() -> Self {
        let mut config = Self { top: BTreeMap::new(), sections: BTreeMap::new() };
        config.top.insert("data_dir".into(), text("data"));
        config.top.insert("listen".into(), text("127.0.0.1:0"));
        config
            .set("handler", "kind", &text("echo"))
            .lifecycle("turn_backoff", "50ms")
            .lifecycle("turn_backoff_max", "500ms")
            .set("lifecycle", "delivery_backoff", r#"["100ms", "300ms", "1s"]"#)
            .lifecycle("claim", "12s")
            .lifecycle("sweep", "1s")
            .lifecycle("grace", "1s")
            .lifecycle("drain", "3s")
            .lifecycle("settle_delay", "200ms")
            .set("limits", "send", &text("5s"))
            .set("limits", "find", &text("5s"))
    }

    /// A top-level line.
    #[must_use]
    pub fn top(mut self, key: &str, toml: &str) -> Self {
        self.top.insert(key.into(), toml.into());
        self
    }

    /// A line of a section.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, toml: &str) -> Self {
        self.sections.entry(section.into()).or_default().insert(key.into(), toml.into());
        self
    }

    /// A text of `[lifecycle]`.
    #[must_use]
    pub fn lifecycle(self, key: &str, value: &str) -> Self {
        self.set("lifecycle", key, &text(value))
    }

    /// An `exec` handler.
    #[must_use]
    pub fn exec(self, command: &[&str]) -> Self {
        let command = serde_json::Value::from(command.to_vec()).to_string();
        self.set("handler", "kind", &text("exec")).set("handler", "command", &command)
    }

    /// An `exec` handler that is a Python script beside the config.
    #[must_use]
    pub fn agent(self, script: &Path) -> Self {
        self.exec(&["python3", &script.display().to_string()])
    }

    /// An `http` handler.
    #[must_use]
    pub fn http(mut self, url: &str) -> Self {
        let handler = self.sections.entry("handler".into()).or_default();
        handler.clear();
        self.set("handler", "kind", &text("http")).set("handler", "url", &text(url))
    }

    /// Workers that fetch turns.
    #[must_use]
    pub fn pull(mut self) -> Self {
        self.sections.entry("handler".into()).or_default().clear();
        self.set("handler", "kind", &text("pull"))
    }

    /// A channel.
    #[must_use]
    pub fn channel(mut self, channel: Channel) -> Self {
        for (section, key, toml) in channel.lines {
            let name = format!("channels.{}{section}", channel.name);
            self = self.set(&name, &key, &toml);
        }
        self
    }

    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.top {
            writeln!(out, "{key} = {value}").unwrap();
        }
        for (section, lines) in &self.sections {
            writeln!(out, "\n[{section}]").unwrap();
            for (key, value) in lines {
                writeln!(out, "{key} = {value}").unwrap();
            }
        }
        out
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Channel {
    /// A channel that uses the component at `adapter`.
    #[must_use]
    pub fn new(name: &str, adapter: &Path) -> Self {
        let lines = vec![(String::new(), "adapter".into(), text(&adapter.display().to_string()))];
        let channel = Self { name: name.into(), lines };
        // A test may be run once more with every channel on the other ground.
        match std::env::var(ISOLATION_VARIABLE) {
            Ok(isolation) => channel.set("", "isolation", &text(&isolation)),
            Err(_) => channel,
        }
    }

    /// The `webhook` adapter, which posts its replies to `callback_url` at a private address.
    #[must_use]
    pub fn webhook(name: &str, callback_url: &str) -> Self {
        Self::new(name, &super::component("webhook"))
            .set(".settings", "callback_url", &text(callback_url))
            .set(".grants", "targets", r#"["callback"]"#)
            .set(".grants", "private_targets", r#"["callback"]"#)
    }

    /// The `script` adapter, which does what its messages tell it, with everything at `origin`.
    #[must_use]
    pub fn script(name: &str, origin: &str) -> Self {
        let targets = r#"["api", "secured", "handed"]"#;
        Self::new(name, &super::component("script"))
            .set(".settings", "url", &text(origin))
            .set(".grants", "targets", targets)
            .set(".grants", "private_targets", targets)
    }

    /// A line of the channel (`""`) or of one of its sections (`".settings"`).
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, toml: &str) -> Self {
        self.lines.push((section.into(), key.into(), toml.into()));
        self
    }
}
