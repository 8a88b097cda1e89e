//! The description of the API: each path and status of it comes from the real server, and nothing else does.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json as value;

use super::*;
use crate::appliance::wait_for;

/// The description that is served.
const SERVED: &str = include_str!("../../../src/websms/api/openapi.json");

/// `UPDATE_DOCS=1` writes the page anew.
#[test]
fn the_page_is_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, SERVED).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        SERVED,
        "run the test with UPDATE_DOCS=1"
    );
}

/// The description, and what of it was met.
struct Description {
    document: Value,
    met: BTreeSet<(String, String, u16)>,
}

impl Description {
    fn all(&self) -> BTreeSet<(String, String, u16)> {
        let mut all = BTreeSet::new();
        for (path, methods) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                for status in operation["responses"].as_object().unwrap().keys() {
                    all.insert((path.clone(), method.clone(), status.parse().unwrap()));
                }
            }
        }
        all
    }

    fn resolved<'a>(&'a self, mut value: &'a Value) -> &'a Value {
        while let Some(reference) = value["$ref"].as_str() {
            value = self.document.pointer(&reference[1..]).unwrap();
        }
        value
    }

    /// An answer of this path is as described.
    fn meets(&mut self, path: &str, method: &str, answer: &Answer) {
        let key = (path.to_owned(), method.to_lowercase(), answer.status);
        let operation = &self.document["paths"][path][&key.1];
        let described = self.resolved(&operation["responses"][answer.status.to_string()]);
        assert!(!described.is_null(), "not described: {key:?} {answer:?}");
        for name in described["headers"].as_object().into_iter().flatten() {
            let name = name.0.to_lowercase();
            assert!(answer.header(&name).is_some(), "{key:?} has no {name}");
        }
        let kind = answer.header("content-type").unwrap();
        let schema = &described["content"][kind]["schema"];
        assert!(!schema.is_null(), "{key:?} is not described as {kind}");
        if kind != "text/event-stream" {
            self.holds(schema, &json(answer), &format!("{key:?}"));
        }
        self.met.insert(key);
    }

    /// The value has what the schema asks for, and nothing that it does not know.
    fn holds(&self, schema: &Value, value: &Value, at: &str) {
        let mut known = serde_json::Map::new();
        let mut pending = vec![schema];
        while let Some(next) = pending.pop() {
            let next = self.resolved(next);
            pending.extend(next["allOf"].as_array().into_iter().flatten());
            for name in next["required"].as_array().into_iter().flatten() {
                assert!(
                    value.get(name.as_str().unwrap()).is_some(),
                    "{at} lacks {name}: {value}"
                );
            }
            if let Some(words) = next["enum"].as_array() {
                assert!(words.contains(value), "{at}: {value}");
            }
            let kinds = match &next["type"] {
                Value::String(kind) => vec![kind.as_str()],
                Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
                _ => vec![],
            };
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            assert!(kinds.is_empty() || kinds.contains(&kind), "{at}: {value}");
            for item in value.as_array().into_iter().flatten() {
                self.holds(&next["items"], item, at);
            }
            known.extend(next["properties"].as_object().cloned().unwrap_or_default());
        }
        if known.is_empty() {
            return;
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let schema = known.get(name);
            let schema = schema.unwrap_or_else(|| panic!("{at}: {name} is not described"));
            self.holds(schema, value, &format!("{at}.{name}"));
        }
    }
}

/// Each operation, by a path that can be asked for.
fn operations(id: &str) -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("/v1/messages", "GET", "/v1/messages".to_owned()),
        ("/v1/messages", "POST", "/v1/messages".to_owned()),
        ("/v1/messages/{id}", "GET", format!("/v1/messages/{id}")),
        (
            "/v1/messages/{id}/retry",
            "POST",
            format!("/v1/messages/{id}/retry"),
        ),
        (
            "/v1/messages/{id}/cancel",
            "POST",
            format!("/v1/messages/{id}/cancel"),
        ),
        ("/v1/events", "GET", "/v1/events".to_owned()),
        ("/v1/requests", "GET", "/v1/requests".to_owned()),
        ("/openapi.json", "GET", "/openapi.json".to_owned()),
    ]
}

