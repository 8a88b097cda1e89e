//! The `autoban` command: its words, tables, JSON and exit codes.
//!
//! It is asked through its real socket, by the real binary. Behind the socket stands the real ledger in this process
//! instead of the daemon: so its moment stands still, no firewall is needed, and what is shown can be compared to the letter.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use switchhook::autoban::control::{Reply, Request, SCHEMA, SOCKET, Status};
use switchhook::autoban::evidence::{Evidence, Grade, Kind, Meaning};
use switchhook::autoban::ledger::{Ledger, Note};
use switchhook::autoban::policy::Policy;

use crate::appliance::{BINARY, Root};

const NOW: i64 = 1_800_000_000_000;

/// A root whose AutoBan answers until the test ends. One strong offender is in jail, one weak, and one is watched.
fn root() -> Root {
    let root = Root::bare();
    let socket = root.path(SOCKET);
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let mut ledger = Ledger::new(Policy::default());
    for (address, grade, count) in [
        ("192.0.2.7", Grade::Strong, 10),
        ("2001:db8:1:2::3", Grade::Strong, 10),
        ("198.51.100.9", Grade::Weak, 10),
        ("203.0.113.5", Grade::Weak, 3),
    ] {
        for account in 0..count {
            let evidence = Evidence {
                address: address.parse().unwrap(),
                grade,
                kind: Kind::WrongPassword,
                account,
            };
            ledger.step(Meaning::Against(evidence), NOW);
        }
    }
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&stream.unwrap(), &mut ledger);
        }
    });
    root
}

fn serve(mut stream: &UnixStream, ledger: &mut Ledger) {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let value = |v: &dyn erased::Value| v.value();
    let reply = match serde_json::from_str(&line).unwrap() {
        Request::Status => Reply::Status(Box::new(Status {
            schema: SCHEMA,
            enforcement: "kernel".to_owned(),
            connected: true,
            counts: value(&ledger.counts()),
            counters: vec![("events".to_owned(), 33), ("hostile frames".to_owned(), 0)],
            ..Status::default()
        })),
        Request::List { sets } => Reply::List {
            sets: sets
                .into_iter()
                .map(|set| (set, ledger.rows(set, NOW + 1000)))
                .map(|(set, rows)| (set, rows.iter().map(|row| value(row)).collect()))
                .collect(),
        },
        Request::Why { address } => {
            let why = ledger.why(address, NOW + 1000);
            Reply::Why {
                facts: value(&why),
                text: why.to_string(),
            }
        }
        Request::Manual { order } => {
            let outcome = ledger.manual(&order, NOW + 1000);
            let skipped = |note: &Note| match note {
                Note::Skipped { cidr, why } => Some(format!("{cidr}: {why}")),
                _ => None,
            };
            Reply::Done {
                changed: outcome.facts.len(),
                notes: outcome.notes.iter().filter_map(skipped).collect(),
            }
        }
    };
    let mut answer = serde_json::to_vec(&reply).unwrap();
    answer.push(b'\n');
    stream.write_all(&answer).unwrap();
}

/// `Serialize` as an object, for one closure over several types.
mod erased {
    pub trait Value {
        fn value(&self) -> serde_json::Value;
    }

    impl<T: serde::Serialize> Value for T {
        fn value(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap()
        }
    }
}

/// Exit code, stdout and stderr of `switchhook autoban ...`.
fn autoban(root: &Root, words: &[&str]) -> (i32, String, String) {
    root.ask(&[&["autoban"], words].concat())
}

/// It must end with this exit code and say nothing on stderr; what it printed.
fn printed(root: &Root, code: i32, words: &[&str]) -> String {
    let (found, out, err) = autoban(root, words);
    assert_eq!((found, err.as_str()), (code, ""), "{words:?}: {out}");
    out
}

