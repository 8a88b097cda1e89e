//! Texts from carriers at the phones: whatever phone, bridge, Asterisk or container does meanwhile.

mod trials;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::talk::Talk;

/// No text takes longer: a silent phone is waited for 32 s, and a pause.
const PATIENCE: Duration = Duration::from_secs(90);

/// A MESSAGE as a phone got it.
#[derive(Debug)]
struct Text {
    body: Vec<u8>,
    /// Our id of it, without the part that each copy has for itself.
    id: String,
    from: String,
    code: u16,
}

/// A phone at an address of its own, which answers the first texts as it is told, and all others with 200.
struct Phone {
    texts: Receiver<Text>,
}

impl Phone {
    fn new(exchange: &Exchange, network: &Network, answers: &[u16]) -> Phone {
        let socket = UdpSocket::bind((network.host4.as_str(), 0)).unwrap();
        socket.connect((exchange.address4(), 5060)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut talk = Talk::over(socket.try_clone().unwrap());
        let password = exchange.password("alice");
        assert_eq!(talk.register("alice", &password), Some(200));
        let (sender, texts) = channel();
        let mut answers: VecDeque<u16> = answers.iter().copied().collect();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count) = socket.recv(&mut buffer) {
                let packet = &buffer[..count];
                let end = packet
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .unwrap();
                let head = String::from_utf8(packet[..end].to_vec()).unwrap();
                if head.starts_with("SIP/2.0") {
                    continue;
                }
                let value = |name: &str| {
                    let line = head.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim().to_owned()
                };
                let is_text = head.starts_with("MESSAGE ");
                let code = match is_text {
                    true => answers.pop_front().unwrap_or(200),
                    false => 200,
                };
                if is_text {
                    let token = value("X-Switchhook-Message:");
                    let text = Text {
                        body: packet[end + 4..].to_vec(),
                        id: token.split('.').next().unwrap().to_owned(),
                        from: value("From:"),
                        code,
                    };
                    if sender.send(text).is_err() {
                        return;
                    }
                }
                // 0: it is silent.
                if code == 0 {
                    continue;
                }
                let mut answer = format!("SIP/2.0 {code} So\r\n");
                for name in ["Via:", "From:", "To:", "Call-ID:", "CSeq:"] {
                    answer.push_str(&format!("{name} {}\r\n", value(name)));
                }
                answer.push_str("Content-Length: 0\r\n\r\n");
                // An exchange that was killed does not listen.
                let _ = socket.send(answer.as_bytes());
            }
        });
        Phone { texts }
    }

    fn text(&self) -> Text {
        let text = self.texts.recv_timeout(PATIENCE);
        text.expect("no text came")
    }
}

const CONF: &str = "[websmsd]\nurl_path [1] = /hook/1\n[astqueue]\ncontext = dp_entry_text_in\nchannel_context = dp_entry_answer\n";

/// An exchange with these lines after those that all have.
fn start(network: &Network, volume: &Volume, more: &str) -> Exchange {
    with(network, volume, &format!("{CONF}{more}"))
}

/// An exchange with this websms.conf.
fn with(network: &Network, volume: &Volume, conf: &str) -> Exchange {
    let exchange = Recipe::of("full").volume(volume).network(network).start();
    exchange.shell(&format!(
        "cat >/srv/etc/asterisk/websms.conf <<'END'\n{conf}\nEND\nchown asterisk:asterisk /srv/etc/asterisk/websms.conf"
    ));
    exchange.shell("switchhook restart websms");
    exchange
}

/// Posts a carrier's form; the whole answer.
fn ask(exchange: &Exchange, form: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((exchange.address4().as_str(), 80))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST /hook/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A carrier's webhook, repeated as carriers do until it is taken.
fn post(exchange: &Exchange, from: &str, body: &str) {
    let encoded: String = body.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let form = format!("To=101&From=%2B{from}&Body={encoded}");
    until("the bridge takes it", || match ask(exchange, &form) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    });
}

