//! The PBX's sockets: clients that connect while it restarts wait, and none is refused.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::docker::Volume;
use crate::exchange::{Exchange, Recipe};
use crate::lines::{PATIENCE, until};
use crate::stop::count;

/// How often each client connects, as the measurement that found 25 refused connects a restart.
const PACE: Duration = Duration::from_millis(100);

/// Listeners of every kind, open to the test's own network.
const OPEN: &str = r#"
cd /srv/etc/asterisk
pair='tlsenable = yes\ntlscertfile = /srv/etc/ssl/asterisk/cert.pem\ntlsprivatekey = /srv/etc/ssl/asterisk/priv_key.pem\n'
sed -i 's/^bindaddr = .*/bindaddr = 0.0.0.0/' manager.conf
sed -i "/^\[general\]/a $pair" manager.conf
printf "[general]\nenabled = yes\nbindaddr = 0.0.0.0\n$pair" >http.conf
"#;

/// What the clients of all sockets have met.
#[derive(Default)]
struct Tally {
    connected: AtomicUsize,
    answered: AtomicUsize,
    /// Taken by a process that was ended before it answered.
    cut: AtomicUsize,
    refused: Mutex<Vec<String>>,
}

/// Where a client connects, what it says first, and what must be in the answer; without one it only connects.
#[derive(Clone)]
enum Door {
    Console(String),
    Tcp(SocketAddr, &'static str, &'static str),
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Door {
    fn knock(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self {
            Door::Console(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Door::Tcp(address, ..) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        })
    }

    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Door::Console(_) => ("", "/"),
            Door::Tcp(_, said, expected) => (said, expected),
        }
    }
}

