//! `switchhook acl` as a process: files, databases, exit codes, words and what it says to Asterisk.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const ACL: &str = "\
; years of work
[nobody](!)
deny = 0.0.0.0/0   ; all of them
deny = ::/0

[home](nobody)
permit = 192.168.0.0/16
#tryinclude more.conf

[odd] ; no rules yet
";

struct House {
    root: TempDir,
}

impl House {
    fn new() -> House {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("srv/etc/asterisk")).unwrap();
        fs::create_dir_all(root.path().join("srv/var/lib/asterisk")).unwrap();
        fs::create_dir_all(root.path().join("run/asterisk")).unwrap();
        let house = House { root };
        house.write("acl.conf", ACL);
        house
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("srv/etc/asterisk").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file("acl.conf")).unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::cargo_bin("switchhook").unwrap();
        command
            .env_clear()
            .args(words)
            .arg("--root")
            .arg(self.root.path());
        command
    }

    /// Runs `switchhook acl`, checks the exit code, and returns what it says on stdout and on stderr.
    fn expect(&self, code: i32, words: &[&str]) -> (String, String) {
        let mut all = vec!["acl"];
        all.extend(words);
        let output = self.command(&all).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
        let root = self.root.path().display().to_string();
        (out.replace(&root, ""), err.replace(&root, ""))
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.expect(0, words).0).unwrap()
    }

    fn rules(&self, name: &str) -> Vec<String> {
        let shown = self.json(&["show", name, "--json"]);
        let rules = shown["rules"].as_array().unwrap().iter();
        rules
            .map(|rule| {
                format!(
                    "{} {}",
                    rule["sense"].as_str().unwrap(),
                    rule["rule"].as_str().unwrap()
                )
            })
            .collect()
    }

    /// A SQLite database with the table, and the lines that name it.
    fn with_database(self) -> House {
        self.write("extconfig.conf", "[settings]\nacls => sqlite3,lists\n");
        self.write(
            "res_config_sqlite3.conf",
            "[lists]\ndbfile = /srv/var/lib/asterisk/lists.sqlite3\nbatch = 0\n",
        );
        let database = rusqlite::Connection::open(self.database()).unwrap();
        let page = include_str!("../../docs/reference/acl.md");
        let table = page
            .split("```sql\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        database.execute_batch(table).unwrap();
        self
    }

    fn database(&self) -> PathBuf {
        self.root.path().join("srv/var/lib/asterisk/lists.sqlite3")
    }

    /// Speaks the bytes of Asterisk's console, and answers with what `say` says.
    fn stand_in(&self, mut say: impl FnMut(&str) -> String + Send + 'static) -> Receiver<String> {
        let socket = self.root.path().join("run/asterisk/asterisk.ctl");
        let listener = UnixListener::bind(socket).unwrap();
        let (sender, heard) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.write_all(b"host/1/22.10.1\n").unwrap();
                let mut bytes = [0; 512];
                let count = stream.read(&mut bytes).unwrap();
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                let command = text.strip_prefix("cli quit after ").unwrap();
                let command = command.trim_end_matches('\0').to_owned();
                stream.write_all(say(&command).as_bytes()).ok();
                if sender.send(command).is_err() {
                    return;
                }
            }
        });
        heard
    }
}

#[test]
fn rules_come_and_go_and_every_other_byte_stays() {
    let house = House::new();
    house.expect(0, &["add", "home", "permit", "10.0.0.0/8,!10.1.0.0/16"]);
    let with = ACL.replace(
        "more.conf\n",
        "more.conf\npermit = 10.0.0.0/8,!10.1.0.0/16\n",
    );
    assert_eq!(house.text(), with);
    house.expect(0, &["add", "home", "deny", "192.168.7.7", "--before", "4"]);
    let before = with.replace("permit = 10.", "deny = 192.168.7.7\npermit = 10.");
    assert_eq!(house.text(), before);
    assert_eq!(
        house.rules("home"),
        [
            "deny 0.0.0.0/0",
            "deny ::/0",
            "permit 192.168.0.0/16",
            "deny 192.168.7.7",
            "permit 10.0.0.0/8,!10.1.0.0/16"
        ]
    );
    house.expect(0, &["remove", "home", "deny", "192.168.7.7"]);
    house.expect(0, &["remove", "home", "--number", "4"]);
    assert_eq!(house.text(), ACL);
    let (out, _) = house.expect(0, &["add", "new", "permit", "::1", "--new"]);
    assert!(
        out.contains("lets everybody in") && out.contains("at the next start"),
        "{out}"
    );
    assert_eq!(house.text(), format!("{ACL}\n[new]\npermit = ::1\n"));
    house.expect(0, &["remove", "new", "--list"]);
    assert_eq!(house.text(), ACL);
}

