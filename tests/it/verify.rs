//! `switchhook verify`: what it says about units, and its exit codes.

use std::os::unix::fs::PermissionsExt;

use crate::appliance::Root;

/// Runs the command; paths below the temporary root are shown as `/`.
fn verify(root: &Root, arguments: &[&str]) -> (i32, String, String) {
    let all: Vec<&str> = [&["verify"], arguments].concat();
    let (code, out, err) = root.ask(&all);
    let place = root.dir.path().display().to_string();
    (code, out.replace(&place, ""), err.replace(&place, ""))
}

#[test]
fn the_exchanges_own_places_are_checked_as_at_the_start() {
    let root = Root::new();
    root.service("a", "[Unit]\nAfter=logd.service", "exec sleep 1000");
    let (code, out, err) = verify(&root, &[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(
        out.trim(),
        "2 services, 1 socket unit, 0 timers: 0 errors, 0 notes"
    );
}

#[test]
fn every_mistake_is_told_at_once_with_file_and_line() {
    let root = Root::bare();
    root.file(
        "u/a.service",
        "[Unit]\nAfter=b.service\n[Service]\nExecStart=/bin/a\nUser=nobody-of-this-name\nFrobnicate=1\n",
    );
    root.file(
        "u/b.service",
        "[Unit]\nRequires=a.service\n[Service]\nExecStart=/bin/b\n",
    );
    root.file(
        "u/b.service.d/10.conf",
        "[Service]\nDynamicUser=no\nType=forking\n",
    );
    root.file(
        "u/c.service",
        "[Unit]\nAfter=d.service\n[Service]\nExecStart=/bin/c\n",
    );
    root.file(
        "u/d.service",
        "[Unit]\nAfter=c.service\n[Service]\nExecStart=/bin/d\n",
    );
    root.file("u/e.service", "");
    root.file("u/e.service.d/10.conf", "[Service]\nExecStart=/bin/e\n");
    root.file("u/ghost.service.d/10.conf", "[Service]\nExecStart=/bin/e\n");
    root.file("u/x.socket", "[Socket]\nListenStream=127.0.0.1:1\n");
    root.file("u/t.timer", "[Timer]\nOnCalendar=25:00\n");
    root.file("u/c/run", "#!/bin/sh\n");
    let place = root.path("u").display().to_string();
    let (code, out, _) = verify(&root, &[&place]);
    assert_eq!(code, 78);
    insta::assert_snapshot!(out, @r"
    note: /u/e.service: `e.service` is empty and so switched off
    note: /u/ghost.service.d/10.conf: there is no unit that this adds to
    note: /u/a.service:6: `Frobnicate=` is not a directive that we know; ignored
    error: /u/b.service.d/10.conf:2: `DynamicUser=` is refused: name a user with `User=`
    error: /u/b.service.d/10.conf:3: Type=: `forking` is not supported; write simple, exec, notify or oneshot
    error: /u/t.timer:2: OnCalendar=: the hour `25` is not from 0 to 23
    error: /u/c/run: not executable; `chmod +x` makes it so
    note: /u/x.socket: no service `x` takes this socket; it is not bound
    error: /u/a.service:5: user `nobody-of-this-name` does not exist
    error: /u/c.service:2: services wait for each other in a ring: c -> d -> c; take one `After=`, `Before=` or `Requires=` out of it
    3 services, 0 socket units, 0 timers: 6 errors, 4 notes
    ");
}

#[test]
fn one_unit_is_read_with_its_drop_ins_and_neighbours() {
    let root = Root::bare();
    root.file("u/a.service", "[Service]\nExecStart=/bin/a\n");
    root.file("u/a.socket", "[Socket]\nListenStream=127.0.0.1:1\n");
    root.file("u/broken.service", "[Service]\nType=sometimes\n");
    let socket = root.path("u/a.socket").display().to_string();
    let (code, out, _) = verify(&root, &[&socket]);
    assert_eq!((code, out.trim()), (0, "0 errors, 0 notes"));
    let drop_in = root.file(
        "u/a.service.d/x.conf",
        "[Service]\nKillMode=mixed\nUser=\n\n[Oops\n",
    );
    let (code, out, _) = verify(&root, &[&drop_in.display().to_string()]);
    assert_eq!(code, 78);
    assert!(
        out.contains("error: /u/a.service.d/x.conf:5: `[Oops` is not a section"),
        "{out}"
    );
    assert!(!out.contains("broken"), "{out}");
}

#[test]
fn service_directories_are_checked() {
    let root = Root::bare();
    root.script("s/good/run", "exec sleep 1000");
    let bad = root.file("s/bad/run", "#!/bin/sh\n");
    std::fs::set_permissions(&bad, std::fs::Permissions::from_mode(0o644)).unwrap();
    root.file("s/not-a-service/readme", "");
    let all = root.path("s").display().to_string();
    let (code, out, _) = verify(&root, &[&all]);
    assert_eq!(code, 78);
    assert_eq!(
        out.lines().next(),
        Some("error: /s/bad/run: not executable; `chmod +x` makes it so")
    );
    let good = root.path("s/good").display().to_string();
    let (code, out, _) = verify(&root, &[&good]);
    assert_eq!(code, 0);
    assert!(out.starts_with("1 service, "), "{out}");
}

#[test]
fn programs_get_json() {
    let root = Root::bare();
    root.file(
        "u/a.service",
        "[Unit]\nAfter=b.service\n[Service]\nExecStart=/bin/a\nPrivateTmp=yes\n",
    );
    root.file("u/b.service", "[Service]\nExecStart=/bin/b\n");
    let place = root.path("u").display().to_string();
    let (code, out, _) = verify(&root, &["--json", &place]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out.trim(), @r#"
    {"schema":1,"services":["b","a"],"sockets":[],"timers":[],"errors":0,"findings":[{"file":"/u/a.service","line":5,"severity":"note","text":"`PrivateTmp=` is ignored: the container is the sandbox"}]}
    "#);
}

#[test]
fn a_place_without_units_is_no_success() {
    let root = Root::bare();
    let empty = root.path("srv").display().to_string();
    let (code, out, err) = verify(&root, &[&empty]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("there are no units in `/srv`"), "{err}");
    let (code, _, err) = verify(&root, &["/nonexistent/x"]);
    assert_eq!(code, 2);
    assert!(err.contains("cannot read `/nonexistent/x`"), "{err}");
    let text = root.file("u/notes.txt", "x").display().to_string();
    assert_eq!(verify(&root, &[&text]).0, 2);
}

#[test]
fn a_service_directory_is_run_like_a_unit() {
    let root = Root::new();
    root.script(
        "etc/service/greeter/run",
        "echo \"$GREETING from ${PWD##*/}\" >&2\nexec sleep 1000",
    );
    root.file("etc/service/greeter/env/GREETING", "good day  \n");
    root.script("etc/service/resting/run", "echo awake >&2\nexec sleep 1000");
    root.file("etc/service/resting/down", "");
    let mut it = root.start();
    it.hears("good day from greeter");
    it.is_ready();
    assert!(!it.has_said("awake"), "{:?}", it.heard);
    assert_eq!(it.stops(), 0);
}
