//! The image's own Asterisk in this network namespace, and attackers in another one at the end of a virtual cable.
//!
//! The attackers' namespace takes every address of two networks as its own (a route of type local), so that each attack comes
//! from another address, and forged packets need no raw socket.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect,
    sendmsg, socket,
};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// Each attack comes from another /24 of this network, so that no network is banned as a whole.
const ATTACKERS: u32 = 0x0a80_0000;
/// The false senders: 10.64.0.0/10.
const FORGED: u32 = 0x0a40_0000;

/// Runs a program that must succeed; what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output();
    let out = out.unwrap_or_else(|e| panic!("cannot run `{program}`: {e}"));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

const FILES: &[(&str, &str)] = &[
    (
        "asterisk.conf",
        "[directories]\nastetcdir => /bench/etc\nastdbdir => /bench/lib\nastspooldir => /bench/spool\nastrundir => /bench/run\nastlogdir => /bench/log\n",
    ),
    (
        "modules.conf",
        "[modules]\nautoload = yes\nnoload = res_config_ldap.so\n",
    ),
    (
        "manager.conf",
        "[general]\nenabled = yes\nbindaddr = 127.0.0.1\nport = 5038\n[autoban]\nsecret = bench\nread = security,system\nwrite =\nwritetimeout = 5000\n",
    ),
    (
        "pjsip.conf",
        "[udp]\ntype = transport\nprotocol = udp\nbind = 0.0.0.0:5060\n[tcp]\ntype = transport\nprotocol = tcp\nbind = 0.0.0.0:5060\n",
    ),
    ("logger.conf", "[general]\n[logfiles]\n"),
];

/// One attack's figures.
pub struct Attack {
    /// From the tenth packet sent until the kernel told of the ban.
    pub to_kernel_ms: f64,
    /// Packets that Asterisk answered.
    pub answered: u32,
}

pub struct Exchange {
    asterisk: Child,
    attackers: Child,
    house: tempfile::TempDir,
}

