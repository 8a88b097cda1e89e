//! Which listeners show our certificate, by the PBX's own configuration.
//!
//! Pure: texts in, listeners out. A listener with a certificate of its own is not ours to prove. Invariant: each address
//! is one to which this container itself can connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::keeper::Door;
use crate::asterisk::conf::Document;
use crate::asterisk::listeners::{Settings, is_true};

/// Ports that hold when none is named (pjsip's default for TLS, and main/http.c and main/manager.c of Asterisk).
const SIPS_PORT: u16 = 5061;
const HTTPS_PORT: u16 = 8089;
const AMI_TLS_PORT: u16 = 5039;

/// The configuration that decides, each with its includes in place.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    pub pjsip: String,
    pub http: String,
    pub manager: String,
}

/// The listeners that use a certificate of one of these directories.
pub fn doors(texts: &Texts, directories: &[String]) -> Vec<Door> {
    let is_ours = |file: &str| {
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        directories
            .iter()
            .any(|ours| ours.trim_end_matches('/') == directory)
    };
    let mut doors = Vec::new();
    let document = Document::parse(&texts.pjsip);
    for section in document.sections() {
        if section.is_template() || section.is_addition() {
            continue;
        }
        let settings = Settings::read(&texts.pjsip, section.name());
        let is = |key: &str, value: &str| {
            let found = settings.last(&[key]);
            found.is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        if !is("type", "transport") || !is("protocol", "tls") {
            continue;
        }
        let file = settings.last(&["cert_file"]).unwrap_or_default();
        let bound = settings
            .last(&["bind"])
            .and_then(|text| address(text, SIPS_PORT));
        if let (true, Some(bound)) = (is_ours(file), bound) {
            doors.push(door("sips", bound, file));
        }
    }
    for (what, text, clear_bind, port) in [
        ("https", &texts.http, &["bindaddr"], HTTPS_PORT),
        ("amis", &texts.manager, &["bindaddr"], AMI_TLS_PORT),
    ] {
        let settings = Settings::read(text, "general");
        let is_on = |keys: &[&str]| settings.last(keys).is_some_and(is_true);
        if !is_on(&["tlsenable", "sslenable"]) || (what == "amis" && !is_on(&["enabled"])) {
            continue;
        }
        let file = settings
            .last(&["tlscertfile", "tlscert", "sslcert"])
            .unwrap_or_default();
        let own = settings
            .last(&["tlsbindaddr", "sslbindaddr"])
            .and_then(|text| address(text, port));
        let clear = settings
            .last(clear_bind)
            .and_then(|text| address(text, port));
        // Only the address of the clear listener is taken over, not its port.
        let bound = own.or(clear.map(|clear| SocketAddr::new(clear.ip(), port)));
        let bound = bound.or((what == "amis").then_some((Ipv6Addr::UNSPECIFIED, port).into()));
        if let (true, Some(bound)) = (is_ours(file), bound) {
            doors.push(door(what, bound, file));
        }
    }
    doors
}

fn door(what: &str, bound: SocketAddr, file: &str) -> Door {
    let ip = match bound.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let name = file.rsplit('/').next().unwrap_or_default();
    Door {
        what: what.to_owned(),
        address: SocketAddr::new(ip, bound.port()),
        is_dual: name.contains("_rsa."),
    }
}

/// `address`, `address:port`, `[address]:port`.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(found) = text.parse::<SocketAddr>() {
        let port = if found.port() == 0 {
            port
        } else {
            found.port()
        };
        return Some(SocketAddr::new(found.ip(), port));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<String> {
        vec![
            "/etc/ssl/asterisk".to_owned(),
            "/srv/etc/ssl/asterisk".to_owned(),
        ]
    }

    fn found(texts: &Texts) -> Vec<String> {
        let doors = doors(texts, &ours());
        let tell = |door: &Door| {
            let dual = if door.is_dual { " dual" } else { "" };
            format!("{} {}{dual}", door.what, door.address)
        };
        doors.iter().map(tell).collect()
    }

    #[test]
    fn the_sample_configuration_has_two() {
        let pjsip = include_str!("../../seed-config/etc/asterisk/pjsip_transport.conf");
        let texts = Texts {
            pjsip: pjsip.to_owned(),
            http: include_str!("../../seed-config/etc/asterisk/http.conf").to_owned(),
            manager: include_str!("../../seed-config/etc/asterisk/manager.conf").to_owned(),
        };
        assert_eq!(
            found(&texts),
            ["sips 127.0.0.1:5061 dual", "sips [::1]:5061 dual"]
        );
    }

    #[test]
    fn other_listeners_are_found_and_foreign_certificates_are_not_ours() {
        let texts = Texts {
            pjsip: "[a]\ntype=transport\nprotocol=tls\nbind=192.0.2.1\ncert_file=/etc/ssl/asterisk/cert.pem\n\
                [b]\ntype=transport\nprotocol=tls\nbind=0.0.0.0:5062\ncert_file=/etc/other/cert.pem\n\
                [c]\ntype=transport\nprotocol=udp\nbind=0.0.0.0\n".to_owned(),
            http: "[general]\nenabled=yes\nbindaddr=127.0.0.1\nbindport=8088\ntlsenable=yes\ntlscertfile=/srv/etc/ssl/asterisk/asterisk_rsa.pem\n".to_owned(),
            manager: "[general]\nenabled=yes\ntlsenable=yes\ntlsbindaddr=0.0.0.0:5040\ntlscertfile=/etc/ssl/asterisk/cert.pem\n".to_owned(),
        };
        assert_eq!(
            found(&texts),
            [
                "sips 192.0.2.1:5061",
                "https 127.0.0.1:8089 dual",
                "amis 127.0.0.1:5040"
            ]
        );
        assert_eq!(found(&Texts::default()), Vec::<String>::new());
    }
}