/// Waits for the first bytes of the answer.
fn converse(mut stream: Box<dyn Stream>, door: &Door, tally: &Tally) {
    let (said, expected) = door.words();
    let mut buffer = [0; 256];
    let told = said.is_empty() || stream.write_all(said.as_bytes()).is_ok();
    match stream.read(&mut buffer) {
        Ok(length) if told && length > 0 => {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            assert!(text.contains(expected), "{text}");
            tally.answered.fetch_add(1, Ordering::Relaxed);
        }
        // A timeout would be a connection that nobody ever took.
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer: {e}"),
        _ => {
            tally.cut.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Connects at its pace until told to stop; each connection waits in a thread of its own.
fn client(door: &Door, tally: &Arc<Tally>, is_over: &AtomicBool) {
    let mut waiting = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        match door.knock() {
            Ok(stream) => {
                tally.connected.fetch_add(1, Ordering::Relaxed);
                if !door.words().1.is_empty() {
                    let (door, tally) = (door.clone(), Arc::clone(tally));
                    waiting.push(std::thread::spawn(move || converse(stream, &door, &tally)));
                }
            }
            Err(e) => tally.refused.lock().unwrap().push(e.to_string()),
        }
        std::thread::sleep(PACE);
    }
    for conversation in waiting {
        conversation.join().unwrap();
    }
}

fn doors(exchange: &Exchange) -> Vec<Door> {
    let pid = exchange.inspect("{{.State.Pid}}");
    let ip = exchange.address4().parse().unwrap();
    let tcp = |port, said, expected| Door::Tcp(SocketAddr::new(ip, port), said, expected);
    vec![
        Door::Console(format!("/proc/{pid}/root/run/asterisk/asterisk.ctl")),
        tcp(5038, "", "Asterisk Call Manager"),
        tcp(8088, "GET /none HTTP/1.0\r\n\r\n", "HTTP/1.1 "),
        tcp(5039, "", ""),
        tcp(8089, "", ""),
    ]
}

/// Restarts the PBX again and again, by order and by SIGKILL in turn, under the clients' loop.
fn restart_under_clients(exchange: &Exchange, restarts: usize) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let is_over = AtomicBool::new(false);
    let doors = doors(exchange);
    // Inside, asking costs a millisecond; from outside a hundred.
    let round = |how: &str| {
        format!(
            r#"pid() {{ switchhook status --json | sed -n 's/.*"name":"asterisk"[^}}]*"pid":\([0-9][0-9]*\).*/\1/p'; }}
               old=$(pid); {how}
               while now=$(pid); [ -z "$now" ] || [ "$now" = "$old" ]; do sleep 0.02; done
               until switchhook health >/dev/null; do sleep 0.05; done"#
        )
    };
    std::thread::scope(|scope| {
        for door in &doors {
            let (tally, is_over) = (&tally, &is_over);
            scope.spawn(move || client(door, tally, is_over));
        }
        for number in 0..restarts {
            let order = if number % 2 == 0 {
                "switchhook restart asterisk"
            } else {
                "kill -9 $old"
            };
            exchange.shell(&round(order));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let refused = tally.refused.lock().unwrap();
    println!(
        "{restarts} restarts: {} connects, {} answered, {} cut off by the end of the process that had taken them, \
         {} refused or reset",
        tally.connected.load(Ordering::Relaxed),
        tally.answered.load(Ordering::Relaxed),
        tally.cut.load(Ordering::Relaxed),
        refused.len()
    );
    drop(refused);
    tally
}

/// An exchange with every listener configured; `units` are files of /srv/etc/units.
fn open_exchange(volume: &Volume, units: &[(&str, &str)]) -> Exchange {
    let mut exchange = Recipe::of("mini").volume(volume).start();
    exchange.shell(OPEN);
    for (name, text) in units {
        exchange.shell(&format!("cat >/srv/etc/units/{name} <<'END'\n{text}END\n"));
    }
    assert_eq!(exchange.stop(), 0);
    exchange.start_again();
    exchange
}

fn addresses(exchange: &Exchange) -> Vec<String> {
    let status = exchange.status();
    let services = status["services"].as_array().unwrap();
    let pbx = services
        .iter()
        .find(|found| found["name"] == "asterisk")
        .unwrap();
    let sockets = pbx["sockets"].as_array().unwrap();
    sockets
        .iter()
        .map(|socket| socket["address"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn no_client_is_refused_over_a_hundred_restarts() {
    let volume = Volume::new();
    let exchange = open_exchange(&volume, &[]);
    exchange.log.wait_for("held over its restarts: ");
    assert_eq!(
        addresses(&exchange),
        [
            "tcp 0.0.0.0:5038",
            "tcp 0.0.0.0:5039",
            "unix /run/asterisk/asterisk.ctl",
            "tcp 0.0.0.0:8088",
            "tcp 0.0.0.0:8089"
        ]
    );
    let restarts = count("SWITCHHOOK_TEST_RESTARTS", 100);
    let tally = restart_under_clients(&exchange, restarts);
    let refused = tally.refused.lock().unwrap();
    assert!(
        refused.is_empty(),
        "{} of them: {:?}",
        refused.len(),
        refused.first()
    );
    assert!(tally.answered.load(Ordering::Relaxed) > restarts);
    drop(refused);
    // The descriptors are the very ones that PID 1 holds: nobody else is bound, and nothing was said of it.
    assert!(!exchange.log_text().contains("already in use"));
    assert!(!exchange.log_text().contains("does not take them"));
    assert_eq!(exchange.stop(), 0);
}

#[test]
fn without_the_sockets_the_same_clients_are_refused() {
    let volume = Volume::new();
    let names =
        ["cli", "ami", "amis", "http", "https"].map(|what| format!("asterisk-{what}.socket"));
    let masks: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let exchange = open_exchange(&volume, &masks);
    assert_eq!(addresses(&exchange), Vec::<String>::new());
    let tally = restart_under_clients(&exchange, 4);
    assert!(!tally.refused.lock().unwrap().is_empty());
}

/// The fixture files of a directory of sample units, as they are.
fn samples(directories: &[&str]) -> Vec<(String, String)> {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/units");
    let mut found = Vec::new();
    for directory in directories {
        for entry in std::fs::read_dir(fixtures.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// What the addresses of the sample units take for granted; HTTP is inside only.
const AS_THE_SAMPLES: &str =
    "sed -i 's/^bindaddr = .*/bindaddr = 127.0.0.1/' /srv/etc/asterisk/http.conf";

/// Asks console, manager interface and web server, from inside.
fn assert_answers(exchange: &Exchange) {
    assert!(
        exchange
            .asterisk("core show version")
            .contains("Asterisk 22")
    );
    let ami = exchange.shell("bash -c 'exec 3<>/dev/tcp/127.0.0.1/5038 && head -c 21 <&3'");
    assert_eq!(ami, "Asterisk Call Manager");
    let code = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8088/none";
    assert_eq!(exchange.shell(code), "404");
    let code = "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:8089/none";
    assert_eq!(exchange.shell(code), "404");
}

fn sample_units_work(directory: &str, run_directory: &str) -> Exchange {
    let volume = Volume::new();
    let mut exchange = Recipe::of("full").volume(&volume).start();
    exchange.shell(OPEN);
    exchange.shell(AS_THE_SAMPLES);
    exchange.shell(&format!(
        "sed -i 's#^astrundir.*#astrundir => {run_directory}#' /srv/etc/asterisk/asterisk.conf"
    ));
    for (name, text) in samples(&["service", directory]) {
        exchange.shell(&format!("cat >/srv/etc/units/{name} <<'END'\n{text}END\n"));
    }
    assert_eq!(exchange.stop(), 0);
    exchange.start_again();
    let mut held = addresses(&exchange);
    held.sort();
    assert_eq!(
        held,
        [
            "tcp 0.0.0.0:5038".to_owned(),
            "tcp 0.0.0.0:5039".to_owned(),
            "tcp 127.0.0.1:8088".to_owned(),
            "tcp 127.0.0.1:8089".to_owned(),
            format!("unix {run_directory}/asterisk.ctl"),
        ]
    );
    assert_answers(&exchange);
    let console = "stat -c %i /run/asterisk/asterisk.ctl";
    let before = exchange.shell(console);
    let pid = exchange.pid_of("asterisk").unwrap();
    exchange.shell("switchhook restart asterisk");
    until("another process", || match exchange.pid_of("asterisk") {
        Some(now) if now != pid => Ok(()),
        other => Err(format!("{other:?}")),
    });
    exchange.wait_healthy();
    assert_answers(&exchange);
    assert_eq!(
        exchange.shell(console),
        before,
        "the console is still PID 1's"
    );
    assert!(!exchange.log_text().contains("already in use"));
    exchange
}

#[test]
fn the_sample_units_with_one_socket_file_work_unmodified() {
    let exchange = sample_units_work("one-socket", "/run/asterisk");
    // They name /var/run, this configuration /run: one line explains.
    exchange.log.wait_for(
        "asterisk.socket:11: bound as `/run/asterisk/asterisk.ctl`, for `asterisk` takes its socket by that name only",
    );
    assert_eq!(exchange.stop(), 0);
}

#[test]
fn the_sample_units_with_five_socket_files_work_unmodified() {
    let exchange = sample_units_work("five-sockets", "/var/run/asterisk");
    assert!(
        !exchange
            .log_text()
            .contains("takes its socket by that name")
    );
    assert_eq!(exchange.stop(), 0);
}
