//! What the predecessor's keys of the outgoing side mean: how to authenticate, what to do with signs beyond 16 bits, when an
//! answer is a good one.
//!
//! Pure. Invariant: a pattern that cannot be read never counts as met.

use regex_lite::{Regex, RegexBuilder};

use super::values::{Read, bad};

/// How a request without profile proves who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    None,
    /// User and password as fields.
    Plain,
    Basic,
    Zadarma,
}

/// `none` without quotation marks was nothing at all for PHP, and meant none.
pub(super) fn auth(text: &str) -> Read<Auth> {
    match text.to_ascii_lowercase().as_str() {
        "" | "none" => Ok(Auth::None),
        "plain" => Ok(Auth::Plain),
        "basic" => Ok(Auth::Basic),
        "zadarma" => Ok(Auth::Zadarma),
        _ => bad(
            "that is no way to authenticate",
            "write none, plain, basic or zadarma",
        ),
    }
}

/// `val_unicode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unicode {
    AsItIs,
    /// Each sign beyond 16 bits becomes U+FFFD.
    Ucs2,
    /// This field goes along if there is such a sign.
    Field(String, String),
}

/// Whatever else it is means nothing, as it did.
pub(super) fn unicode(text: &str) -> Read<Unicode> {
    match text.split_once('=') {
        _ if text.eq_ignore_ascii_case("ucs-2") => Ok(Unicode::Ucs2),
        Some((field, value)) if !field.is_empty() => {
            Ok(Unicode::Field(field.to_owned(), value.to_owned()))
        }
        _ if text.is_empty() => Ok(Unicode::AsItIs),
        _ => bad(
            "that is neither UCS-2 nor a field with its value",
            "write UCS-2, or for example \"type=unicode\"",
        ),
    }
}

/// `val_static`, as PHP split it: at commas, then at equal signs, of which the first two parts count. Nothing is trimmed.
pub(super) fn statics(text: &str) -> Read<Vec<(String, String)>> {
    let mut fields = Vec::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let mut parts = item.split('=');
        let (Some(field), Some(value)) = (parts.next(), parts.next()) else {
            return bad(
                "a field has no value",
                "write for example \"type=sms,version=2\"",
            );
        };
        fields.push((field.to_owned(), value.to_owned()));
    }
    Ok(fields)
}

pub(super) fn numform(text: &str) -> Read<bool> {
    match text.to_ascii_lowercase().as_str() {
        "" => Ok(false),
        "no+" | "e164" | "e.164" => Ok(true),
        _ => bad(
            "that is no form of a number",
            "write no+ in quotation marks, or remove the key",
        ),
    }
}

/// `resp_check`.
#[derive(Debug, Clone)]
pub enum Check {
    /// Any 2xx is a good answer.
    None,
    /// The last field of this name, at any depth, is this.
    Field(String, String),
    Pattern(Regex),
}

impl PartialEq for Check {
    fn eq(&self, other: &Check) -> bool {
        match (self, other) {
            (Check::None, Check::None) => true,
            (Check::Field(a, b), Check::Field(c, d)) => (a, b) == (c, d),
            (Check::Pattern(a), Check::Pattern(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// What begins and ends with a slash is a pattern, also with an equal sign in it.
pub(super) fn check(text: &str) -> Read<Check> {
    if text.is_empty() {
        return Ok(Check::None);
    }
    if let Some((pattern, flags)) = text
        .strip_prefix('/')
        .and_then(|rest| rest.rsplit_once('/'))
    {
        let mut builder = RegexBuilder::new(pattern);
        for flag in flags.chars() {
            match flag {
                'i' => builder.case_insensitive(true),
                'm' => builder.multi_line(true),
                's' => builder.dot_matches_new_line(true),
                'x' => builder.ignore_whitespace(true),
                'u' | 'D' => &mut builder,
                _ => {
                    return bad(
                        "the pattern has a flag that is not known",
                        "the flags are i, m, s, x and u",
                    );
                }
            };
        }
        return match builder.build() {
            Ok(pattern) => Ok(Check::Pattern(pattern)),
            Err(_) => bad(
                "the pattern cannot be read",
                "patterns know groups, classes and repetitions, but no looking around",
            ),
        };
    }
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() => {
            Ok(Check::Field(field.to_owned(), value.to_owned()))
        }
        _ => bad(
            "that is neither field=value nor /pattern/",
            "write for example \"status=success\"",
        ),
    }
}
