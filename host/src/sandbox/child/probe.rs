//! Tries, from inside of a child that is shut in, what a guest that broke out of the engine would
//! try. In tests alone.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

pub(in crate::sandbox) use super::lock::Means;
use super::start::{Helper, Mode, pipe_to_host};
use super::talk::Load;
use super::{frame, lock, serve};
use crate::env::Env;

/// What is tried.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Attempts {
    pub(in crate::sandbox) shut_in_by: Vec<Means>,
    pub(in crate::sandbox) files: Vec<String>,
    pub(in crate::sandbox) port: u16,
    pub(in crate::sandbox) host: i32,
    /// Whether it then hangs, as a guest that broke out may make it hang. Where it is not shut in,
    /// nothing of it looks at the pipe then, and it is bound to its host by the kernel alone.
    pub(in crate::sandbox) hangs: bool,
}

/// What came of it: the attempt, and the error's number where it was refused.
pub(in crate::sandbox) type Findings = Vec<(String, Option<i32>)>;

/// What a child has: names of variables, open descriptors, and the findings.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Found {
    pub(in crate::sandbox) variables: Vec<String>,
    pub(in crate::sandbox) descriptors: Vec<i32>,
    pub(in crate::sandbox) findings: Findings,
}

pub(super) fn child() -> u8 {
    match probe() {
        Ok(()) => 0,
        Err(error) => {
            let _ = io::Write::write_all(&mut io::stderr(), format!("{error}\n").as_bytes());
            1
        }
    }
}

