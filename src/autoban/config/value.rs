//! The forms of values in autoban.conf.
//!
//! Pure.

use std::time::Duration;

use super::{Import, Key, Origin, Webhook};
use crate::autoban::cidr::{Cidr, NoCidr};
use crate::autoban::policy::LONGEST;
use crate::web::address::Address;

/// What is wrong with a value.
pub(super) struct Bad {
    pub problem: String,
    pub hint: String,
}

pub(super) fn bad<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Bad> {
    Err(Bad {
        problem: problem.into(),
        hint: hint.into(),
    })
}

/// PHP's booleans too.
pub(super) fn boolean(text: &str) -> Result<bool, Bad> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" | "none" | "null" | "" => Ok(false),
        _ => bad("that is neither yes nor no", "write yes or no"),
    }
}

pub(super) fn number(text: &str, least: u32, most: u32) -> Result<u32, Bad> {
    match text.parse::<u32>() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        Ok(_) => bad("that is out of bounds", format!("write {least} to {most}")),
        Err(_) => bad(
            "that is no whole number",
            format!("write {least} to {most} in digits"),
        ),
    }
}

/// A factor with up to three decimals, in thousandths.
pub(super) fn thousandths(text: &str) -> Result<u32, Bad> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 3 || !digits(whole) || !digits(decimals) {
        return bad("that is no number", "write 1 to 1000, for example 6 or 1.5");
    }
    let value: Option<u32> = format!("{whole}{decimals:0<3}").parse().ok();
    match value {
        Some(n) if (1000..=1_000_000).contains(&n) => Ok(n),
        _ => bad(
            "that is out of bounds",
            "write 1 to 1000, for example 6 or 1.5",
        ),
    }
}

/// `1d2h3m4s`, or seconds.
pub(super) fn time(text: &str, least: u64, most: u64) -> Result<Duration, Bad> {
    let Some(seconds) = seconds(text) else {
        return bad(
            "that is no time",
            "write seconds or for example 20m, 1d2h3m4s",
        );
    };
    match (least..=most).contains(&seconds) {
        true => Ok(Duration::from_secs(seconds)),
        false => bad(
            "that is out of bounds",
            format!("write {least}s to {most}s"),
        ),
    }
}

/// `1d2h3m4s`, each unit once and from large to small, or a number of seconds.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let text: String = text.split_whitespace().collect();
    if text.is_empty() {
        return None;
    }
    let mut total = 0u64;
    let mut rest = text.as_str();
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, after) = rest.split_at(digits);
        let unit = match after.bytes().next() {
            Some(b'w') => 604_800,
            Some(b'd') => 86_400,
            Some(b'h') => 3600,
            Some(b'm') => 60,
            Some(b's') => 1,
            None if last == u64::MAX => 1,
            _ => return None,
        };
        // Each unit once, from large to small.
        if unit >= last {
            return None;
        }
        last = unit;
        total = total.checked_add(count.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = after.get(1..).unwrap_or_default();
    }
    Some(total)
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t']).filter(|word| !word.is_empty())
}

/// Names of lists, with commas or blanks between them.
pub(super) fn names(text: &str) -> Result<Vec<String>, Bad> {
    let words = text.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    let names: Vec<String> = words.map(str::to_owned).collect();
    match names.is_empty() {
        false => Ok(names),
        true => bad(
            "that names no list",
            "write names of lists of acl.conf, for example office",
        ),
    }
}

pub(super) fn networks(text: &str) -> Result<Vec<Cidr>, Bad> {
    let list: Result<Vec<Cidr>, _> = words(text).map(str::parse).collect();
    list.or_else(|e: NoCidr| {
        bad(
            e.to_string(),
            "write addresses and networks with commas between them",
        )
    })
}

pub(super) fn address(text: &str) -> Result<Option<Address>, Bad> {
    match (text, Address::parse(text)) {
        ("", _) => Ok(None),
        (_, Some(address)) => Ok(Some(address)),
        _ => bad("that is no address", "write https://..."),
    }
}

/// One of two keys gives it, and only one.
pub(super) fn key_of(webhook: &Webhook, key: Key) -> Result<Option<Key>, Bad> {
    const HINT: &str = "write webhooksecret or webhooksecret_file, one of them";
    match (&webhook.key, &key) {
        (Some(_), _) => bad("the secret is given already", HINT),
        (None, Key::InFile(path)) if !path.starts_with('/') => bad(
            "that is no absolute path",
            "write for example /run/secrets/webhook",
        ),
        (None, Key::Given(text)) if text.is_empty() => bad("that is empty", HINT),
        _ => Ok(Some(key)),
    }
}

pub(super) fn import(text: &str) -> Result<Import, Bad> {
    const HINT: &str = "write for example `import = https://example.org/list.txt, 1d`";
    let (from, after) = text.rsplit_once(',').unwrap_or((text, "1d"));
    let from = from.trim();
    let from = match Address::parse(from) {
        Some(address) => Origin::Web(address),
        None if from.starts_with('/') => Origin::File(from.to_owned()),
        None => return bad("that is neither an address nor an absolute path", HINT),
    };
    match seconds(after) {
        Some(seconds) if (60..=LONGEST.as_secs()).contains(&seconds) => Ok(Import {
            from,
            time: Duration::from_secs(seconds),
        }),
        _ => bad("its time is no time of a minute or more", HINT),
    }
}

pub(super) fn ports(text: &str) -> Result<Vec<u16>, Bad> {
    let ports: Option<Vec<u16>> = words(text)
        .map(|word| word.parse().ok().filter(|port| *port != 0))
        .collect();
    match ports {
        Some(ports) if !ports.is_empty() && ports.len() <= 16 => Ok(ports),
        _ => bad(
            "those are no ports",
            "write up to 16 ports, for example 5060, 5062",
        ),
    }
}
