//! What goes wrong with an authority, and that it is left alone afterwards, over restarts too.

use std::io::Read;
use std::time::Duration;

use switchhook::certs::acme::renewal::{Renewal, Turn};
use switchhook::certs::acme::settings::{Challenge, Door};
use switchhook::certs::acme::trouble::{AcmeError, Kind};
use switchhook::certs::acme::{Wanted, obtain};
use switchhook::sys::clock::unix_now;
use switchhook::web::Patience;

use super::orders::program;
use super::pebble::{Manner, Pebble};
use super::{ECC, Exchange, by_http, have, run, settings, wanted};
use crate::web::server::{Server, Told, authority, silent};

/// One turn that must fail.
fn fails(exchange: &Exchange, order: &Wanted) -> (AcmeError, i64) {
    run(async {
        let mut renewal = Renewal::open(order.clone(), exchange.place()).unwrap();
        match renewal.turn(&have(&[])).await {
            Turn::Failed(error, until) => (error, until),
            other => panic!("{other:?}"),
        }
    })
}

/// A turn after a restart: it does nothing before this moment.
fn rests(exchange: &Exchange, order: &Wanted, at_least: i64) {
    run(async {
        let mut renewal = Renewal::open(order.clone(), exchange.place()).unwrap();
        match renewal.turn(&have(&[])).await {
            Turn::Rest(until) => assert!(until >= at_least, "{until} {at_least}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_authority_that_is_down_is_left_alone_for_a_minute_over_restarts_and_then_asked_again() {
    let mut pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
    pebble.stop();
    let began = unix_now();
    let (error, until) = fails(&exchange, &order);
    assert_eq!(error.kind, Kind::ServerDown, "{error:?}");
    assert!((began + 60..began + 120).contains(&until));
    pebble.go_on();
    rests(&exchange, &order, began + 60);
    // The minute is over: what was written down says so.
    let file = exchange.state("schedule.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
    state["not_before"] = (began - 1).into();
    std::fs::write(&file, state.to_string()).unwrap();
    run(async {
        let mut renewal = Renewal::open(order.clone(), exchange.place()).unwrap();
        let turn = renewal.turn(&have(&[])).await;
        assert!(matches!(turn, Turn::Issued(_)), "{turn:?}");
        assert_eq!(renewal.schedule().trouble(), None);
    });
}

#[test]
fn a_proof_that_the_authority_does_not_see_is_told_with_its_name() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    // Nobody listens where it looks.
    let mut settings = by_http(&pebble);
    settings.challenge = Challenge::Http(Door::Websms);
    let order = wanted(settings, &["pbx.example.org"], &[ECC]);
    let began = unix_now();
    let (error, until) = fails(&exchange, &order);
    assert_eq!(error.kind, Kind::Refused, "{error:?}");
    assert!(
        error.text.starts_with("`pbx.example.org` is not proven: "),
        "{error:?}"
    );
    assert!(error.hint.is_some_and(|hint| hint.contains("port")));
    assert!(until >= began + 15 * 60);
    rests(&exchange, &order, began + 15 * 60);
    exchange.is_tidy();
    // Other settings are tried at once.
    let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
    run(async {
        let mut renewal = Renewal::open(order, exchange.place()).unwrap();
        assert!(matches!(renewal.turn(&have(&[])).await, Turn::Issued(_)));
    });
}

/// A small HTTPS server that plays the authority: Pebble knows no limits.
fn one_that_refuses(
    answer: impl Fn(&str, u16) -> Told + Send + Sync + 'static,
) -> (Server, Exchange, Wanted) {
    let exchange = Exchange::new();
    let (file, tls) = authority(exchange.0.path());
    let (sender, port) = std::sync::mpsc::channel();
    let port = std::sync::Mutex::new(port);
    let known = std::sync::OnceLock::new();
    let server = Server::start(Some(tls), move |asked| {
        let port = *known.get_or_init(|| port.lock().unwrap().recv().unwrap());
        Some(answer(&asked.path, port))
    });
    sender.send(server.port).unwrap();
    let url = format!("https://localhost:{}/directory", server.port);
    let settings = settings(&url, &file, Challenge::Http(Door::Websms));
    (
        server,
        exchange,
        wanted(settings, &["pbx.example.org"], &[ECC]),
    )
}

#[test]
fn an_authority_that_answers_429_is_left_alone_as_long_as_it_says() {
    let (server, exchange, order) = one_that_refuses(|_, _| Told {
        headers: vec![("Retry-After", "7200".to_owned())],
        body: b"<html>slow down</html>".to_vec(),
        ..Told::status(429)
    });
    let began = unix_now();
    let (error, until) = fails(&exchange, &order);
    assert_eq!(error.kind, Kind::RateLimited, "{error:?}");
    assert_eq!(error.retry_after, Some(Duration::from_secs(7200)));
    assert!(until >= began + 7200 || until == began + 6 * 3600);
    assert_eq!(server.next().path, "/directory");
    rests(&exchange, &order, began + 7200);
    assert!(server.is_quiet());
}

#[test]
fn a_limit_that_is_told_in_the_midst_of_an_order_counts_as_well() {
    let (server, exchange, order) = one_that_refuses(|path, port| {
        let at = |path: &str| format!("https://localhost:{port}/{path}");
        match path {
            "/directory" => Told::ok(
                &serde_json::json!({
                    "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
                })
                .to_string(),
            ),
            "/nonce" => Told {
                headers: vec![("Replay-Nonce", "abc".to_owned())],
                ..Told::ok("")
            },
            _ => Told {
                headers: vec![
                    ("Retry-After", "10000".to_owned()),
                    ("Content-Type", "application/problem+json".to_owned()),
                ],
                body: br#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429}"#.to_vec(),
                ..Told::status(429)
            },
        }
    });
    let began = unix_now();
    let (error, _) = fails(&exchange, &order);
    assert_eq!(error.kind, Kind::RateLimited, "{error:?}");
    assert!(error.text.contains("too many"));
    assert_eq!(error.retry_after, Some(Duration::from_secs(10_000)));
    assert_eq!(
        [(); 3].map(|()| server.next().path),
        ["/directory", "/nonce", "/account"]
    );
    rests(&exchange, &order, began + 10_000);
    assert!(server.is_quiet());
}

#[test]
fn an_authority_that_fails_or_is_none_is_told_apart() {
    for (status, body, kind) in [
        (503, "", Kind::ServerDown),
        (404, "", Kind::Rejected),
        (200, "<html>hello</html>", Kind::Rejected),
    ] {
        let (_server, exchange, order) = one_that_refuses(move |_, _| Told {
            body: body.as_bytes().to_vec(),
            ..Told::status(status)
        });
        let (error, _) = fails(&exchange, &order);
        assert_eq!(error.kind, kind, "{error:?}");
    }
}

#[test]
fn an_authority_that_hangs_does_not_hold_us() {
    let exchange = Exchange::new();
    let (file, _) = authority(exchange.0.path());
    let (port, _held) = silent();
    let url = format!("https://localhost:{port}/directory");
    let mut order = wanted(
        settings(&url, &file, Challenge::Http(Door::Websms)),
        &["pbx.example.org"],
        &[ECC],
    );
    order.patience = Patience {
        connect: Duration::from_millis(200),
        whole: Duration::from_millis(200),
    };
    let (error, _) = fails(&exchange, &order);
    assert_eq!(error.kind, Kind::ServerDown, "{error:?}");
}

#[test]
fn an_authority_whose_tls_nobody_knows_is_not_trusted() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    let mut settings = by_http(&pebble);
    settings.authority = None;
    let (error, _) = fails(&exchange, &wanted(settings, &["pbx.example.org"], &[ECC]));
    assert_eq!(error.kind, Kind::ServerDown, "{error:?}");
    assert!(
        error.told().contains("SWITCHHOOK_ACME_CA_FILE") && !error.told().contains("SSL_CERT_FILE"),
        "{error:?}"
    );
}

#[test]
fn a_port_that_is_taken_is_told_and_nothing_is_left() {
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let pebble =
        Pebble::with_http_port(Manner::default(), Some(taken.local_addr().unwrap().port()));
    let exchange = Exchange::new();
    let (error, _) = fails(
        &exchange,
        &wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]),
    );
    assert_eq!(error.kind, Kind::Local, "{error:?}");
    assert!(
        error.told().contains("SWITCHHOOK_ACME_HTTP_PORT"),
        "{error:?}"
    );
    exchange.is_tidy();
}

#[test]
fn a_program_for_records_that_fails_is_told_with_its_last_word_and_cleaned_up_after() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    let calls = exchange.0.path().join("calls");
    let script = format!(
        "#!/bin/sh\necho $1 >> {}\necho begin\necho no such zone >&2\nexit 3\n",
        calls.display()
    );
    let hook = program(&exchange, &script);
    let mut settings = by_http(&pebble);
    settings.challenge = Challenge::Dns {
        hook,
        wait: Duration::ZERO,
    };
    let (error, _) = fails(&exchange, &wanted(settings, &["*.example.org"], &[ECC]));
    assert_eq!(error.kind, Kind::Local, "{error:?}");
    assert!(
        error
            .text
            .ends_with("failed for example.org: exit code 3: no such zone"),
        "{error:?}"
    );
    assert_eq!(
        std::fs::read_to_string(calls).unwrap(),
        "present\ncleanup\n"
    );
}

