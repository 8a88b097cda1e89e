//! Who sent a request: the peer of the connection, or what a proxy that we trust says of it.
//!
//! Pure. Only one header is believed, the one that is configured, and only from a trusted peer: a proxy passes on what it
//! does not know. Of several hops the rightmost that is no trusted proxy counts; what stands left of it was written by the
//! sender.
//!
//! Invariant: what cannot be read as an address is no address. It never equals another and is on no list.

use std::net::{IpAddr, SocketAddr};

use crate::autoban::cidr::Cidr;

use super::request::Request;

/// More hops than any way through the network has.
const MOST_HOPS: usize = 32;

/// What is believed of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Addresses with commas between them, as `X-Forwarded-For`.
    List(String),
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The peers whose word counts, and the header that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies {
    pub trusted: Vec<Cidr>,
    pub header: ProxyHeader,
}

/// A request whose sender cannot be told; nothing may be done on its behalf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{header} of the proxy {peer} does not tell the sender: {what}")]
pub struct Unknown {
    peer: IpAddr,
    header: String,
    what: String,
}

impl ProxyHeader {
    /// The header of this name, also as PHP writes it: `HTTP_X_FORWARDED_FOR`.
    #[must_use]
    pub fn named(name: &str) -> ProxyHeader {
        let name = match name.strip_prefix("HTTP_") {
            Some(rest) => rest.replace('_', "-"),
            None => name.to_owned(),
        };
        match name.eq_ignore_ascii_case("Forwarded") {
            true => ProxyHeader::Forwarded,
            false => ProxyHeader::List(name),
        }
    }

    fn name(&self) -> &str {
        match self {
            ProxyHeader::List(name) => name,
            ProxyHeader::Forwarded => "Forwarded",
        }
    }
}

/// The address that the request counts for. An IPv4 address within IPv6 is the IPv4 address.
pub fn sender(peer: IpAddr, request: &Request<'_>, proxies: &Proxies) -> Result<IpAddr, Unknown> {
    let peer = peer.to_canonical();
    let trusted = |address| proxies.trusted.iter().any(|cidr| cidr.contains(address));
    if !trusted(peer) {
        return Ok(peer);
    }
    let unknown = |what: String| Unknown {
        peer,
        header: proxies.header.name().to_owned(),
        what,
    };
    let lines: Vec<&str> = request.all(proxies.header.name()).collect();
    let line = lines.join(",");
    let mut sender = peer;
    // Without the header the proxy speaks for itself.
    let hops = match lines.is_empty() {
        true => Vec::new(),
        false => parted(&line, ',').ok_or_else(|| unknown("a quote is not closed".to_owned()))?,
    };
    for (count, hop) in hops.iter().rev().enumerate() {
        if count == MOST_HOPS {
            return Err(unknown(format!("it has more than {MOST_HOPS} hops")));
        }
        let hop = match proxies.header {
            ProxyHeader::List(_) => Some(hop.trim()),
            ProxyHeader::Forwarded => forwarded_for(hop),
        };
        sender = hop.and_then(address).ok_or_else(|| {
            let shown: String = hop.unwrap_or("").chars().take(64).collect();
            unknown(format!("`{}` is no address", shown.escape_debug()))
        })?;
        if !trusted(sender) {
            return Ok(sender);
        }
    }
    Ok(sender)
}

/// The `for` of one hop, without quotes. Two of them are none.
fn forwarded_for(hop: &str) -> Option<&str> {
    let pairs = parted(hop, ';')?;
    let mut values = pairs.iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim())
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// The text between these signs, but for those within quotes; `None` if a quote is open.
fn parted(text: &str, at: char) -> Option<Vec<&str>> {
    let mut quoted = false;
    let parts = text
        .split(|sign| {
            quoted ^= sign == '"';
            sign == at && !quoted
        })
        .collect();
    (!quoted).then_some(parts)
}