#[test]
fn a_list_that_goes_on_in_another_file_is_changed_there() {
    let house = House::new();
    let text = "permit = 172.16.0.0/12\n[far]\ndeny = 10.0.0.1\n[home](+)\npermit=::1\n";
    house.write("more.conf", text);
    let more = || fs::read_to_string(house.file("more.conf")).unwrap();
    house.expect(0, &["add", "far", "deny", "10.0.0.2"]);
    let with = text.replace("10.0.0.1\n", "10.0.0.1\ndeny = 10.0.0.2\n");
    assert_eq!(more(), with);
    house.expect(0, &["add", "home", "deny", "10.0.0.2"]);
    house.expect(0, &["remove", "home", "permit", "::1"]);
    assert_eq!(more(), with.replace("permit=::1", "deny = 10.0.0.2"));
    assert_eq!(house.text(), ACL);
    assert_eq!(
        house.rules("home")[2..],
        [
            "permit 192.168.0.0/16",
            "permit 172.16.0.0/12",
            "deny 10.0.0.2"
        ]
    );
    let (_, err) = house.expect(78, &["remove", "home", "permit", "172.16.0.0/12"]);
    assert!(err.contains("above any header"), "{err}");
    // The last rule decides: a new one goes behind it, in whichever file that is.
    let spread = ACL.replace("more.conf\n", "more.conf\npermit = 10.9.9.9\n");
    house.write("acl.conf", &spread);
    house.expect(0, &["add", "home", "deny", "10.9.0.0/16"]);
    let wanted = "permit = 10.9.9.9\ndeny = 10.9.0.0/16\n";
    assert!(house.text().contains(wanted), "{}", house.text());
}

#[test]
fn a_dry_run_changes_nothing() {
    let house = House::new();
    let (out, _) = house.expect(0, &["add", "home", "deny", "10.0.0.1", "--dry-run"]);
    assert!(
        out.contains("would be added to home: deny 10.0.0.1"),
        "{out}"
    );
    assert_eq!(house.text(), ACL);
}

