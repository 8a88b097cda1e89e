//! Starting, restarting and stopping real processes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::appliance::{NOTIFY_AND_SLEEP, Root, is_alive, wait_for};

const SLEEP: &str = "exec sleep 1000";

#[test]
fn services_start_in_order_and_stop_in_reverse() {
    let root = Root::new();
    root.service("first", "[Service]\nType=notify", NOTIFY_AND_SLEEP);
    root.service("second", "[Unit]\nAfter=first.service", SLEEP);
    let mut it = root.start();
    it.is_ready();
    it.said_in_order(&["first: ready after", "second: ready after"]);
    assert_eq!(it.stops(), 0);
    it.said_in_order(&[
        "second: ended with signal 15",
        "first: ended with signal 15",
    ]);
}

#[test]
fn a_service_that_dies_is_started_again_at_once() {
    let root = Root::new();
    root.service("a", "[Service]\nRestart=always", SLEEP);
    let mut it = root.start();
    it.is_ready();
    let pid = root.service_status("a")["pid"].as_i64().unwrap();
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    it.hears("a: ended with signal 9, nobody asked for it");
    it.hears("a: ready after");
    let status = root.service_status("a");
    assert_ne!(status["pid"].as_i64().unwrap(), pid);
    assert_eq!(status["restarts"], 1);
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_crash_loop_is_unhealthy_with_its_reason_and_the_exchange_still_answers() {
    let root = Root::new();
    root.service("a", "[Service]\nType=notify\nRestart=always", "exit 3");
    let mut it = root.start();
    it.hears("a: starts again in 0.");
    let (code, out, _) = root.ask(&["health"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("exit code 3"), "{out}");
    assert_eq!(root.ask(&["health", "--live"]).0, 0);
    assert_eq!(it.stops(), 0);
}

#[test]
fn what_ignores_the_stop_is_killed_with_its_group_and_the_exit_code_says_so() {
    let root = Root::new();
    let pids = root.path("pids");
    root.service(
        "a",
        "[Service]\nTimeoutStopSec=300ms",
        &format!(
            "trap '' TERM\nsleep 1000 & echo $! > {}\nwhile :; do sleep 1000; done",
            pids.display()
        ),
    );
    let mut it = root.start();
    it.is_ready();
    let pid: i64 = wait_for(
        || std::fs::read_to_string(&pids).ok()?.trim().parse().ok(),
        "no child",
    );
    assert_eq!(it.stops(), 2);
    it.said_in_order(&[
        "a: did not end in its grace; killing it",
        "a: ended with signal 9",
    ]);
    assert!(!is_alive(pid));
}

#[test]
fn a_drain_waits_for_the_work_to_end() {
    let root = Root::new().env("SWITCHHOOK_DRAIN_TIMEOUT", "20s");
    let fifo = root.path("work");
    // The work is done when somebody writes into the pipe; the drain command only asks to end then.
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let drain = root.script("bin/drain", "exit 0");
    root.service(
        "a",
        &format!("[Service]\nX-Drain={}", drain.display()),
        &format!("read x < {}", fifo.display()),
    );
    let mut it = root.start();
    it.is_ready();
    it.signal(Signal::SIGTERM);
    it.hears("stop: draining");
    let status = root.status();
    assert_eq!(status["phase"], "draining");
    assert_eq!(status["ready"], false);
    assert_eq!(root.ask(&["health"]).0, 1);
    std::fs::write(&fifo, "done\n").unwrap();
    assert_eq!(it.ends(), 0);
    it.said_in_order(&[
        "a: its work has ended",
        "stop: exit-hooks",
        "stop: stopping",
    ]);
}

#[test]
fn a_second_order_cuts_the_drain() {
    let root = Root::new().env("SWITCHHOOK_DRAIN_TIMEOUT", "1h");
    let drain = root.script("bin/drain", "exit 0");
    root.service(
        "a",
        &format!("[Service]\nX-Drain={}", drain.display()),
        SLEEP,
    );
    let mut it = root.start();
    it.is_ready();
    it.signal(Signal::SIGTERM);
    it.hears("stop: draining");
    it.signal(Signal::SIGTERM);
    assert_eq!(it.ends(), 0);
    it.said_in_order(&["second order to stop", "a: ended with signal 15"]);
}

#[test]
fn a_drain_command_that_fails_stops_the_service_without_waiting() {
    let root = Root::new().env("SWITCHHOOK_DRAIN_TIMEOUT", "1h");
    root.service("a", "[Service]\nX-Drain=/bin/false", SLEEP);
    let mut it = root.start();
    it.is_ready();
    assert_eq!(it.stops(), 0);
    assert!(it.has_said("the drain command failed"));
}

#[test]
fn the_drain_budget_is_kept() {
    let root = Root::new().env("SWITCHHOOK_DRAIN_TIMEOUT", "200ms");
    root.service("a", "[Service]\nX-Drain=/bin/true", SLEEP);
    let mut it = root.start();
    it.is_ready();
    assert_eq!(it.stops(), 0);
    it.said_in_order(&[
        "work still ran when SWITCHHOOK_DRAIN_TIMEOUT was over",
        "a: ended with signal 15",
    ]);
}

#[test]
fn no_escaped_process_outlives_the_stop() {
    let root = Root::new();
    let pids = root.path("pids");
    root.service(
        "a",
        "",
        &format!(
            "setsid sh -c 'echo $$ > {}; exec sleep 1000' & exec sleep 1000",
            pids.display()
        ),
    );
    let mut it = root.start();
    it.is_ready();
    let pid: i64 = wait_for(
        || std::fs::read_to_string(&pids).ok()?.trim().parse().ok(),
        "no escaped process",
    );
    assert_eq!(it.stops(), 0);
    assert!(!is_alive(pid), "the escaped process is left");
    assert!(it.has_said("a: killed 1 processes that it left behind"));
}

#[test]
fn two_exchanges_on_one_machine_leave_each_other_alone() {
    let (one, two) = (Root::new(), Root::new());
    for root in [&one, &two] {
        root.service(
            "a",
            "[Service]\nRestart=always",
            &format!("(setsid sleep 1000 &)\n{SLEEP}"),
        );
    }
    let (mut first, mut second) = (one.start(), two.start());
    first.is_ready();
    second.is_ready();
    let pid = two.service_status("a")["pid"].as_i64().unwrap();
    assert_eq!(one.ask(&["restart", "a"]).0, 0);
    assert_eq!(first.stops(), 0);
    assert!(is_alive(pid));
    assert_eq!(two.service_status("a")["restarts"], 0);
    assert_eq!(second.stops(), 0);
}

/// How many living processes have this argument.
fn count(argument: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let has = |line: &Vec<u8>| {
        line.split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes())
    };
    lines.filter(has).count()
}

/// A service whose child leaves its group, its session and its parent; three times killed, once is left.
fn escaped_after_three_restarts(
    root: &Root,
    it: &mut crate::appliance::Appliance<'_>,
    argument: &str,
) {
    it.is_ready();
    for round in 1..=3u64 {
        wait_for(
            || (count(argument) == 1).then_some(()),
            "the escaped child is not alone",
        );
        let pid = wait_for(|| root.service_status("a")["pid"].as_i64(), "not running");
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
        wait_for(
            || (root.service_status("a")["restarts"].as_u64() == Some(round)).then_some(()),
            "no restart",
        );
    }
    wait_for(
        || (count(argument) == 1).then_some(()),
        "escaped children are left",
    );
}

#[test]
fn escaped_children_do_not_pile_up_over_restarts() {
    let root = Root::new();
    let argument = format!("1000.{}", std::process::id());
    root.service(
        "a",
        "[Service]\nRestart=always\nRestartSec=10ms",
        &format!("(setsid setsid sleep {argument} &)\n{SLEEP}"),
    );
    let mut it = root.start();
    escaped_after_three_restarts(&root, &mut it, &argument);
    assert_eq!(root.status()["containment"], "group");
    assert_eq!(it.stops(), 0);
    assert_eq!(count(&argument), 0);
}

#[test]
fn escaped_children_do_not_pile_up_without_privileges() {
    let root = Root::bare();
    let argument = format!("2000.{}", std::process::id());
    root.service(
        "a",
        "[Service]\nRestart=always\nRestartSec=10ms",
        &format!("(setsid setsid sleep {argument} &)\n{SLEEP}"),
    );
    let mut it = root.start_unprivileged();
    escaped_after_three_restarts(&root, &mut it, &argument);
    assert_eq!(root.status()["containment"], "variable");
    assert_eq!(it.stops(), 0);
    assert_eq!(count(&argument), 0);
}

#[test]
fn children_start_with_clean_signals_and_no_foreign_descriptors() {
    let root = Root::new();
    let look = "grep -E '^Sig(Blk|Ign)' /proc/self/status\n\
                exec perl -e 'opendir(my $d, \"/proc/self/fd\"); \
                print \"fds \", join(\" \", sort grep(/^[0-9]/, readdir $d)), \"\\n\"; close STDOUT; sleep 1000'";
    root.service("a", "", look);
    let mut it = root.start();
    it.hears("SigBlk:\t0000000000000000");
    it.hears("SigIgn:\t0000000000000000");
    // 3 is the directory that is being read.
    it.hears("fds 0 1 2 3");
    assert!(!it.has_said("fds 0 1 2 3 "));
    assert_eq!(it.stops(), 0);
}

#[test]
fn only_the_main_process_may_say_that_it_is_ready() {
    let root = Root::new();
    let forged = "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Type=>SOCK_DGRAM(),Peer=>$ENV{NOTIFY_SOCKET})->send(\"READY=1\")'";
    root.service(
        "a",
        "[Service]\nType=notify\nTimeoutStopSec=1",
        &format!("{forged}\necho forged\n{SLEEP}"),
    );
    let mut it = root.start();
    it.hears("info a: forged");
    assert_eq!(root.service_status("a")["state"], "starting");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_listener_is_passed_on_and_held_over_a_restart() {
    let root = Root::new();
    root.unit("web.socket", "[Socket]\nListenStream=/run/web.sock\n");
    let answer = "exec perl -MSocket -e 'open(my $l, \"+<&=\", 3); while (accept(my $c, $l)) \
                  { syswrite $c, \"$ENV{LISTEN_FDS} $ENV{LISTEN_FDNAMES} \" . ($ENV{LISTEN_PID} == $$ ? \"mine\" : \"not\"); close $c }'";
    root.service("web", "[Service]\nRestart=always", answer);
    let mut it = root.start();
    it.is_ready();
    let ask = || {
        let mut text = String::new();
        let mut stream =
            std::os::unix::net::UnixStream::connect(root.path("run/web.sock")).unwrap();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        text
    };
    assert_eq!(ask(), "1 web mine");
    let pid = root.service_status("web")["pid"].as_i64().unwrap();
    kill(Pid::from_raw(pid as i32), Signal::SIGSTOP).unwrap();
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") T ").then_some(())
    };
    wait_for(stopped, "the service does not stop");
    let waiting = std::thread::scope(|scope| {
        let client = scope.spawn(ask);
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
        client.join().unwrap()
    });
    assert_eq!(waiting, "1 web mine");
    assert_eq!(it.stops(), 0);
}

