//! Forms: `application/x-www-form-urlencoded` as the URL standard of the WHATWG has it.
//!
//! `read` takes names as they are. `nested` reads a name as PHP does, for keys that were written for the predecessor:
//! `a.b` and `a b` are `a_b`, and `a[To]` is `To` within `a`.
//!
//! Pure. It refuses bytes that are no UTF-8. Invariant: order and repeated names are kept; whoever asks takes the first.

use super::{MOST_FIELDS, Malformed};
use crate::websms::document::Document;

pub const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// Deeper than anybody writes names.
const DEEPEST: usize = 8;

/// The fields, in their order.
pub fn read(body: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let mut fields = Vec::new();
    for field in body.split(|b| *b == b'&').filter(|f| !f.is_empty()) {
        if fields.len() == MOST_FIELDS {
            return Err(Malformed::new(format!(
                "the form has more than {MOST_FIELDS} fields"
            )));
        }
        let mut halves = field.splitn(2, |b| *b == b'=');
        let name = decoded(halves.next().unwrap_or_default())
            .ok_or_else(|| Malformed::new("a field's name is not UTF-8"))?;
        let value = decoded(halves.next().unwrap_or_default()).ok_or_else(|| {
            let name = name.escape_debug();
            Malformed::new(format!("the field `{name}` is not UTF-8"))
        })?;
        fields.push((name, value));
    }
    Ok(fields)
}

/// Percent-encoded bytes as text, `+` as a blank; `None` if they are no UTF-8. A percent sign that begins no code is itself.
pub fn decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (first, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (other, _) => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// The fields as PHP names them. Where two fields claim one place, the first has it.
#[must_use]
pub fn nested(fields: Vec<(String, String)>) -> Document {
    let mut whole = Document::Object(Vec::new());
    for (name, value) in fields {
        let names = names(&name);
        put(&mut whole, &names, value);
    }
    whole
}

/// `a.b[To][]` as `a_b`, `To` and an empty name, which stands for the next number.
fn names(name: &str) -> Vec<String> {
    let name = name.trim_start_matches(' ');
    // A bracket that opens the name or is never closed is a sign as another.
    let (first, mut rest) = match name.find('[') {
        Some(at) if at > 0 && name.get(at..).is_some_and(|rest| rest.contains(']')) => {
            name.split_at(at)
        }
        _ => (name, ""),
    };
    let mut names = vec![first.replace(['.', ' ', '['], "_")];
    while let Some((inside, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        if names.len() == DEEPEST {
            break;
        }
        names.push(inside.to_owned());
        rest = after;
    }
    names
}

fn put(node: &mut Document, names: &[String], value: String) {
    let Document::Object(members) = node else {
        return;
    };
    let Some((name, below)) = names.split_first() else {
        return;
    };
    let name = match name.is_empty() {
        true => members.len().to_string(),
        false => name.clone(),
    };
    let there = members.iter().position(|(other, _)| *other == name);
    match (there, below.is_empty()) {
        (Some(_), true) => {}
        (None, true) => members.push((name, Document::Text(value))),
        (Some(at), false) => {
            if let Some((_, branch)) = members.get_mut(at) {
                put(branch, below, value);
            }
        }
        (None, false) => {
            let mut branch = Document::Object(Vec::new());
            put(&mut branch, below, value);
            members.push((name, branch));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(body: &str) -> Vec<(String, String)> {
        read(body.as_bytes()).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_form_is_read_byte_for_byte() {
        assert_eq!(
            pairs("To=%2B46&Body=a+b%0A%22%C3%A5&x=1.10&&y&=z&To=2"),
            [
                pair("To", "+46"),
                pair("Body", "a b\n\"å"),
                pair("x", "1.10"),
                pair("y", ""),
                pair("", "z"),
                pair("To", "2"),
            ]
        );
        assert_eq!(
            pairs("a=100%&b=%zz&c=%4&d=%f0%9f%98%80"),
            [
                pair("a", "100%"),
                pair("b", "%zz"),
                pair("c", "%4"),
                pair("d", "😀"),
            ]
        );
        assert_eq!(pairs("a=b=c"), [pair("a", "b=c")]);
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_refused() {
        let refused = read(b"To=1&Body=%ff%fe").unwrap_err();
        assert_eq!(refused.status, 400);
        assert_eq!(refused.to_string(), "the field `Body` is not UTF-8");
        assert!(read(b"a\xff=1").is_err());
        // A surrogate half in the shape of UTF-8.
        assert!(read(b"a=%ed%a0%80").is_err());
    }

    #[test]
    fn too_many_fields_are_refused() {
        assert!(read("a&".repeat(MOST_FIELDS).as_bytes()).is_ok());
        assert!(read("a&".repeat(MOST_FIELDS + 1).as_bytes()).is_err());
    }

    #[test]
    fn names_in_the_predecessors_manner() {
        let document = nested(pairs(
            "a.b=1&a+b=2&c[To]=3&c[x][From]=4&d[]=5&d[]=6&e[f=7&[g]=8&c=9&h[i]j=0",
        ));
        let at = |path: &[&str]| {
            path.iter()
                .try_fold(&document, |node, name| node.get(name))
                .and_then(Document::text)
        };
        assert_eq!(at(&["a_b"]), Some("1"));
        assert_eq!(at(&["c", "To"]), Some("3"));
        assert_eq!(at(&["c", "x", "From"]), Some("4"));
        assert_eq!(at(&["d", "0"]), Some("5"));
        assert_eq!(at(&["d", "1"]), Some("6"));
        assert_eq!(at(&["e_f"]), Some("7"));
        assert_eq!(at(&["_g]"]), Some("8"));
        assert_eq!(at(&["h", "i"]), Some("0"));
    }

    proptest! {
        #[test]
        fn any_text_comes_through_a_form(text in any::<String>()) {
            let body: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
            let body = format!("Body={body}");
            prop_assert_eq!(pairs(&body), [pair("Body", &text)]);
        }

        #[test]
        fn no_body_is_too_odd(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(fields) = read(&body) {
                let _ = nested(fields);
            }
        }

        #[test]
        fn no_name_is_too_odd(names in proptest::collection::vec(r"[a\[\]. ]{0,12}", 0..8)) {
            let _ = nested(names.into_iter().map(|name| (name, String::new())).collect());
        }
    }
}
