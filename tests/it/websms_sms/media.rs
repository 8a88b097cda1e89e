//! Media of messages: fetched with care, kept, and handed on as a link; or left with the carrier.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::appliance::{PATIENCE, wait_for};
use crate::web::server::{Asked, Server, Told, authority};
use crate::websms::bridge::Bridge;

const PDF: &str = "%PDF-1.4 a page";

fn told(kind: &str, body: &str) -> Told {
    Told {
        headers: vec![("Content-Type", kind.to_owned())],
        ..Told::ok(body)
    }
}

/// A bridge whose texts become call files, and a carrier with TLS whose media it may fetch.
struct Place {
    bridge: Bridge,
    server: Server,
    _home: tempfile::TempDir,
}

impl Place {
    fn new(store: &str, answer: impl Fn(&Asked) -> Option<Told> + Send + Sync + 'static) -> Place {
        let home = tempfile::tempdir().unwrap();
        let (authority, tls) = authority(home.path());
        let server = Server::start(Some(tls), answer);
        let port = server.port;
        let mut bridge = Bridge::with("");
        std::fs::create_dir_all(bridge.path("out")).unwrap();
        bridge.file(
            "srv/etc/asterisk/websms.d/mine.toml",
            &format!(
                "title = 'Mine'\n[incoming]\nformat = 'json'\nto = ['to']\nfrom = ['from']\ntext = ['text']\nid = ['id']\n\
                 media = ['media[*]']\nmedia-auth = 'basic'\nmedia-hosts = ['localhost:{port}']\n\
                 [outgoing]\nurl = 'https://localhost:{port}/send'\n[outgoing.fields]\nTo = '{{to}}'\nText = '{{text}}'\nMedia = '{{media}}'\n"
            ),
        );
        bridge.configure(&format!(
            "[websms]\nprofile [1] = mine\nauth_user [1] = user\nauth_secret [1] = secret\n\
             [websmsd]\nprox_addr = \"\"\nremt_addr = 127.0.0.1\nprofile [1] = mine\nurl_path [1] = /hook\nmedia_allow [1] = private\n\
             profile [2] = mine\nurl_path [2] = /strict\n\
             [astqueue]\ndeliver = dialplan\noutgoingdir = /out\n[store]\n{store}\n"
        ));
        bridge.restart_with("SSL_CERT_FILE", authority);
        Place {
            bridge,
            server,
            _home: home,
        }
    }

    /// A message with these media; its answer does not wait for them.
    fn post(&self, hook: &str, id: &str, media: &[String]) {
        let message = json!({"to": "+469", "from": "+461", "text": format!("text {id}"), "id": id, "media": media});
        let kind = [("Content-Type", "application/json")];
        let answer = self
            .bridge
            .ask("POST", hook, &kind, message.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.port)
    }

    /// The message of the carrier's id, as soon as it is delivered.
    fn delivered(&self, id: &str) -> Value {
        let found = || {
            let list = self.bridge.sms_json(0, &["list", "--state", "delivered"]);
            let all = list["messages"].as_array().unwrap();
            let found = all.iter().find(|of| of["provider_id"] == id)?;
            Some(found["id"].as_str().unwrap().to_owned())
        };
        let id = wait_for(found, &format!("{id} is not delivered"));
        self.bridge.sms_json(0, &["show", &id])
    }

