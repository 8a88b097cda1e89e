//! JSON (RFC 8259), with numbers as they stand in the source.
//!
//! A reader of our own, because a number must not pass through a float: an id of twenty digits or `1.10` would come out as
//! another text, and a switch of `serde_json` that keeps them would change every other reader of this program.
//!
//! Pure. It refuses what is not JSON, what is deeper than 64, a name or a text that is not UTF-8, and half of a surrogate
//! pair. Invariant: it takes what `serde_json` takes, and reads the same but for numbers.

use super::Malformed;
use crate::websms::document::Document;

/// Deeper than any carrier nests.
const DEEPEST: usize = 64;

/// The whole of the bytes as one document.
pub fn read(bytes: &[u8]) -> Result<Document, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to() + 1;
        Malformed::new(format!("the JSON is not UTF-8 at byte {at}"))
    })?;
    let mut reader = Reader { text, rest: text };
    let document = reader.value(0)?;
    reader.blank();
    match reader.rest.is_empty() {
        true => Ok(document),
        false => reader.wrong("something follows the document"),
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn wrong<T>(&self, what: &str) -> Result<T, Malformed> {
        let at = self.text.len() - self.rest.len() + 1;
        Err(Malformed::new(format!(
            "the JSON is wrong at byte {at}: {what}"
        )))
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Whether this came next; then it is behind us.
    fn take(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Document, Malformed> {
        if depth > DEEPEST {
            return self.wrong("it is nested too deep");
        }
        self.blank();
        match self.rest.bytes().next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Document::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("true") => Ok(Document::Bool(true)),
            _ if self.take("false") => Ok(Document::Bool(false)),
            _ if self.take("null") => Ok(Document::Null),
            _ => self.wrong("a value is missing"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Document, Malformed> {
        self.take("{");
        let mut members = Vec::new();
        self.blank();
        if self.take("}") {
            return Ok(Document::Object(members));
        }
        loop {
            self.blank();
            if !self.rest.starts_with('"') {
                return self.wrong("a name is missing");
            }
            let name = self.string()?;
            self.blank();
            if !self.take(":") {
                return self.wrong("after a name comes `:`");
            }
            members.push((name, self.value(depth + 1)?));
            self.blank();
            if self.take("}") {
                return Ok(Document::Object(members));
            }
            if !self.take(",") {
                return self.wrong("after a member comes `,` or `}`");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Document, Malformed> {
        self.take("[");
        let mut items = Vec::new();
        self.blank();
        if self.take("]") {
            return Ok(Document::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blank();
            if self.take("]") {
                return Ok(Document::Array(items));
            }
            if !self.take(",") {
                return self.wrong("after an item comes `,` or `]`");
            }
        }
    }

    fn number(&mut self) -> Result<Document, Malformed> {
        let before = self.rest;
        self.take("-");
        // No digit may follow a zero that leads.
        if !self.take("0") {
            self.digits()?;
        }
        if self.take(".") {
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            self.digits()?;
        }
        let length = before.len() - self.rest.len();
        let source = before.get(..length).unwrap_or(before);
        Ok(Document::Number(source.to_owned()))
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == self.rest.len() {
            return self.wrong("a digit is missing");
        }
        self.rest = rest;
        Ok(())
    }

    fn string(&mut self) -> Result<String, Malformed> {
        self.take("\"");
        let mut value = String::new();
        loop {
            let end = self
                .rest
                .find(|c: char| c == '"' || c == '\\' || c < ' ')
                .unwrap_or(self.rest.len());
            let (plain, rest) = self.rest.split_at(end);
            value.push_str(plain);
            self.rest = rest;
            if self.take("\"") {
                return Ok(value);
            }
            if !self.take("\\") {
                return self.wrong("a string is not closed or holds a control character");
            }
            value.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        for (sign, meant) in [
            ("\"", '"'),
            ("\\", '\\'),
            ("/", '/'),
            ("b", '\u{8}'),
            ("f", '\u{c}'),
            ("n", '\n'),
            ("r", '\r'),
            ("t", '\t'),
        ] {
            if self.take(sign) {
                return Ok(meant);
            }
        }
        if !self.take("u") {
            return self.wrong("there is no such escape");
        }
        let high = self.four_digits()?;
        let code = match high {
            0xd800..=0xdbff if self.take("\\u") => {
                let low = self.four_digits()?;
                match low {
                    0xdc00..=0xdfff => 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                    _ => return self.wrong("half of a surrogate pair is no character"),
                }
            }
            other => other,
        };
        match char::from_u32(code) {
            Some(sign) => Ok(sign),
            None => self.wrong("half of a surrogate pair is no character"),
        }
    }

    fn four_digits(&mut self) -> Result<u32, Malformed> {
        match self.rest.split_at_checked(4) {
            Some((digits, rest)) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                self.rest = rest;
                u32::from_str_radix(digits, 16).or_else(|_| self.wrong("four digits are missing"))
            }
            _ => self.wrong("after `\\u` come four digits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn numbers_come_out_byte_for_byte() {
        for number in [
            "1.10",
            "12345678901234567890",
            "1e3",
            "-0",
            "1E+400",
            "0.000",
        ] {
            let document = read(format!(" [ {number} ] ").as_bytes()).unwrap();
            assert_eq!(
                document,
                Document::Array(vec![Document::Number(number.to_owned())])
            );
        }
        // Leading zeros are no number; a text keeps them.
        assert!(read(b"[0046]").is_err());
        assert_eq!(
            read(b"\"0046\"").unwrap(),
            Document::Text("0046".to_owned())
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, reason) in [
            ("", "byte 1: a value"),
            ("{\"a\":1,}", "byte 8: a name"),
            ("[1,]", "byte 4: a value"),
            ("[1 2]", "byte 4: after an item"),
            ("1 x", "byte 3: something follows"),
            ("\"\\ud83d\"", "surrogate"),
            ("\"\\ud83d\\u0041\"", "surrogate"),
            ("\"a\nb\"", "control character"),
            ("1.", "a digit is missing"),
        ] {
            let reason_given = read(text.as_bytes()).unwrap_err().to_string();
            assert!(reason_given.contains(reason), "{text}: {reason_given}");
        }
        let refused = read(b"\"\xff\"").unwrap_err().to_string();
        assert_eq!(refused, "the JSON is not UTF-8 at byte 2");
        let deep = "[".repeat(60_000);
        assert!(
            read(deep.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("deep")
        );
    }

    /// Whether both readers say the same. Numbers are compared by their text, as `serde_json` prints those that are small.
    fn same(ours: &Document, theirs: &Value) -> bool {
        match (ours, theirs) {
            (Document::Null, Value::Null) => true,
            (Document::Bool(a), Value::Bool(b)) => a == b,
            (Document::Text(a), Value::String(b)) => a == b,
            (Document::Number(a), Value::Number(b)) => a.parse::<f64>().ok() == b.as_f64(),
            (Document::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Document::Object(a), Value::Object(b)) => a.iter().all(|(name, value)| {
                // It takes the last of two.
                let twice = a.iter().filter(|(other, _)| other == name).count() > 1;
                twice || b.get(name).is_some_and(|other| same(value, other))
            }),
            _ => false,
        }
    }

    fn agree(text: &str) -> Result<(), TestCaseError> {
        // A number that no float can hold is no fault for us.
        let theirs = match serde_json::from_str::<Value>(text) {
            Err(e) if e.to_string().contains("out of range") => return Ok(()),
            theirs => theirs,
        };
        match (read(text.as_bytes()), theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert!(same(&ours, &theirs), "{}", text),
            (Err(_), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{}: {:?} {:?}", text, ours, theirs),
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn what_looks_like_json_is_read_as_by_others(
            text in r#"([\[\]{},:"]|\\[nu"/x]|[0a-]|1e|\.5|d83d|de00|true|null| |"a"|"b":){0,14}"#
        ) {
            agree(&text)?;
        }

        #[test]
        fn any_text_comes_through_json(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(read(written.as_bytes()), Ok(Document::Text(text)));
        }

        #[test]
        fn json_that_is_cut_or_changed_is_read_as_by_others(at in 0usize..90, byte in 0u8..128) {
            let mut text = br#"{"a":[1.5e3,{"b":"\ud83d\ude00 \"x\""},null],"c":true,"d":{"e":[[]],"f":-0}}"#.to_vec();
            if let Some(there) = text.get_mut(at) {
                *there = byte;
            }
            agree(std::str::from_utf8(&text).unwrap())?;
            text.truncate(at);
            agree(std::str::from_utf8(&text).unwrap())?;
        }
    }
}
