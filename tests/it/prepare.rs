//! PID 1's own program, and the child that prepares the volume for it.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::appliance::{BINARY, INIT, Root};

/// A pipe with a name: whoever opens it waits until somebody opens its other end.
fn mkfifo(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).unwrap();
}

/// Returns when somebody reads the pipe; that one then waits for as long as the value lives.
fn is_read(fifo: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(fifo).unwrap()
}

fn run(program: &Path, arguments: &[&str]) -> (i32, String, String) {
    // Not ours: a SWITCHHOOK_ variable of whoever runs the tests would be refused.
    let out = Command::new(program)
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        out.status.code().unwrap(),
        text(&out.stdout),
        text(&out.stderr),
    )
}

#[test]
fn an_order_to_stop_during_the_seeding_is_obeyed_and_the_next_start_goes_on() {
    let root = Root::new();
    let seed = root.path("usr/share/switchhook/seed-config/etc/asterisk/b.conf");
    root.seed("etc/asterisk/a.conf", "a\n");
    mkfifo(&seed);
    let mut it = root.start();
    let seeding = is_read(&seed);
    it.signal(Signal::SIGTERM);
    assert_eq!(it.ends(), 0);
    it.said_in_order(&[
        "stop: ending the preparation of /srv",
        "stopped before anything was started",
    ]);
    assert!(!it.has_said("ready after"), "{:?}", it.heard);
    drop(seeding);
    std::fs::remove_file(&seed).unwrap();
    std::fs::write(&seed, "b\n").unwrap();
    let mut it = root.start();
    it.is_ready();
    assert_eq!(root.read("srv/etc/asterisk/b.conf"), "b\n");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_second_order_ends_a_preparation_that_does_not_end() {
    let root = Root::new();
    for file in ["cert.pem", "priv_key.pem"] {
        root.file(&format!("srv/etc/ssl/asterisk/{file}"), "x");
    }
    // A certificate is never left half written, so that this one waits with the order pending.
    let record = root.path("srv/var/lib/switchhook/self-signed");
    mkfifo(&record);
    let mut it = root.start();
    let _waiting = is_read(&record);
    it.signal(Signal::SIGTERM);
    it.hears("stop: ending the preparation of /srv");
    it.signal(Signal::SIGTERM);
    assert_eq!(it.ends(), 2);
    assert!(
        it.has_said("second order to stop: not waiting for the preparation"),
        "{:?}",
        it.heard
    );
}

#[test]
fn a_preparation_that_dies_is_told_and_ends_the_start() {
    let root = Root::new();
    let seed = root.path("usr/share/switchhook/seed-config/etc/asterisk/a.conf");
    mkfifo(&seed);
    let mut it = root.start();
    let _seeding = is_read(&seed);
    let children = format!("/proc/{0}/task/{0}/children", it.pid());
    let child: i32 = std::fs::read_to_string(children)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGKILL).unwrap();
    assert_eq!(it.ends(), 2);
    assert!(
        it.has_said(
            "error switchhook: cannot prepare /srv: `switchhook prepare` ended with signal 9"
        ),
        "{:?}",
        it.heard
    );
}

#[test]
fn each_program_says_that_it_misses_the_other() {
    let root = Root::new();
    for (alone, name) in [(INIT, "switchhook-init"), (BINARY, "switchhook")] {
        std::fs::create_dir_all(root.path(&format!("alone/{name}"))).unwrap();
        std::fs::copy(alone, root.path(&format!("alone/{name}/{name}"))).unwrap();
    }
    let top = root.dir.path().to_str().unwrap();
    let init = root.path("alone/switchhook-init/switchhook-init");
    let (code, _, err) = run(&init, &["--root", top]);
    assert_eq!(code, 2);
    assert!(
        err.contains("cannot prepare /srv: cannot run `")
            && err.contains("hint: switchhook-init needs the program `switchhook`"),
        "{err}"
    );
    assert!(!root.path("srv/var").exists(), "the volume was touched");
    let command = root.path("alone/switchhook/switchhook");
    let (code, _, err) = run(&command, &["init", "--root", top]);
    assert_eq!(code, 2);
    assert!(
        err.contains("switchhook-init`: ")
            && err.contains("No such file")
            && err.contains("hint: "),
        "{err}"
    );
}

#[test]
fn the_command_becomes_pid_1s_own_program() {
    let root = Root::new().env("SWITCHHOOK_NONSENSE", "1");
    let mut it = root.start_by_command();
    assert_eq!(it.ends(), 78);
    assert!(
        it.has_said("SWITCHHOOK_NONSENSE is not a variable"),
        "{:?}",
        it.heard
    );
}

#[test]
fn pid_1s_own_program_takes_few_arguments_and_refuses_the_rest() {
    let init = Path::new(INIT);
    let (code, out, err) = run(init, &["--version"]);
    assert_eq!(
        (code, out, err),
        (
            0,
            format!("switchhook-init {}\n", env!("CARGO_PKG_VERSION")),
            String::new()
        )
    );
    let (code, out, _) = run(init, &["--help"]);
    assert!(code == 0 && out.contains("--root DIR"), "{out}");
    for wrong in [&["init"][..], &["--rot", "/"], &["--root"]] {
        let (code, out, err) = run(init, wrong);
        assert_eq!((code, out), (64, String::new()), "{wrong:?}");
        assert!(
            err.starts_with("switchhook-init: `") && err.contains("\nhint: "),
            "{err}"
        );
    }
}
