//! WebSMS's API and its hooks: the real bridge, clients with tokens of each kind, receivers that are slow, wrong or gone.

mod description;
mod events;
mod hooks;
mod messages;

use serde_json::Value;

use crate::web::server::{Server, Told};
use crate::websms::bridge::{Answer, Bridge, Line, form};

const ALL: &str = "token-of-all-0123456";
const CRM: &str = "token-of-crm-0123456";
const READER: &str = "token-of-reader-0123";
const SENDER: &str = "token-of-sender-0123";

/// Our number at the carrier's interface [1], and one that is no client's.
const OWN: &str = "+46701234567";
const OTHER: &str = "+46709999999";

/// A bridge with a carrier at `server`, four clients, and `rest`.
fn conf(server: &Server, rest: &str) -> String {
    let port = server.port;
    format!(
        "[websms]\nauth_method = none\nurl_host [1] = \"http://127.0.0.1:{port}\"\nnumber [1] = {OWN}\n\
         [websmsd]\nprox_addr = 127.0.0.1\nremt_addr [1] = 127.0.0.1\nurl_path [1] = /hook\n\
         [api]\ntoken [all] = {ALL}\ntoken [crm] = {CRM}\nnumbers [crm] = {OWN}, 101\n\
         token [reader] = {READER}\nrights [reader] = read\ntoken [sender] = {SENDER}\nrights [sender] = send\n{rest}"
    )
}

/// A carrier that takes everything.
fn carrier() -> Server {
    Server::start(None, |_| Some(Told::ok("{}")))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn get(bridge: &Bridge, token: &str, path: &str) -> Answer {
    bridge.ask("GET", path, &[("Authorization", &bearer(token))], b"")
}

fn post(bridge: &Bridge, token: &str, path: &str) -> Answer {
    bridge.ask("POST", path, &[("Authorization", &bearer(token))], b"")
}

fn send(bridge: &Bridge, token: &str, key: Option<&str>, message: &Value) -> Answer {
    let mut line = bridge.connect();
    ask_to_send(&mut line, token, key, message);
    line.answer()
}

fn ask_to_send(line: &mut Line, token: &str, key: Option<&str>, message: &Value) {
    let bearer = bearer(token);
    let mut headers = vec![
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    headers.extend(key.map(|key| ("Idempotency-Key", key)));
    line.ask(
        "POST",
        "/v1/messages",
        &headers,
        message.to_string().as_bytes(),
    );
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"))
}

/// The id of a message that was taken.
fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    json(answer)["id"].as_str().unwrap().to_owned()
}

/// A message of a carrier's; its id.
fn comes_in(bridge: &Bridge, to: &str, text: &str) -> String {
    let answer = bridge.post("/hook", &form(to, "+46700000000", text));
    assert_eq!(answer.status, 200, "{answer:?}");
    let found = json(&get(bridge, ALL, "/v1/messages?direction=in&limit=1"));
    found["messages"][0]["id"].as_str().unwrap().to_owned()
}

/// Waits until a message is in this state.
fn becomes(bridge: &Bridge, id: &str, state: &str) -> Value {
    crate::appliance::wait_for(
        || {
            let shown = json(&get(bridge, ALL, &format!("/v1/messages/{id}")));
            (shown["state"] == state).then_some(shown)
        },
        state,
    )
}
