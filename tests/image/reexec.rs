//! What may change under a running call: PID 1's own program, and the definitions of its services.

use crate::calls::{ALICE, BOB, alice, bob, call};
use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::media::assert_hears;
use crate::phone::Phone;

/// The processes of the services, and when each began (ticks since the machine's start, proc_pid_stat(5)).
fn processes(exchange: &Exchange) -> Vec<String> {
    let pid_of = |service| exchange.pid_of(service).unwrap();
    ["logd", "asterisk"]
        .map(pid_of)
        .map(|pid| {
            let stat = exchange.shell(&format!("cat /proc/{pid}/stat"));
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            format!("{pid} since {}", fields.split(' ').nth(19).unwrap())
        })
        .to_vec()
}

/// The contacts of both phones, as far as they do not change by themselves.
fn contacts(exchange: &Exchange) -> Vec<String> {
    let shown = exchange.asterisk("pjsip show contacts");
    let lines = shown.lines().filter(|line| line.contains("/sip:"));
    let contacts = lines.filter_map(|line| line.split_whitespace().nth(1));
    contacts.map(str::to_owned).collect()
}

/// The one call, by the names of its two channels.
fn channels(exchange: &Exchange) -> Vec<String> {
    let shown = exchange.asterisk("core show channels concise");
    let mut names: Vec<String> = shown
        .lines()
        .filter_map(|line| Some(line.split_once('!')?.0.to_owned()))
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{shown}");
    names
}

/// All that must be the same while a call goes on over a change.
fn picture(exchange: &Exchange) -> [Vec<String>; 4] {
    let console = exchange.shell("stat -c 'console %i' /run/asterisk/asterisk.ctl");
    let contacts = contacts(exchange);
    assert_eq!(contacts.len(), 2, "{contacts:?}");
    [
        processes(exchange),
        contacts,
        channels(exchange),
        vec![console],
    ]
}

/// Both parties are still heard by the other, they hang up, and the exchange is healthy.
fn assert_call_is_well(exchange: &Exchange, alice: &mut Phone, bob: &Phone) {
    let next = [alice.events.count(), bob.events.count()];
    alice.wait_sound_goes_on(next[0]);
    bob.wait_sound_goes_on(next[1]);
    alice.command("hangup", "");
    alice.wait_event(next[0], "CALL_CLOSED");
    bob.wait_event(next[1], "CALL_CLOSED");
    assert_hears(&alice.recording(), BOB, ALICE);
    assert_hears(&bob.recording(), ALICE, BOB);
    exchange.wait_healthy();
}

#[test]
fn pid_1_is_replaced_under_a_call() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    let (mut alice, bob) = (alice(&exchange, &network), bob(&exchange, &network));
    call(&mut alice, &bob);
    let before = picture(&exchange);
    let program = || {
        let link = format!("/proc/{}/exe", exchange.inspect("{{.State.Pid}}"));
        std::fs::read_link(link).unwrap()
    };
    let original = program();

    // One that cannot go on is found out in its trial, and PID 1 stays what it is.
    let refused = exchange.exec(&["switchhook", "reexec", "/bin/true"]);
    assert_eq!(refused.code, 1, "{}", refused.text);
    assert!(refused.text.contains("/bin/true"), "{}", refused.text);
    assert_eq!(program(), original);
    assert_eq!(picture(&exchange), before);

    // There and back, as an upgrade and its undoing.
    exchange.shell(&format!("cp {} /srv/newer", original.display()));
    for (order, expected) in [
        ("/srv/newer", "/srv/newer"),
        (original.to_str().unwrap(), original.to_str().unwrap()),
    ] {
        let done = exchange.exec(&["switchhook", "reexec", order]);
        assert_eq!(done.code, 0, "{}", done.text);
        assert_eq!(program(), std::path::Path::new(expected));
        assert_eq!(picture(&exchange), before);
    }
    assert_call_is_well(&exchange, &mut alice, &bob);

    // The new PID 1 hears of the death of a child that it did not start, and holds its sockets.
    let first = exchange.pid_of("asterisk").unwrap();
    exchange.shell(&format!("kill -9 {first}"));
    until("another Asterisk", || {
        let pid = exchange.pid_of("asterisk").filter(|pid| *pid != first);
        pid.ok_or_else(|| format!("{}", exchange.status()))
    });
    exchange.wait_healthy();
    assert_eq!(exchange.stop(), 0);
}

/// A helper of an administrator's own, with a socket of its own.
const HELPER: &str = "\
[Unit]
Description=a helper of the user's own
After=asterisk.service

[Service]
ExecStart=/bin/sh -c 'echo at work; exec sleep 1000'
User=nobody
Restart=always

[Install]
WantedBy=multi-user.target
";

fn write(exchange: &Exchange, path: &str, text: &str) {
    exchange.shell(&format!(
        "mkdir -p $(dirname {path}); cat >{path} <<'END'\n{text}END"
    ));
}

fn reload(exchange: &Exchange, options: &[&str], code: i32) -> String {
    let ended = exchange.exec(&[&["switchhook", "reload-units"], options].concat());
    assert_eq!(ended.code, code, "{}", ended.text);
    ended.text
}

#[test]
fn a_users_unit_comes_and_goes_under_a_call() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    let (mut alice, bob) = (alice(&exchange, &network), bob(&exchange, &network));
    call(&mut alice, &bob);
    let before = picture(&exchange);
    assert_eq!(reload(&exchange, &[], 0), "nothing differs\n");

    write(&exchange, "/srv/etc/units/helper.service", HELPER);
    write(
        &exchange,
        "/srv/etc/units/helper.socket",
        "[Socket]\nListenStream=127.0.0.1:7070\n",
    );
    let shown = reload(&exchange, &["--dry-run"], 0);
    assert_eq!(shown, "+ helper.service\n+ helper.socket\n");
    assert_eq!(exchange.pid_of("helper"), None);
    assert_eq!(reload(&exchange, &[], 0), shown);
    exchange.log.wait_for("helper: at work");
    assert!(exchange.pid_of("helper").is_some());
    assert_eq!(picture(&exchange), before);

    // A change to the PBX itself waits for its next start, and says so.
    let drop_in = "/srv/etc/units/asterisk.service.d/mine.conf";
    write(
        &exchange,
        drop_in,
        "[Service]\nEnvironment=MALLOC_ARENA_MAX=2\n",
    );
    let told = reload(&exchange, &[], 0);
    assert!(
        told.contains(
            "asterisk runs as it was defined before, until `switchhook restart asterisk`"
        ),
        "{told}"
    );
    assert_eq!(picture(&exchange), before);

    // A mistake changes nothing and is told with its line.
    let broken = HELPER.replace("nobody", "nobody-at-all");
    write(&exchange, "/srv/etc/units/helper.service", &broken);
    let told = reload(&exchange, &[], 78);
    assert!(told.contains("helper.service:7: "), "{told}");
    assert!(exchange.pid_of("helper").is_some());

    exchange.shell(&format!("rm /srv/etc/units/helper.* {drop_in}"));
    let told = reload(&exchange, &[], 0);
    assert!(
        told.contains("- helper.service\n- helper.socket\n"),
        "{told}"
    );
    exchange.log.wait_for("helper: ended");
    assert_eq!(picture(&exchange), before);
    assert_call_is_well(&exchange, &mut alice, &bob);
    assert_eq!(exchange.stop(), 0);
}