#[test]
fn a_text_comes_byte_for_byte_from_a_number_that_can_be_answered() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = start(&network, &volume, "");
    let phone = Phone::new(&exchange, &network, &[]);
    let text: String = "å \u{1f600} \"q\" ${SHELL(id)}\r\n%0A;,&"
        .chars()
        .cycle()
        .take(1600)
        .collect();
    post(&exchange, "46700000001", &text);
    let got = phone.text();
    assert_eq!(String::from_utf8(got.body).unwrap(), text);
    assert!(got.from.starts_with("<sip:+46700000001@"), "{}", got.from);
    let log = exchange.log_text();
    // It deletes what it may not read, as a file that is not finished.
    assert!(!log.contains("Unable to open /var/spool/asterisk/outgoing"));
}

#[test]
fn d07_d08_texts_wait_for_a_phone_that_is_away_while_the_container_is_made_anew() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = start(&network, &volume, "");
    let texts: Vec<String> = (0..20).map(|at| format!("text {at}")).collect();
    texts
        .iter()
        .for_each(|text| post(&exchange, "46700000001", text));
    exchange.stop();
    drop(exchange);
    let exchange = Recipe::of("full").volume(&volume).network(&network).start();
    let phone = Phone::new(&exchange, &network, &[]);
    for text in &texts {
        assert_eq!(phone.text().body, text.as_bytes());
    }
}

#[test]
fn both_phones_of_an_account_get_a_text() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = start(&network, &volume, "");
    let phones = [(); 2].map(|()| Phone::new(&exchange, &network, &[]));
    post(&exchange, "46700000001", "both");
    let [one, two] = phones.map(|phone| phone.text());
    assert_eq!((one.body, one.id), (b"both".to_vec(), two.id));
}

#[test]
fn a_busy_phone_gets_a_text_again() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = start(&network, &volume, "");
    let phone = Phone::new(&exchange, &network, &[486]);
    post(&exchange, "46700000001", "busy");
    post(&exchange, "46700000001", "after");
    let texts: Vec<Text> = (0..3).map(|_| phone.text()).collect();
    let seen: Vec<_> = texts
        .iter()
        .map(|text| (text.code, &text.body[..]))
        .collect();
    assert_eq!(seen, [(486, &b"busy"[..]), (200, b"busy"), (200, b"after")]);
    assert_eq!(texts[0].id, texts[1].id);
}

#[test]
fn a_silent_phone_gets_a_text_again() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = start(&network, &volume, "");
    // Asterisk itself repeats a copy, ten times in 32 s.
    let phone = Phone::new(&exchange, &network, &[0; 11]);
    post(&exchange, "46700000001", "silent");
    let mut all = std::iter::from_fn(|| Some(phone.text()));
    let answered = all.find(|text| text.code == 200).unwrap();
    assert_eq!(answered.body, b"silent");
    post(&exchange, "46700000001", "after");
    assert_eq!(phone.text().body, b"after");
}

#[test]
fn the_predecessors_dialplan_takes_texts_of_any_length() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = start(&network, &volume, "deliver = dialplan");
    let phone = Phone::new(&exchange, &network, &[]);
    for at in 0..20 {
        post(&exchange, "46700000001", &format!("text {at}"));
        assert_eq!(phone.text().body, format!("text {at}").as_bytes());
    }
    let text: String = "å \u{1f600} \"q\" ${SHELL(id)}\n%0A;,&"
        .chars()
        .cycle()
        .take(1600)
        .collect();
    post(&exchange, "46700000001", &text);
    let got = phone.text();
    assert_eq!(String::from_utf8(got.body).unwrap(), text);
    assert!(got.from.starts_with("<sip:+46700000001@"), "{}", got.from);
    let log = exchange.log_text();
    // It deletes what it may not read, as a file that is not finished.
    assert!(!log.contains("Unable to open /var/spool/asterisk/outgoing"));
}