/// The process ends in the midst of an order: what it ran is gone, and the next one waits.
#[test]
fn an_order_that_is_broken_off_leaves_no_program_and_counts_as_an_attempt() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    let fifo = exchange.0.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("#!/bin/sh\necho $$ > {}\nexec sleep 600\n", fifo.display());
    let hook = program(&exchange, &script);
    let mut settings = by_http(&pebble);
    settings.challenge = Challenge::Dns {
        hook,
        wait: Duration::ZERO,
    };
    let order = wanted(settings, &["*.example.org"], &[ECC]);
    let began = unix_now();
    let pid = run(async {
        let mut renewal = Renewal::open(order.clone(), exchange.place()).unwrap();
        let path = fifo.clone();
        let started = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            std::fs::File::open(path)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            text
        });
        let nothing = have(&[]);
        tokio::select! {
            turn = renewal.turn(&nothing) => panic!("{turn:?}"),
            pid = started => pid.unwrap(),
        }
    });
    let status = format!("/proc/{}", pid.trim());
    assert!(!std::path::Path::new(&status).exists(), "it runs on");
    rests(&exchange, &order, began + 5 * 60);
}

#[test]
fn two_at_once_order_once() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
    run(async {
        let place = exchange.place();
        let nothing = have(&[]);
        let order_one = || obtain(&order, &order.keys, &nothing, &place);
        let (one, other) = tokio::join!(order_one(), order_one());
        assert!(one.is_ok(), "{one:?}");
        assert_eq!(other.unwrap_err().kind, Kind::Local);
    });
}

