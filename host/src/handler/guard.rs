//! The guard process: stands between the host and one handler's command, so that the command and
//! all its descendants die with their turn, and with a host that was killed.
//!
//! The host starts its own binary as `lastword guard -- COMMAND...`, leader of a new process group.
//! Three streams carry everything:
//!
//! - **stdin is the lifeline.** Its first line is the document, which goes on to the command, whose
//!   stdin is then closed. After it nothing comes, and its end is the order to kill: the host closes
//!   it on abort, on deadline and when it drops the handler, and the kernel closes it when the host
//!   was killed. No signal, no timer and no good will of a dying host is needed.
//! - stdout is the command's, handed down.
//! - stderr as well.
//!
//! SIGTERM and SIGINT it outlives: a service manager that tells all processes of the service at once
//! must not take the running command from a host that lets it finish.
//!
//! The guard is a *child subreaper*: a descendant whose parent dies becomes its child, so it cannot
//! be shaken off by forking twice, nor by leaving the group with `setsid`. Killing is repeated until
//! the kernel says that no child is left. Where that cannot be (no /proc, another system than
//! Linux, or descendants that fork faster than they are killed) it kills its own group, itself
//! included. (A parent-death signal was the idea not taken: it fires when the *thread* that started
//! the child ends, and grandchildren do not inherit it.)
//!
//! It knows nothing of turns, events and config; it must stay free of the runtime's threads.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::env::Env;

/// What the guard writes on stdout, before any command ran, where the command cannot be started; a
/// reason and a line feed follow. The NUL keeps a command from writing it by accident.
pub(crate) const NOT_STARTED_PREFIX: &[u8] = b"\0lastword-guard: ";
/// The guard's exit code where the command was never started.
const EXIT_NOT_STARTED: u8 = 125;
/// The guard's exit code where it killed the command; shells use it for SIGKILL.
const EXIT_KILLED: u8 = 137;
/// How long one round of killing waits for the kernel's word that no child is left.
const KILL_ROUND: Duration = Duration::from_millis(20);
/// Rounds of killing before the guard kills its own group: half a second, so that all is over
/// within the second that an abort may take.
const KILL_ROUNDS_MAX: u32 = 25;

/// What the threads tell the main one.
enum News {
    /// The lifeline ended.
    HostGone,
    /// A child ended: the command itself, or a descendant that had lost its parent.
    Reaped(Pid, WaitStatus),
    /// No child is left.
    NoneLeft,
}

/// The guard's entry. `args` are those after the word `guard`: an optional `--`, the command and
/// its arguments. Returns the exit code: the command's own, where it ended by itself.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let mut args = args.into_iter().peekable();
    args.next_if(|arg| arg == "--");
    let Some(program) = args.next() else {
        return not_started("the guard was given no command");
    };
    become_subreaper();
    // Where it cannot be, the guard is as mortal as any process, and still guards.
    let _ = crate::env::outlive_stop_signals();
    let mut command = Command::new(&program);
    let child = match command.args(args).stdin(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = program.to_string_lossy();
            return not_started(&format!("the command \"{program}\" cannot be started: {error}"));
        }
    };
    match watch(child) {
        Ok(code) => code,
        Err(error) => {
            // Without its threads the guard guards nothing: better no command than an unguarded one.
            kill_own_group();
            not_started(&format!("the guard cannot start its threads: {error}"))
        }
    }
}