fn probe() -> io::Result<()> {
    lock::close_others()?;
    let mut pipe = pipe_to_host()?;
    let attempts: Attempts = frame::decode(&frame::read(&mut pipe, 1 << 16)?)?;
    if !attempts.shut_in_by.is_empty() {
        let (data_bytes, memory_bytes) = (1 << 30, 64 << 20);
        let load = Load { calls: 1, memory_bytes, data_bytes, shape: [0; 32], host: 0 };
        let mut locked = lock::down(&load, &attempts.shut_in_by);
        if attempts.hangs {
            let pipe = pipe.try_clone()?;
            locked = locked.and_then(|()| serve::follow_the_host(&Env::system(), pipe));
        }
        if attempts.shut_in_by.contains(&Means::Filter) {
            locked = locked.and_then(|()| lock::no_new_code());
        }
        locked.map_err(|faults| io::Error::other(faults.join("; ")))?;
    }
    if attempts.hangs && attempts.shut_in_by.is_empty() {
        lock::bind_to_host()?;
    }
    let variables = std::env::vars().map(|(name, _)| name).collect();
    let found = Found { variables, descriptors: descriptors(), findings: attempt(&attempts) };
    frame::write(&mut pipe, &frame::encode(&found)?)?;
    if attempts.hangs {
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

#[allow(unsafe_code, reason = "whether a number is a descriptor is asked of the number")]
fn descriptors() -> Vec<i32> {
    let is_open = |number: &i32| {
        // SAFETY: nothing is done with it but to ask whether it is open, and nothing is opened or
        // closed meanwhile: this process has one thread.
        let fd = unsafe { BorrowedFd::borrow_raw(*number) };
        rustix::io::fcntl_getfd(fd).is_ok()
    };
    (0..64).filter(is_open).collect()
}

fn attempt(attempts: &Attempts) -> Findings {
    let mut findings = Findings::new();
    let mut note = |what: String, tried: io::Result<()>| {
        let refused = tried.err().map(|error| error.raw_os_error().unwrap_or(-1));
        findings.push((what, refused));
    };
    for file in &attempts.files {
        note(format!("read {file}"), std::fs::read(file).map(drop));
    }
    note("list /".to_owned(), std::fs::read_dir("/").map(drop));
    let new = std::env::temp_dir().join(format!("lastword-probe-{}", std::process::id()));
    note("create a file".to_owned(), std::fs::write(&new, b"x"));
    let _ = std::fs::remove_file(&new);
    let address = ("127.0.0.1", attempts.port);
    note("connect by TCP".to_owned(), std::net::TcpStream::connect(address).map(drop));
    note("bind UDP".to_owned(), std::net::UdpSocket::bind("127.0.0.1:0").map(drop));
    note("listen by TCP".to_owned(), std::net::TcpListener::bind("127.0.0.1:0").map(drop));
    note("make sockets".to_owned(), UnixStream::pair().map(drop));
    let started = Command::new("/bin/true").spawn().and_then(|mut child| child.wait());
    note("start a program".to_owned(), started.map(drop));
    if let Some(host) = Pid::from_raw(attempts.host) {
        let signalled = rustix::process::kill_process(host, Signal::CONT);
        note("signal the host".to_owned(), signalled.map_err(io::Error::from));
    }
    note("trace the host".to_owned(), trace(attempts.host));
    note("have the host killed by a descriptor".to_owned(), own_by(attempts.host));
    note("start a thread".to_owned(), thread());
    let core = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let limited = rustix::process::setrlimit(rustix::process::Resource::Core, core);
    note("set a limit".to_owned(), limited.map_err(io::Error::from));
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let read_write = libc::PROT_READ | libc::PROT_WRITE;
    note("make executable memory".to_owned(), map(libc::PROT_READ | libc::PROT_EXEC, private));
    let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    note("make shared memory".to_owned(), map(read_write, shared));
    let growing = private | libc::MAP_GROWSDOWN;
    note("make a stack that grows".to_owned(), map(read_write, growing));
    note("make memory behind a descriptor".to_owned(), memory_file());
    if !attempts.shut_in_by.is_empty() {
        // Where it is not refused nobody is left to tell.
        note("become a program".to_owned(), Err(Command::new("/bin/true").exec()));
    }
    findings
}

/// Reads the host's memory as a debugger would.
#[allow(unsafe_code, reason = "no safe call traces a process")]
fn trace(host: i32) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: attaching to another process touches no memory of this one; it is let go with the end
    // of this process.
    let attached = unsafe { libc::ptrace(libc::PTRACE_SEIZE, host, none, none) };
    if attached != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks the kernel to signal the host whenever a descriptor of this process is ready.
#[allow(unsafe_code, reason = "no safe call gives a descriptor an owner")]
fn own_by(host: i32) -> io::Result<()> {
    // SAFETY: it changes whom the kernel signals about descriptor 0, and touches no memory.
    let owned = unsafe { libc::fcntl(0, libc::F_SETOWN, host) };
    if owned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn thread() -> io::Result<()> {
    let thread = Env::system().thread("probe", || {})?;
    thread.join().map_err(|_| io::Error::other("it panicked"))
}

/// Memory that lives as long as its descriptor, and counts for no limit of this process.
fn memory_file() -> io::Result<()> {
    let file = rustix::fs::memfd_create("probe", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(file, 4_096).map_err(io::Error::from)
}

#[allow(unsafe_code, reason = "memory is mapped by address")]
fn map(protection: i32, flags: i32) -> io::Result<()> {
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that anybody
    // has; it is given back unread.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4_096, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is the mapping from above, whole, and nothing points into it.
    unsafe { libc::munmap(mapped, 4_096) };
    Ok(())
}

/// Starts a child that looks at nothing, and says its number.
pub(in crate::sandbox) async fn blind() -> io::Result<(u32, impl Sized)> {
    let helper = Helper::own().ok_or_else(|| io::Error::other("no helper"))?;
    let (child, mut pipe) = helper.start(&Env::system(), Mode::Probe)?;
    let (shut_in_by, files) = (Vec::new(), Vec::new());
    let attempts = Attempts { shut_in_by, files, port: 9, host: 0, hangs: true };
    frame::send(&mut pipe, &frame::encode(&attempts)?).await?;
    frame::receive(&mut pipe, 1 << 20).await?;
    let number = child.number().ok_or_else(|| io::Error::other("it ended"))?;
    Ok((number, (child, pipe)))
}

/// Starts a child that tries, hears what came of it, and says by which signal the child ended once
/// the host's end of the pipe was gone.
pub(in crate::sandbox) async fn ask(attempts: &Attempts) -> io::Result<(Found, Option<i32>)> {
    let helper = Helper::own().ok_or_else(|| io::Error::other("no helper"))?;
    let (child, mut pipe) = helper.start(&Env::system(), Mode::Probe)?;
    frame::send(&mut pipe, &frame::encode(attempts)?).await?;
    let heard = frame::receive(&mut pipe, 1 << 20).await;
    drop(pipe);
    let ended = child.end(Duration::from_secs(20)).await;
    let heard = heard.map_err(|error| io::Error::other(format!("{error}; {ended:?}")))?;
    Ok((frame::decode(&heard)?, ended.status.and_then(|status| status.signal())))
}
