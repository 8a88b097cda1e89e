//! Sockets that PID 1 makes: bound listeners, the notify socket, descriptors sent to another process.
//!
//! Invariant: every descriptor made here closes on exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrIn, SockaddrIn6, UnixAddr, bind, connect, listen, recvmsg, sendmsg, setsockopt, socket,
    sockopt,
};
use nix::sys::stat::Mode;

use crate::units::spec::Listen;

/// How a listener is to be bound.
#[derive(Debug, Clone, Copy)]
pub struct BindOptions {
    pub mode: u32,
    pub owner: Option<(u32, u32)>,
    pub free_bind: bool,
    pub reuse_port: bool,
    pub backlog: u32,
}

/// How a connection that may not wait came out.
#[derive(Debug)]
pub enum Connected {
    /// Non-blocking and open; whoever listens may not have taken it yet.
    Yes(OwnedFd),
    /// The listener's queue is full (unix(7), EAGAIN).
    QueueFull,
}

/// Connects to a unix stream socket without waiting.
///
/// # Errors
/// When there is no such socket, nobody listens, or we may not.
pub fn connect_unix(path: &Path) -> io::Result<Connected> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(Connected::Yes(fd)),
        Err(nix::Error::EAGAIN) => Ok(Connected::QueueFull),
        Err(errno) => Err(errno.into()),
    }
}

/// Binds one listener; a stale unix socket at its path is replaced.
pub fn bind_listener(what: &Listen, options: BindOptions) -> io::Result<OwnedFd> {
    match what {
        Listen::UnixStream(path) => bind_unix(Path::new(path), SockType::Stream, options),
        Listen::UnixDatagram(path) => bind_unix(Path::new(path), SockType::Datagram, options),
        Listen::UnixSequential(path) => bind_unix(Path::new(path), SockType::SeqPacket, options),
        Listen::Tcp(address) => bind_net(*address, SockType::Stream, options),
        Listen::Udp(address) => bind_net(*address, SockType::Datagram, options),
    }
}

fn bind_unix(path: &Path, kind: SockType, options: BindOptions) -> io::Result<OwnedFd> {
    if let Some(name) = path.as_os_str().as_encoded_bytes().strip_prefix(b"@") {
        let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
        bind(fd.as_raw_fd(), &UnixAddr::new_abstract(name)?)?;
        if kind != SockType::Datagram {
            listen(&fd, backlog(options))?;
        }
        return Ok(fd);
    }
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        std::fs::create_dir_all(parent)?;
        // Whoever owns the socket keeps its other files beside it, as tmpfiles.d(5) would have it.
        if let Some((uid, gid)) = options.owner {
            std::os::unix::fs::chown(parent, Some(uid), Some(gid))?;
        }
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    // The directory may be a service's own, which could put a link in the socket's place: neither mode nor owner
    // may follow one. The kernel makes the socket with mode 0777 less the mask (unix(7)).
    let mask = Mode::from_bits_truncate(!options.mode & 0o777);
    let before = nix::sys::stat::umask(mask);
    let bound = UnixAddr::new(path).and_then(|address| bind(fd.as_raw_fd(), &address));
    nix::sys::stat::umask(before);
    bound?;
    if let Some((uid, gid)) = options.owner {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    }
    if kind != SockType::Datagram {
        listen(&fd, backlog(options))?;
    }
    Ok(fd)
}

fn bind_net(address: SocketAddr, kind: SockType, options: BindOptions) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if options.free_bind {
        setsockopt(&fd, sockopt::IpFreebind, &true)?;
    }
    if options.reuse_port {
        setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    match address {
        SocketAddr::V4(v4) => bind(fd.as_raw_fd(), &SockaddrIn::from(v4))?,
        SocketAddr::V6(v6) => bind(fd.as_raw_fd(), &SockaddrIn6::from(v6))?,
    }
    if kind == SockType::Stream {
        listen(&fd, backlog(options))?;
    }
    Ok(fd)
}

fn backlog(options: BindOptions) -> Backlog {
    i32::try_from(options.backlog)
        .ok()
        .and_then(|n| Backlog::new(n).ok())
        .unwrap_or(Backlog::MAXCONN)
}

/// Binds the socket on which services say that they are ready; senders are known by their credentials.
pub fn bind_notify(path: &Path) -> io::Result<OwnedFd> {
    let options = BindOptions {
        mode: 0o666,
        owner: None,
        free_bind: false,
        reuse_port: false,
        backlog: 0,
    };
    let fd = bind_unix(path, SockType::Datagram, options)?;
    setsockopt(&fd, sockopt::PassCred, &true)?;
    Ok(fd)
}

