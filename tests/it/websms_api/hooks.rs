//! Hooks: what they are told, how it is signed, and what becomes of it when they, or we, are away.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json as value;

use super::*;
use crate::web::server::{Asked, authority};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn hook(name: &str, server: &Server, rest: &str) -> String {
    let port = server.port;
    format!("url [{name}] = http://127.0.0.1:{port}/{name}\nsecret [{name}] = {SECRET}\n{rest}\n")
}

fn hooks(all: &[String]) -> String {
    format!("[hooks]\n{}", all.concat())
}

/// Its event, if the signature is right.
fn event(asked: &Asked) -> Value {
    let key = STANDARD.decode(&SECRET["whsec_".len()..]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let (id, at) = (
        asked.header("webhook-id"),
        asked.header("webhook-timestamp"),
    );
    let signed = [format!("{id}.{at}.").as_bytes(), &asked.body].concat();
    let tag = asked
        .header("webhook-signature")
        .strip_prefix("v1,")
        .unwrap();
    hmac::verify(&key, &signed, &STANDARD.decode(tag).unwrap()).unwrap();
    let event: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(event["id"], id);
    assert_eq!(asked.header("content-type"), "application/json");
    event
}

fn text(body: &str) -> Value {
    value!({"from": OWN, "to": "+461", "body": body})
}

#[test]
fn each_change_is_told_signed_and_in_order() {
    let (carrier, receiver) = (carrier(), carrier());
    let all = hooks(&[hook("all", &receiver, "")]);
    let bridge = Bridge::with(&conf(&carrier, &all));
    let sent = id(&send(&bridge, ALL, None, &text("Hej å")));
    for state in ["queued", "sending", "accepted"] {
        let event = event(&receiver.next());
        assert_eq!(event["type"], format!("message.{state}"));
        assert_eq!(event["data"]["id"], sent.as_str());
        assert_eq!(event["data"]["body"], "Hej å");
    }
    let came = comes_in(&bridge, OTHER, "in");
    let event = event(&receiver.next());
    assert_eq!(
        (&event["type"], &event["data"]["id"]),
        (&value!("message.received"), &value!(came))
    );
}

#[test]
fn a_hook_hears_what_it_asks_for_and_no_text_if_it_is_not_to() {
    let (carrier, receiver) = (carrier(), carrier());
    let rest = format!(
        "events [some] = received, message.accepted\nnumbers [some] = {OWN}\nbody [some] = no"
    );
    let bridge = Bridge::with(&conf(&carrier, &hooks(&[hook("some", &receiver, &rest)])));
    comes_in(&bridge, OTHER, "secret");
    comes_in(&bridge, "46701234567", "secret");
    let sent = id(&send(&bridge, ALL, None, &text("secret")));
    becomes(&bridge, &sent, "accepted");
    for state in ["received", "accepted"] {
        let asked = receiver.next();
        assert_eq!(event(&asked)["type"], format!("message.{state}"));
        assert!(!String::from_utf8_lossy(&asked.body).contains("secret"));
        assert!(event(&asked)["data"].get("media").is_none());
    }
}

#[test]
fn what_a_killed_bridge_has_not_told_is_told_after_its_start() {
    let carrier = carrier();
    let is_well = Arc::new(Mutex::new(false));
    let well = Arc::clone(&is_well);
    let receiver = Server::start(None, move |_| {
        Some(Told::status(if *well.lock().unwrap() { 204 } else { 503 }))
    });
    let all = hooks(&[hook("all", &receiver, "rate [all] = 1000/s")]);
    let mut bridge = Bridge::with(&conf(&carrier, &all));
    let mut sent = BTreeSet::new();
    let first = id(&send(&bridge, ALL, None, &text("0")));
    // It was asked, it refused, and the message is on disk.
    let refused = receiver.next();
    assert_eq!(event(&refused)["data"]["id"], first.as_str());
    sent.insert(first);
    for n in 1..20 {
        sent.insert(id(&send(&bridge, ALL, None, &text(&n.to_string()))));
    }
    bridge.is_killed();
    *is_well.lock().unwrap() = true;
    bridge.start();
    // What was with the carrier is unknown now.
    let at_rest = || {
        let sql = "SELECT count(*) FROM message WHERE next IS NOT NULL";
        let open = bridge
            .database()
            .query_row(sql, [], |row| row.get::<_, u32>(0));
        (open == Ok(0)).then_some(())
    };
    crate::appliance::wait_for(at_rest, "messages wait");
    let expected: Vec<(String, String, String)> = {
        let database = bridge.database();
        let mut select = database
            .prepare("SELECT message, state, number FROM journal ORDER BY number")
            .unwrap();
        let rows = select.query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.to_string()))
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    let mut told = Vec::new();
    let mut ids = Vec::new();
    while told.len() < expected.len() {
        let asked = receiver.next();
        let event = event(&asked);
        let of = |name: &str| event["data"][name].as_str().unwrap().to_owned();
        ids.push(asked.header("webhook-id").to_owned());
        told.push((of("id"), of("state")));
    }
    // What was refused comes again under its id, and all that follows once, in order.
    assert_eq!(ids[0], refused.header("webhook-id"));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let expected: Vec<(String, String)> = expected
        .into_iter()
        .map(|(id, state, _)| (id, state))
        .collect();
    assert_eq!(told, expected);
    let queued: BTreeSet<String> = told
        .iter()
        .filter(|(_, s)| s == "queued")
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(queued, sent);
}

