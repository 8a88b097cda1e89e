//! A network namespace of our own, and a wire to another one from which attackers send.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc;

/// Says that this process has its namespace.
pub const INSIDE: &str = "SWITCHHOOK_TEST_NAMESPACE";
/// Runs `test`, the body of the test function of this name, where it is root of a network of its own.
pub fn in_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return test();
    }
    in_namespace_of(name, &["-Urn"]);
}

/// A name without its module is one of `firewall`.
fn full_name(name: &str) -> String {
    if name.contains("::") {
        name.to_owned()
    } else {
        format!("firewall::{name}")
    }
}

pub fn in_namespace_of(name: &str, unshare: &[&str]) {
    let itself = std::env::current_exe().expect("the test's own program");
    let out = Command::new("unshare")
        .args(unshare)
        .arg("--")
        .arg(itself)
        .args(["--exact", &full_name(name), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare(1) of util-linux is needed");
    // A name that no test has would pass.
    let has_run = String::from_utf8_lossy(&out.stdout).contains("1 passed");
    assert!(
        out.status.success() && has_run,
        "in a namespace of its own (does this machine allow `unshare -Urn`?):\n{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

pub fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed (nftables, iproute2): {e}"));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success(),
        "{program} {}: {errors}",
        arguments.join(" ")
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

const EXCHANGE: [&str; 2] = ["203.0.113.1", "2001:db8:ffff::1"];
/// Never banned: its packet shows that those before it have been through the filter.
const MARKERS: [&str; 2] = ["198.18.0.1", "2001:db8:aaaa::1"];

/// The wire to the attackers: a network namespace that lives as long as this, with a veth to ours.
pub struct Wire {
    end: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Wire {
    /// With these addresses at the far end.
    pub fn to(addresses: &[&str]) -> Wire {
        let (work, orders) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (end, ends) = mpsc::channel();
        let (id, ids) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: it has no memory to do with; only this thread gets another network.
            let done = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
            // SAFETY: it only tells a number.
            id.send(unsafe { libc::gettid() }).expect("the test waits");
            orders.into_iter().for_each(|order| order());
            let _ = ends.recv();
        });
        let there = ids.recv().expect("a namespace").to_string();
        let (wire, far) = ("near", "far");
        run(
            "ip",
            &[
                "link", "add", wire, "type", "veth", "peer", "name", far, "netns", &there,
            ],
        );
        let mut near: Vec<String> = EXCHANGE.map(|address| attach(address, wire)).to_vec();
        near.push(format!("link set {wire} up"));
        near.extend(["", "-6 "].map(|family| format!("{family}route add default dev {wire}")));
        batch(&near);
        let wire = Wire {
            end: Some(end),
            thread: Some(thread),
            work,
        };
        let all = addresses.iter().chain(&MARKERS);
        let mut lines: Vec<String> = all.map(|address| attach(address, far)).collect();
        lines.push(format!("link set {far} up"));
        lines.extend(["", "-6 "].map(|family| format!("{family}route add default dev {far}")));
        wire.there(move || batch(&lines));
        wire
    }

    /// What `order` makes in the attackers' namespace. Sockets that were made there stay there.
    fn there<T: Send + 'static>(&self, order: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answers) = mpsc::channel();
        let order = move || drop(answer.send(order()));
        self.work.send(Box::new(order)).expect("the wire");
        answers.recv().expect("the attackers' side")
    }

    /// Which of these sources get a UDP packet to our port; each sends one, then the marker.
    pub fn through(&self, port: u16, sources: &[&str]) -> BTreeSet<IpAddr> {
        let mut through = BTreeSet::new();
        for (exchange, marker) in EXCHANGE.into_iter().zip(MARKERS) {
            let exchange: IpAddr = exchange.parse().expect("an address");
            let here = UdpSocket::bind((exchange, port)).expect("the exchange's port");
            let of_family = |text: &str| {
                let address: IpAddr = text.parse().expect("an address");
                (address.is_ipv4() == exchange.is_ipv4()).then_some(address)
            };
            let marker = of_family(marker).expect("a marker for each family");
            let senders: Vec<IpAddr> = sources.iter().copied().filter_map(of_family).collect();
            let order = move || {
                for sender in std::iter::once(marker).chain(senders).chain([marker]) {
                    let socket = UdpSocket::bind((sender, 0)).expect("a source");
                    socket.send_to(b"x", (exchange, port)).expect("a packet");
                }
            };
            // Whoever sends first waits for the other side's hardware address, and could be passed by the next.
            self.there(move || {
                let socket = UdpSocket::bind((marker, 0)).expect("a source");
                socket.send_to(b"x", (exchange, port)).expect("a packet");
            });
            let mut markers = 0;
            let mut buffer = [0; 8];
            let mut order = Some(order);
            while markers < 3 {
                let (_, from) = here.recv_from(&mut buffer).expect("a packet");
                if from.ip() == marker {
                    markers += 1;
                } else {
                    through.insert(from.ip());
                }
                if let Some(order) = order.take() {
                    self.there(order);
                }
            }
        }
        through
    }

    /// An established connection from the attackers' side: their end, and ours.
    pub fn connect(&self, from: &'static str, port: u16) -> (TcpStream, TcpStream) {
        let exchange: IpAddr = EXCHANGE[0].parse().expect("an address");
        let listener = TcpListener::bind((exchange, port)).expect("the exchange's port");
        let theirs = self.there(move || {
            let from: SocketAddr = format!("{from}:0").parse().expect("an address");
            connect_from(from, SocketAddr::new(exchange, port))
        });
        let (ours, _) = listener.accept().expect("a connection");
        (theirs, ours)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(std::mem::replace(&mut self.work, mpsc::channel().0));
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn attach(address: &str, device: &str) -> String {
    if address.contains(':') {
        format!("addr add {address}/128 dev {device} nodad")
    } else {
        format!("addr add {address}/32 dev {device}")
    }
}

fn batch(lines: &[String]) {
    for line in lines {
        run("ip", &line.split(' ').collect::<Vec<_>>());
    }
}

/// A connection from a chosen address, which the standard library cannot make.
fn connect_from(from: SocketAddr, to: SocketAddr) -> TcpStream {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket,
    };
    use std::os::fd::AsRawFd;
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket");
    bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).expect("a source");
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).expect("a connection");
    fd.into()
}
