//! What a security event says about its source.
//!
//! Pure. Which event means abuse is a table of what Asterisk 22 raises (res_pjsip, res_pjsip_registrar, main/manager.c) and
//! when. Invariant: what one forged packet can bring about is never strong.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::key::Source;
use crate::asterisk::ami::event::{Name, SecurityEvent, Service};
use crate::asterisk::ami::frame::Hostile;

/// How much evidence proves about who sent the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// Anybody can have sent it: one UDP packet with a false source address is enough.
    Weak,
    /// The sender receives at that address.
    Strong,
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    UnknownAccount,
    WrongPassword,
    /// The access list of an endpoint or of a manager's user.
    AclDenied,
    /// A manager's action before a login.
    NotLoggedIn,
    /// A hostile AMI field.
    HostileField,
    /// An operator's word.
    Manual,
}

impl Kind {
    /// The words for logs and `why`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Kind::UnknownAccount => "unknown account",
            Kind::WrongPassword => "wrong password",
            Kind::AclDenied => "denied by an access list",
            Kind::NotLoggedIn => "action without login",
            Kind::HostileField => "hostile field",
            Kind::Manual => "by hand",
        }
    }
}

/// One thing held against a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    pub address: IpAddr,
    pub grade: Grade,
    pub kind: Kind,
    /// Stands for the account's name (FNV-1a); equal names have equal numbers.
    pub account: u32,
}

impl Evidence {
    #[must_use]
    pub fn source(&self) -> Source {
        Source::of(self.address)
    }
}

/// What an event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Against(Evidence),
    /// Somebody there knows a password. One packet cannot forge it: the nonce is bound to the address.
    Success {
        address: IpAddr,
        account: u32,
    },
    /// A phone that logs in but is set up wrongly. It is told, not counted.
    Misconfigured {
        address: IpAddr,
        account: u32,
    },
    /// To be counted, no more.
    Nothing,
}

/// Weighs a security event.
#[must_use]
pub fn weigh(event: &SecurityEvent<'_>) -> Meaning {
    let address = event.remote.address;
    let account = number(event.account);
    let grade = match event.service {
        Service::Ami => Grade::Strong,
        Service::Pjsip if event.remote.transport.is_connected() => Grade::Strong,
        Service::Pjsip | Service::Other => Grade::Weak,
    };
    let against = |grade, kind| {
        Meaning::Against(Evidence {
            address,
            grade,
            kind,
            account,
        })
    };
    match event.name {
        Name::InvalidAccountId => against(grade, Kind::UnknownAccount),
        Name::ChallengeResponseFailed | Name::InvalidPassword => {
            against(grade, Kind::WrongPassword)
        }
        // The others are raised after a successful login (res_pjsip_registrar.c).
        Name::FailedAcl
            if event.acl.starts_with(b"not_match_") || event.service == Service::Ami =>
        {
            against(grade, Kind::AclDenied)
        }
        Name::FailedAcl | Name::RequestNotSupported => Meaning::Misconfigured { address, account },
        // Before the login a manager's session has no name.
        Name::RequestNotAllowed
            if event.service == Service::Ami && matches!(event.account, b"" | b"<unknown>") =>
        {
            against(Grade::Weak, Kind::NotLoggedIn)
        }
        Name::SuccessfulAuth => Meaning::Success { address, account },
        Name::SessionLimit
        | Name::MemoryLimit
        | Name::LoadAverageLimit
        | Name::RequestNotAllowed
        | Name::AuthMethodNotAllowed
        | Name::RequestBadFormat
        | Name::UnexpectedAddress
        | Name::ChallengeSent
        | Name::InvalidTransport => Meaning::Nothing,
    }
}

/// Weighs a hostile frame; `None` where nobody can be held to it.
#[must_use]
pub fn weigh_hostile(hostile: &Hostile) -> Option<Evidence> {
    let peer = hostile.author?;
    Some(Evidence {
        address: peer.address,
        grade: match peer.transport.is_connected() {
            true => Grade::Strong,
            false => Grade::Weak,
        },
        kind: Kind::HostileField,
        account: 0,
    })
}

