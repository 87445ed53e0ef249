//! The child that runs one adapter: loads its compiled code behind the lock, then runs the calls
//! that the host sends, each in a fresh instance. One thread computes for all of them: a guest
//! gives way at every tick, so that they take turns, and the channel never has more than one processor.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use wasmtime::PoolConcurrencyLimitError;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use super::away::AwayLog;
use super::inmate::{Inmate, Line};
use super::start::pipe_to_host;
use super::talk::{Answer, Done, End, Given, Load, Loaded, ToChild, ToHost};
use super::{compile, frame, lock};
use crate::env::Env;
use crate::sandbox::bindings::Host_;
use crate::sandbox::cpu::Metered;
use crate::sandbox::engine::engine_config;
use crate::sandbox::exports::Exports;
use crate::sandbox::faces::Faces;
use crate::sandbox::guest::Chance;
use crate::sandbox::lanes::Lanes;
use crate::sandbox::limits::{CallLimits, EngineConfig};
use crate::sandbox::log_sink::LogSink;
use crate::sandbox::orders::{Order, Said};
use crate::sandbox::stop::{StopHandle, StopSignal, stop_pair};
use crate::sandbox::ticker::Ticker;
use crate::sandbox::{admission, run, wasi};

/// Bytes of the first message.
const LOAD_BYTES_MAX: u32 = 4 << 10;

/// The one adapter of this process.
struct House {
    env: Env,
    ticker: Ticker,
    lanes: Lanes,
    pre: InstancePre<Inmate>,
    exports: Exports,
}

/// The child's side.
pub(super) fn child() -> u8 {
    match serve() {
        Ok(()) => 0,
        Err(error) => {
            // Nobody listens where this fails.
            let _ = io::Write::write_all(&mut io::stderr(), format!("{error}\n").as_bytes());
            1
        }
    }
}

fn serve() -> io::Result<()> {
    lock::close_others()?;
    lock::bind_to_host()?;
    let mut pipe = pipe_to_host()?;
    let load: Load = frame::decode(&frame::read(&mut pipe, LOAD_BYTES_MAX)?)?;
    lock::check_host(load.host)?;
    let code = frame::read(&mut pipe, u32::MAX)?;
    pipe.set_nonblocking(true)?;
    // It opens what it waits with while anything can be opened.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let built = lock::down(&load, &lock::Means::ALL).and_then(|()| {
        let env = Env::system();
        follow_the_host(&env, pipe.try_clone().map_err(|error| vec![error.to_string()])?)?;
        House::build(env, &load, &code)
    });
    drop(code);
    runtime.block_on(async {
        let mut pipe = UnixStream::from_std(pipe)?;
        match built {
            Ok((house, faces)) => {
                frame::send(&mut pipe, &frame::encode(&Loaded::Ready(faces))?).await?;
                attend(&Arc::new(house), pipe).await
            }
            Err(sentences) => {
                frame::send(&mut pipe, &frame::encode(&Loaded::Refused(sentences))?).await
            }
        }
    })
}

/// Dies with the host, also where a guest has brought the one thread to hang.
pub(super) fn follow_the_host(env: &Env, pipe: StdStream) -> Result<(), Vec<String>> {
    let watch = move || {
        loop {
            let mut fds = [PollFd::new(&pipe, PollFlags::empty())];
            let heard = poll(&mut fds, None);
            let gone = fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
            if gone || heard.is_err_and(|error| error != rustix::io::Errno::INTR) {
                let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
            }
        }
    };
    env.thread("host-watch", watch).map(drop).map_err(|error| vec![error.to_string()])
}

impl House {
    fn build(env: Env, load: &Load, code: &[u8]) -> Result<(Self, Faces), Vec<String>> {
        let failed = |error: wasmtime::Error| vec![format!("its process cannot run it: {error:#}")];
        let config = EngineConfig {
            calls_max: load.calls,
            memory_bytes_max: load.memory_bytes,
            ..EngineConfig::default()
        };
        let engine = wasmtime::Engine::new(&engine_config(&config)).map_err(failed)?;
        if compile::shape(&engine) != load.shape {
            let sentence = "its process is of another version than this host; restart the host";
            return Err(vec![sentence.to_owned()]);
        }
        let ticker =
            Ticker::start(&env, engine.clone()).map_err(|error| vec![error.to_string()])?;
        let component = load_hosts(&engine, code)
            .ok_or_else(|| vec!["its compiled code cannot be loaded".to_owned()])?;
        component.initialize_copy_on_write_image().map_err(failed)?;
        // From here on no byte becomes code, and no memory escapes its limit, any more.
        lock::no_new_code()?;
        let faces = admission::names(&engine, &component)?;
        let mut linker = Linker::new(&engine);
        Host_::add_to_linker::<Inmate, HasSelf<Inmate>>(&mut linker, |inmate| inmate)
            .map_err(failed)?;
        wasi::link(&mut linker).map_err(failed)?;
        let refused =
            |error: wasmtime::Error| vec![format!("it does not fit the contract: {error:#}")];
        let pre = linker.instantiate_pre(&component).map_err(refused)?;
        let exports = Exports::find(&pre, faces.offers).map_err(refused)?;
        Ok((Self { env, ticker, lanes: Lanes::new(1), pre, exports }, faces))
    }

