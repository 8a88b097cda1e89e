//! The values of websms.conf: a text in, what it means out, or what is wrong with it.
//!
//! Pure. It refuses by a sentence and a hint and knows nothing of sections and lines. No sentence repeats the value: it can
//! stand beside a secret in a log that others read.

use std::time::Duration;

use crate::autoban::cidr::Cidr;
use crate::autoban::config::seconds;
use crate::websms::media::Allow;
use crate::websms::number;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    pub problem: String,
    pub hint: String,
}

/// The answer of every reader here.
pub type Read<T> = Result<T, Bad>;

pub fn bad<T>(problem: impl Into<String>, hint: impl Into<String>) -> Read<T> {
    Err(Bad {
        problem: problem.into(),
        hint: hint.into(),
    })
}

/// What stands between commas, trimmed; what is empty is left out.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

pub fn networks(text: &str) -> Read<Vec<Cidr>> {
    let networks: Result<Vec<Cidr>, _> = list(text).map(str::parse).collect();
    match networks {
        Ok(networks) if !networks.is_empty() => Ok(networks),
        Ok(_) => bad(
            "it names nobody",
            "write addresses and networks with commas between them, or remove the key",
        ),
        Err(e) => bad(
            e.to_string(),
            "write addresses and networks, such as 192.0.2.0/24, with commas between them; names of hosts are not looked up",
        ),
    }
}

pub fn paths(text: &str) -> Read<Vec<String>> {
    let paths: Vec<String> = list(text).map(str::to_owned).collect();
    match paths.iter().all(|path| path.starts_with('/')) {
        true if !paths.is_empty() => Ok(paths),
        true => bad(
            "it names no path",
            "write for example /hook/1, or remove the key",
        ),
        false => bad(
            "a path does not begin with /",
            "write for example /hook/1, /hook/2",
        ),
    }
}

/// `http://` or `https://`; what has neither is http, as it was for the predecessor. True if so.
pub fn host(text: &str) -> Read<(String, bool)> {
    let text = text.trim_end_matches('/');
    let (address, bare) = match text.contains("://") {
        true => (text.to_owned(), false),
        false => (format!("http://{text}"), true),
    };
    address_of(&address).map(|()| (address, bare))
}

/// A whole address.
pub fn address(text: &str) -> Read<String> {
    address_of(text).map(|()| text.to_owned())
}

fn address_of(text: &str) -> Read<()> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let fits = |rest: &str| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && rest
                .chars()
                .all(|c| c.is_ascii_graphic() && !"\"<>\\^`{}".contains(c))
    };
    match rest.is_some_and(fits) {
        true => Ok(()),
        false => bad(
            "that is no address",
            "write for example https://api.example.com",
        ),
    }
}

pub fn boolean(text: &str) -> Read<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" | "none" | "" => Ok(false),
        _ => bad("that is neither yes nor no", "write yes or no"),
    }
}

pub fn whole(text: &str) -> Read<u32> {
    text.parse()
        .or_else(|_| bad("that is no whole number", "write it in digits"))
}

/// Bytes, with K, M or G for 1024 and its powers.
pub fn size(text: &str) -> Read<u64> {
    let text = text.trim_end_matches(['B', 'b']);
    let units = [("K", 10), ("M", 20), ("G", 30)];
    let upper = text.to_ascii_uppercase();
    let (digits, shift) = units
        .iter()
        .find_map(|(unit, shift)| Some((upper.strip_suffix(unit)?, *shift)))
        .unwrap_or((upper.as_str(), 0));
    match digits.trim().parse::<u64>() {
        Ok(count) if count <= 1 << 20 => Ok(count << shift),
        Ok(count) if shift == 0 => Ok(count),
        _ => bad("that is no size", "write bytes, or for example 500M or 2G"),
    }
}

/// What is allowed of media beyond the public Internet by TLS.
pub fn allow(text: &str) -> Read<Allow> {
    let mut allow = Allow::default();
    for word in list(text) {
        match word.to_ascii_lowercase().as_str() {
            "http" => allow.http = true,
            "private" => allow.private = true,
            "none" => {}
            _ => return bad("a word of it is not known", "write http, private, or both"),
        }
    }
    Ok(allow)
}

pub fn time(text: &str) -> Read<Duration> {
    // Ten years; what is longer is a slip.
    match seconds(text) {
        Some(seconds) if (1..=315_360_000).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => bad("that is no time", "write seconds, or for example 12h or 7d"),
    }
}

/// Messages a second.
pub fn rate(text: &str) -> Read<f64> {
    let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
    let within = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => {
            return bad(
                "its unit is none of s, m and h",
                "write for example 1/s or 100/h",
            );
        }
    };
    match count.trim().parse::<f64>() {
        Ok(count) if count > 0.0 && count <= 100_000.0 => Ok(count / within),
        _ => bad("that is no rate", "write for example 1/s or 100/h"),
    }
}

pub fn numbers(text: &str) -> Read<Vec<String>> {
    let numbers: Result<Vec<String>, _> = list(text)
        .map(|item| number::checked(item).map(str::to_owned))
        .collect();
    numbers.or_else(|e| {
        bad(
            e.to_string(),
            "write for example +46701234567, +46701234568",
        )
    })
}

pub fn country(text: &str) -> Read<String> {
    let digits = text.trim_start_matches('+');
    match (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(digits.to_owned()),
        false => bad("that is no calling code", "write for example 46 or 1"),
    }
}

/// Text of one line, for a call file or a header.
pub fn line(text: &str) -> Read<String> {
    match text.chars().any(char::is_control) {
        false => Ok(text.to_owned()),
        true => bad("it holds a control character", "write it on one line"),
    }
}
