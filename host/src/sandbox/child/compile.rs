//! Compilation in a child process: bytes go in, compiled code comes out. Time and memory are the
//! child's, and so is its end: where either is spent, or the host lets go, it is killed.
//!
//! What comes back is loaded as code, and is trusted as far as the compiler is: it came over a pipe
//! that this host made, from a process that this host started of its own binary. A host and a child
//! of two versions, or with other settings, refuse each other.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::net::UnixStream;

use super::start::{Child, Ended, Helper, Mode, pipe_to_host};
use super::{frame, lock};
use crate::env::Env;
use crate::sandbox::engine::code_config;
use crate::sandbox::text::visible;

/// Bytes of compiled code that are taken back: as many as the cache keeps.
const CODE_BYTES_MAX: u32 = 512 << 20;
/// Bytes of an order or of a short answer.
const WORD_BYTES_MAX: u32 = 64 << 10;
/// Bytes of a sentence about a component.
const SENTENCE_BYTES_MAX: usize = 1_024;
/// How long a child that closed its pipe may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(1);
/// Threads of one compilation: beyond it each costs more memory than it saves time.
pub(super) const THREADS_MAX: usize = 4;

/// What one compilation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) struct Caps {
    pub(in crate::sandbox) wall_ms: u64,
    pub(in crate::sandbox) memory_bytes: u64,
}

/// What the host tells the child before the component's bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    memory_bytes: u64,
    cpu_seconds: u64,
    component_bytes: u32,
}

/// What the child says; behind `Compiled` the code comes as a message of its own.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// By an engine of this shape: see [`shape`].
    Compiled([u8; 32]),
    Invalid(String),
}

/// Engine version, target, compiler settings and features as 32 bytes: code fits no other shape.
pub(in crate::sandbox) fn shape(engine: &wasmtime::Engine) -> [u8; 32] {
    struct Into256(Sha256);
    impl std::hash::Hasher for Into256 {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Into256(Sha256::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
    hasher.0.finalize().into()
}

/// Compiles in a child. Where the future is dropped the child is killed.
///
/// # Errors
/// A sentence that says what the component did not keep to.
pub(in crate::sandbox) async fn compile(
    env: &Env,
    helper: &Helper,
    caps: Caps,
    shape: [u8; 32],
    component: &[u8],
) -> Result<Vec<u8>, String> {
    let started = helper.start(env, Mode::Compile);
    let (child, mut pipe) = started
        .map_err(|error| format!("the process that compiles could not be started: {error}"))?;
    let wall = Duration::from_millis(caps.wall_ms);
    match env.timeout(wall, converse(&mut pipe, caps, component)).await {
        Ok(Ok((Answer::Compiled(theirs), code))) if theirs == shape => {
            end(child).await;
            Ok(code)
        }
        Ok(Ok((Answer::Compiled(_), _))) => {
            end(child).await;
            Err("the process that compiles is of another version than this host; restart the \
                 host"
                .to_owned())
        }
        Ok(Ok((Answer::Invalid(why), _))) => {
            let why = visible(&why, SENTENCE_BYTES_MAX);
            end(child).await;
            Err(match ran_out_of_memory(&why) {
                true => out_of_memory(caps),
                false => format!("it cannot be compiled: {why}"),
            })
        }
        Ok(Err(error)) => Err(died(&child.end(PATIENCE).await, caps, &error)),
        Err(_) => {
            child.end(Duration::ZERO).await;
            Err(out_of_time(caps))
        }
    }
}

/// Its work is done.
async fn end(child: Child) {
    child.end(Duration::ZERO).await;
}

async fn converse(
    pipe: &mut UnixStream,
    caps: Caps,
    component: &[u8],
) -> io::Result<(Answer, Vec<u8>)> {
    let order = Order {
        memory_bytes: caps.memory_bytes,
        // The kernel's own stop, should this host be stopped itself; over all threads.
        cpu_seconds: (caps.wall_ms / 1_000 + 1).saturating_mul(THREADS_MAX as u64),
        component_bytes: u32::try_from(component.len()).map_err(io::Error::other)?,
    };
    frame::send(pipe, &frame::encode(&order)?).await?;
    frame::send(pipe, component).await?;
    let answer = frame::decode(&frame::receive(pipe, WORD_BYTES_MAX).await?)?;
    let code = match &answer {
        Answer::Compiled(_) => frame::receive(pipe, CODE_BYTES_MAX).await?,
        Answer::Invalid(_) => Vec::new(),
    };
    Ok((answer, code))
}

fn out_of_time(caps: Caps) -> String {
    format!(
        "it was not compiled within {} ms, and its compilation was stopped; `compile` in [limits] \
         gives more time",
        caps.wall_ms
    )
}

fn out_of_memory(caps: Caps) -> String {
    format!(
        "its compilation needs more than {} bytes of memory, and was stopped; `compile_memory` in \
         [limits] gives more",
        caps.memory_bytes
    )
}

/// As the system, the allocator and the threads of Rust say it.
fn ran_out_of_memory(words: &str) -> bool {
    ["Cannot allocate memory", "os error 12", "memory allocation of", "Resource temporarily"]
        .iter()
        .any(|word| words.contains(word))
}

fn died(ended: &Ended, caps: Caps, error: &io::Error) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = ended.status.and_then(|status| status.signal());
    if signal == Some(Signal::XCPU.as_raw()) {
        return out_of_time(caps);
    }
    if ran_out_of_memory(&ended.last_words) {
        return out_of_memory(caps);
    }
    let how = match (signal, ended.status) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(status)) => format!("{status}"),
        (None, None) => error.to_string(),
    };
    let words = visible(&ended.last_words, SENTENCE_BYTES_MAX);
    format!("it brought the compiler down ({how}): {words}")
}

