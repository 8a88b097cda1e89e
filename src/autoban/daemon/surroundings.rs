//! Who is never or hardly banned: this host, its gateways, trunks of the PBX's configuration, registered contacts.
//!
//! All of it is read again from time to time; every list is bounded.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;

use crate::asterisk::ami::frame::Lines;
use crate::asterisk::conf::{Document, Section};
use crate::autoban::cidr::Cidr;
use crate::sys::file::read_text;

/// The most contacts and trunks that are kept.
const MOST: usize = 16_384;
/// Where a transport listens that does not say.
const SIP: u16 = 5060;
/// The most files of PJSIP's configuration that are read.
const MOST_FILES: usize = 64;

/// The addresses of this host's interfaces.
pub fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    let mut all: Vec<IpAddr> = interfaces.filter_map(address).take(1024).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The addresses of trunks that PJSIP knows by their address: `match` of `type = identify`, `remote_hosts` of the wizard.
/// Host names are left out: a resolver's answer is nobody's proof.
pub fn trunks(config: &Path) -> Vec<Cidr> {
    let Ok(entries) = std::fs::read_dir(config) else {
        return Vec::new();
    };
    let is_pjsip = |name: &str| name.starts_with("pjsip") && name.ends_with(".conf");
    let mut files: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(is_pjsip)
        })
        .collect();
    files.sort_unstable();
    let texts = files
        .iter()
        .take(MOST_FILES)
        .filter_map(|path| read_text(path).ok());
    let mut found: Vec<Cidr> = texts.flat_map(|text| trunks_of(&text)).take(MOST).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn trunks_of(text: &str) -> Vec<Cidr> {
    let document = Document::parse(text);
    let mut found = Vec::new();
    for section in document.sections().filter(|section| !section.is_template()) {
        let is_type = |wanted: &str| {
            let own = section.own("type").map(str::to_owned);
            let kind = own.or_else(|| document.effective(section.name(), "type"));
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case(wanted))
        };
        let key = if is_type("identify") {
            "match"
        } else if is_type("wizard") {
            "remote_hosts"
        } else {
            continue;
        };
        let values = section
            .entries()
            .filter(|entry| entry.key.eq_ignore_ascii_case(key));
        let words = values.flat_map(|entry| entry.value.split(','));
        found.extend(words.filter_map(|word| trunk(word.trim())));
    }
    found
}

/// The ports of PJSIP's transports over UDP, by the whole of its configuration.
pub fn udp_ports(text: &str) -> BTreeSet<u16> {
    let document = Document::parse(text);
    let sections = document.sections().filter(|section| !section.is_template());
    let value = |section: &Section<'_>, key: &str| {
        let own = section.own(key).map(str::to_owned);
        own.or_else(|| document.effective(section.name(), key))
    };
    let is = |found: Option<String>, wanted: &str| {
        found.is_some_and(|found| found.trim().eq_ignore_ascii_case(wanted))
    };
    let transports = sections.filter(|section| is(value(section, "type"), "transport"));
    // Without a word it is UDP (res_pjsip/config_transport.c).
    let over_udp = transports.filter(|section| {
        let protocol = value(section, "protocol").unwrap_or_else(|| "udp".to_owned());
        is(Some(protocol), "udp")
    });
    over_udp
        .map(|section| {
            let bind = value(&section, "bind").unwrap_or_default();
            let bind = bind.trim();
            match (bind.parse::<IpAddr>(), bind.rsplit_once(':')) {
                (Err(_), Some((_, port))) => port.parse().unwrap_or(SIP),
                _ => SIP,
            }
        })
        .collect()
}

/// `192.0.2.7`, `192.0.2.0/24`, `192.0.2.7:5060`, `[2001:db8::1]:5060`.
fn trunk(word: &str) -> Option<Cidr> {
    let address = host(word).map(Cidr::host);
    // A match for everybody names nobody.
    address
        .or_else(|| word.parse().ok())
        .filter(|cidr: &Cidr| cidr.length() >= 8)
}

