//! What the services say, printed by the log service.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::appliance::{BINARY, PATIENCE, Root, wait_for};

/// With the query socket, as the image has it.
fn with_query(root: Root) -> Root {
    root.unit(
        "logd-query.socket",
        include_str!("../../docker/units/logd-query.socket"),
    );
    root
}

/// A gate that a service waits at.
fn gate(root: &Root, name: &str) -> PathBuf {
    let path = root.path(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    path
}

/// Lets the service that waits at `gate` go on.
fn open(gate: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    // Without a reader, opening would wait for ever for a service that is gone.
    let mut fifo = wait_for(
        || {
            std::fs::OpenOptions::new()
                .write(true)
                .custom_flags(nix::libc::O_NONBLOCK)
                .open(gate)
                .ok()
        },
        "nobody waits at the gate",
    );
    std::io::Write::write_all(&mut fifo, b"go\n").unwrap();
}

fn say_to_syslog(root: &Root, text: &str) {
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
        .send_to(text.as_bytes(), root.path("dev/log"))
        .unwrap();
}

fn kill_log_service(root: &Root) {
    let pid = root.service_status("logd")["pid"].as_i64().unwrap();
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
}

/// An exchange whose stdout nobody reads.
struct Unread {
    child: Child,
    stdout: Option<ChildStdout>,
}

impl Unread {
    fn start(root: &Root, environment: &[(&str, &str)]) -> Unread {
        let mut child = Command::new(BINARY)
            .args(["init", "--root"])
            .arg(root.dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("SYSLOG_LEVEL", "8")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take();
        wait_for(
            || (root.status()["ready"] == true).then_some(()),
            "the exchange is never ready",
        );
        Unread { child, stdout }
    }

    fn signal(&self) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
    }

    /// At last somebody reads, and the exchange stops: everything that it said.
    fn read_and_stop(mut self) -> String {
        let mut stdout = self.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        self.signal();
        reader.join().unwrap()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        for _ in 0..3 {
            if self.child.try_wait().is_ok_and(|status| status.is_none()) {
                self.signal();
                std::thread::yield_now();
            }
        }
        let _ = self.child.wait();
    }
}

/// How many numbered lines of `service` came or were told as lost; panics when one is missing or out of order.
fn account_for(text: &str, service: &str) -> (u64, u64) {
    let (mut kept, mut lost) = (0, 0);
    let said = format!("info {service}: number ");
    let told = format!(" of {service} lost here: ");
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once(&said) {
            let number: u64 = rest.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(number, kept + lost, "{line}");
            kept += 1;
        } else if let Some((before, _)) = line.split_once(&told) {
            let count = before.split(' ').nth_back(1).unwrap();
            lost += count.parse::<u64>().unwrap();
        }
    }
    (kept, lost)
}

#[test]
fn levels_hide_what_is_less_severe_and_our_own_notices_stay() {
    let root = Root::new().env("SYSLOG_LEVEL", "4");
    root.service(
        "a",
        "",
        "echo hidden information; echo '<3>shown error'; echo shown complaint >&2; exec sleep 1000",
    );
    let mut it = root.start();
    it.hears("error a: shown");
    it.hears("error a: shown");
    it.is_ready();
    assert_eq!(it.stops(), 0);
    assert!(!it.has_said("hidden information"));
}

#[test]
fn syslog_datagrams_are_printed_with_service_and_level() {
    let root = Root::new();
    let mut it = root.start();
    it.is_ready();
    say_to_syslog(&root, "<132>Nov 22 02:03:04 asterisk[17]: careful");
    it.hears("warning asterisk: careful");
    assert_eq!(it.stops(), 0);
}

#[test]
fn json_lines_are_objects_with_fixed_names() {
    let root = Root::new().env("SWITCHHOOK_LOG_FORMAT", "json");
    root.service("a", "", "echo hello; exec sleep 1000");
    let mut it = root.start();
    let line = it.hears("hello");
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (value["service"].as_str(), value["level"].as_str()),
        (Some("a"), Some("info"))
    );
    assert_eq!(it.stops(), 0);
}

#[test]
fn no_line_is_lost_when_the_log_service_is_killed() {
    let root = Root::new().env("SYSLOG_OPTIONS", "-S");
    let go = gate(&root, "go");
    root.service(
        "a",
        "",
        &format!(
            "read x < {}; for i in 1 2 3 4 5; do echo line $i; done; exec sleep 1000",
            go.display()
        ),
    );
    let mut it = root.start();
    it.is_ready();
    kill_log_service(&root);
    open(&go);
    for i in 1..=5 {
        it.hears(&format!("info a: line {i}"));
    }
    assert_eq!(it.stops(), 0);
}

#[test]
fn the_reason_is_told_when_the_log_service_itself_cannot_run() {
    let root = Root::bare();
    root.unit(
        "logd.service",
        "[Service]\nType=notify\nExecStart=/nowhere/logd\nRestart=always\nX-Role=log\n",
    );
    let mut it = root.start();
    it.hears("logd: cannot run `/nowhere/logd`: failed at executing its program");
    it.stops();
}

