//! Shuts a child in, before it takes any code: no file, no network, no other process, no more
//! memory than its due. Each means is demanded; where the kernel lacks one, the child is refused
//! with a sentence, and nothing runs.
//!
//! - Descriptors: all but the pipe, the sink of its output and its last words are closed.
//! - Limits: memory, descriptors, file sizes, no core dump.
//! - Landlock: every right over files and TCP that the kernel knows is taken, whatever the path.
//! - seccomp: of the system calls only those stand that computing, waiting and the pipe need. All
//!   others fail with `EPERM`: `open`, `socket`, `connect`, `execve`, `ptrace`, `bpf`, `mount`, ...
//! - Once the code is loaded, no more memory becomes executable, no thread is started any more, and
//!   no memory can be had that its limit does not count.
//! - The kernel kills it with its host, and first of all where memory runs out.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, Signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

use super::talk::Load;

/// Descriptors: those of the pipe and of waiting, and memory that stands behind an image.
const FILES_MAX: u64 = 256;

/// Not nothing: the kernel gives images to the program of its `core_pattern` whatever their limit, but
/// for this one, by which it means none (`fs/coredump.c`).
pub(super) const CORE_BYTES_MAX: u64 = 1;
/// What the kernel counts for a process that is to be killed first where memory runs out.
const OOM_SCORE_MAX: &str = "1000";

type Faults = Vec<String>;

/// Closes whatever this process was left with: the pipe, output and last words are 0, 1 and 2.
#[allow(unsafe_code, reason = "descriptors that nobody here owns can be closed in no other way")]
pub(super) fn close_others() -> io::Result<()> {
    let (first, last) = (3_u32, u32::MAX);
    // SAFETY: closing a descriptor is unsound where something in this process still owns it. This
    // is the first thing that a child does: nothing was opened yet, so that every descriptor from 3 on
    // was inherited by accident, and no value of this process stands for it.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) };
    if closed == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let sentence =
        format!("inherited descriptors cannot be closed, which needs Linux 5.9 or later: {error}");
    Err(io::Error::other(sentence))
}

/// Has the kernel kill this process with its host, whatever a guest makes of it, and before others
/// where the machine's memory runs out.
///
/// The kernel means the *thread* that started it. That is a worker of the host's runtime, or the
/// thread that runs the whole of it: children are started by tasks, and those threads end with the
/// runtime.
pub(super) fn bind_to_host() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Not every system shows this to its processes.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_MAX);
    Ok(())
}

/// Whether the host lives: it may have died before [`bind_to_host`].
pub(super) fn check_host(host: u32) -> io::Result<()> {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if parent == Some(host) { Ok(()) } else { Err(io::Error::other("its host is gone")) }
}

/// What a child is shut in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) enum Means {
    Limits,
    Landlock,
    Filter,
}

impl Means {
    /// An adapter's process is never shut in by less.
    pub(in crate::sandbox) const ALL: [Self; 3] = [Self::Limits, Self::Landlock, Self::Filter];
}

/// Shuts this process in.
///
/// # Errors
/// What the kernel lacks.
pub(super) fn down(load: &Load, by: &[Means]) -> Result<(), Faults> {
    by.iter().try_for_each(|means| match means {
        Means::Limits => limit(load)
            .map_err(|error| vec![format!("limits cannot be set for its process: {error}")]),
        Means::Landlock => landlock(),
        Means::Filter => filter(),
    })
}

/// Keeps this process from everything that is not computing and its pipe, as far as the kernel has
/// the means: for a child that no stranger's code is meant to run in.
pub(super) fn best_effort() {
    // One may be there without the other, and none is relied on.
    let _ = landlock();
    let _ = filter();
}

fn filter() -> Result<(), Faults> {
    let failed = |error: &dyn std::fmt::Display| {
        vec![format!("the kernel offers no seccomp filter for its process: {error}")]
    };
    for program in [allowed_calls(), no_clone3()] {
        let program = program.map_err(|error| failed(&error))?;
        seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Holds this process to so much of a resource, for good.
pub(super) fn cap(resource: Resource, most: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(resource, limit).map_err(io::Error::from)
}

fn limit(load: &Load) -> io::Result<()> {
    cap(Resource::Data, load.data_bytes)?;
    cap(Resource::Nofile, FILES_MAX)?;
    // No file can be opened; this is for the memory behind images, which is a file to the kernel.
    cap(Resource::Fsize, load.memory_bytes.max(1 << 20))?;
    cap(Resource::Core, CORE_BYTES_MAX)
}

fn landlock() -> Result<(), Faults> {
    let made = || -> Result<RulesetCreated, RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))?
            // And whatever newer kernels know beyond that.
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))?
            .handle_access(AccessNet::from_all(ABI::V4))?
            .scope(Scope::from_all(ABI::V6))?
            .create()
    };
    let status = made().and_then(RulesetCreated::restrict_self);
    let lacking = "Landlock is not to be had: it needs Linux 5.13 or later, with `landlock` among \
                   the modules of the kernel's parameter `lsm`";
    match status {
        Ok(status) if status.no_new_privs && status.ruleset != RulesetStatus::NotEnforced => Ok(()),
        Ok(_) => Err(vec![lacking.to_owned()]),
        Err(RulesetError::HandleAccesses(_)) => Err(vec![lacking.to_owned()]),
        Err(error) => Err(vec![format!("{lacking} ({error})")]),
    }
}

