//! One value, index or name of a section, as PHP's scanner cuts it.
//!
//! Pure. It refuses what PHP refuses or computes, with the reason; the caller then takes the text as it stands.
//! Invariant: the end that it tells is never before the place where it began.

/// What was read.
#[derive(Default)]
pub(super) struct Scanned {
    pub text: String,
    /// Of a value the end of its line, of an index behind the bracket.
    pub end: usize,
    /// Whether a part of it stood in quotation marks.
    pub quoted: bool,
    /// Whether it begins with a word for which PHP can put something else.
    pub constant: bool,
    /// Variables that are not there.
    pub unset: Vec<String>,
}

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Beginnings of the names of PHP's own constants.
const CONSTANTS: [&str; 16] = [
    "E_", "PHP_", "M_", "SORT_", "LOG_", "INI_", "ENT_", "LC_", "FILE_", "LOCK_", "JSON_",
    "COUNT_", "CREDITS_", "CURLOPT_", "DATE_", "STREAM_",
];

/// Reads a value up to the end of its line.
pub(super) fn read(text: &str, from: usize, variable: Variable) -> Result<Scanned, &'static str> {
    let mut scanned = Scanned::default();
    let mut at = from;
    let mut tokens = 0usize;
    let mut boolean = false;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let after = rest.trim_start_matches([' ', '\t']);
        let blanks = rest.len() - after.len();
        let Some(next) = after.chars().next() else {
            scanned.end = text.len();
            return Ok(scanned);
        };
        match next {
            '\n' | '\r' => {
                scanned.end = at + blanks;
                return Ok(scanned);
            }
            ';' => {
                scanned.end = at + blanks + after.find(['\n', '\r']).unwrap_or(after.len());
                return Ok(scanned);
            }
            _ if boolean => {
                return Err("begins with a word for yes or no, and PHP would lose the whole file");
            }
            '=' => return Err("has a second `=`, and PHP would lose the whole file"),
            '&' | '|' | '^' | '~' | '!' | '(' | ')' => {
                return Err("has a sign with which PHP computes");
            }
            '\0' => return Err("has a zero byte"),
            '"' => {
                at = double_quoted(text, at + blanks + 1, variable, &mut scanned)?;
                let rest = text.get(at..).unwrap_or_default();
                at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
                scanned.quoted = true;
            }
            _ if blanks > 0 => {
                scanned
                    .text
                    .push_str(rest.get(..blanks).unwrap_or_default());
                at += blanks;
            }
            '\'' => {
                let inner = after.get(1..).unwrap_or_default();
                let end = inner.find('\'').ok_or(UNENDED)?;
                let inner = inner.get(..end).unwrap_or_default();
                // From the middle of a value over lines: that is an apostrophe and its next one far below.
                if tokens > 0 && inner.contains(['\n', '\r']) {
                    return Err(UNENDED);
                }
                scanned.text.push_str(inner);
                at += end + 2;
                scanned.quoted = true;
            }
            '$' if after.starts_with("${") => at = expanded(text, at, variable, &mut scanned)?,
            _ => {
                let word = plain(after)?;
                match boolean_word(word) {
                    Some(_) if tokens > 0 => {
                        return Err("has a word for yes or no, and PHP would lose the whole file");
                    }
                    Some(value) => {
                        boolean = true;
                        scanned.text.push_str(value);
                    }
                    None => {
                        let known =
                            tokens == 0 && CONSTANTS.iter().any(|begin| word.starts_with(begin));
                        if known
                            && word
                                .bytes()
                                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
                        {
                            scanned.constant = true;
                        }
                        scanned.text.push_str(word);
                    }
                }
                at += word.len();
            }
        }
        tokens += 1;
    }
}

const UNENDED: &str = "has a quotation mark that does not end";