impl Exchange {
    /// Takes Asterisk out of the image and starts it here.
    pub fn start() -> Exchange {
        let image = std::env::var("BENCH_IMAGE").unwrap_or("switchhook:full".to_owned());
        let house = tempfile::tempdir().expect("a temporary directory");
        let place = house.path().to_str().expect("a path");
        let container = run("docker", &["create", &image]);
        let unpack = format!("docker export {container} | tar -x -C {place}");
        run("sh", &["-c", &unpack]);
        run("docker", &["rm", &container]);
        for below in ["etc", "lib", "spool", "run", "log"] {
            std::fs::create_dir_all(house.path().join("bench").join(below)).expect("a directory");
        }
        for (name, text) in FILES {
            let path = house.path().join("bench/etc").join(name);
            std::fs::write(path, text).expect("a file");
        }
        for (from, below) in [("/dev", "dev"), ("/proc", "proc")] {
            std::fs::create_dir_all(house.path().join(below)).expect("a directory");
            let target = format!("{place}/{below}");
            run("mount", &["--rbind", from, &target]);
        }
        let asterisk = Command::new("chroot")
            .args([
                place,
                "/usr/sbin/asterisk",
                "-f",
                "-C",
                "/bench/etc/asterisk.conf",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chroot");
        let attackers = Command::new("unshare")
            .args(["-n", "sleep", "infinity"])
            .spawn()
            .expect("unshare");
        let mut exchange = Exchange {
            asterisk,
            attackers,
            house,
        };
        exchange.lay_cable();
        exchange.wait_for_sip();
        exchange
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.attackers.id())
    }

    fn lay_cable(&self) {
        let ours = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        while std::fs::read_link(self.namespace())
            .ok()
            .is_none_or(|other| other == ours)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let pid = self.attackers.id().to_string();
        let ip = |words: &str| run("ip", &words.split(' ').collect::<Vec<_>>());
        let there = |words: &str| {
            let words: Vec<&str> = ["-t", &pid, "-n", "ip"]
                .into_iter()
                .chain(words.split(' '))
                .collect();
            run("nsenter", &words)
        };
        ip(&format!(
            "link add here type veth peer name there netns {pid}"
        ));
        ip("address add 10.9.0.1/24 dev here");
        ip("link set here up");
        there("link set lo up");
        there("address add 10.9.0.2/24 dev there");
        there("link set there up");
        for network in ["10.128.0.0/16", "10.64.0.0/10"] {
            ip(&format!("route add {network} via 10.9.0.2"));
            there(&format!("route add local {network} dev there"));
        }
    }

    /// Until Asterisk answers SIP and listens for managers.
    fn wait_for_sip(&mut self) {
        let began = Instant::now();
        let open = |address: Ipv4Addr, port: u16| TcpStream::connect((address, port)).is_ok();
        // Until it is fully booted it drops requests in silence.
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let patience = Some(Duration::from_millis(100));
        socket.set_read_timeout(patience).expect("a limit");
        let answers = || {
            let packet = register(Ipv4Addr::LOCALHOST, "UDP", 0);
            let _ = socket.send_to(packet.as_bytes(), (Ipv4Addr::LOCALHOST, 5060));
            socket.recv(&mut [0u8; 4096]).is_ok()
        };
        while !(open(OURS, 5060) && open(Ipv4Addr::LOCALHOST, 5038) && answers()) {
            let state = self.asterisk.try_wait().expect("a state");
            assert!(
                state.is_none() && began.elapsed() < Duration::from_secs(60),
                "Asterisk does not listen: {state:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs something in the attackers' namespace, in a thread of its own.
    fn there<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter(&namespace);
                work()
            });
            thread.join().expect("the attacker ends well")
        })
    }

    /// REGISTERs for an unknown account from an address of its own: 60 at `rate` a second, answered or not.
    pub fn attack(&self, transport: &str, rate: u32, watch: &Watch) -> Attack {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::from_bits(ATTACKERS + 256 * number + 7);
        let is_udp = transport == "udp";
        let (tenth, answered) = self.there(move || {
            if is_udp {
                by_udp(address, rate)
            } else {
                by_tcp(address, rate)
            }
        });
        let banned = watch
            .moment(address)
            .unwrap_or_else(|| panic!("{address} was never banned, and had {answered} answers"));
        Attack {
            to_kernel_ms: banned.saturating_duration_since(tenth).as_secs_f64() * 1e3,
            answered,
        }
    }

    /// So many forged packets a second until it is stopped.
    pub fn flood(&self, rate: u32) -> Flood {
        let stop = Arc::new(AtomicBool::new(rate == 0));
        let sent = Arc::new(AtomicU64::new(0));
        let (over, count, namespace) = (stop.clone(), sent.clone(), self.namespace());
        let thread = std::thread::spawn(move || {
            enter(&namespace);
            let socket = UdpSocket::bind("0.0.0.0:5098").expect("a socket");
            let began = Instant::now();
            let mut number = 0u32;
            while !over.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u32;
                while number < due {
                    // Every address once before any comes again.
                    let from = FORGED + number.wrapping_mul(40_503) % (1 << 22);
                    let packet = register(Ipv4Addr::from_bits(from), "UDP", number);
                    forge(&socket, from, packet.as_bytes());
                    number += 1;
                }
                count.store(u64::from(number), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        if rate > 0 {
            // It is a flood when it flows.
            while sent.load(Ordering::Relaxed) < u64::from(rate) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Flood { stop, sent, thread }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        for child in [&mut self.asterisk, &mut self.attackers] {
            let _ = child.kill();
            let _ = child.wait();
        }
        for below in ["dev", "proc"] {
            let target = self.house.path().join(below);
            let _ = Command::new("umount").arg("-l").arg(target).status();
        }
    }
}

pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Flood {
    /// How many were sent.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the flood ends well");
        self.sent.load(Ordering::Relaxed)
    }
}

fn enter(namespace: &str) {
    let file = std::fs::File::open(Path::new(namespace)).expect("the attackers' namespace");
    // SAFETY: the descriptor is open; only this thread changes its namespace.
    let failed = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(failed, 0, "setns: {}", std::io::Error::last_os_error());
}

fn register(from: Ipv4Addr, transport: &str, number: u32) -> String {
    format!(
        "REGISTER sip:10.9.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {from}:5099;branch=z9hG4bK{number}.{};rport\r\nFrom: <sip:100@10.9.0.1>;tag={number}\r\nTo: <sip:100@10.9.0.1>\r\nCall-ID: {number}@{from}\r\nCSeq: 1 REGISTER\r\nContact: <sip:100@{from}:5099>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        from.to_bits()
    )
}

/// Sends with another source address.
fn forge(socket: &UdpSocket, from: u32, packet: &[u8]) {
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr {
            s_addr: from.to_be(),
        },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let to = SockaddrIn::from(SocketAddrV4::new(OURS, 5060));
    // A full queue is no reason to stop: the next packet comes.
    let _ = sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(packet)],
        &[ControlMessage::Ipv4PacketInfo(&info)],
        MsgFlags::empty(),
        Some(&to),
    );
}