#[test]
fn a_slow_receiver_delays_no_other_and_not_the_bridge() {
    let carrier = carrier();
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let (arrived, came) = channel();
    let slow = Server::start(None, move |_| {
        arrived.send(()).unwrap();
        let _ = held.lock().unwrap().recv();
        Some(Told::ok(""))
    });
    let quick = super::carrier();
    let all = hooks(&[
        hook("slow", &slow, ""),
        hook("quick", &quick, "events [quick] = queued"),
    ]);
    let bridge = Bridge::with(&conf(&carrier, &all));
    let first = id(&send(&bridge, ALL, None, &text("0")));
    came.recv().unwrap();
    // It has not answered, and all this happens meanwhile.
    let second = id(&send(&bridge, ALL, None, &text("1")));
    let told: Vec<Value> = (0..2)
        .map(|_| event(&quick.next())["data"]["id"].clone())
        .collect();
    assert_eq!(told, [value!(first), value!(second)]);
    becomes(&bridge, &second, "accepted");
    drop(release);
    assert_eq!(event(&slow.next())["data"]["id"], first.as_str());
}

#[test]
fn one_that_is_gone_is_left_alone_until_the_next_reload() {
    let carrier = carrier();
    let code = Arc::new(Mutex::new(410));
    let answer = Arc::clone(&code);
    let receiver = Server::start(None, move |_| Some(Told::status(*answer.lock().unwrap())));
    let witness = super::carrier();
    let all = hooks(&[
        hook("gone", &receiver, "events [gone] = queued"),
        hook("witness", &witness, "events [witness] = queued"),
    ]);
    let mut bridge = Bridge::with(&conf(&carrier, &all));
    let first = id(&send(&bridge, ALL, None, &text("0")));
    assert_eq!(event(&receiver.next())["data"]["id"], first.as_str());
    bridge.says("the hook [gone] at http://127.0.0.1:");
    let gone = || {
        let database = bridge.database();
        let sql = "SELECT gone FROM hook WHERE name = 'gone'";
        let found = database.query_row(sql, [], |row| row.get::<_, bool>(0));
        found.unwrap().then_some(())
    };
    crate::appliance::wait_for(gone, "it is not written down");
    bridge.is_killed();
    bridge.start();
    // The other one is told of three, and so has had time enough.
    for n in 1..3 {
        send(&bridge, ALL, None, &text(&n.to_string()));
    }
    (0..3).for_each(|_| drop(witness.next()));
    assert!(receiver.is_quiet());
    *code.lock().unwrap() = 200;
    bridge.reload();
    let again = event(&receiver.next());
    assert_eq!(again["data"]["id"], first.as_str());
    assert_eq!(event(&receiver.next())["data"]["body"], "1");
    assert_eq!(event(&receiver.next())["data"]["body"], "2");
}

#[test]
fn a_certificate_of_a_stranger_is_not_trusted() {
    let carrier = carrier();
    let directory = tempfile::tempdir().unwrap();
    let (_, tls) = authority(directory.path());
    let receiver = Server::start(Some(tls), |_| Some(Told::ok("")));
    let port = receiver.port;
    let rest =
        format!("[hooks]\nurl [tls] = https://localhost:{port}/hunter2\nsecret [tls] = {SECRET}\n");
    let mut bridge = Bridge::with(&conf(&carrier, &rest));
    send(&bridge, ALL, None, &text("0"));
    let line = bridge.says("the hook [tls] is not told, and is tried again");
    assert!(line.contains("TLS fails"), "{line}");
    assert!(receiver.is_quiet());
    let said = bridge.all_that_was_said().join("\n");
    assert!(
        !said.contains("hunter2") && !said.contains("MfKQ9r8G"),
        "{said}"
    );
}

#[test]
fn a_hook_with_a_mistake_is_left_out_and_the_others_are_told() {
    let (carrier, receiver) = (carrier(), carrier());
    let port = receiver.port;
    let bad = format!("url [bad] = http://127.0.0.1:{port}/bad\nsecret [bad] = abc\n");
    let all = hooks(&[bad, hook("good", &receiver, "")]);
    let mut bridge = Bridge::with(&conf(&carrier, &all));
    bridge
        .says("a secret of a hook is `whsec_` and 24 to 64 bytes in base64; this hook is left out");
    send(&bridge, ALL, None, &text("0"));
    assert_eq!(receiver.next().path, "/good");
}
