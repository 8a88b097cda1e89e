//! What must hold under trial: no text lost or doubled whatever is killed, and nobody who waits for a slow carrier.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use super::{PATIENCE, Phone, ask, start, with};
use crate::calls::as_alice;
use crate::docker::{Network, Volume};
use crate::kill;
use crate::lines::until;
use crate::sip::{TEXT, play};
use crate::stop::count;

/// Carriers that post at the same time.
const CARRIERS: usize = 4;
/// Kills in the whole run: more would wait for restarts most of the time.
const KILLS: usize = 16;
const SERVICES: [&str; 4] = ["websms", "asterisk", "logd", "autoban"];

/// Each text has its carrier's id, and is posted until it is taken: a repetition is the same message.
#[test]
fn d18_no_text_of_ten_thousand_is_lost_or_doubled_by_kills_at_random() {
    let total = count("SWITCHHOOK_TEST_TEXTS", 10_000);
    let (network, volume) = (Network::new(), Volume::new());
    let carrier = format!(
        "[websmsd]\nprofile [1] = twilio\nverify [1] = no\nurl_path [1] = /hook/1\nremt_addr [1] = {}\nprox_addr = \"\"\n",
        network.host4
    );
    let exchange = with(&network, &volume, &carrier);
    let phone = Phone::new(&exchange, &network, &[]);
    let mut dice = kill::dice();
    let (next, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut seen: HashMap<Vec<u8>, String> = HashMap::new();
    std::thread::scope(|scope| {
        for carrier in 0..CARRIERS {
            let (next, taken, exchange) = (&next, &taken, &exchange);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= total {
                        return;
                    }
                    let form = format!(
                        "To=101&From=%2B4670000{carrier:04}&Body=text+{at}&MessageSid=SM{at:032x}"
                    );
                    until("the bridge takes it", || match ask(exchange, &form) {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
                        Ok(answer) => Err(answer),
                        Err(error) => Err(error.to_string()),
                    });
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (taken, exchange) = (&taken, &exchange);
        scope.spawn(move || {
            for kill in 1..=KILLS {
                let when = total * kill / (KILLS + 1);
                until("texts are taken", || match taken.load(Ordering::Relaxed) {
                    count if count >= when => Ok(()),
                    count => Err(format!("{count} of {when}")),
                });
                let service = SERVICES[usize::try_from(dice.roll(4)).unwrap()];
                // Two kills in a row may find the service between two lives.
                exchange.shell(&format!("switchhook kill {service} || true"));
            }
        });
        while seen.len() < total {
            let text = phone.text();
            let before = seen.insert(text.body, text.id.clone());
            assert!(
                before.is_none_or(|id| id == text.id),
                "a text under two ids"
            );
        }
    });
    let mut ids: Vec<String> = seen.into_values().collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), total, "an id for two texts");
}

/// The carrier holds its answer back until the local text is there.
#[test]
fn d09_a_slow_carrier_does_not_hold_up_a_text_between_phones() {
    let (network, volume) = (Network::new(), Volume::new());
    let carrier = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = carrier.local_addr().unwrap().port();
    let exchange = start(
        &network,
        &volume,
        &format!(
            "[websms]\nurl_host = http://{}:{port}\nauth_method = none",
            network.host4
        ),
    );
    let phone = Phone::new(&exchange, &network, &[]);
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let (arrived, came) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = carrier.accept().unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer);
        arrived.send(()).unwrap();
        let _ = held.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    });
    let password = exchange.password("alice");
    let to_carrier = TEXT.replace("@TEXT@", "to the carrier");
    play(
        &exchange,
        &network,
        &as_alice(&password, "+46701234567"),
        &to_carrier,
    )
    .unwrap();
    came.recv_timeout(PATIENCE).unwrap();
    let local = TEXT.replace("@TEXT@", "between phones");
    play(&exchange, &network, &as_alice(&password, "101"), &local).unwrap();
    assert_eq!(phone.text().body, b"between phones");
    drop(release);
}
