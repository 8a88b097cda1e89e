//! The only place that forks, executes, signals or waits.
//!
//! PID 1 has one thread, so it may prepare a child between fork and exec; everything that allocates is
//! prepared before the fork. Invariant: a pid is reaped here exactly once, and only after its owner was asked.

mod capability;
mod child;
mod stage;

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use super::signal;
use crate::units::exit::Exit;
use crate::units::spec::Limit;
use child::Prepared;
pub use stage::{SetupError, Stage};

/// Everything that a child needs, with every name already resolved.
#[derive(Debug, Default)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub working_directory: Option<PathBuf>,
    /// User id, group id and supplementary groups; `None` stays as PID 1 is.
    pub identity: Option<Identity>,
    pub limits: Vec<Limit>,
    pub umask: Option<u32>,
    /// -20 to 19 (setpriority(2)).
    pub nice: Option<i8>,
    /// -1000 to 1000 (proc(5), oom_score_adj).
    pub oom_score_adjust: Option<i16>,
    pub no_new_privileges: bool,
    /// `cgroup.procs` of the cgroup that the child enters.
    pub cgroup: Option<OwnedFd>,
    /// Capabilities to keep, by number. All others leave the bounding set too.
    pub capabilities: Vec<u8>,
    /// What stays in the bounding set beside these, when the child stays root.
    pub bounding_set: Option<Vec<u8>>,
    /// `None` is /dev/null.
    pub stdin: Option<OwnedFd>,
    /// `None` is /dev/null.
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// Passed from descriptor 3 on, announced by LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (sd_listen_fds(3)).
    pub listeners: Vec<(String, OwnedFd)>,
    /// Passed as the descriptor of this number, which must lie behind the listeners.
    pub notification: Option<(RawFd, OwnedFd)>,
}

/// Whom a child becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// A child that was forked. `outcome` turns readable when it has executed (end of file) or failed.
#[derive(Debug)]
pub struct Child {
    pub pid: Pid,
    pub handle: ProcessHandle,
    pub outcome: OwnedFd,
}

/// Why a child could not even be forked.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("program `{0}` is not on PATH")]
    NotFound(String),
    #[error("an argument, a variable or a path holds a NUL byte")]
    Nul(#[from] std::ffi::NulError),
    #[error("cannot {step}: {source}")]
    System {
        step: &'static str,
        source: io::Error,
    },
}

fn system(step: &'static str) -> impl Fn(nix::Error) -> SpawnError {
    move |errno| SpawnError::System {
        step,
        source: errno.into(),
    }
}

/// A pidfd: names one process for as long as it is held, whatever happens to its number.
#[derive(Debug)]
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    pub fn open(pid: Pid) -> io::Result<ProcessHandle> {
        // SAFETY: pidfd_open(2) takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor.
        Ok(ProcessHandle(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a signal to the process (pidfd_send_signal(2)). A process that is gone is no error.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: plain integers and a null siginfo, as the manual allows.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            gone if gone.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => Err(other),
        }
    }
}

/// For those who wait for its end: it turns readable then.
impl From<ProcessHandle> for OwnedFd {
    fn from(handle: ProcessHandle) -> OwnedFd {
        handle.0
    }
}

/// Signals the whole process group that `leader` leads; `false` when it leads none. Call it only while
/// `leader` is not reaped.
pub fn signal_group(leader: Pid, signal: i32) -> bool {
    // SAFETY: kill(2) with a negative pid; the group cannot be another's while its leader is unreaped.
    unsafe { libc::kill(-leader.as_raw(), signal) == 0 }
}

/// Signals one process that is our own unreaped child.
pub fn signal_one(child: Pid, signal: i32) {
    // SAFETY: kill(2); the number cannot be another's while the child is unreaped.
    unsafe { libc::kill(child.as_raw(), signal) };
}

/// Our children by /proc/thread-self/children (proc(5)), zombies included.
pub fn children() -> Vec<Pid> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

/// Finds `program` as execvp(3) would on `path`; absolute names are taken as they are.
pub fn resolve(program: &str, path: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    path.split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|candidate| candidate.is_file())
}

/// Becomes another program with the same pid, descriptors and environment (execv(3)). Comes back only when that failed.
pub fn replace(program: &Path, arguments: &[OsString]) -> io::Error {
    let words =
        std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsString::as_os_str));
    let words: Result<Vec<CString>, _> = words.map(|word| CString::new(word.as_bytes())).collect();
    let Some((name, words)) = words.ok().and_then(|w| Some((w.first()?.clone(), w))) else {
        return io::ErrorKind::InvalidInput.into();
    };
    match nix::unistd::execv(&name, &words) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// Forks and executes. The parent must watch `outcome` and reap the pid.
