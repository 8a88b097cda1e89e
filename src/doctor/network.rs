//! Who is told which address, where sound goes, and whose packets come from where.
//!
//! Pure. Published ports cannot be seen from inside a container: what can is whether the PBX and the variable agree.
//! Invariant: an address is called wrong only by somebody who sees us from outside, or by the container's own.

use std::net::IpAddr;

use super::evidence::Evidence;
use super::{Answer, Finding, Severity};
use crate::config::external::{External, Known};
use crate::config::ports::Ports;
use crate::nat::surroundings::Mode;
use crate::nat::text::{IPV4, IPV6, RTP, is_private};
use crate::nat::transports::Transport;

const RELOAD: &str = "have it read: `switchhook reload asterisk`";
const AUTO: &str = "SWITCHHOOK_EXTERNAL_ADDRESS=auto finds it and follows it";

/// Whether phones and carriers outside are told an address at which they reach us.
pub fn nat(evidence: &Evidence) -> Answer {
    let reach = &evidence.reach;
    if reach.ports.is_none() {
        return Err("the variables cannot be read".to_owned());
    }
    let mut found = Vec::new();
    let seen = match &reach.stun {
        Some(Ok(seen)) => *seen,
        Some(Err(why)) if reach.external == Some(External::Auto) => {
            found.push(Finding::new(
                Severity::Error,
                "our address outside cannot be found out",
                format!("SWITCHHOOK_EXTERNAL_ADDRESS=auto, and {why}"),
                "open UDP to a STUN server, name others in SWITCHHOOK_STUN_SERVERS, or name the address itself",
            ));
            Known::default()
        }
        Some(Err(_)) | None => Known::default(),
    };
    match &reach.external {
        Some(External::Addresses(known)) => given(*known, "", seen, evidence, &mut found),
        Some(External::Name(name)) => match &reach.named {
            Some(Ok(known)) => given(
                *known,
                &format!("{name}, which is "),
                seen,
                evidence,
                &mut found,
            ),
            Some(Err(why)) => found.push(Finding::new(
                Severity::Error,
                "the name of our address outside has no address",
                format!("SWITCHHOOK_EXTERNAL_ADDRESS={name}: {why}"),
                format!(
                    "correct the name, or let the container reach a name server (`--dns`); {AUTO}"
                ),
            )),
            None => {}
        },
        Some(External::Auto) => told(outside(seen, evidence), evidence, &mut found),
        None => unsaid(seen, evidence, &mut found),
    }
    Ok(found)
}

/// What of it is not our own address.
fn outside(seen: Known, evidence: &Evidence) -> Known {
    let foreign = seen
        .all()
        .filter(|address| !evidence.around.is_own(*address));
    foreign.fold(Known::default(), Known::with)
}

/// An address was named, or has a name.
fn given(known: Known, named: &str, seen: Known, evidence: &Evidence, found: &mut Vec<Finding>) {
    if let (Some(Err(why)), Some(address)) = (
        &evidence.reach.stun,
        known.all().find(|address| !is_private(*address)),
    ) {
        found.push(Finding::new(
            Severity::Note,
            "whether the address outside is right is not known",
            format!("SWITCHHOOK_EXTERNAL_ADDRESS={named}{address}, and {why}"),
            "to have it compared, open UDP to a STUN server, or name one of your own in SWITCHHOOK_STUN_SERVERS",
        ));
    }
    for address in known.all() {
        let seen = seen.all().find(|seen| seen.is_ipv4() == address.is_ipv4());
        if evidence.around.is_own(address) && evidence.around.mode().is_bridge() {
            found.push(Finding::new(
                Severity::Error,
                "the address outside is the container's own",
                format!(
                    "SWITCHHOOK_EXTERNAL_ADDRESS={named}{address}, and {}",
                    evidence.around.mode()
                ),
                format!("name the address of the host or of the router; {AUTO}"),
            ));
        } else if let Some(seen) = seen.filter(|seen| *seen != address && !is_private(address)) {
            found.push(Finding::new(
                Severity::Error,
                "the address outside is wrong",
                format!(
                    "SWITCHHOOK_EXTERNAL_ADDRESS={named}{address}, and a STUN server sees us at {seen}"
                ),
                format!("name {seen}; {AUTO}"),
            ));
        }
    }
    told(known, evidence, found);
}

