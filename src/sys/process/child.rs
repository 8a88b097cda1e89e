//! The child between fork and exec: session, descriptors, limits, identity, then its program.
//!
//! PID 1 has one thread, so this may be done in the forked copy; what is needed is prepared before the
//! fork. Invariant: a failure is reported with its stage, and nothing of PID 1 goes on running here.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use super::capability::{drop_bounding_set, keep_capabilities};
use super::stage::{Stage, check, errno};
use super::{Launch, SpawnError};
use crate::sys::signal;
use crate::units::spec::LimitResource;

/// The C form of a launch: nothing here allocates after the fork.
pub struct Prepared<'a> {
    launch: &'a Launch,
    program: CString,
    _arguments: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    environment: Vec<Vec<u8>>,
    listen_pid: Option<usize>,
    /// Room for the pointers to the environment, and for the descriptors on their way.
    envp: Vec<*const libc::c_char>,
    lifted: Vec<RawFd>,
    working_directory: Option<CString>,
    null: OwnedFd,
    /// Where the child reports a failure; moves when a listener needs its number.
    report: RawFd,
}

/// Room for the digits of the child's pid, which only the child knows.
const LISTEN_PID_ROOM: &[u8] = b"LISTEN_PID=0000000000\0";
const LISTEN_PID: usize = "LISTEN_PID=".len();

