//! Messages that go to the dialplan by call files: what stands in Asterisk's directory, whatever a stranger wrote. And what came in
//! is there once for each message, under a name of ours.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::bridge::{Bridge, form};
use crate::appliance::wait_for;

const OUTGOING: &str = "var/spool/asterisk/outgoing";
const CONF: &str = "[websmsd]\nremt_addr = 127.0.0.1\nurl_path = /hook\nprox_addr = \"\"\n[astqueue]\ndeliver = dialplan\ncontext = text_in\nchannel_context = answer\n";
const DIALPLAN: &str = include_str!("../../../seed-config/etc/asterisk/extensions.conf");
/// All that may begin a line. `Application` and `Data` are not among them: nobody has configured them.
const HEADERS: [&str; 12] = [
    "Channel: Local/",
    "CallerID: \"\" <",
    "WaitTime: 45",
    "MaxRetries: 0",
    "RetryTime: 300",
    "Context: text_in",
    "Extension: ",
    "Priority: 1",
    "Archive: no",
    "Setvar: MESSAGE(to)=",
    "Setvar: MESSAGE(from)=",
    "Setvar: MESSAGE",
];

/// A bridge beside an Asterisk that has not looked into its directory yet.
fn bridge() -> Bridge {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join(OUTGOING)).unwrap();
    let conf = root.path().join("srv/etc/asterisk");
    std::fs::create_dir_all(&conf).unwrap();
    std::fs::write(conf.join("websms.conf"), CONF).unwrap();
    // It joins what stands in several lines.
    std::fs::write(conf.join("extensions.conf"), DIALPLAN).unwrap();
    Bridge::at(root)
}

/// The call files, when there are so many.
fn files(bridge: &Bridge, count: usize) -> Vec<(PathBuf, String)> {
    let directory = bridge.path(OUTGOING);
    let mut read = || {
        let entries = std::fs::read_dir(&directory).unwrap();
        let paths: BTreeSet<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        let whole = paths.len() >= count;
        whole.then(|| {
            let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).unwrap());
            paths.into_iter().map(read).collect()
        })
    };
    wait_for(&mut read, "the call files are not there")
}

/// What a text becomes when its lines are joined and decoded.
fn text_of(file: &str) -> String {
    let values = file.lines().filter_map(|line| {
        let value = line.strip_prefix("Setvar: MESSAGE(body)=");
        value.or_else(|| {
            line.strip_prefix("Setvar: MESSAGE_PART_")?
                .split_once('=')
                .map(|it| it.1)
        })
    });
    let mut bytes = Vec::new();
    let mut rest = values.collect::<String>();
    while !rest.is_empty() {
        let length = if rest.starts_with('%') { 3 } else { 1 };
        let piece: String = rest.drain(..length).collect();
        match piece.strip_prefix('%') {
            Some(digits) => bytes.push(u8::from_str_radix(digits, 16).unwrap()),
            None => bytes.extend(piece.bytes()),
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn d01_a_text_that_looks_like_a_call_file_is_a_text() {
    let bridge = bridge();
    let text =
        "\",x)\nApplication: System\nData: touch /tmp/x\n${SHELL(id)}\r\nSetvar: FILE(/tmp/x)=y";
    assert_eq!(
        bridge.post("/hook", &form("+461", "+462", text)).status,
        200
    );
    let [(_, file)] = &files(&bridge, 1)[..] else {
        panic!("more than one");
    };
    for line in file.lines() {
        assert!(
            HEADERS.iter().any(|header| line.starts_with(header)),
            "{line}"
        );
    }
    assert_eq!(text_of(file), text);
}

#[test]
fn d02_a_line_end_in_a_number_is_refused_and_makes_no_line() {
    let bridge = bridge();
    for (to, from) in [
        ("+461\nApplication: System", "+462"),
        ("+461", "+462>\nSetvar: FILE(/tmp/x)=y"),
        ("+461\r", "+462"),
        ("+461\0", "+462"),
    ] {
        assert_eq!(
            bridge.post("/hook", &form(to, from, "a")).status,
            400,
            "{to} {from}"
        );
    }
    assert_eq!(bridge.post("/hook", &form("+461", "+462", "b")).status, 200);
    let all = files(&bridge, 1);
    assert_eq!((all.len(), text_of(&all[0].1).as_str()), (1, "b"));
}

#[test]
fn d03_a_text_that_looks_like_fields_does_not_say_who_sends_it_to_whom() {
    let bridge = bridge();
    let texts = [
        "{\"To\":\"+1900\",\"From\":\"+1\",\"Body\":\"x\"}",
        "[1,2]",
        "1.10",
        "true",
        "\"q\"",
        " 0 ",
    ];
    for text in texts {
        // The text first, and last.
        for body in [
            form("+461", "+462", text),
            format!(
                "Body={}&From=%2B462&To=%2B461",
                super::bridge::encoded(text)
            ),
        ] {
            assert_eq!(bridge.post("/hook", &body).status, 200);
        }
    }
    let all = files(&bridge, 2 * texts.len());
    let got: BTreeSet<String> = all.iter().map(|(_, file)| text_of(file)).collect();
    assert_eq!(got, texts.map(str::to_owned).into());
    for (_, file) in &all {
        assert!(
            file.contains("\nSetvar: MESSAGE(to)=+461\nSetvar: MESSAGE(from)=+462\n"),
            "{file}"
        );
    }
}

#[test]
fn d04_a_number_is_never_a_path() {
    let bridge = bridge();
    for to in ["../../../../tmp/x", "/etc/x", "a/b", "..", "."] {
        let status = bridge.post("/hook", &form(to, "+462", "a")).status;
        // Two dots alone are characters that a name may have, and no path.
        assert!(status == 400 || !to.contains('/'), "{to}: {status}");
    }
    assert_eq!(bridge.post("/hook", &form("+461", "+462", "b")).status, 200);
    let all = files(&bridge, 1);
    for (path, _) in &all {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with("websms-") && name.ends_with("-1.call"),
            "{name}"
        );
    }
}

#[test]
fn d06_a_text_of_any_length_and_script_is_whole() {
    let bridge = bridge();
    let texts = [
        "a".repeat(1600),
        "я".repeat(1600),
        "\u{1f600}".repeat(1600),
        "å \u{1f600} \"q\"\r\n%0A;,&"
            .chars()
            .cycle()
            .take(1600)
            .collect(),
    ];
    for text in &texts {
        assert_eq!(
            bridge.post("/hook", &form("+461", "+462", text)).status,
            200
        );
    }
    let all = files(&bridge, texts.len());
    let got: BTreeSet<String> = all.iter().map(|(_, file)| text_of(file)).collect();
    assert_eq!(got, texts.into());
    // Asterisk leaves out a line of 1024 bytes.
    assert!(
        all.iter()
            .all(|(_, file)| file.lines().all(|line| line.len() < 1000))
    );
}

#[test]
fn d16_a_crowd_of_texts_to_one_number_is_a_crowd_of_files() {
    const EACH: usize = 100;
    let bridge = bridge();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let mut line = bridge.connect();
            scope.spawn(move || {
                for at in 0..EACH {
                    line.post("/hook", &form("+461", "+462", &format!("{client} {at}")));
                    assert_eq!(line.hears_answer().status, 200);
                }
            });
        }
    });
    let all = files(&bridge, 8 * EACH);
    let texts: BTreeSet<String> = all.iter().map(|(_, file)| text_of(file)).collect();
    assert_eq!((all.len(), texts.len()), (8 * EACH, 8 * EACH));
}
