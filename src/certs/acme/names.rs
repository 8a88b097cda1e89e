//! The names that a certificate is for.
//!
//! Pure. It refuses what no public authority takes, with a word on what to write instead. Invariant: a DNS name is in small
//! letters and ASCII, without a dot at its end.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The most names of one certificate that Let's Encrypt takes.
pub const MOST: usize = 100;

/// One name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// May begin with `*.`.
    Dns(String),
    Ip(IpAddr),
}

impl Name {
    /// Reads a name as people write it.
    ///
    /// # Errors
    /// With what is wrong about it.
    pub fn parse(text: &str) -> Result<Name, &'static str> {
        let text = text.trim();
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Name::Ip(address.to_canonical()));
        }
        if !text.is_ascii() {
            return Err("letters beyond ASCII must be written in their xn-- form");
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let bare = name.strip_prefix("*.").unwrap_or(&name);
        if bare.contains('*') {
            return Err("a star may only be the whole first part, as in *.example.org");
        }
        if name.len() > 253 || !bare.split('.').all(is_label) {
            return Err("it is no DNS name: parts of letters, digits and dashes between dots");
        }
        match bare.contains('.') {
            true => Ok(Name::Dns(name)),
            false => Err("it is not a full name with its domain, so nobody outside knows it"),
        }
    }

    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Name::Dns(name) if name.starts_with("*."))
    }

    /// The name by which TLS-ALPN-01 asks: of an address its reverse one (RFC 8738, 6).
    #[must_use]
    pub fn server_name(&self) -> String {
        match self {
            Name::Dns(name) => name.clone(),
            Name::Ip(IpAddr::V4(v4)) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            Name::Ip(IpAddr::V6(v6)) => format!("{}.ip6.arpa", nibbles(*v6)),
        }
    }

    /// Where the record of DNS-01 stands (RFC 8555, 8.4); an address has none.
    #[must_use]
    pub fn record(&self) -> Option<String> {
        match self {
            Name::Dns(name) => {
                let name = name.strip_prefix("*.").unwrap_or(name);
                Some(format!("_acme-challenge.{name}."))
            }
            Name::Ip(_) => None,
        }
    }
}

fn nibbles(address: Ipv6Addr) -> String {
    let digits: Vec<String> = address
        .octets()
        .iter()
        .rev()
        .flat_map(|octet| [octet & 15, octet >> 4])
        .map(|nibble| format!("{nibble:x}"))
        .collect();
    digits.join(".")
}

fn is_label(label: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !label.is_empty()
        && label.len() <= 63
        && label.chars().all(is_plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Dns(name) => f.write_str(name),
            Name::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        for (text, shown) in [
            ("PBX.Example.org.", "pbx.example.org"),
            (" *.example.org", "*.example.org"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(Name::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            ".",
            "tele",
            "bücher.example",
            "a..b",
            "-a.example",
            "a-.example",
            "*.*.example",
            "a.*.example",
            "*",
            "*.",
            "a_b.example",
            "a b.example",
            "../../evil",
            "a.example/x",
            &format!("{}.example", "a".repeat(64)),
        ] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        let name = |text| Name::parse(text).unwrap().server_name();
        assert_eq!(name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::1"),
            format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23))
        );
        assert_eq!(name("pbx.example.org"), "pbx.example.org");
    }

    #[test]
    fn a_wildcard_has_the_record_of_its_domain() {
        let record = |text| Name::parse(text).unwrap().record();
        let there = Some("_acme-challenge.example.org.".to_owned());
        assert_eq!(record("*.example.org"), there);
        assert_eq!(record("example.org"), there);
        assert_eq!(record("192.0.2.1"), None);
    }
}
