//! Messages as call files, for a dialplan that takes them as the predecessor's did.
//!
//! Asterisk reads a file of headers (pbx_spool.c) from its directory `outgoing`, with lines below 1024 bytes. What is too long for
//! one line goes into several variables, which `sub_decode_body` of our dialplan joins; for a dialplan that cannot, a long
//! message becomes several. Invariant: no value from outside stands in a file but as a number, a name, or percent-encoded.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::websms::config::AstQueue;
use crate::websms::number::checked;
use crate::websms::spool::Message;

/// Bytes of a text in one line, encoded. Asterisk skips a line of 1024.
const LINE: usize = 900;
/// Bytes of a text in one message: what the dialplan can hold in one `Set` is 8192.
const WHOLE: usize = 7000;
/// The variable of the second and further lines; a dialplan that names it joins them.
pub const PART: &str = "MESSAGE_PART_";

/// The files of a message, in order. None: its number or its sender cannot stand in a call file.
pub fn call_files(message: &Message, queue: &AstQueue, joins: bool) -> Option<Vec<String>> {
    let to = checked(&message.to).ok()?;
    // A sender that cannot be answered is left out rather than the message.
    let from = checked(&message.from).unwrap_or_default();
    let joins = joins && queue.encode;
    let text = match queue.encode {
        true => message.body.clone(),
        false => message.body.replace(|c: char| c.is_control(), " "),
    };
    let length = |text: &str| match queue.encode {
        true => encoded(text).len(),
        false => text.len(),
    };
    let fits = |text: &str| match joins {
        true => text.len() <= WHOLE,
        false => length(text) <= LINE,
    };
    // The mark takes a few bytes of its own.
    let most = |text: &str| match joins {
        true => text.len() <= WHOLE - 20,
        false => length(text) <= LINE - 40,
    };
    let texts = match fits(&text) {
        true => vec![text],
        false => {
            let pieces = pieces(&text, most);
            let count = pieces.len();
            let marked = pieces.iter().zip(1..);
            marked
                .map(|(piece, at)| format!("({at}/{count}) {piece}"))
                .collect()
        }
    };
    let files = texts.iter().map(|text| file(to, from, text, queue));
    Some(files.collect())
}

fn file(to: &str, from: &str, text: &str, queue: &AstQueue) -> String {
    let mut out = format!(
        "Channel: Local/{to}@{}\nCallerID: \"\" <{from}>\nWaitTime: {}\nMaxRetries: {}\nRetryTime: {}\n",
        queue.channel_context, queue.waittime, queue.maxretries, queue.retrytime
    );
    for (header, value) in [
        ("Account", &queue.account),
        ("Application", &queue.application),
        ("Data", &queue.data),
    ] {
        if let Some(value) = value {
            out.push_str(&format!("{header}: {value}\n"));
        }
    }
    let archive = match queue.archive {
        true => "yes",
        false => "no",
    };
    out.push_str(&format!(
        "Context: {}\nExtension: {to}\nPriority: {}\nArchive: {archive}\nSetvar: MESSAGE(to)={to}\nSetvar: MESSAGE(from)={from}\n",
        queue.context, queue.priority
    ));
    if !queue.encode {
        out.push_str(&format!("Setvar: MESSAGE(body)={text}\n"));
        return out;
    }
    let lines = pieces(text, |piece| encoded(piece).len() <= LINE);
    for (line, at) in lines.iter().zip(1..) {
        let name = match at {
            1 => "MESSAGE(body)".to_owned(),
            _ => format!("{PART}{at}"),
        };
        out.push_str(&format!("Setvar: {name}={}\n", encoded(line)));
    }
    out.push_str("Setvar: MESSAGE_ENCODE=rfc3986\n");
    out
}

/// Cuts a text into pieces that fit, between characters; one at least.
fn pieces(text: &str, fits: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while !fits(rest) {
        // The longest start that fits, found by halving.
        let ends: Vec<usize> = rest.char_indices().map(|(at, _)| at).skip(1).collect();
        let count = ends.partition_point(|end| rest.get(..*end).is_some_and(&fits));
        let end = ends.get(count.max(1) - 1).copied().unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        out.push(piece);
        rest = after;
        if rest.is_empty() {
            return out;
        }
    }
    out.push(rest);
    out
}

/// As PHP's rawurlencode does.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Whether this dialplan joins what stands in several lines.
pub fn joins(dialplan: &str) -> bool {
    let mut lines = dialplan.lines().map(str::trim_start);
    lines.any(|line| !line.starts_with(';') && line.contains(PART))
}

/// Puts files into Asterisk's directory, each whole or not at all, in a group that lets Asterisk write on in them. They are
/// made in `staging`, of the same file system: Asterisk takes whatever appears in its own directory, and deletes what it may
/// not read yet, whatever its name.
pub fn put(name: &str, files: &[String], staging: &Path, outgoing: &Path) -> io::Result<()> {
    let group = fs::metadata(outgoing)?.gid();
    for (text, at) in files.iter().zip(1..) {
        let staged: PathBuf = staging.join(format!("{name}-{at}.call.new"));
        fs::write(&staged, text)?;
        chown(&staged, None, Some(group))?;
        fs::set_permissions(&staged, Permissions::from_mode(0o660))?;
        fs::File::open(&staged)?.sync_all()?;
        fs::rename(&staged, outgoing.join(format!("websms-{name}-{at}.call")))?;
    }
    fs::File::open(outgoing)?.sync_all()
}

