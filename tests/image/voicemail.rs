//! Voicemail: greetings, recordings, and the e-mail that brings them, over STARTTLS to a real mail server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::calls::{ALICE, BOB, alice};
use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::exim::{Exim, PASSWORD, USER};
use crate::household::{bob, edit, wait_application};
use crate::lines::until;
use crate::media::{assert_hears, has_second_of};
use crate::phone::{Manner, Phone};

const SILENT: Manner = Manner {
    answers: false,
    calls: 4,
    encryption: "",
};
const ONE_CALL: Manner = Manner {
    answers: true,
    calls: 1,
    encryption: "",
};

/// An exchange on which bob has voicemail, by this mail server.
fn start(network: &Network, volume: &Volume, exim: &Exim, server: &str) -> Exchange {
    let exchange = Recipe::of("full").volume(volume).network(network).start();
    let authority = std::fs::read_to_string(exim.authority()).unwrap();
    exchange.shell(&format!(
        "cat >/srv/etc/ssl/mail.pem <<'END'\n{authority}\nEND\ncat >/srv/etc/mail-password <<'END'\n{PASSWORD}\nEND\n\
         chown mail /srv/etc/mail-password\nchmod 400 /srv/etc/mail-password"
    ));
    edit(
        &exchange,
        "minivm.conf",
        &format!(
            "s|^mailcmd = .*|mailcmd = minivm-send -H {server}:{} -P starttls -u {USER} --password-file /srv/etc/mail-password --ca-file /srv/etc/ssl/mail.pem -f voicemail-noreply@example.com|",
            exim.port
        ),
    );
    edit(
        &exchange,
        "extensions_local.conf",
        "s|^DIAL_TIMEOUT = .*|DIAL_TIMEOUT = ,3|",
    );
    edit(
        &exchange,
        "pjsip_endpoint.conf",
        "/^\\[bob\\]/a\\\nendpoint/mailboxes = bob@example.com",
    );
    exchange.shell("switchhook restart asterisk");
    exchange
}

fn host_names(network: &Network) -> String {
    format!("IP:{},DNS:mx.test", network.host4)
}

/// Waits until the caller's voice has been recorded for some seconds, into a file that find(1) finds by these words.
fn wait_recorded(exchange: &Exchange, words: &str) {
    until("a recording that grows", || {
        let found = exchange.shell(&format!(
            "find /srv/var/spool/asterisk /tmp {words} -size +60k 2>/dev/null || true"
        ));
        match found.is_empty() {
            true => Err("there is none of 60 KB".to_owned()),
            false => Ok(()),
        }
    });
}

/// Calls bob, leaves a message, and hangs up.
fn leave_message(exchange: &Exchange, alice: &mut Phone) {
    let start = alice.events.count();
    alice.command("dial", "102");
    alice.wait_event(start, "CALL_ESTABLISHED");
    wait_application(exchange, "MinivmRecord");
    wait_recorded(exchange, "-name '*.wav' ! -name busy.wav");
    alice.command("hangup", "");
    alice.wait_event(start, "CALL_CLOSED");
}

