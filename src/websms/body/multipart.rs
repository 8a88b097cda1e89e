//! Multipart forms (RFC 7578), as far as text fields go.
//!
//! Pure. It refuses a boundary that is not the body's, an end that is missing, an encoding of a part's body, and too many
//! parts. A part with a file name is a file and no field; it is passed over.
//!
//! Invariant: a field's bytes are those between its blank line and the line break before the next boundary, all of them.

use super::{Malformed, is_utf8, parameter};

pub const MEDIA_TYPE: &str = "multipart/form-data";

/// More parts than any carrier sends.
const MOST_PARTS: usize = 64;
/// The headers of one part.
const LARGEST_HEAD: usize = 4096;

/// The fields, in their order. `content_type` is the header of the request, with the boundary.
pub fn read(content_type: &str, body: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let boundary = parameter(content_type, "boundary")
        .filter(|boundary| (1..=70).contains(&boundary.len()))
        .ok_or_else(|| {
            Malformed::new("the request's Content-Type names no boundary of its parts")
        })?;
    let delimiter = format!("--{boundary}");
    let mut rest = opening(delimiter.as_bytes(), body)?;
    let next = [b"\r\n", delimiter.as_bytes()].concat();
    let mut fields = Vec::new();
    for _ in 0..MOST_PARTS {
        // What stands between the boundary and its line's end: nothing, or the two dashes of the end.
        if rest.starts_with(b"--") {
            return Ok(fields);
        }
        let Some(part) = after_blanks(rest) else {
            return Err(Malformed::new(
                "a boundary of the parts is not a whole line",
            ));
        };
        let Some((part, after)) = split(part, &next) else {
            return Err(Malformed::new("the parts do not end with their boundary"));
        };
        fields.extend(field(part)?);
        rest = after;
    }
    match rest.starts_with(b"--") {
        true => Ok(fields),
        false => Err(Malformed::new(format!(
            "the body has more than {MOST_PARTS} parts"
        ))),
    }
}

/// What follows the first boundary.
fn opening<'b>(delimiter: &[u8], body: &'b [u8]) -> Result<&'b [u8], Malformed> {
    if let Some(rest) = body.strip_prefix(delimiter) {
        return Ok(rest);
    }
    // Text may stand before the first part.
    if let Some((_, rest)) = split(body, &[b"\r\n", delimiter].concat()) {
        return Ok(rest);
    }
    Err(Malformed::new(match body.starts_with(b"--") {
        true => "the boundary in the Content-Type is not the one in the body",
        false => "the body has no part with the boundary of the Content-Type",
    }))
}

/// What follows blanks and a line's end.
fn after_blanks(rest: &[u8]) -> Option<&[u8]> {
    let blanks = rest
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count();
    rest.get(blanks..)?.strip_prefix(b"\r\n")
}

fn split<'b>(text: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let found = text.windows(at.len()).position(|window| window == at)?;
    Some((text.get(..found)?, text.get(found + at.len()..)?))
}

