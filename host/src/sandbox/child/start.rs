//! Starting a child: which program, with what, and the two ends of its pipe. What a child says on
//! its way down is kept, a little of it. It knows nothing of what goes over the pipe.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child as Process, ChildStderr, Command};

use crate::env::Env;

/// What is kept of a child's last words.
const LAST_WORDS_BYTES_MAX: usize = 2 << 10;
/// How long the kernel may take to say that a killed child is gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Whether this process's own binary knows the hidden modes.
static OFFERED: AtomicBool = AtomicBool::new(false);

pub(super) fn offer() {
    OFFERED.store(true, Ordering::Relaxed);
}

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Mode {
    /// Compiles one component.
    Compile,
    /// Runs one adapter.
    Serve,
    /// Tries what a guest would try that broke out.
    #[cfg(test)]
    Probe,
}

impl Mode {
    pub(super) const ALL: [Self; 2] = [Self::Compile, Self::Serve];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Serve => "serve",
            #[cfg(test)]
            Self::Probe => "probe",
        }
    }

    /// All that stands in the child's environment.
    fn variables(self) -> Vec<(&'static str, String)> {
        // Rust's own words about a crash, without a trace of addresses.
        let mut variables = vec![("RUST_BACKTRACE", "0".to_owned())];
        match self {
            Self::Compile => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let threads = cores.min(super::compile::THREADS_MAX);
                variables.push(("RAYON_NUM_THREADS", threads.to_string()));
            }
            Self::Serve => {}
            #[cfg(test)]
            Self::Probe => {}
        }
        variables
    }
}

/// The program whose hidden modes are the sandbox's children.
#[derive(Debug, Clone)]
pub struct Helper {
    program: PathBuf,
    arguments: fn(Mode) -> Vec<String>,
    variables: Vec<(&'static str, String)>,
}

impl Helper {
    /// This process's own binary, where it called [`super::child_main`] first; else none. On Linux
    /// by the kernel's link, which leads to the running binary even where an upgrade has replaced
    /// its file.
    #[cfg(not(test))]
    #[must_use]
    pub fn own() -> Option<Self> {
        let link = std::path::Path::new("/proc/self/exe");
        let program = match link.exists() {
            true => link.to_owned(),
            false => std::env::current_exe().ok()?,
        };
        let arguments = |mode: Mode| vec![super::WORD.to_owned(), mode.word().to_owned()];
        let offered = OFFERED.load(Ordering::Relaxed);
        offered.then_some(Self { program, arguments, variables: Vec::new() })
    }

    /// The test binary itself: one of its tests plays the child where it was started as one.
    #[cfg(test)]
    #[must_use]
    pub fn own() -> Option<Self> {
        let arguments = |mode: Mode| {
            let test = format!("sandbox::tests::child::a_child_started_by_a_test_{}s", mode.word());
            ["--exact", &test, "--test-threads=1", "--nocapture"].map(str::to_owned).to_vec()
        };
        let program = PathBuf::from("/proc/self/exe");
        Some(Self { program, arguments, variables: vec![(TEST_VARIABLE, "1".to_owned())] })
    }

    /// The same, with a variable by which a test finds its own children.
    #[cfg(test)]
    pub(in crate::sandbox) fn marked(mut self, mark: String) -> Self {
        self.variables.push(("MARK", mark));
        self
    }

    /// Starts a child. It is killed where what is returned is dropped.
    pub(super) fn start(&self, env: &Env, mode: Mode) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&self.program);
        command
            .arg0("lastword")
            .args((self.arguments)(mode))
            .env_clear()
            .envs(self.variables.clone())
            .envs(mode.variables())
            .current_dir("/")
            // An interrupt at the terminal is the host's to hear: it stops in order.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn()?;
        let stderr = process.stderr.take();
        let child = Child { env: env.clone(), process, stderr };
        Ok((child, UnixStream::from_std(ours)?))
    }
}

/// Set in a test binary that is to play a child.
#[cfg(test)]
pub(in crate::sandbox) const TEST_VARIABLE: &str = "LASTWORD_TEST_CHILD";

/// A running child.
#[derive(Debug)]
pub(super) struct Child {
    env: Env,
    process: Process,
    stderr: Option<ChildStderr>,
}

/// How a child ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: Option<ExitStatus>,
    pub(super) last_words: String,
}

impl Child {
    /// Its process.
    #[cfg(test)]
    pub(super) fn number(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits so long for it to end by itself, then kills it; returns when it is gone.
    pub(super) async fn end(mut self, patience: Duration) -> Ended {
        let mut status = self.env.timeout(patience, self.process.wait()).await.ok();
        if status.is_none() {
            if let Err(error) = self.process.start_kill() {
                tracing::warn!(%error, "a child process of the sandbox could not be killed");
            }
            status = self.env.timeout(GONE_WITHIN, self.process.wait()).await.ok();
        }
        let mut said = Vec::new();
        if let Some(stderr) = self.stderr.take() {
            let mut words = stderr.take(LAST_WORDS_BYTES_MAX as u64);
            // Bounded: somebody else may hold its other end.
            let _ = self.env.timeout(GONE_WITHIN, words.read_to_end(&mut said)).await;
        }
        let last_words = String::from_utf8_lossy(&said).trim().to_owned();
        Ended { status: status.and_then(Result::ok), last_words }
    }
}

/// The child's end of its pipe.
pub(super) fn pipe_to_host() -> io::Result<StdStream> {
    let stdin = io::stdin();
    Ok(StdStream::from(stdin.as_fd().try_clone_to_owned()?))
}
