//! Where the supervisors run: each as PID 1 of a new PID and mount namespace with a fresh /proc, in one tree of Debian
//! packages that all share, with what the services say on one datagram socket.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PROGRAMS, run};

/// How long anything may take before it counts as never.
pub const PATIENCE_MS: i32 = 15_000;
/// Debian's suite from which the peers come: the one that the images are built from.
pub const SUITE: &str = "forky";
const PEERS: [&str; 5] = ["runit", "s6", "tini", "dumb-init", "catatonit"];

/// Nanoseconds of CLOCK_MONOTONIC, which all namespaces share.
pub fn now() -> i64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) fills the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut t) };
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// What a service said.
#[derive(Debug, Clone)]
pub struct Word {
    /// `S`tarted, `T`old to end, `E`nded its work, `X` an escaped child began.
    pub kind: char,
    pub at: i64,
    pub name: String,
    /// As this machine numbers it.
    pub pid: i32,
}

/// The tree, the work directory below it as /bench, and the socket in it.
pub struct World {
    tree: PathBuf,
    pub work: tempfile::TempDir,
    socket: UnixDatagram,
    pub versions: BTreeMap<String, String>,
}

impl World {
    /// Fetches the peers where they are missing and compiles the small programs.
    pub fn new() -> World {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/bench/{SUITE}"));
        if !tree.join("usr/bin/s6-svscan").exists() {
            fetch(&tree);
        }
        let versions = PEERS.iter().map(|peer| {
            let file = tree.join(format!("usr/share/doc/{peer}/changelog.Debian.gz"));
            let text = run(Command::new("zcat").arg(file));
            let version = text.split(['(', ')']).nth(1).unwrap_or("unknown");
            ((*peer).to_owned(), version.to_owned())
        });
        let versions = versions.collect();
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let work = tempfile::Builder::new()
            .prefix("supervision-")
            .tempdir_in(parent)
            .expect("a work directory");
        fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        ensure("gcc", &["gcc", "libc6-dev"]);
        for program in PROGRAMS {
            let source = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("bench/programs")
                .join(format!("{program}.c"));
            run(Command::new("gcc")
                .args(["-O2", "-static", "-o"])
                .arg(work.path().join(program))
                .arg(source));
        }
        let socket = UnixDatagram::bind(work.path().join("socket")).expect("a socket");
        fs::set_permissions(
            work.path().join("socket"),
            fs::Permissions::from_mode(0o666),
        )
        .expect("chmod");
        let on: libc::c_int = 1;
        // SAFETY: setsockopt(2) reads one int.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSCRED,
                (&raw const on).cast(),
                4,
            );
        }
        World {
            tree,
            work,
            socket,
            versions,
        }
    }

    /// Makes the command PID 1 of new namespaces; as `user` if one is given.
    pub fn launch(&self, command: &[String], user: Option<u32>) -> Run {
        while self.hear(0).is_some() {}
        let words: Vec<CString> = command
            .iter()
            .map(|word| CString::new(word.as_str()).expect("no NUL"))
            .collect();
        let mut arguments: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
        arguments.push(std::ptr::null());
        let environment = [
            c"PATH=/usr/bin:/usr/sbin:/bin:/sbin".as_ptr(),
            std::ptr::null(),
        ];
        let path = |path: &Path| CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
        let (tree, work) = (path(&self.tree), path(self.work.path()));
        let (proc, dev, bench) = (
            path(&self.tree.join("proc")),
            path(&self.tree.join("dev")),
            path(&self.tree.join("bench")),
        );
        let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::SIGCHLD;
        // SAFETY: the page is shared with the child, which writes the one number into it; clone(2) without a stack
        // forks, this process has no other thread now, and the child only makes system calls until it executes.
        unsafe {
            let page = libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert!(page != libc::MAP_FAILED);
            let began = page.cast::<i64>();
            let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
            if pid == 0 {
                let none = c"none".as_ptr();
                let null = std::ptr::null();
                let mut failed = libc::mount(
                    none,
                    c"/".as_ptr(),
                    null,
                    libc::MS_REC | libc::MS_PRIVATE,
                    null.cast(),
                );
                failed |= libc::mount(
                    work.as_ptr(),
                    bench.as_ptr(),
                    null,
                    libc::MS_BIND,
                    null.cast(),
                );
                failed |= libc::mount(
                    c"/dev".as_ptr(),
                    dev.as_ptr(),
                    null,
                    libc::MS_BIND | libc::MS_REC,
                    null.cast(),
                );
                failed |= libc::mount(none, proc.as_ptr(), c"proc".as_ptr(), 0, null.cast());
                failed |= libc::chroot(tree.as_ptr());
                failed |= libc::chdir(c"/".as_ptr());
                let silence = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                for fd in 0..3 {
                    libc::dup2(silence, fd);
                }
                if let Some(user) = user {
                    failed |= libc::setgroups(0, null.cast());
                    failed |= libc::setgid(user) | libc::setuid(user);
                }
                if failed != 0 {
                    libc::_exit(126);
                }
                libc::setsid();
                libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
                *began = now();
                libc::execve(words[0].as_ptr(), arguments.as_ptr(), environment.as_ptr());
                libc::_exit(127);
            }
            assert!(pid > 0, "clone: {}", std::io::Error::last_os_error());
            let handle = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            Run {
                pid: i32::try_from(pid).expect("a pid"),
                handle: OwnedFd::from_raw_fd(i32::try_from(handle).expect("a pidfd")),
                page: began,
                ended: false,
            }
        }
    }

    /// The next word, within so many milliseconds.
    pub fn hear(&self, millis: i32) -> Option<Word> {
        let mut poll = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut bytes = [0u8; 256];
        let mut control = [0u64; 8];
        // SAFETY: poll(2) and recvmsg(2) with buffers of the stated lengths; the control buffer is aligned, and
        // read only where the kernel says that it wrote credentials.
        unsafe {
            if libc::poll(&raw mut poll, 1, millis) <= 0 {
                return None;
            }
            let mut part = libc::iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            };
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            let length = libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0);
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if length <= 0 || header.is_null() {
                return None;
            }
            let sender: libc::ucred = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
            let text =
                String::from_utf8_lossy(&bytes[..usize::try_from(length).ok()?]).into_owned();
            let mut parts = text.split(' ');
            Some(Word {
                kind: parts.next()?.chars().next()?,
                at: parts.next()?.parse().ok()?,
                name: parts.next()?.to_owned(),
                pid: sender.pid,
            })
        }
    }

    /// Waits for `count` words of a kind; `None` when they do not come.
    pub fn hear_all(&self, kind: char, count: usize) -> Option<Vec<Word>> {
        let mut heard = Vec::new();
        while heard.len() < count {
            heard.extend(Some(self.hear(PATIENCE_MS)?).filter(|word| word.kind == kind));
        }
        Some(heard)
    }
}

