//! The only place that forks, executes, signals or waits.
//!
//! PID 1 has one thread, so it may prepare a child between fork and exec; everything that allocates is
//! prepared before the fork. Invariant: a pid is reaped here exactly once, and only after its owner was asked.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use crate::init::service::Exit;
use crate::units::spec::{Limit, LimitResource};

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
    pub no_new_privileges: bool,
    /// Capabilities to keep, by number. All others leave the bounding set too.
    pub capabilities: Vec<u8>,
    /// `None` is /dev/null.
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// Passed from descriptor 3 on, announced by LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (sd_listen_fds(3)).
    pub listeners: Vec<(String, OwnedFd)>,
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

/// The step of the child's set-up at which it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Session,
    Descriptors,
    Limits,
    Groups,
    User,
    Capabilities,
    NoNewPrivileges,
    WorkingDirectory,
    Execute,
}

impl Stage {
    const ALL: [Stage; 9] = [
        Stage::Session,
        Stage::Descriptors,
        Stage::Limits,
        Stage::Groups,
        Stage::User,
        Stage::Capabilities,
        Stage::NoNewPrivileges,
        Stage::WorkingDirectory,
        Stage::Execute,
    ];

    fn text(self) -> &'static str {
        match self {
            Stage::Session => "starting a session",
            Stage::Descriptors => "arranging its descriptors",
            Stage::Limits => "setting its limits",
            Stage::Groups => "setting its groups",
            Stage::User => "becoming its user",
            Stage::Capabilities => "setting its capabilities",
            Stage::NoNewPrivileges => "giving up new privileges",
            Stage::WorkingDirectory => "entering its working directory",
            Stage::Execute => "executing its program",
        }
    }
}