/// Whether call files can be put there, without putting one.
pub fn try_out(staging: &Path, outgoing: &Path) -> io::Result<()> {
    let staged = staging.join("door.call.new");
    fs::write(&staged, "")?;
    chown(&staged, None, Some(fs::metadata(outgoing)?.gid()))?;
    fs::remove_file(&staged)?;
    let (reach, put) = (AccessFlags::X_OK, AccessFlags::W_OK);
    Ok(access(outgoing, reach | put)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websms::delivery::State;
    use crate::websms::spool::{Direction, Id};

    fn message(body: &str) -> Message {
        Message {
            id: Id::first_of(1),
            direction: Direction::In,
            interface: "1".to_owned(),
            provider_id: None,
            key: None,
            from: "+46700000001".to_owned(),
            to: "+46701234567".to_owned(),
            body: body.to_owned(),
            media: vec![],
            received: 1,
            endpoint: None,
            state: State::Received,
            changed: 1,
            next: None,
            tries: 0,
            detail: String::new(),
        }
    }

    fn queue() -> AstQueue {
        AstQueue {
            context: "dp_entry_text_in".to_owned(),
            channel_context: "dp_entry_answer".to_owned(),
            ..AstQueue::default()
        }
    }

    #[test]
    fn a_call_file_is_the_predecessors() {
        let files = call_files(
            &message("Grüße, \"x\"\nApplication: System"),
            &queue(),
            true,
        );
        insta::assert_snapshot!(files.unwrap().join("---"), @r#"
        Channel: Local/+46701234567@dp_entry_answer
        CallerID: "" <+46700000001>
        WaitTime: 45
        MaxRetries: 0
        RetryTime: 300
        Context: dp_entry_text_in
        Extension: +46701234567
        Priority: 1
        Archive: no
        Setvar: MESSAGE(to)=+46701234567
        Setvar: MESSAGE(from)=+46700000001
        Setvar: MESSAGE(body)=Gr%C3%BC%C3%9Fe%2C%20%22x%22%0AApplication%3A%20System
        Setvar: MESSAGE_ENCODE=rfc3986
        "#);
    }

    #[test]
    fn nothing_from_outside_makes_a_line_of_its_own() {
        let mut bad = message("x");
        bad.to = "+1\nApplication: System".to_owned();
        assert_eq!(call_files(&bad, &queue(), true), None);
        let mut odd = message("x");
        odd.from = "a>\nApplication: System".to_owned();
        let files = call_files(&odd, &queue(), true).unwrap();
        assert!(!files[0].contains("Application"), "{}", files[0]);
        let raw = AstQueue {
            encode: false,
            ..queue()
        };
        let files = call_files(&message("a\r\nApplication: System"), &raw, true).unwrap();
        assert!(files[0].contains("MESSAGE(body)=a  Application: System\n"));
    }

    #[test]
    fn a_long_text_is_whole_again_when_the_lines_are_joined() {
        let text = "\u{1f600}a\n".repeat(800);
        let files = call_files(&message(&text), &queue(), true).unwrap();
        assert_eq!(files.len(), 1);
        let lines = files[0].lines();
        let values = lines.filter(|line| line.contains("body)=") || line.contains(PART));
        let joined: String = values.map(|line| line.split_once('=').unwrap().1).collect();
        assert_eq!(joined, encoded(&text));
        assert!(files[0].lines().all(|line| line.len() < 1000));
    }

    #[test]
    fn a_dialplan_that_does_not_join_gets_marked_messages() {
        let text = "\u{1f600}".repeat(200);
        let files = call_files(&message(&text), &queue(), false).unwrap();
        assert!(files.len() > 2);
        assert!(files.iter().all(|file| !file.contains(PART)));
        let first = format!(
            "body)={}",
            encoded(&format!("(1/{}) \u{1f600}", files.len()))
        );
        assert!(files[0].contains(&first), "{}", files[0]);
        assert!(
            files
                .iter()
                .flat_map(|file| file.lines())
                .all(|line| line.len() < 1000)
        );
        let emoji: usize = files
            .iter()
            .map(|file| file.matches("%F0%9F%98%80").count())
            .sum();
        assert_eq!(emoji, 200);
        assert!(joins(" same => n,Set(a=${MESSAGE_PART_${part}})"));
        assert!(!joins("; MESSAGE_PART_2\n"));
    }

    #[test]
    fn files_come_into_the_directory_whole() {
        let (staging, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = ["a".to_owned(), "b".to_owned()];
        put("X", &files, staging.path(), directory.path()).unwrap();
        assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["websms-X-1.call", "websms-X-2.call"]);
        let mode = fs::metadata(directory.path().join("websms-X-1.call"))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o777, 0o660);
    }

    #[test]
    fn a_place_is_tried_without_leaving_anything() {
        let (staging, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        try_out(staging.path(), directory.path()).unwrap();
        for directory in [&staging, &directory] {
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
        let nowhere = directory.path().join("outgoing");
        assert!(try_out(staging.path(), &nowhere).is_err());
        assert!(try_out(&nowhere, directory.path()).is_err());
    }
}