/// An address, perhaps with brackets and a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().or_else(|| {
            // A zone belongs to the host that wrote it.
            let socket: SocketAddr = text.parse().ok().filter(|_| !text.contains('%'))?;
            Some(socket.ip())
        }),
    };
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(peer: &str, header: &str, lines: &[&str]) -> Result<String, String> {
        let headers: Vec<(&str, &str)> = lines.iter().map(|line| (header, *line)).collect();
        let request = Request {
            method: "POST",
            target: "/",
            headers: &headers,
            body: b"",
        };
        let proxies = Proxies {
            trusted: ["10.0.0.0/8", "2001:db8::/64"]
                .iter()
                .map(|cidr| cidr.parse().unwrap())
                .collect(),
            header: ProxyHeader::named(header),
        };
        sender(peer.parse().unwrap(), &request, &proxies)
            .map(|address| address.to_string())
            .map_err(|unknown| unknown.to_string())
    }

    fn xff(peer: &str, lines: &[&str]) -> Result<String, String> {
        told(peer, "X-Forwarded-For", lines)
    }

    #[test]
    fn a_header_of_a_stranger_is_not_believed() {
        assert_eq!(xff("192.0.2.9", &["3.104.90.1"]).unwrap(), "192.0.2.9");
        // The bridge of a container engine is trusted by nobody but by the configuration.
        assert_eq!(xff("172.17.0.1", &["3.104.90.1"]).unwrap(), "172.17.0.1");
        assert_eq!(xff("::ffff:192.0.2.9", &["1.1.1.1"]).unwrap(), "192.0.2.9");
        assert_eq!(
            told("192.0.2.9", "Forwarded", &["for=3.104.90.1"]).unwrap(),
            "192.0.2.9"
        );
    }

    #[test]
    fn the_rightmost_hop_that_is_no_proxy_counts() {
        assert_eq!(xff("10.0.0.1", &["192.0.2.7"]).unwrap(), "192.0.2.7");
        assert_eq!(
            xff("10.0.0.1", &["3.104.90.1, 192.0.2.7, 10.0.0.2"]).unwrap(),
            "192.0.2.7"
        );
        assert_eq!(
            xff(
                "::ffff:10.0.0.1",
                &["3.104.90.1", "::ffff:192.0.2.7 ", "10.0.0.2:99"]
            )
            .unwrap(),
            "192.0.2.7"
        );
        assert_eq!(
            xff("2001:db8::1", &["[2001:db9::1]:80"]).unwrap(),
            "2001:db9::1"
        );
        assert_eq!(
            xff("10.0.0.1", &["10.0.0.3, 10.0.0.2"]).unwrap(),
            "10.0.0.3"
        );
        assert_eq!(xff("10.0.0.1", &[]).unwrap(), "10.0.0.1");
    }

    #[test]
    fn what_is_no_address_is_nobody_and_on_no_list() {
        for garbage in [
            "evil",
            "",
            "192.0.2.7,",
            "a.b.c.d",
            "192.0.2.7, 10.0.0.2 evil",
            "0x7f.1",
            "192.0.2.300",
            "fe80::1%eth0",
            "[fe80::1%3]:80",
            "\"192.0.2.7\"",
            "\"192.0.2.7",
        ] {
            assert!(xff("10.0.0.1", &[garbage]).is_err(), "{garbage}");
        }
        // What stands left of the sender was written by the sender.
        assert_eq!(xff("10.0.0.1", &["evil, 192.0.2.7"]).unwrap(), "192.0.2.7");
        let told = xff("10.0.0.1", &["a\r\nb\u{1b}"]).unwrap_err();
        assert!(!told.contains(['\r', '\n', '\u{1b}']), "{told}");
        let many = vec!["10.0.0.2"; 40].join(",");
        assert!(xff("10.0.0.1", &[&many]).unwrap_err().contains("32 hops"));
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let told = |lines: &[&str]| told("10.0.0.1", "Forwarded", lines);
        assert_eq!(
            told(&["for=3.3.3.3, For=\"[2001:db9::7]:4711\";proto=http;by=10.0.0.1"]).unwrap(),
            "2001:db9::7"
        );
        assert_eq!(
            told(&["for=192.0.2.7;host=\"a,b;for=1\"", "for=10.9.9.9"]).unwrap(),
            "192.0.2.7"
        );
        for hop in [
            "for=unknown",
            "for=_hidden",
            "by=1.1.1.1",
            "for=1.1.1.1;for=2.2.2.2",
        ] {
            assert!(told(&[hop]).is_err(), "{hop}");
        }
    }

    #[test]
    fn a_header_may_be_named_as_php_does() {
        assert_eq!(
            ProxyHeader::named("HTTP_X_FORWARDED_FOR"),
            ProxyHeader::List("X-FORWARDED-FOR".to_owned())
        );
        assert_eq!(ProxyHeader::named("forwarded"), ProxyHeader::Forwarded);
    }

    proptest! {
        #[test]
        fn no_header_is_too_odd(line in r#"(for=|"|,|;|\[|\]|::1|10\.0\.0\.1|1\.1\.1\.1|:80| |x){0,12}"#) {
            for header in ["X-Forwarded-For", "Forwarded"] {
                let _ = told("10.0.0.1", header, &[&line]);
                prop_assert_eq!(told("192.0.2.9", header, &[&line]).unwrap(), "192.0.2.9");
            }
        }
    }
}
