//! WebSMS's door to the carriers: the real binary on a socket that is passed to it, and what a carrier, a proxy or a stranger
//! may send there.
//!
//! The promises D1 to D19 are tests named `d01_...` to `d19_...`, here, in `websms_send` and in the image suite: what a stranger
//! writes stays a text (D1 to D4, D6, D14, D16); no message is answered and lost (D5, D7, D8, D18, D19); nobody holds up
//! the others (D9, D12, D13, D15); an address cannot be borrowed (D10, D11); a text need not stand in an argument (D17).

pub mod bridge;
mod crowds;
mod dialplan;
mod interfaces;
mod secure;
mod trouble;

use bridge::{Bridge, form};

const CONF: &str =
    "[websmsd]\nremt_addr = 127.0.0.1\nurl_path = /hook\nprox_addr = \"\"\nresp_ack = taken\n";

#[test]
fn d18_an_answered_message_is_on_disk_when_the_bridge_is_killed() {
    let mut bridge = Bridge::with(CONF);
    let answer = bridge.post("/hook", &form("+46701", "+46702", "Hej åäö 😀"));
    assert_eq!((answer.status, answer.body.as_str()), (200, "taken"));
    bridge.is_killed();
    let found = bridge.messages();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to, "+46701");
    assert_eq!(found[0].from, "+46702");
    assert_eq!(found[0].body, "Hej åäö 😀");
}

#[test]
fn an_authority_is_answered_wherever_it_asks_from_and_about_nothing_else() {
    let bridge = Bridge::with("[websmsd]\nremt_addr = 192.0.2.1\nurl_path = /hook\n");
    bridge.file("run/switchhook/acme/a-B_9", "a-B_9.thumb");
    bridge.file("run/switchhook/secret", "x");
    let ask = |path: &str| {
        let answer = bridge.ask(
            "GET",
            &format!("/.well-known/acme-challenge/{path}"),
            &[],
            b"",
        );
        (answer.status, answer.body)
    };
    assert_eq!(ask("a-B_9"), (200, "a-B_9.thumb".to_owned()));
    for path in ["a-B_8", "..%2fsecret", "%2e%2e/secret", "../secret"] {
        let (status, body) = ask(path);
        assert!(
            matches!(status, 403 | 404) && body != "x",
            "{path}: {status} {body}"
        );
    }
}

#[test]
fn what_comes_while_the_bridge_is_down_waits_in_the_socket() {
    let mut bridge = Bridge::with(CONF);
    assert_eq!(bridge.post("/hook", &form("1", "2", "a")).status, 200);
    bridge.is_killed();
    let asked = bridge.begin("/hook", &form("1", "2", "b"));
    bridge.start();
    assert_eq!(asked.answer().status, 200);
    assert_eq!(bridge.messages().len(), 2);
}

#[test]
fn who_is_being_served_at_the_end_is_answered() {
    let mut bridge = Bridge::with(CONF);
    let mut late = bridge.connect();
    // Before the body is there the request is under way: the bridge asks for it.
    late.send(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 19\r\nExpect: 100-continue\r\n\r\n");
    late.hears("100 Continue");
    let idle = bridge.connect();
    bridge.signal(nix::sys::signal::Signal::SIGTERM);
    bridge.is_told("STOPPING=1");
    // Whoever rests is not waited for.
    idle.ends();
    late.send(b"To=1&From=2&Body=ab");
    assert_eq!(late.answer().status, 200);
    assert!(bridge.ends());
    assert_eq!(bridge.messages().len(), 1);
}

#[test]
fn d19_twenty_thousand_messages_are_taken_once_each_and_repeats_are_known() {
    const EACH: usize = 1250;
    let conf = "[websmsd]\nprofile [1] = twilio\nverify [1] = no\nurl_path [1] = /hook\nremt_addr [1] = 127.0.0.1\nprox_addr = \"\"\n";
    let bridge = Bridge::with(conf);
    std::thread::scope(|scope| {
        for client in 0..16 {
            let mut line = bridge.connect();
            scope.spawn(move || {
                for number in 0..EACH {
                    let body =
                        format!("To=%2B461&From=%2B462&Body=x&MessageSid=SM{client}-{number}");
                    // One in ten is sent twice, as a carrier does that has not heard us.
                    for _ in 0..=usize::from(number % 10 == 0) {
                        line.post("/hook", &body);
                        assert_eq!(line.hears_answer().status, 200);
                    }
                }
            });
        }
    });
    let found = bridge.messages();
    assert_eq!(found.len(), 16 * EACH);
}

#[test]
fn a_new_configuration_counts_at_once_and_a_mistake_in_it_costs_one_interface() {
    let mut bridge = Bridge::empty();
    assert_eq!(bridge.post("/hook", &form("1", "2", "a")).status, 404);
    bridge.configure(CONF);
    bridge.reload();
    assert_eq!(bridge.post("/hook", &form("1", "2", "a")).status, 200);
    bridge.configure(
        "[websmsd]\nprox_addr = \"\"\nremt_addr [1] = 127.0.0.1\nremt_addr [2] = 127.0.0.300\nurl_path [1] = /one\nurl_path [2] = /two\n",
    );
    bridge.reload();
    let line = bridge.says("remt_addr [2]");
    assert!(line.contains("websms.conf:4"), "{line}");
    bridge.is_told("STATUS=degraded: an interface is closed by a mistake in websms.conf");
    assert_eq!(bridge.post("/one", &form("1", "2", "a")).status, 200);
    // A carrier that hears 404 forgets the message.
    let closed = bridge.post("/two", &form("1", "2", "a"));
    assert_eq!(closed.status, 503);
    assert!(closed.header("retry-after").is_some());
    bridge.configure(CONF);
    bridge.reload();
    assert_eq!(bridge.post("/two", &form("1", "2", "a")).status, 404);
}