/// Whether the transports tell it.
fn told(known: Known, evidence: &Evidence, found: &mut Vec<Finding>) {
    let Some(transports) = &evidence.files.transports else {
        return;
    };
    for address in known.all() {
        let include = if address.is_ipv4() { IPV4 } else { IPV6 };
        let of_family = |transport: &&Transport| transport.is_v6 == address.is_ipv6();
        let silent = names(transports.iter().filter(of_family), |media| media.is_none());
        if let Some(silent) = silent {
            found.push(Finding::new(
                Severity::Error,
                format!("our address outside is not told by {silent}"),
                format!("it is {address}, and no external_media_address holds there"),
                format!(
                    "put `#tryinclude {include}` into the section in pjsip_transport.conf, and reload"
                ),
            ));
        }
        let other = names(transports.iter().filter(of_family), |media| {
            let media = media.and_then(|media| media.parse::<IpAddr>().ok());
            media.is_some_and(|media| media != address)
        });
        if let Some(other) = other {
            found.push(Finding::new(
                Severity::Warning,
                format!("another address outside is told by {other}"),
                format!("ours is {address}, and pjsip_transport.conf has an external_media_address of its own"),
                format!("take the line out, and put `#tryinclude {include}` there"),
            ));
        }
    }
}

/// Nothing was said of an address outside.
fn unsaid(seen: Known, evidence: &Evidence, found: &mut Vec<Finding>) {
    let Some(transports) = &evidence.files.transports else {
        return;
    };
    let silent = names(transports.iter().filter(|one| !one.is_v6), |media| {
        media.is_none()
    });
    let own = evidence.around.addresses().find(IpAddr::is_ipv4);
    let own = own.map_or("not known".to_owned(), |own| own.to_string());
    let is_behind_nat = outside(seen, evidence).v4;
    if let Some(seen) = is_behind_nat {
        if let Some(silent) = silent {
            found.push(Finding::new(
                Severity::Warning,
                "phones and carriers outside are told our address inside, so that they send their sound to nowhere",
                format!("a STUN server sees us at {seen}, our own address is {own}, and no other is named for {silent}"),
                AUTO,
            ));
        }
        let wrong = names(transports.iter().filter(|one| !one.is_v6), |media| {
            let media = media.and_then(|media| media.parse::<IpAddr>().ok());
            media.is_some_and(|media| media != IpAddr::V4(seen) && !is_private(media))
        });
        if let Some(wrong) = wrong {
            found.push(Finding::new(
                Severity::Error,
                format!("the address outside of {wrong} is wrong"),
                format!("a STUN server sees us at {seen}, and external_media_address in pjsip_transport.conf is another"),
                format!("name {seen} there; or take the lines out, put `#tryinclude {IPV4}` there, and {AUTO}"),
            ));
        }
    } else if let Some(silent) = silent
        && let mode @ Mode::Bridge { .. } = evidence.around.mode()
    {
        found.push(Finding::new(
            Severity::Note,
            "phones beyond this host are told the container's own address",
            format!("{mode}; our own address is {own}, and no other is named for {silent}"),
            format!("if there are such phones: {AUTO}, or name the host's address"),
        ));
    }
}

/// The transports of which it holds, in words.
fn names<'a>(
    transports: impl Iterator<Item = &'a Transport>,
    holds: impl Fn(Option<&str>) -> bool,
) -> Option<String> {
    let names: Vec<&str> = transports
        .filter(|transport| holds(transport.media.as_deref()))
        .map(|transport| transport.name.as_str())
        .collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("transport {one}")),
        more => Some(format!("transports {}", more.join(", "))),
    }
}

