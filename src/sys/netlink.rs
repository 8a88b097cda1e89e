//! One socket to a part of the kernel, mostly its packet filter (NETLINK_NETFILTER), and the messages on it.
//!
//! The kernel answers before send(2) returns, so that nothing here waits. It refuses to know what a message means.

pub mod connections;
pub mod message;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname,
    recvfrom, sendto, setsockopt, socket, sockopt,
};

/// linux/netlink.h: an error's answer holds only the header of what it answers.
const NETLINK_CAP_ACK: libc::c_int = 10;

/// A bound socket with a port of its own.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
}

/// What was there to read.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes: one datagram.
    Datagram(usize),
    Nothing,
    /// The kernel had more to say than fits the socket: something is missing.
    Lost,
}

impl Socket {
    /// To the packet filter.
    pub fn open() -> io::Result<Socket> {
        Socket::of(SockProtocol::NetlinkNetFilter)
    }

    fn of(protocol: SockProtocol) -> io::Result<Socket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let address: NetlinkAddr = getsockname(fd.as_raw_fd())?;
        set(&fd, libc::SOL_NETLINK, NETLINK_CAP_ACK, &1i32)?;
        Ok(Socket {
            port: address.pid(),
            fd,
        })
    }

    /// The number by which the kernel knows this socket.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Lets the kernel tell what happens in this group (linux/netfilter/nfnetlink.h, NFNLGRP).
    pub fn join(&self, group: u32) -> io::Result<()> {
        set(
            &self.fd,
            libc::SOL_NETLINK,
            libc::NETLINK_ADD_MEMBERSHIP,
            &group,
        )
    }

    /// Refuses, within the kernel, what was caused by the socket of this port: own changes take no room in the buffer.
    pub fn ignore(&self, port: u32) -> io::Result<()> {
        let step = |code: u32, jt, jf, k| libc::sock_filter {
            code: u16::try_from(code).unwrap_or_default(),
            jt,
            jf,
            k,
        };
        // A header holds the port at its 12th byte, in the machine's order; the filter loads in network order.
        let mut program = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 12),
            step(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                0,
                1,
                u32::from_be_bytes(port.to_ne_bytes()),
            ),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        ];
        let filter = libc::sock_fprog {
            len: 4,
            filter: program.as_mut_ptr(),
        };
        set(&self.fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
    }

    /// Asks for buffers of this size; without privilege over the machine the kernel gives what it gives anybody.
    pub fn resize(&self, bytes: usize) -> io::Result<()> {
        if setsockopt(&self.fd, sockopt::SndBufForce, &bytes).is_err() {
            setsockopt(&self.fd, sockopt::SndBuf, &bytes)?;
        }
        if setsockopt(&self.fd, sockopt::RcvBufForce, &bytes).is_err() {
            setsockopt(&self.fd, sockopt::RcvBuf, &bytes)?;
        }
        Ok(())
    }

    /// The longest datagram that it can send, in bytes (af_netlink.c: the buffer but 32 bytes).
    pub fn longest(&self) -> io::Result<usize> {
        let size = nix::sys::socket::getsockopt(&self.fd, sockopt::SndBuf)?;
        Ok(size.saturating_sub(32))
    }

    /// Sends to the kernel, which has done it, or refused it, when this returns.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        let sent = sendto(self.fd.as_raw_fd(), datagram, &kernel, MsgFlags::empty())?;
        if sent == datagram.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Takes one datagram of the kernel. Never waits.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), buffer) {
                // Only the kernel has the port 0; others may not write to us.
                Ok((_, Some(sender))) if sender.pid() != 0 => {}
                Ok((length, _)) => return Ok(Received::Datagram(length)),
                Err(nix::Error::EAGAIN) => return Ok(Received::Nothing),
                Err(nix::Error::ENOBUFS) => return Ok(Received::Lost),
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set<T>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: the kernel reads `length` bytes of `value`, and what they point to lives in the caller.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
