//! `switchhook phone` as a process: files, exit codes, words and what it says to Asterisk.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use assert_cmd::Command;
use tempfile::TempDir;

const OLD: &str = "\
; years of work
[tpl_phone](!,tpl_softphone)
endpoint/language = en

[trunk:itsp](tpl_trunk)
remote_hosts = sip.itsp.com
outbound_auth/password = trunk-secret

[john.doe](tpl_phone)
hint_exten = +12025550160
endpoint/callerid = John Doe <+12025550160>
inbound_auth/username = john.doe
inbound_auth/password = johns-secret   ; do not tell
";

struct House {
    root: TempDir,
}

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("srv/etc/asterisk")).unwrap();
        fs::create_dir_all(root.path().join("run/asterisk")).unwrap();
        let house = Self { root };
        fs::write(house.file(), OLD).unwrap();
        house
    }

    fn file(&self) -> PathBuf {
        self.root
            .path()
            .join("srv/etc/asterisk/pjsip_endpoint.conf")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::cargo_bin("switchhook").unwrap();
        command
            .env_clear()
            .args(["phone", "--root"])
            .arg(self.root.path())
            .args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs it, checks the exit code, and returns stdout and stderr.
    fn expect(&self, code: i32, words: &[&str]) -> (String, String) {
        let output = self.run(words);
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
        (out, err)
    }

    /// Speaks the bytes of Asterisk's console and shows the phones of the file; `stubborn` never takes a change.
    fn stand_in_for_asterisk(&self, stubborn: bool) -> Receiver<String> {
        let listener =
            UnixListener::bind(self.root.path().join("run/asterisk/asterisk.ctl")).unwrap();
        let (file, (say, heard)) = (self.file(), channel());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.write_all(b"host/1/22.10.1\n").unwrap();
                let mut bytes = [0; 512];
                let count = stream.read(&mut bytes).unwrap();
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                let command = text
                    .strip_prefix("cli quit after ")
                    .unwrap()
                    .trim_end_matches('\0')
                    .to_owned();
                let answer = if stubborn {
                    String::new()
                } else {
                    answer(&command, &file)
                };
                stream.write_all(answer.as_bytes()).ok();
                if say.send(command).is_err() {
                    return;
                }
            }
        });
        heard
    }
}

fn answer(command: &str, file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let section = |name: &str| {
        text.split_once(&format!("[{name}]("))
            .map(|(_, rest)| rest.to_owned())
    };
    if let Some(name) = command.strip_prefix("pjsip show endpoint ") {
        return match section(name) {
            Some(_) => format!(" Endpoint:  {name}/1    Unavailable   0 of inf\n"),
            None => format!("Unable to find object {name}.\n"),
        };
    }
    if let Some(name) = command
        .strip_prefix("pjsip show auth ")
        .and_then(|auth| auth.strip_suffix("-iauth"))
    {
        let rest = section(name).unwrap_or_default();
        let password = rest
            .lines()
            .find_map(|line| line.strip_prefix("inbound_auth/password = "))
            .unwrap_or("");
        return format!(" password                 : {password}\n");
    }
    match command {
        "database show registrar contact" => {
            "/registrar/contact/john.doe;@0a1b: {}\n1 results found.\n".to_owned()
        }
        _ => "Module 'res_pjsip.so' reloaded successfully.\n".to_owned(),
    }
}

/// The text with the paths of temporary roots shortened to those of a real one.
fn without_root(text: &str, temporary: &Path) -> String {
    let start = format!("`{}/", temporary.display());
    let mut pieces = text.split(&start);
    let mut short = pieces.next().unwrap().to_owned();
    for piece in pieces {
        short.push('`');
        short.push_str(&piece[piece.find('/').unwrap()..]);
    }
    short
}

