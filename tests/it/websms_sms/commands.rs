//! What people ask, and how the command ends.

use std::io::Write;
use std::process::Stdio;

use crate::appliance::wait_for;
use crate::web::server::{Server, Told};
use crate::websms::bridge::{Bridge, form};

/// Takes webhooks at /hook, sends by 46elks as [1].
pub fn conf(server: &Server) -> String {
    let port = server.port;
    format!(
        "[websms]\nprofile [1] = 46elks\nauth_user [1] = u\nauth_secret [1] = p\nurl_host [1] = \"http://127.0.0.1:{port}\"\n\
         [websmsd]\nremt_addr = 127.0.0.1\nprox_addr = \"\"\nurl_path [1] = /elks\nurl_path [2] = /hook\n"
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn messages_are_listed_filtered_and_paged() {
    let server = Server::start(None, |_| Some(Told::ok(r#"{"id":"e1"}"#)));
    let bridge = Bridge::with(&conf(&server));
    for (from, body) in [
        ("+461", "first"),
        ("+462", "evil\u{1b}[2J\u{202e}text\nline"),
        ("+461", "third 😀"),
    ] {
        let answer = bridge.post("/hook", &form("+469", from, body));
        assert_eq!(answer.status, 200);
    }
    let sent = bridge.sms(&["send", "--from", "+469", "--to", "+461", "out"]);
    assert_eq!(sent.status.code(), Some(0));
    let id = text(&sent.stdout).trim().to_owned();
    assert_eq!(id.len(), 13, "{id}");

    let bodies = |words: &[&str]| -> Vec<String> {
        let list = bridge.sms_json(0, &[&["list"], words].concat());
        let all = list["messages"].as_array().unwrap().iter();
        all.map(|of| of["body"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(bodies(&[]).len(), 4);
    assert_eq!(bodies(&["--out"]), ["out"]);
    assert_eq!(bodies(&["--in"]).len(), 3);
    assert_eq!(bodies(&["--in", "--number", "+461"]), ["third 😀", "first"]);
    assert_eq!(bodies(&["--interface", "2"]).len(), 3);
    assert_eq!(bodies(&["--state", "delivered"]).len(), 0);
    let page = bridge.sms_json(0, &["list", "--in", "--limit", "2"]);
    let before = page["before"].as_str().unwrap();
    assert_eq!(
        bodies(&["--in", "--limit", "2", "--before", before]),
        ["first"]
    );

    let list = bridge.sms(&["list", "--in", "--limit", "2"]);
    let list = text(&list.stdout);
    assert!(list.starts_with("ID "), "{list}");
    assert!(
        list.contains("evil\\u{1b}[2J\\u{202e}text\\nline") && list.contains("third 😀"),
        "{list}"
    );
    assert!(list.contains(&format!("--before {before}")), "{list}");
    for words in [
        &["list", "--in", "--out"][..],
        &["list", "--limit", "0"],
        &["show"],
        &["send", "--to", "+461", "x"],
    ] {
        assert_eq!(bridge.sms(words).status.code(), Some(64), "{words:?}");
    }
    for words in [
        &["list", "--state", "happy"][..],
        &["list", "--before", "x"],
        &["show", "0000000000000"],
        &["retry", "0000000000000"],
        &["cancel", &id[1..]],
    ] {
        let out = bridge.sms(words);
        assert_eq!(out.status.code(), Some(1), "{words:?}");
        assert_eq!(text(&out.stdout), "");
    }
}

#[test]
fn a_bridge_that_is_away_is_told() {
    let mut bridge = Bridge::with("");
    bridge.is_killed();
    for words in [
        &["list"][..],
        &["status"],
        &["send", "--from", "1", "--to", "2", "x"],
    ] {
        let out = bridge.sms(words);
        assert_eq!(out.status.code(), Some(2), "{words:?}");
        let errors = text(&out.stderr);
        assert!(
            errors.contains("does not run") && errors.contains("hint: "),
            "{errors}"
        );
    }
}

#[test]
fn a_message_that_is_sent_is_followed() {
    let server = Server::start(None, |asked| {
        match String::from_utf8_lossy(&asked.body).contains("no+credit") {
            true => Some(Told::status(402)),
            false => Some(Told::ok(r#"{"id":"e1"}"#)),
        }
    });
    let bridge = Bridge::with(&conf(&server));
    let ends = ["send", "--from", "+469", "--to", "+461"];
    let taken = bridge.sms_json(0, &[&ends[..], &["--wait", "hello"]].concat());
    assert_eq!(taken["state"], "accepted");
    assert_eq!(taken["interface"], "1");
    let refused = bridge.sms_json(1, &[&ends[..], &["--wait", "no credit"]].concat());
    assert_eq!(refused["state"], "dead");
    // Nobody sends a receipt.
    let words = [&ends[..], &["--wait=delivered", "--timeout", "0", "hello"]].concat();
    let waiting = bridge.sms(&words);
    assert_eq!(waiting.status.code(), Some(2));

    // The text stands in no argument.
    let mut child = bridge
        .sms_command(&[&ends[..], &["--interface", "1", "-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("two\nlines\n".as_bytes()).unwrap();
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let id = text(&out.stdout);
    let shown = bridge.sms_json(0, &["show", id.trim()]);
    assert_eq!(shown["message"]["body"], "two\nlines");
    let picture = bridge.sms(&[&ends[..], &["--media", "https://x.example/1", "x"]].concat());
    assert_eq!(picture.status.code(), Some(1));
    assert!(text(&picture.stderr).contains("sends no pictures"));
    let unknown = bridge.sms(&[&ends[..], &["--interface", "9", "x"]].concat());
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("no interface [9]"));

    // What was refused is tried again by order.
    let dead = bridge.sms_json(0, &["list", "--state", "dead"]);
    let id = dead["messages"][0]["id"].as_str().unwrap().to_owned();
    let cancel = bridge.sms(&["cancel", &id]);
    assert_eq!(cancel.status.code(), Some(1));
    assert!(text(&cancel.stderr).contains("cannot be taken back"));
    assert_eq!(bridge.sms_json(0, &["retry", &id])["state"], "queued");
    let tried = || {
        let shown = bridge.sms_json(0, &["show", &id]);
        let history = shown["history"].as_array().unwrap().iter();
        let dead = history.filter(|of| of["what"] == "dead").count();
        (dead == 2).then_some(())
    };
    wait_for(tried, "it was not tried again");
}

#[test]
fn a_message_for_phones_is_taken_back_and_sent_again() {
    let server = Server::start(None, |_| None);
    // No user of the manager is there: nobody knows a phone, and messages wait for a place to write call files to.
    let mut bridge = Bridge::with(&conf(&server));
    bridge.configure(&format!(
        "{}[astqueue]\ndeliver = dialplan\noutgoingdir = /nowhere\n",
        conf(&server)
    ));
    bridge.reload();
    assert_eq!(
        bridge.post("/hook", &form("+469", "+461", "hi")).status,
        200
    );
    let list = bridge.sms_json(0, &["list"]);
    let id = list["messages"][0]["id"].as_str().unwrap().to_owned();
    let is = |wanted: &str| {
        let found = || {
            let shown = bridge.sms_json(0, &["show", &id]);
            (shown["message"]["state"] == wanted).then_some(shown)
        };
        wait_for(found, &format!("it is not {wanted}"))
    };
    is("held");
    assert_eq!(bridge.sms_json(0, &["cancel", &id])["state"], "cancelled");
    is("cancelled");
    let again = bridge.sms(&["cancel", &id]);
    assert_eq!(again.status.code(), Some(1));
    std::fs::create_dir_all(bridge.path("nowhere")).unwrap();
    assert_eq!(bridge.sms_json(0, &["retry", &id])["state"], "routed");
    // Who has had it is told.
    let shown = is("delivered");
    assert_eq!(shown["deliveries"][0]["contact"], "dialplan/call-file");
    assert_eq!(shown["deliveries"][0]["state"], "taken");
    let people = text(&bridge.sms(&["show", &id]).stdout);
    for part in ["state         delivered", "PHONES", "HISTORY", "  hi\n"] {
        assert!(people.contains(part), "{people}");
    }
    assert_eq!(bridge.sms(&["retry", &id]).status.code(), Some(1));
}

#[test]
fn the_requests_of_carriers_tell_why_they_were_refused() {
    let server = Server::start(None, |_| None);
    let bridge = Bridge::with(&conf(&server));
    assert_eq!(
        bridge.post("/hook", &form("+469", "+461", "hi")).status,
        200
    );
    assert_eq!(bridge.post("/nobody", "x").status, 404);
    assert_eq!(bridge.post("/hook", "To=%2B469&Body=x").status, 400);
    bridge.requests(3);
    let all = bridge.sms_json(0, &["requests"]);
    assert_eq!(all["requests"].as_array().unwrap().len(), 3);
    assert_eq!(all["requests"][0]["status"], 400);
    let refused = text(&bridge.sms(&["requests", "--refused"]).stdout);
    assert_eq!(refused.lines().count(), 3, "{refused}");
    assert!(refused.contains("refused: no interface takes requests from 127.0.0.1 at `/nobody`"));
    let status = bridge.sms_json(1, &["status"]);
    assert_eq!(status["interfaces"][0]["profile"], "46elks");
}