/// The WAV that is attached to the mail, in a file.
fn attachment(mail: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let at = mail
        .find("audio/x-wav")
        .unwrap_or_else(|| panic!("no sound in\n{mail}"));
    let (_, rest) = mail[at..].split_once("\n\n").unwrap();
    let text: String = rest
        .lines()
        .take_while(|line| !line.starts_with("--"))
        .map(str::trim)
        .collect();
    let bytes = STANDARD.decode(text).unwrap();
    assert!(
        bytes.starts_with(b"RIFF") && &bytes[8..16] == b"WAVEfmt ",
        "no WAV"
    );
    // PCM, one channel, 8000 samples a second, 16 bits: what every player plays.
    assert_eq!(&bytes[20..28], [1, 0, 1, 0, 0x40, 0x1f, 0, 0]);
    assert_eq!(&bytes[34..36], [16, 0]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("message.wav");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn queue(exchange: &Exchange) -> String {
    exchange.shell("switchhook mail list")
}

fn wait_sent(exchange: &Exchange) {
    until("an empty queue", || match queue(exchange) {
        list if list == "Nothing waits." => Ok(()),
        list => Err(list),
    });
}

#[test]
fn a_call_that_nobody_takes_becomes_an_email_with_the_callers_voice() {
    let (network, volume) = (Network::new(), Volume::new());
    let exim = Exim::start(&network.host4, &host_names(&network));
    let exchange = start(&network, &volume, &exim, &network.host4);
    let bob = bob(&exchange, &network, SILENT);
    let mut alice = alice(&exchange, &network);
    leave_message(&exchange, &mut alice);
    bob.wait_event(0, "CALL_INCOMING");
    let mail = exim.wait_mail();
    for line in [
        "Envelope-to: bob@example.com",
        "Return-path: <voicemail-noreply@example.com>",
        "Subject: =?UTF-8?Q?Voicemail_from_=22Alice=22_=3C101=3E?=",
        "\n\"Alice\" <101> left a message of ",
    ] {
        assert!(mail.contains(line), "{line} is not in\n{mail}");
    }
    let (_directory, sound) = attachment(&mail);
    assert_hears(&sound, ALICE, BOB);
    wait_sent(&exchange);
    assert_eq!(exim.mails().len(), 1);
    assert!(
        exim.said().contains("A=plain:voice") && exim.said().contains("P=esmtpsa"),
        "{}",
        exim.said()
    );
    assert!(!exchange.log_text().contains("hunter2"));
}

#[test]
fn a_recorded_greeting_is_played_to_who_calls_a_busy_phone_and_the_message_arrives() {
    let (network, volume) = (Network::new(), Volume::new());
    let exim = Exim::start(&network.host4, &host_names(&network));
    let exchange = start(&network, &volume, &exim, &network.host4);
    let mut bob = bob(&exchange, &network, ONE_CALL);
    // 3 records the greeting for a busy line, until "#"; then 1 keeps it.
    bob.command("dial", "3");
    bob.wait_event(0, "CALL_ESTABLISHED");
    wait_application(&exchange, "MinivmAccMess");
    wait_recorded(&exchange, "-name busy.wav");
    bob.command("sndcode", "#");
    bob.wait_sound_goes_on(bob.events.count());
    bob.command("sndcode", "1");
    wait_application(&exchange, "BackGround");
    bob.command("hangup", "");
    let (_, next) = bob.wait_event(0, "CALL_CLOSED");
    let kept = "/srv/var/spool/asterisk/voicemail/example.com/bob/busy.wav";
    exchange.shell(&format!("test -s {kept}"));
    // Now he is on the phone.
    bob.command("dial", "6");
    bob.wait_event(next, "CALL_ESTABLISHED");
    let mut alice = alice(&exchange, &network);
    // Who says nothing leaves no message.
    alice.command("dial", "102");
    wait_application(&exchange, "MinivmRecord");
    alice.command("hangup", "");
    alice.wait_event(0, "CALL_CLOSED");
    leave_message(&exchange, &mut alice);
    assert!(
        has_second_of(&alice.recording(), BOB),
        "the greeting is not heard"
    );
    let (_directory, sound) = attachment(&exim.wait_mail());
    assert_hears(&sound, ALICE, BOB);
    wait_sent(&exchange);
    assert_eq!(exim.mails().len(), 1);
}

#[test]
fn a_mail_server_that_is_away_gets_the_message_once_when_it_is_back() {
    let (network, volume) = (Network::new(), Volume::new());
    let mut exim = Exim::new(&network.host4, &host_names(&network));
    let exchange = start(&network, &volume, &exim, &network.host4);
    let mut alice = alice(&exchange, &network);
    leave_message(&exchange, &mut alice);
    exchange.log.wait_for("waits ");
    assert!(
        queue(&exchange).contains("cannot be reached"),
        "{}",
        queue(&exchange)
    );
    // The container is made anew meanwhile.
    exchange.stop();
    drop(exchange);
    let exchange = Recipe::of("full").volume(&volume).network(&network).start();
    exim.go_on();
    wait_sent(&exchange);
    let (_directory, sound) = attachment(&exim.wait_mail());
    assert_hears(&sound, ALICE, BOB);
    assert_eq!(exim.mails().len(), 1);
}

#[test]
fn a_mail_server_with_a_wrong_certificate_gets_nothing_and_the_message_is_kept() {
    let (network, volume) = (Network::new(), Volume::new());
    let exim = Exim::start(&network.host4, "DNS:another.test");
    let exchange = start(&network, &volume, &exim, &network.host4);
    let mut alice = alice(&exchange, &network);
    leave_message(&exchange, &mut alice);
    exchange
        .log
        .wait_for("is for another name: nothing was sent to it");
    assert!(
        queue(&exchange).contains("bob@example.com"),
        "{}",
        queue(&exchange)
    );
    assert!(exim.mails().is_empty());
    let status = exchange.status().to_string();
    assert!(status.contains("1 wait, 0 lie aside"), "{status}");
    assert_eq!(
        exchange.shell("stat -c %U /srv/var/spool/switchhook/mail/*.mail"),
        "asterisk"
    );
}
