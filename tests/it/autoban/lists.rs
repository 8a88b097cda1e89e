//! Imported block lists: from a foreign server or a file into the kernel, and back again after everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Guard, SECRET, started};
use crate::appliance::wait_for;
use crate::autoban::pbx::Pbx;
use crate::firewall::wire::{Wire, in_namespace, run};
use crate::web::server::{Server, Told};

/// What the lists' sets hold in the kernel, whichever table stands.
fn listed() -> BTreeSet<String> {
    let json: Value = serde_json::from_str(&run("nft", &["-j", "list", "ruleset"])).unwrap();
    let items = json["nftables"].as_array().unwrap();
    let stands = |table: &Value| items.iter().any(|item| &item["chain"]["table"] == table);
    let sets = items.iter().map(|item| &item["set"]).filter(|set| {
        set["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("list"))
            && stands(&set["table"])
    });
    let mut all = BTreeSet::new();
    for set in sets {
        let length = set["name"].as_str().unwrap().rsplit('_').next().unwrap();
        for item in set["elem"].as_array().into_iter().flatten() {
            let value = item["elem"]["val"].as_str().unwrap();
            all.insert(format!("{value}/{length}"));
        }
    }
    all
}

fn is_listed(expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|e| (*e).to_owned()).collect();
    wait_for(
        || (listed() == expected).then_some(()),
        &format!("the kernel never had {expected:?}"),
    );
}

