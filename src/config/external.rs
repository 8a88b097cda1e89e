//! How the operator names our address as the world sees it, and whom to ask for it.
//!
//! Pure. Invariant: an address that was taken is one to which a packet can be sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where STUN is spoken when no port is named (RFC 8489, 18.6).
const STUN_PORT: u16 = 3478;
/// The most servers of a list: each is asked when the address seems to have changed.
const MOST_SERVERS: usize = 8;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum External {
    /// Ask STUN servers, and go on asking.
    Auto,
    /// One address of a family, or one of each.
    Addresses(Known),
    /// Look the name up, and go on looking.
    Name(String),
}

/// An address of each family, as far as one is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

impl Known {
    /// Adds one more; the last of a family holds.
    #[must_use]
    pub fn with(mut self, address: IpAddr) -> Known {
        match address {
            IpAddr::V4(address) => self.v4 = Some(address),
            IpAddr::V6(address) => self.v6 = Some(address),
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// All that there are, IPv4 first.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Those of `newer`, and of this one what `newer` has not.
    #[must_use]
    pub fn updated(&self, newer: Known) -> Known {
        Known {
            v4: newer.v4.or(self.v4),
            v6: newer.v6.or(self.v6),
        }
    }
}

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<String> = self.all().map(|address| address.to_string()).collect();
        match all.is_empty() {
            true => f.write_str("none"),
            false => f.write_str(&all.join(" and ")),
        }
    }
}

/// A STUN server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name or an address.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Reads `auto`, one or two addresses, or a name.
///
/// # Errors
/// With what is wrong, in words.
pub fn external(text: &str) -> Result<External, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(External::Auto);
    }
    let words: Vec<&str> = words(text).collect();
    let addresses: Vec<IpAddr> = words.iter().filter_map(|word| word.parse().ok()).collect();
    if addresses.is_empty() {
        return match words.as_slice() {
            [name] if is_name(name) => Ok(External::Name((*name).to_owned())),
            _ => Err("it must be `auto`, an address, or a name".to_owned()),
        };
    }
    if addresses.len() != words.len() {
        return Err("it must be addresses, or one name, and not both".to_owned());
    }
    let mut known = Known::default();
    for address in addresses {
        if !can_be_reached(address) {
            return Err(format!("{address} is no address that others can reach"));
        }
        let has_one = match address {
            IpAddr::V4(_) => known.v4.is_some(),
            IpAddr::V6(_) => known.v6.is_some(),
        };
        if has_one {
            return Err("there can be one address of IPv4 and one of IPv6".to_owned());
        }
        known = known.with(address);
    }
    Ok(External::Addresses(known))
}

/// Reads `host`, `host:port`, `[address]:port` and more of them.
///
/// # Errors
/// With what is wrong, in words.
pub fn servers(text: &str) -> Result<Vec<Server>, String> {
    let found: Result<Vec<Server>, String> = words(text).map(server).collect();
    let found = found?;
    if found.is_empty() || found.len() > MOST_SERVERS {
        return Err(format!("it must be one to {MOST_SERVERS} servers"));
    }
    Ok(found)
}

fn server(word: &str) -> Result<Server, String> {
    let bad = || format!("`{word}` is no server: `name`, `name:port` or `[address]:port`");
    let (host, port) = match word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, STUN_PORT),
        Some((host, rest)) => {
            let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
            (host, port.ok_or_else(bad)?)
        }
        // An address of IPv6 without brackets has no port.
        None if word.parse::<Ipv6Addr>().is_ok() => (word, STUN_PORT),
        None => match word.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (word, STUN_PORT),
        },
    };
    let is_host = match word.starts_with('[') {
        true => host.parse::<Ipv6Addr>().is_ok(),
        false => host.parse::<IpAddr>().is_ok() || is_name(host),
    };
    if !is_host || port == 0 {
        return Err(bad());
    }
    Ok(Server {
        host: host.to_owned(),
        port,
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|word| !word.is_empty())
}

/// A name of DNS: labels of letters, digits, `-` and `_`, one of them not of digits alone.
fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    text.len() <= 253
        && labels.split('.').all(is_label)
        && labels.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Whether a packet can be sent to it from elsewhere.
pub fn can_be_reached(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.segments().first().is_some_and(|s| s & 0xffc0 == 0xfe80),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        assert_eq!(external("AUTO"), Ok(External::Auto));
        assert_eq!(
            external("pbx.example.com"),
            Ok(External::Name("pbx.example.com".to_owned()))
        );
        let both = external("203.0.113.7, 2001:db8::7").unwrap();
        let External::Addresses(known) = both else {
            panic!("{both:?}");
        };
        assert_eq!(known.to_string(), "203.0.113.7 and 2001:db8::7");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, why) in [
            ("203.0.113.7 203.0.113.8", "one address of IPv4"),
            ("203.0.113.7,pbx.example.com", "and not both"),
            ("127.0.0.1", "no address that others can reach"),
            ("0.0.0.0", "no address that others can reach"),
            ("fe80::1", "no address that others can reach"),
            ("a b", "it must be `auto`"),
            ("203.0.113", "it must be `auto`"),
            ("http://x", "it must be `auto`"),
        ] {
            let error = external(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn servers_have_ports() {
        let found = servers("stun.example.com, [2001:db8::1]:3479 192.0.2.1:19302 2001:db8::2");
        let texts: Vec<String> = found.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "stun.example.com:3478",
                "[2001:db8::1]:3479",
                "192.0.2.1:19302",
                "[2001:db8::2]:3478"
            ]
        );
        for bad in ["", "a:b", "a:0", "[x", "[x]:1", "[2001:db8::1]1", "a/b"] {
            assert!(servers(bad).is_err(), "{bad}");
        }
        assert!(servers(&"a ".repeat(9)).is_err());
    }

    #[test]
    fn what_is_not_known_anew_stays() {
        let old = Known::default().with([203, 0, 113, 7].into());
        let newer = Known::default().with("2001:db8::7".parse().unwrap());
        assert_eq!(old.updated(newer).all().count(), 2);
        assert_eq!(Known::default().to_string(), "none");
    }
}
