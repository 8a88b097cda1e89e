//! Webhooks a second that WebSMS acknowledges, each on disk before its answer, with 64 connections that are kept alive. Beside
//! it the floor: the same HTTP server whose messages are appended to a file, with one fdatasync(2) for all who wait. Both in
//! turns, each as a process of its own with a new directory; the connections are this process's.
//!
//! BENCH_DIR (the target directory): a place on the disk. BENCH_SECONDS (2): of each turn; a spool takes 100,000 messages
//! that nobody delivers. BENCH_TURNS (5).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs"
)]

mod report;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::routing::post;
use report::{Report, percentile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

const CONNECTIONS: u64 = 64;
const CONF: &str = "[websmsd]\nprox_addr = 127.0.0.1\nprofile [1] = twilio\nverify [1] = no\nurl_path [1] = /hook\nremt_addr [1] = 127.0.0.1\n";
/// Says that this process is the floor, and where its file is.
const FLOOR: &str = "BENCH_WEBSMS_FLOOR";

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(default)
}

/// What one turn of one of them came to.
struct Turn {
    /// Acknowledged a second.
    rate: f64,
    /// Milliseconds of each request.
    requests: Vec<f64>,
    /// The most memory of the server, in MB.
    memory: f64,
    /// Its time on a core for each request, in microseconds.
    cpu: f64,
}

