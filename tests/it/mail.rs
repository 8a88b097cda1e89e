//! `minivm-send` and the mail service against a real mail server: what is taken arrives once, or is kept with its reason.

mod exim;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::appliance::{BINARY, wait_for};
use exim::{Exim, PASSWORD, USER};

const QUEUE: &str = "srv/var/spool/switchhook/mail";
const MAIL: &str = "From: Voicemail <voice@example.com>\nTo: Ann <ann@example.com>\nSubject: hello\n\nIt is \u{e5}.\n.\nend\n";
const NAMES: &str = "IP:127.0.0.1,DNS:mx.test";

/// A root with a queue.
struct World {
    root: tempfile::TempDir,
}

struct Ended {
    code: i32,
    text: String,
}

/// A running mail service.
struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_said(&self, words: &str) {
        wait_for(|| self.said().contains(words).then_some(()), words);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the service said\n{}\n---", self.said());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    fn new() -> World {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(QUEUE)).unwrap();
        World { root }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn service(&self) -> Service {
        self.service_with(&[])
    }

    fn service_with(&self, environment: &[(&str, &str)]) -> Service {
        let log = self.root.path().join("log");
        let out = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new(BINARY)
            .args(["mail", "run", "--root"])
            .arg(self.root.path())
            .envs(environment.iter().copied())
            .env("HOSTNAME", "tele.test")
            .stdin(Stdio::null())
            .stderr(out)
            .spawn()
            .unwrap();
        Service { child, log }
    }

    /// `minivm-send` with a mail, as MiniVM runs it.
    fn send(&self, words: &[&str], mail: &str) -> Ended {
        let link = self.root.path().join("minivm-send");
        if !link.exists() {
            std::os::unix::fs::symlink(BINARY, &link).unwrap();
        }
        let mut command = Command::new(&link);
        command.args(words).arg("--root").arg(self.root.path());
        feed(command, mail)
    }

    fn mail(&self, words: &[&str]) -> Ended {
        let mut command = Command::new(BINARY);
        command
            .arg("mail")
            .args(words)
            .arg("--root")
            .arg(self.root.path());
        feed(command, "")
    }

    /// The letters that wait or lie aside.
    fn letters(&self) -> Vec<Value> {
        let listed = self.mail(&["list", "--json"]);
        let value: Value =
            serde_json::from_str(&listed.text).unwrap_or_else(|e| panic!("{e}: {}", listed.text));
        assert_eq!(value["schema"], 1);
        value["letters"].as_array().unwrap().clone()
    }

    /// Waits until the only letter has been tried; the value is the letter.
    fn wait_tried(&self) -> Value {
        wait_for(
            || self.letters().pop().filter(|letter| letter["tries"] != 0),
            "the letter is tried",
        )
    }

    fn wait_empty(&self) {
        wait_for(
            || self.letters().is_empty().then_some(()),
            "the queue is empty",
        );
    }
}

fn feed(mut command: Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended before it read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = child.wait_with_output().unwrap();
    Ended {
        code: out.status.code().unwrap(),
        text: format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        ),
    }
}

fn server(exim: &Exim) -> String {
    format!("127.0.0.1:{}", exim.port)
}

fn reason(letter: &Value) -> &str {
    letter["reason"].as_str().unwrap()
}

#[test]
fn a_mail_is_on_disk_at_the_end_of_the_command_and_arrives_by_starttls_with_a_password() {
    let (world, exim) = (World::new(), Exim::start("127.0.0.1", NAMES));
    let ca = exim.authority();
    let words = [
        "-H",
        &server(&exim),
        "-P",
        "starttls",
        "-u",
        USER,
        "-p",
        PASSWORD,
        "-f",
        "bounce@example.com",
        "-e",
        "--ca-file",
        ca.to_str().unwrap(),
    ];
    let sent = world.send(&words, MAIL);
    assert_eq!(sent.code, 0, "{}", sent.text);
    assert!(
        sent.text.contains("the mail is taken for 127.0.0.1:"),
        "{}",
        sent.text
    );
    assert_eq!(world.letters()[0]["to"], "ann@example.com");
    let service = world.service();
    let mail = exim.wait_mail();
    world.wait_empty();
    service.wait_said("is sent by 127.0.0.1");
    for line in [
        "Return-path: <bounce@example.com>",
        "Envelope-to: ann@example.com",
        "Subject: hello",
        "Message-ID: <",
        "Date: ",
    ] {
        assert!(
            mail.lines().any(|found| found.starts_with(line)),
            "{line} is not in\n{mail}"
        );
    }
    assert!(mail.ends_with("\n\nIt is \u{e5}.\n.\nend\n"), "{mail}");
    assert_eq!(exim.mails().len(), 1);
    assert!(exim.said().contains("A=plain:voice"), "{}", exim.said());
    assert!(!service.said().contains("hunter2"));
}

