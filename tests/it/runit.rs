//! runit service directories under the exchange, beside Debian's runsv(8) where that is installed.

use std::process::Command;

use crate::appliance::{Root, wait_for};

/// Waits until the file has this many lines, and returns them.
fn lines(root: &Root, below: &str, count: usize) -> Vec<String> {
    wait_for(
        || {
            let text = root.read(below);
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            (lines.len() >= count && text.ends_with('\n')).then_some(lines)
        },
        &format!("`{below}` never had {count} lines"),
    )
}

fn is_up(root: &Root, name: &str) {
    wait_for(
        || root.service_status(name)["up"].as_bool().filter(|up| *up),
        "the service never came up",
    );
}

#[test]
fn finish_is_told_how_the_program_ended_and_the_restart_waits_for_it() {
    let root = Root::new();
    let out = root.path("out");
    std::fs::create_dir_all(&out).unwrap();
    let out = out.display();
    root.script(
        "etc/service/a/run",
        &format!("echo run >> {out}/log\nread code < {out}/code && exit $code\nkill -9 $$"),
    );
    // Slow enough that a restart beside it would be seen.
    root.script(
        "etc/service/a/finish",
        &format!("echo finish $# $* >> {out}/log\nrm -f {out}/code\nwait_for_go=$(cat {out}/go)\necho finished >> {out}/log"),
    );
    let go = root.path("out/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    root.file("out/code", "7\n");
    let mut it = root.start();
    assert_eq!(lines(&root, "out/log", 2), ["run", "finish 2 7 0"]);
    let status = root.service_status("a");
    assert_eq!(status["state"], "stopping");
    assert!(status["pid"].is_number(), "{status}");
    std::fs::write(&go, "").unwrap();
    let all = lines(&root, "out/log", 5);
    assert_eq!(
        all,
        ["run", "finish 2 7 0", "finished", "run", "finish 2 -1 9"]
    );
    // The stop waits for it too.
    it.signal(nix::sys::signal::Signal::SIGTERM);
    it.hears("stop: stopping");
    std::fs::write(&go, "").unwrap();
    assert_eq!(it.ends(), 0);
    assert_eq!(root.read("out/log").lines().last(), Some("finished"));
}

#[test]
fn a_finish_that_does_not_end_is_killed_when_its_time_is_over() {
    let root = Root::new();
    root.service(
        "a",
        "[Service]\nRestart=always\nTimeoutStopSec=200ms\nExecStopPost=/bin/sleep 1000",
        "exit 3",
    );
    let mut it = root.start();
    it.hears("a: ended with exit code 3");
    it.hears("a: ExecStopPost= failed with signal 9");
    it.hears("a: starts again now");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_service_is_up_when_its_check_succeeds() {
    let root = Root::new();
    let ready = root.path("ready").display().to_string();
    root.script("etc/service/a/run", "exec sleep 1000");
    root.script(
        "etc/service/a/check",
        &format!("echo noise; echo asked >> {ready}.log; test -e {ready}"),
    );
    let mut it = root.start();
    lines(&root, "ready.log", 3);
    assert_eq!(root.service_status("a")["state"], "starting");
    let (code, said, _) = root.ask(&["health", "--ready"]);
    assert_eq!(code, 1, "{said}");
    root.file("ready", "");
    it.hears("a: ready after");
    it.is_ready();
    assert!(!it.has_said("noise"));
    assert_eq!(it.stops(), 0);
}

#[test]
fn no_line_is_lost_between_a_service_and_its_log_over_restarts_of_either() {
    let root = Root::new();
    let out = root.path("got").display().to_string();
    // Says fifty lines and ends, again and again, from where it stopped.
    root.script(
        "etc/service/a/run",
        &format!(
            "n=$(cat {out}.n 2>/dev/null || echo 0)\n[ $n -ge 250 ] && exec sleep 1000\necho $((n+50)) > {out}.n\ni=0\nwhile [ $i -lt 50 ]; do i=$((i+1)); echo line $((n+i)); done"
        ),
    );
    // Takes eighty lines and ends. A shell's `read` takes no byte behind the line.
    root.script(
        "etc/service/a/log/run",
        &format!(
            "i=0\nwhile [ $i -lt 80 ] && read -r line; do echo \"$line\" >> {out}; i=$((i+1)); done"
        ),
    );
    let mut it = root.start();
    let expected: Vec<String> = (1..=250).map(|n| format!("line {n}")).collect();
    assert_eq!(lines(&root, "got", 250), expected);
    assert_eq!(it.stops(), 0);
    assert!(!it.has_said("line 1"), "what went to its log went here too");
    let ends = |name: &str| {
        let text = format!("{name}: ended with exit code 0");
        it.heard.iter().filter(|line| line.contains(&text)).count()
    };
    assert!(ends(" a") >= 5 && ends(" a-log") >= 3, "{:?}", it.heard);
}

#[test]
fn at_the_stop_the_log_reads_to_the_end() {
    let root = Root::new();
    let out = root.path("got").display().to_string();
    root.script(
        "etc/service/a/run",
        "trap 'i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo last $i; done; exit 0' TERM\necho up\nwhile :; do sleep 1000 & wait; done",
    );
    root.script(
        "etc/service/a/log/run",
        &format!("while read -r line; do echo \"$line\" >> {out}; done; echo end >> {out}"),
    );
    let mut it = root.start();
    it.is_ready();
    lines(&root, "got", 1);
    assert_eq!(it.stops(), 0);
    let got = lines(&root, "got", 502);
    assert_eq!(got.first().map(String::as_str), Some("up"));
    assert_eq!(got.get(500).map(String::as_str), Some("last 500"));
    assert_eq!(got.last().map(String::as_str), Some("end"));
    assert!(!it.has_said("last 1"), "what went to its log went here too");
}

#[test]
fn a_log_service_that_is_down_holds_nobody_up() {
    let root = Root::new();
    // More than any pipe holds.
    root.script(
        "etc/service/a/run",
        "head -c 4000000 /dev/zero | tr '\\0' 'x' | fold -w 100\necho\necho through\nexec sleep 1000",
    );
    root.script("etc/service/a/log/run", "exec sleep 1000");
    root.file("etc/service/a/log/down", "");
    let mut it = root.start();
    it.hears("a: its own log service is down; what it says goes here");
    it.hears("a: through");
    assert_eq!(it.stops(), 0);
}

#[test]
fn control_programs_take_the_place_of_signals() {
    let root = Root::new();
    let out = root.path("out").display().to_string();
    root.script(
        "etc/service/a/run",
        &format!("trap 'echo term >> {out}; exit 0' TERM\ntrap 'echo hup >> {out}' HUP\necho run >> {out}\nwhile :; do sleep 1000 & wait; done"),
    );
    for (letter, code) in [("t", 1), ("d", 0), ("h", 0), ("u", 3)] {
        root.script(
            &format!("etc/service/a/control/{letter}"),
            &format!("echo control {letter} >> {out}; exit {code}"),
        );
    }
    let mut it = root.start();
    is_up(&root, "a");
    lines(&root, "out", 2);
    let sv = |words: &[&str]| {
        let out = Command::new(crate::appliance::BINARY)
            .arg("sv")
            .args(words)
            .env("SVROOT", root.dir.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
    };
    sv(&["hup", "a"]);
    lines(&root, "out", 3);
    sv(&["stop", "a"]);
    let all = lines(&root, "out", 6);
    // `control/h` did well, so there was no SIGHUP; `control/t` did not, so there was a SIGTERM.
    assert_eq!(all[..4], ["control u", "run", "control h", "control t"]);
    let mut last = all[4..].to_vec();
    last.sort();
    assert_eq!(last, ["control d", "term"]);
    assert_eq!(it.stops(), 0);
}

/// The same directory under Debian's runsv and under the exchange leaves the same record: what `finish` gets,
/// who sees which standard streams, when the programs of `control/` run.
#[test]
fn a_service_directory_lives_as_under_runsv() {
    let found = std::process::Command::new("runsv").output();
    if found.is_err() {
        eprintln!("not compared: there is no runsv here; `apt-get install runit` brings it");
        return;
    }
    let make = |root: &Root| {
        let out = root.path("out").display().to_string();
        let is_pipe =
            "case $(readlink /proc/self/fd/1) in pipe:*) echo a pipe;; *) echo other;; esac";
        root.script(
            "etc/service/a/run",
            &format!("trap 'exit 5' TERM\n(echo run in $(basename $PWD), stdout is $({is_pipe}) >> {out})\necho hello\nwhile :; do sleep 2 > /dev/null 2>&1 & wait; done"),
        );
        root.script(
            "etc/service/a/finish",
            &format!("echo finish $# $* >> {out}"),
        );
        root.script(
            "etc/service/a/control/u",
            &format!("echo control u $# >> {out}; exit 1"),
        );
        root.script(
            "etc/service/a/control/t",
            &format!("echo control t $# >> {out}; exit 1"),
        );
        root.script(
            "etc/service/a/log/run",
            &format!("while read -r line; do echo log in $(basename $PWD) got $line >> {out}.log; done; echo log end >> {out}.log"),
        );
    };
    // Ours.
    let ours = Root::new();
    make(&ours);
    let mut it = ours.start();
    lines(&ours, "out.log", 1);
    is_up(&ours, "a");
    let pid = ours.service_status("a")["pid"].as_i64().unwrap();
    kill(pid);
    lines(&ours, "out.log", 2);
    assert_eq!(it.stops(), 0);
    // runsv's.
    let theirs = Root::bare();
    make(&theirs);
    let mut runsv = std::process::Command::new("runsv")
        .arg(theirs.path("etc/service/a"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    lines(&theirs, "out.log", 1);
    let pid = theirs.read("etc/service/a/supervise/pid");
    kill(pid.trim().parse().unwrap());
    lines(&theirs, "out.log", 2);
    // `sv exit` is a byte in the fifo (runsv(8)).
    std::fs::write(theirs.path("etc/service/a/supervise/control"), "x").unwrap();
    runsv.wait().unwrap();
    for file in ["out", "out.log"] {
        assert_eq!(ours.read(file), theirs.read(file), "{file}");
    }
    assert_eq!(
        ours.read("out")
            .lines()
            .filter(|l| l.starts_with("finish"))
            .count(),
        2
    );
}

fn kill(pid: i64) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}
