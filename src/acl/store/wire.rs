//! PostgreSQL's protocol, version 3, as far as a short question needs it: messages to bytes and back.
//!
//! Pure. From PostgreSQL's documentation, "Frontend/Backend Protocol" (message formats). Only text goes over it.
//! Invariant: whatever a server sends, no more than `LONGEST` bytes of one message are kept, and nothing is read beyond its end.

/// The longest message that is taken, in bytes: a list has some kilobytes.
pub(super) const LONGEST: usize = 16 << 20;
/// Version 3.0.
const VERSION: i32 = 196_608;

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// `AuthenticationOk`
    LoggedIn,
    AskCleartext,
    AskMd5 {
        salt: [u8; 4],
    },
    /// The mechanisms that it offers.
    AskSasl(Vec<String>),
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
    /// Another way of logging in.
    AskOther(i32),
    Row(Vec<Option<String>>),
    /// The five letters and the text.
    Error {
        code: String,
        text: String,
    },
    Ready,
    /// Whatever says nothing to us.
    Other(u8),
}

/// The kind byte and the length, which counts itself, of a message that begins here; `None` if it cannot be one.
pub(super) fn head(bytes: [u8; 5]) -> Option<(u8, usize)> {
    let [kind, length @ ..] = bytes;
    let length = usize::try_from(i32::from_be_bytes(length)).ok()?;
    let length = length.checked_sub(4)?;
    (length <= LONGEST).then_some((kind, length))
}

/// Reads the body of a message; `None` if it does not hold what its kind promises.
pub(super) fn read(kind: u8, body: &[u8]) -> Option<Message> {
    let mut rest = Rest(body);
    Some(match kind {
        b'R' => match rest.int()? {
            0 => Message::LoggedIn,
            3 => Message::AskCleartext,
            5 => Message::AskMd5 {
                salt: rest.take(4)?.try_into().ok()?,
            },
            10 => {
                let mut mechanisms = Vec::new();
                loop {
                    match rest.text()? {
                        name if name.is_empty() => break Message::AskSasl(mechanisms),
                        name => mechanisms.push(name),
                    }
                }
            }
            11 => Message::SaslContinue(rest.0.to_vec()),
            12 => Message::SaslFinal(rest.0.to_vec()),
            other => Message::AskOther(other),
        },
        b'D' => {
            let count = rest.short()?;
            let mut fields = Vec::new();
            for _ in 0..count {
                fields.push(match usize::try_from(rest.int()?) {
                    // -1 is NULL.
                    Err(_) => None,
                    Ok(length) => Some(String::from_utf8_lossy(rest.take(length)?).into_owned()),
                });
            }
            Message::Row(fields)
        }
        b'E' => {
            let (mut code, mut text) = (String::new(), String::new());
            while let Some(field) = rest.byte().filter(|field| *field != 0) {
                let value = rest.text()?;
                match field {
                    b'C' => code = value,
                    b'M' => text = value,
                    _ => {}
                }
            }
            Message::Error { code, text }
        }
        b'Z' => Message::Ready,
        other => Message::Other(other),
    })
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Up to the next zero byte.
    fn text(&mut self) -> Option<String> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.byte()?;
        Some(text)
    }
}

/// A message with its kind, if it has one, and its length. `None` if it is longer than the protocol can say.
fn framed(kind: Option<u8>, body: &[u8]) -> Option<Vec<u8>> {
    let length = i32::try_from(body.len() + 4).ok()?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend(length.to_be_bytes());
    message.extend(body);
    Some(message)
}

/// A text that ends with a zero byte; `None` if it has one within.
fn ended(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.as_bytes().to_vec();
    let is_plain = !bytes.contains(&0);
    bytes.push(0);
    is_plain.then_some(bytes)
}

/// The first message.
pub(super) fn startup(user: &str, database: &str) -> Option<Vec<u8>> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for word in [
        "user",
        user,
        "database",
        database,
        "application_name",
        "switchhook",
        "client_encoding",
        "UTF8",
    ] {
        body.extend(ended(word)?);
    }
    body.push(0);
    framed(None, &body)
}

/// The answer to `AskCleartext` and `AskMd5`.
pub(super) fn password(text: &str) -> Option<Vec<u8>> {
    framed(Some(b'p'), &ended(text)?)
}

pub(super) fn sasl_first(mechanism: &str, first: &[u8]) -> Option<Vec<u8>> {
    let mut body = ended(mechanism)?;
    body.extend(i32::try_from(first.len()).ok()?.to_be_bytes());
    body.extend(first);
    framed(Some(b'p'), &body)
}

pub(super) fn sasl_next(text: &[u8]) -> Option<Vec<u8>> {
    framed(Some(b'p'), text)
}

/// One statement with its parameters as text, and the request for the whole answer.
pub(super) fn query(sql: &str, parameters: &[&str]) -> Option<Vec<u8>> {
    let mut parse = vec![0];
    parse.extend(ended(sql)?);
    // The types of the parameters follow from the statement.
    parse.extend(0i16.to_be_bytes());
    let mut bind = vec![0, 0];
    // All of them are text.
    bind.extend(0i16.to_be_bytes());
    bind.extend(i16::try_from(parameters.len()).ok()?.to_be_bytes());
    for parameter in parameters {
        bind.extend(i32::try_from(parameter.len()).ok()?.to_be_bytes());
        bind.extend(parameter.as_bytes());
    }
    bind.extend(0i16.to_be_bytes());
    let mut execute = vec![0];
    execute.extend(0i32.to_be_bytes());
    let mut all = framed(Some(b'P'), &parse)?;
    all.extend(framed(Some(b'B'), &bind)?);
    all.extend(framed(Some(b'E'), &execute)?);
    all.extend(framed(Some(b'S'), &[])?);
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_read() {
        assert_eq!(head(*b"Z\0\0\0\x05"), Some((b'Z', 1)));
        assert_eq!(head(*b"Z\0\0\0\x03"), None);
        assert_eq!(head(*b"Z\x7f\xff\xff\xff"), None);
        assert_eq!(
            read(b'R', b"\0\0\0\x05abcd"),
            Some(Message::AskMd5 { salt: *b"abcd" })
        );
        assert_eq!(
            read(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
            Some(Message::AskSasl(vec!["SCRAM-SHA-256".to_owned()]))
        );
        assert_eq!(
            read(b'D', b"\0\x02\0\0\0\x02hi\xff\xff\xff\xff"),
            Some(Message::Row(vec![Some("hi".to_owned()), None]))
        );
        assert_eq!(
            read(b'E', b"SFATAL\0C28P01\0Mno\0\0"),
            Some(Message::Error {
                code: "28P01".to_owned(),
                text: "no".to_owned()
            })
        );
        assert_eq!(read(b'D', b"\0\x02\0\0\0\x09hi"), None);
    }

    #[test]
    fn a_statement_is_written() {
        let bytes = query("SELECT $1", &["x"]).unwrap();
        assert_eq!(
            bytes,
            b"P\0\0\0\x11\0SELECT $1\0\0\0B\0\0\0\x11\0\0\0\0\0\x01\0\0\0\x01x\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"
        );
        assert_eq!(query("SELECT\0", &[]), None);
        assert_eq!(startup("a\0b", "c"), None);
    }

    proptest! {
        #[test]
        fn no_body_is_too_much(kind in prop_oneof![Just(b'R'), Just(b'D'), Just(b'E'), any::<u8>()], body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(kind, &body);
        }
    }
}