#[test]
fn tls_from_the_first_byte_and_no_tls_are_spoken_too() {
    let (world, exim) = (World::new(), Exim::start("127.0.0.1", NAMES));
    let _service = world.service();
    let ca = exim.authority();
    let secret = world.file("secret", &format!("{PASSWORD}\n"));
    let at = format!("127.0.0.1:{}", exim.tls_port);
    let words = [
        "-H",
        &at,
        "-P",
        "tls",
        "-u",
        USER,
        "--password-file",
        secret.to_str().unwrap(),
        "--ca-file",
        ca.to_str().unwrap(),
    ];
    assert_eq!(world.send(&words, MAIL).code, 0);
    assert_eq!(world.send(&["-H", &server(&exim)], MAIL).code, 0);
    wait_for(|| (exim.mails().len() == 2).then_some(()), "both mails");
    assert!(
        exim.said().contains("P=esmtpsa") && exim.said().contains("P=esmtp "),
        "{}",
        exim.said()
    );
}

#[test]
fn a_server_that_is_away_gets_the_mail_once_when_it_is_back() {
    let (world, mut exim) = (World::new(), Exim::new("127.0.0.1", NAMES));
    let service = world.service();
    for _ in 0..2 {
        assert_eq!(world.send(&["-H", &server(&exim)], MAIL).code, 0);
    }
    wait_for(
        || {
            world
                .letters()
                .iter()
                .all(|one| one["tries"] != 0)
                .then_some(())
        },
        "both are tried",
    );
    let letter = world.letters().remove(0);
    assert!(
        reason(&letter).contains("cannot be reached") && reason(&letter).contains("refused"),
        "{letter}"
    );
    assert_eq!(letter["aside"], false);
    exim.go_on();
    // Nobody says a word: the pause of ten seconds is over some time.
    world.wait_empty();
    wait_for(|| (exim.mails().len() == 2).then_some(()), "both mails");
    service.wait_said("waits ");
}

#[test]
fn a_server_that_asks_for_patience_is_asked_again() {
    let (world, exim) = (World::new(), Exim::start("127.0.0.1", NAMES));
    let _service = world.service();
    assert_eq!(
        world
            .send(&["-H", &server(&exim)], &MAIL.replace("ann@", "later@"))
            .code,
        0
    );
    let letter = world.wait_tried();
    assert!(reason(&letter).contains("451 come again"), "{letter}");
    exim.be_patient_no_more();
    assert_eq!(world.mail(&["retry"]).code, 0);
    world.wait_empty();
    exim.wait_mail();
    assert_eq!(exim.mails().len(), 1);
}

#[test]
fn what_is_refused_for_good_lies_aside_with_its_reason_until_it_is_removed() {
    let (world, exim) = (World::new(), Exim::start("127.0.0.1", NAMES));
    let service = world.service();
    let to_both = MAIL.replace("To: ", "To: nobody@example.com, ");
    assert_eq!(world.send(&["-H", &server(&exim)], &to_both).code, 0);
    // The other recipient has it.
    exim.wait_mail();
    let letter = wait_for(
        || world.letters().pop().filter(|one| one["aside"] == true),
        "it lies aside",
    );
    assert_eq!(letter["to"], "nobody@example.com");
    assert!(
        reason(&letter).contains("550 nobody lives here"),
        "{letter}"
    );
    service.wait_said("lies aside: 127.0.0.1");
    let id = letter["id"].as_str().unwrap();
    let shown = world.mail(&["show", id]);
    assert!(
        shown.text.contains("550 nobody lives here"),
        "{}",
        shown.text
    );
    assert!(world.mail(&["show", id, "--raw"]).text.contains("\nend"));
    assert_eq!(world.mail(&["remove", id]).code, 0);
    assert_eq!(world.mail(&["show", id]).code, 1);
    assert_eq!(exim.mails().len(), 1);
}

#[test]
fn a_certificate_for_another_name_or_of_a_stranger_is_refused_and_the_mail_kept() {
    let (world, exim) = (World::new(), Exim::start("127.0.0.1", "DNS:other.test"));
    let service = world.service();
    let ca = exim.authority();
    let words = [
        "-H",
        &server(&exim),
        "-P",
        "starttls",
        "-u",
        USER,
        "-p",
        PASSWORD,
    ];
    for (more, sentence) in [
        (
            vec![],
            "is from an authority that nobody here knows: nothing was sent to it",
        ),
        (
            vec!["--ca-file", ca.to_str().unwrap()],
            "is for another name: nothing was sent to it",
        ),
    ] {
        let words = [&words[..], &more[..]].concat();
        assert_eq!(world.send(&words, MAIL).code, 0);
        let letter = world.wait_tried();
        assert!(reason(&letter).contains(sentence), "{letter}");
        assert_eq!(letter["aside"], false);
        service.wait_said(sentence);
        world.mail(&["remove", letter["id"].as_str().unwrap()]);
    }
    assert!(exim.mails().is_empty());
    assert!(!exim.said().contains("A=plain"), "{}", exim.said());
}

