//! The small WASI 0.2 set that language runtimes link, with nothing behind it: standard streams go
//! to the log, environment and file system are empty, clocks and chance are the host's own. There
//! are no sockets and no HTTP in the linker at all.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::guest::{Chance, Guest, Meter};
use super::log_sink::{Level, LogSink};

/// The interfaces behind which something of the small set stands; versions 0.2.x.
const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
];

/// Bytes of chance that one WASI call gives.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// Whether an import is one of the small set.
pub(super) fn serves(import: &str) -> bool {
    import.split_once('@').is_some_and(|(interface, version)| {
        INTERFACES.contains(&interface) && (version == "0.2" || version.starts_with("0.2."))
    })
}

/// What stands behind the set: a call's data, in the host or in the process of its adapter.
pub(super) trait Inside: WasiView + 'static {
    fn meter(&mut self) -> &mut Meter;
    fn random(&mut self) -> Random<'_>;
}

impl Inside for Guest {
    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn random(&mut self) -> Random<'_> {
        Random { chance: &self.chance, meter: &mut self.meter }
    }
}

/// Puts the set into the linker.
pub(super) fn link<T: Inside>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    // io, clocks, stdin, stdout, stderr and random; the last is then replaced by ours.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    cli::environment::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::exit::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    filesystem::types::add_to_linker::<T, WasiFilesystem>(linker, T::filesystem)?;
    filesystem::preopens::add_to_linker::<T, WasiFilesystem>(linker, T::filesystem)?;
    linker.allow_shadowing(true);
    random::random::add_to_linker::<T, HostRandom>(linker, random_of)?;
    random::insecure::add_to_linker::<T, HostRandom>(linker, random_of)?;
    random::insecure_seed::add_to_linker::<T, HostRandom>(linker, random_of)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A context for one call.
pub(super) fn context(chance: &Chance, log: &LogSink) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder
        .stdout(Lines { log: log.clone(), level: Level::Info })
        .stderr(Lines { log: log.clone(), level: Level::Error })
        .wall_clock(Clock(chance.clone()))
        .monotonic_clock(Clock(chance.clone()));
    builder.build()
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Every function of the set passes here.
        self.meter.wasi_calls = self.meter.wasi_calls.saturating_add(1);
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

struct Clock(Chance);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now_ms())
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Chance from the same source as the contract's `env`.
struct HostRandom;

/// One call's view of it.
pub(super) struct Random<'a> {
    pub(super) chance: &'a Chance,
    pub(super) meter: &'a mut Meter,
}

fn random_of<T: Inside>(inside: &mut T) -> Random<'_> {
    inside.random()
}

impl HasData for HostRandom {
    type Data<'a> = Random<'a>;
}

impl Random<'_> {
    fn bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.meter.wasi_calls = self.meter.wasi_calls.saturating_add(1);
        if len > RANDOM_BYTES_MAX {
            wasmtime::bail!("{len} random bytes were asked for; {RANDOM_BYTES_MAX} is the most");
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        self.chance.fill(&mut bytes);
        Ok(bytes)
    }

    fn u64(&mut self) -> wasmtime::Result<u64> {
        let bytes = self.bytes(8)?;
        Ok(bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }
}

impl random::random::Host for Random<'_> {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.u64()
    }
}

impl random::insecure::Host for Random<'_> {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.u64()
    }
}

impl random::insecure_seed::Host for Random<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.u64()?, self.u64()?))
    }
}

/// A standard stream, cut into log lines.
struct Lines {
    log: LogSink,
    level: Level,
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // WASI 0.2 takes the stream below; nothing writes here.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(LineStream { log: self.log.clone(), level: self.level, line: Vec::new() })
    }
}

/// Bytes of one write, and of a line that has not ended.
const WRITE_BYTES_MAX: usize = 8 << 10;

struct LineStream {
    log: LogSink,
    level: Level,
    line: Vec<u8>,
}

impl LineStream {
    fn end_line(&mut self) {
        if !self.line.is_empty() {
            self.log.write(self.level, &String::from_utf8_lossy(&self.line), &[]);
            self.line.clear();
        }
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        self.end_line();
    }
}

#[async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap("a write was larger than the stream allowed"));
        }
        for byte in bytes {
            if byte == b'\n' || self.line.len() >= WRITE_BYTES_MAX {
                self.end_line();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Runtimes flush in the middle of a line; a line ends where its text does.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}