pub fn spawn(launch: &Launch) -> Result<Child, SpawnError> {
    let prepared = Prepared::new(launch)?;
    // Neither end ever waits: not ours, and the other takes one short report.
    let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let (outcome, report) = pipe2(flags).map_err(system("open a pipe"))?;
    // A signal that comes to the child before its program runs must wait for that, and not run PID 1's handler there.
    let blocked = signal::Blocked::all().map_err(system("let signals wait"))?;
    // SAFETY: PID 1 and the tests' supervisors have one thread; the child calls only what
    // signal-safety(7) allows and touches no memory that another thread could hold locked.
    match unsafe { fork() }.map_err(system("fork"))? {
        ForkResult::Child => prepared.become_program(report.as_raw_fd()),
        ForkResult::Parent { child } => {
            drop(blocked);
            drop(report);
            let handle = ProcessHandle::open(child).map_err(|source| SpawnError::System {
                step: "open the child's pidfd",
                source,
            })?;
            Ok(Child {
                pid: child,
                handle,
                outcome,
            })
        }
    }
}

/// Reads what the child reported. `None`: nothing yet; `Some(Ok)`: it runs its program.
pub fn read_outcome(outcome: BorrowedFd<'_>) -> Option<Result<(), SetupError>> {
    let mut report = [0u8; 8];
    match nix::unistd::read(outcome, &mut report) {
        Ok(0) => Some(Ok(())),
        Ok(_) => {
            let [stage, _, _, _, errno @ ..] = report;
            let stage = Stage::ALL
                .get(usize::from(stage))
                .copied()
                .unwrap_or(Stage::Execute);
            Some(Err(SetupError {
                stage,
                errno: i32::from_ne_bytes(errno),
            }))
        }
        Err(nix::Error::EAGAIN | nix::Error::EINTR) => None,
        Err(errno) => Some(Err(SetupError {
            stage: Stage::Execute,
            errno: errno as i32,
        })),
    }
}

/// A child that has ended and is still a zombie, so its pid cannot be reused yet.
pub fn peek_ended() -> Option<(Pid, Exit)> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::All, flags) {
        Ok(WaitStatus::Exited(pid, code)) => Some((pid, Exit::Code(code))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Some((pid, Exit::Signal(signal as i32))),
        Ok(_) | Err(_) => None,
    }
}

/// Takes the zombie away, after its owner has been told.
pub fn reap(pid: Pid) {
    let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
}

/// Waits for the end of one child and takes its zombie away. `None`: it is no child of ours.
pub fn wait_for(pid: Pid) -> Option<Exit> {
    loop {
        return match waitid(Id::Pid(pid), WaitPidFlag::WEXITED) {
            Ok(WaitStatus::Exited(_, code)) => Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(Exit::Signal(signal as i32)),
            Err(nix::Error::EINTR) => continue,
            Ok(_) | Err(_) => None,
        };
    }
}

/// Sets every signal that we were started with as ignored to its default, so that the services do not inherit that
/// (signal(7)). SIGPIPE stays as it is: a write to a pipe without a reader must not end us, and a child sets it back.
pub fn restore_defaults() {
    for signal in (1..=64).filter(|signal| *signal != libc::SIGPIPE) {
        // The kernel's own form of an action: handler, flags, restorer and mask, all zero is SIG_DFL.
        // The C library's call would refuse its two private signals, 32 and 33.
        let default = [0usize; 4];
        let mut found = [0usize; 4];
        let none = std::ptr::null::<libc::c_void>();
        // SAFETY: rt_sigaction(2) with live arrays of the kernel's size; the mask has 8 bytes.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, none, found.as_mut_ptr(), 8);
            if found.first() == Some(&libc::SIG_IGN) {
                libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8);
            }
        }
    }
}

/// Becomes the parent of orphaned descendants when we are not PID 1 (prctl(2), PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() {
    // SAFETY: prctl with plain integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn a_signal_that_comes_before_the_program_runs_is_not_lost() {
        let _signals = signal::Signals::install().unwrap();
        let launch = Launch {
            program: PathBuf::from("/bin/sleep"),
            arguments: vec!["600".to_owned()],
            ..Launch::default()
        };
        for round in 0..200 {
            let child = spawn(&launch).unwrap();
            child.handle.signal(libc::SIGTERM).unwrap();
            let mut ended = [PollFd::new(child.handle.0.as_fd(), PollFlags::POLLIN)];
            let count = poll(&mut ended, PollTimeout::from(10_000u16)).unwrap();
            if count == 0 {
                child.handle.signal(libc::SIGKILL).unwrap();
            }
            let status = waitid(Id::Pid(child.pid), WaitPidFlag::WEXITED).unwrap();
            assert_eq!(count, 1, "it lives on in round {round}: {status:?}");
        }
    }
}