#[test]
fn orders_are_carried_out_and_unknown_services_are_named() {
    let root = Root::new();
    root.service("a", "[Service]\nRestart=always", SLEEP);
    let mut it = root.start();
    it.is_ready();
    let pid = || root.service_status("a")["pid"].as_i64();
    let before = pid();
    assert_eq!(root.ask(&["restart", "a"]).0, 0);
    assert_ne!(pid(), before);
    assert_eq!(root.ask(&["stop", "a"]).0, 0);
    assert_eq!(pid(), None);
    let (code, out, _) = root.ask(&["health"]);
    assert_eq!((code, out.as_str()), (1, "a was stopped by order\n"));
    assert_eq!(root.status()["ready"], false);
    assert_eq!(root.ask(&["start", "a"]).0, 0);
    let before = pid();
    assert_eq!(root.ask(&["kill", "a"]).0, 0);
    assert_ne!(pid(), before);
    assert_eq!(root.service_status("a")["restarts"], 0);
    let (code, _, err) = root.ask(&["restart", "b"]);
    assert_eq!(code, 1);
    assert!(err.contains("there is no service `b`"), "{err}");
    assert_eq!(root.ask(&["reload", "a"]).0, 1);
    assert_eq!(it.stops(), 0);
    assert!(!it.has_said("nobody asked for it"), "{:?}", it.heard);
}

