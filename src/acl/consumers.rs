//! Who uses named lists, by Asterisk's configuration files.
//!
//! Pure. Objects that Asterisk takes from a database are not seen.
//! Invariant: each use has the place that gives it.

use serde::Serialize;

use super::list::names;
use crate::asterisk::conf::FullSection;

/// What asks a list, and at what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A user of manager.conf, at its login.
    Manager,
    /// PJSIP as a whole (`type = acl`), at each request.
    Pjsip,
    /// The same, of the addresses that a phone registers.
    PjsipContact,
    /// One endpoint, at each request.
    Endpoint,
    EndpointContact,
    /// A peer or user of iax.conf.
    Iax2,
    /// A user of ari.conf, at each request.
    Ari,
    /// RTP: candidates of ICE and addresses of STUN.
    Rtp,
    /// Where certificates of callers may be fetched from.
    StirShaken,
    /// AutoBan, as its black or white list.
    AutobanBlack,
    AutobanWhite,
}

impl Kind {
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Kind::Manager => "manager user",
            Kind::Pjsip => "PJSIP, each request, by",
            Kind::PjsipContact => "PJSIP, each contact, by",
            Kind::Endpoint => "PJSIP endpoint",
            Kind::EndpointContact => "contacts of PJSIP endpoint",
            Kind::Iax2 => "IAX2",
            Kind::Ari => "ARI user",
            Kind::Rtp => "RTP, by",
            Kind::StirShaken => "STIR/SHAKEN, by",
            Kind::AutobanBlack => "AutoBan's black list",
            Kind::AutobanWhite => "AutoBan's white list",
        }
    }

    /// What a change does not touch.
    #[must_use]
    pub fn goes_on(self) -> &'static str {
        match self {
            Kind::Manager => "sessions that are logged in go on; the next login is judged",
            Kind::Pjsip | Kind::Endpoint => {
                "calls and registrations go on; the next request is judged"
            }
            Kind::PjsipContact | Kind::EndpointContact => {
                "contacts that are registered stay; the next registration is judged"
            }
            Kind::Iax2 => "calls go on; the next request is judged",
            Kind::Ari => "open WebSockets go on; the next request is judged",
            Kind::Rtp => "media of running calls goes on; the next call is judged",
            Kind::StirShaken => "the next certificate is judged",
            Kind::AutobanBlack | Kind::AutobanWhite => {
                "the kernel's list changes with AutoBan's next look"
            }
        }
    }
}

/// One use of lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consumer {
    pub kind: Kind,
    /// The section: a user, an endpoint, a peer.
    pub name: String,
    /// All that must let in.
    pub lists: Vec<String>,
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl Consumer {
    #[must_use]
    pub fn uses(&self, list: &str) -> bool {
        self.lists.iter().any(|name| name == list)
    }

    #[must_use]
    pub fn words(&self) -> String {
        match self.kind {
            Kind::AutobanBlack | Kind::AutobanWhite => self.kind.words().to_owned(),
            _ => format!("{} [{}]", self.kind.words(), self.name),
        }
    }
}

/// What a file speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Manager,
    /// pjsip.conf and pjsip_wizard.conf.
    Pjsip,
    Iax2,
    Ari,
    Rtp,
    StirShaken,
}

impl Subject {
    /// The files that are read, and what they speak of.
    pub const FILES: [(&'static str, Subject); 7] = [
        ("manager.conf", Subject::Manager),
        ("pjsip.conf", Subject::Pjsip),
        ("pjsip_wizard.conf", Subject::Pjsip),
        ("iax.conf", Subject::Iax2),
        ("ari.conf", Subject::Ari),
        ("rtp.conf", Subject::Rtp),
        ("stir_shaken.conf", Subject::StirShaken),
    ];
}

/// The uses in the sections of one file. `origin` says where a line of the text that they were read from really stands.
#[must_use]
pub fn of_file(
    subject: Subject,
    sections: &[FullSection],
    origin: impl Fn(usize) -> (String, usize),
) -> Vec<Consumer> {
    let mut found = Vec::new();
    for section in sections.iter().filter(|section| !section.template) {
        let is_type = |wanted: &str| {
            let kind = section.last("type");
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case(wanted))
        };
        let keys: &[(Kind, &str)] = match subject {
            Subject::Manager if section.name.eq_ignore_ascii_case("general") => &[],
            Subject::Manager => &[(Kind::Manager, "acl")],
            Subject::Iax2 if section.name.eq_ignore_ascii_case("general") => &[],
            Subject::Iax2 => &[(Kind::Iax2, "acl")],
            Subject::Ari if section.name.eq_ignore_ascii_case("general") => &[],
            Subject::Ari => &[(Kind::Ari, "acl")],
            Subject::Rtp => &[(Kind::Rtp, "ice_acl"), (Kind::Rtp, "stun_acl")],
            Subject::StirShaken => &[(Kind::StirShaken, "x5u_acl")],
            Subject::Pjsip if is_type("acl") => {
                &[(Kind::Pjsip, "acl"), (Kind::PjsipContact, "contact_acl")]
            }
            Subject::Pjsip if is_type("endpoint") => &[
                (Kind::Endpoint, "acl"),
                (Kind::EndpointContact, "contact_acl"),
            ],
            Subject::Pjsip if is_type("wizard") => &[
                (Kind::Endpoint, "endpoint/acl"),
                (Kind::EndpointContact, "endpoint/contact_acl"),
            ],
            Subject::Pjsip => &[],
        };
        for (kind, key) in keys {
            let lists = section.values(key).flat_map(|entry| names(&entry.value));
            let lists: Vec<String> = lists.map(str::to_owned).collect();
            let Some(entry) = section.values(key).last().filter(|_| !lists.is_empty()) else {
                continue;
            };
            let (file, line) = origin(entry.line);
            found.push(Consumer {
                kind: *kind,
                name: section.name.clone(),
                lists,
                file,
                line,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::conf::Document;

    fn found(subject: Subject, text: &str) -> Vec<String> {
        let sections = Document::parse(text).full_sections();
        let consumers = of_file(subject, &sections, |line| ("f".to_owned(), line));
        let told = consumers.iter();
        told.map(|c| format!("{} {} {}", c.line, c.words(), c.lists.join("+")))
            .collect()
    }

    #[test]
    fn users_of_the_manager() {
        let text = "[general]\nacl=x\n[t](!)\nacl=office\n[a](t)\nacl = home, lan\n[b]\nsecret=1\n";
        assert_eq!(
            found(Subject::Manager, text),
            ["6 manager user [a] office+home+lan"]
        );
    }

    #[test]
    fn the_rest() {
        let text = "[general]\nice_acl=a\nstun_acl=b\n";
        assert_eq!(
            found(Subject::Rtp, text),
            ["2 RTP, by [general] a", "3 RTP, by [general] b"]
        );
        let text = "[general]\nacl=no\n[me]\ntype=user\nacl=a\n";
        assert_eq!(found(Subject::Ari, text), ["5 ARI user [me] a"]);
    }

    #[test]
    fn objects_of_pjsip() {
        let text = "[x]\ntype=acl\nacl=a\ncontact_acl=b\n[e](!)\ntype=endpoint\nacl=c\n[bob](e)\n[al]\ntype=wizard\nendpoint/contact_acl=d\n[aor]\ntype=aor\nacl=no\n";
        assert_eq!(
            found(Subject::Pjsip, text),
            [
                "3 PJSIP, each request, by [x] a",
                "4 PJSIP, each contact, by [x] b",
                "7 PJSIP endpoint [bob] c",
                "11 contacts of PJSIP endpoint [al] d"
            ]
        );
    }
}
