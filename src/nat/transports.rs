//! The transports of PJSIP, and the ports of sound, as the PBX's configuration has them.
//!
//! Pure: texts with every include in its place. Invariant: what is found is what Asterisk takes: of a transport's address the
//! last, of the ports the first that is named (res_rtp_asterisk.c asks with `ast_variable_retrieve`).

use crate::asterisk::conf::Document;
use crate::asterisk::listeners::Settings;
use crate::config::ports::Ports;

/// The most transports that are looked at.
const MOST: usize = 100;
/// What Asterisk takes where rtp.conf names none (`DEFAULT_RTP_START`, `DEFAULT_RTP_END` in res_rtp_asterisk.c).
const RTP_DEFAULT: Ports = Ports {
    first: 5000,
    last: 31_000,
};

/// One transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    pub name: String,
    pub is_v6: bool,
    pub media: Option<String>,
    pub signaling: Option<String>,
    pub local_nets: Vec<String>,
}

/// The transports in the text of `pjsip.conf`.
#[must_use]
pub fn transports(text: &str) -> Vec<Transport> {
    let document = Document::parse(text);
    let sections = document
        .sections()
        .filter(|section| !section.is_template() && !section.is_addition());
    let transport = |name: &str| {
        let settings = Settings::read(text, name);
        let kind = settings.last(&["type"])?;
        let own = |key| settings.last(&[key]).map(str::to_owned);
        let bind = settings.last(&["bind"]).unwrap_or_default();
        kind.eq_ignore_ascii_case("transport").then(|| Transport {
            name: name.to_owned(),
            is_v6: bind.starts_with('[') || bind.matches(':').count() > 1,
            media: own("external_media_address"),
            signaling: own("external_signaling_address"),
            local_nets: settings.all(&["local_net"]).map(str::to_owned).collect(),
        })
    };
    sections
        .filter_map(|section| transport(section.name()))
        .take(MOST)
        .collect()
}

/// The ports in the text of `rtp.conf`; `None` where a number is none.
#[must_use]
pub fn rtp_ports(text: &str) -> Option<Ports> {
    let settings = Settings::read(text, "general");
    let port = |key, default| match settings.all(&[key]).next() {
        Some(text) => text.trim().parse().ok(),
        None => Some(default),
    };
    Some(Ports {
        first: port("rtpstart", RTP_DEFAULT.first)?,
        last: port("rtpend", RTP_DEFAULT.last)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_has_what_its_templates_say_and_its_own_last_word() {
        let text = "[t](!)\ntype=transport\nbind=0.0.0.0:5060\nexternal_media_address=203.0.113.7\nlocal_net=10.0.0.0/8\n\
            [udp](t)\nprotocol=udp\n[tcp](t)\nprotocol=tcp\nexternal_media_address=203.0.113.8\n\
            [udp6](t)\nbind=[::]:5060\n[x]\ntype=endpoint\n";
        let found = transports(text);
        let told: Vec<(&str, bool, &str)> = found
            .iter()
            .map(|t| (t.name.as_str(), t.is_v6, t.media.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            told,
            [
                ("udp", false, "203.0.113.7"),
                ("tcp", false, "203.0.113.8"),
                ("udp6", true, "203.0.113.7")
            ]
        );
        assert_eq!(found[0].local_nets, ["10.0.0.0/8"]);
    }

    #[test]
    fn the_first_port_that_is_named_holds() {
        let text = "[general]\nrtpstart = 20000\nrtpend=20099\nrtpstart=30000\nrtpend=30099\n";
        assert_eq!(rtp_ports(text).unwrap().to_string(), "20000-20099");
        assert_eq!(rtp_ports("").unwrap(), RTP_DEFAULT);
        assert_eq!(rtp_ports("[general]\nrtpstart=x\n"), None);
    }
}