#[test]
fn a_password_comes_from_the_environment_and_a_wrong_one_can_be_put_right() {
    let (world, exim) = (World::new(), Exim::start("127.0.0.1", NAMES));
    let secret = world.file("secret", "wrong");
    let service =
        world.service_with(&[("SWITCHHOOK_MAIL_PASSWORD_FILE", secret.to_str().unwrap())]);
    let ca = exim.authority();
    let words = [
        "-H",
        &server(&exim),
        "-P",
        "starttls",
        "-u",
        USER,
        "--ca-file",
        ca.to_str().unwrap(),
    ];
    assert_eq!(world.send(&words, MAIL).code, 0);
    let letter = world.wait_tried();
    assert!(
        reason(&letter).contains("does not take user and password: 535"),
        "{letter}"
    );
    assert_eq!(letter["aside"], true);
    world.file("secret", PASSWORD);
    assert_eq!(
        world.mail(&["retry", letter["id"].as_str().unwrap()]).code,
        0
    );
    exim.wait_mail();
    world.wait_empty();
    assert!(!service.said().contains(PASSWORD));
}

#[test]
fn a_command_line_that_is_not_understood_loses_no_mail_and_shows_no_password() {
    let (world, exim) = (World::new(), Exim::start("127.0.0.1", NAMES));
    let _service = world.service();
    let sent = world.send(&["-H", "mx", "-p", "two", "words", "-P", "starttls"], MAIL);
    assert_eq!(sent.code, 64, "{}", sent.text);
    assert!(!sent.text.contains("words"), "{}", sent.text);
    let letter = world.letters().remove(0);
    assert!(
        reason(&letter).contains("its command line was not understood"),
        "{letter}"
    );
    assert_eq!(
        (&letter["aside"], &letter["server"]),
        (&Value::Bool(true), &Value::Null)
    );
    world.file(
        "srv/etc/asterisk/minivm.conf",
        &format!(
            "[general]\nmailcmd = minivm-send -H {} -f x@example.com\n",
            server(&exim)
        ),
    );
    assert_eq!(world.mail(&["retry"]).code, 0);
    assert!(exim.wait_mail().contains("Envelope-to: ann@example.com"));
    world.wait_empty();
}

#[test]
fn a_mail_without_a_recipient_lies_aside_and_one_that_cannot_be_written_is_said_not_to_be_taken() {
    let world = World::new();
    let sent = world.send(&["-H", "mx"], "Subject: to whom?\n\nhello\n");
    assert_eq!(sent.code, 1, "{}", sent.text);
    assert!(
        sent.text.contains("its header names no recipient\nhint: "),
        "{}",
        sent.text
    );
    assert_eq!(world.letters()[0]["aside"], true);
    assert_eq!(world.mail(&["retry"]).code, 1);
    let empty = world.send(&["-H", "mx"], "");
    assert_eq!(empty.code, 2, "{}", empty.text);
    assert!(
        empty.text.contains("there is no mail on standard input"),
        "{}",
        empty.text
    );
    std::fs::remove_dir_all(world.root.path().join(QUEUE)).unwrap();
    let lost = world.send(&["-H", "mx"], MAIL);
    assert_eq!(lost.code, 2, "{}", lost.text);
    assert!(lost.text.contains("cannot look at `"), "{}", lost.text);
}

#[test]
fn a_service_that_is_killed_goes_on_with_what_is_on_disk() {
    let (world, mut exim) = (World::new(), Exim::new("127.0.0.1", NAMES));
    let service = world.service();
    assert_eq!(world.send(&["-H", &server(&exim)], MAIL).code, 0);
    world.wait_tried();
    drop(service);
    exim.go_on();
    let _service = world.service();
    world.wait_empty();
    assert_eq!(exim.mails().len(), 1);
}

#[test]
fn a_server_without_starttls_gets_nothing() {
    let world = World::new();
    let _service = world.service();
    let talk = NoTls::start();
    let words = [
        "-H",
        &talk.address,
        "-P",
        "starttls",
        "-u",
        USER,
        "-p",
        PASSWORD,
    ];
    assert_eq!(world.send(&words, MAIL).code, 0);
    let letter = world.wait_tried();
    assert!(
        reason(&letter).contains("offers no STARTTLS: nothing was sent to it"),
        "{letter}"
    );
}

/// Of Debian's servers each offers TLS where it has a certificate, so this one is played: it greets, and offers nothing.
struct NoTls {
    address: String,
}

impl NoTls {
    fn start() -> NoTls {
        use std::io::{BufRead, BufReader};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"220 mx ESMTP\r\n").unwrap();
            while let Some(Ok(line)) = lines.next() {
                let answer: &[u8] = match line.split(' ').next() {
                    Some("EHLO") => b"250-mx\r\n250 8BITMIME\r\n",
                    Some("QUIT") => b"221 bye\r\n",
                    _ => b"550 I said nothing of that\r\n",
                };
                if stream.write_all(answer).is_err() {
                    return;
                }
            }
        });
        NoTls { address }
    }
}