/// Whether the variable, rtp.conf and the PBX mean the same ports.
pub fn rtp(evidence: &Evidence) -> Answer {
    let Some(named) = evidence.reach.ports else {
        return Err("the variables cannot be read".to_owned());
    };
    let mut found = Vec::new();
    let file = evidence.files.ports;
    let disagrees = |file: &Ports| *file != named && evidence.reach.ports_given;
    if let Some(file) = file.filter(disagrees) {
        found.push(Finding::new(
            Severity::Error,
            "sound uses other ports than those that are published",
            format!("SWITCHHOOK_RTP_PORTS={named}, and rtp.conf says {file}, which comes first"),
            format!("put `#tryinclude {RTP}` into rtp.conf, in the place of rtpstart and rtpend, and {RELOAD}"),
        ));
    }
    let holds = evidence.pbx.ports.or(file).unwrap_or(named);
    // What is wrong in the file should not be read, too.
    if let Some(file) = file.filter(|file| !disagrees(file) && holds != *file) {
        found.push(Finding::new(
            Severity::Warning,
            "the PBX uses other ports than rtp.conf names",
            format!("rtp.conf says {file}, and Asterisk uses {holds}"),
            RELOAD,
        ));
    }
    if holds.count() > 1000 && evidence.around.mode().is_bridge() {
        found.push(Finding::new(
            Severity::Warning,
            "there are more ports of sound than an engine publishes",
            format!("{holds} are {} ports, and {}", holds.count(), evidence.around.mode()),
            "1000 ports are enough for 250 calls: narrow SWITCHHOOK_RTP_PORTS, or run in the host's network",
        ));
    }
    let mut taken = evidence.pbx.foreign_ports.iter();
    if let Some((port, uid)) = taken.find(|(port, _)| holds.contains(*port)) {
        found.push(Finding::new(
            Severity::Error,
            "another program listens among the ports of sound",
            format!("UDP port {port} of {holds} belongs to a program of user {uid}"),
            "move that program, or choose other ports by SWITCHHOOK_RTP_PORTS",
        ));
    }
    Ok(found)
}

