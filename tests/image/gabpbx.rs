//! `SWITCHHOOK_PBX=gabpbx`. No GABpbx is at hand: the real Asterisk stands in for it under its name and with its paths, and
//! a program that knows nothing of sd_notify for the other product of that name, which does not either.

use std::process::{Command, Stdio};

use crate::docker::{Volume, docker, image, unique};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;

/// An image made from the suite's; taken away at the end.
struct Derived(String);

impl Derived {
    fn new(target: &str, step: &str) -> Derived {
        let name = unique("image");
        let text = format!("FROM {}\nRUN {step}\n", image(target));
        let mut build = Command::new("docker")
            .args(["build", "--quiet", "--tag", &name, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = build.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, text.as_bytes()).unwrap();
        drop(input);
        let output = build.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Derived(name)
    }
}

impl Drop for Derived {
    fn drop(&mut self) {
        docker(&["rmi", "--force", &self.0]);
    }
}

/// The configuration of a GABpbx; the copied Asterisk must be told where it is, for it was compiled with other places.
const CONFIGURATION: &[(&str, &str)] = &[
    (
        "etc/gabpbx/gabpbx.conf",
        "[directories]\nastetcdir => /etc/gabpbx\nastrundir => /var/run/gabpbx\nastvarlibdir => /var/lib/gabpbx\n\
         astdbdir => /var/lib/gabpbx\nastdatadir => /usr/share/asterisk\nastspooldir => /var/spool/gabpbx\n\
         astlogdir => /var/log/gabpbx\nastcachedir => /run/cache/gabpbx\n[files]\nastctl = gabpbx.ctl\n",
    ),
    ("etc/gabpbx/modules.conf", "[modules]\nautoload = no\n"),
    (
        "etc/gabpbx/logger.conf",
        "[general]\n[logfiles]\nconsole => notice,warning,error\n",
    ),
    (
        "etc/gabpbx/manager.conf",
        "[general]\nenabled = yes\nbindaddr = 127.0.0.1\n",
    ),
];

fn bring_configuration(volume: &Volume) {
    for (path, text) in CONFIGURATION {
        volume.write(&format!("/srv/{path}"), "644", text);
    }
}

fn names(exchange: &Exchange) -> Vec<String> {
    let status = exchange.status();
    let services = status["services"].as_array().unwrap();
    services
        .iter()
        .map(|service| service["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_gabpbx_with_sd_notify_and_sockets_gets_what_asterisk_gets() {
    let derived = Derived::new("mini", "cp /usr/sbin/asterisk /usr/sbin/gabpbx");
    let volume = Volume::new();
    bring_configuration(&volume);
    let drop_in = "[Service]\nExecStart=/usr/sbin/gabpbx -f -n -C /etc/gabpbx/gabpbx.conf";
    volume.write(
        "/srv/etc/units/gabpbx.service.d/10-where.conf",
        "644",
        drop_in,
    );
    let exchange = Recipe::of("mini")
        .image(&derived.0)
        .volume(&volume)
        .variable("SWITCHHOOK_PBX", "gabpbx")
        .start();
    exchange.log.wait_for(
        "GABpbx says itself when it is ready; held over its restarts: /var/run/gabpbx/gabpbx.ctl (cli), tcp 127.0.0.1:5038 (ami)",
    );
    let names = names(&exchange);
    assert!(names.iter().any(|name| name == "gabpbx"), "{names:?}");
    assert!(!names.iter().any(|name| name == "asterisk"), "{names:?}");
    exchange.wait_healthy();
    let owner =
        exchange.shell("stat -c '%U %a' /run/gabpbx/gabpbx.ctl; stat -c %u /proc/$(pidof gabpbx)");
    assert!(owner.ends_with("5060") && owner.contains(" 660"), "{owner}");
    let console = "gabpbx -C /etc/gabpbx/gabpbx.conf -rx 'core show uptime'; stat -c %i /run/gabpbx/gabpbx.ctl";
    let before = exchange.shell(console);
    assert!(before.contains("System uptime"), "{before}");
    let pid = exchange.pid_of("gabpbx").unwrap();
    exchange.shell(&format!("kill -9 {pid}"));
    until("another process", || match exchange.pid_of("gabpbx") {
        Some(now) if now != pid => Ok(()),
        other => Err(format!("{other:?}")),
    });
    exchange.wait_healthy();
    let after = exchange.shell(console);
    assert_eq!(
        after.lines().last(),
        before.lines().last(),
        "the console is PID 1's still"
    );
    assert_eq!(exchange.stop(), 0);
}

#[test]
fn a_gabpbx_without_them_is_run_and_the_start_says_what_does_not_hold() {
    let derived = Derived::new("full", "cp /usr/bin/bash /usr/sbin/gabpbx");
    let volume = Volume::new();
    bring_configuration(&volume);
    let drop_in =
        "[Service]\nExecStart=/usr/sbin/gabpbx -c 'echo here I am; sleep 1000; true'\nX-Drain=\n";
    volume.write(
        "/srv/etc/units/gabpbx.service.d/10-stand-in.conf",
        "644",
        drop_in,
    );
    let exchange = Recipe::of("full")
        .image(&derived.0)
        .volume(&volume)
        .variable("SWITCHHOOK_PBX", "gabpbx")
        .start();
    exchange.log.wait_for(
        "GABpbx cannot say when it is ready, so it counts as ready when its program runs, and takes no sockets: \
         clients are refused while it restarts",
    );
    exchange.log.wait_for("gabpbx: here I am");
    let status = exchange.status();
    assert_eq!(status["ready"], true);
    let services = status["services"].as_array().unwrap();
    let pbx = services.iter().find(|service| service["name"] == "gabpbx");
    assert_eq!(pbx.unwrap()["sockets"], serde_json::json!([]));
    assert_eq!(exchange.stop(), 0);
}
