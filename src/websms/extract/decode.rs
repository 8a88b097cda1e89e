//! What a carrier did to a text on top of the form's own notation, undone once.
//!
//! Pure. Invariant: what is no code of the notation stays as it is.

use crate::websms::body::{Malformed, form};
use crate::websms::profile::Decode;

/// The longest name or number of a character between `&` and `;`.
const LONGEST_REFERENCE: usize = 10;

/// The text as it was written by a person.
pub fn text(how: Decode, text: String) -> Result<String, Malformed> {
    match how {
        Decode::None => Ok(text),
        Decode::Url => form::decoded(text.as_bytes())
            .ok_or_else(|| Malformed::new("the text of the message is not UTF-8")),
        Decode::Html => Ok(html(&text)),
    }
}

fn html(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = after
            .split_once(';')
            .filter(|(name, _)| name.len() <= LONGEST_REFERENCE)
            .and_then(|(name, after)| Some((character(name)?, after)));
        match reference {
            Some((sign, after)) => {
                plain.push(sign);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    let number = |digits: &str, radix| {
        let all = digits.chars().all(|c| c.is_digit(radix));
        let code = all.then(|| u32::from_str_radix(digits, radix).ok());
        char::from_u32(code??)
    };
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => match name.strip_prefix('#')? {
            hex if hex.starts_with(['x', 'X']) => number(hex.get(1..)?, 16),
            digits => number(digits, 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_decoded_once() {
        let decoded = |how, from: &str| text(how, from.to_owned()).unwrap();
        assert_eq!(
            decoded(
                Decode::Html,
                "a &amp;lt; b &#229;&#x1F600; &amp &nope; &#xd800; &;"
            ),
            "a &lt; b å😀 &amp &nope; &#xd800; &;"
        );
        assert_eq!(decoded(Decode::Url, "a%2520b+c%"), "a%20b c%");
        assert_eq!(decoded(Decode::None, "a+%20&amp;"), "a+%20&amp;");
        assert!(text(Decode::Url, "%ff".to_owned()).is_err());
    }
}
