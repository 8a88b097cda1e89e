//! Renewals of the certificate under load: calls over UDP, TCP and TLS go on, a client makes 200 TLS handshakes a second, and
//! Traefik's store is written twenty times. Beside it, in the same container, the predecessor's way: the PBX is restarted.
//!
//! BENCH_IMAGE (switchhook; its target full), BENCH_RENEWALS (20), BENCH_RESTARTS (3).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs and keeps a pace"
)]

mod report;

// What the image suite knows of the engine and of phones.
#[allow(dead_code)]
#[path = "../tests/image/docker.rs"]
mod docker;
#[allow(dead_code)]
#[path = "../tests/image/exchange.rs"]
mod exchange;
#[allow(dead_code)]
#[path = "../tests/image/lines.rs"]
mod lines;
#[allow(dead_code)]
#[path = "../tests/image/media.rs"]
mod media;
#[allow(dead_code)]
#[path = "../tests/image/phone.rs"]
mod phone;
#[allow(dead_code)]
#[path = "../tests/image/store.rs"]
mod store;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use switchhook::certs::keeper::Outcome;
use switchhook::certs::prove::shake_hands;

use docker::{Network, Volume};
use exchange::{Exchange, Recipe};
use phone::{Family, Phone, Settings, Transport};
use report::{Report, median};
use store::{Authority, store as bytes_of, write};

const HOST: &str = "pbx.example.com";
/// Handshakes a second, by so many clients.
const RATE: u64 = 200;
const CLIENTS: u64 = 8;

fn number(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(default)
}

#[derive(Default)]
struct Count {
    shown: AtomicU64,
    reset: AtomicU64,
    refused: AtomicU64,
    is_over: AtomicBool,
}

impl Count {
    fn take(&self) -> [u64; 3] {
        [&self.shown, &self.reset, &self.refused].map(|count| count.swap(0, Ordering::AcqRel))
    }
}

