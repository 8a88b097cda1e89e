//! WebSMS's way out: the real daemon and command, and a stand-in for the carriers that is slow, wrong, dead or lying.

mod bridge;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::web::server::{Server, Told};
use bridge::{Bridge, message, say};

/// An interface [1] that posts to this server's path as `rest` says.
fn interface(server: &Server, path: &str, rest: &str) -> String {
    let port = server.port;
    format!(
        "[websms]\nauth_method = none\nurl_host [1] = \"http://127.0.0.1:{port}\"\nurl_path [1] = {path}\n{rest}\n"
    )
}

#[test]
fn requests_are_those_of_the_predecessor() {
    let server = Server::start(None, |_| Some(Told::ok(r#"{"status":"success"}"#)));
    let host = format!("\"http://127.0.0.1:{}\"", server.port);
    let conf = format!(
        "[websms]\nauth_user = user\nauth_secret = secret\n\
         url_host [none] = {host}\nauth_method [none] = none\nval_static [none] = \"fixed=1\"\n\
         url_host [basic] = {host}\nauth_method [basic] = basic\nurl_path [basic] = /api\n\
         url_host [plain] = {host}\nauth_method [plain] = plain\nkey_user [plain] = u\nkey_secret [plain] = p\n\
         url_host [zadarma] = {host}\nauth_method [zadarma] = zadarma\nurl_path [zadarma] = /v1/sms/send/\n\
         key_to [zadarma] = number\nkey_from [zadarma] = caller_id\nkey_body [zadarma] = message\nval_numform [zadarma] = no+\n\
         resp_check [zadarma] = \"status=success\"\n"
    );
    let mut bridge = Bridge::started(&conf);
    let text = "Hello wörld & 😀 +1";
    for (index, path, authorization, body) in [
        (
            "none",
            "/",
            "",
            "Body=Hello+w%C3%B6rld+%26+%F0%9F%98%80+%2B1&From=%2B46707654321&To=%2B46701234567&fixed=1",
        ),
        (
            "basic",
            "/api",
            "Basic dXNlcjpzZWNyZXQ=",
            "Body=Hello+w%C3%B6rld+%26+%F0%9F%98%80+%2B1&From=%2B46707654321&To=%2B46701234567",
        ),
        (
            "plain",
            "/",
            "",
            "Body=Hello+w%C3%B6rld+%26+%F0%9F%98%80+%2B1&From=%2B46707654321&To=%2B46701234567&p=secret&u=user",
        ),
        (
            "zadarma",
            "/v1/sms/send/",
            "user:",
            "caller_id=46707654321&message=Hello+w%C3%B6rld+%26+%F0%9F%98%80+%2B1&number=46701234567",
        ),
    ] {
        let id = bridge.send(index, text);
        let asked = server.next();
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("POST", path),
            "{index}"
        );
        assert_eq!(String::from_utf8_lossy(&asked.body), body, "{index}");
        assert!(
            asked.header("authorization").starts_with(authorization),
            "{index}"
        );
        assert_eq!(
            asked.header("authorization").is_empty(),
            authorization.is_empty(),
            "{index}"
        );
        assert_eq!(
            asked.header("content-type"),
            "application/x-www-form-urlencoded"
        );
        bridge.hears(&format!(
            "{id} is accepted: by [{index}], 1 segment of UCS-2"
        ));
        assert_eq!(bridge.show(&id)["state"], "accepted");
    }
    assert!(
        !bridge
            .heard
            .iter()
            .any(|line| line.contains("secret") || line.contains("wörld"))
    );
}

#[test]
fn what_a_carrier_answers_decides() {
    let server = Server::start(None, |asked| match asked.path.as_str() {
        "/401" => Some(Told::status(401)),
        "/moved" => Some(Told {
            headers: vec![("Location", "/elsewhere".to_owned())],
            ..Told::status(302)
        }),
        "/error" => Some(Told::ok(r#"{"status":"error","message":"no credit"}"#)),
        "/silent" => None,
        "/liar" => Some(Told {
            claimed: Some(100),
            ..Told::ok("{}")
        }),
        "/busy" => Some(Told {
            headers: vec![("Retry-After", "7200".to_owned())],
            ..Told::status(429)
        }),
        _ => Some(Told::status(500)),
    });
    let mut conf =
        String::from("[websms]\nauth_method = none\nresp_check [error] = \"status=ok\"\n");
    let cases = [
        ("401", "dead", "HTTP 401"),
        ("moved", "dead", "redirects are not followed"),
        ("error", "dead", "no credit"),
        ("silent", "unknown", "may have it or not"),
        ("liar", "unknown", "may have it or not"),
        ("busy", "queued", "HTTP 429"),
        ("500", "queued", "HTTP 500"),
    ];
    for (index, _, _) in cases {
        let port = server.port;
        conf.push_str(&format!(
            "url_host [{index}] = \"http://127.0.0.1:{port}\"\nurl_path [{index}] = /{index}\n"
        ));
    }
    let mut bridge = Bridge::started(&conf);
    for (index, state, why) in cases {
        let id = bridge.send(index, "text");
        let line = bridge.hears(&format!("{id} is {state}"));
        assert!(line.contains(why), "{line}");
        let shown = bridge.show(&id);
        assert_eq!(
            (&shown["state"], &shown["tries"]),
            (&json!(state), &json!(1)),
            "{shown}"
        );
        if index == "busy" {
            let pause = shown["next"].as_i64().unwrap() - shown["changed"].as_i64().unwrap();
            assert_eq!(pause, 7_200_000, "{shown}");
        }
    }
    assert_eq!(server.next().path, "/401");
    // The senders of those that are dead are told, and of no other.
    let notices = bridge.notices();
    let told: Vec<&str> = notices
        .iter()
        .map(|notice| notice["body"].as_str().unwrap())
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.contains(&"Your message to +46701234567 could not be sent: HTTP 401"),
        "{told:?}"
    );
    let of = |key: &str| notices[0][key].as_str().unwrap().to_owned();
    assert_eq!(
        (of("from"), of("to")),
        ("websms".to_owned(), "+46707654321".to_owned())
    );
}

#[test]
fn a_carrier_that_is_well_again_gets_what_waits_and_people_may_decide() {
    let answers = Arc::new(Mutex::new(vec![200, 503, 200, 500]));
    let left = Arc::clone(&answers);
    let server = Server::start(None, move |_| {
        Some(Told::status(left.lock().unwrap().pop().unwrap()))
    });
    let mut bridge = Bridge::started(&interface(&server, "/", ""));
    let ordered =
        |bridge: &Bridge, word: &str, id: &str| bridge.ask(&json!({"command": word, "id": id}));
    let first = bridge.send("", "first");
    bridge.hears(&format!("{first} is queued: HTTP 500"));
    assert_eq!(ordered(&bridge, "retry", &first)["state"], "queued");
    bridge.hears(&format!("{first} is accepted"));
    assert!(
        ordered(&bridge, "cancel", &first)["reason"]
            .as_str()
            .unwrap()
            .contains("cannot be taken back")
    );
    // This one goes out by itself when its pause is over.
    let second = bridge.send("", "second");
    bridge.hears(&format!("{second} is queued: HTTP 503"));
    let third = bridge.send("", "third");
    assert_eq!(ordered(&bridge, "cancel", &third)["state"], "cancelled");
    bridge.hears(&format!("{second} is accepted"));
    assert_eq!(bridge.show(&third)["state"], "cancelled");
    assert_eq!(bridge.show(&second)["tries"], 2);
    let bodies: Vec<String> = (0..4)
        .map(|_| String::from_utf8(server.next().body).unwrap())
        .collect();
    assert!(
        bodies[0].contains("first") && bodies[1].contains("first"),
        "{bodies:?}"
    );
    assert!(
        bodies[2].contains("second") && bodies[3].contains("second"),
        "{bodies:?}"
    );
    assert!(answers.lock().unwrap().is_empty());
}

#[test]
fn another_interface_takes_over_and_a_circle_ends() {
    let server = Server::start(None, |asked| match asked.path.as_str() {
        "/good" => Some(Told::ok("{}")),
        _ => Some(Told::status(403)),
    });
    let port = server.port;
    let host = |index: &str, path: &str, next: &str| {
        format!(
            "url_host [{index}] = \"http://127.0.0.1:{port}\"\nurl_path [{index}] = {path}\nfailover [{index}] = {next}\n"
        )
    };
    let conf = [
        "[websms]\nauth_method = none\n".to_owned(),
        host("a", "/bad", "b"),
        host("b", "/good", "a"),
        host("c", "/bad", "d"),
        host("d", "/bad", "c"),
    ];
    let mut bridge = Bridge::started(&conf.concat());
    let id = bridge.send("a", "text");
    bridge.hears(&format!(
        "{id} is queued: [b] takes over from [a]: HTTP 403"
    ));
    bridge.hears(&format!("{id} is accepted: by [b]"));
    let shown = bridge.show(&id);
    assert_eq!(
        (&shown["interface"], &shown["state"]),
        (&json!("b"), &json!("accepted"))
    );
    let id = bridge.send("c", "text");
    bridge.hears(&format!("{id} is queued: [d] takes over from [c]"));
    bridge.hears(&format!("{id} is dead"));
    assert_eq!(bridge.show(&id)["interface"], "d");
    assert_eq!(bridge.notices().len(), 1);
}

#[test]
fn d09_a_slow_carrier_holds_up_neither_another_nor_the_dialplan() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let (arrived, came) = channel();
    let server = Server::start(None, move |asked| {
        if asked.path == "/slow" {
            arrived.send(()).unwrap();
            let _ = held.lock().unwrap().recv();
        }
        Some(Told::ok("{}"))
    });
    let port = server.port;
    let other = format!("url_host [2] = \"http://127.0.0.1:{port}\"");
    let mut bridge = Bridge::started(&interface(&server, "/slow", &other));
    let slow = bridge.send("1", "slow");
    came.recv().unwrap();
    // Its carrier has not answered, and all that follows is done meanwhile.
    let quick = bridge.send("2", "quick");
    bridge.hears(&format!("{quick} is accepted"));
    let text = ") :1\n200 result=1 (x)\nHANGUP\n😀";
    assert_eq!(dialplan(bridge.agi, "+46701234567", "1", text), "QUEUED");
    assert_eq!(dialplan(bridge.agi, "+46701234567", "9", text), "FAILED");
    bridge.hears("there is no interface [9] that sends; those that do are [1], [2]");
    assert_eq!(bridge.show(&slow)["state"], "sending");
    drop(release);
    while bridge.waiting() > 0 {
        bridge.line();
    }
    assert_eq!(bridge.show(&slow)["state"], "accepted");
    let list = bridge.ask(&json!({"command": "list", "limit": 1}));
    assert_eq!(
        (&list["messages"][0]["body"], &list["messages"][0]["from"]),
        (&json!(text), &json!("101"))
    );
}

/// What Asterisk does for `AGI(agi://127.0.0.1/websms,TO,INDEX)`; what WEBSMSSTATUS becomes.
fn dialplan(port: u16, to: &str, index: &str, body: &str) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(crate::appliance::PATIENCE))
        .unwrap();
    let mut stream = BufReader::new(stream);
    let head = format!(
        "agi_network: yes\nagi_network_script: websms\nagi_request: agi://127.0.0.1/websms\nagi_extension: {to}\nagi_arg_1: {to}\nagi_arg_2: {index}\n\n"
    );
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let answer = if let Some(asked) = line.trim_end().strip_prefix("GET FULL VARIABLE ") {
            let value = asked
                .replace("${MESSAGE(from)}", "\"Alice\" <sip:101@pbx>")
                .replace("${MESSAGE(body)}", body);
            format!("200 result=1 ({value})\n")
        } else if let Some(set) = line.trim_end().strip_prefix("SET VARIABLE WEBSMSSTATUS ") {
            stream.get_mut().write_all(b"200 result=1\n").unwrap();
            return set.to_owned();
        } else {
            panic!("Asterisk does not know {line:?}");
        };
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

#[test]
fn d17_the_command_ends_as_the_predecessors_did() {
    let server = Server::start(None, |_| Some(Told::ok("{}")));
    let mut bridge = Bridge::volume(&interface(&server, "/", ""));
    let said = |out: &std::process::Output| String::from_utf8_lossy(&out.stderr).into_owned();
    let out = bridge.run(&["+46701234567", "101", "text"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(said(&out).contains("WebSMS does not run"), "{}", said(&out));
    bridge.start();
    let sent = |server: &Server| String::from_utf8(server.next().body).unwrap();
    let out = bridge.run(&["+46701234567", "101", "text", ""]);
    assert_eq!((out.status.code(), said(&out).as_str()), (Some(0), ""));
    assert_eq!(sent(&server), "Body=text&From=101&To=%2B46701234567");
    let out = bridge.run(&["+46701234567", "101", "text", "7"]);
    assert_eq!(out.status.code(), Some(1));
    let text = said(&out);
    assert!(
        text.contains("there is no interface [7] that sends; those that do are [1]\nhint: "),
        "{text}"
    );
    assert_eq!(bridge.run(&["+46701234567", "101"]).status.code(), Some(64));
    // Its text from standard input.
    let mut child = bridge
        .command(&["+46701234567", "101", "-", "1"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all("två rader\noch en till\n".as_bytes())
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(
        sent(&server),
        "Body=tv%C3%A5+rader%0Aoch+en+till&From=101&To=%2B46701234567"
    );
    // As an AGI program: Asterisk says its head, and waits.
    let mut child = bridge
        .command(&["+46701234567", "101", "by AGI", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asterisk = child.stdin.take().unwrap();
    // It may have ended by then.
    let _ = asterisk
        .write_all(b"agi_request: /usr/local/bin/websms\nagi_channel: Message/ast_msg_queue\n\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut out = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(out, "");
    assert!(sent(&server).contains("by+AGI"));
}

#[test]
fn what_is_handed_in_twice_with_a_key_goes_out_once() {
    let server = Server::start(None, |_| Some(Told::ok("{}")));
    let mut bridge = Bridge::started(&interface(&server, "/", ""));
    let mut request = message("1", "once");
    request["key"] = json!("k");
    let (first, again) = (bridge.ask(&request), bridge.ask(&request));
    assert_eq!(first["id"], again["id"]);
    bridge.hears("is accepted");
    server.next();
    let last = bridge.send("1", "last");
    bridge.hears(&format!("{last} is accepted"));
    assert!(
        String::from_utf8(server.next().body)
            .unwrap()
            .contains("last")
    );
    assert!(server.is_quiet());
}

const KEYED: &str = r#"
title = "A carrier that knows a repetition"
[outgoing]
url = "https://carrier.example/send"
format = "json"
id = ["id"]
idempotency-header = "Idempotency-Key"

[outgoing.document]
text = "{text}"
"#;

/// A number from 1 to `end`, another one each time.
fn random(end: u8) -> u8 {
    let mut byte = [0];
    std::fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut byte)
        .unwrap();
    byte[0] % end + 1
}

/// SIGKILL again and again while 1000 messages go out. Gives the arrivals, by text, each with its key.
fn killed(conf: &str) -> (Bridge, BTreeMap<String, Vec<String>>) {
    const COUNT: usize = 1000;
    let arrivals: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
    let seen = Arc::clone(&arrivals);
    let (arrived, came) = channel();
    let server = Server::start(None, move |asked| {
        let body = String::from_utf8_lossy(&asked.body);
        let at = body.find("text-").unwrap();
        let text = body[at..].split(['"', '&']).next().unwrap().to_owned();
        let key = asked.header("idempotency-key").to_owned();
        seen.lock().unwrap().entry(text).or_default().push(key);
        let _ = arrived.send(());
        Some(Told::ok(r#"{"id":""}"#))
    });
    let conf = conf.replace("PORT", &server.port.to_string());
    // One goes out at once, and the others wait until all are there.
    let mut bridge = Bridge::volume(&format!("{conf}rate = 1/h\n"));
    bridge.file("srv/etc/asterisk/websms.d/keyed.toml", KEYED);
    bridge.start();
    let mut line = bridge.connect();
    for number in 0..COUNT {
        let mut request = message("1", &format!("text-{number}"));
        // Each to another phone: they do not wait for each other.
        request["to"] = json!(format!("+4670{number:07}"));
        let reply = say(&mut line, &request);
        assert_eq!(reply["result"], "queued", "{reply}");
    }
    bridge.file("srv/etc/asterisk/websms.conf", &conf);
    for _ in 0..6 {
        bridge.kill();
        while came.try_recv().is_ok() {}
        bridge.start();
        for _ in 0..random(60) {
            came.recv_timeout(crate::appliance::PATIENCE).unwrap();
        }
    }
    while bridge.waiting() > 0 {
        bridge.line();
    }
    let arrivals = arrivals.lock().unwrap().clone();
    (bridge, arrivals)
}

#[test]
fn with_a_key_a_power_cut_neither_loses_nor_repeats() {
    let conf = "[websms]\nprofile [1] = keyed\nurl_host [1] = \"http://127.0.0.1:PORT\"\n";
    let (_bridge, arrivals) = killed(conf);
    assert_eq!(arrivals.len(), 1000);
    // A carrier that honours the key takes each key once.
    let keys: BTreeSet<&String> = arrivals.values().flatten().collect();
    assert_eq!(keys.len(), 1000);
    for (text, keys) in &arrivals {
        let own: BTreeSet<&String> = keys.iter().collect();
        assert_eq!(own.len(), 1, "{text}: {keys:?}");
    }
}

#[test]
fn without_a_key_a_power_cut_leaves_what_is_not_known() {
    let conf = "[websms]\nauth_method = none\nurl_host [1] = \"http://127.0.0.1:PORT\"\n";
    let (bridge, arrivals) = killed(conf);
    let mut unknown = BTreeSet::new();
    let mut accepted = 0;
    let mut before = json!(null);
    loop {
        let page = bridge.ask(&json!({"command": "list", "before": before, "limit": 500}));
        let messages = page["messages"].as_array().unwrap();
        for row in messages {
            let text = row["body"].as_str().unwrap().to_owned();
            match row["state"].as_str().unwrap() {
                "accepted" => {
                    accepted += 1;
                    assert_eq!(arrivals.get(&text).map(Vec::len), Some(1), "{text}");
                }
                "unknown" => {
                    assert!(
                        arrivals.get(&text).is_none_or(|there| there.len() == 1),
                        "{text}"
                    );
                    unknown.insert(text);
                }
                other => panic!("{text} is {other}"),
            }
        }
        match messages.last() {
            Some(last) => before = last["id"].clone(),
            None => break,
        }
    }
    assert_eq!(accepted + unknown.len(), 1000);
    // Not more than were under way at the cuts.
    assert!((1..=6 * 8).contains(&unknown.len()), "{}", unknown.len());
    // A notice would say more than is known.
    assert!(bridge.notices().is_empty());
}