/// Whether the engine hides where phones are.
pub fn sources(evidence: &Evidence) -> Answer {
    let Some(contacts) = &evidence.pbx.contacts else {
        return Err("the PBX does not answer".to_owned());
    };
    let gateways = &evidence.around.gateways;
    let hidden: Vec<&str> = contacts
        .iter()
        .filter(|contact| gateways.contains(&contact.address))
        .map(|contact| contact.account.as_str())
        .collect();
    let (Some(gateway), false) = (gateways.first(), hidden.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut finding = Finding::new(
        Severity::Warning,
        "the addresses of phones are hidden: all seem to be at the container's gateway",
        format!(
            "{} of {} phones that are registered ({}) have the address {gateway}, which is the gateway",
            hidden.len(),
            contacts.len(),
            hidden.join(", ")
        ),
        "run in the host's network (`network_mode: host`), or switch the engine's proxy off (`\"userland-proxy\": false` in daemon.json); else AutoBan cannot tell one from another",
    );
    if hidden.len() < 2 {
        finding.severity = Severity::Note;
        finding.issue =
            "a phone is at the container's gateway: it runs on this host, or its address is hidden"
                .to_owned();
    }
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::external::external;
    use crate::config::ports::ports;
    use crate::doctor::evidence::Contact;
    use crate::nat::surroundings::{Link, Network, Surroundings};

    fn bridged() -> Evidence {
        let mut evidence = Evidence {
            around: Surroundings {
                links: vec![Link {
                    name: "eth0".to_owned(),
                    index: 2,
                    peer: 3,
                    ..Link::default()
                }],
                device: Some("eth0".to_owned()),
                gateways: vec!["172.17.0.1".parse().unwrap()],
                networks: vec![Network::new("172.17.0.2".parse().unwrap(), 16)],
                is_pod: false,
            },
            ..Evidence::default()
        };
        evidence.files.transports = Some(vec![transport("udp", None), transport("tls", None)]);
        evidence.reach.ports = Some(ports("10000-10099").unwrap());
        evidence
    }

    fn transport(name: &str, media: Option<&str>) -> Transport {
        Transport {
            name: name.to_owned(),
            is_v6: false,
            media: media.map(str::to_owned),
            signaling: None,
            local_nets: Vec::new(),
        }
    }

    fn seen(text: &str) -> Option<Result<Known, String>> {
        Some(Ok(Known::default().with(text.parse().unwrap())))
    }

    fn told(answer: Answer) -> Vec<(Severity, String)> {
        let found = answer.unwrap().into_iter();
        found
            .map(|finding| (finding.severity, finding.issue))
            .collect()
    }

    fn one(answer: Answer, severity: Severity, words: &str) {
        let found = told(answer);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].0 == severity && found[0].1.contains(words),
            "{found:?}"
        );
    }

    #[test]
    fn behind_nat_without_a_word() {
        let mut evidence = bridged();
        one(
            nat(&evidence),
            Severity::Note,
            "the container's own address",
        );
        evidence.reach.stun = seen("203.0.113.7");
        one(nat(&evidence), Severity::Warning, "told our address inside");
        evidence.reach.stun = seen("172.17.0.2");
        one(
            nat(&evidence),
            Severity::Note,
            "the container's own address",
        );
        evidence.reach.stun = seen("203.0.113.7");
        evidence.files.transports = Some(vec![transport("udp", Some("203.0.113.8"))]);
        one(nat(&evidence), Severity::Error, "of transport udp is wrong");
        evidence.files.transports = Some(vec![transport("udp", Some("203.0.113.7"))]);
        assert!(told(nat(&evidence)).is_empty());
    }

    #[test]
    fn an_address_that_was_named() {
        let mut evidence = bridged();
        evidence.reach.external = external("203.0.113.7").ok();
        evidence.files.transports = Some(vec![transport("udp", Some("203.0.113.7"))]);
        assert!(told(nat(&evidence)).is_empty());
        evidence.reach.stun = seen("203.0.113.8");
        one(nat(&evidence), Severity::Error, "outside is wrong");
        evidence.reach.stun = Some(Err("no STUN server answers".to_owned()));
        one(nat(&evidence), Severity::Note, "is not known");
        // That of a host at home is meant for the phones there.
        evidence.reach.external = external("192.168.1.5").ok();
        evidence.files.transports = Some(vec![transport("udp", Some("192.168.1.5"))]);
        assert!(told(nat(&evidence)).is_empty());
        evidence.reach.external = external("172.17.0.2").ok();
        evidence.files.transports = Some(vec![transport("udp", Some("172.17.0.2"))]);
        one(nat(&evidence), Severity::Error, "the container's own");
    }

    #[test]
    fn an_address_that_is_found_out_must_be_told() {
        let mut evidence = bridged();
        evidence.reach.external = Some(External::Auto);
        evidence.reach.stun = Some(Err("no STUN server answers".to_owned()));
        one(nat(&evidence), Severity::Error, "cannot be found out");
        evidence.reach.stun = seen("203.0.113.7");
        one(
            nat(&evidence),
            Severity::Error,
            "is not told by transports udp, tls",
        );
        evidence.files.transports = Some(vec![transport("udp", Some("203.0.113.9"))]);
        one(
            nat(&evidence),
            Severity::Warning,
            "another address outside is told by",
        );
        // Without NAT there is nothing to tell.
        evidence.reach.stun = seen("172.17.0.2");
        evidence.files.transports = Some(vec![transport("udp", None)]);
        assert!(told(nat(&evidence)).is_empty());
    }

    #[test]
    fn ports_of_sound() {
        let mut evidence = bridged();
        assert!(told(rtp(&evidence)).is_empty());
        evidence.files.ports = ports("20000-20099").ok();
        assert!(told(rtp(&evidence)).is_empty());
        evidence.reach.ports_given = true;
        one(
            rtp(&evidence),
            Severity::Error,
            "other ports than those that are published",
        );
        // The PBX has not read it yet, and should not.
        evidence.pbx.ports = ports("10000-10099").ok();
        one(rtp(&evidence), Severity::Error, "other ports than those");
        evidence.files.ports = ports("10000-10099").ok();
        evidence.pbx.ports = ports("10000-10199").ok();
        one(rtp(&evidence), Severity::Warning, "than rtp.conf names");
        evidence.pbx.ports = None;
        evidence.pbx.foreign_ports = vec![(53, 0), (10_050, 1000)];
        one(rtp(&evidence), Severity::Error, "another program");
        evidence.pbx.foreign_ports.clear();
        evidence.files.ports = ports("10000-12001").ok();
        evidence.reach.ports = evidence.files.ports;
        one(rtp(&evidence), Severity::Warning, "more ports");
    }

    #[test]
    fn phones_at_the_gateway() {
        let mut evidence = bridged();
        assert!(sources(&evidence).is_err());
        let contact = |account: &str, address: &str| Contact {
            account: account.to_owned(),
            address: address.parse().unwrap(),
        };
        evidence.pbx.contacts = Some(vec![contact("alice", "192.168.1.20")]);
        assert!(told(sources(&evidence)).is_empty());
        evidence.pbx.contacts = Some(vec![contact("alice", "172.17.0.1")]);
        one(sources(&evidence), Severity::Note, "runs on this host");
        evidence.pbx.contacts = Some(vec![
            contact("alice", "172.17.0.1"),
            contact("bob", "172.17.0.1"),
        ]);
        one(sources(&evidence), Severity::Warning, "are hidden");
    }
}