    /// The text that the dialplan got for a message.
    fn text(&self, shown: &Value) -> String {
        let id = shown["message"]["id"].as_str().unwrap();
        let files = std::fs::read_dir(self.bridge.path("out")).unwrap();
        let file = files.map(|entry| entry.unwrap().path()).find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.contains(id)
        });
        let text = std::fs::read_to_string(file.unwrap()).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("Setvar: MESSAGE(body)="));
        decoded(line.unwrap().split_once('=').unwrap().1)
    }

    fn files(&self, id: &str) -> std::path::PathBuf {
        self.bridge
            .path(&format!("srv/var/lib/switchhook/websms/media/{id}"))
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(&after[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

const STORE: &str = "media_url = https://pbx.example.org";

#[test]
fn media_are_fetched_kept_offered_and_forgotten() {
    let place = Place::new(STORE, |asked| {
        Some(match asked.path.as_str() {
            "/one" => Told {
                headers: vec![("Location", "/moved".to_owned())],
                ..Told::status(307)
            },
            _ => told("application/pdf; x=y", PDF),
        })
    });
    place.post("/hook", "a", &[place.url("/one")]);
    let shown = place.delivered("a");
    // The carrier's host gets the credentials, on the way as well.
    for path in ["/one", "/moved"] {
        let asked = place.server.next();
        assert_eq!(asked.path, path);
        assert_eq!(asked.header("authorization"), "Basic dXNlcjpzZWNyZXQ=");
    }
    let link = shown["media"][0]["link"].as_str().unwrap();
    let path = link.strip_prefix("https://pbx.example.org").unwrap();
    assert!(
        path.starts_with("/media/") && path.len() == 7 + 48,
        "{path}"
    );
    assert_eq!(place.text(&shown), format!("text a\n{link}"));

    let answer = place.bridge.ask("GET", path, &[], b"");
    assert_eq!((answer.status, answer.body.as_str()), (200, PDF));
    let id = shown["message"]["id"].as_str().unwrap();
    for (name, value) in [
        ("content-type", "application/pdf"),
        (
            "content-disposition",
            &format!("attachment; filename=\"{id}-1.pdf\""),
        ),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let file = place.files(id).join("1");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);

    let other = format!("/media/{}", "0".repeat(48));
    assert_eq!(place.bridge.ask("GET", &other, &[], b"").status, 404);
    // Only who reads is at the right place.
    assert_ne!(place.bridge.post(path, "x").status, 200);
    assert_eq!(
        place
            .bridge
            .sms(&["erase", "--number", "+461", "--yes"])
            .status
            .code(),
        Some(0)
    );
    assert!(!file.exists());
    assert_eq!(place.bridge.ask("GET", path, &[], b"").status, 404);
}

#[test]
fn what_is_not_kept_goes_out_with_the_carriers_link() {
    let huge = "x".repeat(5 * 1024 * 1024);
    let huge = format!("%PDF-{huge}");
    let place = Place::new(STORE, move |asked| {
        Some(match asked.path.as_str() {
            "/html" => told("text/html", "<script>"),
            "/liar" => told("image/jpeg", "<html><script>"),
            "/huge" => told("application/pdf", &huge),
            "/boast" => Told {
                claimed: Some(1_000_000_000_000),
                ..told("application/pdf", PDF)
            },
            "/loop" => Told {
                headers: vec![("Location", "/loop".to_owned())],
                ..Told::status(302)
            },
            "/plain" => Told {
                headers: vec![("Location", "http://localhost/".to_owned())],
                ..Told::status(302)
            },
            "/gone" => Told::status(404),
            _ => told("application/pdf", PDF),
        })
    });
    for (path, why) in [
        (
            "/html",
            "its type is not among those that are kept: text/html",
        ),
        ("/liar", "not what it says to be"),
        ("/huge", "longer than 5242880 bytes"),
        ("/boast", "longer than 5242880 bytes"),
        ("/loop", "moved again and again"),
        ("/plain", "not https"),
        ("/gone", "status 404"),
    ] {
        // One that fails does not take the other with it.
        let urls = [place.url(path), place.url("/good")];
        place.post("/hook", path, &urls);
        let shown = place.delivered(path);
        let detail = shown["media"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{path}: {detail}");
        assert_eq!(shown["media"][1]["state"], "stored", "{path}");
        let link = shown["media"][1]["link"].as_str().unwrap();
        assert_eq!(
            place.text(&shown),
            format!("text {path}\n{}\n{link}", urls[0])
        );
    }
}

#[test]
fn an_interface_that_does_not_allow_it_has_us_ask_nobody_in_the_house() {
    let place = Place::new(STORE, |_| Some(told("application/pdf", PDF)));
    let port = place.server.port;
    let urls = [
        format!("https://localhost:{port}/a"),
        format!("https://127.0.0.1:{port}/b"),
        format!("https://[::ffff:127.0.0.1]:{port}/c"),
        format!("https://2130706433:{port}/d"),
        format!("http://localhost:{port}/e"),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
    ];
    place.post("/strict", "s", &urls);
    let shown = place.delivered("s");
    for (at, url) in urls.iter().enumerate() {
        let of = &shown["media"][at];
        assert_eq!(
            (&of["state"], &of["source"]),
            (&"left".into(), &url.as_str().into())
        );
        let detail = of["detail"].as_str().unwrap();
        let is_guarded = detail.contains("not one of the public Internet");
        assert!(
            is_guarded || detail.contains("not https"),
            "{url}: {detail}"
        );
    }
    assert!(place.server.is_quiet());
}

#[test]
fn a_fetch_that_is_cut_off_is_made_again_and_the_order_is_kept() {
    let (came, arrivals) = channel();
    let came = Mutex::new(came);
    let count = AtomicUsize::new(0);
    let place = Place::new(STORE, move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => {
            came.lock().unwrap().send(()).unwrap();
            // It never answers.
            loop {
                std::thread::park();
            }
        }
        1 => Some(Told::status(503)),
        _ => Some(told("application/pdf", PDF)),
    });
    let mut place = place;
    place.post("/hook", "first", &[place.url("/slow")]);
    arrivals.recv_timeout(PATIENCE).unwrap();
    place.post("/hook", "second", &[]);
    let states = place.bridge.sms_json(0, &["list"]);
    let states = states["messages"].as_array().unwrap().iter();
    assert!(states.into_iter().all(|of| of["state"] == "received"));
    place.bridge.is_killed();
    place.bridge.start();
    let first = place.delivered("first");
    let second = place.delivered("second");
    assert_eq!(first["media"][0]["state"], "stored");
    assert!(
        place
            .text(&first)
            .contains("https://pbx.example.org/media/")
    );
    let at = |shown: &Value| shown["message"]["changed"].as_i64().unwrap();
    assert!(at(&first) <= at(&second));
}

#[test]
fn without_an_address_of_our_own_the_carriers_link_is_passed_on_at_once() {
    let place = Place::new("", |_| Some(told("application/pdf", PDF)));
    let url = place.url("/one");
    place.post("/hook", "a", std::slice::from_ref(&url));
    let shown = place.delivered("a");
    assert_eq!(place.text(&shown), format!("text a\n{url}"));
    assert!(place.server.is_quiet());
}

#[test]
fn when_the_place_is_used_up_texts_go_out_all_the_same() {
    let store = format!("{STORE}\nmedia_quota = 10");
    let place = Place::new(&store, |_| Some(told("application/pdf", PDF)));
    place.post("/hook", "a", &[place.url("/one")]);
    let first = place.delivered("a");
    assert_eq!(first["media"][0]["state"], "stored");
    place.post("/hook", "b", &[place.url("/two")]);
    let second = place.delivered("b");
    assert_eq!(second["media"][0]["state"], "left");
    let status = place.bridge.sms_json(1, &["status"]);
    assert!(
        status["problems"][0]
            .as_str()
            .unwrap()
            .contains("media_quota")
    );
}

#[test]
fn a_message_whose_media_are_awaited_can_be_taken_back() {
    let (came, arrivals) = channel();
    let came = Arc::new(Mutex::new(came));
    let place = Place::new(STORE, move |_| {
        came.lock().unwrap().send(()).unwrap();
        loop {
            std::thread::park();
        }
    });
    place.post("/hook", "a", &[place.url("/slow")]);
    arrivals.recv_timeout(PATIENCE).unwrap();
    let list = place.bridge.sms_json(0, &["list"]);
    let id = list["messages"][0]["id"].as_str().unwrap();
    place.bridge.sms_json(0, &["cancel", id]);
    let cancelled = || {
        let shown = place.bridge.sms_json(0, &["show", id]);
        (shown["message"]["state"] == "cancelled").then_some(())
    };
    wait_for(cancelled, "it is not taken back");
    // The next one of this sender does not wait for it.
    place.post("/hook", "b", &[]);
    place.delivered("b");
}

#[test]
fn pictures_go_out_where_the_carrier_takes_them() {
    let place = Place::new("", |_| Some(Told::ok("{}")));
    let words = [
        "send",
        "--from",
        "+469",
        "--to",
        "+461",
        "--interface",
        "1",
        "--wait",
    ];
    let url = "https://pictures.example/1.jpg";
    let sent = place
        .bridge
        .sms(&[&words[..], &["--media", url, "look"]].concat());
    assert_eq!(sent.status.code(), Some(0));
    let asked = place.server.next();
    let body = String::from_utf8(asked.body).unwrap();
    assert!(
        body.contains("Media=https%3A%2F%2Fpictures.example%2F1.jpg"),
        "{body}"
    );
}