/// The child's side. Its own words matter only on `stderr`: the host reads how it ended.
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
    // An adapter's process is not started where this cannot be; to compile it is no condition.
    let _ = lock::close_others();
    let mut pipe = pipe_to_host()?;
    let order: Order = frame::decode(&frame::read(&mut pipe, WORD_BYTES_MAX)?)?;
    limit(&order)?;
    let component = frame::read(&mut pipe, order.component_bytes)?;
    // A compiler that its input leads astray is to find nothing that it could reach.
    lock::best_effort();
    follow_the_host(pipe.try_clone()?)?;
    let (answer, code) = precompile(&component);
    frame::write(&mut pipe, &frame::encode(&answer)?)?;
    match answer {
        Answer::Compiled(_) => frame::write(&mut pipe, &code),
        Answer::Invalid(_) => Ok(()),
    }
}

/// The kernel keeps these, whatever the compiler does.
fn limit(order: &Order) -> io::Result<()> {
    // The kernel asks politely first (SIGXCPU), and kills at the second limit.
    let cpu = Rlimit { current: Some(order.cpu_seconds), maximum: Some(order.cpu_seconds + 2) };
    rustix::process::setrlimit(Resource::Cpu, cpu)?;
    // Private writable memory; address space is not memory, and allocators reserve much of it.
    lock::cap(Resource::Data, order.memory_bytes)?;
    // It writes no file, and leaves none behind where it falls.
    lock::cap(Resource::Fsize, 0)?;
    lock::cap(Resource::Core, lock::CORE_BYTES_MAX)
}

/// Dies with the host, also in the middle of the work: the pipe brings nothing more, so that its
/// end is all that there is to read.
fn follow_the_host(mut pipe: StdStream) -> io::Result<()> {
    let watch = move || {
        let _ = io::Read::read(&mut pipe, &mut [0]);
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    };
    Env::system().thread("host-watch", watch).map(drop)
}

fn precompile(component: &[u8]) -> (Answer, Vec<u8>) {
    let compiled = wasmtime::Engine::new(&code_config())
        .and_then(|engine| Ok((shape(&engine), engine.precompile_component(component)?)));
    match compiled {
        Ok((shape, code)) => (Answer::Compiled(shape), code),
        Err(error) => (Answer::Invalid(visible(&format!("{error:#}"), 2_048)), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_dies_when_its_pipe_ends_also_in_the_middle_of_its_work() {
        let env = Env::system();
        let (child, mut pipe) = Helper::own().unwrap().start(&env, Mode::Compile).unwrap();
        let bomb = crate::sandbox::tests::child::bomb(400, 60_000);
        let component_bytes = u32::try_from(bomb.len()).unwrap();
        let order = Order { memory_bytes: 1 << 30, cpu_seconds: 60, component_bytes };
        frame::send(&mut pipe, &frame::encode(&order).unwrap()).await.unwrap();
        frame::send(&mut pipe, &bomb).await.unwrap();
        env.sleep(Duration::from_millis(300)).await;
        // As the kernel does for a host that was killed.
        drop(pipe);
        let begun = env.elapsed();
        let ended = child.end(Duration::from_secs(20)).await;
        assert!(env.elapsed() - begun < Duration::from_secs(10), "{ended:?}");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status.unwrap()), Some(9));
    }

    #[tokio::test]
    async fn a_child_that_crashes_is_told_with_its_last_words() {
        let env = Env::system();
        let (child, pipe) = Helper::own().unwrap().start(&env, Mode::Compile).unwrap();
        // It is told nothing at all, which is no order.
        drop(pipe);
        let caps = Caps { wall_ms: 1_000, memory_bytes: 1 << 30 };
        let ended = child.end(Duration::from_secs(20)).await;
        let sentence = died(&ended, caps, &io::ErrorKind::UnexpectedEof.into());
        assert!(
            sentence.starts_with("it brought the compiler down (exit status: 1)"),
            "{sentence}"
        );
        for (words, part) in [
            ("memory allocation of 123 bytes failed", "bytes of memory, and was stopped"),
            ("thread 'x' panicked at y", "panicked at y"),
        ] {
            let ended = Ended { status: None, last_words: words.to_owned() };
            let sentence = died(&ended, caps, &io::ErrorKind::UnexpectedEof.into());
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
