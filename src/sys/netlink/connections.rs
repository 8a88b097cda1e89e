//! The TCP connections that others have opened to this network namespace, and how much each has received (NETLINK_SOCK_DIAG).
//!
//! Numbers are those of Linux's include/uapi/linux/{inet_diag,sock_diag,tcp}.h; it needs no privilege. Only a connection
//! whose handshake is complete is told of, so that its peer receives at its address; and only one to a port at which
//! somebody listens, for where we call, anybody knows the port. What is read is bounded.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::SockProtocol;

use super::message::{Writer, attribute, errno, messages};
use super::{Received, Socket};

/// The most sockets that are read at once; further ones are not told of.
const MOST: usize = 65_536;
/// What the kernel makes a part of its answer at the most.
const PART: usize = 32 * 1024;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
/// INET_DIAG_INFO, an attribute with `struct tcp_info`.
const INFO: u16 = 2;

const LISTEN: u8 = 10;
/// TCP_ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING: behind the handshake, and with `tcp_info`.
const OPENED: [u8; 6] = [1, 4, 5, 8, 9, 11];

/// Bytes of `struct inet_diag_msg`.
const HEAD: usize = 72;

/// One connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    pub peer: SocketAddr,
    /// The kernel's own name of it, never given again.
    pub cookie: u64,
    /// Bytes, without repetitions.
    pub received: u64,
    /// Milliseconds since something came last.
    pub idle: u32,
}

/// A socket as the kernel tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// At this port.
    Listener(u16),
    /// With its own port.
    Opened(u16, Connection),
}

/// Asks the kernel.
#[derive(Debug)]
pub struct Connections {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Connections {
    pub fn open() -> io::Result<Connections> {
        Ok(Connections {
            socket: Socket::of(SockProtocol::NetlinkSockDiag)?,
            buffer: vec![0; PART],
            sequence: 0,
        })
    }

    /// All that are there. After an error it must be opened again.
    pub fn look(&mut self) -> io::Result<Vec<Connection>> {
        let mut listeners = HashSet::new();
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            self.ask(family, |told| {
                match told {
                    Told::Listener(port) => _ = listeners.insert(port),
                    Told::Opened(port, connection) => found.push((port, connection)),
                }
                found.len() + listeners.len() < MOST
            })?;
        }
        found.retain(|(port, _)| listeners.contains(port));
        Ok(found
            .into_iter()
            .map(|(_, connection)| connection)
            .collect())
    }

    fn ask(&mut self, family: u8, mut take: impl FnMut(Told) -> bool) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket
            .send(request(family, self.sequence).as_bytes())?;
        let mut has_room = true;
        loop {
            let length = match self.socket.receive(&mut self.buffer)? {
                Received::Datagram(length) => length,
                // It makes the next part before it hands out one.
                Received::Nothing | Received::Lost => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            };
            let part = self.buffer.get(..length).unwrap_or_default();
            for message in messages(part).filter(|message| message.sequence == self.sequence) {
                match message.kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let number = errno(message.body).unwrap_or(libc::EIO);
                        return Err(io::Error::from_raw_os_error(number));
                    }
                    // What is too much is read to its end, and forgotten.
                    SOCK_DIAG_BY_FAMILY if has_room => {
                        has_room = read(message.body).is_none_or(&mut take);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, sequence: u32) -> Writer {
    let mut writer = Writer::default();
    let states = OPENED
        .iter()
        .chain([&LISTEN])
        .fold(0u32, |all, state| all | 1 << state);
    writer.message(SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, sequence, |w| {
        w.raw(&[family, TCP, 1 << (INFO - 1), 0]);
        w.raw(&states.to_ne_bytes());
        w.raw(&[0; 48]);
    });
    writer
}

/// Reads one socket, if it is of those that were asked for.
#[must_use]
pub fn read(body: &[u8]) -> Option<Told> {
    let (head, attributes) = body.split_at_checked(HEAD)?;
    let (family, state) = (*head.first()?, *head.get(1)?);
    let port = |at| Some(u16::from_be_bytes(bytes(head, at)?));
    let own = port(4)?;
    if state == LISTEN {
        return Some(Told::Listener(own));
    }
    let address = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::from(bytes::<4>(head, 24)?)),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(bytes::<16>(head, 24)?)),
        _ => return None,
    };
    let info = attribute(attributes, INFO)?;
    OPENED.contains(&state).then_some(())?;
    Some(Told::Opened(
        own,
        Connection {
            peer: SocketAddr::new(address.to_canonical(), port(6)?),
            cookie: u64::from_ne_bytes(bytes(head, 44)?),
            received: u64::from_ne_bytes(bytes(info, 128)?),
            idle: u32::from_ne_bytes(bytes(info, 52)?),
        },
    ))
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    fn opened(listen: &str, call: &str) -> (TcpListener, TcpStream, TcpStream) {
        let listener = TcpListener::bind((listen, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((call, port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        (listener, client, server)
    }

    fn of(client: &TcpStream) -> Option<Connection> {
        let place = client.local_addr().unwrap();
        let found = Connections::open().unwrap().look().unwrap();
        found.into_iter().find(|found| found.peer == place)
    }

    #[test]
    fn the_kernel_tells_how_much_a_peer_has_sent() {
        for (listen, call) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("::", "127.0.0.1"),
        ] {
            let (_listener, mut client, mut server) = opened(listen, call);
            let before = of(&client).expect("a connection");
            client.write_all(&[b'x'; 300]).unwrap();
            server.read_exact(&mut [0; 300]).unwrap();
            let after = of(&client).expect("a connection");
            assert_eq!((before.received, after.received), (0, 300));
            assert_eq!(before.cookie, after.cookie);
            // Half of it is closed, and its peer is still proven.
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
            assert!(of(&client).is_some());
        }
    }

    #[test]
    fn whom_we_call_is_not_told_of() {
        let (_listener, client, server) = opened("127.0.0.1", "127.0.0.1");
        let ours = server.local_addr().unwrap();
        let found = Connections::open().unwrap().look().unwrap();
        // The client's socket has the listener as its peer.
        assert!(found.iter().all(|found| found.peer != ours));
        // Where nobody listens any more, nobody new can have called.
        drop(_listener);
        assert_eq!(of(&client), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn what_is_no_opened_connection_is_nobodys(
            state in any::<u8>(), family in any::<u8>(), tail in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut body = vec![family, state];
            body.resize(HEAD, 1);
            body.extend(&tail);
            if let Some(Told::Opened(..)) = read(&body) {
                prop_assert!(OPENED.contains(&state));
            }
        }
    }
}
