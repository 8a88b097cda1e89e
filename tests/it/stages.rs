//! The commands around a service's program, and whom its stop reaches.

use crate::appliance::{Root, is_alive, wait_for};

/// The root's `bin/say`: adds a line to the root's file `record`.
fn recorder(root: &Root) -> String {
    let record = root.path("record").display().to_string();
    let say = root.script("bin/say", &format!("echo \"$@\" >> {record}"));
    say.display().to_string()
}

fn record(root: &Root) -> Vec<String> {
    root.read("record").lines().map(str::to_owned).collect()
}

#[test]
fn commands_are_run_around_the_program_with_what_they_need_to_know() {
    let root = Root::new();
    let say = recorder(&root);
    root.service(
        "a",
        &format!(
            "[Service]\nExecStartPre=-/bin/false\nExecStartPre={say} before\nExecStartPost={say} after $MAINPID\nExecStop={say} stop $MAINPID\n\
             ExecStopPost=/bin/sh -c '{say} post $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS'"
        ),
        "exec sleep 1000",
    );
    let mut it = root.start();
    it.hears("a: ready after");
    let pid = root.service_status("a")["pid"].as_i64().unwrap();
    assert_eq!(it.stops(), 0);
    let expected = [
        "before".to_owned(),
        format!("after {pid}"),
        format!("stop {pid}"),
        "post signal killed TERM".to_owned(),
    ];
    assert_eq!(record(&root), expected);
}

#[test]
fn a_command_before_the_start_that_fails_keeps_the_program_from_running() {
    let root = Root::new();
    let say = recorder(&root);
    root.service(
        "a",
        &format!("[Service]\nExecStartPre=/bin/false\nExecStopPost={say} post"),
        &format!("{say} ran"),
    );
    let mut it = root.start();
    it.hears("a: ExecStartPre= failed with exit code 1");
    it.hears("a: is not started again");
    assert_eq!(record(&root), ["post"]);
    assert_eq!(root.service_status("a")["state"], "failed");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_oneshot_that_succeeds_after_a_failure_ended_well_last() {
    let root = Root::new();
    let done = root.path("done").display().to_string();
    root.service(
        "job",
        "[Service]\nType=oneshot",
        &format!("exec test -e {done}"),
    );
    let mut it = root.start();
    it.hears("job: ended with exit code 1");
    it.hears("job: is not started again");
    let failed = root.service_status("job");
    assert_eq!(failed["last_exit"], "ended with exit code 1");
    root.file("done", "");
    assert_eq!(root.ask(&["start", "job"]).0, 0);
    let job = root.service_status("job");
    assert_eq!(
        (&job["state"], &job["last_exit"]),
        (&"done".into(), &"exit code 0".into())
    );
    assert_eq!(it.stops(), 0);
}

#[test]
fn the_commands_of_a_oneshot_are_run_in_order_until_one_fails() {
    let root = Root::new();
    let say = recorder(&root);
    root.unit(
        "a.service",
        &format!("[Service]\nType=oneshot\nExecStart={say} one\nExecStart=-/bin/false\nExecStart={say} two\nExecStart=/bin/false\nExecStart={say} three\n"),
    );
    let mut it = root.start();
    it.hears("a: is not started again");
    assert_eq!(record(&root), ["one", "two"]);
    assert_eq!(it.stops(), 0);
}

#[test]
fn variables_in_commands_are_the_services_own() {
    let root = Root::new();
    let say = recorder(&root);
    root.unit(
        "a.service",
        &format!("[Service]\nType=oneshot\nEnvironment=ONE=1 'WORDS=two  words'\nExecStart={say} ${{ONE}}st $WORDS ${{WORDS}} $$ONE $NONE.\n"),
    );
    let mut it = root.start();
    it.is_ready();
    // `$NONE.` is not a word of its own.
    assert_eq!(record(&root), ["1st two words two  words $ONE $NONE."]);
    assert_eq!(it.stops(), 0);
}

#[test]
fn what_remains_after_its_exit_is_stopped_by_its_command() {
    let root = Root::new();
    let say = recorder(&root);
    root.unit(
        "a.service",
        &format!("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={say} up\nExecStop={say} down\n"),
    );
    let mut it = root.start();
    it.is_ready();
    assert_eq!(root.ask(&["stop", "a"]).0, 0);
    wait_for(
        || (record(&root) == ["up", "down"]).then_some(()),
        "its stop command was not run",
    );
    assert_eq!(it.stops(), 0);
}

/// A program and a child of it in its group, which both say when SIGTERM reaches them.
fn family(root: &Root, say: &str) -> String {
    let child = root.script(
        "bin/child",
        &format!("trap '{say} child; exit 0' TERM\necho $$ > {}\n{say} ready\nwhile :; do sleep 1000 & wait; done", root.path("child").display()),
    );
    format!(
        "trap '{say} main; exit 0' TERM\n{} &\nwhile :; do wait; done",
        child.display()
    )
}

fn stopped_with(kill_mode: &str) -> (Vec<String>, bool) {
    let root = Root::new();
    let say = recorder(&root);
    let script = family(&root, &say);
    root.service(
        "a",
        &format!("[Service]\nKillMode={kill_mode}\nSendSIGHUP=no"),
        &script,
    );
    let mut it = root.start();
    wait_for(|| (record(&root) == ["ready"]).then_some(()), "never ready");
    let child: i64 = root.read("child").trim().parse().unwrap();
    assert_eq!(root.ask(&["stop", "a"]).0, 0);
    wait_for(
        || (root.service_status("a")["state"] == "stopped").then_some(()),
        "never stopped",
    );
    let lives = is_alive(child);
    let mut said = record(&root)[1..].to_vec();
    it.stops();
    said.sort();
    (said, lives)
}

#[test]
fn a_stop_reaches_as_far_as_the_unit_says() {
    let (said, lives) = stopped_with("process");
    assert_eq!((said, lives), (vec!["main".to_owned()], true));
    let (said, lives) = stopped_with("mixed");
    assert_eq!((said, lives), (vec!["main".to_owned()], false));
    let (said, lives) = stopped_with("control-group");
    assert!(said.contains(&"main".to_owned()), "{said:?}");
    assert!(!lives);
}

#[test]
fn a_hangup_follows_the_stop_signal_when_asked_for() {
    let root = Root::new();
    let say = recorder(&root);
    root.service(
        "a",
        "[Service]\nSendSIGHUP=yes",
        &format!("trap '' TERM\ntrap '{say} hup; exit 0' HUP\n{say} ready\nwhile :; do sleep 1000 & wait; done"),
    );
    let mut it = root.start();
    wait_for(|| (record(&root) == ["ready"]).then_some(()), "never ready");
    assert_eq!(it.stops(), 0);
    assert_eq!(record(&root), ["ready", "hup"]);
}