/// One datagram of the notify socket.
#[derive(Debug)]
pub struct Notification {
    /// The sender's pid by the kernel's word; 0 when it is not in our namespace.
    pub sender: i32,
    pub text: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

/// The next datagram of a service. `None`: nothing is waiting.
pub fn receive_notify(fd: RawFd) -> Option<Notification> {
    let mut buffer = [0u8; 4096];
    let mut space = nix::cmsg_space!(nix::sys::socket::UnixCredentials, [RawFd; 16]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(fd, &mut parts, Some(&mut space), flags).ok()?;
    let length = received.bytes;
    let mut sender = 0;
    let mut descriptors = Vec::new();
    for message in received.cmsgs().ok()? {
        match message {
            ControlMessageOwned::ScmCredentials(credentials) => sender = credentials.pid(),
            ControlMessageOwned::ScmRights(raw) => {
                // SAFETY: the kernel has just installed these descriptors for us.
                let owned = |fd| unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) };
                descriptors.extend(raw.into_iter().map(owned));
            }
            _ => {}
        }
    }
    let text = buffer.get(..length).unwrap_or_default().to_vec();
    Some(Notification {
        sender,
        text,
        descriptors,
    })
}

/// Sends `text` as one message, with a descriptor if one is given. Never waits.
pub fn send_with_descriptor(over: RawFd, text: &[u8], fd: Option<RawFd>) -> io::Result<()> {
    let parts = [IoSlice::new(text)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let fds: Vec<RawFd> = fd.into_iter().collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    sendmsg::<()>(over, &parts, control, flags, None)?;
    Ok(())
}

/// Takes one message and the descriptors in it. `Ok(None)`: nothing waits; an empty text: the other side is gone.
pub fn receive_with_descriptors(from: RawFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut buffer = [0u8; 4096];
    let mut space = nix::cmsg_space!([RawFd; 8]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = match recvmsg::<()>(from, &mut parts, Some(&mut space), flags) {
        Ok(received) => received,
        Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut fds = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = message {
            // SAFETY: the kernel has just installed these descriptors for us.
            fds.extend(
                raw.into_iter()
                    .map(|fd| unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }),
            );
        }
    }
    let length = received.bytes;
    Ok(Some((
        buffer.get(..length).unwrap_or_default().to_vec(),
        fds,
    )))
}

/// Whether somebody waits on a listener, or a datagram on a socket. Never waits.
pub fn is_waiting(fd: RawFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut asked = [PollFd::new(borrow(fd), PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// The descriptors that our supervisor passed to us, with their names (sd_listen_fds(3)).
pub fn passed_listeners() -> Vec<(String, OwnedFd)> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<i32>().ok())
    };
    if number("LISTEN_PID") != Some(nix::unistd::getpid().as_raw()) {
        return Vec::new();
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, 1000);
    (3..3 + count)
        .zip(
            names
                .split(':')
                .map(str::to_owned)
                .chain(std::iter::repeat(String::new())),
        )
        // SAFETY: the contract of LISTEN_FDS: these descriptors are ours and nobody else's.
        .map(|(fd, name)| (name, unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }))
        .collect()
}

/// Borrows a descriptor by its number, for calls that only hand the number to the kernel.
pub fn borrow<'a>(fd: RawFd) -> std::os::fd::BorrowedFd<'a> {
    // SAFETY: a stale number makes the kernel answer EBADF; nothing is read or closed through it.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use super::*;

    #[test]
    fn a_socket_has_exactly_its_mode_and_takes_the_place_of_a_link_without_following_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("door");
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "kept").unwrap();
        for mode in [0o600, 0o660, 0o666, 0o777] {
            let _ = std::fs::remove_file(&path);
            std::os::unix::fs::symlink(&victim, &path).unwrap();
            let options = BindOptions {
                mode,
                owner: None,
                free_bind: false,
                reuse_port: false,
                backlog: 1,
            };
            let listen = Listen::UnixStream(path.to_string_lossy().into_owned());
            let fd = bind_listener(&listen, options).unwrap();
            let found = std::fs::symlink_metadata(&path).unwrap();
            assert!(found.file_type().is_socket());
            assert_eq!(found.mode() & 0o777, mode);
            assert_eq!(std::fs::read_to_string(&victim).unwrap(), "kept");
            assert!(!is_waiting(fd.as_raw_fd()));
            let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
            assert!(is_waiting(fd.as_raw_fd()));
        }
    }
}