fn password_of(house: &House, name: &str) -> String {
    let (out, _) = house.expect(0, &["show", name, "--json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    value["phones"][0]["password"].as_str().unwrap().to_owned()
}

#[test]
fn a_phone_is_added_shown_and_removed_and_the_file_is_as_before() {
    let house = House::new();
    let (out, err) = house.expect(
        0,
        &["add", "ann", "--number", "101", "--display", "Ann Smith"],
    );
    insta::assert_snapshot!(format!("{out}{err}"));
    let password = password_of(&house, "ann");
    assert_eq!(password.len(), 24);
    assert!(!out.contains(&password));
    assert_eq!(
        house.text().strip_prefix(OLD).unwrap(),
        format!(
            "\n[ann](tpl_phone)\nhint_exten = 101\nendpoint/callerid = Ann Smith <101>\n\
             inbound_auth/username = ann\ninbound_auth/password = {password}\n"
        )
    );
    house.expect(0, &["remove", "ann"]);
    assert_eq!(house.text(), OLD);
}

#[test]
fn a_running_asterisk_reloads_and_is_asked_for_proof() {
    let house = House::new();
    let heard = house.stand_in_for_asterisk(false);
    let (out, err) = house.expect(0, &["add", "ann", "--number", "101", "--json"]);
    assert_eq!(err, "");
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&value["schema"], &value["effect"]["state"]),
        (&1.into(), &"live".into())
    );
    assert_eq!(
        heard.try_iter().collect::<Vec<_>>(),
        [
            "database show registrar contact",
            // What others have ordered is done before.
            "core show taskprocessors like stasis/m:security",
            "module reload res_pjsip.so",
            "pjsip show endpoint ann",
            "pjsip show auth ann-iauth"
        ]
    );
    house.expect(0, &["remove", "john.doe"]);
    let last = heard.try_iter().last().unwrap();
    assert_eq!(last, "database del registrar contact/john.doe;@0a1b");
}

#[test]
fn an_asterisk_that_does_not_take_the_change_is_a_failure() {
    let house = House::new();
    let _heard = house.stand_in_for_asterisk(true);
    let (_, err) = house.expect(2, &["add", "ann", "--number", "101"]);
    insta::assert_snapshot!(err);
    assert!(house.text().contains("[ann](tpl_phone)"));
}

#[test]
fn a_password_comes_from_stdin_and_is_shown_only_when_asked_for() {
    let house = House::new();
    let output = house
        .command(&["password", "john.doe", "--password-stdin"])
        .write_stdin("a;chosen-one\nmore\n")
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("chosen-one"));
    assert_eq!(
        house.text(),
        OLD.replace("johns-secret   ;", "a\\;chosen-one   ;")
    );
    assert_eq!(password_of(&house, "john.doe"), "a;chosen-one");

    let output = house
        .command(&["password", "john.doe", "--password-stdin"])
        .write_stdin("short\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_list_holds_no_password() {
    let house = House::new();
    let (text, _) = house.expect(0, &["list"]);
    let (json, _) = house.expect(0, &["list", "--json"]);
    insta::assert_snapshot!(format!("{text}{json}"));
    for secret in ["johns-secret", "trunk-secret"] {
        assert!(!text.contains(secret) && !json.contains(secret));
    }
}

#[test]
fn refusals_say_why_and_change_nothing() {
    let house = House::new();
    let mut said = String::new();
    for (code, words) in [
        (1, &["add", "John.Doe", "--number", "101"][..]),
        (1, &["add", "ann", "--number", "+12025550160"]),
        (1, &["remove", "trunk:itsp"]),
        (1, &["remove", "tpl_phone"]),
        (1, &["remove", "nobody"]),
        (1, &["show", "nobody"]),
        (64, &["show", "john.doe", "--qr"]),
    ] {
        let (out, err) = house.expect(code, words);
        assert_eq!(out, "");
        said.push_str(&format!("$ phone {}\n{err}", words.join(" ")));
    }
    insta::assert_snapshot!(said);
    for words in [
        &["add", "a b", "--number", "101"][..],
        &["add", "tpl_x", "--number", "101"],
        &["add", "ann", "--number", "1"],
        &["add", "ann", "--number", "101", "--display", "a\"b"],
        &["add", "ann", "--number", "101", "--password", "x"],
        &["show"],
        &[],
    ] {
        house.expect(64, words);
    }
    assert_eq!(house.text(), OLD);
}

