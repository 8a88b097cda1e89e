//! A mail as a program hands it to sendmail(8): its recipients are in its header.
//!
//! Pure. What comes out is what a server is given: lines end with CRLF, Bcc is gone, and a Message-ID is there, by which a
//! mail that came twice can be known (RFC 5322). An address is taken apart only so far as is needed to find it. Invariant: no
//! address holds a control character, a blank or an angle bracket, so that none can become a command of SMTP.

/// A mail that can be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub bytes: Vec<u8>,
    /// From To, Cc and Bcc, each once.
    pub to: Vec<String>,
    /// The first of From.
    pub from: Option<String>,
    /// The subject as it stands there, on one line.
    pub subject: String,
}

/// What the header may lack.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// A Message-ID without brackets.
    pub id: &'a str,
    /// Now, as RFC 5322 writes it.
    pub date: &'a str,
}

/// Reads a mail. Addresses that are none are left out: a mail without any is for its reader to judge.
#[must_use]
pub fn read(raw: &[u8], given: Given<'_>) -> Message {
    let lines = lines(raw);
    let mut message = Message::default();
    let mut bytes = Vec::with_capacity(raw.len() + lines.len() + 200);
    let mut lines = lines.into_iter().peekable();
    // The line by which mailboxes are divided is none of the header's.
    lines.next_if(|line| line.starts_with(b"From ") && field_name(line).is_none());
    let (mut has_id, mut has_date) = (false, false);
    while let Some(first) = lines.next_if(|line| !line.is_empty()) {
        let Some(name) = field_name(first) else {
            // No field: the body begins, and nobody has said so.
            let head = put_missing(bytes, given, has_id, has_date);
            return with_body(message, head, std::iter::once(first).chain(lines));
        };
        let mut field = vec![first];
        while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
            field.push(more);
        }
        let value = value(&field);
        match name.as_str() {
            "to" | "cc" | "bcc" => {
                for address in addresses(&value) {
                    if !message.to.contains(&address) {
                        message.to.push(address);
                    }
                }
            }
            "from" => message.from = addresses(&value).into_iter().next(),
            "subject" => value.trim().clone_into(&mut message.subject),
            "message-id" => has_id = true,
            "date" => has_date = true,
            _ => {}
        }
        if name != "bcc" {
            for line in field {
                bytes.extend_from_slice(line);
                bytes.extend_from_slice(b"\r\n");
            }
        }
    }
    // The empty line.
    lines.next();
    let head = put_missing(bytes, given, has_id, has_date);
    with_body(message, head, lines)
}

fn put_missing(mut head: Vec<u8>, given: Given<'_>, has_id: bool, has_date: bool) -> Vec<u8> {
    if !has_date {
        head.extend_from_slice(format!("Date: {}\r\n", given.date).as_bytes());
    }
    if !has_id {
        head.extend_from_slice(format!("Message-ID: <{}>\r\n", given.id).as_bytes());
    }
    head
}

fn with_body<'a>(
    mut message: Message,
    mut bytes: Vec<u8>,
    body: impl Iterator<Item = &'a [u8]>,
) -> Message {
    bytes.extend_from_slice(b"\r\n");
    for line in body {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    message.bytes = bytes;
    message
}

/// Lines without their ends, be those LF, CRLF or CR: some servers take the last for an end, too.
fn lines(raw: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = Vec::new();
    for line in raw.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        lines.extend(line.split(|byte| *byte == b'\r'));
    }
    // What follows the last line end is no line.
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

/// The name of a field in lower case: printable ASCII but the colon (RFC 5322, 2.2).
fn field_name(line: &[u8]) -> Option<String> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn value(field: &[&[u8]]) -> String {
    let mut value = String::new();
    for (at, line) in field.iter().enumerate() {
        let text = String::from_utf8_lossy(line);
        match at {
            0 => value.push_str(text.split_once(':').map_or("", |(_, value)| value)),
            _ => value.push_str(&text),
        }
    }
    value
        .chars()
        .filter(|c| !c.is_control() || *c == '\t')
        .collect()
}

/// The addresses of a list as in `Ann <ann@example.com>, "Roe, Bob" (home) <bob@example.com>, friends: c@example.com;`.
fn addresses(list: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut plain, mut bracketed) = (String::new(), None::<String>);
    let (mut is_quoted, mut is_escaped, mut depth, mut is_within) = (false, false, 0usize, false);
    for sign in list.chars() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        match sign {
            '\\' if is_quoted || depth > 0 => is_escaped = true,
            '"' if depth == 0 => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '<' => {
                bracketed = Some(String::new());
                is_within = true;
            }
            '>' => is_within = false,
            ',' | ';' if !is_within => {
                found.extend(address(&mut plain, &mut bracketed));
            }
            // The name of a group ends here.
            ':' if !is_within => plain.clear(),
            _ if is_within => bracketed.get_or_insert_default().push(sign),
            _ => plain.push(sign),
        }
    }
    found.extend(address(&mut plain, &mut bracketed));
    found
}

