//! The webhook: what a foreign server is told, signed and in its pace.

use std::sync::atomic::{AtomicU32, Ordering};

use ring::hmac;
use serde_json::Value;

use super::{Guard, SECRET};
use crate::appliance::wait_for;
use crate::autoban::pbx::Pbx;
use crate::firewall::wire::{in_namespace, run};
use crate::web::server::{Asked, Server, Told, authority};

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

/// Event and address of each event in a request.
fn told(asked: &Asked) -> Vec<(String, String)> {
    let body = body(asked);
    let events = body["events"].as_array().unwrap();
    let word = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| (word(event, "event"), word(event, "address")))
        .collect()
}

fn is_signed(asked: &Asked, key: &[u8]) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let sign = asked
        .header("x-switchhook-signature")
        .strip_prefix("sha256=")
        .unwrap();
    let bytes: Vec<u8> = (0..sign.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&sign[at..at + 2], 16).unwrap())
        .collect();
    hmac::verify(&key, &asked.body, &bytes).expect("another signature");
}

#[test]
fn bans_are_told_signed_and_gathered() {
    in_namespace(
        "autoban::webhook::bans_are_told_signed_and_gathered",
        || {
            let pbx = Pbx::with_secret(SECRET);
            let mut guard = Guard::volume(&pbx, "");
            let (pem, tls) = authority(guard.root.path());
            let server = Server::start(Some(tls), |_| Some(Told::status(204)));
            guard.file("run/hook-secret", "s3cret\n");
            guard.configure(
            &pbx,
            &format!(
                "maxcount = 2\nwebhook = https://user:hunter2@localhost:{}/hook?hunter2\nwebhooksecret_file = /run/hook-secret",
 server.port
            ),
        );
            guard.environment.push(("SSL_CERT_FILE".into(), pem.into()));
            guard.start(&[]);
            let mut session = pbx.accept().expect("a login");
            guard.hears("listening to security events");
            for _ in 0..2 {
                session.unknown("TCP", "192.0.2.7");
                session.unknown("UDP", "192.0.2.8");
            }
            let first = server.next();
            assert_eq!(
                (first.method.as_str(), first.path.as_str()),
                ("POST", "/hook?hunter2")
            );
            assert_eq!(first.header("content-type"), "application/json");
            assert_eq!(first.header("authorization"), "Basic dXNlcjpodW50ZXIy");
            is_signed(&first, b"s3cret");
            let text = body(&first);
            assert_eq!((&text["schema"], &text["omitted"]), (&1.into(), &0.into()));
            assert!(text["host"].is_string() && text["id"].as_str().unwrap().len() == 32);
            let event = &text["events"][0];
            assert_eq!(event["event"], "banned");
            assert_eq!(
                (&event["address"], &event["count"]),
                (&"192.0.2.7".into(), &1.into())
            );
            assert_eq!(event["reason"], "unknown account");
            assert!(event["until"].as_str().unwrap() > event["at"].as_str().unwrap());
            // What follows goes together: by hand, and by another program. A weak ban was not asked for.
            guard.hears("closed SIP over UDP");
            guard.ask(r#"{"command":"manual","order":{"add":{"to":["jail"],"what":[{"cidr":"192.0.2.9"}],"time":null,"comment":"x"}}}"#);
            guard.ask(r#"{"command":"manual","order":{"delete":{"from":["jail","parole"],"what":[{"cidr":"192.0.2.9"}]}}}"#);
            run("nft", &["flush", "ruleset"]);
            guard.hears("the kernel's table is there again");
            let second = server.next();
            let all = [
                ("banned", "192.0.2.9"),
                ("released", "192.0.2.9"),
                ("removed-by-others", ""),
            ];
            assert_eq!(
                told(&second),
                all.map(|(event, of)| (event.to_owned(), of.to_owned()))
            );
            assert_ne!(body(&second)["id"], text["id"]);
            guard.counts("banned by hand", 1);
            guard.counts("freed by hand", 1);
            assert!(guard.stops());
            assert!(
                !guard.all_lines().contains("hunter2") && !guard.all_lines().contains("s3cret")
            );
        },
    );
}

#[test]
fn what_a_server_refuses_is_told_again_and_its_failure_once() {
    let name = "autoban::webhook::what_a_server_refuses_is_told_again_and_its_failure_once";
    in_namespace(name, || {
        let count = AtomicU32::new(0);
        let server = Server::start(None, move |_| {
            let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
            Some(Told::status(if is_first { 503 } else { 200 }))
        });
        let pbx = Pbx::with_secret(SECRET);
        let conf = format!(
            "maxcount = 1\nwebhookweak = yes\nwebhook = http://127.0.0.1:{}/x",
            server.port
        );
        let mut guard = Guard::volume(&pbx, &conf);
        guard.start(&[]);
        let mut session = pbx.accept().expect("a login");
        session.unknown("UDP", "192.0.2.7");
        let first = server.next();
        assert_eq!(
            told(&first),
            [("weak-banned".to_owned(), "192.0.2.7".to_owned())]
        );
        assert_eq!(first.header("x-switchhook-signature"), "");
        let line = guard.hears("the webhook is not told: ");
        assert!(
            line.ends_with(&format!(
                "http://127.0.0.1:{}: it answers with status 503",
                server.port
            )),
            "{line}"
        );
        // Bans go on meanwhile.
        session.unknown("TCP", "192.0.2.8");
        guard.hears("jailed 192.0.2.8");
        let again = server.next();
        assert_eq!(body(&again), body(&first));
        guard.hears("is told again");
        // The line comes before the books are kept.
        let status = wait_for(
            || {
                let status = guard.ask(r#"{"command":"status"}"#)["webhook"].clone();
                (status["requests"] == 1).then_some(status)
            },
            "the request was never counted",
        );
        assert_eq!(status["failures"], 1, "{status}");
        assert_eq!(status["to"], format!("http://127.0.0.1:{}", server.port));
        assert_eq!(
            (&status["waiting"], &status["error"]),
            (&1.into(), &Value::Null),
            "{status}"
        );
    });
}
