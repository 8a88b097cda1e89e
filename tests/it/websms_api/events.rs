//! The stream of events: live, taken up again, cut off.

use serde_json::json as value;

use super::*;

/// A reader of events; of each its id and what it says.
struct Reader(Line);

impl Reader {
    fn begins(bridge: &Bridge, token: &str, last: Option<&str>) -> Reader {
        let mut line = bridge.connect();
        let bearer = bearer(token);
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(last.map(|last| ("Last-Event-ID", last)));
        line.ask("GET", "/v1/events", &headers, b"");
        let head = line.hears_head();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let mut reader = Reader(line);
        // From now on nothing is missed.
        while !reader.0.line().starts_with("retry: ") {}
        reader
    }

    fn next(&mut self) -> (String, Value) {
        let mut id = String::new();
        loop {
            let line = self.0.line();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            }
            if let Some(text) = line.strip_prefix("data: ") {
                let event: Value = serde_json::from_str(text).unwrap();
                return (id, event);
            }
        }
    }

    /// `state of id`, of so many.
    fn states(&mut self, count: usize) -> Vec<(String, String)> {
        (0..count)
            .map(|_| {
                let (_, event) = self.next();
                let of = |name: &str| event["data"][name].as_str().unwrap().to_owned();
                assert_eq!(event["type"], format!("message.{}", of("state")));
                (of("id"), of("state"))
            })
            .collect()
    }
}

fn text(to: &str, body: &str) -> Value {
    value!({"from": OWN, "to": to, "body": body})
}

#[test]
fn who_comes_back_misses_nothing_and_hears_nothing_twice() {
    let carrier = carrier();
    let mut bridge = Bridge::with(&conf(&carrier, ""));
    let mut reader = Reader::begins(&bridge, ALL, None);
    let first = id(&send(&bridge, ALL, None, &text("+461", "one")));
    let (begin, event) = reader.next();
    assert_eq!(
        (&event["type"], &event["data"]["body"]),
        (&value!("message.queued"), &value!("one"))
    );
    assert_eq!(event["id"], begin.as_str());
    let mut heard = reader.states(2);
    assert_eq!(
        heard,
        [
            (first.clone(), "sending".to_owned()),
            (first.clone(), "accepted".to_owned())
        ]
    );
    drop(reader);
    let second = id(&send(&bridge, ALL, None, &text("+461", "two")));
    becomes(&bridge, &second, "accepted");
    bridge.is_killed();
    bridge.start();
    let third = id(&send(&bridge, ALL, None, &text("+461", "three")));
    let mut reader = Reader::begins(&bridge, ALL, Some(&begin));
    let again = reader.states(8);
    let of = |id: &str| -> Vec<&str> {
        again
            .iter()
            .filter(|(of, _)| of == id)
            .map(|(_, state)| state.as_str())
            .collect()
    };
    assert_eq!(of(&first), ["sending", "accepted"]);
    assert_eq!(of(&second), ["queued", "sending", "accepted"]);
    assert_eq!(of(&third), ["queued", "sending", "accepted"]);
    heard.extend(again);
    // From three days ago there may be more than is known.
    let mut old = Reader::begins(&bridge, ALL, Some("evt_0000000000001"));
    while old.0.line() != "event: reset" {}
    assert_eq!(old.states(0), []);
}

#[test]
fn a_reader_with_numbers_hears_of_them_only_and_no_longer_than_its_token() {
    let carrier = carrier();
    let mut bridge = Bridge::with(&conf(&carrier, ""));
    let mut reader = Reader::begins(&bridge, CRM, None);
    assert_eq!(
        bridge.post("/hook", &form(OTHER, "+461", "secret")).status,
        200
    );
    assert_eq!(
        bridge
            .post("/hook", &form("46701234567", "+461", "for us"))
            .status,
        200
    );
    let (_, event) = reader.next();
    assert_eq!(event["data"]["body"], "for us");
    bridge.configure(&conf(&carrier, "").replace(CRM, "another-token-012345"));
    bridge.reload();
    // Whatever is still on its way, then the end.
    while reader.0.line() != "0" {}
    assert_eq!(get(&bridge, CRM, "/v1/events").status, 401);
}

#[test]
fn who_does_not_read_is_cut_off_and_holds_up_nobody() {
    let carrier = carrier();
    let mut bridge = Bridge::with(&conf(&carrier, ""));
    let sleeper = Reader::begins(&bridge, ALL, None);
    let mut awake = Reader::begins(&bridge, ALL, None);
    // More than the kernel holds for one connection.
    let long = "x".repeat(60_000);
    let mut line = bridge.connect();
    for _ in 0..300 {
        line.post("/hook", &form(OTHER, "+461", &long));
        assert_eq!(line.hears_answer().status, 200);
        // The other one hears of it, and of what becomes of it.
        while awake.next().1["type"] != "message.received" {}
    }
    bridge.says("the client all takes its events too slowly and is cut off");
    drop(sleeper);
    assert_eq!(get(&bridge, ALL, "/v1/messages?limit=1").status, 200);
}

#[test]
fn readers_go_when_the_bridge_ends() {
    let carrier = carrier();
    let mut bridge = Bridge::with(&conf(&carrier, ""));
    let reader = Reader::begins(&bridge, ALL, None);
    bridge.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(bridge.ends());
    drop(reader);
}