fn host(word: &str) -> Option<IpAddr> {
    let socket = word.parse().ok().map(|s: std::net::SocketAddr| s.ip());
    let bare = word.trim_start_matches('[').trim_end_matches(']');
    socket.or_else(|| bare.parse().ok())
}

/// Who is registered, by Asterisk's word (`ContactStatus`, main/stasis_endpoints.c).
#[derive(Debug, Default)]
pub struct Contacts {
    by_uri: HashMap<Vec<u8>, IpAddr>,
}

impl Contacts {
    /// Takes an event; says whether somebody came or went.
    pub fn take(&mut self, lines: &Lines<'_>) -> bool {
        let is_ours = lines.value(0, b"Event") == Some(b"ContactStatus")
            && lines.value(1, b"Privilege") == Some(b"system,all");
        // Asterisk may put a date and the like in between.
        let at = (2..8).find(|at| lines.value(*at, b"URI").is_some());
        let (Some(at), true) = (at, is_ours) else {
            return false;
        };
        let in_order = lines.value(at + 2, b"AOR").is_some();
        let (Some(uri), Some(status), true) = (
            lines.value(at, b"URI"),
            lines.value(at + 1, b"ContactStatus"),
            in_order,
        ) else {
            return false;
        };
        if status == b"Removed" {
            return self.by_uri.remove(uri).is_some();
        }
        match address_of(uri) {
            Some(address) if self.by_uri.len() < MOST && uri.len() <= 512 => {
                self.by_uri.insert(uri.to_owned(), address) != Some(address)
            }
            _ => false,
        }
    }

    pub fn forget(&mut self) {
        self.by_uri.clear();
    }

    pub fn addresses(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.by_uri.values().map(|address| Cidr::host(*address))
    }
}

/// The address in `sip:alice@192.0.2.7:5060;transport=udp`; a name is none.
fn address_of(uri: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(uri).ok()?;
    let rest = text
        .strip_prefix("sips:")
        .or_else(|| text.strip_prefix("sip:"))?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let end = rest.find([';', '?', '>']).unwrap_or(rest.len());
    host(rest.get(..end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trunks_are_named_by_address() {
        let text = "[base](!)\ntype = identify\n[itsp](base)\nendpoint = itsp\nmatch = 192.0.2.7,198.51.100.0/24\nmatch = sip.example.org\n[all]\ntype=identify\nmatch=0.0.0.0/0\n[w]\ntype=wizard\nremote_hosts = [2001:db8::1]:5060, 203.0.113.9:5080\n[e]\ntype=endpoint\nmatch=9.9.9.9\n";
        let found: Vec<String> = trunks_of(text).iter().map(Cidr::to_string).collect();
        assert_eq!(
            found,
            ["192.0.2.7", "198.51.100.0/24", "2001:db8::1", "203.0.113.9"]
        );
    }

    #[test]
    fn transports_over_udp_have_ports() {
        let text = "[base](!)\ntype = transport\nbind = 0.0.0.0:5070\n[a](base)\n[b](base)\nprotocol=tcp\n[c]\ntype=transport\nprotocol = UDP\nbind=[::]\n[d]\ntype=transport\nprotocol=udp\nbind=[::]:5080\n[f]\ntype=transport\nbind=fd5b::1\n[e]\ntype=endpoint\nbind=0.0.0.0:9\n";
        assert_eq!(udp_ports(text), BTreeSet::from([5060, 5070, 5080]));
    }

    #[test]
    fn contacts_are_named_by_their_uri() {
        let address = |uri: &str| address_of(uri.as_bytes()).map(|a| a.to_string());
        let of = |uri| address(uri).unwrap_or_default();
        assert_eq!(of("sip:alice@192.0.2.7:5060;transport=udp"), "192.0.2.7");
        assert_eq!(of("sips:bob@[2001:db8::1]:5061"), "2001:db8::1");
        assert_eq!(of("sip:192.0.2.8"), "192.0.2.8");
        for uri in [
            "",
            "sip:alice@example.org",
            "tel:1",
            "sip:a@192.0.2.7\u{e9}",
        ] {
            assert_eq!(address(uri), None, "{uri}");
        }
    }
}