fn not_started(reason: &str) -> u8 {
    let mut line = NOT_STARTED_PREFIX.to_vec();
    line.extend(reason.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
    line.push(b'\n');
    let mut stdout = std::io::stdout();
    // Nobody listens where this fails.
    let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    EXIT_NOT_STARTED
}

#[cfg(target_os = "linux")]
fn become_subreaper() {
    // Known since Linux 3.4. Where it is refused, killing the own group is what remains.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

#[cfg(not(target_os = "linux"))]
fn become_subreaper() {}

fn watch(mut child: Child) -> std::io::Result<u8> {
    let (news, heard) = sync_channel(16);
    let env = Env::system();
    let stdin = child.stdin.take();
    let (lifeline_env, lifeline_news) = (env.clone(), news.clone());
    env.thread("lifeline", move || follow_lifeline(&lifeline_env, stdin, &lifeline_news))?;
    env.thread("reaper", move || reap(&news))?;
    let main_child = Pid::from_child(&child);
    let code = loop {
        match heard.recv() {
            Ok(News::Reaped(pid, status)) if pid == main_child => {
                // Mostly nothing is left, and then there is no need to look through /proc.
                if !is_over(&heard) {
                    end_all(&heard);
                }
                break exit_code(status);
            }
            Ok(News::Reaped(..)) => {}
            Ok(News::HostGone) => {
                end_all(&heard);
                break EXIT_KILLED;
            }
            Ok(News::NoneLeft) | Err(_) => break EXIT_KILLED,
        }
    };
    Ok(code)
}

/// Hands the document on, then waits for the end of the lifeline.
fn follow_lifeline(env: &Env, to_command: Option<ChildStdin>, news: &SyncSender<News>) {
    let mut lifeline = std::io::stdin().lock();
    let mut to_command = to_command;
    let mut document = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match lifeline.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let Some(pipe) = to_command.take() else { continue };
        let piece = buffer.get(..count).unwrap_or_default();
        document.extend_from_slice(piece);
        if document.ends_with(b"\n") {
            let document = std::mem::take(&mut document);
            // A command that reads nothing must not keep the lifeline from being heard.
            if env.thread("document", move || hand_over(pipe, &document)).is_err() {
                break;
            }
        } else {
            to_command = Some(pipe);
        }
    }
    let _ = news.send(News::HostGone);
}

fn hand_over(mut pipe: ChildStdin, document: &[u8]) {
    // A command may answer without reading; a broken pipe is no fault.
    let _ = pipe.write_all(document);
}

fn reap(news: &SyncSender<News>) {
    loop {
        let told = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => news.send(News::Reaped(pid, status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(_) => {
                let _ = news.send(News::NoneLeft);
                return;
            }
        };
        if told.is_err() {
            return;
        }
    }
}

/// Waits one round for the kernel's word that no child is left.
fn is_over(heard: &Receiver<News>) -> bool {
    loop {
        match heard.recv_timeout(KILL_ROUND) {
            Ok(News::NoneLeft) | Err(RecvTimeoutError::Disconnected) => return true,
            Ok(News::Reaped(..) | News::HostGone) => {}
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// Kills all descendants, and returns when none is left; or kills the guard's group with itself.
fn end_all(heard: &Receiver<News>) {
    for _ in 0..KILL_ROUNDS_MAX {
        let Ok(descendants) = descendants() else { break };
        for pid in descendants {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        if is_over(heard) {
            return;
        }
    }
    kill_own_group();
}

/// Never returns where the guard leads its group. The check keeps a guard that somebody started by
/// hand from killing that person's shell.
fn kill_own_group() {
    let own = rustix::process::getpid();
    if rustix::process::getpgrp() == own {
        let _ = rustix::process::kill_process_group(own, Signal::KILL);
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_KILLED)
}

/// Everything that descends from this process, by the parents that /proc tells.
#[cfg(target_os = "linux")]
fn descendants() -> std::io::Result<Vec<Pid>> {
    let mut by_parent: Vec<(i32, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process that is gone by now has no file, and no need of one.
        let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = parent_of(&stat) {
            by_parent.push((parent, pid));
        }
    }
    let mut found = vec![rustix::process::getpid().as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(by_parent.iter().filter(|(of, _)| *of == parent).map(|(_, pid)| *pid));
        next += 1;
    }
    Ok(found.into_iter().skip(1).filter_map(Pid::from_raw).collect())
}

#[cfg(not(target_os = "linux"))]
fn descendants() -> std::io::Result<Vec<Pid>> {
    Err(std::io::Error::from(std::io::ErrorKind::Unsupported))
}

/// The parent in `PID (NAME) STATE PARENT ...`; the name may hold spaces and brackets.
#[cfg(target_os = "linux")]
fn parent_of(stat: &[u8]) -> Option<i32> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_process_name() {
        assert_eq!(parent_of(b"12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of(b"12 (a) S 1 (b)) R 9 12"), Some(9));
        assert_eq!(parent_of(b"12 \xff"), None);
    }

    #[test]
    fn a_child_of_this_process_is_among_its_descendants() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let found = descendants().unwrap();
        assert!(found.contains(&Pid::from_child(&child)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