/// A run of signs without meaning. A dollar takes what follows with it, so that `$${` opens no variable.
fn plain(text: &str) -> Result<&str, &'static str> {
    let mut signs = text.char_indices().peekable();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '$' => match signs.peek() {
                Some((_, '{')) => return Ok(text.get(..at).unwrap_or_default()),
                Some((_, '\n' | '\r')) | None => return Err("ends with `$`, which PHP drops"),
                Some(_) => drop(signs.next()),
            },
            '=' | ' ' | '\t' | '\n' | '\r' | ';' | '&' | '|' | '^' | '~' | '(' | ')' | '!'
            | '"' | '\'' | '\0' => return Ok(text.get(..at).unwrap_or_default()),
            _ => {}
        }
    }
    Ok(text)
}

fn boolean_word(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" => Some("1"),
        "false" | "off" | "no" | "none" | "null" => Some(""),
        _ => None,
    }
}

/// After the opening mark; gives the place behind the closing one.
fn double_quoted(
    text: &str,
    from: usize,
    variable: Variable,
    scanned: &mut Scanned,
) -> Result<usize, &'static str> {
    let mut at = from;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let mut signs = rest.chars();
        match (signs.next(), signs.next()) {
            (None, _) => return Err(UNENDED),
            (Some('"'), _) => return Ok(at + 1),
            (Some('\\'), Some(next @ ('"' | '\\' | '$'))) => {
                scanned.text.push(next);
                at += 2;
            }
            (Some('$'), Some('{')) => at = expanded(text, at, variable, scanned)?,
            (Some(sign), _) => {
                scanned.text.push(sign);
                at += sign.len_utf8();
            }
        }
    }
}

/// At `${`; gives the place behind `}`.
fn expanded(
    text: &str,
    at: usize,
    variable: Variable,
    scanned: &mut Scanned,
) -> Result<usize, &'static str> {
    let rest = text.get(at + 2..).unwrap_or_default();
    let end = rest.find(['}', '\n', '\r']).unwrap_or(rest.len());
    let name = rest.get(..end).unwrap_or_default();
    if !rest.get(end..).unwrap_or_default().starts_with('}') || name.trim().is_empty() {
        return Err("has a `${` that does not end");
    }
    match variable(name.trim()) {
        Some(value) => scanned.text.push_str(&value),
        None => scanned.unset.push(name.trim().to_owned()),
    }
    Ok(at + 2 + end + 1)
}

/// After `[`; reads to the bracket that ends it.
pub(super) fn bracketed(
    text: &str,
    from: usize,
    variable: Variable,
) -> Result<Scanned, &'static str> {
    let mut scanned = Scanned::default();
    let mut at = from;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(sign) = rest.chars().next() else {
            return Err("does not end");
        };
        match sign {
            ']' => {
                scanned.end = at + 1;
                return Ok(scanned);
            }
            '\n' | '\r' | ';' | '\0' => return Err("does not end"),
            '"' => {
                at = double_quoted(text, at + 1, variable, &mut scanned)?;
                scanned.quoted = true;
            }
            '\'' => {
                let inner = rest.get(1..).unwrap_or_default();
                let end = inner.find('\'').ok_or(UNENDED)?;
                scanned.text.push_str(inner.get(..end).unwrap_or_default());
                at += end + 2;
                scanned.quoted = true;
            }
            '$' if rest.starts_with("${") => at = expanded(text, at, variable, &mut scanned)?,
            // What follows belongs to it, a bracket too.
            '\\' => {
                let pair: String = rest.chars().take(2).collect();
                at += pair.len();
                scanned.text.push_str(&pair);
            }
            sign => {
                scanned.text.push(sign);
                at += sign.len_utf8();
            }
        }
    }
}

/// The text of a line as it stands, without the comment behind it.
pub(super) fn literal(line: &str) -> String {
    let mut at = 0;
    while let Some(sign) = line.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = line.get(at + sign.len_utf8()..).unwrap_or_default();
        match sign {
            ';' => break,
            '"' | '\'' => at += rest.find(sign).map_or(0, |end| end + 1),
            _ => {}
        }
        at += sign.len_utf8();
    }
    line.get(..at).unwrap_or_default().trim().to_owned()
}
