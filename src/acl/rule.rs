//! One rule of a list, read and applied as Asterisk does it.
//!
//! Pure. The rules were read in Asterisk's main/acl.c (`ast_append_ha`, `ast_apply_ha`) and main/netsock2.c
//! (`ast_sockaddr_parse`), and are proven against Asterisk 22.10.1 by tests/image/acl.rs.
//! Invariant: what Asterisk would refuse is refused here, and what it takes means the same.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

/// What becomes of who matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sense {
    Permit,
    Deny,
}

impl Sense {
    /// As Asterisk takes the word: whatever begins with a `p` lets in, everything else keeps out.
    #[must_use]
    pub fn of(word: &str) -> Sense {
        match word.bytes().next() {
            Some(b'p' | b'P') => Sense::Permit,
            _ => Sense::Deny,
        }
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Sense::Permit => "permit",
            Sense::Deny => "deny",
        }
    }

    fn turned(self) -> Sense {
        match self {
            Sense::Permit => Sense::Deny,
            Sense::Deny => Sense::Permit,
        }
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One address of a rule, with its mask and what it means; `!` is already counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clause {
    pub sense: Sense,
    v6: bool,
    /// An IPv4 address has its 32 bits at the right. What the mask leaves out is zero.
    bits: u128,
    mask: u128,
}

/// Why Asterisk refuses a rule, and with it the whole list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` {why}")]
pub struct BadRule {
    /// The one among several that is wrong.
    pub word: String,
    pub why: &'static str,
    pub hint: &'static str,
}

const FORMS: &str = "write for example 192.0.2.0/24, 192.0.2.0/255.255.255.0, 192.0.2.7 or 2001:db8::/32, several with a comma between them and no blank";
const LENGTHS: &str = "an IPv4 network has a length of 0 to 32, an IPv6 network of 0 to 128";

fn bad<T>(word: &str, why: &'static str, hint: &'static str) -> Result<T, BadRule> {
    Err(BadRule {
        word: word.escape_debug().to_string(),
        why,
        hint,
    })
}

/// Reads a rule: one address or several with commas between them, each `[!]ADDRESS[/LENGTH|/NETMASK]`.
///
/// # Errors
/// If Asterisk would not take it.
pub fn parse(sense: Sense, text: &str) -> Result<Vec<Clause>, BadRule> {
    text.split(',').map(|word| clause(sense, word)).collect()
}

/// Refuses what Asterisk takes and hardly anybody means: what is new shall be plain.
///
/// # Errors
/// If there is such a place.
pub fn plain(text: &str) -> Result<(), BadRule> {
    for word in text.split(',') {
        let bare = word.strip_prefix('!').unwrap_or(word);
        let (address, mask) = bare.split_once('/').unwrap_or((bare, ""));
        if address.parse::<IpAddr>().is_err() {
            return bad(word, "is no plain address", FORMS);
        }
        let is_length = mask.bytes().all(|byte| byte.is_ascii_digit());
        if !is_length && mask.parse::<IpAddr>().is_err() {
            return bad(word, "has no plain length or netmask", FORMS);
        }
        if bare.ends_with('/') {
            return bad(word, "ends with a slash", FORMS);
        }
    }
    Ok(())
}

fn clause(sense: Sense, word: &str) -> Result<Clause, BadRule> {
    let (address, mask) = match word.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (word, None),
    };
    let (sense, address) = match address.strip_prefix('!') {
        Some(address) => (sense.turned(), address),
        None => (sense, address),
    };
    let Some(address) = numeric(address) else {
        let why = match address {
            "" => "has no address",
            _ if address.contains([' ', '\t']) => "holds a blank, which Asterisk does not take",
            _ => "is no address: names and ports are not taken",
        };
        return bad(word, why, FORMS);
    };
    let address = unmapped(address);
    let width = if address.is_ipv4() { 32 } else { 128 };
    let mask = match mask {
        None => length_mask(width, width),
        Some(mask) if mask.contains([':', '.']) => {
            let Some(mask) = numeric(mask).map(unmapped) else {
                return bad(word, "has a netmask that is no address", FORMS);
            };
            if mask.is_ipv4() != address.is_ipv4() {
                return bad(word, "mixes IPv4 and IPv6 in address and netmask", FORMS);
            }
            number(mask)
        }
        Some(length) => match scanned(length) {
            None => return bad(word, "has a length that is no number", LENGTHS),
            Some(length) => match u8::try_from(length).ok().filter(|length| *length <= width) {
                Some(length) => length_mask(width, length),
                None => return bad(word, "has a length that does not fit its address", LENGTHS),
            },
        },
    };
    Ok(Clause {
        sense,
        v6: !address.is_ipv4(),
        bits: number(address) & mask,
        mask,
    })
}

/// An address without a name service, as getaddrinfo(3) takes it: also in brackets, and IPv4 with fewer parts.
fn numeric(text: &str) -> Option<IpAddr> {
    let host = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').unwrap_or((rest, ""));
            if behind.starts_with(':') {
                return None;
            }
            host
        }
        None if text.matches(':').count() == 1 => return None,
        None => text,
    };
    if let Some(v4) = dotted(host) {
        return Some(IpAddr::V4(v4));
    }
    // The zone of a link-local address is read, and counts for nothing.
    let host = match host.split_once('%') {
        Some((host, zone)) if !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => host,
    };
    host.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// inet_aton(3): one to four numbers, decimal, octal or hexadecimal; the last one fills what is left.
fn dotted(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, others) = parts.split_last()?;
    if others.len() > 3 {
        return None;
    }
    let mut bits = 0u64;
    for part in others {
        bits = bits << 8 | Some(c_number(part)?).filter(|n| *n <= 255)?;
    }
    let room = 8 * (4 - others.len());
    let last = Some(c_number(last)?).filter(|n| *n < 1 << room)?;
    u32::try_from(bits << room | last)
        .ok()
        .map(Ipv4Addr::from_bits)
}