/// The first import's part of the status.
fn import(guard: &Guard) -> Value {
    guard.ask(r#"{"command":"status"}"#)["imports"][0].clone()
}

/// A server whose answer the test can change; it knows its content by its ETag.
fn library() -> (Server, Arc<Mutex<Told>>) {
    let told = Arc::new(Mutex::new(Told::status(404)));
    let answer = Arc::clone(&told);
    let server = Server::start(None, move |asked| {
        let told = answer.lock().unwrap().clone();
        let etag = told.headers.iter().find(|(name, _)| *name == "ETag");
        let is_known = etag.is_some_and(|(_, etag)| asked.header("if-none-match") == etag);
        Some(if is_known { Told::status(304) } else { told })
    });
    (server, told)
}

fn content(text: &str, etag: &str) -> Told {
    Told {
        headers: vec![
            ("ETag", etag.to_owned()),
            ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        ],
        ..Told::ok(text)
    }
}

#[test]
fn who_is_listed_is_dropped_and_the_white_list_wins() {
    let name = "autoban::lists::who_is_listed_is_dropped_and_the_white_list_wins";
    in_namespace(name, || {
        let all = [
            "192.0.2.9",
            "192.0.2.77",
            "198.51.100.7",
            "198.51.100.8",
            "2001:db8:1::1",
        ];
        let wire = Wire::to(&all);
        let (server, told) = library();
        let text = "; a list\n192.0.2.0/24 ; SBL1\n198.51.100.7\n203.0.113.1\nhost\n10.0.0.1\n2001:db8:1::/48\n";
        *told.lock().unwrap() = content(text, "\"1\"");
        let from = format!("http://127.0.0.1:{}/list.txt", server.port);
        let conf = format!("whitelist = 192.0.2.77\nimport = {from}?token=hunter2, 1h");
        let (mut guard, _pbx, _session) = started(&conf);
        let asked = server.next();
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("GET", "/list.txt?token=hunter2")
        );
        let entries = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8:1::/48"];
        is_listed(&entries);
        let through = || {
            wire.through(7000, &all)
                .iter()
                .map(ToString::to_string)
                .collect::<BTreeSet<_>>()
        };
        let expected = BTreeSet::from(["192.0.2.77", "198.51.100.8"].map(str::to_owned));
        assert_eq!(through(), expected);
        guard.counts("packets list4", 2);
        guard.counts("packets list6", 1);
        let status = guard.ask(r#"{"command":"status"}"#);
        assert_eq!(status["problems"], Value::Array(vec![]));
        assert_eq!(status["counts"]["offenders"], 0);
        let it = &status["imports"][0];
        assert_eq!(
            (&it["from"], &it["entries"], &it["left_out"]),
            (&Value::from(from.as_str()), &3.into(), &3.into())
        );
        assert!(it["fetched"].is_string() && it["error"].is_null(), "{it}");
        assert!(
            (3000..=3600).contains(&it["left_s"].as_u64().unwrap()),
            "{it}"
        );
        let why = guard.ask(r#"{"command":"why","address":"192.0.2.9"}"#);
        let text = why["text"].as_str().unwrap();
        assert!(
            text.contains(&format!("on the block list {from}: 192.0.2.0/24, for ")),
            "{text}"
        );
        assert_eq!(why["facts"]["lists"][0]["entry"], "192.0.2.0/24");
        // What another program removes comes again, and so it does with another white list.
        run("nft", &["flush", "ruleset"]);
        guard.hears("the kernel's table is there again");
        is_listed(&entries);
        assert_eq!(through(), expected);
        guard.ask(r#"{"command":"manual","order":{"add":{"to":["white"],"what":[{"cidr":"198.51.100.7"}],"time":null,"comment":""}}}"#);
        assert!(through().contains("198.51.100.7"));
        is_listed(&entries);
        assert!(guard.stops());
        assert!(
            guard
                .all_lines()
                .contains("1 lines are no address; the first is line 5, `host`")
        );
        assert!(
            guard
                .all_lines()
                .contains("2 entries are not blocked; the first is line 4, `203.0.113.1`")
        );
        assert!(!guard.all_lines().contains("hunter2"));
        // The kernel goes on without the daemon, as with bans.
        assert!(!through().contains("192.0.2.9"));
    });
}

#[test]
fn another_content_takes_the_place_of_the_old() {
    let name = "autoban::lists::another_content_takes_the_place_of_the_old";
    in_namespace(name, || {
        let (server, told) = library();
        *told.lock().unwrap() = content("192.0.2.1\n192.0.2.2\n", "\"1\"");
        let conf = format!("import = http://127.0.0.1:{}/, 1h", server.port);
        let (mut guard, pbx, _session) = started(&conf);
        assert_eq!(server.next().header("if-none-match"), "");
        is_listed(&["192.0.2.1/32", "192.0.2.2/32"]);
        guard.reload();
        let asked = server.next();
        assert_eq!(asked.header("if-none-match"), "\"1\"");
        assert_eq!(
            asked.header("if-modified-since"),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        guard.counts("block lists fetched", 2);
        *told.lock().unwrap() = content("192.0.2.2\n192.0.2.3\n", "\"2\"");
        guard.reload();
        is_listed(&["192.0.2.2/32", "192.0.2.3/32"]);
        // A page that is no list, and a server that fails, change nothing.
        for bad in [
            Told::ok("<html>log in</html>"),
            Told::status(500),
            Told::ok(&"1.1.1.1\n".repeat(3 << 20)),
        ] {
            *told.lock().unwrap() = bad;
            guard.reload();
            wait_for(
                || import(&guard)["error"].as_str().map(drop),
                "no error was told",
            );
            assert_eq!(import(&guard)["entries"], 2);
            *told.lock().unwrap() = content("192.0.2.2\n192.0.2.3\n", "\"2\"");
            guard.reload();
            wait_for(
                || import(&guard)["error"].is_null().then_some(()),
                "the error never went",
            );
        }
        is_listed(&["192.0.2.2/32", "192.0.2.3/32"]);
        guard.hears("cannot fetch the block list");
        guard.configure(&pbx, "");
        guard.reload();
        is_listed(&[]);
        wait_for(
            || (run("nft", &["list", "tables"]) == "table inet autoban\n").then_some(()),
            "the lists' table never went",
        );
    });
}

#[test]
fn a_restart_without_a_network_has_the_lists() {
    in_namespace(
        "autoban::lists::a_restart_without_a_network_has_the_lists",
        || {
            let (server, told) = library();
            *told.lock().unwrap() = content("192.0.2.1\n", "\"1\"");
            let conf = format!("import = http://127.0.0.1:{}/, 1h", server.port);
            let (mut guard, pbx, _session) = started(&conf);
            is_listed(&["192.0.2.1/32"]);
            assert!(guard.stops());
            run("nft", &["flush", "ruleset"]);
            *told.lock().unwrap() = Told::status(503);
            let directory = guard
                .root
                .path()
                .join("srv/var/lib/switchhook/autoban/lists");
            let copies: Vec<_> = std::fs::read_dir(&directory)
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect();
            let [copy] = copies.as_slice() else {
                panic!("{copies:?}")
            };
            let half_an_hour_ago = SystemTime::now() - Duration::from_secs(1800);
            let file = File::options().append(true).open(copy).unwrap();
            file.set_modified(half_an_hour_ago).unwrap();
            guard.start(&[]);
            guard.hears("has 1 entries, from the copy that was kept");
            guard.hears(
                "it answers with status 503; what it held before holds until its time is over",
            );
            is_listed(&["192.0.2.1/32"]);
            let left = import(&guard)["left_s"].as_u64().unwrap();
            assert!((1000..=1800).contains(&left), "{left}");
            assert_eq!(
                guard.ask(r#"{"command":"status"}"#)["problems"],
                Value::Array(vec![])
            );
            assert!(guard.stops());
            // A copy whose time is over protects nobody, and that is a problem.
            file.set_modified(half_an_hour_ago - Duration::from_secs(1801))
                .unwrap();
            run("nft", &["flush", "ruleset"]);
            guard.start(&[]);
            let _session = pbx.accept();
            guard.hears("it answers with status 503");
            let problems = guard.ask(r#"{"command":"status"}"#)["problems"].to_string();
            assert!(
                problems.contains("is not there: http://127.0.0.1"),
                "{problems}"
            );
            is_listed(&[]);
        },
    );
}

#[test]
fn a_list_in_a_file_is_read_below_the_root() {
    in_namespace(
        "autoban::lists::a_list_in_a_file_is_read_below_the_root",
        || {
            let pbx = Pbx::with_secret(SECRET);
            let mut guard = Guard::volume(
                &pbx,
                "import = /srv/list.txt, 1h\nimport = /srv/none.txt, 1h",
            );
            guard.file("srv/list.txt", "192.0.2.1\n2001:db8::1\n");
            guard.start(&[]);
            is_listed(&["192.0.2.1/32", "2001:db8::1/128"]);
            guard.hears("srv/none.txt`: No such file");
            let of = |status: &Value| -> BTreeMap<String, u64> {
                let all = status["imports"].as_array().unwrap();
                let pair =
                    |it: &Value| Some((it["from"].as_str()?.to_owned(), it["entries"].as_u64()?));
                all.iter().filter_map(pair).collect()
            };
            let status = guard.ask(r#"{"command":"status"}"#);
            assert_eq!(
                of(&status),
                BTreeMap::from([
                    ("/srv/list.txt".to_owned(), 2),
                    ("/srv/none.txt".to_owned(), 0)
                ])
            );
            guard.file("srv/none.txt", "192.0.2.3\n");
            guard.reload();
            is_listed(&["192.0.2.1/32", "192.0.2.3/32", "2001:db8::1/128"]);
            assert_eq!(
                guard.ask(r#"{"command":"status"}"#)["problems"],
                Value::Array(vec![])
            );
        },
    );
}
