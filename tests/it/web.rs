//! The web client against a foreign server: TLS by an authority of one's own, limits, and errors that say what happened.

pub mod server;

use std::process::Command;
use std::time::Duration;

use switchhook::web::address::Address;
use switchhook::web::{Answer, Client, Patience, Problem, Request, WebError};

use server::{Server, Told, authority, silent};

/// Says that this process has the environment that the test wants.
const INSIDE: &str = "SWITCHHOOK_TEST_ENVIRONMENT";

/// Runs the test of this name again with these variables and no proxy.
fn with_environment(name: &str, variables: &[(&str, &str)], test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("web::{name}"), "--nocapture"]);
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy);
        command.env_remove(proxy.to_ascii_uppercase());
    }
    let out = command
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&text));
}

fn ask_with(
    patience: Patience,
    address: &str,
    body: Option<&str>,
    most: usize,
) -> Result<Answer, WebError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let address = Address::parse(address).unwrap();
    let request = Request {
        address: &address,
        headers: vec![("x-test", "1".to_owned()), ("x-bad", "1\r\n2".to_owned())],
        body: body.map(|body| body.as_bytes().to_vec()),
        most,
    };
    runtime.block_on(async { Client::new(patience)?.ask(request).await })
}

fn ask(address: &str, most: usize) -> Result<Answer, WebError> {
    ask_with(Patience::default(), address, None, most)
}

fn problem(address: &str) -> Problem {
    ask(address, 1000).expect_err("an answer").problem
}

#[test]
fn an_authority_of_ones_own_is_trusted_when_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authority.pem");
    let name = "an_authority_of_ones_own_is_trusted_when_it_is_named";
    let variable = file.display().to_string();
    with_environment(name, &[("SSL_CERT_FILE", &variable)], || {
        let file = std::env::var("SSL_CERT_FILE").unwrap();
        let directory = std::path::Path::new(&file).parent().unwrap();
        let (_, tls) = authority(directory);
        let server = Server::start(Some(tls), |_| Some(Told::ok("hello")));
        let address = format!("https://user:hunter%32@localhost:{}/a?b", server.port);
        let answer = ask_with(Patience::default(), &address, Some("{}"), 5).unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, b"hello".as_slice())
        );
        let asked = server.next();
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("POST", "/a?b")
        );
        assert_eq!(asked.body, b"{}");
        // base64 of user:hunter2
        assert_eq!(asked.header("authorization"), "Basic dXNlcjpodW50ZXIy");
        let agent = format!("switchhook/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(asked.header("user-agent"), agent);
        assert_eq!((asked.header("x-test"), asked.header("x-bad")), ("1", ""));
        // Its name is another one.
        let address = format!("https://127.0.0.1:{}/", server.port);
        assert!(matches!(problem(&address), Problem::Tls(_)));
    });
}

#[test]
fn an_authority_that_nobody_knows_is_refused() {
    with_environment("an_authority_that_nobody_knows_is_refused", &[], || {
        let directory = tempfile::tempdir().unwrap();
        let (_, tls) = authority(directory.path());
        let server = Server::start(Some(tls), |_| Some(Told::ok("hello")));
        let error =
            ask(&format!("https://u:hunter2@localhost:{}/", server.port), 5).expect_err("trusted");
        assert!(
            matches!(&error.problem, Problem::Tls(why) if why.contains("UnknownIssuer")),
            "{error:?}"
        );
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("SSL_CERT_FILE") && !text.contains("hunter2"),
            "{text}"
        );
        assert!(server.is_quiet());
    });
}

