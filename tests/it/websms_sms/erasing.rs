//! What is erased is gone, from the files as well.

use crate::appliance::wait_for;
use crate::web::server::{Server, Told};
use crate::websms::bridge::{Bridge, form};

use super::commands::conf;

/// Whether a file of the spool holds this.
fn is_on_disk(bridge: &Bridge, text: &str) -> bool {
    let directory = bridge.path("srv/var/lib/switchhook/websms");
    let files = std::fs::read_dir(directory).unwrap();
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .any(|path| {
            let bytes = std::fs::read(path).unwrap();
            let text = text.as_bytes();
            bytes.windows(text.len()).any(|piece| piece == text)
        })
}

#[test]
fn a_number_is_forgotten_by_order_only() {
    let server = Server::start(None, |_| Some(Told::ok(r#"{"id":"e1"}"#)));
    let bridge = Bridge::with(&conf(&server));
    for (from, body) in [
        ("+46701111111", "unforgettable-1"),
        ("46701111111", "unforgettable-2"),
        ("+46702222222", "another"),
    ] {
        assert_eq!(
            bridge
                .post("/hook", &form("+46709999999", from, body))
                .status,
            200
        );
    }
    let words = [
        "send",
        "--from",
        "+46709999999",
        "--to",
        "+46701111111",
        "--wait",
        "unforgettable-3",
    ];
    assert_eq!(bridge.sms(&words).status.code(), Some(0));
    assert!(is_on_disk(&bridge, "unforgettable-2"));

    let counted = bridge.sms_json(1, &["erase", "--number", "+46701111111"]);
    assert_eq!(
        (&counted["messages"], &counted["erased"]),
        (&3.into(), &false.into())
    );
    assert_eq!(bridge.messages().len(), 4);
    let erased = bridge.sms_json(0, &["erase", "--number", "+46701111111", "--yes"]);
    assert_eq!(
        (&erased["messages"], &erased["erased"]),
        (&3.into(), &true.into())
    );
    let left = bridge.messages();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].body, "another");
    assert!(!is_on_disk(&bridge, "unforgettable"));
    assert!(is_on_disk(&bridge, "another"));
    // The one that is left waits still, and it alone.
    let waits = || (bridge.sms_json(1, &["status"])["waiting_in"] == 1).then_some(());
    wait_for(waits, "the count is not right");
    let none = bridge.sms(&["erase", "--number", "+46701111111"]);
    assert_eq!(none.status.code(), Some(0));
    assert_eq!(
        bridge
            .sms(&["erase", "--number", "a;b", "--yes"])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(bridge.sms(&["erase", "--yes"]).status.code(), Some(64));
}

#[test]
fn with_redaction_a_text_goes_when_it_is_delivered() {
    let server = Server::start(None, |_| None);
    let conf = format!(
        "{}[store]\nredact = yes\n[astqueue]\ndeliver = dialplan\noutgoingdir = /out\n",
        conf(&server)
    );
    let mut bridge = Bridge::with("");
    std::fs::create_dir_all(bridge.path("out")).unwrap();
    bridge.configure(&conf);
    bridge.reload();
    assert_eq!(
        bridge
            .post("/hook", &form("+469", "+461", "a-secret-text"))
            .status,
        200
    );
    let delivered = || {
        let list = bridge.sms_json(0, &["list", "--state", "delivered"]);
        list["messages"].get(0).cloned()
    };
    let message = wait_for(delivered, "it is not delivered");
    assert_eq!(message["body"], "");
    assert_eq!(message["from"], "+461");
    // It did reach the dialplan.
    let files: Vec<_> = std::fs::read_dir(bridge.path("out")).unwrap().collect();
    assert_eq!(files.len(), 1);
    let file = std::fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
    assert!(file.contains("a-secret-text"), "{file}");
}