fn c_number(text: &str) -> Option<u64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hex {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// `sscanf("%30d")`: what stands behind the number is not looked at.
fn scanned(text: &str) -> Option<i32> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let length = text.len() - digits.len();
    let digits: Vec<u8> = digits
        .bytes()
        .take_while(u8::is_ascii_digit)
        .take(30 - length)
        .collect();
    if digits.is_empty() {
        return None;
    }
    let size = digits.iter().fold(0i64, |size, digit| {
        size.saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    });
    // C keeps the lower half of what strtol(3) gives.
    Some(if is_negative { -size } else { size } as i32)
}

fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn length_mask(width: u8, length: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width));
    all & !all.checked_shr(u32::from(length)).unwrap_or(0)
}

impl Clause {
    /// Whether an address is meant. A rule of one family says nothing of the other.
    #[must_use]
    pub fn matches(&self, address: IpAddr) -> bool {
        let address = unmapped(address);
        self.v6 == address.is_ipv6() && number(address) & self.mask == self.bits
    }

    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.v6
    }

    /// The first and the last address as numbers; `None` if the netmask has holes, and they are no range.
    #[must_use]
    pub fn range(&self) -> Option<(u128, u128)> {
        let width = if self.v6 { 128 } else { 32 };
        let hosts = length_mask(width, width) & !self.mask;
        (hosts & hosts.wrapping_add(1) == 0).then_some((self.bits, self.bits | hosts))
    }

    /// Address and netmask as Asterisk's `acl show` tells them.
    #[must_use]
    pub fn shown(&self) -> String {
        let text = |bits: u128| match self.v6 {
            true => Ipv6Addr::from_bits(bits).to_string(),
            false => u32::try_from(bits).map_or_else(
                |_| String::new(),
                |bits| Ipv4Addr::from_bits(bits).to_string(),
            ),
        };
        format!("{}/{}", text(self.bits), text(self.mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let clauses = parse(Sense::Permit, text).unwrap_or_else(|error| panic!("{error}"));
        let shown = clauses.iter();
        shown
            .map(|clause| format!("{} {}", clause.sense, clause.shown()))
            .collect()
    }

    #[test]
    fn the_forms_that_asterisk_takes() {
        assert_eq!(shown("192.0.2.7"), ["permit 192.0.2.7/255.255.255.255"]);
        assert_eq!(
            shown("192.0.2.7/24,!192.0.2.128/255.255.255.128"),
            [
                "permit 192.0.2.0/255.255.255.0",
                "deny 192.0.2.128/255.255.255.128"
            ]
        );
        assert_eq!(shown("0.0.0.0/0"), ["permit 0.0.0.0/0.0.0.0"]);
        assert_eq!(shown("::/0"), ["permit ::/::"]);
        assert_eq!(shown("[2001:db8::7]/32"), ["permit 2001:db8::/ffff:ffff::"]);
        assert_eq!(
            shown("::ffff:192.0.2.7"),
            ["permit 192.0.2.7/255.255.255.255"]
        );
        assert_eq!(shown("10.1/8"), ["permit 10.0.0.0/255.0.0.0"]);
        assert_eq!(shown("0x7f.1"), ["permit 127.0.0.1/255.255.255.255"]);
        assert_eq!(
            shown("10.7.9.1/255.0.255.0"),
            ["permit 10.0.9.0/255.0.255.0"]
        );
        assert_eq!(
            shown("10.0.0.0/ +8 and more"),
            ["permit 10.0.0.0/255.0.0.0"]
        );
    }

    #[test]
    fn what_asterisk_refuses_is_named() {
        for text in [
            "",
            "10.0.0.0/8,",
            "10.0.0.0/8, 192.0.2.1",
            "office",
            "192.0.2.1:5060",
            "[::1]:5060",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/",
            "192.0.2.0/x",
            "::/129",
            "::ffff:192.0.2.0/120",
            "192.0.2.0/ffff::",
            "2001:db8::/255.0.0.0",
            "256.1.1.1",
            "1.2.3.4.5",
            "09.1.1.1",
            "!!10.0.0.1",
        ] {
            assert!(parse(Sense::Permit, text).is_err(), "{text}");
        }
    }

    #[test]
    fn new_rules_are_plain() {
        for text in ["10.0.0.0/8,!10.1.0.0/255.255.0.0", "2001:db8::/32", "::1"] {
            assert!(plain(text).is_ok(), "{text}");
        }
        for text in [
            "10.1/8",
            "010.0.0.1",
            "10.0.0.0/8x",
            "[::1]",
            "10.0.0.0/+8",
            "10.0.0.0/",
        ] {
            assert!(plain(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_says_nothing_of_the_other_family() {
        let matches = |rule: &str, address: &str| {
            let clauses = parse(Sense::Deny, rule).unwrap();
            clauses[0].matches(address.parse().unwrap())
        };
        assert!(matches("0.0.0.0/0", "::ffff:192.0.2.1"));
        assert!(!matches("0.0.0.0/0", "2001:db8::1"));
        assert!(!matches("::/0", "192.0.2.1"));
        assert!(matches("10.0.9.7/255.0.255.255", "10.200.9.7"));
    }

    #[test]
    fn a_netmask_with_holes_is_no_range() {
        let range = |rule: &str| parse(Sense::Deny, rule).unwrap()[0].range();
        assert_eq!(range("10.0.9.0/255.0.255.0"), None);
        assert_eq!(range("10.0.0.0/8"), Some((0x0a00_0000, 0x0aff_ffff)));
        assert_eq!(range("::/0"), Some((0, u128::MAX)));
    }
}