#[test]
fn what_was_said_last_is_printed_before_the_end() {
    let root = Root::new();
    root.service(
        "a",
        "",
        "trap 'echo last words; exit 0' TERM; echo armed; while :; do sleep 0.05; done",
    );
    let mut it = root.start();
    it.hears("info a: armed");
    it.is_ready();
    assert_eq!(it.stops(), 0);
    assert!(it.has_said("info a: last words"), "{:?}", it.heard);
}

#[test]
fn an_output_that_nobody_reads_holds_nobody_and_every_line_is_there_or_counted() {
    let root = with_query(Root::new());
    let go = gate(&root, "go");
    // 105,000 lines of 100 bytes: 10 MiB.
    root.service(
        "chatter",
        "",
        &format!(
            "read x < {}; perl -e '$_ = 0; printf(\"%-99s\\n\", \"number $_ \"), $_++ while $_ < 105000'; \
             touch {}; exec sleep 1000",
            go.display(),
            root.path("done").display(),
        ),
    );
    let it = Unread::start(&root, &[]);
    open(&go);
    for i in 0..5000 {
        say_to_syslog(&root, &format!("<14>tag: number {i} of many"));
    }
    wait_for(
        || root.path("done").exists().then_some(()),
        "the service is held by the log",
    );
    assert_eq!(root.status()["ready"], true);
    assert_eq!(root.service_status("logd")["restarts"], 0);
    assert_eq!(root.ask(&["health"]).0, 0);
    let (code, newest, _) = root.ask(&["logs", "chatter", "-n", "1"]);
    assert_eq!(code, 0);
    assert!(newest.contains("info chatter: number 104999"), "{newest}");
    let text = it.read_and_stop();
    let (kept, lost) = account_for(&text, "chatter");
    assert_eq!(kept + lost, 105_000, "{kept} lines are there");
    assert!(kept > 1000 && lost > 50_000, "{kept} kept, {lost} lost");
    // /dev/log has a share of its own: the flood of another costs it nothing.
    assert_eq!(account_for(&text, "tag"), (5000, 0));
    let all = format!("{lost} lines lost since the log service started");
    assert!(text.contains(&all), "no line at the end");
}

/// How many lines of a service the log service has seen, by its own count.
fn lines_of(root: &Root, service: &str) -> u64 {
    let mut stream =
        std::os::unix::net::UnixStream::connect(root.path("run/switchhook/log.sock")).unwrap();
    stream.write_all(b"{\"command\":\"stats\"}\n").unwrap();
    let mut answer = String::new();
    let mut lines = BufReader::new(stream);
    while lines.read_line(&mut answer).unwrap() > 0 {
        let value: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer.clear();
        let sources = value["sources"].as_array().cloned().unwrap_or_default();
        if let Some(source) = sources.iter().find(|source| source["service"] == service) {
            return source["lines"].as_u64().unwrap();
        }
        if value["kind"] == "stats" {
            break;
        }
    }
    0
}

