//! The keeper of certificates in the real image, with the real Asterisk and a store as Traefik writes it.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use serde_json::{Value, json};
use switchhook::certs::keeper::Outcome;
use switchhook::certs::pair::Algorithm;
use switchhook::certs::prove::shake_hands;

use crate::calls::{alice, bob, call};
use crate::docker::{Network, Volume, run};
use crate::exchange::{Exchange, Recipe};
use crate::lines::{Lines, until};
use crate::phone::{Family, Phone, Settings, Transport};
use crate::store::{Authority, entry, store, write};

const HOST: &str = "pbx.example.com";

fn recipe(volume: &Volume, store: &Path) -> Recipe {
    Recipe::of("full")
        .volume(volume)
        .option(&format!("--hostname={HOST}"))
        .option(&format!("--volume={}:/acme:ro", store.display()))
}

/// What the listener for SIP over TLS shows to a client from outside.
fn shown(exchange: &Exchange, asked: Option<Algorithm>) -> Outcome {
    let address: SocketAddr = format!("{}:5061", exchange.address4()).parse().unwrap();
    shake_hands(
        address,
        asked,
        HOST,
        Instant::now() + Duration::from_secs(5),
    )
}

fn over_tcp(exchange: &Exchange, network: &Network, user: &str) -> Phone {
    let password = exchange.password(user);
    let settings = Settings {
        user,
        password: &password,
        transport: Transport::Tcp,
        family: Family::Four,
        tone: 700.0,
    };
    Phone::register(exchange, network, &settings)
}