#[test]
fn a_state_directory_that_cannot_be_written_means_no_order() {
    let (server, exchange, order) = one_that_refuses(|_, _| Told::status(500));
    // Where the directory should be is a file.
    std::fs::write(
        exchange
            .state("")
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches('/'),
        "",
    )
    .unwrap();
    run(async {
        match Renewal::open(order, exchange.place()) {
            Err(error) => assert_eq!(error.kind, Kind::Local),
            Ok(mut renewal) => {
                let turn = renewal.turn(&have(&[])).await;
                assert!(
                    matches!(&turn, Turn::Failed(error, _) if error.kind == Kind::Local),
                    "{turn:?}"
                );
            }
        }
    });
    assert!(server.is_quiet());
}

#[test]
fn what_a_later_version_has_written_is_not_overwritten() {
    let (server, exchange, order) = one_that_refuses(|_, _| Told::status(500));
    std::fs::create_dir(exchange.state("")).unwrap();
    let text = r#"{"schema":99,"other":1}"#;
    std::fs::write(exchange.state("schedule.json"), text).unwrap();
    let error = Renewal::open(order, exchange.place()).unwrap_err();
    assert!(error.told().contains("schema 99"), "{error:?}");
    assert_eq!(
        std::fs::read_to_string(exchange.state("schedule.json")).unwrap(),
        text
    );
    assert!(server.is_quiet());
}
