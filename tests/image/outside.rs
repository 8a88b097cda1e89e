//! Sockets with other people's addresses: made in a container's network, used by the test.
//!
//! A broker, which is this test program once more, runs in the container, makes the sockets there and hands them over
//! (`SCM_RIGHTS`). Its network is one that the test made; what is sent with a false sender never leaves it.

use std::io::{IoSlice, IoSliceMut, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrStorage, bind, connect, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::docker::{ok, run, unique};
use crate::exchange::Exchange;

/// Where the broker finds the test.
const PLACE: &str = "SWITCHHOOK_TEST_BROKER";

/// How long a socket waits for somebody who may not answer. A refusal of the kernel's is silence, and has no other event.
pub const QUIET: Duration = Duration::from_secs(2);

/// A container that lends its network.
pub struct Outside {
    name: String,
    broker: Child,
    stream: Mutex<UnixStream>,
    /// Holds the way to the broker.
    directory: tempfile::TempDir,
}

impl Outside {
    /// With an address of its own in this network.
    pub fn in_network(network: &str) -> Outside {
        let name = unique("outside");
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display().to_string();
        ok(&[
            "run",
            "--detach",
            "--name",
            &name,
            "--network",
            network,
            "--cap-add=NET_ADMIN",
            "--volume=/:/host:ro",
            &format!("--volume={place}:/host{place}"),
            "--entrypoint=/bin/sleep",
            &crate::docker::image("full"),
            "1000",
        ]);
        let socket = directory.path().join("broker");
        let listener = UnixListener::bind(&socket).unwrap();
        let program = std::env::current_exe().unwrap();
        let broker = Command::new("docker")
            .args(["exec", "--env"])
            .arg(format!("{PLACE}={}", socket.display()))
            .args([&name, "chroot", "/host"])
            .arg(program)
            .args(["--exact", "outside::broker", "--ignored", "--nocapture"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        Outside {
            name,
            broker,
            stream: Mutex::new(stream),
            directory,
        }
    }

    /// In the network of the exchange itself.
    pub fn within(exchange: &Exchange) -> Outside {
        Outside::in_network(&format!("container:{}", exchange.name))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own address, where it has one.
    pub fn address4(&self) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        ok(&["inspect", "--format", format, &self.name])
    }

    /// Runs a program of the host's in its network.
    pub fn run(&self, words: &[&str]) {
        let mut arguments = vec!["exec", &self.name, "chroot", "/host"];
        arguments.extend(words);
        ok(&arguments);
    }

    /// Runs ip(8), with a command in words.
    pub fn ip(&self, command: &str) {
        let mut arguments = vec!["exec", &self.name, "chroot", "/host", "ip"];
        arguments.extend(command.split(' '));
        ok(&arguments);
    }

    /// Many of its commands at once.
    pub fn ip_batch(&self, commands: &[String]) {
        let file = self.directory.path().join("batch");
        std::fs::write(&file, commands.join("\n")).unwrap();
        let file = file.display().to_string();
        let ip = ["exec", &self.name, "chroot", "/host", "ip", "-batch", &file];
        ok(&ip);
    }

    /// One more address, of either family.
    pub fn move_in(&self, address: &str) {
        match address.contains(':') {
            true => self.ip(&format!("addr add {address}/128 dev eth0 nodad")),
            false => self.ip(&format!("addr add {address}/32 dev eth0")),
        }
    }

    fn make(&self, what: &str) -> Result<OwnedFd, String> {
        let mut stream = self.stream.lock().unwrap();
        writeln!(stream, "{what}").unwrap();
        receive(stream.as_raw_fd())
    }

    /// A connection from this address; `None` if nobody answers.
    pub fn tcp(&self, from: &str, to: SocketAddr) -> Option<TcpStream> {
        match self.make(&format!("tcp {from} {to}")) {
            Ok(fd) => {
                let stream = TcpStream::from(fd);
                stream.set_read_timeout(Some(QUIET)).unwrap();
                Some(stream)
            }
            Err(why) if why.contains("EINPROGRESS") || why.contains("EAGAIN") => None,
            Err(why) => panic!("tcp {from} {to}: {why}"),
        }
    }

    pub fn udp(&self, from: &str, to: SocketAddr) -> UdpSocket {
        self.datagrams("udp", from, to)
    }

    /// A socket whose packets bear the address of somebody else. What is answered goes there.
    pub fn forger(&self, from: &str, to: SocketAddr) -> UdpSocket {
        self.datagrams("forge", from, to)
    }

    fn datagrams(&self, how: &str, from: &str, to: SocketAddr) -> UdpSocket {
        let made = self.make(&format!("{how} {from} {to}"));
        let socket = UdpSocket::from(made.unwrap_or_else(|why| panic!("{how} {from}: {why}")));
        socket.set_read_timeout(Some(QUIET)).unwrap();
        socket
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        run("docker", &["rm", "--force", &self.name]);
        let _ = self.broker.kill();
        let _ = self.broker.wait();
    }
}

/// No test: what runs in the container, until the test lets go.
#[test]
#[ignore = "the other side of `Outside`, which starts it"]
fn broker() {
    let Some(place) = std::env::var_os(PLACE) else {
        return;
    };
    let stream = UnixStream::connect(place).unwrap();
    let lines = std::io::BufReader::new(stream.try_clone().unwrap());
    for line in std::io::BufRead::lines(lines).map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let made = make(words[0], words[1], words[2].parse().unwrap());
        hand_over(stream.as_raw_fd(), made);
    }
}

fn make(how: &str, from: &str, to: SocketAddr) -> nix::Result<OwnedFd> {
    let family = match to.is_ipv4() {
        true => AddressFamily::Inet,
        false => AddressFamily::Inet6,
    };
    let kind = match how {
        "tcp" => SockType::Stream,
        _ => SockType::Datagram,
    };
    let from = SocketAddr::new(from.parse().unwrap(), 0);
    let made = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if how == "forge" {
        setsockopt(&made, sockopt::IpTransparent, &true)?;
    }
    // For connect(2), too.
    setsockopt(&made, sockopt::SendTimeout, &TimeVal::new(2, 0))?;
    bind(made.as_raw_fd(), &SockaddrStorage::from(from))?;
    connect(made.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(made)
}

fn hand_over(to: RawFd, made: nix::Result<OwnedFd>) {
    let (text, fds) = match &made {
        Ok(fd) => ("+".to_owned(), vec![fd.as_raw_fd()]),
        Err(error) => (format!("{error:?}"), vec![]),
    };
    let rights = [ControlMessage::ScmRights(&fds)];
    let rights = if fds.is_empty() { &[][..] } else { &rights };
    let bytes = [IoSlice::new(text.as_bytes())];
    sendmsg::<()>(to, &bytes, rights, MsgFlags::empty(), None).unwrap();
}

fn receive(from: RawFd) -> Result<OwnedFd, String> {
    let mut text = [0; 256];
    let mut bytes = [IoSliceMut::new(&mut text)];
    let mut room = nix::cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(from, &mut bytes, Some(&mut room), flags).unwrap();
    let length = message.bytes;
    let mut found = message.cmsgs().unwrap();
    let fd = found.find_map(|part| match part {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    match fd {
        // SAFETY: the kernel has just put it into this process, and nobody else knows it.
        Some(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        None => Err(String::from_utf8_lossy(&text[..length]).into_owned()),
    }
}