#[test]
fn there_is_an_end_to_every_answer() {
    with_environment("there_is_an_end_to_every_answer", &[], || {
        let server = Server::start(None, |asked| {
            let claimed = match asked.path.as_str() {
                "/claims" => Some(11),
                "/cut" => Some(10),
                _ => None,
            };
            let body = if asked.path == "/cut" {
                "12345"
            } else {
                "0123456789"
            };
            Some(Told {
                claimed,
                ..Told::ok(body)
            })
        });
        let at = |path: &str| format!("http://127.0.0.1:{}{path}", server.port);
        assert_eq!(ask(&at("/"), 10).unwrap().body, b"0123456789");
        assert!(matches!(
            ask(&at("/"), 9).unwrap_err().problem,
            Problem::TooLarge(9)
        ));
        assert!(matches!(
            ask(&at("/claims"), 10).unwrap_err().problem,
            Problem::TooLarge(10)
        ));
        assert!(matches!(
            ask(&at("/cut"), 10).unwrap_err().problem,
            Problem::Broken(_)
        ));
    });
}

#[test]
fn a_redirect_is_not_followed_and_a_status_is_told() {
    with_environment(
        "a_redirect_is_not_followed_and_a_status_is_told",
        &[],
        || {
            let server = Server::start(None, |asked| {
                let code = asked.path.trim_start_matches('/').parse().unwrap();
                let headers = vec![
                    ("Location", "/200".to_owned()),
                    ("Retry-After", "7".to_owned()),
                    ("ETag", "\"x\"".to_owned()),
                ];
                Some(Told {
                    headers,
                    ..Told::status(code)
                })
            });
            let at = |code: u16| format!("http://127.0.0.1:{}/{code}", server.port);
            let unchanged = ask(&at(304), 10).unwrap();
            assert_eq!(
                (unchanged.status, unchanged.etag.as_deref()),
                (304, Some("\"x\""))
            );
            for (code, is_temporary) in [(301, false), (404, false), (429, true), (503, true)] {
                let problem = problem(&at(code));
                assert_eq!(problem.is_temporary(), is_temporary, "{code}");
                assert!(
                    matches!(&problem, Problem::Status { code: found, retry_after } if *found == code && retry_after.as_deref() == Some("7")),
                    "{problem}"
                );
            }
        },
    );
}

#[test]
fn what_went_wrong_can_be_told_apart() {
    with_environment("what_went_wrong_can_be_told_apart", &[], || {
        assert!(matches!(
            problem("http://nobody.invalid/"),
            Problem::Unresolved(_)
        ));
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = unused.local_addr().unwrap().port();
        drop(unused);
        let refused = problem(&format!("http://127.0.0.1:{port}/"));
        assert!(matches!(refused, Problem::Refused), "{refused:?}");
        let server = Server::start(None, |_| None);
        let broken = problem(&format!("http://127.0.0.1:{}/", server.port));
        assert!(matches!(broken, Problem::Broken(_)), "{broken:?}");
        let shortly = Duration::from_millis(50);
        let never = Duration::from_secs(3600);
        let (port, _held) = silent();
        let patience = Patience {
            connect: never,
            whole: shortly,
        };
        let after = ask_with(patience, &format!("http://127.0.0.1:{port}/"), None, 9);
        assert!(matches!(after.unwrap_err().problem, Problem::TimedOutAfter));
        let (port, _held) = silent();
        let patience = Patience {
            connect: shortly,
            whole: never,
        };
        let before = ask_with(patience, &format!("https://localhost:{port}/"), None, 9);
        let before = before.unwrap_err().problem;
        assert!(matches!(before, Problem::TimedOutBefore), "{before:?}");
    });
}

#[test]
fn a_proxy_of_the_environment_is_used() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let name = "a_proxy_of_the_environment_is_used";
    if std::env::var_os(INSIDE).is_none() {
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 64];
            let count = stream.read(&mut head).unwrap();
            assert!(head[..count].starts_with(b"GET http://example.invalid/x "));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy";
            stream.write_all(answer).unwrap();
        });
    }
    with_environment(name, &[("http_proxy", &proxy)], || {
        assert_eq!(ask("http://example.invalid/x", 5).unwrap().body, b"proxy");
    });
}