#[test]
fn a_service_that_is_started_once_is_not_started_again() {
    let root = Root::new();
    root.service("a", "[Service]\nRestart=always", SLEEP);
    let mut it = root.start();
    it.is_ready();
    root.ask(&["stop", "a"]);
    let mut command = std::process::Command::new(crate::appliance::BINARY);
    command
        .args(["sv", "once", "a"])
        .env("SVROOT", root.dir.path());
    assert!(command.output().unwrap().status.success());
    let pid = wait_for(|| root.service_status("a")["pid"].as_i64(), "not started");
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    it.hears("a: is not started again");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_program_that_cannot_run_is_told_with_its_stage() {
    let root = Root::new();
    root.unit(
        "a.service",
        "[Service]\nExecStart=/nowhere/program\nRestart=no\n",
    );
    let mut it = root.start();
    it.hears("a: cannot run `/nowhere/program`: failed at executing its program: No such file or directory");
    assert_eq!(root.service_status("a")["state"], "failed");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_service_in_its_pause_is_not_started_by_the_stop() {
    let root = Root::new();
    let starts = root.path("starts");
    root.service(
        "a",
        "[Service]\nRestart=always\nRestartSec=100ms",
        &format!("echo x >> {}; exit 1", starts.display()),
    );
    // Holds the stop until well after the pause would be over.
    root.script("usr/lib/switchhook/exit.d/10-wait", "sleep 0.5");
    root.service("b", "", "trap '' TERM; echo armed; sleep 0.4");
    let mut it = root.start();
    it.hears("a: starts again in 0.1 s");
    it.hears("b: ready after");
    it.hears("info b: armed");
    it.stops();
    it.said_in_order(&["stop: stopping"]);
    let after: Vec<_> = it
        .heard
        .iter()
        .skip_while(|line| !line.contains("stop: stopping"))
        .collect();
    assert!(
        !after.iter().any(|line| line.contains("a: started")),
        "{after:?}"
    );
}

#[test]
fn a_thousand_orphans_are_reaped_while_the_exchange_answers() {
    let root = Root::new();
    root.service(
        "a",
        "",
        "i=0; while [ $i -lt 1000 ]; do (: &) ; i=$((i+1)); done; echo all born; exec sleep 1000",
    );
    let mut it = root.start();
    it.hears("info a: all born");
    wait_for(
        || (root.status()["orphans_reaped"].as_u64() == Some(1000)).then_some(()),
        "orphans are left",
    );
    assert_eq!(it.stops(), 0);
}
