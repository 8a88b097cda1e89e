//! The one question to a STUN server over UDP, with repetitions, and names looked up within a bound of time.
//!
//! Invariant: every call ends within its patience, however slow the resolver or the server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::stun::{self, Id, LONGEST};
use crate::config::external::Server;

/// When the question is asked again, from the first time on (RFC 8489, 6.2.1, from its 500 ms on), and when it is given up.
const AGAIN: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_millis(3500),
];
/// How long a name may take.
const NAME: Duration = Duration::from_secs(5);

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Four,
    Six,
}

impl Family {
    pub fn fits(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Family::Four)
    }
}

/// Our address as this server sees it.
///
/// # Errors
/// With why there is none, in words, the server's name in front.
pub fn ask(server: &Server, family: Family) -> Result<IpAddr, String> {
    let named = |why: String| format!("{server}: {why}");
    let found = resolve(&server.host).map_err(named)?;
    let mut fitting = found.into_iter().filter(|address| family.fits(*address));
    let address = fitting
        .next()
        .ok_or_else(|| named("it has no address of this kind".to_owned()))?;
    ask_at(SocketAddr::new(address, server.port)).map_err(named)
}

/// Asks all at once; the answers and what went wrong, each in the order of the servers.
pub fn ask_all(servers: &[Server], family: Family) -> (Vec<IpAddr>, Vec<String>) {
    let threads: Vec<_> = servers
        .iter()
        .cloned()
        .map(|server| std::thread::spawn(move || ask(&server, family)))
        .collect();
    let mut answers = Vec::new();
    let mut troubles = Vec::new();
    for thread in threads {
        match thread.join() {
            Ok(Ok(address)) => answers.push(address),
            Ok(Err(why)) => troubles.push(why),
            Err(_) => {}
        }
    }
    (answers, troubles)
}

fn ask_at(server: SocketAddr) -> Result<IpAddr, String> {
    let socket = open(server).map_err(|e| e.to_string())?;
    let mut id: Id = [0; 12];
    getrandom::getrandom(&mut id).map_err(|e| e.to_string())?;
    let began = Instant::now();
    for until in AGAIN {
        socket
            .send(&stun::request(&id))
            .map_err(|e| e.to_string())?;
        while let Some(left) = until.checked_sub(began.elapsed()).filter(|t| !t.is_zero()) {
            let mut bytes = [0; LONGEST];
            socket
                .set_read_timeout(Some(left))
                .map_err(|e| e.to_string())?;
            match socket.recv(&mut bytes) {
                Ok(length) => match stun::answer(bytes.get(..length).unwrap_or_default(), &id) {
                    Ok(address) => return Ok(address.ip()),
                    // Anybody may send something; only the server knows the id.
                    Err(stun::Refusal::Foreign) => {}
                    Err(refusal) => return Err(refusal.to_string()),
                },
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }
    Err("it does not answer".to_owned())
}

fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    Ok(socket)
}

/// The addresses of a name, or the address that it is.
///
/// # Errors
/// With why there is none, in words.
pub fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    // The C library's resolver knows no bound of time, so that its thread is left behind when it takes too long.
    let (tell, told) = channel();
    let name = host.to_owned();
    std::thread::spawn(move || {
        let found = (name.as_str(), 0).to_socket_addrs();
        let found = found.map(|all| all.map(|address| address.ip()).collect::<Vec<IpAddr>>());
        let _ = tell.send(found.map_err(|e| e.to_string()));
    });
    match told.recv_timeout(NAME) {
        Ok(Ok(found)) if found.is_empty() => Err("the name has no address".to_owned()),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!(
            "no name server answered within {} s",
            NAME.as_secs()
        )),
    }
}
