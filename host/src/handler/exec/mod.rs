//! The `exec` handler: one command per try, the document on its stdin, events on its stdout.
//!
//! The command never runs alone: a guard process holds it (see `guard.rs`). The try is decided by
//! the command's first `final`, `silent` or `fail` line; then it has a few seconds to end by itself,
//! and its exit code is only logged. It knows no claim and no deadline: whoever drops the future,
//! or sets the stop flag, ends the command with all its descendants.

mod leash;
mod stderr;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::sync::mpsc;

use self::leash::{Leash, Start};
use self::stderr::Heard;
use super::decoder::Decoder;
use super::guard::NOT_STARTED_PREFIX;
use super::outlet::Outlet;
use super::{
    Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, HandlerFiles, HandlerLimits, Retry,
};
use crate::env::Env;
use crate::gate::StopHandle;
use crate::lifecycle::id::TurnId;

/// Bytes read from the command at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes kept of the guard's word why the command cannot be started.
const REASON_BYTES_MAX: usize = 4096;

/// Whether text of messages may stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogPayloads {
    #[default]
    No,
    Yes,
}

/// What the `exec` handler is made of.
#[derive(Debug, Clone)]
pub struct ExecSettings {
    /// The program, looked up as shells do, and its arguments.
    pub command: Vec<String>,
    /// Where it runs: the folder of the config file.
    pub folder: PathBuf,
    /// Names of environment variables that the config refers to as secrets: the command does not
    /// get them. It inherits the others.
    pub withheld: Vec<String>,
    /// The program that understands `guard -- COMMAND...`.
    pub guard: PathBuf,
    pub limits: HandlerLimits,
    pub log_payloads: LogPayloads,
}

impl ExecSettings {
    /// The defaults for a command in a folder: this very binary is the guard.
    #[must_use]
    pub fn new(command: Vec<String>, folder: PathBuf) -> Self {
        Self {
            command,
            folder,
            withheld: Vec::new(),
            guard: own_binary(),
            limits: HandlerLimits::default(),
            log_payloads: LogPayloads::No,
        }
    }
}

/// On Linux by the kernel's link, which leads to the running binary even where an upgrade has
/// replaced or removed its file: an old host must not meet a new guard.
fn own_binary() -> PathBuf {
    let link = Path::new("/proc/self/exe");
    if link.exists() {
        return link.to_owned();
    }
    // Where neither is known the start of the guard fails, and says so.
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("lastword"))
}

/// Runs a command per try.
#[derive(Debug)]
pub struct Exec {
    env: Env,
    settings: ExecSettings,
}

impl Exec {
    /// Nothing is started or looked up yet: a command that is missing now may be there at the first
    /// message.
    ///
    /// # Errors
    /// A sentence, where the command is empty.
    pub fn new(env: Env, settings: ExecSettings) -> Result<Self, String> {
        match settings.command.first() {
            Some(program) if !program.is_empty() => Ok(Self { env, settings }),
            _ => Err("the handler's `command` names no program".to_owned()),
        }
    }

    fn start(&self, files_dir: Option<&str>) -> Result<(Leash, leash::Streams), Failure> {
        let settings = &self.settings;
        let start = Start {
            guard: &settings.guard,
            command: &settings.command,
            folder: &settings.folder,
            withheld: &settings.withheld,
            files_dir,
        };
        Leash::start(&self.env, &start).map_err(|error| {
            let folder = settings.folder.display();
            let guard = settings.guard.display();
            let reason = if settings.folder.is_dir() {
                format!("the guard of the handler's command ({guard}) cannot be started: {error}")
            } else {
                format!("the handler's command cannot run in {folder}, which is no folder: {error}")
            };
            Failure::not_started(reason)
        })
    }

