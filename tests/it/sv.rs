//! Our `sv` against runit's: the same words to the real `sv` over real `runsv` directories and to ours over the exchange.
//!
//! What the real one (Debian's runit 2.1.2-54) answers is written down here, so that ours is always held to it; where
//! runit is installed, the real one is asked too. Numbers of processes and seconds become `N`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use switchhook::units::directives::{DIRECTIVES, Treatment};

use crate::appliance::{BINARY, Root, wait_for};

/// Words, exit code, lines of stdout and stderr.
enum Step {
    /// Asked once.
    Says(&'static str, i32, &'static [&'static str]),
    /// Asked until it says so.
    Comes(&'static str, &'static str),
    /// Asked until the process is two seconds old: the real one counts in whole seconds.
    Ages(&'static str),
    /// A known difference: the real one's lines, then ours.
    Differs(
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    ),
}

use Step::{Ages, Comes, Differs, Says};

const RUN_A: &str = "run: a: (pid N) Ns";
const OK_A: &[&str] = &["ok: run: a: (pid N) Ns"];
const DOWN_A: &[&str] = &["ok: down: a: Ns, normally up"];
const RUN_STUB: &str = "run: stub: (pid N) Ns";
const NOTHERE: &[&str] =
    &["fail: nothere: unable to change to service directory: file does not exist"];
const NORUN: &[&str] = &["warning: norun: unable to open supervise/ok: file does not exist"];
const USAGE: &[&str] = &["usage: sv [-v] [-w sec] command service ..."];

/// `a` and `b` sleep, `dn` has a file `down`, `stub` hears no signal, `norun` has nothing, `nothere` is not there.
const STEPS: &[Step] = &[
    Comes("status a", RUN_A),
    Comes("status b", "run: b: (pid N) Ns"),
    Comes("status dn", "down: dn: Ns"),
    Comes("status stub", RUN_STUB),
    Says("status a dn", 0, &[RUN_A, "down: dn: Ns"]),
    Says("status nothere", 1, NOTHERE),
    Says("status norun", 1, NORUN),
    Says("status DIR/a", 0, &["run: DIR/a: (pid N) Ns"]),
    Says("status DIR/a/", 0, &["run: DIR/a/: (pid N) Ns"]),
    Says("s a", 0, &[RUN_A]),
    Says("shu a", 0, &[RUN_A]),
    Says("-v status a", 0, &[RUN_A]),
    Says("-w x status a", 0, &[RUN_A]),
    Says("-v up a", 0, OK_A),
    Says("up a", 0, &[]),
    Says("down a", 0, &[]),
    Comes("status a", "down: a: Ns, normally up"),
    Says("-v down a", 0, DOWN_A),
    Says("stop a", 0, DOWN_A),
    Says("start a", 0, OK_A),
    Says("check a", 0, OK_A),
    Says("stop a", 0, DOWN_A),
    Says("restart a", 0, OK_A),
    Ages("a"),
    Says("try-restart a", 0, OK_A),
    Says("-w1 try-restart dn", 0, &["ok: down: dn: Ns"]),
    Says("-w 1 check dn", 0, &["ok: down: dn: Ns"]),
    Says("up dn", 0, &[]),
    Comes("status dn", "run: dn: (pid N) Ns, normally down"),
    Says(
        "stop dn nothere a",
        1,
        &[
            NOTHERE[0],
            "ok: down: dn: Ns",
            "ok: down: a: Ns, normally up",
        ],
    ),
    Says(
        "-w 9 start a nothere norun",
        2,
        &[NOTHERE[0], NORUN[0], OK_A[0]],
    ),
    Says("once dn", 0, &[]),
    Comes("status dn", "run: dn: (pid N) Ns, normally down, want down"),
    Says("kill dn", 0, &[]),
    Comes("status dn", "down: dn: Ns"),
    Says("reload stub", 0, &["ok: run: stub: (pid N) Ns"]),
    Says("hup stub", 0, &[]),
    Says("-v hup stub", 0, &["ok: run: stub: (pid N) Ns"]),
    Says("alarm stub", 0, &[]),
    Says("interrupt stub", 0, &[]),
    Says("quit stub", 0, &[]),
    Says("1 stub", 0, &[]),
    Says("2 stub", 0, &[]),
    Comes("status stub", RUN_STUB),
    Ages("stub"),
    Says(
        "-w1 stop stub",
        1,
        &["timeout: run: stub: (pid N) Ns, want down, got TERM"],
    ),
    Says(
        "status stub",
        0,
        &["run: stub: (pid N) Ns, want down, got TERM"],
    ),
    Says(
        "-w1 force-stop stub",
        1,
        &["kill: run: stub: (pid N) Ns, want down, got TERM"],
    ),
    Comes("status stub", "down: stub: Ns, normally up"),
    Says("-w9 start stub", 0, &["ok: run: stub: (pid N) Ns"]),
    Ages("stub"),
    Says(
        "-w1 force-restart stub",
        1,
        &["kill: run: stub: (pid N) Ns, got TERM"],
    ),
    Comes("status stub", RUN_STUB),
    Ages("stub"),
    Says(
        "-w1 force-reload stub",
        1,
        &["kill: run: stub: (pid N) Ns, got TERM"],
    ),
    Comes("status stub", RUN_STUB),
    Says("pause b", 0, &[]),
    Comes("status b", "run: b: (pid N) Ns, paused"),
    Says("cont b", 0, &[]),
    Comes("status b", "run: b: (pid N) Ns"),
    Says("pause b", 0, &[]),
    Comes("status b", "run: b: (pid N) Ns, paused"),
    Says("stop b", 0, &["ok: down: b: Ns, normally up"]),
    Says("hup b", 0, &[]),
    Says("once b", 0, &[]),
    Comes("status b", "run: b: (pid N) Ns, want down"),
    Says("up b", 0, &[]),
    Comes("status b", "run: b: (pid N) Ns"),
    Says("term b", 0, &[]),
    Comes("status b", "run: b: (pid N) Ns"),
    Says("dance b", 0, &[]),
    Comes("status b", "down: b: Ns, normally up"),
    Says("upx b", 0, &[]),
    Comes("status b", "run: b: (pid N) Ns"),
    Says("stop nothere", 1, NOTHERE),
    Says("check nothere", 1, NOTHERE),
    Says("kill nothere", 1, NOTHERE),
    Says("force-stop norun", 1, NORUN),
    Says("", 100, USAGE),
    Says("start", 100, USAGE),
    Says("rest a", 100, USAGE),
    Says(
        "-w",
        100,
        &["sv: option requires an argument -- w", USAGE[0]],
    ),
    Says("-h a", 100, &["sv: illegal option -- h", USAGE[0]]),
    // There is no runsv that could end: the service goes down and stays known.
    Differs(
        "shutdown b",
        &["ok: b: runsv not running"],
        &["ok: down: b: Ns, normally up"],
    ),
    Differs(
        "-v exit a",
        &["ok: a: runsv not running"],
        &["ok: down: a: Ns, normally up"],
    ),
    Differs(
        "force-shutdown dn",
        &["ok: dn: runsv not running"],
        &["ok: down: dn: Ns"],
    ),
];

/// `lg` has a log service of its own.
const LOG_STEPS: &[Step] = &[
    Comes("status lg", "run: lg: (pid N) Ns; run: log: (pid N) Ns"),
    Comes("status DIR/lg/log", "run: DIR/lg/log: (pid N) Ns"),
    Says("stop lg", 0, &["ok: down: lg: Ns, normally up"]),
    Says(
        "status lg",
        0,
        &["down: lg: Ns, normally up; run: log: (pid N) Ns"],
    ),
];

/// `chk` has a `check` that fails, and a file `down`.
const CHECK_STEPS: &[Step] = &[
    Says("up chk", 0, &[]),
    Comes("status chk", "run: chk: (pid N) Ns, normally down"),
    Says(
        "-w1 check chk",
        1,
        &["timeout: run: chk: (pid N) Ns, normally down"],
    ),
    Says(
        "-w1 start chk",
        1,
        &["timeout: run: chk: (pid N) Ns, normally down"],
    ),
    Says("stop chk", 0, &["ok: down: chk: Ns"]),
];

const SERVICES: &[&str] = &["a", "b", "dn", "stub", "lg", "chk"];

/// Whether this file of a service directory has an effect with us.
fn honours(file: &str) -> bool {
    DIRECTIVES.iter().any(|directive| {
        directive.section == "runit"
            && directive.name == file
            && directive.treatment == Treatment::Honoured
    })
}

fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

fn service_directories(below: &Path) {
    let sleep = "exec sleep 1000";
    let deaf = "trap '' TERM HUP ALRM INT QUIT USR1 USR2; while :; do sleep 1; done";
    for name in SERVICES {
        let text = if *name == "stub" { deaf } else { sleep };
        script(&below.join(name).join("run"), text);
    }
    script(&below.join("lg/log/run"), "exec cat");
    script(&below.join("chk/check"), "exit 1");
    std::fs::write(below.join("chk/down"), "").unwrap();
    std::fs::write(below.join("dn/down"), "").unwrap();
}

/// Exit code and lines of stdout, then stderr, with numbers and directory replaced.
fn ask(sv: &Path, directory: &Path, root: &Path, words: &str) -> (i32, Vec<String>) {
    let place = directory.to_str().unwrap();
    let words = words.replace("DIR", place);
    let out = Command::new(sv)
        .args(words.split_whitespace())
        .env_clear()
        .env("SVDIR", directory)
        .env("SVROOT", root)
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8(text).unwrap().replace(place, "DIR");
    let lines = text.lines().filter(|line| !line.is_empty());
    (out.status.code().unwrap(), lines.map(normal).collect())
}

/// Every number of a status line as `N`.
fn normal(line: &str) -> String {
    if line.contains("usage") || line.contains("option") {
        return line.to_owned();
    }
    let mut out = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if out.ends_with('N') => {}
            '0'..='9' => out.push('N'),
            c => out.push(c),
        }
    }
    out
}

fn age(sv: &Path, directory: &Path, root: &Path, service: &str) -> Option<u64> {
    let out = Command::new(sv)
        .args(["status", service])
        .env_clear()
        .env("SVDIR", directory)
        .env("SVROOT", root)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let (_, rest) = text.split_once(") ")?;
    rest.split_once('s')?.0.parse().ok()
}

fn walk(steps: &[Step], sv: &Path, directory: &Path, root: &Path, is_real: bool) {
    for step in steps {
        match step {
            Says(words, code, lines) => {
                let (found, mut said) = ask(sv, directory, root, words);
                // Services that are waited for get there in any order.
                let mut expected = owned(lines);
                said.sort();
                expected.sort();
                assert_eq!((found, said), (*code, expected), "sv {words}");
            }
            Differs(words, real, ours) => {
                let (found, said) = ask(sv, directory, root, words);
                let lines = if is_real { real } else { ours };
                assert_eq!((found, said), (0, owned(lines)), "sv {words}");
            }
            Comes(words, line) => wait_for(
                || (ask(sv, directory, root, words) == (0, vec![(*line).to_owned()])).then_some(()),
                &format!("sv {words} never said `{line}`"),
            ),
            Ages(service) => wait_for(
                || {
                    age(sv, directory, root, service)
                        .filter(|seconds| *seconds >= 2)
                        .map(|_| ())
                },
                &format!("{service} never got old"),
            ),
        }
    }
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn ours_says_what_runit_says() {
    let root = Root::new();
    let services = root.path("etc/service");
    service_directories(&services);
    let mut it = root.start();
    it.is_ready();
    std::fs::create_dir(services.join("norun")).unwrap();
    let sv = root.path("sv");
    std::os::unix::fs::symlink(BINARY, &sv).unwrap();
    let held_to = |steps| {
        walk(
            steps,
            &sv,
            Path::new("/etc/service"),
            root.dir.path(),
            false,
        )
    };
    held_to(STEPS);
    if honours("log/run") {
        held_to(LOG_STEPS);
    }
    if honours("check") {
        held_to(CHECK_STEPS);
    }
}

#[test]
fn an_exchange_that_does_not_answer_is_told_for_each_service() {
    let root = Root::new();
    let sv = root.path("sv");
    std::os::unix::fs::symlink(BINARY, &sv).unwrap();
    let (code, said) = ask(
        &sv,
        Path::new("/etc/service"),
        root.dir.path(),
        "status a b",
    );
    assert_eq!(code, 2);
    assert_eq!(
        said[..2],
        ["fail: a: runsv not running", "fail: b: runsv not running"]
    );
    assert!(said[2].contains("cannot reach the exchange"), "{said:?}");
}

/// Real `runsv` processes; they are ended with their services.
struct Runit {
    sv: PathBuf,
    directory: PathBuf,
    runsv: Vec<Child>,
}

impl Drop for Runit {
    fn drop(&mut self) {
        let mut end = Command::new(&self.sv);
        end.args(["-w", "1", "force-shutdown"]).args(SERVICES);
        let _ = end.env("SVDIR", &self.directory).output();
        for child in &mut self.runsv {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(name));
    places.find(|place| place.is_file())
}

#[test]
fn what_is_written_down_of_runit_is_what_it_says() {
    let (Some(sv), Some(runsv)) = (on_path("sv"), on_path("runsv")) else {
        eprintln!(
            "SKIPPED: runit is not installed, so that its real `sv` cannot be asked (apt-get install runit)"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    service_directories(dir.path());
    std::fs::create_dir(dir.path().join("norun")).unwrap();
    let start = |name: &&str| {
        let mut command = Command::new(&runsv);
        command.arg(dir.path().join(name));
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        quiet.spawn().unwrap()
    };
    let it = Runit {
        runsv: SERVICES.iter().map(start).collect(),
        sv,
        directory: dir.path().to_owned(),
    };
    for steps in [LOG_STEPS, CHECK_STEPS, STEPS] {
        walk(steps, &it.sv, &it.directory, Path::new("/"), true);
    }
}