#[test]
fn refusals_are_one_sentence_and_a_hint() {
    let house = House::new();
    house.write("manager.conf", "[general]\n[me]\nacl = home,lost\n");
    let told = |code, words: &[&str]| {
        let (out, err) = house.expect(code, words);
        assert_eq!(out, "");
        assert_eq!(house.text(), ACL);
        let lines: Vec<&str> = err.trim_end().lines().collect();
        assert_eq!(lines.len(), 2, "{err}");
        assert!(lines[1].starts_with("hint: "), "{err}");
        lines[0].to_owned()
    };
    insta::assert_snapshot!([
        told(64, &["add", "home", "deny", "office"]),
        told(64, &["add", "home", "deny", "10.1/8"]),
        told(64, &["add", "a,b", "deny", "::/0", "--new"]),
        told(64, &["remove", "home"]),
        told(1, &["add", "hom", "deny", "10.0.0.1"]),
        told(1, &["add", "home", "permit", "10.0.0.1", "--new"]),
        told(1, &["add", "home", "permit", "192.168.0.0/16"]),
        told(1, &["remove", "home", "--number", "1"]),
        told(1, &["remove", "home", "--number", "4"]),
        told(1, &["remove", "home", "permit", "10.0.0.1"]),
        told(1, &["remove", "home", "--list"]),
        told(1, &["show", "hom"]),
        told(1, &["add", "x", "deny", "::/0", "--new", "--database"]),
    ]
    .join("\n"), @r"
    switchhook: the rule cannot be used: `office` is no address: names and ports are not taken
    switchhook: the rule cannot be used: `10.1/8` is no plain address
    switchhook: `a,b` cannot be the name of a list
    switchhook: it is not said what to remove
    switchhook: there is no list `hom`
    switchhook: there is a list `home` already, with 3 rules
    switchhook: `home` has that rule already: it is number 3
    switchhook: rule 1 of `home` comes from a template, which other lists can use as well
    switchhook: `home` has no rule 4: it has 3
    switchhook: `home` has no rule `permit 10.0.0.1`
    switchhook: manager user [me] uses `home` (/srv/etc/asterisk/manager.conf:3), and a list that is not there keeps everybody out
    switchhook: there is no list `hom`
    switchhook: there is no database of lists: extconfig.conf does not name one
    ");
}

#[test]
fn a_verdict_names_the_rule_that_decided() {
    let house = House::new();
    let (out, _) = house.expect(0, &["test", "192.168.3.4", "home,odd"]);
    assert_eq!(
        out,
        "permit\nhome: permit, rule 3, permit 192.168.0.0/16\nodd: permit, no rule matches\n"
    );
    let (out, _) = house.expect(1, &["test", "2001:db8::1", "odd,home,lost"]);
    assert_eq!(
        out,
        "deny\nodd: permit, no rule matches\nhome: deny, rule 2, deny ::/0\nlost: deny, is not there, which keeps everybody out\n"
    );
    let (_, err) = house.expect(64, &["test", "office", "home"]);
    assert!(err.contains("invalid"), "{err}");
}

#[test]
fn twenty_writers_at_once_lose_no_rule_of_a_file() {
    twenty_writers(&House::new(), "odd");
}

#[test]
fn twenty_writers_at_once_lose_no_rule_of_a_database() {
    let house = House::new().with_database();
    house.expect(
        0,
        &["add", "kept", "deny", "10.0.0.1", "--new", "--database"],
    );
    twenty_writers(&house, "kept");
}

fn twenty_writers(house: &House, list: &str) {
    let before = house.rules(list).len();
    thread::scope(|scope| {
        for writer in 0..20 {
            scope.spawn(move || {
                for n in 0..5 {
                    house.expect(0, &["add", list, "deny", &format!("10.{writer}.1.{n}")]);
                }
                house.expect(0, &["remove", list, "deny", &format!("10.{writer}.1.0")]);
            });
        }
    });
    assert_eq!(house.rules(list).len(), before + 20 * 4);
}

#[test]
fn rows_keep_their_order() {
    let house = House::new().with_database();
    house.expect(
        0,
        &["add", "kept", "deny", "0.0.0.0/0", "--new", "--database"],
    );
    house.expect(0, &["add", "kept", "permit", "10.0.0.0/8"]);
    house.expect(
        0,
        &["add", "kept", "permit", "10.1.0.0/16", "--before", "2"],
    );
    house.expect(0, &["add", "kept", "deny", "::/0", "--before", "1"]);
    assert_eq!(
        house.rules("kept"),
        [
            "deny ::/0",
            "deny 0.0.0.0/0",
            "permit 10.1.0.0/16",
            "permit 10.0.0.0/8"
        ]
    );
    house.expect(0, &["remove", "kept", "--number", "2"]);
    assert_eq!(
        house.rules("kept"),
        ["deny ::/0", "permit 10.1.0.0/16", "permit 10.0.0.0/8"]
    );
    // The last row is the list.
    house.expect(0, &["add", "one", "deny", "::/0", "--new", "--database"]);
    house.write("manager.conf", "[me]\nacl = one\n");
    let (_, err) = house.expect(1, &["remove", "one", "deny", "::/0"]);
    assert!(err.contains("uses `one`"), "{err}");
    house.write("manager.conf", "");
    house.expect(0, &["remove", "one", "deny", "::/0"]);
    let listed = house.json(&["list", "--json"]);
    assert_eq!(listed["lists"][2]["store"], "database");
    house.expect(0, &["remove", "kept", "--list"]);
    house.expect(1, &["show", "kept"]);
    assert_eq!(house.text(), ACL);
}

#[test]
fn databases_that_cannot_be_used_are_told() {
    let house = House::new().with_database();
    house.expect(
        0,
        &["add", "kept", "deny", "0.0.0.0/0", "--new", "--database"],
    );
    house.write("pjsip.conf", "[x]\ntype=acl\nacl=kept\n");
    let told = |code, words: &[&str]| house.expect(code, words).1;
    fs::rename(house.database(), house.file("aside")).unwrap();
    // A change of the file would have Asterisk ask for the list, too.
    for words in [
        &["reload"][..],
        &["add", "odd", "deny", "10.0.0.1"],
        &["show", "kept"],
    ] {
        assert!(
            told(2, words).contains("there is no database `/srv/var"),
            "{words:?}"
        );
    }
    assert_eq!(house.text(), ACL);
    fs::write(
        house.database(),
        "no database at all, and longer than a header of a hundred bytes has to be to be looked at",
    )
    .unwrap();
    assert!(told(2, &["reload"]).contains("file is not a database"));
    let other = rusqlite::Connection::open(house.file("other")).unwrap();
    other.execute_batch("CREATE TABLE x (y)").unwrap();
    fs::rename(house.file("other"), house.database()).unwrap();
    assert!(told(2, &["reload"]).contains("no such table: acls"));
    fs::rename(house.file("aside"), house.database()).unwrap();
    let text = fs::read_to_string(house.file("res_config_sqlite3.conf")).unwrap();
    house.write("res_config_sqlite3.conf", &text.replace("batch = 0\n", ""));
    assert!(told(78, &["add", "kept", "deny", "::/0"]).contains("`batch = 0`"));
    house.write("extconfig.conf", "[settings]\nacls => odbc,x\n");
    assert!(told(78, &["reload"]).contains("does not speak"));
    assert!(told(78, &["list"]).contains("does not speak"));
}

/// As Asterisk shows the queues of two listeners.
const QUEUES: &str = "
Processor                                                       Processed   In Queue  Max Depth  Low water High water
stasis/m:security:all-0000000b                                          2          0          1        450        500
stasis/m:security:all-0000000c                                          0          0          0        450        500

2 taskprocessors
";

#[test]
fn asterisk_is_told_and_has_to_show_the_change() {
    let house = House::new();
    house.write("manager.conf", "[me]\nacl = odd\n");
    house.write("pjsip.conf", "[bob]\ntype = endpoint\nacl = odd\n");
    let shown = "ACL: odd\n----\n  0:  deny - 10.0.0.1/255.255.255.255\n";
    let heard = house.stand_in(move |command| match command {
        "module reload acl" => "Module 'acl' reloaded successfully.\n".to_owned(),
        "core show taskprocessors like stasis/m:security" => QUEUES.to_owned(),
        "core ping taskprocessor stasis/m:security:all-0000000c" => {
            "\nping failed: not found\n".to_owned()
        }
        ping if ping.starts_with("core ping taskprocessor") => {
            "ping time: 0.001234 sec\n".to_owned()
        }
        _ => shown.to_owned(),
    });
    let old = fs::metadata(house.file("acl.conf"))
        .unwrap()
        .modified()
        .unwrap();
    let (out, _) = house.expect(0, &["add", "odd", "deny", "10.0.0.1"]);
    assert!(out.contains("manager user [me] has it: sessions"), "{out}");
    assert!(out.contains("PJSIP endpoint [bob] has it: calls"), "{out}");
    let said: Vec<String> = heard.try_iter().collect();
    assert_eq!(
        said,
        [
            "core show uptime seconds",
            // Whatever others have ordered is done before, and this is done after.
            "core show taskprocessors like stasis/m:security",
            "core ping taskprocessor stasis/m:security:all-0000000b",
            "core ping taskprocessor stasis/m:security:all-0000000c",
            "module reload acl",
            "core show taskprocessors like stasis/m:security",
            "core ping taskprocessor stasis/m:security:all-0000000b",
            "core ping taskprocessor stasis/m:security:all-0000000c",
            "acl show odd",
            "manager show user me"
        ]
    );
    assert!(
        fs::metadata(house.file("acl.conf"))
            .unwrap()
            .modified()
            .unwrap()
            > old
    );
    // It shows the old rule for ever.
    let (_, err) = house.expect(2, &["add", "odd", "deny", "10.0.0.2"]);
    assert!(
        err.contains("is written, but Asterisk has not taken it"),
        "{err}"
    );
    assert_eq!(house.rules("odd").len(), 2);
}

/// How many hold a lock shared (proc_locks(5)).
fn sharers(lock: &Path) -> usize {
    let Ok(metadata) = fs::metadata(lock) else {
        return 0;
    };
    let file = format!(":{} ", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let is_it = |line: &&str| line.contains(" READ ") && line.contains(&file);
    locks.lines().filter(is_it).count()
}

#[test]
fn who_waits_for_the_same_reload_shares_it() {
    const WRITERS: usize = 10;
    let house = House::new();
    let run = house.root.path().join("run/switchhook");
    fs::create_dir_all(&run).unwrap();
    let file = house.file("acl.conf");
    let mut shown = String::new();
    let heard = house.stand_in(move |command| {
        if command == "module reload acl" {
            let text = fs::read_to_string(&file).unwrap();
            let rules = text
                .lines()
                .filter_map(|line| line.strip_prefix("deny = 10.9."));
            shown = "ACL: odd\n----\n".to_owned();
            for (number, rule) in rules.enumerate() {
                let rule = format!("{number}:  deny - 10.9.{rule}/255.255.255.255\n");
                shown.push_str(&rule);
            }
        }
        shown.clone()
    });
    // All come while somebody else has the file.
    let lock = switchhook::sys::file::lock_beside(&house.file("acl.conf"), Duration::ZERO).unwrap();
    let start = |at: usize| {
        let rule = format!("10.9.0.{at}");
        std::process::Command::new(crate::appliance::BINARY)
            .env_clear()
            .args(["acl", "add", "odd", "deny", &rule, "--root"])
            .arg(house.root.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let writers: Vec<_> = (1..=WRITERS).map(start).collect();
    let deadline = Instant::now() + Duration::from_secs(30);
    while sharers(&run.join(".acl-ledger.lock")) < WRITERS {
        assert!(Instant::now() < deadline, "they do not come");
        thread::yield_now();
    }
    drop(lock);
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    assert_eq!(house.rules("odd").len(), WRITERS);
    let reloads = heard
        .try_iter()
        .filter(|command| command == "module reload acl");
    let reloads = reloads.count();
    assert!((1..=3).contains(&reloads), "{reloads} reloads");
    // Who comes later needs one of his own.
    house.expect(0, &["add", "odd", "deny", "10.9.0.100"]);
    assert_eq!(
        heard
            .try_iter()
            .filter(|command| command == "module reload acl")
            .count(),
        1
    );
}

#[test]
fn verify_tells_what_is_amiss() {
    let house = House::new();
    let units = house.root.path().join("usr/lib/switchhook/units");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join("x.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
    house.write("manager.conf", "[me]\nacl = lost\n");
    house.write("pjsip.conf", "[x]\ntype=acl\nacl=home\n");
    let output = house.command(&["verify"]).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let root = house.root.path().display().to_string();
    let out = out.replace(&root, "");
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("note: /srv/etc/asterisk/manager.conf:2: manager user [me] uses the list `lost`, which is not there"), "{out}");
    assert!(
        out.contains("note: /srv/etc/asterisk/acl.conf: nobody uses the list `odd`"),
        "{out}"
    );
    assert!(!out.contains("`home`"), "{out}");
}
