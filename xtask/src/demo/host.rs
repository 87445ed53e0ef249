//! The real host as a process: started, watched, stopped as planned.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

use super::site::Site;

/// A first start compiles the adapter.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Longer than the host's own `drain`.
const STOP_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A host that listens. Stopped when it is dropped.
pub(super) struct Host {
    child: Mutex<Child>,
    address: String,
}

impl Host {
    /// Starts the host and waits until it says where it listens.
    pub(super) fn start(binary: &Path, site: &Site) -> Result<Self> {
        let log = File::create(site.log()).context("the host's log cannot be written")?;
        let mut child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(site.config())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let stdout = child.stdout.take();
        let mut host = Self { child: Mutex::new(child), address: String::new() };
        let (sender, first) = channel();
        std::thread::spawn(move || {
            let mut lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            if let Some(Ok(line)) = lines.next() {
                let _ = sender.send(line);
            }
            // Read on, so that the host is never blocked by what it may say later.
            lines.for_each(drop);
        });
        let line = first.recv_timeout(READY_WITHIN).unwrap_or_default();
        match line.strip_prefix("listening on ") {
            Some(address) => host.address = address.trim().to_owned(),
            None => {
                drop(host);
                eprintln!("{}", site.log_tail());
                bail!("the host did not come up; its log is {}", site.log().display());
            }
        }
        Ok(host)
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// # Errors
    /// A sentence, where the host has ended.
    pub(super) fn check(&self) -> Result<()> {
        let Ok(mut child) = self.child.lock() else { return Ok(()) };
        match child.try_wait() {
            Ok(Some(status)) => bail!("the host ended by itself, with {status}"),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Stops it as planned. Past its time it is killed, and that is an error.
    pub(super) fn stop(&mut self) -> Result<()> {
        let Ok(child) = self.child.get_mut() else { return Ok(()) };
        if let Ok(None) = child.try_wait()
            && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < STOP_WITHIN {
            match child.try_wait().context("the host cannot be waited for")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the host ended with {status}"),
                None => std::thread::sleep(LOOK_EVERY),
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        bail!("the host did not stop within {} s and was killed", STOP_WITHIN.as_secs());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
