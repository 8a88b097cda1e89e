//! PID 1 goes on as another binary, and nobody notices but `status`.

use std::os::unix::net::UnixStream;

use super::appliance::{Appliance, NOTIFY_AND_SLEEP, Root, wait_for};

/// Descriptors that PID 1 has open.
fn open_descriptors(exchange: &Appliance<'_>) -> usize {
    let directory = format!("/proc/{}/fd", exchange.pid());
    std::fs::read_dir(directory).unwrap().count()
}

fn pids(root: &Root) -> Vec<(String, i64)> {
    let status = root.status();
    let services = status["services"].as_array().unwrap();
    let pid = |service: &serde_json::Value| {
        let name = service["name"].as_str().unwrap().to_owned();
        (name, service["pid"].as_i64().unwrap_or_default())
    };
    services.iter().map(pid).collect()
}

#[test]
fn services_sockets_lines_and_counters_go_on() {
    let root = Root::new();
    root.service(
        "counter",
        "",
        "exec perl -e '$| = 1; for (1 .. 100000) { print \"line $_\\n\"; select(undef, undef, undef, 0.005) }'",
    );
    root.service(
        "web",
        "[Install]\nWantedBy=multi-user.target",
        "exec sleep 1000",
    );
    root.unit(
        "web.socket",
        "[Socket]\nService=web.service\nListenStream=/run/web.sock\n",
    );
    root.service("dies", "[Unit]\nDescription=x", "exec sleep 1000");
    root.unit(
        "dies.service",
        &format!(
            "[Service]\nExecStart={}\nRestart=always\n",
            root.path("bin/dies").display()
        ),
    );
    let notify = root.script("bin/notify", NOTIFY_AND_SLEEP);
    root.unit(
        "notify.service",
        &format!("[Service]\nType=notify\nExecStart={}\n", notify.display()),
    );
    let mut exchange = root.start();
    exchange.is_ready();
    exchange.hears("line 20");
    let kill = |root: &Root| assert_eq!(root.ask(&["kill", "dies"]).0, 0);
    kill(&root);
    let before = pids(&root);
    let restarts = root.service_status("dies")["restarts"].clone();
    let waiting = UnixStream::connect(root.path("run/web.sock")).unwrap();

    let (code, out, err) = root.ask(&["reexec"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("its services run on"), "{out}");
    exchange.hears("goes on as");
    assert_eq!(pids(&root), before);
    assert_eq!(root.service_status("dies")["restarts"], restarts);
    UnixStream::connect(root.path("run/web.sock")).unwrap();
    drop(waiting);

    // It still reaps, restarts, hears orders and stops.
    kill(&root);
    assert_ne!(pids(&root), before);
    assert_eq!(root.ask(&["restart", "web"]).0, 0);
    assert_eq!(root.status()["ready"], true);
    let last = exchange.hears("line 4");
    assert!(!last.is_empty());
    assert_eq!(exchange.stops(), 0);
    let numbers: Vec<u32> = exchange
        .heard
        .iter()
        .filter_map(|line| line.split_once("counter: line ")?.1.parse().ok())
        .collect();
    let expected: Vec<u32> = (1..=u32::try_from(numbers.len()).unwrap()).collect();
    assert_eq!(numbers, expected, "a line was lost, or came twice");
}

#[test]
fn a_hundred_in_a_row_leave_nothing_behind() {
    let root = Root::new();
    root.service("one", "", "exec sleep 1000");
    let mut exchange = root.start();
    exchange.is_ready();
    assert_eq!(root.ask(&["reexec"]).0, 0);
    let (pids_before, open) = (pids(&root), open_descriptors(&exchange));
    for _ in 0..100 {
        assert_eq!(root.ask(&["reexec"]).0, 0);
    }
    assert_eq!(pids(&root), pids_before);
    // A client that has just left may still count, before or after.
    wait_for(
        || (open_descriptors(&exchange) <= open + 2).then_some(()),
        "descriptors pile up",
    );
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn a_binary_that_cannot_go_on_is_refused_and_everything_stays() {
    let root = Root::new();
    root.service("one", "", "exec sleep 1000");
    let mut exchange = root.start();
    exchange.is_ready();
    let before = pids(&root);
    let plain = root.file("plain", "no program");
    let refused = |program: &str| {
        let (code, out, err) = root.ask(&["reexec", program]);
        assert_eq!((code, out.as_str()), (1, ""), "{program}: {err}");
        err
    };
    let err = refused("/nowhere/at/all");
    assert!(err.contains("`/nowhere/at/all` cannot"), "{err}");
    assert!(refused(&plain.display().to_string()).contains("cannot go on from here"));
    assert!(refused("relative").contains("must begin with `/`"));
    // It ends with success, and has understood nothing.
    assert!(refused("/bin/true").contains("cannot go on from here"));
    assert!(refused("/bin/false").contains("code 1"));
    assert_eq!(pids(&root), before);
    assert_eq!(root.status()["ready"], true);
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn a_binary_that_gives_back_costs_nothing() {
    let root = Root::new();
    root.service("one", "", "exec sleep 1000");
    // Passes the trial, and then cannot go on.
    let weak = root.script(
        "bin/weak",
        r#"for word; do case $word in
            --try-resume=*) echo understood; exit 0;;
            --root=*) root=$word;;
            --resume=*) state=$word;;
            --fallback=*) old=${word#--fallback=};;
        esac; done
        exec /proc/self/fd/$old "$root" "$state""#,
    );
    let mut exchange = root.start();
    exchange.is_ready();
    let before = pids(&root);
    let (code, _, err) = root.ask(&["reexec", &weak.display().to_string()]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(pids(&root), before);
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn a_stop_ordered_meanwhile_is_not_lost() {
    for _ in 0..20 {
        let root = Root::new();
        root.service("one", "", "exec sleep 1000");
        let mut exchange = root.start();
        exchange.is_ready();
        let pid = exchange.pid();
        std::thread::scope(|scope| {
            scope.spawn(|| root.ask(&["reexec"]));
            scope.spawn(|| nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap());
        });
        assert_eq!(exchange.ends(), 0);
    }
}