/// The name and the text of a part; `None` for a file.
fn field(part: &[u8]) -> Result<Option<(String, String)>, Malformed> {
    // A part without headers begins with the blank line.
    let (head, text) = match part.strip_prefix(b"\r\n") {
        Some(text) => (&b""[..], text),
        None => split(part, b"\r\n\r\n")
            .ok_or_else(|| Malformed::new("a part has no blank line after its headers"))?,
    };
    if head.len() > LARGEST_HEAD {
        return Err(Malformed::new(format!(
            "the headers of a part are longer than {LARGEST_HEAD} bytes"
        )));
    }
    let head = std::str::from_utf8(head)
        .map_err(|_| Malformed::new("the headers of a part are not UTF-8"))?;
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other
                .trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim())
        })
    };
    let disposition = header("Content-Disposition").unwrap_or("");
    if parameter(disposition, "filename").is_some() || parameter(disposition, "filename*").is_some()
    {
        return Ok(None);
    }
    let Some(name) = parameter(disposition, "name") else {
        return Err(Malformed::new("a part has no name"));
    };
    // The URL standard of the WHATWG writes these three signs of a name so, and no other.
    let name = name
        .replace("%22", "\"")
        .replace("%0D", "\r")
        .replace("%0A", "\n");
    let shown = name.escape_debug();
    if let Some(encoding) = header("Content-Transfer-Encoding")
        && !["7bit", "8bit", "binary"]
            .iter()
            .any(|known| encoding.eq_ignore_ascii_case(known))
    {
        return Err(Malformed::new(format!(
            "the part `{shown}` is encoded; hint: RFC 7578 has no encoding of parts"
        )));
    }
    if let Some(charset) = parameter(header("Content-Type").unwrap_or(""), "charset")
        && !is_utf8(&charset)
    {
        return Err(Malformed::new(format!(
            "the part `{shown}` is not in UTF-8"
        )));
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| Malformed::new(format!("the part `{shown}` is not UTF-8")))?;
    Ok(Some((name, text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(parts: &[(&str, &str)]) -> String {
        let parts: String = parts
            .iter()
            .map(|(head, text)| format!("--b\r\n{head}\r\n\r\n{text}\r\n"))
            .collect();
        format!("{parts}--b--\r\n")
    }

    const NAME: &str = "Content-Disposition: form-data; name=\"Body\"";
    const KIND: &str = "multipart/form-data; boundary=b";

    fn reason(kind: &str, body: &str) -> String {
        read(kind, body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn fields_come_out_byte_for_byte() {
        let text = "a\r\n--c\r\n\"å\" 😀\n 1.10\r\n";
        let body = body(&[
            ("content-disposition:form-data; name=To", "+46"),
            (
                "X-Y: z\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=\"a%22\\\"b\"",
                text,
            ),
            (
                "Content-Disposition: form-data; name=f; filename=\"x\"",
                "\0",
            ),
            (NAME, ""),
        ]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = [pair("To", "+46"), pair("a\"\"b", text), pair("Body", "")];
        assert_eq!(read(KIND, body.as_bytes()).unwrap(), fields);
        let quoted = "multipart/form-data; charset=utf-8; boundary=\"b\"";
        assert_eq!(read(quoted, body.as_bytes()).unwrap(), fields);
        let preface = format!("preface\r\n{body}");
        assert_eq!(read(KIND, preface.as_bytes()).unwrap(), fields);
    }

    #[test]
    fn a_boundary_that_is_not_the_bodys_is_refused_with_the_reason() {
        let good = body(&[(NAME, "x")]);
        assert_eq!(
            reason("multipart/form-data; boundary=other", &good),
            "the boundary in the Content-Type is not the one in the body"
        );
        assert!(reason("multipart/form-data", &good).contains("names no boundary"));
        assert!(reason(KIND, "To=1&From=2").contains("no part"));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (body, told) in [
            (body(&[(NAME, "x")]).replace("--b--\r\n", ""), "do not end"),
            (body(&[("X: y", "x")]), "no name"),
            ("--b\r\nX: y\r\n--b--".to_owned(), "no blank line"),
            ("--bx\r\n\r\n\r\n--b--".to_owned(), "whole line"),
            (
                body(&[(
                    &format!("{NAME}\r\nContent-Transfer-Encoding: base64"),
                    "eA==",
                )]),
                "is encoded",
            ),
            (
                body(&[(
                    &format!("{NAME}\r\nContent-Type: text/plain; charset=utf-16"),
                    "x",
                )]),
                "not in UTF-8",
            ),
            (
                body(&[(&format!("{NAME}\r\nX: {}", "y".repeat(5000)), "x")]),
                "longer",
            ),
            (
                body(&vec![(NAME, "x"); MOST_PARTS + 1]),
                "more than 64 parts",
            ),
        ] {
            assert!(reason(KIND, &body).contains(told), "{body}");
        }
        assert!(read(KIND, body(&vec![(NAME, "x"); MOST_PARTS]).as_bytes()).is_ok());
        let bytes = [b"--b\r\n", NAME.as_bytes(), b"\r\n\r\n\xff\r\n--b--"].concat();
        assert_eq!(
            read(KIND, &bytes).unwrap_err().to_string(),
            "the part `Body` is not UTF-8"
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_through_a_part(text in any::<String>()) {
            prop_assume!(!text.contains("\r\n--b"));
            let fields = read(KIND, body(&[(NAME, &text)]).as_bytes()).unwrap();
            prop_assert_eq!(fields, [("Body".to_owned(), text)]);
        }

        #[test]
        fn no_body_is_too_odd(text in r#"(--b|\r\n|--|[a:;="]|name|Content-Disposition:form-data;){0,16}"#, kind in r#"(;|=|"|\\|b|boundary){0,8}"#) {
            let _ = read(KIND, text.as_bytes());
            let _ = read(&kind, text.as_bytes());
        }
    }
}
