//! AutoBan's daemon with the real kernel, in a network namespace of its own, and a stand-in for Asterisk's manager.

mod acl;
mod lists;
mod pbx;
mod webhook;
mod witness;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::Value;

use crate::appliance::{BINARY, PATIENCE};
use crate::firewall::wire::{Wire, in_namespace, run};
use pbx::{Pbx, Session};

const SECRET: &str = "correct-horse";

/// A volume, and the daemon that runs on it.
struct Guard {
    root: tempfile::TempDir,
    child: Option<Child>,
    lines: Receiver<String>,
    heard: Vec<String>,
    environment: Vec<(OsString, OsString)>,
}

impl Guard {
    /// With these lines in `[autoban]`, for the manager at this port.
    fn volume(pbx: &Pbx, conf: &str) -> Guard {
        let root = tempfile::tempdir().unwrap();
        let guard = Guard {
            root,
            child: None,
            lines: channel().1,
            heard: Vec::new(),
            environment: Vec::new(),
        };
        guard.configure(pbx, conf);
        guard.file(
            "srv/etc/asterisk/manager.conf",
            &format!(
                "[general]\nenabled = yes\n\n[autoban]\nsecret = {SECRET}\nread = security,system\n"
            ),
        );
        guard
    }

    fn configure(&self, pbx: &Pbx, conf: &str) {
        let port = pbx.port();
        self.file(
            "srv/etc/asterisk/autoban.conf",
            &format!("[asmanager]\nport = {port}\n[autoban]\n{conf}\n"),
        );
    }

    fn file(&self, below: &str, text: &str) {
        let path = self.root.path().join(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn start(&mut self, arguments: &[&str]) {
        self.start_as(Command::new(BINARY), arguments);
    }

    /// As in a container without NET_ADMIN.
    fn start_without_capability(&mut self) {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]);
        command.arg(BINARY);
        self.start_as(command, &[]);
    }