#[test]
fn every_path_and_status_comes_from_the_real_server() {
    let server = Server::start(None, |asked| {
        let is_good = String::from_utf8_lossy(&asked.body).contains("good");
        Some(if is_good {
            Told::ok("{}")
        } else {
            Told::status(500)
        })
    });
    let bridge = Bridge::with(&conf(&server, ""));
    let mut description = Description {
        document: json(&get(&bridge, ALL, "/openapi.json")),
        met: BTreeSet::new(),
    };
    assert_eq!(
        description.document,
        serde_json::from_str::<Value>(SERVED).unwrap()
    );
    let json_of = ("Content-Type", "application/json");
    let all = bearer(ALL);
    let asks = |token: &str, method: &str, path: &str, body: &str| {
        bridge.ask(
            method,
            path,
            &[("Authorization", token), json_of],
            body.as_bytes(),
        )
    };

    // A body that never comes, while all else goes on.
    let mut dawdles = bridge.connect();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {all}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    );
    dawdles.send(head.as_bytes());

    // What is done.
    let message = |to: &str, body: &str| value!({"from": OWN, "to": to, "body": body});
    let good = send(&bridge, ALL, None, &message("+461", "good"));
    description.meets("/v1/messages", "POST", &good);
    let good = id(&good);
    becomes(&bridge, &good, "accepted");
    let waits = id(&send(&bridge, ALL, None, &message("+462", "bad")));
    let incoming = comes_in(&bridge, OTHER, "x");
    wait_for(
        || {
            let shown = json(&get(&bridge, ALL, &format!("/v1/messages/{waits}")));
            (shown["tries"] == 1 && shown["state"] == "queued").then_some(())
        },
        "the carrier's refusal",
    );
    description.meets(
        "/v1/messages",
        "GET",
        &get(&bridge, ALL, "/v1/messages?limit=2"),
    );
    let path = format!("/v1/messages/{good}");
    description.meets("/v1/messages/{id}", "GET", &get(&bridge, ALL, &path));
    let decide = |word: &str, id: &str| post(&bridge, ALL, &format!("/v1/messages/{id}/{word}"));
    for word in ["retry", "cancel"] {
        let path = format!("/v1/messages/{{id}}/{word}");
        description.meets(&path, "POST", &decide(word, &good));
        description.meets(&path, "POST", &decide(word, &incoming));
        description.meets(&path, "POST", &decide(word, "0000000000000"));
        let done = wait_for(
            || Some(decide(word, &waits)).filter(|answer| answer.status == 200),
            word,
        );
        description.meets(&path, "POST", &done);
    }
    let mut reader = bridge.connect();
    reader.ask("GET", "/v1/events", &[("Authorization", &all)], b"");
    description.meets("/v1/events", "GET", &reader.hears_head());
    description.meets("/openapi.json", "GET", &get(&bridge, ALL, "/openapi.json"));
    // Somebody without a token, so that there is a request with all its fields.
    let stranger = bridge.ask("GET", "/v1/requests", &[], b"");
    description.meets("/v1/requests", "GET", &stranger);
    bridge.requests(1);
    description.meets("/v1/requests", "GET", &get(&bridge, ALL, "/v1/requests"));

    // What is wrong with what is asked.
    let wrong = |path: &str| get(&bridge, ALL, path);
    for query in [
        "limit=0",
        "limit=x",
        "direction=up",
        "state=eaten",
        "cursor=x",
        "colour=red",
    ] {
        description.meets(
            "/v1/messages",
            "GET",
            &wrong(&format!("/v1/messages?{query}")),
        );
    }
    description.meets("/v1/events", "GET", &wrong("/v1/events?after=x"));
    description.meets("/v1/requests", "GET", &wrong("/v1/requests?limit=501"));
    description.meets("/v1/messages/{id}", "GET", &wrong("/v1/messages/x"));
    for body in [
        "{",
        "{}",
        r#"{"from":"1","to":"2"}"#,
        r#"{"from":"1","to":"<>","body":"x"}"#,
    ] {
        description.meets(
            "/v1/messages",
            "POST",
            &asks(&all, "POST", "/v1/messages", body),
        );
    }
    let media = value!({"from": OWN, "to": "+461", "media": ["https://example.org/1.jpg"]});
    let no_media = send(&bridge, ALL, None, &media);
    assert!(
        json(&no_media)["detail"]
            .as_str()
            .unwrap()
            .contains("pictures"),
        "{no_media:?}"
    );
    description.meets("/v1/messages", "POST", &no_media);
    description.meets(
        "/v1/messages",
        "POST",
        &send(&bridge, ALL, Some(&"k".repeat(201)), &media),
    );
    let large = " ".repeat(70_000);
    description.meets(
        "/v1/messages",
        "POST",
        &asks(&all, "POST", "/v1/messages", &large),
    );
    description.meets("/v1/messages", "POST", &post(&bridge, ALL, "/v1/messages"));
    let (reader_only, sender_only) = (bearer(READER), bearer(SENDER));
    for (path, method, at) in operations(&good) {
        description.meets(path, method, &asks(&all, "DELETE", &at, ""));
        let token = if method == "GET" {
            &sender_only
        } else {
            &reader_only
        };
        if path != "/openapi.json" {
            description.meets(path, method, &asks(token, method, &at, ""));
        }
    }

    // What is wrong with us.
    let home = bridge.root().join("srv/var/lib/switchhook/websms");
    std::fs::rename(home.join("spool.db"), home.join("elsewhere.db")).unwrap();
    for (path, method, at) in operations(&good) {
        let answer = match (path, method) {
            ("/v1/events" | "/openapi.json", _) => continue,
            (_, "POST") if path == "/v1/messages" => {
                send(&bridge, ALL, Some("k"), &message("+461", "good"))
            }
            _ => asks(&all, method, &at, ""),
        };
        assert_eq!(answer.status, 503, "{answer:?}");
        description.meets(path, method, &answer);
    }
    std::fs::rename(home.join("elsewhere.db"), home.join("spool.db")).unwrap();

    let late = dawdles.answer();
    assert_eq!(late.status, 408);
    description.meets("/v1/messages", "POST", &late);

    // Who is nobody, and then too often.
    for status in [401, 429] {
        for (path, method, at) in operations(&good) {
            let answer = wait_for(
                || Some(bridge.ask(method, &at, &[], b"")).filter(|answer| answer.status == status),
                "too many tries",
            );
            description.meets(path, method, &answer);
        }
    }
    let missing: Vec<_> = description
        .all()
        .difference(&description.met)
        .cloned()
        .collect();
    assert_eq!(missing, [], "described, and never met");
}
