//! Changed unit files are taken over while everything runs, and only what changed is touched.

use super::appliance::{Root, wait_for};

fn reload(root: &Root, arguments: &[&str]) -> (i32, String, String) {
    root.ask(&[&["reload-units"], arguments].concat())
}

#[test]
fn only_what_changed_is_touched() {
    let root = Root::new();
    root.service("same", "", "exec sleep 1000");
    root.service("old", "", "exec sleep 1000");
    root.service("other", "", "exec sleep 1000");
    let mut exchange = root.start();
    exchange.is_ready();
    let same = root.service_status("same")["pid"].clone();
    let other = root.service_status("other")["pid"].clone();

    std::fs::remove_file(root.path("usr/lib/switchhook/units/old.service")).unwrap();
    root.service("new", "", "exec sleep 1000");
    root.unit(
        "other.service",
        &format!(
            "[Service]\nExecStart={}\nRestart=always\n",
            root.path("bin/other").display()
        ),
    );
    let (code, out, _) = reload(&root, &["--dry-run"]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "+ new.service\n- old.service\n~ other.service\n    Restart: No -> Always\n\
         other would run on as it was defined before, until `switchhook restart other`\n"
    );
    assert_eq!(root.service_status("old")["state"], "running");

    let (code, out, _) = reload(&root, &[]);
    assert_eq!(code, 0);
    assert!(out.contains("other runs as it was defined before"), "{out}");
    exchange.hears("new: ready");
    exchange.hears("old: ended");
    wait_for(
        || {
            let status = root.status();
            let services = status["services"].as_array().unwrap();
            (!services.iter().any(|service| service["name"] == "old")).then_some(())
        },
        "the service that was taken out is still shown",
    );
    assert_eq!(root.service_status("same")["pid"], same);
    assert_eq!(root.service_status("other")["pid"], other);
    assert_eq!(reload(&root, &[]).1, "nothing differs\n");

    // The new policy is in force at once: the process is the old one, its end is met by the new `Restart=`.
    let pid = i32::try_from(other.as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    exchange.hears("other: starts again now");
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn a_mistake_changes_nothing_and_is_told_with_its_line() {
    let root = Root::new();
    root.service("one", "", "exec sleep 1000");
    let mut exchange = root.start();
    exchange.is_ready();
    let pid = root.service_status("one")["pid"].clone();
    root.unit(
        "one.service",
        "[Service]\nExecStart=/bin/true\nUser=nobody-at-all\n",
    );
    root.service("two", "", "exec sleep 1000");
    let (code, out, err) = reload(&root, &[]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(err.contains("one.service:3: "), "{err}");
    assert!(err.contains("nothing was changed"), "{err}");
    assert_eq!(root.service_status("one")["pid"], pid);
    let (_, out, _) = root.ask(&["status"]);
    assert!(!out.contains("two"), "{out}");
}

#[test]
fn a_listener_that_stays_refuses_nobody_and_a_new_one_is_bound() {
    let root = Root::new();
    root.service(
        "web",
        "[Install]\nWantedBy=multi-user.target",
        "exec sleep 1000",
    );
    let socket = |name: &str| {
        let path = root.path(&format!("run/{name}.sock"));
        (
            path.clone(),
            "[Socket]\nService=web.service\nListenStream=/run/".to_owned() + name + ".sock\n",
        )
    };
    let (first_path, first) = socket("first");
    root.unit("first.socket", &first);
    let mut exchange = root.start();
    exchange.is_ready();
    let client = std::os::unix::net::UnixStream::connect(&first_path).unwrap();
    let (second_path, second) = socket("second");
    root.unit("second.socket", &second);
    let (code, out, _) = reload(&root, &[]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("+ second.socket\n") && out.contains("web runs as it was defined before"),
        "{out}"
    );
    std::os::unix::net::UnixStream::connect(&second_path).unwrap();
    std::os::unix::net::UnixStream::connect(&first_path).unwrap();
    drop(client);
    std::fs::remove_file(root.path("usr/lib/switchhook/units/first.socket")).unwrap();
    assert_eq!(reload(&root, &[]).0, 0);
    // The service still holds what it was started with; the next process gets only the second.
    let (code, _, _) = root.ask(&["restart", "web"]);
    assert_eq!(code, 0);
    assert!(std::os::unix::net::UnixStream::connect(&first_path).is_err());
    std::os::unix::net::UnixStream::connect(&second_path).unwrap();
}

#[test]
fn a_service_that_comes_back_and_one_in_its_place_both_run() {
    let root = Root::new();
    root.service("first", "", "exec sleep 1000");
    root.service("kept", "", "exec sleep 1000");
    let mut exchange = root.start();
    exchange.is_ready();
    let unit = root.path("usr/lib/switchhook/units/first.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    for _ in 0..20 {
        std::fs::remove_file(&unit).unwrap();
        assert_eq!(reload(&root, &[]).0, 0);
        std::fs::write(&unit, &text).unwrap();
        root.service("guest", "", "exec sleep 1000");
        assert_eq!(reload(&root, &[]).0, 0);
        for name in ["first", "guest"] {
            wait_for(
                || (root.service_status(name)["state"] == "running").then_some(()),
                "a service that was added does not run",
            );
        }
        std::fs::remove_file(root.path("usr/lib/switchhook/units/guest.service")).unwrap();
        assert_eq!(reload(&root, &[]).0, 0);
    }
    assert_eq!(exchange.stops(), 0);
}