fn arch() -> Result<TargetArch, seccompiler::BackendError> {
    TargetArch::try_from(std::env::consts::ARCH)
}

type Rules = Result<Vec<SeccompRule>, seccompiler::BackendError>;

/// A call that matches only with this argument.
fn when(argument: u8, length: SeccompCmpArgLen, op: SeccompCmpOp, value: u64) -> Rules {
    Ok(vec![SeccompRule::new(vec![SeccompCondition::new(argument, length, op, value)?])?])
}

/// Calls that stand whatever their arguments.
const STANDING: &[i64] = &[
    // The pipe, and what waits for it.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_shutdown,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Memory. Images of memories stand behind a descriptor that leads nowhere.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    // Threads and waiting.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_membarrier,
    // Traps of guests are signals to their own thread.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Chance, and the end.
    libc::SYS_getrandom,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The last filter, which is set once the code is loaded, takes this away too.
    libc::SYS_seccomp,
    // The second filter answers it with `ENOSYS`.
    libc::SYS_clone3,
];

/// All that stands; everything else is `EPERM`.
fn allowed_calls() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in STANDING {
        rules.insert(*call, Vec::new());
    }
    // What descriptors are opened with, and copies of them. Never whom the kernel signals when one
    // is ready: `F_SETOWN` and `F_SETSIG` would have it kill the host.
    let mut descriptors = Vec::new();
    for command in [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_ADD_SEALS,
        libc::F_GET_SEALS,
    ] {
        let command = u64::from(command.cast_unsigned());
        descriptors.extend(when(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, command)?);
    }
    rules.insert(libc::SYS_fcntl, descriptors);
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    let masked = SeccompCmpOp::MaskedEq(thread);
    rules.insert(libc::SYS_clone, when(0, SeccompCmpArgLen::Qword, masked, thread)?);
    // Signals to itself alone: an abort, and the order to die.
    let own = u64::from(std::process::id());
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, when(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own)?);
    }
    // Reading a limit, never setting one.
    rules.insert(libc::SYS_prlimit64, when(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?);
    // Names of threads and of memory; "no new privileges", which the next filter asks for again.
    let mut named = Vec::new();
    for name in [libc::PR_SET_NAME, libc::PR_SET_VMA, libc::PR_SET_NO_NEW_PRIVS] {
        let name = u64::from(name.cast_unsigned());
        named.extend(when(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, name)?);
    }
    rules.insert(libc::SYS_prctl, named);
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch()?)?.try_into()
}

/// `clone3` hides its flags from filters. It is told to be unknown, so that the C library makes its
/// threads with `clone`, whose flags are seen.
fn no_clone3() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch()?)?.try_into()
}

/// From here on no memory becomes executable and no thread is started: all that this process needs
/// are there. Nor is there any more memory that the limit of data does not count: shared, behind a
/// descriptor, or a stack that grows.
///
/// # Errors
/// As [`down`].
pub(super) fn no_new_code() -> Result<(), Faults> {
    let applied = no_more_code_nor_uncounted_memory()
        .map_err(seccompiler::Error::from)
        .and_then(|program| seccompiler::apply_filter_all_threads(&program));
    applied.map_err(|error| vec![format!("the kernel offers no seccomp filter: {error}")])
}

fn no_more_code_nor_uncounted_memory() -> Result<BpfProgram, seccompiler::BackendError> {
    let executable = u64::from(libc::PROT_EXEC.cast_unsigned());
    let refused_whole =
        [libc::SYS_clone, libc::SYS_memfd_create, libc::SYS_ftruncate, libc::SYS_seccomp];
    let mut rules = BTreeMap::from(refused_whole.map(|call| (call, Vec::new())));
    let has = |argument, bits| {
        when(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), bits)
    };
    rules.insert(libc::SYS_mprotect, has(2, executable)?);
    let mut mapped = has(2, executable)?;
    for flag in [libc::MAP_SHARED, libc::MAP_GROWSDOWN] {
        mapped.extend(has(3, u64::from(flag.cast_unsigned()))?);
    }
    rules.insert(libc::SYS_mmap, mapped);
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch()?)?.try_into()
}