impl<'a> Prepared<'a> {
    pub fn new(launch: &'a Launch) -> Result<Prepared<'a>, SpawnError> {
        let program = CString::new(launch.program.as_os_str().as_bytes())?;
        let mut arguments = vec![program.clone()];
        for argument in &launch.arguments {
            arguments.push(CString::new(argument.as_str())?);
        }
        let mut argv: Vec<*const libc::c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
        argv.push(std::ptr::null());
        let mut environment = Vec::new();
        for (name, value) in &launch.environment {
            environment.push(CString::new(format!("{name}={value}"))?.into_bytes_with_nul());
        }
        let mut listen_pid = None;
        if !launch.listeners.is_empty() {
            let names: Vec<&str> = launch
                .listeners
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            let count = format!("LISTEN_FDS={}", launch.listeners.len());
            environment.push(CString::new(count)?.into_bytes_with_nul());
            let names = format!("LISTEN_FDNAMES={}", names.join(":"));
            environment.push(CString::new(names)?.into_bytes_with_nul());
            listen_pid = Some(environment.len());
            environment.push(LISTEN_PID_ROOM.to_vec());
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
            envp: Vec::with_capacity(environment.len() + 1),
            lifted: Vec::with_capacity(launch.listeners.len() + 3),
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
    pub fn become_program(mut self, report: RawFd) -> ! {
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
            // As long as signals wait, so that none finds a handler of PID 1's in this copy.
            default_handlers();
            self.move_descriptors()?;
            if let Some(entrance) = &self.launch.cgroup {
                let written = libc::write(entrance.as_raw_fd(), b"0".as_ptr().cast(), 1);
                check(Stage::Cgroup, if written < 0 { -1 } else { 0 })?;
            }
            self.apply_limits()?;
            if let Some(mask) = self.launch.umask {
                libc::umask(mask);
            }
            self.apply_priorities()?;
            self.become_user()?;
            if let Some(directory) = &self.working_directory {
                check(Stage::WorkingDirectory, libc::chdir(directory.as_ptr()))?;
            }
            self.list_environment();
            // What came meanwhile acts here, on a child that can be ended by it.
            empty_mask();
            libc::execve(
                self.program.as_ptr(),
                self.argv.as_ptr(),
                self.envp.as_ptr(),
            );
        }
        Err((Stage::Execute, errno()))
    }

    /// Writes our pid into the room left for it and lists the pointers for execve(2).
    fn list_environment(&mut self) {
        let room = self
            .listen_pid
            .and_then(|index| self.environment.get_mut(index));
        if let Some(digits) = room.and_then(|room| room.get_mut(LISTEN_PID..)) {
            // SAFETY: getpid cannot fail.
            let mut pid = unsafe { libc::getpid() }.unsigned_abs();
            let mut length = 1;
            while pid / 10_u32.pow(length) > 0 && length < 9 {
                length += 1;
            }
            let length = usize::try_from(length).unwrap_or_default();
            for digit in digits.iter_mut().take(length).rev() {
                *digit = b'0' + u8::try_from(pid % 10).unwrap_or_default();
                pid /= 10;
            }
            if let Some(end) = digits.get_mut(length) {
                *end = 0;
            }
        }
        self.envp
            .extend(self.environment.iter().map(|entry| entry.as_ptr().cast()));
        self.envp.push(std::ptr::null());
    }

    /// 0, 1, 2 become /dev/null and the outputs; listeners stand from 3 on; all else closes on exec.
    unsafe fn move_descriptors(&mut self) -> Result<(), (Stage, i32)> {
        let null = self.null.as_raw_fd();
        let stdin = self.launch.stdin.as_ref().map_or(null, AsRawFd::as_raw_fd);
        let stdout = self.launch.stdout.as_ref().map_or(null, AsRawFd::as_raw_fd);
        let stderr = self.launch.stderr.as_ref().map_or(null, AsRawFd::as_raw_fd);
        let count = self.launch.listeners.len();
        let after_listeners =
            RawFd::try_from(3 + count).map_err(|_| (Stage::Descriptors, libc::EMFILE))?;
        let notification = self.launch.notification.as_ref();
        let notification = notification.map(|(target, fd)| (*target, fd.as_raw_fd()));
        if notification.is_some_and(|(target, _)| target < after_listeners) {
            return Err((Stage::Descriptors, libc::EBUSY));
        }
        let first_free = notification
            .map_or(0, |(target, _)| target + 1)
            .max(after_listeners + 8);
        unsafe {
            // Out of the way first, so that no target overwrites a source.
            let listeners = self.launch.listeners.iter().map(|(_, fd)| fd.as_raw_fd());
            for source in [stdin, stdout, stderr].into_iter().chain(listeners) {
                self.lifted.push(check(
                    Stage::Descriptors,
                    libc::fcntl(source, libc::F_DUPFD_CLOEXEC, first_free),
                )?);
            }
            self.report = check(
                Stage::Descriptors,
                libc::fcntl(self.report, libc::F_DUPFD_CLOEXEC, first_free),
            )?;
            let notification = match notification {
                Some((target, source)) => {
                    let lifted = libc::fcntl(source, libc::F_DUPFD_CLOEXEC, first_free);
                    Some((target, check(Stage::Descriptors, lifted)?))
                }
                None => None,
            };
            for (target, source) in (0..).zip(&self.lifted) {
                check(Stage::Descriptors, libc::dup2(*source, target))?;
            }
            // What PID 1 itself inherited without the flag must not go on to the services.
            let first_other = libc::c_uint::try_from(count + 3).unwrap_or(libc::c_uint::MAX);
            libc::syscall(
                libc::SYS_close_range,
                first_other,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
            if let Some((target, source)) = notification {
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

    /// Raising a priority needs a capability that the container may lack: then the start fails and says so.
    unsafe fn apply_priorities(&self) -> Result<(), (Stage, i32)> {
        if let Some(nice) = self.launch.nice {
            let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, i32::from(nice)) };
            check(Stage::Priority, result)?;
        }
        if let Some(adjust) = self.launch.oom_score_adjust {
            let written = std::fs::write("/proc/self/oom_score_adj", adjust.to_string());
            let errno = written.err().and_then(|e| e.raw_os_error());
            if let Some(errno) = errno {
                return Err((Stage::Priority, errno));
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
            let bound = self.launch.bounding_set.as_deref();
            if identity.uid != 0 || keep || bound.is_some() {
                drop_bounding_set(&self.launch.capabilities, bound.unwrap_or_default())?;
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

/// Children start with the default dispositions: ignored signals stay ignored over an exec (signal(7)). What PID 1
/// inherited so is mended at its start (`process::restore_defaults`); what it handles would go by itself, but not
/// before the exec.
unsafe fn default_handlers() {
    let mut default: libc::sigaction = unsafe { std::mem::zeroed() };
    default.sa_sigaction = libc::SIG_DFL;
    for signal in signal::HANDLED.into_iter().chain([libc::SIGPIPE]) {
        unsafe { libc::sigaction(signal, &raw const default, std::ptr::null_mut()) };
    }
}

/// The mask would be inherited too (signal(7)).
unsafe fn empty_mask() {
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
