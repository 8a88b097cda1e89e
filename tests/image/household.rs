//! A household: several phones on one account, an exchange whose files a person has changed, and the words for both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::calls::{ALICE, BOB, alice, as_alice};
use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::{Lines, until};
use crate::media::assert_hears;
use crate::phone::{Family, Manner, Phone, Settings, Transport};
use crate::sip;

/// Changes a configuration file as a person would.
pub fn edit(exchange: &Exchange, file: &str, script: &str) {
    let path = format!("/srv/etc/asterisk/{file}");
    exchange.shell(&format!(
        "cat >/tmp/script <<'END'\n{script}\nEND\nsed -i -f /tmp/script {path}\nchown asterisk:asterisk {path}"
    ));
}

/// Adds lines to a configuration file.
pub fn append(exchange: &Exchange, file: &str, text: &str) {
    exchange.shell(&format!(
        "cat >>/srv/etc/asterisk/{file} <<'END'\n{text}\nEND"
    ));
}

/// Bob's account, on as many phones as one likes.
pub fn bob(exchange: &Exchange, network: &Network, manner: Manner) -> Phone {
    let password = exchange.password("bob");
    let settings = Settings {
        user: "bob",
        password: &password,
        transport: Transport::Udp,
        family: Family::Four,
        tone: BOB,
    };
    let phone = Phone::with_manner(exchange, network, &settings, manner);
    let answer = phone.answer_to_register();
    assert!(answer.contains(" 200 OK "), "{answer}");
    phone
}

/// Waits until a channel runs this application.
pub fn wait_application(exchange: &Exchange, name: &str) {
    until(&format!("a channel in {name}"), || {
        let channels = exchange.asterisk("core show channels concise");
        match channels
            .to_lowercase()
            .contains(&format!("!{}!", name.to_lowercase()))
        {
            true => Ok(()),
            false => Err(channels),
        }
    });
}

#[test]
fn a_call_is_answered_on_the_second_of_two_phones_of_an_account() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("full").volume(&volume).network(&network).start();
    let silent = Manner {
        answers: false,
        ..Manner::default()
    };
    let first = bob(&exchange, &network, silent);
    let second = bob(&exchange, &network, Manner::default());
    let mut alice = alice(&exchange, &network);
    alice.command("dial", "102");
    first.wait_event(0, "CALL_INCOMING");
    second.wait_event(0, "CALL_ESTABLISHED");
    alice.wait_event(0, "CALL_ESTABLISHED");
    // The other one stops ringing.
    first.wait_event(0, "CALL_CLOSED");
    alice.wait_sound();
    second.wait_sound();
    alice.command("hangup", "");
    second.wait_event(0, "CALL_CLOSED");
    alice.wait_event(0, "CALL_CLOSED");
    assert_hears(&alice.recording(), BOB, ALICE);
    assert_hears(&second.recording(), ALICE, BOB);
}

#[test]
fn sound_is_encrypted_by_sdes_and_by_dtls() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("full").volume(&volume).network(&network).start();
    edit(
        &exchange,
        "pjsip_endpoint.conf",
        "s|^\\[bob\\](tpl_phone)|[bob](tpl_phone,tpl_dtls)|",
    );
    exchange.shell("switchhook restart asterisk");
    let by_dtls = Manner {
        encryption: "dtls_srtp",
        ..Manner::default()
    };
    let bob = bob(&exchange, &network, by_dtls);
    let by_sdes = Manner {
        encryption: "srtp-mand",
        ..Manner::default()
    };
    let password = exchange.password("alice");
    let settings = Settings {
        user: "alice",
        password: &password,
        transport: Transport::Tls,
        family: Family::Four,
        tone: ALICE,
    };
    let mut alice = Phone::with_manner(&exchange, &network, &settings, by_sdes);
    alice.command("dial", "102");
    alice.wait_event(0, "CALL_ESTABLISHED");
    bob.wait_event(0, "CALL_ESTABLISHED");
    alice.wait_sound();
    bob.wait_sound();
    alice.command("hangup", "");
    bob.wait_event(0, "CALL_CLOSED");
    alice.wait_event(0, "CALL_CLOSED");
    assert_hears(&alice.recording(), BOB, ALICE);
    assert_hears(&bob.recording(), ALICE, BOB);
}

#[test]
fn a_phone_is_seen_ringing_by_its_number() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("full").volume(&volume).network(&network).start();
    let state = |wanted: &str| {
        until(&format!("the hint says {wanted}"), || {
            let hint = exchange.asterisk("core show hint 102");
            match hint.contains(&format!("State:{wanted}")) {
                true => Ok(()),
                false => Err(hint),
            }
        });
    };
    let silent = Manner {
        answers: false,
        ..Manner::default()
    };
    state("Unavailable");
    let bob = bob(&exchange, &network, silent);
    state("Idle");
    let mut alice = alice(&exchange, &network);
    alice.command("dial", "102");
    bob.wait_event(0, "CALL_INCOMING");
    state("Ringing");
    alice.command("hangup", "");
    state("Idle");
}

#[test]
fn a_text_to_a_number_that_is_none_of_ours_goes_to_the_carrier() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("full").volume(&volume).network(&network).start();
    let carrier = TcpListener::bind((network.host4.as_str(), 0)).unwrap();
    let port = carrier.local_addr().unwrap().port();
    append(
        &exchange,
        "websms.conf",
        &format!(
            "[websms]\nauth_method = none\nurl_host [1] = \"http://{}:{port}\"\nurl_path [1] = /send",
            network.host4
        ),
    );
    exchange.shell("switchhook restart websms");
    let requests = Lines::default();
    let told = requests.clone();
    std::thread::spawn(move || {
        for stream in carrier.incoming().flatten() {
            told.push(take(stream));
        }
    });
    edit(
        &exchange,
        "extensions_local.conf",
        "s|^;COUNTRY_CODE|COUNTRY_CODE|",
    );
    exchange.asterisk("dialplan reload");
    let password = exchange.password("alice");
    let scenario = sip::TEXT.replace("@TEXT@", "Dinner is ready");
    let request = as_alice(&password, "0701234567");
    let played = sip::play(&exchange, &network, &request, &scenario);
    played.unwrap_or_else(|trace| panic!("{trace}"));
    let request = requests.wait_for("POST /send ");
    for part in ["To=%2B46701234567", "From=101", "Body=Dinner"] {
        assert!(request.contains(part), "{part} is not in {request}");
    }
    until("the text is accepted", || {
        let list = exchange.shell("switchhook sms list --out --json");
        match list.contains("\"accepted\"") {
            true => Ok(()),
            false => Err(list),
        }
    });
    assert_eq!(requests.count(), 1);
}

/// A request, on one line; it is answered with 200.
fn take(mut stream: TcpStream) -> String {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
        text.push_str(&format!("{line} "));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    text.push_str(&String::from_utf8(body).unwrap());
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    text
}