/// So many packets an attack sends.
const PACKETS: u32 = 60;
/// So long late answers are waited for.
const LATE: Duration = Duration::from_millis(300);

/// Sends at the rate; the moment of the tenth.
fn paced(rate: u32, mut send: impl FnMut(u32)) -> Instant {
    let began = Instant::now();
    let mut tenth = began;
    for number in 0..PACKETS {
        let due = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        if let Some(left) = due.checked_sub(began.elapsed()) {
            std::thread::sleep(left);
        }
        if number == 9 {
            tenth = Instant::now();
        }
        send(number);
    }
    tenth
}

fn by_udp(address: Ipv4Addr, rate: u32) -> (Instant, u32) {
    let socket = UdpSocket::bind((address, 5099)).expect("an attacker's address");
    socket.connect((OURS, 5060)).expect("a route");
    let tenth = paced(rate, |number| {
        let _ = socket.send(register(address, "UDP", number).as_bytes());
    });
    socket.set_read_timeout(Some(LATE)).expect("a limit");
    let mut buffer = [0u8; 4096];
    let mut answered = 0;
    while let Ok(length) = socket.recv(&mut buffer) {
        answered += u32::from(buffer[..length].starts_with(b"SIP/2.0 401"));
    }
    (tenth, answered)
}

fn by_tcp(address: Ipv4Addr, rate: u32) -> (Instant, u32) {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.expect("a socket");
    let from = SockaddrIn::from(SocketAddrV4::new(address, 0));
    bind(socket.as_raw_fd(), &from).expect("an attacker's address");
    let to = SockaddrIn::from(SocketAddrV4::new(OURS, 5060));
    connect(socket.as_raw_fd(), &to).expect("Asterisk accepts");
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("no delay");
    let tenth = paced(rate, |number| {
        let _ = stream.write_all(register(address, "TCP", number).as_bytes());
    });
    stream.set_read_timeout(Some(LATE)).expect("a limit");
    let (mut text, mut buffer) = (Vec::new(), [0u8; 65_536]);
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..length]);
    }
    let answered = text
        .windows(11)
        .filter(|window| *window == b"SIP/2.0 401")
        .count();
    (tenth, answered as u32)
}

/// What the kernel tells of new elements: each address with the moment at which it was first heard.
pub struct Watch {
    nft: Child,
    seen: Arc<(Mutex<HashMap<Ipv4Addr, Instant>>, Condvar)>,
}

impl Watch {
    pub fn start() -> Watch {
        let mut nft = Command::new("stdbuf")
            .args(["-oL", "nft", "monitor", "new", "elements"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("nft cannot be run: apt-get install nftables");
        let lines = BufReader::new(nft.stdout.take().expect("a pipe")).lines();
        let seen: Arc<(Mutex<HashMap<Ipv4Addr, Instant>>, Condvar)> = Arc::default();
        let told = seen.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let now = Instant::now();
                let addresses = line.split([' ', ',']).filter_map(|word| word.parse().ok());
                let mut map = told.0.lock().expect("no panic");
                addresses.for_each(|address| {
                    map.entry(address).or_insert(now);
                });
                told.1.notify_all();
            }
        });
        let watch = Watch { nft, seen };
        // It hears when it hears a first one.
        let first = Ipv4Addr::new(192, 0, 2, 1);
        let element = format!("{{ {first} timeout 1s }}");
        let began = Instant::now();
        while !watch.seen.0.lock().expect("no panic").contains_key(&first) {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "nft monitor is silent"
            );
            run(
                "nft",
                &["add", "element", "inet", "autoban", "weak4", &element],
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        watch
    }

    /// When the address was banned; it waits for it, up to a limit.
    fn moment(&self, address: Ipv4Addr) -> Option<Instant> {
        let map = self.seen.0.lock().expect("no panic");
        let limit = Duration::from_secs(20);
        let (map, _) = self
            .seen
            .1
            .wait_timeout_while(map, limit, |map| !map.contains_key(&address))
            .expect("no panic");
        map.get(&address).copied()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.nft.kill();
        let _ = self.nft.wait();
    }
}
