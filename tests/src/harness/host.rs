//! A folder with a config, hosts that run in it one after the other, and the command line.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::rows::{OutboxRow, TurnRow};
use super::{Config, Platform, built};

/// How long a host may take to say that it listens. A cold start compiles the components; with
/// the tests of a whole workspace beside it that takes a while.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);
/// Lines of the host's log that a failed test shows.
const LOG_LINES_SHOWN: usize = 80;

/// A folder with a config. Its store outlives the hosts that run in it.
#[derive(Debug)]
pub struct Site {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// A host that listens. Killed when it is dropped.
#[derive(Debug)]
pub struct Host {
    child: Child,
    /// Of the line `listening on`, such as `http://127.0.0.1:40123`.
    pub address: String,
    /// From the start of the process to that line.
    pub ready_after: Duration,
}

/// What a command came to.
#[derive(Debug, Clone)]
pub struct CommandEnd {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    /// A new folder with this config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with_text(&config.to_toml())
    }

    /// A new folder with a config that is written out.
    #[must_use]
    pub fn with_text(config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("lastword-").tempdir().unwrap();
        let site = Self { folder, environment: Vec::new() };
        site.write("lastword.toml", config);
        site
    }

    /// A variable of the host's environment, for secrets.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Changes the config for the next host.
    pub fn configure(&self, config: &Config) {
        self.write("lastword.toml", &config.to_toml());
    }

    /// What all hosts of this folder logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.path().join("host.log")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.program(built::binary().as_os_str(), arguments)
    }

    fn program(&self, program: &OsStr, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.kill_on_drop(true);
        command
    }

    /// Starts `lastword run` without waiting for it. Its log is appended to the folder's.
    #[must_use]
    pub fn spawn(&self) -> Child {
        self.spawn_logged(self.command(&["run"]))
    }

    fn spawn_logged(&self, mut command: Command) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        command.stdout(Stdio::piped()).stderr(log).spawn().unwrap()
    }

    /// Starts a host and waits until it listens.
    pub async fn start(&self) -> Host {
        self.listening(self.spawn()).await
    }

    /// The same through a program that becomes the host, such as a shell that sets limits.
    pub async fn start_as(&self, program: &str, arguments: &[&str]) -> Host {
        self.listening(self.spawn_logged(self.program(program.as_ref(), arguments))).await
    }

    async fn listening(&self, mut child: Child) -> Host {
        let began = Instant::now();
        match ready(&mut child).await {
            Some(address) => Host { child, address, ready_after: began.elapsed() },
            None => {
                let end = child.wait().await;
                panic!("the host ended before it listened: {end:?}\n{}", self.log_tail());
            }
        }
    }

    /// Runs a command to its end, in the folder, on the folder's config.
    pub async fn cli(&self, arguments: &[&str]) -> CommandEnd {
        let output = self.command(arguments).output();
        let output = tokio::time::timeout(COMMAND_WITHIN, output)
            .await
            .unwrap_or_else(|_| panic!("no end within {COMMAND_WITHIN:?}: {arguments:?}"))
            .unwrap();
        CommandEnd {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that has to succeed, and reads its lines of JSON.
    pub async fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Vec<T> {
        let mut all = arguments.to_vec();
        all.push("--json");
        let end = self.cli(&all).await;
        assert_eq!(end.code, 0, "{all:?} failed: {}{}", end.stdout, end.stderr);
        end.lines()
    }

    /// All turns, oldest first.
    pub async fn turns(&self) -> Vec<TurnRow> {
        self.json(&["turns", "list", "--limit", "100000"]).await
    }

    /// All rows of the outbox, oldest first.
    pub async fn outbox(&self) -> Vec<OutboxRow> {
        self.json(&["outbox", "list", "--limit", "100000"]).await
    }

    /// `status --json`.
    pub async fn status(&self) -> Value {
        self.json(&["status"]).await.remove(0)
    }

    /// The rows of one turn, oldest first.
    pub async fn rows_of(&self, turn: &str) -> Vec<OutboxRow> {
        let all = self.outbox().await.into_iter();
        all.filter(|row| row.turn_id.as_deref() == Some(turn)).collect()
    }

    /// The first row that `wanted` takes, once there is one.
    ///
    /// # Panics
    /// Where there is none within the time.
    pub async fn row(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&OutboxRow) -> bool,
    ) -> OutboxRow {
        let wanted = &wanted;
        super::eventually(what, within, || async move {
            self.outbox().await.into_iter().find(|row| wanted(row))
        })
        .await
    }

    /// The turn, once it is in this state.
    ///
    /// # Panics
    /// Where it is not within the time.
    pub async fn turn_in(&self, id: &str, state: &str, within: Duration) -> TurnRow {
        super::eventually(&format!("turn {id} in state {state}"), within, || async move {
            let found = self.turns().await.into_iter().find(|turn| turn.id == id)?;
            (found.state == state).then_some(found)
        })
        .await
    }

    /// The turn, once it is at rest.
    ///
    /// # Panics
    /// Where it is not within the time.
    pub async fn turn_at_rest(&self, id: &str, within: Duration) -> TurnRow {
        super::eventually(&format!("turn {id} at rest"), within, || async move {
            let found = self.turns().await.into_iter().find(|turn| turn.id == id)?;
            at_rest(&found.state).then_some(found)
        })
        .await
    }

    /// The last lines of the log, for a failing test.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the hosts' log ---\n{}", self.log_tail());
        }
    }
}

/// Whether a turn's state is an end.
#[must_use]
pub fn at_rest(state: &str) -> bool {
    match state {
        "queued" | "running" | "delivering" => false,
        "delivered" | "silent" | "failed" | "aborted" | "expired" => true,
        other => panic!("no state of a turn: {other}"),
    }
}

/// Waits for the line that says where the host listens; none where it ended before.
///
/// # Panics
/// Where the first line is another, or the time is over.
pub async fn ready(child: &mut Child) -> Option<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(READY_WITHIN, lines.next_line())
        .await
        .unwrap_or_else(|_| panic!("the host does not listen within {READY_WITHIN:?}"))
        .unwrap()?;
    let address = first
        .strip_prefix("listening on ")
        .unwrap_or_else(|| panic!("the first line is `{first}`, not `listening on ...`"));
    tokio::spawn(drain(lines));
    Some(address.to_owned())
}

/// Reads on, so that a host that writes more never waits for a reader.
async fn drain(mut lines: tokio::io::Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(_)) = lines.next_line().await {}
}

impl Host {
    /// A host out of a process that was started by hand and listens at `address`.
    #[must_use]
    pub fn adopt(child: Child, address: String, ready_after: Duration) -> Self {
        Self { child, address, ready_after }
    }

    /// A platform that posts to one of its channels.
    #[must_use]
    pub fn platform(&self, channel: &str) -> Platform {
        Platform::new(&self.address, channel)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the host was not waited for yet")
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGTERM, and waits for its end.
    pub async fn terminate(self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> ExitStatus {
        tokio::time::timeout(COMMAND_WITHIN, self.child.wait())
            .await
            .expect("a host that was asked to stop stops")
            .unwrap()
    }
}

impl CommandEnd {
    /// The lines of stdout as JSON.
    ///
    /// # Panics
    /// Where a line is something else.
    #[must_use]
    pub fn lines<T: DeserializeOwned>(&self) -> Vec<T> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in: {line}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}