fn wait_shown(exchange: &Exchange, fingerprint: &str) {
    until("the new certificate at the listener", || {
        match shown(exchange, None) {
            Outcome::Shown(print) if print == fingerprint => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

pub fn report(exchange: &Exchange, verb: &str) -> Value {
    let ended = exchange.exec(&["switchhook", "cert", verb, "--json"]);
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}", ended.text))
}

fn history(exchange: &Exchange) -> Vec<String> {
    let history = report(exchange, "history");
    let records = history["history"].as_array().unwrap();
    let whats = records
        .iter()
        .map(|record| record["what"].as_str().unwrap().to_owned());
    whats.collect()
}

#[test]
fn renewals_reach_the_listener_while_a_call_goes_on_and_nothing_else_does() {
    let (network, volume) = (Network::new(), Volume::new());
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), b"");
    let exchange = recipe(&volume, directory.path()).network(&network).start();
    // Alice comes over UDP and Bob over TLS; two more over TCP.
    let (mut alice, bob) = (alice(&exchange, &network), bob(&exchange, &network));
    call(&mut alice, &bob);
    for (user, number) in [("carol", "103"), ("dave", "104")] {
        exchange.shell(&format!("switchhook phone add {user} --number {number}"));
    }
    let mut carol = over_tcp(&exchange, &network, "carol");
    let dave = over_tcp(&exchange, &network, "dave");
    carol.command("dial", "104");
    dave.wait_event(0, "CALL_ESTABLISHED");
    let authority = Authority::new();
    let mut ours = authority.issue(HOST, -1, 89);
    for _ in 0..3 {
        ours = authority.issue(HOST, -1, 89);
        write(directory.path(), &store(&[ours.entry(HOST)]));
        wait_shown(&exchange, &ours.fingerprint());
    }
    // Traefik's other customers are none of our business.
    let shop = authority.issue("shop.example.org", -1, 89);
    let both = [shop.entry("shop.example.org"), ours.entry(HOST)];
    write(directory.path(), &store(&both));
    let before = report(&exchange, "check");
    assert_eq!(
        (&before["level"], &before["source"]),
        (&json!("ok"), &json!("traefik")),
        "{before}"
    );
    let reloads = history(&exchange).len();
    write(directory.path(), &store(&[ours.entry(HOST)]));
    assert_eq!(
        report(&exchange, "check")["generation"],
        before["generation"]
    );
    assert_eq!(history(&exchange).len(), reloads);
    let modes = exchange.shell(
        "cd /srv/etc/ssl/asterisk; find . ! -type l -exec stat -c '%a %U:%G' {} + | sort -u",
    );
    assert_eq!(modes, "640 root:asterisk\n750 root:asterisk");
    assert!(
        exchange
            .shell("cat /srv/etc/ssl/asterisk/generations/*/*")
            .find(&shop.key)
            .is_none()
    );
    // The calls have not noticed.
    for phone in [&bob, &dave] {
        let events = phone.events.all();
        assert!(!events.iter().any(|event| event.contains("CALL_CLOSED")));
    }
    alice.command("hangup", "");
    bob.wait_event(0, "CALL_CLOSED");
    carol.command("hangup", "");
    dave.wait_event(0, "CALL_CLOSED");
    assert_eq!(exchange.stop(), 0);
}

/// While the PBX starts it takes orders to reload and carries them out afterwards: nothing is refused for that.
#[test]
fn a_certificate_that_comes_while_the_pbx_starts_is_served_and_not_refused() {
    let volume = Volume::new();
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let first = authority.issue(HOST, -1, 89);
    write(directory.path(), &store(&[first.entry(HOST)]));
    let exchange = recipe(&volume, directory.path()).start();
    wait_shown(&exchange, &first.fingerprint());
    for _ in 0..5 {
        let before = exchange.pid_of("asterisk");
        exchange.shell("switchhook kill asterisk");
        until("another PBX", || {
            let now = exchange.pid_of("asterisk");
            let is_another = now.is_some() && now != before;
            is_another.then_some(()).ok_or(format!("{now:?}"))
        });
        let next = authority.issue(HOST, -1, 89);
        write(directory.path(), &store(&[next.entry(HOST)]));
        wait_shown(&exchange, &next.fingerprint());
    }
    let history = history(&exchange);
    assert!(!history.contains(&"rolled-back".to_owned()), "{history:?}");
}

/// A connection over TLS that stays open, and speaks lines.
struct Held {
    child: Child,
    input: ChildStdin,
    lines: Lines,
}

impl Held {
    fn open(address: &str, port: u16) -> Held {
        let mut child = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-connect",
                &format!("{address}:{port}"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Held {
            input: child.stdin.take().unwrap(),
            lines: Lines::follow(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Says something, and waits for an answer with this word.
    fn ask(&mut self, text: &str, word: &str) {
        let from = self.lines.all().len();
        self.input.write_all(text.as_bytes()).unwrap();
        self.lines.wait_from(from, word, |line| line.contains(word));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The web server (HTTPS, WSS, ARI), the manager and WebSMS go over to the new certificate, and what is open stays open.
#[test]
fn every_listener_with_tls_gets_the_new_certificate_and_keeps_its_connections() {
    let volume = Volume::new();
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let old = authority.issue(HOST, -1, 89);
    write(directory.path(), &store(&[old.entry(HOST)]));
    let exchange = recipe(&volume, directory.path())
        .variable("WEBSMSD_TLS_PORT", "8443")
        .start();
    let pair = "tlscertfile = /etc/ssl/asterisk/asterisk_rsa.pem\\ntlsprivatekey = /etc/ssl/asterisk/asterisk_rsa.key";
    exchange.shell(&format!(
        "cd /srv/etc/asterisk && \
         sed -i 's|^\\[general\\]|&\\nenable_status = yes\\nsession_keep_alive = 120000\\ntlsenable = yes\\ntlsbindaddr = 0.0.0.0:8089\\n{pair}|' http.conf && \
         sed -i 's|^\\[general\\]|&\\ntlsenable = yes\\ntlsbindaddr = 0.0.0.0:5039\\n{pair}|; s|^authtimeout.*|authtimeout = 120|' manager.conf && \
         switchhook restart asterisk"
    ));
    let address = exchange.address4();
    let doors = [5061, 8089, 5039, 8443];
    let wait_all = |print: &str| {
        for port in doors {
            until("the certificate at every listener", || {
                let address = format!("{address}:{port}").parse().unwrap();
                let end = Instant::now() + Duration::from_secs(5);
                match shake_hands(address, None, HOST, end) {
                    Outcome::Shown(shown) if shown == print => Ok(()),
                    other => Err(format!("{port}: {other:?}")),
                }
            });
        }
    };
    wait_all(&old.fingerprint());
    let mut web = Held::open(&address, 8089);
    let get = "GET /httpstatus HTTP/1.1\r\nHost: pbx\r\n\r\n";
    web.ask(get, "200 OK");
    let mut manager = Held::open(&address, 5039);
    manager.ask("", "Asterisk Call Manager");
    let mut texts = Held::open(&address, 8443);
    let post = "GET / HTTP/1.1\r\nHost: pbx\r\n\r\n";
    texts.ask(post, "HTTP/1.1");

    let new = authority.issue(HOST, -1, 89);
    write(directory.path(), &store(&[new.entry(HOST)]));
    wait_all(&new.fingerprint());
    web.ask(get, "200 OK");
    texts.ask(post, "HTTP/1.1");
    manager.ask(
        "Action: Login\r\nUsername: nobody\r\nSecret: no\r\n\r\n",
        "Response: Error",
    );
    let report = report(&exchange, "check");
    assert_eq!(report["level"], "ok", "{report}");
    let seen: Vec<&str> = report["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["what"].as_str().unwrap())
        .collect();
    for what in ["https", "amis", "websms"] {
        assert!(seen.contains(&what), "{seen:?}");
    }
}

#[test]
fn what_does_not_fit_together_never_reaches_a_listener() {
    let volume = Volume::new();
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let good = authority.issue(HOST, -1, 89);
    write(directory.path(), &store(&[good.entry(HOST)]));
    let exchange = recipe(&volume, directory.path()).start();
    wait_shown(&exchange, &good.fingerprint());
    let generation = report(&exchange, "check")["generation"].clone();
    let other = authority.issue(HOST, -1, 89);
    let expired = authority.issue(HOST, -90, -1);
    let early = authority.issue(HOST, 10, 99);
    let reversed = format!("{}{}", authority.intermediate, other.leaf);
    let cut = &other.chain[..other.chain.len() / 3];
    let whole = store(&[other.entry(HOST)]);
    for (what, bytes) in [
        (
            "mismatched",
            store(&[entry(HOST, &other.chain, &expired.key)]),
        ),
        ("reversed", store(&[entry(HOST, &reversed, &other.key)])),
        ("cut off", store(&[entry(HOST, cut, &other.key)])),
        ("expired", store(&[expired.entry(HOST)])),
        ("early", store(&[early.entry(HOST)])),
        (
            "foreign",
            store(&[authority.issue("example.org", -1, 89).entry("example.org")]),
        ),
        ("partial", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("no store", b"[]".to_vec()),
    ] {
        write(directory.path(), &bytes);
        let report = report(&exchange, "check");
        assert_eq!(report["generation"], generation, "{what}: {report}");
        let print = Outcome::Shown(good.fingerprint());
        assert_eq!(shown(&exchange, None), print, "{what}");
    }
    write(directory.path(), &whole);
    wait_shown(&exchange, &other.fingerprint());
    assert_eq!(report(&exchange, "check")["level"], "ok");
}

#[test]
fn a_certificate_that_asterisk_cannot_serve_is_rolled_back_and_left_aside() {
    let volume = Volume::new();
    let directory = tempfile::tempdir().unwrap();
    let exchange = recipe(&volume, directory.path()).start();
    // Both algorithms from the start, once the keeper has made them.
    until("RSA at the listener", || {
        match shown(&exchange, Some(Algorithm::Rsa)) {
            Outcome::Shown(print) => Ok(print),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(matches!(
        shown(&exchange, Some(Algorithm::Ecdsa)),
        Outcome::Shown(_)
    ));
    // An administrator allows ciphers of RSA alone; then the store has a certificate with ECDSA.
    exchange.shell(
        "sed -i '/^method = tlsv1_2/a cipher = ECDHE-RSA-AES128-GCM-SHA256' /srv/etc/asterisk/pjsip_transport.conf",
    );
    exchange.shell("switchhook restart asterisk");
    let old = until("RSA at the listener again", || {
        match shown(&exchange, None) {
            Outcome::Shown(print) => Ok(print),
            other => Err(format!("{other:?}")),
        }
    });
    let ours = Authority::new().issue(HOST, -1, 89);
    write(directory.path(), &store(&[ours.entry(HOST)]));
    until("the way back", || match history(&exchange).last() {
        Some(last) if last == "rolled-back" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(shown(&exchange, None), Outcome::Shown(old.clone()));
    let found = report(&exchange, "check");
    assert_eq!(found["refused"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["source"], "self-signed");
    assert_eq!(shown(&exchange, None), Outcome::Shown(old));
    // Once it can be served it is tried again, by order.
    exchange.shell("sed -i '/^cipher = /d' /srv/etc/asterisk/pjsip_transport.conf; switchhook restart asterisk");
    until("the listener", || {
        match shown(&exchange, Some(Algorithm::Ecdsa)) {
            Outcome::Shown(_) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(report(&exchange, "renew")["source"], "traefik");
    wait_shown(&exchange, &ours.fingerprint());
}

#[test]
fn a_volume_without_room_keeps_the_old_certificate_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let exchange = Recipe::of("full")
        .option("--tmpfs=/srv:size=24m")
        .option(&format!("--hostname={HOST}"))
        .option(&format!("--volume={}:/acme:ro", directory.path().display()))
        .start();
    let old = until("a certificate", || match report(&exchange, "check") {
        report
            if report["level"] == "ok" && report["certificates"].as_array().unwrap().len() == 2 =>
        {
            Ok(report)
        }
        report => Err(report.to_string()),
    });
    exchange.shell("dd if=/dev/zero of=/srv/fill bs=64k 2>/dev/null || true; dd if=/dev/zero of=/srv/fill2 bs=1 count=4096 2>/dev/null || true");
    let ours = Authority::new().issue(HOST, -1, 89);
    write(directory.path(), &store(&[ours.entry(HOST)]));
    let full = until("the complaint", || {
        let report = report(&exchange, "show");
        let is_told = report["problems"].to_string().contains("No space left");
        is_told.then_some(report.clone()).ok_or(report.to_string())
    });
    assert_eq!(full["generation"], old["generation"]);
    exchange.shell("rm /srv/fill /srv/fill2");
    wait_shown(&exchange, &ours.fingerprint());
}

/// The keeper sees another year; everybody else the right one.
#[test]
fn a_clock_that_is_wrong_by_years_keeps_the_certificate_and_is_named() {
    let volume = Volume::new();
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new().issue(HOST, -1, 89);
    write(directory.path(), &store(&[ours.entry(HOST)]));
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let exchange = recipe(&volume, directory.path())
        .option(&format!("--volume={library}:/faketime.so:ro"))
        .start();
    wait_shown(&exchange, &ours.fingerprint());
    exchange.shell("mkdir -p /srv/etc/units/certs.service.d");
    for (shift, complaint) in [("+3y", "has expired"), ("-10y", "not valid yet")] {
        exchange.shell(&format!(
            "printf '[Service]\\nEnvironment=LD_PRELOAD=/faketime.so FAKETIME={shift}\\n' \
             >/srv/etc/units/certs.service.d/clock.conf && switchhook reload-units && switchhook restart certs"
        ));
        let told = until("the complaint", || {
            let report = report(&exchange, "check");
            let is_told = report["problems"].to_string().contains(complaint);
            is_told.then_some(report.clone()).ok_or(report.to_string())
        });
        assert_eq!(told["level"], "critical");
        assert!(
            told["problems"].to_string().contains("is the clock right?"),
            "{told}"
        );
        assert_eq!(told["source"], "traefik", "{told}");
        assert_eq!(shown(&exchange, None), Outcome::Shown(ours.fingerprint()));
    }
    exchange.shell(
        "rm -r /srv/etc/units/certs.service.d; switchhook reload-units; switchhook restart certs",
    );
    assert_eq!(report(&exchange, "check")["level"], "ok");
}

/// Makes the certificates' place on the volume read-only inside the container, as it is on a host whose disk fails, or
/// takes that back. Not the whole volume: the kernel refuses that while files are open for writing.
fn set_writable(exchange: &Exchange, is_writable: bool) {
    let path = format!("/proc/{}/ns/mnt", exchange.inspect("{{.State.Pid}}"));
    let namespace = std::fs::File::open(path).unwrap();
    // A thread of its own, for it does not come back.
    let changed = std::thread::spawn(move || {
        let place = c"/srv/etc/ssl/asterisk".as_ptr();
        let null = std::ptr::null();
        let mount = |flags| {
            // SAFETY: mount(2) with texts that end in NUL.
            unsafe { libc::mount(place, place, null, flags, null.cast()) }
        };
        // SAFETY: unshare(2), setns(2) and umount2(2) with a live descriptor and a text that ends in NUL.
        let mut ended = unsafe {
            vec![
                libc::unshare(libc::CLONE_FS),
                libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS),
            ]
        };
        if is_writable {
            // SAFETY: as above.
            ended.push(unsafe { libc::umount2(place, libc::MNT_DETACH) });
        } else {
            ended.push(mount(libc::MS_BIND));
            ended.push(mount(libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY));
        }
        (ended, std::io::Error::last_os_error())
    });
    let (ended, error) = changed.join().unwrap();
    assert!(ended.iter().all(|code| *code == 0), "{ended:?}: {error}");
}

#[test]
fn a_volume_that_cannot_be_written_any_more_keeps_the_certificate_and_says_why() {
    let volume = Volume::new();
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let old = authority.issue(HOST, -1, 89);
    write(directory.path(), &store(&[old.entry(HOST)]));
    let exchange = recipe(&volume, directory.path()).start();
    wait_shown(&exchange, &old.fingerprint());
    set_writable(&exchange, false);
    let new = authority.issue(HOST, -1, 89);
    write(directory.path(), &store(&[new.entry(HOST)]));
    until("the complaint", || {
        let report = report(&exchange, "show");
        let is_told = report["problems"]
            .to_string()
            .contains("Read-only file system");
        is_told.then_some(()).ok_or(report.to_string())
    });
    assert_eq!(shown(&exchange, None), Outcome::Shown(old.fingerprint()));
    set_writable(&exchange, true);
    wait_shown(&exchange, &new.fingerprint());
}

#[test]
fn the_predecessors_links_to_a_store_that_is_gone_are_replaced_and_a_hook_runs_after_the_proof() {
    let volume = Volume::new();
    volume.shell(
        "mkdir -p /srv/etc/ssl/asterisk && cd /srv/etc/ssl/asterisk && \
         ln -s /etc/ssl/acme/certs/pbx.example.com.crt cert.pem && \
         ln -s /etc/ssl/acme/private/pbx.example.com.key priv_key.pem",
    );
    let directory = tempfile::tempdir().unwrap();
    let exchange = recipe(&volume, directory.path())
        .variable(
            "ACME_POSTHOOK",
            "cp $CERT_DIR/cert.pem /tmp/proven.pem; sv restart asterisk",
        )
        .start();
    assert_eq!(
        exchange.shell("readlink /srv/etc/ssl/asterisk/cert.pem"),
        "live/cert.pem"
    );
    let ours = Authority::new().issue(HOST, -1, 89);
    write(directory.path(), &store(&[ours.entry(HOST)]));
    exchange.log.wait_for("ACME_POSTHOOK was run");
    let proven = exchange.shell("cat /tmp/proven.pem");
    assert!(proven.starts_with(ours.leaf.trim()), "{proven}");
    wait_shown(&exchange, &ours.fingerprint());
}

/// The demo's file with another one over it, as Compose understands them together.
pub fn compose(over: &str) -> String {
    let files = ["docker-compose.yml", over]
        .map(|name| format!("{}/demo/{name}", env!("CARGO_MANIFEST_DIR")));
    let arguments = ["-f", &files[0], "-f", &files[1], "config"];
    let plugin: Vec<&str> = ["compose"].into_iter().chain(arguments).collect();
    let ended = match run("docker", &["compose", "version"]).code {
        0 => run("docker", &plugin),
        _ => run("docker-compose", &arguments),
    };
    assert_eq!(ended.code, 0, "{}", ended.text);
    ended.out
}

#[test]
fn the_demo_with_traefik_in_front_is_a_sound_compose_file_and_shares_the_directory() {
    let text = compose("docker-compose.traefik.yml");
    for wanted in [
        "certresolver: le",
        "acme:/acme:ro",
        "acme:/acme:rw",
        "traefik:v3",
    ] {
        let is_there = text.contains(wanted)
            // Version 2 writes a mount in its long form.
            || (wanted.starts_with("acme:") && text.contains("target: /acme"));
        assert!(is_there, "{wanted} in {text}");
    }
}
