//! What address a listener has, in words for people. Asks the kernel, waits for nothing.

use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};

/// `tcp [::]:5038`, `udp 0.0.0.0:514`, `unix /run/x.sock`, `unix-datagram /dev/log`; `unknown` when the kernel does not say.
pub fn local(fd: &impl AsFd) -> String {
    let fd = fd.as_fd();
    let Ok(address) = getsockname::<SockaddrStorage>(fd.as_raw_fd()) else {
        return "unknown".to_owned();
    };
    let kind = getsockopt(&fd, sockopt::SockType);
    if let Some(unix) = address.as_unix_addr() {
        let kind = match kind {
            Ok(SockType::Datagram) => "unix-datagram",
            Ok(SockType::SeqPacket) => "unix-sequential",
            _ => "unix",
        };
        return match unix.path() {
            Some(path) => format!("{kind} {}", path.display()),
            None => kind.to_owned(),
        };
    }
    let kind = match kind {
        Ok(SockType::Datagram) => "udp",
        _ => "tcp",
    };
    match address.family() {
        Some(_) => format!("{kind} {address}"),
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_named_by_kind_and_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let stream = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(local(&stream), format!("unix {}", path.display()));
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(local(&udp), format!("udp {}", udp.local_addr().unwrap()));
        let tcp = std::net::TcpListener::bind("[::1]:0").unwrap();
        assert_eq!(local(&tcp), format!("tcp {}", tcp.local_addr().unwrap()));
    }
}