/// One supervisor at work. What is left of it is killed when it is dropped.
pub struct Run {
    pub pid: i32,
    handle: OwnedFd,
    page: *mut i64,
    ended: bool,
}

impl Run {
    /// When it was executed.
    pub fn began(&self) -> i64 {
        // SAFETY: the page lives as long as this; the child has written before anything of it could be heard.
        unsafe { *self.page }
    }

    pub fn signal(&self, signal: i32) {
        signal_pid(self.pid, signal);
    }

    /// Hears the services until the supervisor has ended: the moment, its exit code (128 + signal) and the words.
    pub fn end(mut self, world: &World) -> Option<(i64, i32, Vec<Word>)> {
        let mut words = Vec::new();
        let deadline = now() + i64::from(PATIENCE_MS) * 1_000_000;
        loop {
            let mut polls =
                [self.handle.as_raw_fd(), world.socket.as_raw_fd()].map(|fd| libc::pollfd {
                    fd,
                    events: libc::POLLIN,
                    revents: 0,
                });
            // SAFETY: poll(2) with an array of the stated length.
            unsafe { libc::poll(polls.as_mut_ptr(), 2, 1000) };
            if polls[0].revents != 0 {
                let at = now();
                let mut status = 0;
                // SAFETY: waitpid(2) for our own child.
                unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
                self.ended = true;
                while let Some(word) = world.hear(0) {
                    words.push(word);
                }
                let code = if libc::WIFEXITED(status) {
                    libc::WEXITSTATUS(status)
                } else {
                    128 + libc::WTERMSIG(status)
                };
                return Some((at, code, words));
            }
            if polls[1].revents != 0 {
                words.extend(world.hear(0));
            }
            if now() > deadline {
                return None;
            }
        }
    }