/// FNV-1a with 32 bits: to tell accounts apart without keeping their names.
fn number(account: &[u8]) -> u32 {
    account.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::ami::address::{Peer, Transport};
    use crate::asterisk::ami::frame::Suspicion;

    fn event(name: Name, service: Service, transport: Transport, acl: &'static [u8]) -> Meaning {
        weigh(&SecurityEvent {
            name,
            service,
            account: b"100",
            remote: Peer {
                address: IpAddr::from([192, 0, 2, 7]),
                transport,
                port: 5060,
            },
            acl,
            request: b"",
            challenge: b"",
        })
    }

    fn words(meaning: Meaning) -> String {
        match meaning {
            Meaning::Against(evidence) => format!("{:?} {}", evidence.grade, evidence.kind.words()),
            Meaning::Success { .. } => "success".to_owned(),
            Meaning::Misconfigured { .. } => "misconfigured".to_owned(),
            Meaning::Nothing => "-".to_owned(),
        }
    }

    #[test]
    fn every_event_of_pjsip() {
        use Transport::{Tcp, Udp};
        let rows: &[(Name, Transport, &'static [u8], &str)] = &[
            (
                Name::FailedAcl,
                Udp,
                b"not_match_endpoint_acl",
                "Weak denied by an access list",
            ),
            (
                Name::FailedAcl,
                Tcp,
                b"not_match_endpoint_contact_acl",
                "Strong denied by an access list",
            ),
            (
                Name::FailedAcl,
                Tcp,
                b"registrar_attempt_without_configured_aors",
                "misconfigured",
            ),
            (
                Name::FailedAcl,
                Tcp,
                b"registrar_invalid_contacts_provided",
                "misconfigured",
            ),
            (Name::InvalidAccountId, Udp, b"", "Weak unknown account"),
            (Name::InvalidAccountId, Tcp, b"", "Strong unknown account"),
            (Name::SessionLimit, Tcp, b"", "-"),
            (Name::MemoryLimit, Tcp, b"", "-"),
            (Name::LoadAverageLimit, Tcp, b"", "-"),
            (Name::RequestNotSupported, Udp, b"", "misconfigured"),
            (Name::RequestNotAllowed, Tcp, b"", "-"),
            (Name::AuthMethodNotAllowed, Tcp, b"", "-"),
            (Name::RequestBadFormat, Tcp, b"", "-"),
            (Name::SuccessfulAuth, Udp, b"", "success"),
            (Name::UnexpectedAddress, Tcp, b"", "-"),
            (
                Name::ChallengeResponseFailed,
                Udp,
                b"",
                "Weak wrong password",
            ),
            (
                Name::ChallengeResponseFailed,
                Transport::Wss,
                b"",
                "Strong wrong password",
            ),
            (
                Name::ChallengeResponseFailed,
                Transport::Unknown,
                b"",
                "Weak wrong password",
            ),
            (
                Name::InvalidPassword,
                Transport::Tls,
                b"",
                "Strong wrong password",
            ),
            (Name::ChallengeSent, Udp, b"", "-"),
            (Name::InvalidTransport, Tcp, b"", "-"),
        ];
        for (name, transport, acl, expected) in rows {
            let found = words(event(*name, Service::Pjsip, *transport, acl));
            assert_eq!(&found, expected, "{name:?} {transport:?}");
        }
    }

    #[test]
    fn the_managers_events_are_strong() {
        let of = |name| words(event(name, Service::Ami, Transport::Tcp, b"x"));
        assert_eq!(of(Name::FailedAcl), "Strong denied by an access list");
        assert_eq!(of(Name::InvalidAccountId), "Strong unknown account");
        assert_eq!(of(Name::ChallengeResponseFailed), "Strong wrong password");
        // Somebody who is logged in and may not.
        assert_eq!(of(Name::RequestNotAllowed), "-");
    }

    #[test]
    fn a_service_that_is_not_known_is_weak() {
        let found = event(Name::InvalidAccountId, Service::Other, Transport::Tcp, b"");
        assert_eq!(words(found), "Weak unknown account");
    }

    #[test]
    fn a_hostile_frame_is_held_against_its_author_only() {
        let mut hostile = Hostile {
            suspicion: Suspicion::Place,
            author: None,
        };
        assert_eq!(weigh_hostile(&hostile), None);
        for (transport, grade) in [
            (Transport::Udp, Grade::Weak),
            (Transport::Unknown, Grade::Weak),
            (Transport::Tcp, Grade::Strong),
        ] {
            hostile.author = Some(Peer {
                address: IpAddr::from([192, 0, 2, 7]),
                transport,
                port: 1,
            });
            assert_eq!(weigh_hostile(&hostile).map(|e| e.grade), Some(grade));
        }
    }
}