/// Why a child did not become its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed at {}: {}", .stage.text(), io::Error::from_raw_os_error(*.errno))]
pub struct SetupError {
    pub stage: Stage,
    pub errno: i32,
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
    fn open(pid: Pid) -> io::Result<ProcessHandle> {
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

/// Signals the whole process group that `leader` leads. Call it only while `leader` is not reaped.
pub fn signal_group(leader: Pid, signal: i32) {
    // SAFETY: kill(2) with a negative pid; the group cannot be another's while its leader is unreaped.
    unsafe { libc::kill(-leader.as_raw(), signal) };
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

/// Forks and executes. The parent must watch `outcome` and reap the pid.
pub fn spawn(launch: &Launch) -> Result<Child, SpawnError> {
    let prepared = Prepared::new(launch)?;
    let (outcome, report) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(system("open a pipe"))?;
    // SAFETY: PID 1 and the tests' supervisors have one thread; the child calls only what
    // signal-safety(7) allows and touches no memory that another thread could hold locked.
    match unsafe { fork() }.map_err(system("fork"))? {
        ForkResult::Child => prepared.become_program(report.as_raw_fd()),
        ForkResult::Parent { child } => {
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

/// Becomes the parent of orphaned descendants when we are not PID 1 (prctl(2), PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() {
    // SAFETY: prctl with plain integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// The C form of a launch: nothing here allocates after the fork.
struct Prepared<'a> {
    launch: &'a Launch,
    program: CString,
    _arguments: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    environment: Vec<CString>,
    listen_pid: Option<usize>,
    working_directory: Option<CString>,
    null: OwnedFd,
    /// Where the child reports a failure; moves when a listener needs its number.
    report: RawFd,
}

/// Room for the digits of the child's pid, which only the child knows.
const LISTEN_PID_ROOM: &str = "LISTEN_PID=0000000000";

impl<'a> Prepared<'a> {
    fn new(launch: &'a Launch) -> Result<Prepared<'a>, SpawnError> {
        let program = CString::new(launch.program.as_os_str().as_bytes())?;
        let mut arguments = vec![program.clone()];
        for argument in &launch.arguments {
            arguments.push(CString::new(argument.as_str())?);
        }
        let mut argv: Vec<*const libc::c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
        argv.push(std::ptr::null());
        let mut environment = Vec::new();
        for (name, value) in &launch.environment {
            environment.push(CString::new(format!("{name}={value}"))?);
        }
        let mut listen_pid = None;
        if !launch.listeners.is_empty() {
            let names: Vec<&str> = launch
                .listeners
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            environment.push(CString::new(format!(
                "LISTEN_FDS={}",
                launch.listeners.len()
            ))?);
            environment.push(CString::new(format!("LISTEN_FDNAMES={}", names.join(":")))?);
            listen_pid = Some(environment.len());
            environment.push(CString::new(LISTEN_PID_ROOM)?);
        }
        let working_directory = match &launch.working_directory {
            Some(dir) => Some(CString::new(dir.as_os_str().as_bytes())?),
            None => None,
        };
        let null = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(|source| SpawnError::System {
                step: "open /dev/null",
                source,
            })?;
        Ok(Prepared {
            launch,
            program,
            _arguments: arguments,
            argv,
            environment,
            listen_pid,
            working_directory,
            null: null.into(),
            report: -1,
        })
    }

    /// Runs in the child: sets everything up and executes, or reports and ends.
    fn become_program(mut self, report: RawFd) -> ! {
        self.report = report;
        let (stage, errno) = match self.set_up() {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        let mut message = [0u8; 8];
        message[0] = stage as u8;
        message[4..].copy_from_slice(&errno.to_ne_bytes());
        // SAFETY: write(2) of a local buffer to a descriptor that we hold, then an exit without destructors.
        unsafe {
            libc::write(self.report, message.as_ptr().cast(), message.len());
            libc::_exit(127)
        }
    }

    fn set_up(&mut self) -> Result<std::convert::Infallible, (Stage, i32)> {
        // SAFETY (whole function): only raw system calls on values that live in `self`.
        unsafe {
            check(Stage::Session, libc::setsid())?;
            reset_signals();
            self.move_descriptors()?;
            self.apply_limits()?;
            if let Some(mask) = self.launch.umask {
                libc::umask(mask);
            }
            self.become_user()?;
            if let Some(directory) = &self.working_directory {
                check(Stage::WorkingDirectory, libc::chdir(directory.as_ptr()))?;
            }
            let environment = self.environment_with_pid();
            libc::execve(
                self.program.as_ptr(),
                self.argv.as_ptr(),
                environment.as_ptr(),
            );
        }
        Err((Stage::Execute, errno()))
    }

    /// Writes our pid into the room left for it and lists the pointers for execve(2).
    fn environment_with_pid(&mut self) -> Vec<*const libc::c_char> {
        // The vector below allocates; that is safe because no other thread exists that could hold
        // the allocator's lock at the time of the fork.
        if let Some(room) = self
            .listen_pid
            .and_then(|index| self.environment.get_mut(index))
        {
            // SAFETY: getpid cannot fail.
            let pid = unsafe { libc::getpid() };
            if let Ok(filled) = CString::new(format!("LISTEN_PID={pid}")) {
                *room = filled;
            }
        }
        let mut pointers: Vec<*const libc::c_char> =
            self.environment.iter().map(|e| e.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    }

    /// 0, 1, 2 become /dev/null and the outputs; listeners stand from 3 on; all else closes on exec.
    unsafe fn move_descriptors(&mut self) -> Result<(), (Stage, i32)> {
        let null = self.null.as_raw_fd();
        let stdout = self.launch.stdout.as_ref().map_or(null, AsRawFd::as_raw_fd);
        let stderr = self.launch.stderr.as_ref().map_or(null, AsRawFd::as_raw_fd);
        let count = self.launch.listeners.len();
        let first_free =
            RawFd::try_from(3 + count + 8).map_err(|_| (Stage::Descriptors, libc::EMFILE))?;
        unsafe {
            // Out of the way first, so that no target overwrites a source.
            let mut lifted = Vec::with_capacity(count + 3);
            let listeners = self.launch.listeners.iter().map(|(_, fd)| fd.as_raw_fd());
            for source in [null, stdout, stderr].into_iter().chain(listeners) {
                lifted.push(check(
                    Stage::Descriptors,
                    libc::fcntl(source, libc::F_DUPFD_CLOEXEC, first_free),
                )?);
            }
            self.report = check(
                Stage::Descriptors,
                libc::fcntl(self.report, libc::F_DUPFD_CLOEXEC, first_free),
            )?;
            for (target, source) in (0..).zip(lifted) {
                check(Stage::Descriptors, libc::dup2(source, target))?;
            }
        }
        Ok(())
    }

    unsafe fn apply_limits(&self) -> Result<(), (Stage, i32)> {
        for limit in &self.launch.limits {
            let resource = match limit.resource {
                LimitResource::Core => libc::RLIMIT_CORE,
                LimitResource::OpenFiles => libc::RLIMIT_NOFILE,
                LimitResource::Processes => libc::RLIMIT_NPROC,
                LimitResource::LockedMemory => libc::RLIMIT_MEMLOCK,
                LimitResource::AddressSpace => libc::RLIMIT_AS,
                LimitResource::Stack => libc::RLIMIT_STACK,
            };
            unsafe {
                let mut now = libc::rlimit {
                    rlim_cur: 0,
                    rlim_max: 0,
                };
                check(Stage::Limits, libc::getrlimit(resource, &raw mut now))?;
                let hard = limit.hard.unwrap_or(libc::RLIM_INFINITY);
                let soft = limit.soft.unwrap_or(libc::RLIM_INFINITY);
                let mut wanted = libc::rlimit {
                    rlim_cur: soft.min(hard),
                    rlim_max: hard,
                };
                if libc::setrlimit(resource, &raw const wanted) != 0 {
                    // Without CAP_SYS_RESOURCE a limit cannot be raised: take what the container allows.
                    wanted.rlim_max = now.rlim_max.min(hard);
                    wanted.rlim_cur = soft.min(wanted.rlim_max);
                    check(Stage::Limits, libc::setrlimit(resource, &raw const wanted))?;
                }
            }
        }
        Ok(())
    }

    unsafe fn become_user(&self) -> Result<(), (Stage, i32)> {
        let Some(identity) = &self.launch.identity else {
            return unsafe { self.no_new_privileges() };
        };
        let keep = !self.launch.capabilities.is_empty();
        unsafe {
            if identity.uid != 0 || keep {
                drop_bounding_set(&self.launch.capabilities)?;
            }
            if keep {
                check(
                    Stage::Capabilities,
                    libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0),
                )?;
            }
            if libc::geteuid() == 0 || identity.uid != libc::geteuid() {
                let groups = identity.groups.as_ptr();
                check(
                    Stage::Groups,
                    libc::setgroups(identity.groups.len(), groups),
                )?;
                check(
                    Stage::Groups,
                    libc::setresgid(identity.gid, identity.gid, identity.gid),
                )?;
                check(
                    Stage::User,
                    libc::setresuid(identity.uid, identity.uid, identity.uid),
                )?;
            }
            if keep {
                keep_capabilities(&self.launch.capabilities)?;
            }
            self.no_new_privileges()
        }
    }

    unsafe fn no_new_privileges(&self) -> Result<(), (Stage, i32)> {
        if self.launch.no_new_privileges {
            let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            check(Stage::NoNewPrivileges, result)?;
        }
        Ok(())
    }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn check(stage: Stage, result: libc::c_int) -> Result<libc::c_int, (Stage, i32)> {
    if result < 0 {
        Err((stage, errno()))
    } else {
        Ok(result)
    }
}

/// Children start with an empty mask and default dispositions: both would be inherited (signal(7)).
unsafe fn reset_signals() {
    unsafe {
        for signal in 1..=64 {
            if signal != libc::SIGKILL && signal != libc::SIGSTOP {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Takes every capability but `keep` out of the bounding set. Without CAP_SETPCAP this is not
/// possible; then no_new_privs and the change of user are what holds.
unsafe fn drop_bounding_set(keep: &[u8]) -> Result<(), (Stage, i32)> {
    for capability in 0..=63u8 {
        if keep.contains(&capability) {
            continue;
        }
        let result = unsafe {
            libc::prctl(
                libc::PR_CAPBSET_DROP,
                libc::c_ulong::from(capability),
                0,
                0,
                0,
            )
        };
        match errno() {
            _ if result == 0 => {}
            libc::EINVAL => return Ok(()),
            libc::EPERM => return Ok(()),
            errno => return Err((Stage::Capabilities, errno)),
        }
    }
    Ok(())
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Cuts the sets down to `keep` and raises them as ambient, so that they survive exec (capabilities(7)).
unsafe fn keep_capabilities(keep: &[u8]) -> Result<(), (Stage, i32)> {
    let header = CapabilityHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    let mut words = [CapabilityWords::default(); 2];
    for capability in keep {
        let bit = 1u32 << (capability % 32);
        if let Some(word) = words.get_mut(usize::from(capability / 32)) {
            word.effective |= bit;
            word.permitted |= bit;
            word.inheritable |= bit;
        }
    }
    unsafe {
        let result = libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr());
        check(Stage::Capabilities, if result < 0 { -1 } else { 0 })?;
        for capability in keep {
            let number = libc::c_ulong::from(*capability);
            let result = libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE,
                number,
                0,
                0,
            );
            check(Stage::Capabilities, result)?;
        }
    }
    Ok(())
}