    /// Waits for the end of the error output, which comes at once when all that could write is dead.
    async fn heard(&self, mut noise: tokio::task::JoinHandle<Heard>) -> Heard {
        let grace = Duration::from_millis(self.settings.limits.linger_ms);
        match self.env.timeout(grace, &mut noise).await {
            Ok(heard) => heard.unwrap_or_default(),
            Err(_) => {
                noise.abort();
                Heard::default()
            }
        }
    }
}

#[async_trait]
impl Handler for Exec {
    async fn answer(
        &self,
        document: HandlerDocument,
        events: mpsc::Sender<HandlerEvent>,
        stop: StopHandle,
    ) -> HandlerEnd {
        let turn = document.turn.id;
        let files_dir = document.files_dir.clone();
        let Ok(line) = document.to_line() else {
            return HandlerEnd::Failed(Failure::not_started("the document cannot be written"));
        };
        drop(document);
        let (mut leash, streams) = match self.start(files_dir.as_deref()) {
            Ok(started) => started,
            Err(failure) => return HandlerEnd::Failed(failure),
        };
        let (limits, log_payloads) = (self.settings.limits, self.settings.log_payloads);
        let noise = self.env.spawn(stderr::drain(streams.stderr, turn, limits, log_payloads));
        let mut run = Run::new(self.env.clone(), limits, Outlet::new(events), streams.stdout);
        let end = tokio::select! {
            biased;
            _ = stop.stopped() => HandlerEnd::Stopped,
            end = run.follow(&mut leash, &line) => end,
        };
        let status = leash.let_go().await;
        let heard = self.heard(noise).await;
        report(turn, &run, status, heard);
        explain(end, run.outlet.is_decided(), status, heard, log_payloads)
    }

    fn files(&self) -> HandlerFiles {
        HandlerFiles::ByPath
    }
}

/// The reading side of one try.
struct Run {
    env: Env,
    limits: HandlerLimits,
    outlet: Outlet,
    stdout: ChildStdout,
    decoder: Decoder,
    buffer: Vec<u8>,
}

/// What reading came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Bytes,
    End,
}

impl Run {
    fn new(env: Env, limits: HandlerLimits, outlet: Outlet, stdout: ChildStdout) -> Self {
        let decoder = Decoder::new(limits);
        let buffer = Vec::with_capacity(READ_BYTES);
        Self { env, limits, outlet, stdout, decoder, buffer }
    }

    async fn follow(&mut self, leash: &mut Leash, document: &[u8]) -> HandlerEnd {
        leash.hand_over(document).await;
        match self.until_decided(leash).await {
            Err(end) => return end,
            Ok(Read::End) => return HandlerEnd::Ended,
            Ok(Read::Bytes) => {}
        }
        let linger = Duration::from_millis(self.limits.linger_ms);
        let env = self.env.clone();
        // Past it the group is killed, as it is where the command ended by itself.
        let _ = env.timeout(linger, self.drain(leash)).await;
        HandlerEnd::Ended
    }

    /// Gives events on until one of them decides the try, or the stream ends.
    async fn until_decided(&mut self, leash: &mut Leash) -> Result<Read, HandlerEnd> {
        let mut is_first = true;
        loop {
            let read = self.read(leash).await.map_err(HandlerEnd::Failed)?;
            if std::mem::take(&mut is_first) && self.buffer.starts_with(NOT_STARTED_PREFIX) {
                return Err(HandlerEnd::Failed(self.not_started()));
            }
            self.decoder.push(&self.buffer);
            while let Some(result) = self.next(read) {
                let is_last = result.is_err();
                self.outlet.give(result).await?;
                if is_last {
                    break;
                }
            }
            if read == Read::End || self.outlet.is_decided() {
                return Ok(read);
            }
        }
    }

    fn next(&mut self, read: Read) -> Option<Result<HandlerEvent, Failure>> {
        match (self.decoder.next(), read) {
            (None, Read::End) => self.decoder.finish(),
            (next, _) => next,
        }
    }

