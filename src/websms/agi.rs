//! Asterisk's gateway interface over TCP: what it says of a call, and its answers to our questions.
//!
//! Pure. A variable's value stands in an answer as it is, line breaks included, and its sender could write there what looks
//! like the next answer. So each question asks for the value with a mark behind it that nobody can guess, and the value
//! ends there and nowhere else. Invariant: a text never decides where its answer ends.

/// The head of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// What follows the host in `agi://host/script`.
    pub script: String,
    pub extension: String,
    pub arguments: Vec<String>,
}

/// What a dialplan asks for.
pub const SCRIPT: &str = "websms";
/// The longest head, in bytes.
pub const LONGEST_HEAD: usize = 16 * 1024;
/// Asterisk hands over no more of a value than this, and cuts the rest off in silence.
pub const LONGEST_VALUE: usize = 4095;

impl Head {
    /// Reads lines `agi_name: value`, up to the empty one.
    #[must_use]
    pub fn read(text: &str) -> Head {
        let mut head = Head::default();
        let lines = text.lines().take_while(|line| !line.is_empty());
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            match name {
                "agi_network_script" => {
                    head.script = value.split('?').next().unwrap_or_default().to_owned();
                }
                "agi_extension" => head.extension = value.to_owned(),
                _ if name.starts_with("agi_arg_") => head.arguments.push(value.to_owned()),
                _ => {}
            }
        }
        head
    }

    /// The argument of this place, from 0, unless it is empty.
    #[must_use]
    pub fn argument(&self, place: usize) -> Option<&str> {
        let found = self.arguments.get(place).map(String::as_str);
        found.filter(|argument| !argument.is_empty())
    }
}

/// Asks for what an expression of the dialplan comes to. `mark` is letters and digits.
#[must_use]
pub fn question(expression: &str, mark: &str) -> String {
    format!("GET FULL VARIABLE {expression}{mark}\n")
}

/// The value in the bytes that came in answer to `question`; none if more must be read.
///
/// # Errors
/// If that is no answer.
pub fn value(bytes: &[u8], mark: &str) -> Result<Option<String>, NoAnswer> {
    const BEGIN: &[u8] = b"200 result=1 (";
    if bytes.contains(&b'\n') && !bytes.starts_with(BEGIN) || !same_beginning(bytes, BEGIN) {
        return Err(NoAnswer);
    }
    let end = format!("{mark})\n");
    let inner = bytes.strip_suffix(end.as_bytes());
    let value = inner.and_then(|bytes| bytes.strip_prefix(BEGIN));
    Ok(value.map(|value| String::from_utf8_lossy(value).into_owned()))
}

fn same_beginning(a: &[u8], b: &[u8]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// The peer does not speak this language, or has hung up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no answer of an AGI server")]
pub struct NoAnswer;

/// Which user owns the client's end of a loopback connection, by the lines of /proc/net/tcp. An address stands there as the
/// number that its bytes make in memory.
#[must_use]
pub fn owner(
    table: &str,
    client: std::net::SocketAddrV4,
    server: std::net::SocketAddrV4,
) -> Option<u32> {
    let written = |address: std::net::SocketAddrV4| {
        let number = u32::from_ne_bytes(address.ip().octets());
        format!("{number:08X}:{:04X}", address.port())
    };
    let (client, server) = (written(client), written(server));
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_it = words.next() == Some(&client) && words.next() == Some(&server);
        // State, queues, timer and retransmissions stand between.
        let owner = words.nth(4)?;
        is_it.then(|| owner.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_is_read() {
        let head = Head::read(
            "agi_network: yes\nagi_network_script: websms?x=y\nagi_request: agi://127.0.0.1/websms\nagi_extension: +46701234567\n\
             agi_arg_1: +46701234567\nagi_arg_2: \n\nagi_arg_3: no\n",
        );
        assert_eq!(
            (head.script.as_str(), head.extension.as_str()),
            ("websms", "+46701234567")
        );
        assert_eq!(
            (head.argument(0), head.argument(1), head.argument(2)),
            (Some("+46701234567"), None, None)
        );
    }

    #[test]
    fn an_answer_ends_at_its_mark() {
        assert_eq!(value(b"200 result=1 (hello", "XY"), Ok(None));
        assert_eq!(value(b"200 result=1 (a)\n200 result=0\n", "XY"), Ok(None));
        let told = value(b"200 result=1 (a)\n200 result=1 (b)\nXY)\n", "XY");
        assert_eq!(told, Ok(Some("a)\n200 result=1 (b)\n".to_owned())));
        assert_eq!(value(b"200 result=1 (XY)\n", "XY"), Ok(Some(String::new())));
        assert_eq!(value(b"200 re", "XY"), Ok(None));
        for bad in [&b"510 Invalid\n"[..], b"HANGUP\n", b"200 result=0\n", b"\n"] {
            assert_eq!(value(bad, "XY"), Err(NoAnswer));
        }
    }

    #[test]
    fn a_connection_has_an_owner() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:11DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 1 1 0 100 0 0 10 0\n\
            1: 0100007F:B1F6 0100007F:11DD 01 00000000:00000000 00:00000000 00000000   101        0 2 1 0 20 4 30 10 -1\n";
        let server = "127.0.0.1:4573".parse().unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(
                owner(table, "127.0.0.1:45558".parse().unwrap(), server),
                Some(101)
            );
        }
        assert_eq!(
            owner(table, "127.0.0.1:45559".parse().unwrap(), server),
            None
        );
        assert_eq!(owner("", server, server), None);
    }

    proptest! {
        #[test]
        fn any_text_comes_through(text in "\\PC{0,80}(\\)\n200 result=1 \\()?\\PC{0,20}") {
            let bytes = format!("200 result=1 ({text}k9)\n");
            prop_assert_eq!(value(bytes.as_bytes(), "k9"), Ok(Some(text)));
        }
    }
}
