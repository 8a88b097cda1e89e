//! The configuration as requests need it: doors, and behind each what its carrier says and wants to hear.
//!
//! Invariant: an interface that cannot be used has no door, that was told, and the others have theirs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::autoban::cidr::Cidr;
use crate::sys::say::{ERROR, say};
use crate::websms::body::Malformed;
use crate::websms::choose;
use crate::websms::config::{Config, Inbound};
use crate::websms::door::{Door, Doors};
use crate::websms::extract::{Hearing, check, keys};
use crate::websms::message::Heard;
use crate::websms::profile::{Answer, Profile};
use crate::websms::request::Request;
use crate::websms::source::{Proxies, ProxyHeader};
use crate::websms::trial;
use crate::websms::verify::sign::{Draft, Unsigned};
use crate::websms::verify::{Keys, Refused, Verifier};

/// The predecessor's answer had the type that PHP gives.
const TYPE_OF_OLD: &str = "text/html; charset=UTF-8";

pub struct Plan {
    /// That from which it was made.
    pub config: Arc<Config>,
    pub doors: Doors,
    pub proxies: Proxies,
    entrances: HashMap<String, Arc<Entrance>>,
    /// Interfaces that a mistake closed.
    pub closed: usize,
}

/// One interface's incoming side.
pub struct Entrance {
    pub name: String,
    /// What the interface is called where it sends: receipts are about messages that are kept by this name.
    pub sender: String,
    pub inbound: Inbound,
    manner: Manner,
    pub answer: Answer,
    methods: Vec<String>,
    verifier: Option<Verifier>,
}

/// How it is read.
enum Manner {
    Profile(Box<Hearing>, Option<String>),
    Keys(keys::Keys),
}

impl Plan {
    /// What cannot be used is told.
    pub fn new(config: Arc<Config>) -> Plan {
        let mut closed = config.closed.len();
        let mut doors: Vec<Door> = Vec::new();
        let mut checked = Doors::default();
        let mut entrances = HashMap::new();
        for interface in &config.interfaces {
            let Some(inbound) = &interface.incoming else {
                continue;
            };
            let name = interface.name();
            let door = Door {
                interface: name.to_owned(),
                addresses: inbound.addresses.clone(),
                paths: inbound.paths.clone().unwrap_or_default(),
            };
            let with = [doors.as_slice(), std::slice::from_ref(&door)].concat();
            let sender = choose::name_of(interface);
            let made = Entrance::new(name, sender, inbound).and_then(|entrance| {
                let told = |twice: Vec<_>| twice.first().map(ToString::to_string);
                let all = Doors::new(with).map_err(|twice| told(twice).unwrap_or_default())?;
                Ok((all, entrance))
            });
            match made {
                Ok((all, entrance)) => {
                    checked = all;
                    doors.push(door);
                    entrances.insert(name.to_owned(), Arc::new(entrance));
                }
                Err(problem) => {
                    closed += 1;
                    say(
                        ERROR,
                        &format!("websms.conf: the interface {name} receives nothing: {problem}"),
                    );
                }
            }
        }
        let proxies = Proxies {
            trusted: config.proxies.clone(),
            header: ProxyHeader::named(&config.proxy_header),
        };
        Plan {
            config,
            doors: checked,
            proxies,
            entrances,
            closed,
        }
    }

    /// Whether nobody is expected.
    pub fn is_empty(&self) -> bool {
        self.entrances.is_empty()
    }

    /// All that receive.
    pub fn entrances(&self) -> impl Iterator<Item = &Arc<Entrance>> {
        self.entrances.values()
    }

    /// Whether a carrier's interface names this path.
    pub fn has_path(&self, path: &str) -> bool {
        let names = |known: &String| known.split('?').next() == Some(path);
        self.entrances.values().any(|entrance| {
            let paths = entrance.inbound.paths.as_ref();
            paths.is_some_and(|paths| paths.iter().any(names))
        })
    }

    pub fn entrance(&self, name: &str) -> Option<&Arc<Entrance>> {
        self.entrances.get(name)
    }

    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.trusted.iter().any(|c: &Cidr| c.contains(peer))
    }
}

impl Entrance {
    fn new(name: &str, sender: &str, inbound: &Inbound) -> Result<Entrance, String> {
        let profile = inbound.profile.as_ref().map(|named| &*named.profile);
        Ok(Entrance {
            name: name.to_owned(),
            sender: sender.to_owned(),
            inbound: inbound.clone(),
            manner: match profile {
                Some(profile) => of_profile(profile)?,
                None => Manner::Keys(keys::Keys {
                    to: inbound.key_to.clone(),
                    from: inbound.key_from.clone(),
                    body: inbound.key_body.clone(),
                    echo: inbound.key_echo.clone().unwrap_or_default(),
                    ..keys::Keys::default()
                }),
            },
            answer: match profile {
                Some(profile) => profile.answer.clone(),
                None => Answer {
                    status: 200,
                    body: inbound.resp_ack.clone(),
                    content_type: TYPE_OF_OLD.to_owned(),
                },
            },
            methods: match profile.map(|profile| &profile.incoming.methods) {
                None => vec!["POST".to_owned(), "GET".to_owned()],
                Some(methods) if methods.is_empty() => vec!["POST".to_owned()],
                Some(methods) => methods.clone(),
            },
            verifier: match profile.filter(|_| inbound.verify) {
                Some(profile) => Some(Verifier::new(&profile.verify, profile.incoming.format)?),
                None => None,
            },
        })
    }

