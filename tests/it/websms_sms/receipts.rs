//! Delivery receipts of carriers: of the right message, in any order.

use std::sync::{Arc, OnceLock};

use crate::appliance::wait_for;
use crate::web::server::{Server, Told};
use crate::websms::bridge::Bridge;

use super::commands::conf;

fn becomes(bridge: &Bridge, id: &str, wanted: &str) -> serde_json::Value {
    let found = || {
        let shown = bridge.sms_json(0, &["show", id]);
        (shown["message"]["state"] == wanted).then_some(shown)
    };
    wait_for(found, &format!("it is not {wanted}"))
}

fn post(address: std::net::SocketAddr, body: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let kind = "application/x-www-form-urlencoded";
    let length = body.len();
    write!(stream, "POST /elks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
}

#[test]
fn a_receipt_that_comes_before_the_carriers_answer_counts() {
    let address = Arc::new(OnceLock::new());
    let known: Arc<OnceLock<std::net::SocketAddr>> = Arc::clone(&address);
    let server = Server::start(None, move |_| {
        // The carrier is so fast that its receipts are there before it has told the id.
        post(*known.get().unwrap(), "id=early&status=sent");
        post(*known.get().unwrap(), "id=early&status=delivered");
        Some(Told::ok(r#"{"id":"early"}"#))
    });
    let mut bridge = Bridge::with(&conf(&server));
    address.set(bridge.address()).unwrap();
    let conf = conf(&server).replace("[websmsd]", "[websmsd]\nprofile [1] = 46elks");
    bridge.configure(&conf);
    bridge.reload();
    let words = [
        "send",
        "--from",
        "+469",
        "--to",
        "+461",
        "--wait=delivered",
        "hi",
    ];
    let sent = bridge.sms_json(0, &words);
    let shown = bridge.sms_json(0, &["show", sent["id"].as_str().unwrap()]);
    let history = shown["history"].as_array().unwrap().iter();
    let history: Vec<&str> = history.map(|of| of["what"].as_str().unwrap()).collect();
    assert_eq!(history, ["sending", "accepted", "sent", "delivered"]);
    // What comes late takes nothing back.
    post(bridge.address(), "id=early&status=sent");
    becomes(&bridge, sent["id"].as_str().unwrap(), "delivered");
}

#[test]
fn an_interface_without_index_has_its_receipts_too() {
    let server = Server::start(None, |_| Some(Told::ok(r#"{"id":"e7"}"#)));
    let conf = conf(&server)
        .replace(" [1]", "")
        .replace("url_path [2] = /hook\n", "")
        .replace("[websmsd]", "[websmsd]\nprofile = 46elks");
    let bridge = Bridge::with(&conf);
    let words = ["send", "--from", "+469", "--to", "+461", "--wait", "hi"];
    let sent = bridge.sms_json(0, &words);
    post(bridge.address(), "id=e7&status=failed");
    let shown = becomes(&bridge, sent["id"].as_str().unwrap(), "failed");
    let people = bridge.sms(&["show", shown["message"]["id"].as_str().unwrap()]);
    let people = String::from_utf8(people.stdout).unwrap();
    assert!(
        people.contains("failed     by the carrier's receipt"),
        "{people}"
    );
}