fn address(plain: &mut String, bracketed: &mut Option<String>) -> Option<String> {
    let text = bracketed.take().unwrap_or_else(|| plain.clone());
    plain.clear();
    let text = text.trim();
    is_address(text).then(|| text.to_owned())
}

/// Whether a text may be given to a server as an address.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let is_sound = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"".contains(c);
    let parts = text.rsplit_once('@');
    parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && text.len() <= 254
        && text.chars().all(is_sound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIVEN: Given<'static> = Given {
        id: "7@tele",
        date: "Sun, 29 Nov 2026 12:00:00 +0000",
    };

    #[test]
    fn recipients_come_from_the_header_and_bcc_goes() {
        let raw = b"From: \"Voice, mail\" <v@example.com>\nTo: Ann <ann@example.com>,\n bob@example.com\n\
            Cc: Friends: ann@example.com, \"c <x@y>\" <c@example.com>;\nBcc: d@example.com (hi <e@f>)\n\
            Subject: a\n\tb\nMessage-ID: <1@x>\nDate: now\n\nHello\n.\nend";
        let message = read(raw, GIVEN);
        let expected = [
            "ann@example.com",
            "bob@example.com",
            "c@example.com",
            "d@example.com",
        ];
        assert_eq!(message.to, expected);
        assert_eq!(message.from.as_deref(), Some("v@example.com"));
        assert_eq!(message.subject, "a\tb");
        let text = String::from_utf8(message.bytes).unwrap();
        assert!(!text.contains("d@example.com"), "{text}");
        assert!(
            text.ends_with("Date: now\r\n\r\nHello\r\n.\r\nend\r\n"),
            "{text}"
        );
    }

    #[test]
    fn what_the_header_lacks_is_put_there() {
        let message = read(b"To: a@b\r\n\r\nx\r\n", GIVEN);
        insta::assert_snapshot!(String::from_utf8(message.bytes).unwrap().replace('\r', ""), @r"
        To: a@b
        Date: Sun, 29 Nov 2026 12:00:00 +0000
        Message-ID: <7@tele>

        x
        ");
    }

    #[test]
    fn a_mail_without_a_header_has_no_recipient() {
        let message = read(b"Hello a@b\nTo: me\n", GIVEN);
        assert_eq!(message.to, [""; 0]);
        assert!(message.bytes.ends_with(b"\r\n\r\nHello a@b\r\nTo: me\r\n"));
    }

    #[test]
    fn no_address_can_be_more_than_one() {
        for bad in [
            "a",
            "@b",
            "a@",
            "a b@c",
            "a@b>",
            "<a@b",
            "a@b\r\nRCPT",
            "a@b\u{85}",
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
        assert!(is_address("a+b.c@example.com") && is_address("\u{e5}@example.com"));
    }

    proptest! {
        #[test]
        fn every_line_ends_as_smtp_wants_it(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
            let message = read(&raw, GIVEN);
            prop_assert!(message.bytes.ends_with(b"\r\n"));
            for (at, byte) in message.bytes.iter().enumerate() {
                match byte {
                    b'\r' => prop_assert_eq!(message.bytes.get(at + 1), Some(&b'\n')),
                    b'\n' => prop_assert_eq!(message.bytes[at - 1], b'\r'),
                    _ => {}
                }
            }
            prop_assert!(message.to.iter().chain(&message.from).all(|address| is_address(address)));
        }

        #[test]
        fn what_was_read_reads_back_the_same(raw in "([A-Za-z-]{1,8}: ?[ -~]{0,20}\\r?\\n|[ -~]{0,20}\\r?\\n| [a-z]{0,5}\\n|\\r|\\n){0,12}") {
            let once = read(raw.as_bytes(), GIVEN).bytes;
            prop_assert_eq!(read(&once, GIVEN).bytes, once);
        }

        #[test]
        fn an_address_is_found_whatever_stands_around(name in "[^\\p{C}\"\\\\]{0,20}", local in "[a-z0-9.+-]{1,10}") {
            let raw = format!("To: \"{name}\" <{local}@example.com>\n\n");
            prop_assert_eq!(read(raw.as_bytes(), GIVEN).to, [format!("{local}@example.com")]);
        }
    }
}
