//! Entry and exit hooks.

use crate::appliance::Root;

const ENTRY: &str = "usr/lib/switchhook/entry.d";
const EXIT: &str = "usr/lib/switchhook/exit.d";

#[test]
fn hooks_run_in_name_order_the_volumes_after_the_images() {
    let root = Root::new();
    root.script(&format!("{ENTRY}/20-b"), "echo two");
    root.script(&format!("{ENTRY}/10-a"), "echo one");
    root.script("srv/etc/entry.d/05-user", "echo three");
    root.script(&format!("{EXIT}/10-bye"), "echo four");
    root.script("srv/etc/exit.d/10-bye", "echo five");
    let mut it = root.start();
    it.is_ready();
    assert_eq!(it.stops(), 0);
    it.said_in_order(&[
        "hook: one",
        "hook: two",
        "hook: three",
        "hook: four",
        "hook: five",
    ]);
}

#[test]
fn variables_are_passed_on_to_later_hooks_and_services() {
    let root = Root::new();
    root.script(
        &format!("{ENTRY}/10-a"),
        "echo COLOUR=blue green >> \"$SWITCHHOOK_HOOK_ENV\"",
    );
    root.script(&format!("{ENTRY}/20-b"), "echo hook sees $COLOUR");
    root.service("a", "", "echo service sees $COLOUR; exec sleep 1000");
    let mut it = root.start();
    it.hears("hook: hook sees blue green");
    it.hears("a: service sees blue green");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_failing_entry_hook_ends_the_start() {
    let root = Root::new();
    root.script(&format!("{ENTRY}/10-a"), "exit 3");
    root.script(&format!("{ENTRY}/20-b"), "echo not reached");
    root.service("a", "", "echo not started; exec sleep 1000");
    let mut it = root.start();
    assert_eq!(it.ends(), 2);
    it.said_in_order(&[
        "10-a` failed with exit code 3",
        "the start ends here",
        "hint:",
    ]);
    assert!(
        !it.has_said("not reached") && !it.has_said("not started"),
        "{:?}",
        it.heard
    );
}

#[test]
fn an_optional_hook_only_warns() {
    let root = Root::new();
    root.script(&format!("{ENTRY}/10-a.optional"), "exit 3");
    let mut it = root.start();
    it.hears("failed with exit code 3");
    it.is_ready();
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_hanging_hook_is_killed_with_its_children() {
    let root = Root::new().env("SWITCHHOOK_HOOK_TIMEOUT", "300ms");
    let pids = root.path("pids");
    root.script(
        &format!("{ENTRY}/10-a"),
        &format!("sleep 1000 & echo $! > {}; wait", pids.display()),
    );
    let mut it = root.start();
    assert_eq!(it.ends(), 2);
    assert!(it.has_said("was killed after 0.3 s"), "{:?}", it.heard);
    let pid: i64 = std::fs::read_to_string(&pids)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(!crate::appliance::is_alive(pid));
}

#[test]
fn a_failing_exit_hook_is_reported_and_the_stop_goes_on() {
    let root = Root::new();
    root.script(&format!("{EXIT}/10-a"), "exit 3");
    root.script(&format!("{EXIT}/20-b"), "echo still run");
    let mut it = root.start();
    it.is_ready();
    assert_eq!(it.stops(), 0);
    assert!(
        it.has_said("10-a` failed with exit code 3") && it.has_said("hook: still run"),
        "{:?}",
        it.heard
    );
}

#[test]
fn a_stop_during_a_hook_is_heard() {
    let root = Root::new();
    root.script(&format!("{ENTRY}/10-a"), "echo waiting; sleep 1000");
    let mut it = root.start();
    it.hears("hook: waiting");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_bad_passed_variable_is_told_with_its_place() {
    let root = Root::new();
    root.script(
        &format!("{ENTRY}/10-a"),
        "echo nonsense > \"$SWITCHHOOK_HOOK_ENV\"",
    );
    let mut it = root.start();
    assert_eq!(it.ends(), 2);
    assert!(
        it.has_said("hook.env:1: `nonsense` is not NAME=value"),
        "{:?}",
        it.heard
    );
}

#[test]
fn a_hook_without_run_bit_is_named_and_one_without_interpreter_line_is_run() {
    let root = Root::new();
    root.file(&format!("{ENTRY}/10-a"), "#!/bin/sh\necho no\n");
    let bare = root.script(&format!("{ENTRY}/20-b"), "");
    std::fs::write(&bare, "echo bare script\n").unwrap();
    let mut it = root.start();
    it.hears("it has no run bit (chmod +x)");
    it.hears("hook: bare script");
    it.is_ready();
    assert_eq!(it.stops(), 0);
}
