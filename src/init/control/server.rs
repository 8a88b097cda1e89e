//! PID 1's side of the control socket: clients, their requests, and the followers of the events.
//!
//! Only root and the appliance's own user are heard. Everything is bounded: the length of a request, the number of
//! clients and of followers, what is read from one client before others get their turn. A newcomer is never kept
//! out by idle clients: the one that was silent longest goes. Invariant: nothing here waits.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::{Reply, Request, parse_request};
use crate::init::events::Peer;

/// The longest request, in bytes.
pub const LONGEST_REQUEST: usize = 4096;
const MOST_CLIENTS: usize = 32;
const MOST_FOLLOWERS: usize = 8;
/// How many connections are accepted before other events get their turn.
const ACCEPT_BATCH: usize = 16;

/// One connected client.
struct Client {
    stream: UnixStream,
    peer: Peer,
    input: Vec<u8>,
    follows: bool,
    /// The turn in which it was last heard.
    heard: u64,
}

/// The listening side.
pub struct Server {
    listener: UnixListener,
    clients: HashMap<RawFd, Client>,
    turn: u64,
    followers_dropped: u64,
    /// Disconnected, and still open until nothing watches them any more.
    departed: Vec<UnixStream>,
}

/// What a descriptor of ours brought.
pub enum Incoming {
    Nothing,
    /// New descriptors to watch.
    Connected(Vec<RawFd>),
    /// Requests of one client, in order; a bad line comes as its reason.
    Requests(Peer, Vec<Result<Request, String>>),
    Gone,
}