    /// The processes below it and itself, as the namespace numbers them, with their names; no zombies. A main
    /// process of a service is `service`, whatever it was started as.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        let service = fs::metadata(root.join("bench/service")).map_or(0, |file| file.ino());
        let proc = root.join("proc");
        let entries = fs::read_dir(&proc).into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(|pid| {
            let stat = fs::read_to_string(proc.join(format!("{pid}/stat"))).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            let program = fs::metadata(proc.join(format!("{pid}/exe"))).map(|exe| exe.ino());
            let name = match program.is_ok_and(|inode| inode == service) && name != "escaped" {
                true => "service",
                false => name,
            };
            (!rest.starts_with(" Z")).then(|| (pid, name.to_owned()))
        })
        .collect()
    }

    /// RSS, PSS and private memory of everything but the services in KiB, and how many processes that is.
    pub fn memory(&self) -> [f64; 4] {
        let mut sums = [0.0; 4];
        for (pid, name) in self.processes() {
            if name == "service" || name == "escaped" {
                continue;
            }
            let text =
                fs::read_to_string(format!("/proc/{}/root/proc/{pid}/smaps_rollup", self.pid))
                    .unwrap_or_default();
            let of = |key: &str| -> f64 {
                let line = text.lines().find_map(|line| line.strip_prefix(key));
                line.and_then(|line| line.split_whitespace().next()?.parse().ok())
                    .unwrap_or(0.0)
            };
            sums[0] += of("Rss:");
            sums[1] += of("Pss:");
            sums[2] += of("Private_Clean:") + of("Private_Dirty:");
            sums[3] += 1.0;
        }
        sums
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(libc::SIGKILL);
            // SAFETY: waitpid(2) for our own child.
            unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
        }
        // SAFETY: the page is ours and not used again.
        unsafe { libc::munmap(self.page.cast(), 4096) };
    }
}

pub fn signal_pid(pid: i32, signal: i32) {
    // SAFETY: kill(2) with plain integers; the pid is a process of this measurement.
    unsafe { libc::kill(pid, signal) };
}

/// Installs Debian's packages where their program is missing.
fn ensure(program: &str, packages: &[&str]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|directory| directory.join(program).exists()) {
        println!("installing {}", packages.join(", "));
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-y", "--no-install-recommends", "install"]);
        run(command
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"));
    }
}

/// One tree with all the peers, so that each runs on the same libc; nothing is installed on this machine.
fn fetch(tree: &Path) {
    println!("fetching {} of Debian {SUITE}", PEERS.join(", "));
    let _ = fs::remove_dir_all(tree);
    fs::create_dir_all(tree.parent().expect("a parent")).expect("a directory");
    ensure("mmdebstrap", &["mmdebstrap"]);
    let packages = format!("--include={},libc6,dash", PEERS.join(","));
    let mut command = Command::new("mmdebstrap");
    command.args([
        "--quiet",
        "--variant=extract",
        // A mirror that is no longer updated still serves signed packages.
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
        &packages,
        SUITE,
    ]);
    run(command.arg(tree));
    for name in ["bin", "sbin", "lib", "lib64"] {
        let _ = symlink(format!("usr/{name}"), tree.join(name));
    }
    for name in ["proc", "bench", "run", "dev"] {
        let _ = fs::create_dir(tree.join(name));
    }
}