#[test]
fn the_sets_as_tables_and_as_bare_addresses() {
    let root = root();
    insta::assert_snapshot!(printed(&root, 0, &["list", "--long"]), @"
    watch: 2 entries
    ADDRESS       COUNT
    198.51.100.9
    203.0.113.5       3

    parole: 2 entries
    ADDRESS              LEFT  COUNT  WHY
    192.0.2.7          39m59s      1  wrong password
    2001:db8:1:2::/64  39m59s      1  wrong password

    jail: 2 entries
    ADDRESS              LEFT  COUNT  WHY
    192.0.2.7          19m59s      1  wrong password
    2001:db8:1:2::/64  19m59s      1  wrong password

    white: empty

    black: empty

    weak: 1 entry
    ADDRESS        LEFT  COUNT  WHY
    198.51.100.9  1m59s      1  wrong password
    ");
    // In a pipe, as the predecessor printed them.
    assert_eq!(
        printed(&root, 0, &["list", "jail"]),
        "192.0.2.7 2001:db8:1:2::/64\n"
    );
    assert_eq!(
        printed(&root, 0, &["l", "weak", "white"]),
        "weak: 198.51.100.9\nwhite:\n"
    );
    insta::assert_snapshot!(printed(&root, 0, &["list", "weak", "--json"]), @r#"{"schema":1,"sets":[{"set":"weak","entries":[{"address":"198.51.100.9","left_s":119,"count":1,"why":"wrong password","comment":""}]}]}"#);
}

#[test]
fn how_it_does() {
    let root = root();
    let shown = printed(&root, 0, &["show"]);
    insta::assert_snapshot!(shown, @"
    AutoBan: the kernel drops
    Asterisk: listening to its security events

    SOURCES                           COUNT
    watched                               2
    in jail and on parole                 2
    networks in jail                      0
    closed for SIP over UDP               1
    trusted                               0
    on the white list                     0
    on the black list                     0
    forgotten for want of room            0

    SINCE ITS START        COUNT
    events                    33
    hostile frames             0
    ");
    assert_eq!(printed(&root, 0, &[]), shown);
    let json: serde_json::Value =
        serde_json::from_str(&printed(&root, 0, &["show", "--json"])).unwrap();
    assert_eq!(
        (&json["schema"], &json["counts"]["watch"]),
        (&1.into(), &2.into())
    );
}

#[test]
fn why_says_it_in_words_in_json_and_by_its_exit_code() {
    let root = root();
    insta::assert_snapshot!(printed(&root, 0, &["why", "192.0.2.7"]), @"
    192.0.2.7 counts as 192.0.2.7
    in jail for 19m59s (sentence 1, wrong password)
    ");
    insta::assert_snapshot!(printed(&root, 0, &["why", "2001:db8:1:2:ffff::1"]), @"
    2001:db8:1:2:ffff::1 counts as 2001:db8:1:2::/64
    in jail for 19m59s (sentence 1, wrong password)
    ");
    insta::assert_snapshot!(printed(&root, 0, &["why", "198.51.100.9"]), @"
    198.51.100.9 counts as 198.51.100.9
    SIP over UDP is closed for 1m59s (wrong password, which can be forged)
    ");
    insta::assert_snapshot!(printed(&root, 1, &["why", "203.0.113.5"]), @"
    203.0.113.5 counts as 203.0.113.5
    watched: 0 proven and 3 forgeable events, 10 are enough
    ");
    insta::assert_snapshot!(printed(&root, 1, &["why", "203.0.113.99"]), @"
    203.0.113.99 counts as 203.0.113.99
    nothing is held against it
    ");
    insta::assert_snapshot!(printed(&root, 1, &["why", "127.0.0.1"]), @"
    127.0.0.1 counts as 127.0.0.1
    never banned: an address of this host
    ");
    insta::assert_snapshot!(printed(&root, 0, &["why", "192.0.2.7", "--json"]), @r#"{"schema":1,"address":"192.0.2.7","verdict":"banned","standing":"stranger","white":null,"black":null,"jail":{"left_s":1199,"number":1,"why":"wrong password","comment":""},"parole":null,"network":null,"weak":null,"strong_events":0,"weak_events":0,"enough":10,"trusted_for_s":null,"lists":[]}"#);
}

#[test]
fn the_set_algebra_by_hand() {
    let root = root();
    let list = |set: &str| printed(&root, 0, &["list", set]);
    // All who are watched.
    assert_eq!(
        printed(&root, 0, &["add", "jail", "parole", "=", "watch"]),
        "4 changes\n"
    );
    assert_eq!(
        list("jail"),
        "192.0.2.7 198.51.100.9 203.0.113.5 2001:db8:1:2::/64\n"
    );
    assert_eq!(list("watch"), "\n");
    // With a time and a comment.
    let words = [
        "a",
        "jail=198.51.100.0/24",
        "2001:db8:7::/48",
        "for",
        "1d2h",
    ];
    let words = [&words[..], &["--comment", "calls\u{1b} at night"]].concat();
    assert_eq!(printed(&root, 0, &words), "2 changes\n");
    let table = printed(&root, 0, &["list", "jail", "--long"]);
    assert!(table.contains("198.51.100.0/24      1d2h"), "{table}");
    assert!(table.contains("calls\\u{1b} at night"), "{table}");
    // The white list wins, and what is on it cannot be jailed.
    assert_eq!(
        printed(&root, 0, &["add", "white", "=", "192.0.2.7"]),
        "3 changes\n"
    );
    assert_eq!(printed(&root, 1, &["why", "192.0.2.7"]).lines().count(), 2);
    assert_eq!(
        printed(&root, 1, &["add", "jail", "=", "192.0.2.7"]),
        "nothing changed\n192.0.2.7: it is on the white list, or it is this host or its gateway\n"
    );
    // Without a left side: the black list, and every set.
    assert_eq!(printed(&root, 0, &["add", "203.0.113.9"]), "1 change\n");
    assert_eq!(list("blacklist"), "203.0.113.9\n");
    assert_eq!(printed(&root, 0, &["delete", "203.0.113.9"]), "1 change\n");
    assert_eq!(
        printed(&root, 0, &["del", "203.0.113.9"]),
        "nothing changed\n"
    );
    assert_eq!(
        printed(&root, 0, &["del", "jail", "=", "all", "--json"]),
        "{\"schema\":1,\"changed\":6,\"notes\":[]}\n"
    );
    printed(&root, 0, &["del", "all", "=", "all"]);
    assert_eq!(
        list("all"),
        "watch:\nparole:\njail:\nwhite:\nblack:\nweak:\n"
    );
}

#[test]
fn under_its_own_name() {
    let root = root();
    let run = |words: &[&str]| {
        let mut command = Command::new(BINARY);
        let place = root.dir.path().to_str().unwrap();
        let out = command
            .arg0("/usr/bin/autoban")
            .args([words, &["--root", place]].concat())
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        (out.status.code(), text)
    };
    assert_eq!(
        run(&["list", "weak"]),
        (Some(0), "198.51.100.9\n".to_owned())
    );
    let out = Command::new(BINARY).arg0("autoban").arg("help").output();
    let help = String::from_utf8(out.unwrap().stdout).unwrap();
    assert!(help.contains("autoban add jail parole = watch"), "{help}");
    assert!(help.contains("Usage: autoban"), "{help}");
    assert_eq!(run(&["fly"]).0, Some(64));
}

#[test]
fn wrong_words_and_an_absent_daemon_have_their_exit_codes() {
    let root = root();
    let (code, out, err) = autoban(&root, &["add", "jial", "=", "192.0.2.7"]);
    assert_eq!((code, out.as_str()), (64, ""));
    insta::assert_snapshot!(err, @"
    switchhook: `jial` is no set, no address and no network
    hint: sets are watch, parole, jail, white, black, weak and all; addresses such as 192.0.2.7, 192.0.2.0/24, 2001:db8::/48
    ");
    assert_eq!(autoban(&root, &["list", "house"]).0, 64);
    assert_eq!(autoban(&root, &["why", "example.org"]).0, 64);
    let lonely = Root::bare();
    let (code, out, err) = autoban(&lonely, &["list"]);
    assert_eq!((code, out.as_str()), (2, ""));
    let place = lonely.dir.path().display().to_string();
    insta::assert_snapshot!(err.replace(&place, ""), @"
    switchhook: AutoBan does not run: cannot connect to `/run/autoban/control.sock`: No such file or directory (os error 2)
    hint: `switchhook status autoban` and `switchhook logs autoban` say why; without /srv/etc/asterisk/autoban.conf it is off
    ");
}

#[test]
fn the_configuration_is_checked_with_file_and_line() {
    let root = Root::bare();
    let file = "srv/etc/asterisk/autoban.conf";
    let check = |root: &Root, words: &[&str]| {
        let (code, out, err) = autoban(root, &[&["check"], words].concat());
        let place = root.dir.path().display().to_string();
        (code, (out + &err).replace(&place, ""))
    };
    let (code, text) = check(&root, &[]);
    assert_eq!(code, 78);
    insta::assert_snapshot!(text, @"
    switchhook: cannot read `/srv/etc/asterisk/autoban.conf`: No such file or directory (os error 2)
    hint: without autoban.conf AutoBan is off; docs/reference/autoban-conf.md tells its keys
    ");
    // The predecessor's file.
    root.file(
        file,
        "[asmanager]\nserver = 127.0.0.1\nport = 5038\nusername = autoban\nsecret = 6003.438\n\n[autoban]\nenabled = true\nmaxcount = 10\nwatchtime = 20m\njailtime = 20m\nrepeatmult = 6\n",
    );
    let (code, text) = check(&root, &[]);
    assert_eq!(
        (code, text.as_str()),
        (
            0,
            "/srv/etc/asterisk/autoban.conf: no mistakes; AutoBan is on\n"
        )
    );
    root.file(
        "srv/etc/asterisk/manager.conf",
        "[autoban]\nsecret = another\n",
    );
    root.file(
        "x/autoban.conf",
        "[asmanager]\nsecret = 6003.438\n[autoban]\nenabled = no\nmaxcount = ten\nmaxcuont = 10\n",
    );
    let (code, text) = check(&root, &[]);
    assert_eq!(code, 78);
    assert!(
        !text.contains("6003.438") && !text.contains("another"),
        "{text}"
    );
    insta::assert_snapshot!(text, @"
    /srv/etc/asterisk/autoban.conf: the secret is not that of [autoban] in `/srv/etc/asterisk/manager.conf`; Asterisk will refuse it
    hint: leave `secret` out of autoban.conf: then the one of manager.conf is taken
    1 mistake; AutoBan is on
    ");
    let other = root.path("x/autoban.conf").display().to_string();
    let (code, text) = check(&root, &[&other]);
    assert_eq!(code, 78);
    insta::assert_snapshot!(text, @"
    /x/autoban.conf:5: maxcount = ten: that is no whole number; the default holds
    hint: write 1 to 1000 in digits
    /x/autoban.conf:6: `maxcuont` is no key of this section
    hint: did you mean maxcount?
    2 mistakes; AutoBan is off: `enabled = no`
    ");
    let (_, json) = check(&root, &[&other, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["schema"], &json["mistakes"][0]["line"]),
        (&1.into(), &5.into())
    );
}