impl Server {
    pub fn bind(path: &Path) -> std::io::Result<Server> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Server::resume(listener))
    }

    /// Takes a listener over that an earlier binary of PID 1 bound.
    pub fn resume(listener: UnixListener) -> Server {
        Server {
            listener,
            clients: HashMap::new(),
            turn: 0,
            followers_dropped: 0,
            departed: Vec::new(),
        }
    }

    /// Takes a client over that an earlier binary accepted. False: it has gone.
    pub fn adopt(&mut self, stream: UnixStream) -> bool {
        let Some(peer) = trusted_peer(&stream) else {
            return false;
        };
        self.welcome(stream, peer);
        true
    }

    fn welcome(&mut self, stream: UnixStream, peer: Peer) -> RawFd {
        let fd = stream.as_raw_fd();
        let client = Client {
            stream,
            peer,
            input: Vec::new(),
            follows: false,
            heard: self.turn,
        };
        self.clients.insert(fd, client);
        fd
    }

    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    pub fn client(&self, fd: RawFd) -> Option<&UnixStream> {
        self.clients.get(&fd).map(|client| &client.stream)
    }

    pub fn owns(&self, fd: RawFd) -> bool {
        fd == self.listener.as_raw_fd() || self.clients.contains_key(&fd)
    }

    /// Followers that were disconnected because they did not read.
    pub fn followers_dropped(&self) -> u64 {
        self.followers_dropped
    }

    /// Handles readability of one of our descriptors.
    pub fn readable(&mut self, fd: RawFd) -> Incoming {
        self.turn += 1;
        if fd == self.listener.as_raw_fd() {
            return Incoming::Connected((0..ACCEPT_BATCH).map_while(|_| self.accept()).collect());
        }
        let Some(client) = self.clients.get_mut(&fd) else {
            return Incoming::Nothing;
        };
        client.heard = self.turn;
        let mut buffer = [0u8; 1024];
        match client.stream.read(&mut buffer) {
            Ok(0) => Incoming::Gone,
            Ok(length) => {
                let new = buffer.get(..length).unwrap_or_default();
                client.input.extend_from_slice(new);
                let mut requests = Vec::new();
                while let Some(end) = client.input.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = client.input.drain(..=end).collect();
                    requests.push(parse_request(&line));
                }
                if client.input.len() > LONGEST_REQUEST {
                    let reason = format!("a request is longer than {LONGEST_REQUEST} bytes");
                    self.reply(fd, &Reply::Refused { reason });
                    return Incoming::Gone;
                }
                Incoming::Requests(client.peer, requests)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Incoming::Nothing,
            Err(_) => Incoming::Gone,
        }
    }

    /// The next connection. Strangers are told so and closed; they do not count.
    fn accept(&mut self) -> Option<RawFd> {
        // As many strangers as a batch allows, not more: the next turn goes on.
        for _ in 0..ACCEPT_BATCH {
            let (mut stream, _) = self.listener.accept().ok()?;
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let Some(peer) = trusted_peer(&stream) else {
                let reason = "only root may speak here".to_owned();
                let _ = stream.write_all(&line(&Reply::Refused { reason }));
                continue;
            };
            if self.clients.len() >= MOST_CLIENTS {
                self.make_room();
            }
            return Some(self.welcome(stream, peer));
        }
        None
    }

    /// Disconnects the client that was silent longest; followers are few, and silent by their nature.
    fn make_room(&mut self) {
        let idle = self.clients.iter().filter(|(_, client)| !client.follows);
        let longest = idle
            .min_by_key(|(_, client)| client.heard)
            .map(|(fd, _)| *fd);
        if let Some(fd) = longest {
            self.drop_client(fd);
        }
    }

    /// Answers; a client that cannot take the answer at once is dropped.
    pub fn reply(&mut self, fd: RawFd, reply: &Reply) {
        let Some(client) = self.clients.get_mut(&fd) else {
            return;
        };
        if client.stream.write_all(&line(reply)).is_err() {
            self.drop_client(fd);
        }
    }

    /// From now on this client gets every event. False: there are too many followers.
    pub fn follow(&mut self, fd: RawFd) -> bool {
        if self.followers().count() >= MOST_FOLLOWERS {
            return false;
        }
        if let Some(client) = self.clients.get_mut(&fd) {
            client.follows = true;
        }
        true
    }

    fn followers(&self) -> impl Iterator<Item = RawFd> {
        let following = self.clients.iter().filter(|(_, client)| client.follows);
        following.map(|(fd, _)| *fd)
    }

    /// Whether anybody is to be told of events.
    pub fn has_followers(&self) -> bool {
        self.followers().next().is_some()
    }

    /// Tells every follower; one whose buffer is full is dropped and counted. It may come back and ask for what it missed.
    pub fn publish(&mut self, reply: &Reply) {
        let line = line(reply);
        let following = self.clients.iter_mut().filter(|(_, client)| client.follows);
        let full = following.filter_map(|(fd, client)| {
            let is_told = client.stream.write_all(&line).is_ok();
            (!is_told).then_some(*fd)
        });
        let full: Vec<RawFd> = full.collect();
        for fd in full {
            self.drop_client(fd);
            self.followers_dropped += 1;
        }
    }

    /// Disconnects a client. Its descriptor stays open, and its number its own, until `forget`.
    pub fn drop_client(&mut self, fd: RawFd) {
        if let Some(client) = self.clients.remove(&fd) {
            // A child that was just forked may hold a copy: the peer must not wait for that one's end.
            let _ = client.stream.shutdown(std::net::Shutdown::Both);
            self.departed.push(client.stream);
        }
    }

    /// Closes what was disconnected, after `unwatch` was told of each.
    pub fn forget(&mut self, unwatch: impl Fn(&UnixStream)) {
        for stream in self.departed.drain(..) {
            unwatch(&stream);
        }
    }
}

fn line(reply: &Reply) -> Vec<u8> {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The peer, if it is root or runs as we do (unix(7), SO_PEERCRED).
fn trusted_peer(stream: &UnixStream) -> Option<Peer> {
    let peer = nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::PeerCredentials);
    let peer = peer.ok()?;
    let is_trusted = peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw();
    is_trusted.then_some(Peer {
        uid: peer.uid(),
        pid: peer.pid(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

    #[test]
    fn a_client_that_has_gone_is_reported_no_more_although_a_child_holds_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let mut server = Server::bind(&path).unwrap();
        let peer = UnixStream::connect(&path).unwrap();
        let Incoming::Connected(clients) = server.readable(server.listener().as_raw_fd()) else {
            panic!("nobody came");
        };
        let client = server.client(clients[0]).unwrap();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        epoll
            .add(client, EpollEvent::new(EpollFlags::EPOLLIN, 1))
            .unwrap();
        // As a child has one from its fork to its exec.
        let copy = client.try_clone().unwrap();
        drop(peer);
        assert!(matches!(server.readable(clients[0]), Incoming::Gone));
        server.drop_client(clients[0]);
        assert!(!server.owns(clients[0]));
        server.forget(|stream| epoll.delete(stream).unwrap());
        let mut events = [EpollEvent::empty(); 4];
        assert_eq!(epoll.wait(&mut events, EpollTimeout::ZERO), Ok(0));
        drop(copy);
    }
}