#[test]
fn a_dry_run_shows_the_change_without_secrets_and_leaves_no_trace() {
    let house = House::new();
    let (out, _) = house.expect(0, &["add", "ann", "--number", "101", "--dry-run"]);
    insta::assert_snapshot!(out);
    house.expect(0, &["password", "john.doe", "--dry-run"]);
    assert_eq!(house.text(), OLD);
    let names = fs::read_dir(house.root.path().join("srv/etc/asterisk"))
        .unwrap()
        .count();
    assert_eq!(names, 1);
}

#[test]
fn broken_and_missing_configuration_is_named_with_exit_78() {
    let house = House::new();
    fs::write(house.file(), "[tpl_phone](!)\n[open\n").unwrap();
    let (_, broken) = house.expect(78, &["add", "ann", "--number", "101"]);
    fs::write(house.file(), "[tpl_phone](!)\n;-- open\n").unwrap();
    let (_, comment) = house.expect(78, &["add", "ann", "--number", "101"]);
    fs::write(house.file(), "").unwrap();
    let (_, template) = house.expect(78, &["add", "ann", "--number", "101"]);
    fs::write(house.file(), b"; caf\xe9\n").unwrap();
    let (_, latin) = house.expect(78, &["list"]);
    drop(house);
    let house = House::new();
    fs::remove_file(house.file()).unwrap();
    let (_, missing) = house.expect(78, &["add", "ann", "--number", "101"]);
    let all = [broken, comment, template, latin, missing].concat();
    let temporary = std::env::temp_dir();
    insta::assert_snapshot!(without_root(&all, &temporary));
    assert!(
        !house
            .root
            .path()
            .join("srv/etc/asterisk/.pjsip_endpoint.conf.lock")
            .exists()
    );
}

#[test]
fn a_link_stays_a_link_and_mode_and_owner_stay() {
    let house = House::new();
    let srv = house.root.path().join("srv.conf");
    fs::rename(house.file(), &srv).unwrap();
    fs::set_permissions(&srv, fs::Permissions::from_mode(0o604)).unwrap();
    symlink("../../../srv.conf", house.file()).unwrap();
    house.expect(0, &["add", "ann", "--number", "101"]);
    assert!(fs::symlink_metadata(house.file()).unwrap().is_symlink());
    assert_eq!(fs::metadata(&srv).unwrap().mode() & 0o7777, 0o604);
    assert!(fs::read_to_string(&srv).unwrap().contains("[ann]"));
}

#[test]
fn commands_at_the_same_time_lose_no_phone() {
    let house = House::new();
    thread::scope(|scope| {
        for n in 10..22 {
            let house = &house;
            scope.spawn(move || {
                house.expect(0, &["add", &format!("p{n}"), "--number", &format!("7{n}")])
            });
        }
    });
    let (out, _) = house.expect(0, &["list"]);
    assert_eq!(out.lines().count(), 1 + 1 + 12, "{out}");
}

#[test]
fn a_code_to_scan_is_ascii_where_the_locale_says_so() {
    let house = House::new();
    let words = [
        "show",
        "john.doe",
        "--domain",
        "pbx.example.com",
        "--qr=sip",
    ];
    let ascii = house.command(&words).env("LC_ALL", "C").output().unwrap();
    assert!(ascii.stdout.is_ascii());
    let unicode = house
        .command(&words)
        .env("LANG", "C.UTF-8")
        .output()
        .unwrap();
    assert!(
        String::from_utf8(unicode.stdout)
            .unwrap()
            .contains('\u{2580}')
    );
    let id = house
        .command(&["show", "john.doe", "--qr"])
        .env("HOSTNAME", "5b05da526f69")
        .output()
        .unwrap();
    assert_eq!(id.status.code(), Some(64), "a container's id is no server");
    let json = house.command(&words).arg("--json").output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        value["phones"][0]["qr_content"],
        "sip:john.doe:johns-secret@pbx.example.com"
    );
}
