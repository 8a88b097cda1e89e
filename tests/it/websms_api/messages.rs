//! Sending, reading and deciding, and who may.

use std::collections::BTreeSet;

use serde_json::json as value;

use super::*;

#[test]
fn a_key_stands_for_one_message_however_often_and_at_once_it_comes() {
    let carrier = carrier();
    let mut bridge = Bridge::with(&conf(&carrier, ""));
    let message = value!({"from": OWN, "to": "+461", "body": "Hej \"å\" 😀\n"});
    // All of them are under way before the first is answered.
    let mut lines: Vec<Line> = (0..64).map(|_| bridge.connect()).collect();
    for line in &mut lines {
        ask_to_send(line, ALL, Some("race"), &message);
    }
    let answers: BTreeSet<String> = lines
        .into_iter()
        .map(|line| {
            let answer = line.answer();
            assert_eq!(answer.status, 202, "{answer:?}");
            answer.body
        })
        .collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(bridge.messages().len(), 1);
    assert_eq!(bridge.messages()[0].body, "Hej \"å\" 😀\n");
    bridge.is_killed();
    bridge.start();
    let again = send(&bridge, ALL, Some("race"), &message);
    assert_eq!(BTreeSet::from([again.body]), answers);
    // Another text, another number, another interface: another message.
    for other in [
        value!({"from": OWN, "to": "+461", "body": "Hej"}),
        value!({"from": OWN, "to": "+462", "body": "Hej \"å\" 😀\n"}),
        value!({"from": OWN, "to": "+461", "body": "Hej \"å\" 😀\n", "interface": "1"}),
    ] {
        let refused = send(&bridge, ALL, Some("race"), &other);
        assert_eq!(
            (refused.status, &json(&refused)["code"]),
            (422, &value!("key-used"))
        );
    }
    // Another client's key of the same name is another key, and without one each request is a message.
    let of_crm = id(&send(&bridge, CRM, Some("race"), &message));
    let first = id(&send(&bridge, ALL, None, &message));
    let second = id(&send(&bridge, ALL, None, &message));
    assert_eq!(BTreeSet::from([of_crm, first, second]).len(), 3);
    assert_eq!(bridge.messages().len(), 4);
}

