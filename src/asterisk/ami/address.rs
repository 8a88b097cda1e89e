//! The addresses of a security event: `IPV4/UDP/192.0.2.7/5060`.
//!
//! Pure. The form is that of `ast_json_ipaddr` in Asterisk's main/json.c: family, transport, address without brackets,
//! port; the transport is left out when it is not known, and an IPv4 address within IPv6 is written as IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What carried the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// Not told by Asterisk.
    Unknown,
}

impl Transport {
    /// Whether the sender proved that it receives at its address: a TCP handshake does.
    #[must_use]
    pub fn is_connected(self) -> bool {
        match self {
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => true,
            Transport::Udp | Transport::Unknown => false,
        }
    }

    /// The name that Asterisk gives it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
            Transport::Unknown => "unknown",
        }
    }
}

/// One end of the connection that an event is about. An IPv4 address within IPv6 is already the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    pub address: IpAddr,
    pub transport: Transport,
    pub port: u16,
}

impl Peer {
    /// Reads the value of `RemoteAddress` or `LocalAddress`; `None` if Asterisk would not have written it so.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Peer> {
        let text = std::str::from_utf8(value).ok()?;
        let (family, rest) = text.split_once('/')?;
        let (rest, port) = rest.rsplit_once('/')?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let port = port.parse().ok()?;
        let (transport, address) = match rest.split_once('/') {
            None => (Transport::Unknown, rest),
            Some((name, address)) => (transport(name)?, address),
        };
        let address = match family {
            "IPV4" => match address.parse::<Ipv4Addr>() {
                Ok(v4) => IpAddr::V4(v4),
                Err(_) => IpAddr::V4(address.parse::<Ipv6Addr>().ok()?.to_ipv4_mapped()?),
            },
            // A link-local address can bear its interface.
            "IPV6" => address
                .split('%')
                .next()?
                .parse::<Ipv6Addr>()
                .ok()
                .map(|v6| v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))?,
            _ => return None,
        };
        Some(Peer {
            address,
            transport,
            port,
        })
    }
}

fn transport(name: &str) -> Option<Transport> {
    Some(match name {
        "UDP" => Transport::Udp,
        "TCP" => Transport::Tcp,
        "TLS" => Transport::Tls,
        "WS" => Transport::Ws,
        "WSS" => Transport::Wss,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Transport, u16)> {
        Peer::parse(text.as_bytes())
            .map(|peer| (peer.address.to_string(), peer.transport, peer.port))
    }

    #[test]
    fn every_form_that_asterisk_writes() {
        let rows = [
            ("IPV4/UDP/1.2.3.4/5060", "1.2.3.4", Transport::Udp, 5060),
            ("IPV4/TCP/1.2.3.4/40000", "1.2.3.4", Transport::Tcp, 40000),
            ("IPV6/UDP/fd09::5/34248", "fd09::5", Transport::Udp, 34248),
            (
                "IPV6/TLS/fe80::1%eth0/5061",
                "fe80::1",
                Transport::Tls,
                5061,
            ),
            ("IPV4/WS/1.2.3.4/8088", "1.2.3.4", Transport::Ws, 8088),
            (
                "IPV6/WSS/2001:db8::1/8089",
                "2001:db8::1",
                Transport::Wss,
                8089,
            ),
            ("IPV4/1.2.3.4/5060", "1.2.3.4", Transport::Unknown, 5060),
            ("IPV4/UDP/::ffff:1.2.3.4/1", "1.2.3.4", Transport::Udp, 1),
            ("IPV6/UDP/::ffff:1.2.3.4/1", "1.2.3.4", Transport::Udp, 1),
        ];
        for (text, address, transport, port) in rows {
            assert_eq!(
                read(text),
                Some((address.to_owned(), transport, port)),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_no_address() {
        for text in [
            "",
            "IPV4",
            "IPV4/UDP/1.2.3.4",
            "IPV4/UDP/1.2.3.4/",
            "IPV4/UDP/1.2.3.4/+1",
            "IPV4/UDP/1.2.3.4/65536",
            "IPV4/SCTP/1.2.3.4/1",
            "IPV4/UDP/TCP/1.2.3.4/1",
            "IPV4/UDP/1.2.3/1",
            "IPV4/UDP/fd09::5/1",
            "IPV6/UDP/[fd09::5]/1",
            "Unknown/UDP/1.2.3.4/1",
            " IPV4/UDP/1.2.3.4/1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