/// As Twilio sends it.
fn request(turn: u64, number: u64) -> String {
    let body = format!(
        "ToCountry=SE&SmsMessageSid=SM{turn:08x}{number:024x}&NumMedia=0&Body=Your+code+is+123456.+It+is+valid+for+ten+minutes.+Do+not+share+it+with+anybody%2C+not+even+with+us%3A+we+never+ask.&To=%2B46707654321&MessageSid=SM{turn:08x}{number:024x}&From=%2B4670{:07}&AccountSid=AC0123456789abcdef0123456789abcdef&ApiVersion=2010-04-01",
        number % 1000
    );
    format!(
        "POST /hook HTTP/1.1\r\nHost: pbx.example.org\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Asks and waits for the whole answer; its status must be good.
async fn exchange(stream: &mut TcpStream, request: &str, buffer: &mut Vec<u8>) {
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it is sent");
    buffer.clear();
    loop {
        stream.read_buf(buffer).await.expect("an answer");
        let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        assert!(
            buffer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(buffer)
        );
        let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
        let length = text.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
        if buffer.len() >= head + 4 + length.unwrap_or(0) {
            return;
        }
    }
}

/// So many connections, each of which waits for its answer before it asks again.
fn drive(address: SocketAddr, turn: u64, length: Duration) -> (f64, Vec<f64>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().build().expect("a runtime");
    let requests = Rc::new(RefCell::new(Vec::with_capacity(1 << 17)));
    let next = Rc::new(Cell::new(0));
    let local = tokio::task::LocalSet::new();
    let begin = local.block_on(&runtime, async {
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            streams.push(stream);
        }
        let begin = Instant::now();
        let clients: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                let (requests, next) = (Rc::clone(&requests), Rc::clone(&next));
                tokio::task::spawn_local(async move {
                    let mut buffer = Vec::new();
                    while begin.elapsed() < length {
                        next.set(next.get() + 1);
                        let text = request(turn, next.get());
                        let start = Instant::now();
                        exchange(&mut stream, &text, &mut buffer).await;
                        let took = start.elapsed().as_secs_f64() * 1000.0;
                        requests.borrow_mut().push(took);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.expect("a client ends");
        }
        begin
    });
    let seconds = begin.elapsed().as_secs_f64();
    let requests = requests.take();
    (requests.len() as f64 / seconds, requests)
}

/// A field of /proc/PID/status, in MB.
fn memory(server: &Child, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}

/// The time that it was on a core, in seconds (proc(5): hundredths in fields 14 and 15).
fn cpu(server: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn turn(command: &mut Command, turn: u64, length: Duration) -> Turn {
    let door = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = door.local_addr().expect("an address");
    let mut server = command
        .stdin(OwnedFd::from(door))
        .stdout(Stdio::null())
        .spawn()
        .expect("a server");
    let (rate, requests) = drive(address, turn, length);
    let memory = memory(&server, "VmHWM");
    let cpu = cpu(&server) * 1e6 / requests.len() as f64;
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    Turn {
        rate,
        requests,
        memory,
        cpu,
    }
}

fn ours(directory: &Path) -> Command {
    let conf = directory.join("srv/etc/asterisk");
    std::fs::create_dir_all(&conf).expect("a directory");
    std::fs::write(conf.join("websms.conf"), CONF).expect("a file");
    // The socket becomes descriptor 3, as PID 1 passes it.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let mut command = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_switchhook");
    command.args(["-c", script, "sh", binary, "websms", "serve", "--root"]);
    command.arg(directory);
    command
}

fn floor(directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(FLOOR, directory.join("floor"));
    command
}

/// The floor's thread: appends what waits, synchronises once, answers all.
fn appender(path: &Path) -> SyncSender<(Bytes, oneshot::Sender<()>)> {
    let (sender, queue) = sync_channel::<(Bytes, oneshot::Sender<()>)>(4096);
    let mut file = File::create(path).expect("a file");
    std::thread::spawn(move || {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        while let Ok(first) = queue.recv() {
            for (body, answer) in std::iter::once(first).chain(queue.try_iter().take(511)) {
                bytes.extend_from_slice(&body);
                waiting.push(answer);
            }
            file.write_all(&bytes).expect("the disk takes it");
            file.sync_data().expect("the disk keeps it");
            bytes.clear();
            for answer in waiting.drain(..) {
                // Who went away at the end of a turn hears nothing.
                let _ = answer.send(());
            }
        }
    });
    sender
}

/// Serves on standard input, which is a socket.
fn be_the_floor(path: &Path) -> ExitCode {
    let socket = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned();
    let door = TcpListener::from(socket.expect("a socket"));
    door.set_nonblocking(true).expect("a socket");
    let floor = appender(path);
    let take = move |body: Bytes| {
        let floor = floor.clone();
        async move {
            let (sender, answer) = oneshot::channel();
            floor.try_send((body, sender)).expect("there is room");
            answer.await.expect("an answer");
        }
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_io().build();
    runtime.expect("a runtime").block_on(async {
        let door = tokio::net::TcpListener::from_std(door).expect("a socket");
        let router = axum::Router::new().route("/hook", post(take));
        loop {
            let (stream, _) = door.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(async move {
                let mut builder = hyper::server::conn::http1::Builder::new();
                builder.header_read_timeout(None);
                // How it ends is the client's affair.
                let _ = builder.serve_connection(stream, service).await;
            });
        }
    })
}

fn main() -> ExitCode {
    if let Some(path) = std::env::var_os(FLOOR) {
        return be_the_floor(Path::new(&path));
    }
    let base = std::env::var_os("BENCH_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let length = Duration::from_secs(number("BENCH_SECONDS", 2));
    let (mut times, mut floors) = (Vec::new(), Vec::new());
    let (mut slow, mut slow_floors) = (Vec::new(), Vec::new());
    let (mut middle, mut resident) = (Vec::new(), Vec::new());
    for round in 0..number("BENCH_TURNS", 5) {
        let directory = tempfile::tempdir_in(&base).expect("a directory on the disk");
        let ours = turn(&mut ours(directory.path()), round, length);
        let peer = turn(&mut floor(directory.path()), round, length);
        for (name, turn) in [("ours", &ours), ("floor", &peer)] {
            println!(
                "{name}: {:.0} acknowledged a second, p50 {:.1} ms, p99 {:.1} ms, {:.0} us of a core each, {:.1} MB",
                turn.rate,
                percentile(&turn.requests, 50.0),
                percentile(&turn.requests, 99.0),
                turn.cpu,
                turn.memory
            );
        }
        times.push(1e6 / ours.rate);
        floors.push(1e6 / peer.rate);
        middle.push(percentile(&ours.requests, 50.0));
        slow.push(percentile(&ours.requests, 99.0));
        slow_floors.push(percentile(&peer.requests, 99.0));
        resident.push(ours.memory);
    }
    let mut report = Report::new("websms");
    report.note("connections", CONNECTIONS.into());
    report.note("generator", "this program, on the same cores".into());
    report.note(
        "peer",
        "the same HTTP server, append and one fdatasync for all who wait".into(),
    );
    report.bar(
        "time_per_webhook_64_connections",
        "us",
        &times,
        Some(&floors),
        66.7,
    );
    report.bar("webhook_p50_64_connections", "ms", &middle, None, 10.0);
    report.bar(
        "webhook_p99_64_connections",
        "ms",
        &slow,
        Some(&slow_floors),
        20.0,
    );
    report.bar("memory_under_load", "MB", &resident, None, 24.0);
    report.finish()
}