/// Makes handshakes at a pace until it is over.
fn hammer(address: SocketAddr, count: &Arc<Count>) {
    for client in 0..CLIENTS {
        let count = Arc::clone(count);
        spawn(move || {
            let pace = Duration::from_millis(1000 * CLIENTS / RATE);
            let mut next = Instant::now() + pace * u32::try_from(client).unwrap_or(0) / 8;
            while !count.is_over.load(Ordering::Acquire) {
                sleep(next.saturating_duration_since(Instant::now()));
                next += pace;
                let end = Instant::now() + Duration::from_secs(5);
                let what = match shake_hands(address, None, HOST, end) {
                    Outcome::Shown(_) => &count.shown,
                    Outcome::Closed => &count.refused,
                    Outcome::Failed(_) => &count.reset,
                };
                what.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
}

fn phone(exchange: &Exchange, network: &Network, user: &str, transport: Transport) -> Phone {
    let password = exchange.password(user);
    let settings = Settings {
        user,
        password: &password,
        transport,
        family: Family::Four,
        tone: 440.0,
    };
    Phone::register(exchange, network, &settings)
}

/// Calls that have ended so far.
fn ended(phones: &[Phone]) -> usize {
    let closed = |phone: &Phone| {
        let events = phone.events.all();
        events.iter().any(|event| event.contains("CALL_CLOSED"))
    };
    phones.iter().filter(|phone| closed(phone)).count()
}

fn wait_shown(address: SocketAddr, print: &str) -> f64 {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        let end = Instant::now() + Duration::from_secs(2);
        if shake_hands(address, None, HOST, end) == Outcome::Shown(print.to_owned()) {
            return began.elapsed().as_secs_f64() * 1000.0;
        }
        sleep(Duration::from_millis(10));
    }
    f64::INFINITY
}

fn main() -> ExitCode {
    let (network, volume) = (Network::new(), Volume::new());
    let directory = tempfile::tempdir().expect("no directory");
    write(directory.path(), b"");
    let image = std::env::var("BENCH_IMAGE").unwrap_or_else(|_| "switchhook".to_owned());
    let exchange = Recipe::of("full")
        .image(&format!("{image}:full"))
        .volume(&volume)
        .network(&network)
        .option(&format!("--hostname={HOST}"))
        .option(&format!("--volume={}:/acme:ro", directory.path().display()))
        .start();
    for (user, number) in [
        ("carol", "103"),
        ("dave", "104"),
        ("erin", "105"),
        ("frank", "106"),
    ] {
        exchange.shell(&format!("switchhook phone add {user} --number {number}"));
    }
    let address: SocketAddr = format!("{}:5061", exchange.address4())
        .parse()
        .expect("no address");
    let mut phones = vec![
        phone(&exchange, &network, "alice", Transport::Udp),
        phone(&exchange, &network, "bob", Transport::Udp),
        phone(&exchange, &network, "carol", Transport::Tcp),
        phone(&exchange, &network, "dave", Transport::Tcp),
        phone(&exchange, &network, "erin", Transport::Tls),
        phone(&exchange, &network, "frank", Transport::Tls),
    ];
    for (caller, number) in [(0, "102"), (2, "104"), (4, "106")] {
        phones[caller].command("dial", number);
        phones[caller].wait_event(0, "CALL_ESTABLISHED");
    }
    let count = Arc::new(Count::default());
    hammer(address, &count);
    sleep(Duration::from_secs(5));
    let quiet = count.take();

    let authority = Authority::new();
    let mut times = Vec::new();
    for _ in 0..number("BENCH_RENEWALS", 20) {
        let ours = authority.issue(HOST, -1, 89);
        write(directory.path(), &bytes_of(&[ours.entry(HOST)]));
        times.push(wait_shown(address, &ours.fingerprint()));
        sleep(Duration::from_millis(500));
    }
    let ours = count.take();
    let dropped = ended(&phones);

    let mut outages = Vec::new();
    for _ in 0..number("BENCH_RESTARTS", 3) {
        let began = Instant::now();
        // The predecessor's hook: its PBX is ended at once, and started again.
        exchange.exec(&["asterisk", "-rx", "core restart now"]);
        wait_shown(address, &in_use(&exchange));
        outages.push(began.elapsed().as_secs_f64() * 1000.0);
        sleep(Duration::from_secs(2));
    }
    let theirs = count.take();
    count.is_over.store(true, Ordering::Release);
    let their_dropped = ended(&phones);

    let share = |[shown, reset, refused]: [u64; 3], of: u64| {
        let all = (shown + reset + refused).max(1);
        of as f64 * 100.0 / all as f64
    };
    let mut report = Report::new("certs");
    let (dropped, their_dropped) = (dropped as f64 / 2.0, their_dropped as f64 / 2.0);
    report.bar("calls-dropped", "", &[dropped], Some(&[their_dropped]), 0.0);
    report.bar(
        "handshakes-reset",
        "%",
        &[share(ours, ours[1])],
        Some(&[share(theirs, theirs[1])]),
        0.5,
    );
    report.bar(
        "handshakes-refused",
        "",
        &[ours[2] as f64],
        Some(&[theirs[2] as f64]),
        0.0,
    );
    report.bar_at(
        "write-to-served",
        "ms",
        (&times, 100.0),
        Some(median(&outages)),
        1000.0,
    );
    report.note(
        "handshakes shown, reset, refused",
        serde_json::json!({ "without a change": quiet, "renewals": ours, "restarts": theirs }),
    );
    report.note(
        "the peer",
        "core restart now, as the predecessor's hook does it".into(),
    );
    report.finish()
}

/// What is in use, by the exchange's own word.
fn in_use(exchange: &Exchange) -> String {
    let shown = exchange.exec(&["switchhook", "cert", "show", "--json"]).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
    shown["certificates"][0]["fingerprint"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