    /// Whether it takes a method; the test of an address is a GET.
    pub fn takes(&self, method: &str) -> Result<(), Malformed> {
        let echoes = match &self.manner {
            Manner::Profile(_, echo) => echo.is_some(),
            Manner::Keys(keys) => !keys.echo.is_empty(),
        };
        let known = self.methods.iter().any(|known| known == method);
        match known || (echoes && method == "GET") {
            true => Ok(()),
            false => Err(check::no_method(method, &self.methods)),
        }
    }

    /// The value of the header Allow.
    pub fn allowed(&self) -> String {
        self.methods.join(", ")
    }

    /// The answer to a test of the address. It proves nothing, changes nothing, and is not signed.
    pub fn echo(&self, request: &Request<'_>) -> Result<Option<String>, Malformed> {
        let field = match &self.manner {
            Manner::Profile(_, echo) => echo.as_deref(),
            Manner::Keys(keys) => Some(keys.echo.as_str()),
        };
        check::echo(field, request)
    }

    pub fn hear(&self, request: &Request<'_>) -> Result<Heard, Malformed> {
        match &self.manner {
            Manner::Profile(hearing, _) => hearing.hear(request),
            Manner::Keys(keys) => keys.hear(request),
        }
    }

    /// The address of the certificate without which nothing can be proved.
    pub fn certificate_url(&self, request: &Request<'_>) -> Result<Option<String>, Refused> {
        match &self.verifier {
            Some(verifier) => verifier.certificate_url(request),
            None => Ok(None),
        }
    }

    /// Whether requests must prove that they are the carrier's.
    pub fn asks_for_proof(&self) -> bool {
        self.verifier.is_some()
    }

    /// A webhook as the carrier would write it, and why it is not signed, if it is not.
    pub fn compose(
        &self,
        wanted: &trial::Wanted<'_>,
        now: u64,
        nonce: &str,
    ) -> Result<(Draft, Option<Unsigned>), trial::Unwritten> {
        let path = self.inbound.paths.as_ref().and_then(|paths| paths.first());
        let target = path.map_or("/", String::as_str);
        let mut draft = match &self.inbound.profile {
            Some(named) => trial::of_profile(&named.profile, wanted, target)?,
            None => {
                let inbound = &self.inbound;
                let keys = [&inbound.key_to, &inbound.key_from, &inbound.key_body];
                trial::of_keys(keys.map(String::as_str), wanted, target)?
            }
        };
        let Some(verifier) = &self.verifier else {
            return Ok((draft, None));
        };
        let signed = self.with_keys(None, |keys| verifier.sign(&mut draft, keys, now, nonce));
        Ok((draft, signed.err()))
    }

    /// An address from which it takes requests.
    pub fn address(&self) -> IpAddr {
        let addresses = self.inbound.addresses.as_ref();
        let first = addresses.and_then(|addresses| addresses.first());
        first.map_or(IpAddr::from([127, 0, 0, 1]), Cidr::address)
    }

    fn with_keys<T>(&self, certificate: Option<&[u8]>, ask: impl FnOnce(&Keys<'_>) -> T) -> T {
        let secrets = self.inbound.verify_secrets.iter();
        let secrets: Vec<&str> = secrets.map(|secret| secret.expose()).collect();
        ask(&Keys {
            secrets: &secrets,
            user: &self.inbound.verify_user,
            public_url: self.inbound.public_url.as_deref(),
            certificate,
            // Who is named by a topic has no other secret.
            topics: &secrets,
        })
    }

    /// Whether the request is the carrier's.
    pub fn verify(
        &self,
        request: &Request<'_>,
        certificate: Option<&[u8]>,
        now: u64,
    ) -> Result<(), Refused> {
        let Some(verifier) = &self.verifier else {
            return Ok(());
        };
        self.with_keys(certificate, |keys| verifier.verify(request, keys, now))
    }

    /// Whether a proven request may have us fetch this address.
    pub fn confirms(&self, url: &str) -> bool {
        let confirms = |verifier: &Verifier| verifier.confirms(url);
        self.verifier.as_ref().is_some_and(confirms)
    }
}

fn of_profile(profile: &Profile) -> Result<Manner, String> {
    let hearing = Hearing::new(&profile.incoming, profile.receipt.as_ref());
    let told = |mistakes: Vec<_>| {
        let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        all.join("; ")
    };
    let hearing =
        hearing.map_err(|mistakes: Vec<crate::websms::path::PathError>| told(mistakes))?;
    Ok(Manner::Profile(
        Box::new(hearing),
        profile.incoming.echo.clone(),
    ))
}