    fn start_as(&mut self, mut command: Command, arguments: &[&str]) {
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(proxy);
            command.env_remove(proxy.to_ascii_uppercase());
        }
        let mut child = command
            .args(["autoban", "run", "--root"])
            .arg(self.root.path())
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let errors = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        (self.child, self.lines) = (Some(child), lines);
    }

    /// Waits for the next line with this text.
    fn hears(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("never said `{text}`; it said:\n{}", self.heard.join("\n")),
            }
        }
    }

    /// All that it said, up to its end.
    fn all_lines(&mut self) -> String {
        assert!(self.child.is_none(), "it may still say something");
        self.heard.extend(self.lines.iter());
        self.heard.join("\n")
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    fn reload(&self) {
        self.signal(nix::sys::signal::Signal::SIGHUP);
    }

    fn is_killed(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn stops(&mut self) -> bool {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.child.take().unwrap().wait().unwrap().success()
    }

    fn ask(&self, request: &str) -> Value {
        let path = self.root.path().join("run/autoban/control.sock");
        let mut stream = UnixStream::connect(path).unwrap();
        writeln!(stream, "{request}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// The counter of that name once it is this high: all before it has been dealt with.
    fn counts(&self, name: &str, least: u64) {
        crate::appliance::wait_for(
            || {
                let status = self.ask(r#"{"command":"status"}"#);
                let counters = status["counters"].as_array().unwrap();
                let found = counters.iter().find(|pair| pair[0] == name)?[1].as_u64()?;
                (found >= least).then_some(())
            },
            &format!("never counted {least} of `{name}`"),
        );
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The addresses in a set of the kernel, with what is left of their time in seconds.
fn elements(set: &str) -> BTreeMap<String, u64> {
    let text = run("nft", &["-j", "list", "set", "inet", "autoban", set]);
    let json: Value = serde_json::from_str(&text).unwrap();
    let sets = json["nftables"].as_array().unwrap().iter();
    let found = sets.filter_map(|item| item["set"]["elem"].as_array());
    let entry = |item: &Value| {
        let elem = &item["elem"];
        let name = elem["val"].as_str().unwrap_or("?").to_owned();
        (name, elem["expires"].as_u64().unwrap_or(u64::MAX))
    };
    found.flatten().map(entry).collect()
}

fn started(conf: &str) -> (Guard, Pbx, Session) {
    let pbx = Pbx::with_secret(SECRET);
    let mut guard = Guard::volume(&pbx, conf);
    guard.start(&[]);
    let session = pbx.accept().expect("a login");
    guard.hears("listening to security events");
    (guard, pbx, session)
}

#[test]
fn a_source_is_banned_at_exactly_the_configured_count() {
    in_namespace(
        "autoban::a_source_is_banned_at_exactly_the_configured_count",
        || {
            let (mut guard, _pbx, mut session) = started("maxcount = 5\nwhitelist = 192.0.2.99");
            for _ in 0..4 {
                session.unknown("TCP", "192.0.2.7");
                session.unknown("TLS", "2001:db8:1:2::7");
                session.unknown("UDP", "192.0.2.8");
                session.unknown("TCP", "192.0.2.99");
            }
            guard.counts("InvalidAccountID strong", 12);
            assert!(elements("jail4").is_empty() && elements("jail6").is_empty());
            session.unknown("TCP", "192.0.2.99");
            session.wrong_password("WSS", "192.0.2.7");
            guard.hears("jailed 192.0.2.7 for 20m");
            session.unknown("TCP", "2001:db8:1:2::8");
            guard.hears("jailed 2001:db8:1:2::/64");
            session.unknown("UDP", "192.0.2.8");
            guard.hears("closed SIP over UDP to 192.0.2.8 for 2m");
            let names = |set| elements(set).into_keys().collect::<Vec<_>>();
            assert_eq!(names("jail4"), ["192.0.2.7"]);
            assert_eq!(names("jail6"), ["2001:db8:1:2::"]);
            assert_eq!(names("weak4"), ["192.0.2.8"]);
        },
    );
}

#[test]
fn a_neighbour_in_the_own_64_is_banned_and_this_host_is_not() {
    in_namespace(
        "autoban::a_neighbour_in_the_own_64_is_banned_and_this_host_is_not",
        || {
            let (own, neighbour) = ("2001:db8:ffff::1", "2001:db8:ffff::66");
            let wire = Wire::to(&[neighbour]);
            assert_eq!(wire.through(5060, &[neighbour]).len(), 1);
            let (mut guard, _pbx, mut session) = started("maxcount = 2");
            for _ in 0..2 {
                session.unknown("TCP", own);
                session.unknown("TCP", neighbour);
            }
            guard.hears("jailed 2001:db8:ffff::/64 for 20m");
            guard.counts("jailed", 1);
            assert!(wire.through(5060, &[neighbour]).is_empty());
            let here = UdpSocket::bind((own, 0)).unwrap();
            here.set_read_timeout(Some(crate::appliance::PATIENCE))
                .unwrap();
            here.send_to(b"own", here.local_addr().unwrap()).unwrap();
            assert_eq!(here.recv(&mut [0; 64]).unwrap(), 3);
            assert!(guard.stops());
        },
    );
}

#[test]
fn remaining_times_survive_sigkill() {
    in_namespace("autoban::remaining_times_survive_sigkill", || {
        let (mut guard, pbx, mut session) = started("maxcount = 2\njailtime = 1h");
        for n in 1..=3 {
            session.unknown("TCP", &format!("192.0.2.{n}"));
            session.unknown("TCP", &format!("192.0.2.{n}"));
            guard.hears(&format!("jailed 192.0.2.{n} "));
        }
        let journal = guard
            .root
            .path()
            .join("srv/var/lib/switchhook/autoban/journal");
        crate::appliance::wait_for(
            || {
                let text = std::fs::read_to_string(&journal).unwrap_or_default();
                (text.matches("\"op\":\"offender\"").count() == 3).then_some(())
            },
            "the journal never had the three bans",
        );
        guard.is_killed();
        let before = (Instant::now(), elements("jail4"));
        // As in a new container: nothing is left in the kernel.
        run("nft", &["delete", "table", "inet", "autoban"]);
        guard.start(&[]);
        let _session = pbx.accept().expect("a login");
        guard.hears("3 bans are in force again");
        let after = elements("jail4");
        let went_by = before.0.elapsed().as_secs();
        assert_eq!(after.len(), 3);
        for (address, left) in before.1 {
            let expected = left - went_by;
            assert!(
                after[&address].abs_diff(expected) <= 1,
                "{address}: {left} then {after:?}"
            );
        }
    });
}

#[test]
fn an_order_that_was_answered_survives_sigkill() {
    in_namespace(
        "autoban::an_order_that_was_answered_survives_sigkill",
        || {
            let pbx = Pbx::with_secret(SECRET);
            let mut guard = Guard::volume(&pbx, "maxcount = 2");
            for round in 0..10 {
                guard.start(&[]);
                let _session = pbx.accept().expect("a login");
                if round > 0 {
                    guard.hears(&format!("{} bans are in force again", 1000 * round));
                }
                let what: Vec<Value> = (0..1000)
                    .map(|n| serde_json::json!({"cidr": format!("10.{round}.{}.{}", n / 256, n % 256)}))
                    .collect();
                let order = serde_json::json!({"command": "manual", "order": {"add": {
                    "to": ["jail"], "what": what, "time": null, "comment": "x"}}});
                let reply = guard.ask(&order.to_string());
                guard.is_killed();
                assert_eq!(reply["notes"], serde_json::json!([]));
            }
        },
    );
}

#[test]
fn an_orderly_end_leaves_the_bans_in_the_kernel() {
    in_namespace(
        "autoban::an_orderly_end_leaves_the_bans_in_the_kernel",
        || {
            let (mut guard, _pbx, mut session) = started("maxcount = 1");
            session.unknown("TCP", "192.0.2.7");
            guard.hears("jailed 192.0.2.7");
            assert!(guard.stops());
            assert!(elements("jail4").contains_key("192.0.2.7"));
        },
    );
}

#[test]
fn a_flush_by_another_program_is_repaired() {
    in_namespace("autoban::a_flush_by_another_program_is_repaired", || {
        let (mut guard, _pbx, mut session) = started("maxcount = 1");
        session.unknown("TCP", "192.0.2.7");
        guard.hears("jailed 192.0.2.7");
        run("nft", &["flush", "ruleset"]);
        guard.hears("`nft` removed bans");
        guard.hears("the kernel's table is there again, with 1 bans");
        assert!(elements("jail4").contains_key("192.0.2.7"));
    });
}

#[test]
fn two_of_them_in_one_place_say_so_and_do_not_race() {
    in_namespace(
        "autoban::two_of_them_in_one_place_say_so_and_do_not_race",
        || {
            let (mut first, _pbx, _session) = started("maxcount = 1");
            let (mut second, _other_pbx, _other_session) = started("maxcount = 1");
            for _ in 0..2 {
                first.hears("`switchhook` removed bans");
                second.hears("`switchhook` removed bans");
            }
            let line = first.hears("within 4 s");
            assert!(line.contains("`switchhook`"), "{line}");
            assert!(second.stops() && first.stops());
        },
    );
}

#[test]
fn the_manager_may_go_and_come_back() {
    in_namespace("autoban::the_manager_may_go_and_come_back", || {
        let (mut guard, pbx, session) = started("maxcount = 1");
        session.stream_ends();
        guard.hears("lost the manager");
        let mut session = pbx.accept().expect("a login");
        guard.hears("again, after a gap of");
        session.unknown("TCP", "192.0.2.7");
        guard.hears("jailed 192.0.2.7");
        // An idle connection is asked whether it lives.
        session.is_pinged();
    });
}

#[test]
fn a_secret_that_is_refused_is_told_with_its_line() {
    in_namespace(
        "autoban::a_secret_that_is_refused_is_told_with_its_line",
        || {
            let pbx = Pbx::with_secret("another");
            let mut guard = Guard::volume(&pbx, "");
            guard.start(&[]);
            assert!(pbx.accept().is_none());
            let line = guard.hears("does not let in the user `autoban`: Authentication failed");
            assert!(line.contains("manager.conf:5: "), "{line}");
            let hint = guard.hears("hint: ");
            assert!(hint.contains("manager reload"), "{hint}");
            assert!(guard.heard.iter().all(|line| !line.contains(SECRET)));
            // Mended, and read again at once.
            guard.file(
                "srv/etc/asterisk/autoban.conf",
                &format!(
                    "[asmanager]\nport = {}\nsecret = another\n[autoban]\n",
                    pbx.port()
                ),
            );
            guard.reload();
            let _session = pbx.accept().expect("a login");
            guard.hears("listening to security events");
        },
    );
}

#[test]
fn a_configuration_is_read_again_and_its_mistakes_are_told() {
    in_namespace(
        "autoban::a_configuration_is_read_again_and_its_mistakes_are_told",
        || {
            let (mut guard, pbx, mut session) = started("maxcount = 100");
            session.unknown("TCP", "192.0.2.7");
            guard.counts("InvalidAccountID strong", 1);
            guard.configure(
                &pbx,
                "maxcount = 2\nwatchtime = soon\nblacklist = 198.51.100.0/24",
            );
            guard.reload();
            let mistake = guard.hears("watchtime = soon");
            assert!(mistake.contains("autoban.conf:5: "), "{mistake}");
            guard.hears("autoban.conf was read again");
            session.unknown("TCP", "192.0.2.7");
            guard.hears("jailed 192.0.2.7");
            let black = run("nft", &["list", "set", "inet", "autoban", "black4"]);
            assert!(black.contains("198.51.100.0/24"), "{black}");
            guard.configure(&pbx, "enabled = no");
            guard.reload();
            guard.hears("AutoBan is off from now on");
            assert_eq!(run("nft", &["list", "tables"]), "");
        },
    );
}

#[test]
fn mistakes_are_told_with_their_lines_and_the_defaults_hold() {
    in_namespace(
        "autoban::mistakes_are_told_with_their_lines_and_the_defaults_hold",
        || {
            let pbx = Pbx::with_secret(SECRET);
            let conf = "maxcount = ten\nmaxcuont = 3\nwhitelist = 192.0.2.300\nsecret\n";
            let mut guard = Guard::volume(&pbx, conf);
            guard.start(&[]);
            for (line, what, hint) in [
                (4, "maxcount = ten: ", "write 1 to 1000 in digits"),
                (5, "`maxcuont` is no key", "did you mean maxcount?"),
                (6, "192.0.2.300", "hint: "),
                (7, "`secret` is no `key = value`", "hint: "),
            ] {
                let told = guard.hears(what);
                assert!(told.contains(&format!("autoban.conf:{line}: ")), "{told}");
                guard.hears(hint);
            }
            // It is at work, with the default.
            let mut session = pbx.accept().expect("a login");
            guard.hears("listening to security events");
            (0..9).for_each(|_| session.unknown("TCP", "192.0.2.7"));
            guard.counts("InvalidAccountID strong", 9);
            assert!(elements("jail4").is_empty());
            session.unknown("TCP", "192.0.2.7");
            guard.hears("jailed 192.0.2.7 for 20m");
        },
    );
}

#[test]
fn a_dry_run_tells_and_bans_nobody() {
    in_namespace("autoban::a_dry_run_tells_and_bans_nobody", || {
        let pbx = Pbx::with_secret(SECRET);
        let mut guard = Guard::volume(&pbx, "maxcount = 1");
        guard.start(&["--dry-run"]);
        let mut session = pbx.accept().expect("a login");
        session.unknown("TCP", "192.0.2.7");
        guard.hears("dry run: jailed 192.0.2.7");
        assert_eq!(
            guard.ask(r#"{"command":"status"}"#)["enforcement"],
            "dry-run"
        );
        assert!(guard.stops());
        assert_eq!(run("nft", &["list", "tables"]), "");
        assert!(!guard.root.path().join("srv/var").exists());
    });
}

#[test]
fn the_control_socket_answers_and_bans_by_hand() {
    in_namespace(
        "autoban::the_control_socket_answers_and_bans_by_hand",
        || {
            let (guard, _pbx, mut session) = started("maxcount = 3");
            let status = guard.ask(r#"{"command":"status"}"#);
            assert_eq!(
                (&status["enforcement"], &status["connected"]),
                (&"kernel".into(), &true.into())
            );
            assert_eq!(status["problems"], Value::Array(vec![]));
            let done = guard.ask(
            r#"{"command":"manual","order":{"add":{"to":["jail"],"what":[{"cidr":"192.0.2.0/24"},{"cidr":"192.0.2.7"}],"time":null,"comment":"x"}}}"#,
        );
            assert_eq!(done["changed"], 2, "{done}");
            assert!(elements("jail4").contains_key("192.0.2.7"));
            assert!(elements("net4").contains_key("192.0.2.0"));
            let skipped = guard.ask(
            r#"{"command":"manual","order":{"add":{"to":["jail"],"what":[{"cidr":"127.0.0.1"}],"time":null,"comment":""}}}"#,
        );
            assert_eq!(skipped["changed"], 0);
            assert!(skipped["notes"][0].as_str().unwrap().contains("127.0.0.1"));
            guard.ask(r#"{"command":"manual","order":{"add":{"to":["white"],"what":[{"cidr":"192.0.2.7"}],"time":null,"comment":""}}}"#);
            assert!(!elements("jail4").contains_key("192.0.2.7"));
            let white = run("nft", &["list", "set", "inet", "autoban", "white4"]);
            assert!(white.contains("192.0.2.7"), "{white}");
            session.unknown("TCP", "203.0.113.9");
            guard.counts("InvalidAccountID strong", 1);
            let why = guard.ask(r#"{"command":"why","address":"203.0.113.9"}"#);
            assert!(
                why["text"].as_str().unwrap().contains("watched: 1 proven"),
                "{why}"
            );
            let list = guard.ask(r#"{"command":"list","sets":["watch","white"]}"#);
            assert_eq!(list["sets"][0][1][0]["cidr"], "203.0.113.9", "{list}");
            assert_eq!(guard.ask("nonsense")["result"], "refused");
        },
    );
}

#[test]
fn the_predecessors_bans_are_carried_over_once() {
    in_namespace(
        "autoban::the_predecessors_bans_are_carried_over_once",
        || {
            let pbx = Pbx::with_secret(SECRET);
            let mut guard = Guard::volume(&pbx, "");
            guard.file(
            "srv/etc/nftables.d/autoban.nft",
            "table ip autoban {\n\tset jail {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t\telements = { 192.0.2.7 timeout 2h, bad timeout 1h }\n\t}\n\tset whitelist {\n\t\telements = { 198.51.100.1 }\n\t}\n}\n",
        );
            guard.start(&[]);
            guard.hears("carried over 2 entries of autoban.nft; 1 could not be read");
            let session = pbx.accept().expect("a login");
            guard.hears("listening");
            assert!(elements("jail4")["192.0.2.7"] > 7000);
            guard.ask(r#"{"command":"manual","order":{"delete":{"from":["jail","parole"],"what":[{"cidr":"192.0.2.7"}]}}}"#);
            assert!(guard.stops());
            drop(session);
            guard.start(&[]);
            let _session = pbx.accept().expect("a login");
            guard.hears("listening");
            assert!(elements("jail4").is_empty());
        },
    );
}

#[test]
fn without_a_configuration_it_is_off() {
    in_namespace("autoban::without_a_configuration_it_is_off", || {
        let pbx = Pbx::with_secret(SECRET);
        let mut guard = Guard::volume(&pbx, "");
        std::fs::remove_file(guard.root.path().join("srv/etc/asterisk/autoban.conf")).unwrap();
        guard.start(&[]);
        let line = guard.hears("AutoBan is off: there is no");
        assert!(line.contains("autoban.conf"), "{line}");
        assert_eq!(guard.ask(r#"{"command":"status"}"#)["enforcement"], "off");
        guard.configure(&pbx, "maxcount = 1");
        guard.reload();
        let mut session = pbx.accept().expect("a login");
        session.unknown("TCP", "192.0.2.7");
        guard.hears("jailed 192.0.2.7");
        assert!(elements("jail4").contains_key("192.0.2.7"));
    });
}

#[test]
fn who_logged_in_is_not_banned_by_what_can_be_forged() {
    in_namespace(
        "autoban::who_logged_in_is_not_banned_by_what_can_be_forged",
        || {
            let (mut guard, _pbx, mut session) = started("maxcount = 2");
            session.success("UDP", "192.0.2.7");
            for _ in 0..50 {
                session.wrong_password("UDP", "192.0.2.7");
            }
            guard.counts("ChallengeResponseFailed weak", 50);
            assert!(elements("weak4").is_empty() && elements("jail4").is_empty());
            guard.hears("192.0.2.7 is trusted and is not banned");
        },
    );
}
