//! The host's end of the guard: holds its lifeline, and sees to it that it is gone.
//!
//! Letting go of the leash is enough: the lifeline closes and the guard kills its command with all
//! descendants. The rest of this file is for guards that cannot, because somebody stopped or killed
//! them: their group is killed from here.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::env::Env;

/// How long the guard has to end its command before its group is killed from here. Its own rounds
/// take half a second at most.
const GUARD_GRACE: Duration = Duration::from_millis(700);

/// Where a command finds the folder of its try's files.
const FILES_DIR_VARIABLE: &str = "LASTWORD_FILES_DIR";

/// One guard and what it guards.
#[derive(Debug)]
pub(super) struct Leash {
    env: Env,
    lifeline: Option<ChildStdin>,
    /// `None` once it was handed to the task that sees it off.
    guard: Option<Child>,
    group: Option<Pid>,
    status: Option<ExitStatus>,
}

/// What the host reads.
pub(super) struct Streams {
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// What a guard is started with.
pub(super) struct Start<'a> {
    pub(super) guard: &'a Path,
    pub(super) command: &'a [String],
    pub(super) folder: &'a Path,
    pub(super) withheld: &'a [String],
    /// The folder of the try's files.
    pub(super) files_dir: Option<&'a str>,
}

impl Leash {
    /// Starts a guard, leader of a new process group.
    pub(super) fn start(env: &Env, start: &Start<'_>) -> std::io::Result<(Self, Streams)> {
        let mut command = Command::new(start.guard);
        command
            .arg0("lastword")
            .arg("guard")
            .arg("--")
            .args(start.command)
            .current_dir(start.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in start.withheld {
            command.env_remove(OsStr::new(name));
        }
        if let Some(folder) = start.files_dir {
            command.env(FILES_DIR_VARIABLE, folder);
        }
        let mut guard = command.spawn()?;
        let streams = guard.stdout.take().zip(guard.stderr.take());
        let group = guard.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let lifeline = guard.stdin.take();
        let leash = Self { env: env.clone(), lifeline, guard: Some(guard), group, status: None };
        let (stdout, stderr) = streams.ok_or_else(|| std::io::Error::other("no pipes"))?;
        Ok((leash, Streams { stdout, stderr }))
    }

    /// Gives the guard the document. The lifeline stays open.
    pub(super) async fn hand_over(&mut self, document: &[u8]) {
        if let Some(lifeline) = &mut self.lifeline {
            // Where it fails the guard is gone, and the end of its output tells why.
            let _ = lifeline.write_all(document).await;
            let _ = lifeline.flush().await;
        }
    }

    /// Waits for the guard's end, once; afterwards for ever. May be dropped and asked again. Where
    /// the guard was killed by somebody, what it guarded is killed from here.
    pub(super) async fn ended(&mut self) {
        match (&mut self.guard, self.status) {
            (Some(guard), None) => {
                if let Ok(status) = guard.wait().await {
                    self.status = Some(status);
                    if status.code().is_none() {
                        kill_group(self.group);
                    }
                    return;
                }
                std::future::pending().await
            }
            (None, _) | (_, Some(_)) => std::future::pending().await,
        }
    }

    /// Lets go and waits until the guard is gone, and with it all it guarded: a second at most.
    pub(super) async fn let_go(mut self) -> Option<ExitStatus> {
        self.lifeline = None;
        // The guard stays in place while it is waited for: where this future is dropped, `drop`
        // goes on with it.
        if self.status.is_none()
            && let Some(guard) = &mut self.guard
        {
            self.status = see_off(&self.env, guard, self.group).await;
        }
        self.guard = None;
        self.status
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // This alone makes a healthy guard kill its command.
        self.lifeline = None;
        let Some(mut guard) = self.guard.take() else { return };
        if self.status.is_some() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (env, group) = (self.env.clone(), self.group);
        let spawner = env.clone();
        spawner.spawn(async move {
            see_off(&env, &mut guard, group).await;
        });
    }
}

/// Waits for the guard's end; past its grace, or where it was killed, kills its group.
async fn see_off(env: &Env, guard: &mut Child, group: Option<Pid>) -> Option<ExitStatus> {
    let status = match env.timeout(GUARD_GRACE, guard.wait()).await {
        Ok(status) => status.ok(),
        Err(_) => {
            kill_group(group);
            guard.wait().await.ok()
        }
    };
    if status.is_some_and(|status| status.code().is_none()) {
        kill_group(group);
    }
    status
}

/// The number cannot have gone to strangers: it is taken while the group has a member, and where
/// it has none, the guard's end was noticed a moment ago.
fn kill_group(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}