    async fn call(
        &self,
        line: Line,
        (order, limits, given): (Order, CallLimits, Given),
        mut stop: StopSignal,
    ) -> Done {
        let chance = match given {
            Given::Running { seed, wall_ms } => Chance::given(seed, wall_ms, &self.env),
            Given::Fixed { now_ms } => Chance::fixed_at(now_ms),
        };
        let log = LogSink::away(AwayLog::new(line.call, line.to_host.clone(), &limits));
        let budget = Duration::from_millis(limits.cpu_ms);
        let inmate = Inmate::new(line, chance, log.clone(), &limits);
        let _running = self.ticker.running();
        let mut store = run::store(self.pre.engine(), inmate, &limits);
        let inside = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            order.run(&mut store, &instance, &self.exports).await
        };
        // One thread computes: turns among the calls of this process are taken by themselves.
        let mut metered = Metered::new(self.env.clone(), self.lanes.lane(), budget, inside);
        let end = tokio::select! {
            biased;
            said = &mut metered => said.map_or(End::CpuSpent, end_of),
            () = stop.stopped() => End::Cancelled,
        };
        let cpu = metered.spent();
        drop(metered);
        let inmate = store.into_data();
        let (log_dropped, log_last) = log.over();
        Done {
            end,
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            memory_peak_bytes: inmate.meter.memory_peak_bytes,
            memory_refused: inmate.meter.memory_refused,
            log_dropped,
            log_last,
        }
    }
}

fn end_of(said: wasmtime::Result<Said>) -> End {
    match said {
        Ok(said) => End::Said(said),
        Err(error) if error.is::<PoolConcurrencyLimitError>() => End::Busy,
        Err(error) => End::Trapped(error.root_cause().to_string()),
    }
}

/// Loads compiled code that the host sent.
#[allow(unsafe_code, reason = "the code was compiled elsewhere, and this process exists to run it")]
fn load_hosts(engine: &wasmtime::Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `deserialize` trusts its bytes to come from the compiler of a compatible engine. They
    // came over this process's one pipe, whose other end is held by the host that started it, and
    // the host sends there what it would load itself: see `admission::load_own`. The engine's shape
    // was compared above.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// A call that runs, as the host's messages reach it.
struct Open {
    answers: mpsc::Sender<Result<Answer, String>>,
    stop: StopHandle,
}

/// Runs what the host sends, until the host is gone.
async fn attend(house: &Arc<House>, pipe: UnixStream) -> io::Result<()> {
    let (mut from, mut to) = pipe.into_split();
    let (to_host, mut outbox) = mpsc::unbounded_channel::<Vec<u8>>();
    house.env.spawn(async move {
        while let Some(message) = outbox.recv().await {
            if frame::send(&mut to, &message).await.is_err() {
                return;
            }
        }
    });
    let mut calls: HashMap<u64, Open> = HashMap::new();
    loop {
        let message = match frame::receive(&mut from, u32::MAX).await {
            Ok(message) => message,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        calls.retain(|_, open| !open.answers.is_closed());
        match frame::decode(&message)? {
            ToChild::Call { call, order, limits, given } => {
                let (answers, heard) = mpsc::channel(1);
                let (stop, signal) = stop_pair();
                calls.insert(call, Open { answers, stop });
                let (house, to_host) = (Arc::clone(house), to_host.clone());
                let env = house.env.clone();
                env.spawn(async move {
                    let line = Line { call, to_host: to_host.clone(), answers: heard };
                    let done = house.call(line, (*order, *limits, given), signal).await;
                    let done = ToHost::Done { call, done: Box::new(done) };
                    if let Ok(message) = frame::encode(&done) {
                        let _ = to_host.send(message);
                    }
                });
            }
            ToChild::Answer { call, answer } => {
                if let Some(open) = calls.get(&call) {
                    // A call asks one thing at a time.
                    let _ = open.answers.try_send(answer);
                }
            }
            ToChild::Cancel { call } => {
                if let Some(open) = calls.get(&call) {
                    open.stop.stop();
                }
            }
        }
    }
}