#[test]
fn a_flood_starves_neither_a_service_nor_syslog() {
    let root = with_query(Root::new());
    let (burst, go) = (gate(&root, "burst"), gate(&root, "go"));
    root.service(
        "flood",
        "",
        &format!("read x < {}; exec yes this comes for ever", burst.display()),
    );
    root.service(
        "quiet",
        "",
        &format!(
            "read x < {}; echo '<4>a quiet word'; exec sleep 1000",
            go.display()
        ),
    );
    let it = Unread::start(&root, &[("SYSLOG_OPTIONS", "-St")]);
    let mut logs = Command::new(BINARY)
        .args(["logs", "-f", "-n", "10000", "--level", "notice", "--root"])
        .arg(root.dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = BufReader::new(logs.stdout.take().unwrap()).lines();
    let mut hears = |text: &str| {
        while !heard.next().unwrap().unwrap().contains(text) {}
    };
    // Once it follows, the memory of the log may roll on as fast as it wants.
    say_to_syslog(&root, "<13>tag: before the flood");
    hears("notice tag: before the flood");
    open(&burst);
    wait_for(
        || (lines_of(&root, "flood") > 50_000).then_some(()),
        "no flood",
    );
    say_to_syslog(&root, "<13>tag: a word to syslog");
    hears("notice tag: a word to syslog");
    open(&go);
    hears("warning quiet: a quiet word");
    logs.kill().unwrap();
    logs.wait().unwrap();
    // The flood had half of the waiting room, and the others the rest.
    let text = it.read_and_stop();
    assert!(text.contains("warning quiet: a quiet word"));
    assert!(text.contains("notice tag: a word to syslog"));
}

#[test]
fn logs_are_shown_whatever_the_level_hides() {
    let root = with_query(Root::new().env("SYSLOG_LEVEL", "4"));
    root.service(
        "a",
        "",
        "echo '<7>a detail'; echo '<3>an error'; echo '[Nov 22 03:41:43] WARNING[12]: chan.c: a warning'; \
         echo last; exec sleep 1000",
    );
    let mut it = root.start();
    it.hears("error a: an error");
    it.is_ready();
    let all = wait_for(
        || {
            let (code, out, _) = root.ask(&["logs", "a"]);
            (code == 0 && out.contains("info a: last")).then_some(out)
        },
        "the last line never comes",
    );
    let words: Vec<&str> = all
        .lines()
        .filter_map(|line| line.split_once(' ').map(|(_, rest)| rest))
        .collect();
    assert_eq!(
        words,
        [
            "debug a: a detail",
            "error a: an error",
            "warning a: WARNING[12]: chan.c: a warning",
            "info a: last"
        ]
    );
    let (_, out, _) = root.ask(&["logs", "a", "--level", "warning", "-n", "1", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["message"], "WARNING[12]: chan.c: a warning");
    assert_eq!(value["schema"], 1);
    let (code, _, err) = root.ask(&["logs", "nobody"]);
    assert_eq!(code, 1);
    assert!(err.contains("`nobody` has said nothing"), "{err}");
    let (code, _, err) = root.ask(&["logs", "--level", "loud"]);
    assert_eq!(code, 1);
    assert!(err.contains("hint: there are emerg"), "{err}");
    assert_eq!(it.stops(), 0);
    assert!(!it.has_said("a detail") && !it.has_said("a warning"));
}

#[test]
fn followed_logs_go_on_over_a_restart_of_the_log_service() {
    let root = with_query(Root::new());
    let (one, two) = (gate(&root, "one"), gate(&root, "two"));
    root.service(
        "a",
        "",
        &format!(
            "echo first; read x < {}; echo second; read x < {}; echo third; exec sleep 1000",
            one.display(),
            two.display()
        ),
    );
    let mut it = root.start();
    it.hears("info a: first");
    it.is_ready();
    let mut logs = Command::new(BINARY)
        .args(["logs", "a", "-f", "--root"])
        .arg(root.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(logs.stdout.take().unwrap()).lines();
    let mut err = BufReader::new(logs.stderr.take().unwrap()).lines();
    assert!(out.next().unwrap().unwrap().ends_with("info a: first"));
    open(&one);
    assert!(out.next().unwrap().unwrap().ends_with("info a: second"));
    kill_log_service(&root);
    assert!(err.next().unwrap().unwrap().contains("waiting for it"));
    open(&two);
    assert!(out.next().unwrap().unwrap().ends_with("info a: third"));
    let pid = Pid::from_raw(i32::try_from(logs.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(logs.wait().unwrap().code(), Some(0));
    assert_eq!(it.stops(), 0);
}

#[test]
fn log_files_keep_the_last_lines_within_their_bound() {
    let root = Root::new();
    let directory = root.path("log");
    root.service(
        "a",
        "",
        "perl -e '$_ = 0; printf(\"%-99s\\n\", \"number $_ \"), $_++ while $_ < 5000'; exec sleep 1000",
    );
    let root = root
        .env("SWITCHHOOK_LOG_DIR", directory.to_str().unwrap())
        .env("SWITCHHOOK_LOG_FILE_SIZE", "64K")
        .env("SWITCHHOOK_LOG_FILES", "2");
    let mut it = root.start();
    it.hears("info a: number 4999");
    it.is_ready();
    assert_eq!(it.stops(), 0);
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["switchhook.log", "switchhook.log.1", "switchhook.log.2"]
    );
    for name in &names {
        let text = root.read(&format!("log/{name}"));
        assert!(text.len() <= 64 << 10, "{name}: {}", text.len());
        assert!(text.ends_with('\n'));
    }
    let kept: String = names
        .iter()
        .rev()
        .map(|name| root.read(&format!("log/{name}")))
        .collect();
    let numbers: Vec<u64> = kept
        .lines()
        .filter_map(|line| line.split_once("info a: number ")?.1.trim().parse().ok())
        .collect();
    assert_eq!(numbers.last(), Some(&4999));
    assert!(numbers.len() > 500);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_log_directory_that_cannot_be_written_is_told_once_and_harms_nobody() {
    let root = Root::new();
    let inside = root.file("occupied", "").join("log");
    let root = root.env("SWITCHHOOK_LOG_DIR", inside.to_str().unwrap());
    root.service("a", "", "echo one; echo two; exec sleep 1000");
    let mut it = root.start();
    it.hears("warning switchhook: cannot write the log file in");
    it.hears("info a: two");
    it.is_ready();
    assert_eq!(it.stops(), 0);
    let told = it
        .heard
        .iter()
        .filter(|l| l.contains("cannot write the log file"));
    assert_eq!(told.count(), 1);
}

#[test]
fn without_small_output_lines_bear_time_and_host() {
    let root = Root::new()
        .env("SYSLOG_OPTIONS", "-D")
        .env("HOSTNAME", "tele");
    root.service(
        "a",
        "",
        "echo '[Nov 22 03:41:43] WARNING[12]: x'; exec sleep 1000",
    );
    let mut it = root.start();
    let line = it.hears(" tele warning a: [Nov 22 03:41:43] WARNING[12]: x");
    assert_eq!(line.split('T').next().unwrap().len(), "2026-11-22".len());
    it.is_ready();
    assert_eq!(it.stops(), 0);
}