#[test]
fn a_token_with_numbers_sends_from_them_and_sees_theirs() {
    let carrier = carrier();
    let bridge = Bridge::with(&conf(&carrier, ""));
    let own_in = comes_in(&bridge, OWN, "for us");
    let other_in = comes_in(&bridge, OTHER, "for others");
    let own_out = id(&send(
        &bridge,
        CRM,
        None,
        &value!({"from": OWN, "to": "+461", "body": "x"}),
    ));
    let other_out = value!({"from": OTHER, "to": "+461", "body": "x"});
    let refused = send(&bridge, CRM, None, &other_out);
    assert_eq!(
        (refused.status, &json(&refused)["code"]),
        (403, &value!("forbidden"))
    );
    let other_out = id(&send(&bridge, ALL, None, &other_out));
    let to_own = value!({"from": OTHER, "to": OWN, "body": "x"});
    let to_own = id(&send(&bridge, ALL, None, &to_own));
    let ids = |token: &str, query: &str| -> BTreeSet<String> {
        let page = json(&get(&bridge, token, &format!("/v1/messages?{query}")));
        let messages = page["messages"].as_array().unwrap().iter();
        messages
            .map(|m| m["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let set =
        |ids: &[&String]| -> BTreeSet<String> { ids.iter().map(|id| (*id).clone()).collect() };
    assert_eq!(ids(CRM, ""), set(&[&own_in, &own_out, &to_own]));
    assert_eq!(ids(CRM, "direction=in"), set(&[&own_in]));
    assert_eq!(ids(CRM, "number=46709999999"), set(&[&to_own]));
    assert_eq!(
        ids(ALL, ""),
        set(&[&own_in, &other_in, &own_out, &other_out, &to_own])
    );
    assert_eq!(
        ids(ALL, "number=0046709999999"),
        set(&[&other_in, &other_out, &to_own])
    );
    assert_eq!(
        ids(ALL, "interface=1&direction=out"),
        set(&[&own_out, &other_out, &to_own])
    );
    assert_eq!(ids(ALL, "interface=2"), set(&[]));
    // What it does not see is not there; what it only receives is not its to decide.
    for path in ["", "/retry", "/cancel"] {
        let path = format!("/v1/messages/{other_in}{path}");
        let asked = if path.ends_with(&other_in) { get } else { post };
        assert_eq!(asked(&bridge, CRM, &path).status, 404, "{path}");
    }
    assert_eq!(
        get(&bridge, CRM, &format!("/v1/messages/{to_own}")).status,
        200
    );
    assert_eq!(
        post(&bridge, CRM, &format!("/v1/messages/{to_own}/retry")).status,
        403
    );
    assert_eq!(get(&bridge, CRM, "/v1/requests").status, 403);
    assert_eq!(get(&bridge, SENDER, "/v1/messages").status, 403);
    let message = value!({"from": OWN, "to": "+461", "body": "x"});
    assert_eq!(send(&bridge, READER, None, &message).status, 403);
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let carrier = carrier();
    let bridge = Bridge::with(&conf(&carrier, ""));
    let mut sent: Vec<String> = (0..5)
        .map(|n| {
            id(&send(
                &bridge,
                ALL,
                None,
                &value!({"from": OWN, "to": "+461", "body": n.to_string()}),
            ))
        })
        .collect();
    sent.reverse();
    let (mut path, mut found) = ("/v1/messages?limit=2".to_owned(), Vec::new());
    let mut sizes = Vec::new();
    loop {
        let page = json(&get(&bridge, ALL, &path));
        let messages = page["messages"].as_array().unwrap();
        sizes.push(messages.len());
        found.extend(
            messages
                .iter()
                .map(|m| m["id"].as_str().unwrap().to_owned()),
        );
        // What comes meanwhile is on no later page.
        send(
            &bridge,
            ALL,
            None,
            &value!({"from": OWN, "to": "+461", "body": "new"}),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/messages?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((found, sizes), (sent, vec![2, 2, 1]));
}

#[test]
fn people_decide_over_the_api() {
    let server = Server::start(None, |asked| {
        let is_first = String::from_utf8_lossy(&asked.body).contains("first");
        Some(if is_first {
            Told::ok("{}")
        } else {
            Told::status(500)
        })
    });
    let bridge = Bridge::with(&conf(&server, ""));
    let first = id(&send(
        &bridge,
        ALL,
        None,
        &value!({"from": OWN, "to": "+461", "body": "first"}),
    ));
    let shown = becomes(&bridge, &first, "accepted");
    assert_eq!(
        shown["history"].as_array().unwrap().last().unwrap()["state"],
        "accepted"
    );
    for word in ["retry", "cancel"] {
        let refused = post(&bridge, ALL, &format!("/v1/messages/{first}/{word}"));
        assert_eq!(
            (refused.status, &json(&refused)["code"]),
            (409, &value!("wrong-state"))
        );
    }
    let second = id(&send(
        &bridge,
        ALL,
        None,
        &value!({"from": OWN, "to": "+462", "body": "second"}),
    ));
    crate::appliance::wait_for(
        || {
            let shown = json(&get(&bridge, ALL, &format!("/v1/messages/{second}")));
            (shown["state"] == "queued" && shown["tries"] == 1).then_some(())
        },
        "the carrier's refusal",
    );
    assert_eq!(
        post(&bridge, ALL, &format!("/v1/messages/{second}/retry")).status,
        200
    );
    let cancelled = crate::appliance::wait_for(
        || {
            // While it is with the carrier it cannot be taken back.
            let answer = post(&bridge, ALL, &format!("/v1/messages/{second}/cancel"));
            (answer.status == 200).then(|| json(&answer))
        },
        "it is not taken back",
    );
    assert_eq!(cancelled["state"], "cancelled");
    // Of what is for phones their deliverer decides.
    let incoming = comes_in(&bridge, OTHER, "x");
    let wished = post(&bridge, ALL, &format!("/v1/messages/{incoming}/cancel"));
    assert_eq!(wished.status, 202, "{wished:?}");
}

#[test]
fn who_has_no_token_is_told_so_and_slowed_down() {
    let carrier = carrier();
    let mut bridge = Bridge::with(&conf(&carrier, ""));
    let asks = |token: &str, from: &str| {
        let headers = [("Authorization", token), ("X-Forwarded-For", from)];
        bridge.ask("GET", "/v1/messages", &headers, b"")
    };
    let wrong = bearer("hunter2-hunter2-hunter2");
    let refused = asks(&wrong, "192.0.2.1");
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer realm=\"websms\"")
    );
    assert_eq!(
        refused.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(asks("Basic eDp5", "192.0.2.1").status, 401);
    // A page on another site, and what a stranger asks for, are no token either.
    assert_eq!(
        bridge
            .ask("GET", &format!("/v1/messages?access_token={ALL}"), &[], b"")
            .status,
        401
    );
    let blocked = (0..100).find_map(|_| {
        let answer = asks(&wrong, "192.0.2.1");
        (answer.status == 429).then_some(answer)
    });
    assert!(blocked.unwrap().header("retry-after").is_some());
    // Others are not meant, and not those who have one.
    assert_eq!(asks(&bearer(ALL), "192.0.2.2").status, 200);
    let found = bridge.requests(3);
    let of = |peer: &str| {
        found
            .iter()
            .filter(|r| r.peer == peer && r.status == 401)
            .count()
    };
    assert!((3..=20).contains(&of("192.0.2.1")), "{found:?}");
    assert!(found.iter().all(|r| r.path == "/v1/messages"), "{found:?}");
    let listed = json(&get(&bridge, ALL, "/v1/requests?limit=2"));
    assert_eq!(listed["requests"].as_array().unwrap().len(), 2);
    assert_eq!(listed["requests"][0]["status"], 401);
    let said = bridge.all_that_was_said().join("\n");
    assert!(
        said.contains("401, the API: this token is not known"),
        "{said}"
    );
    assert!(!said.contains("hunter2") && !said.contains(ALL), "{said}");
}

#[test]
fn the_api_begins_with_a_token_and_takes_no_path_of_a_carrier() {
    let carrier = carrier();
    let port = carrier.port;
    let without = format!(
        "[websms]\nurl_host [1] = \"http://127.0.0.1:{port}\"\n[websmsd]\nprox_addr = \"\"\nurl_path [1] = /hook\n"
    );
    let mut bridge = Bridge::with(&without);
    let nothing = get(&bridge, ALL, "/v1/messages");
    assert_eq!(
        (nothing.status, nothing.body.as_str()),
        (404, "there is nothing here\n")
    );
    assert_eq!(get(&bridge, ALL, "/openapi.json").status, 404);
    bridge.configure(&format!(
        "{without}url_path [2] = /v1/messages\n[api]\ntoken [all] = {ALL}\ntoken [short] = abc\n"
    ));
    bridge.reload();
    bridge.says("url_path: /v1/messages lies where the API is; it stays the carrier's");
    bridge.says("the token is shorter than 16 signs; this client is left out");
    assert_eq!(
        bridge
            .post("/v1/messages", &form("+461", "+462", "carrier"))
            .status,
        200
    );
    assert_eq!(get(&bridge, ALL, "/v1/requests").status, 200);
    assert_eq!(get(&bridge, ALL, "/v1/elsewhere").status, 404);
    // A mistake in it stops the API and nothing else.
    bridge.configure(&format!("{without}[api]\ntoken [all] = abc\n"));
    bridge.reload();
    assert_eq!(get(&bridge, ALL, "/v1/requests").status, 404);
    assert_eq!(
        bridge
            .post("/hook", &form("+461", "+462", "carrier"))
            .status,
        200
    );
}

#[test]
fn a_receipt_finds_the_message_of_the_interface_without_index() {
    let carrier = Server::start(None, |_| {
        Some(Told::ok(r#"{"sid":"SM1","status":"queued"}"#))
    });
    let port = carrier.port;
    let bridge = Bridge::with(&format!(
        "[websms]\nprofile = twilio\nauth_user = AC1\nauth_secret = x\nparam_account = AC1\nurl_host = \"http://127.0.0.1:{port}\"\n\
         [websmsd]\nverify = no\nprox_addr = \"\"\nurl_path = /hook\nremt_addr = 127.0.0.1\n[api]\ntoken [all] = {ALL}\n"
    ));
    let sent = id(&send(
        &bridge,
        ALL,
        None,
        &value!({"from": OWN, "to": "+461", "body": "x"}),
    ));
    let shown = becomes(&bridge, &sent, "accepted");
    assert_eq!(
        (&shown["interface"], &shown["provider_id"]),
        (&value!("websms"), &value!("SM1"))
    );
    assert_eq!(
        bridge
            .post("/hook", "MessageSid=SM1&MessageStatus=delivered")
            .status,
        200
    );
    becomes(&bridge, &sent, "delivered");
    let found = json(&get(&bridge, ALL, "/v1/messages?interface=websms"));
    assert_eq!(found["messages"].as_array().unwrap().len(), 1);
}
