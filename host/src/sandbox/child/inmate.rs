//! What the child holds for one call: the memory's meter, WASI, and the line to the host, which
//! answers every import. Here is nothing that a guest could be after.

use std::future::Future;

use tokio::sync::mpsc;
use wasmtime::Result;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::frame;
use super::talk::{Answer, Ask, ToHost};
use crate::sandbox::bindings::lastword::channel::{
    blobs, env, http, log, secrets, settings, state, types,
};
use crate::sandbox::guest::{Chance, Meter};
use crate::sandbox::limits::CallLimits;
use crate::sandbox::log_sink::{Level, LogSink};
use crate::sandbox::wasi::{self, Inside, Random};

/// The store's data.
pub(super) struct Inmate {
    line: Line,
    chance: Chance,
    pub(super) log: LogSink,
    pub(super) meter: Meter,
    wasi: WasiCtx,
    table: ResourceTable,
}

/// One call's line to the host.
pub(super) struct Line {
    pub(super) call: u64,
    pub(super) to_host: mpsc::UnboundedSender<Vec<u8>>,
    pub(super) answers: mpsc::Receiver<std::result::Result<Answer, String>>,
}

impl Line {
    /// Asks, and waits. An error is a trap: the host's own words for it.
    async fn ask(&mut self, ask: Ask) -> Result<Answer> {
        let message = frame::encode(&ToHost::Ask { call: self.call, ask })?;
        // Where nobody takes it the host is gone, and so is this process in a moment.
        let _ = self.to_host.send(message);
        match self.answers.recv().await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(words)) => Err(wasmtime::Error::msg(words)),
            None => wasmtime::bail!("the host is gone"),
        }
    }
}

impl Inmate {
    pub(super) fn new(line: Line, chance: Chance, log: LogSink, limits: &CallLimits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resource_handles as usize);
        let wasi = wasi::context(&chance, &log);
        Self { line, chance, log, meter: Meter::new(limits), wasi, table }
    }

    fn ask(&mut self, ask: Ask) -> impl Future<Output = Result<Answer>> + Send {
        self.line.ask(ask)
    }
}

impl WasiView for Inmate {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.meter.wasi_calls = self.meter.wasi_calls.saturating_add(1);
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Inside for Inmate {
    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn random(&mut self) -> Random<'_> {
        Random { chance: &self.chance, meter: &mut self.meter }
    }
}

/// The answer of one kind; only a host of another version gives another.
macro_rules! answered {
    ($ask:expr, $kind:ident) => {
        match $ask.await? {
            Answer::$kind(answer) => Ok(answer),
            _ => wasmtime::bail!("the host answered another question"),
        }
    };
}

impl types::Host for Inmate {}

impl http::Host for Inmate {
    async fn fetch(
        &mut self,
        request: http::Request,
    ) -> Result<std::result::Result<http::Response, http::Error>> {
        answered!(self.ask(Ask::Fetch(request)), Fetched)
    }

    async fn download(
        &mut self,
        request: http::Request,
    ) -> Result<std::result::Result<http::Saved, http::Error>> {
        answered!(self.ask(Ask::Download(request)), Saved)
    }
}

impl blobs::Host for Inmate {
    async fn size(&mut self, blob: String) -> Result<std::result::Result<u64, blobs::Error>> {
        answered!(self.ask(Ask::BlobSize(blob)), Size)
    }

    async fn read(
        &mut self,
        blob: String,
        offset: u64,
        count: u32,
    ) -> Result<std::result::Result<Vec<u8>, blobs::Error>> {
        answered!(self.ask(Ask::BlobRead(blob, offset, count)), Read)
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<std::result::Result<String, blobs::Error>> {
        answered!(self.ask(Ask::BlobWrite(bytes)), Written)
    }
}

impl secrets::Host for Inmate {
    async fn exists(&mut self, slot: String) -> Result<bool> {
        answered!(self.ask(Ask::SecretExists(slot)), Truth)
    }

    async fn sign(
        &mut self,
        slot: String,
        mac: secrets::Mac,
        data: Vec<u8>,
    ) -> Result<Option<Vec<u8>>> {
        answered!(self.ask(Ask::SecretSign(slot, mac, data)), Code)
    }

    async fn verify(
        &mut self,
        slot: String,
        mac: secrets::Mac,
        data: Vec<u8>,
        code: Vec<u8>,
    ) -> Result<bool> {
        answered!(self.ask(Ask::SecretVerify(slot, mac, data, code)), Truth)
    }

    async fn equals(&mut self, slot: String, candidate: Vec<u8>) -> Result<bool> {
        answered!(self.ask(Ask::SecretEquals(slot, candidate)), Truth)
    }
}

impl settings::Host for Inmate {
    async fn get(&mut self, key: String) -> Result<Option<String>> {
        answered!(self.ask(Ask::Setting(key)), Text)
    }

    async fn public_url(&mut self) -> Result<Option<String>> {
        answered!(self.ask(Ask::PublicUrl), Text)
    }
}

impl state::Host for Inmate {
    async fn get(
        &mut self,
        key: String,
    ) -> Result<std::result::Result<Option<Vec<u8>>, state::Error>> {
        answered!(self.ask(Ask::StateGet(key)), Value)
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
    ) -> Result<std::result::Result<(), state::Error>> {
        answered!(self.ask(Ask::StateSet(key, value)), Stored)
    }

    async fn delete(&mut self, key: String) -> Result<std::result::Result<(), state::Error>> {
        answered!(self.ask(Ask::StateDelete(key)), Stored)
    }
}

impl log::Host for Inmate {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> Result<()> {
        self.log.write(Level::from(level), &message, &fields);
        Ok(())
    }
}

impl env::Host for Inmate {
    async fn now_ms(&mut self) -> Result<u64> {
        answered!(self.ask(Ask::NowMs), Number)
    }

    async fn random_bytes(&mut self, count: u32) -> Result<Vec<u8>> {
        answered!(self.ask(Ask::RandomBytes(count)), Bytes)
    }
}