    /// Reads what comes too late until the command has ended, so that it is not blocked.
    async fn drain(&mut self, leash: &mut Leash) {
        while let Ok(Read::Bytes) = self.read(leash).await {
            let lines = self.buffer.iter().filter(|byte| **byte == b'\n').count();
            self.outlet.refuse(lines as u64);
        }
    }

    /// Reads a piece into the buffer. Whatever the guard's fate, the pipe tells the end.
    async fn read(&mut self, leash: &mut Leash) -> Result<Read, Failure> {
        self.buffer.clear();
        let count = loop {
            tokio::select! {
                biased;
                count = self.stdout.read_buf(&mut self.buffer) => break count,
                () = leash.ended() => {}
            }
        };
        match count {
            Ok(0) => Ok(Read::End),
            Ok(_) => Ok(Read::Bytes),
            Err(error) => {
                let reason = format!("the output of the handler's command broke: {error}");
                Err(Failure::spent(Failure::BROKEN, reason))
            }
        }
    }

    /// The guard's reason comes in one piece: it is shorter than what a pipe takes at once.
    fn not_started(&self) -> Failure {
        let reason = self.buffer.strip_prefix(NOT_STARTED_PREFIX).unwrap_or_default();
        let reason = reason.get(..REASON_BYTES_MAX).unwrap_or(reason);
        let reason = String::from_utf8_lossy(reason.trim_ascii());
        Failure::not_started(super::event::clean_reason(&reason))
    }
}

/// Says how it ended where the try is not decided and the command simply ended.
fn explain(
    end: HandlerEnd,
    is_decided: bool,
    status: Option<ExitStatus>,
    heard: Heard,
    log_payloads: LogPayloads,
) -> HandlerEnd {
    if is_decided || end != HandlerEnd::Ended {
        return end;
    }
    let how = words(status);
    let reason = format!(
        "the handler's command ended ({how}) without a final reply; {}",
        told(heard.lines, log_payloads)
    );
    let retry = match was_stopped(status) {
        true => Retry::Killed,
        false => Retry::Spent { after_ms: None },
    };
    HandlerEnd::Failed(Failure { code: Failure::NO_FINAL, reason, retry })
}

/// What the command wrote to its error output, and where that can be read.
fn told(lines: u64, log_payloads: LogPayloads) -> String {
    let count = match lines {
        0 => return "it wrote nothing to stderr".to_owned(),
        1 => "1 line".to_owned(),
        lines => format!("{lines} lines"),
    };
    match log_payloads {
        LogPayloads::Yes => format!("it wrote {count} to stderr, which the log has"),
        LogPayloads::No => format!(
            "it wrote {count} to stderr, which the log has only where the host is started with \
             LASTWORD_LOG=info,agent=debug"
        ),
    }
}

/// Whether a signal ended the command, by the words of the guard and of shells: 128 and its number.
fn was_stopped(status: Option<ExitStatus>) -> bool {
    let by = |signal: Signal| 128 + signal.as_raw();
    match status.map(|status| status.code()) {
        Some(Some(code)) => {
            [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL].map(by).contains(&code)
        }
        // The guard itself was killed.
        Some(None) => true,
        None => false,
    }
}

fn report(turn: TurnId, run: &Run, status: Option<ExitStatus>, heard: Heard) {
    let (lines, bytes) = (heard.lines, heard.bytes);
    let how = words(status);
    tracing::debug!(%turn, how, stderr_lines = lines, stderr_bytes = bytes, "handler ended");
    let refused = run.outlet.refused();
    if refused > 0 {
        tracing::warn!(%turn, refused, "refused: lines after the one that decided the try");
    }
}

fn words(status: Option<ExitStatus>) -> String {
    match status.map(|status| status.code()) {
        Some(Some(code)) => format!("exit code {code}"),
        Some(None) => "killed".to_owned(),
        None => "its end was not seen".to_owned(),
    }
}
