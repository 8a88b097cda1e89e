//! All sources in their order, asked what they have.
//!
//! Each source is an `Origin`: it has pairs, or nothing yet and says why, or is not set up at all. It does not choose by
//! quality; the order decides. Invariant: a certificate of somebody else's making is never replaced by a self-signed one
//! on its own account, for what looks expired may be a wrong clock.

use std::path::PathBuf;

use crate::certs::keeper::Live;
use crate::certs::names::Name;
use crate::certs::pair::{Offer, Pair, Source};

/// What an origin is asked with.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The most wanted first.
    pub wanted: &'a [Name],
    /// Seconds since 1970.
    pub now: i64,
}

/// What an origin has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Have {
    /// One pair, or RSA and ECDSA.
    Pairs(Vec<Pair>),
    /// It is set up, and has nothing that may be served.
    Nothing(String),
    NotSetUp,
}

/// Where certificates come from.
pub trait Origin: Send {
    fn source(&self) -> Source;

    fn look(&mut self, request: &Request<'_>) -> Have;

    /// Files whose change is worth a look.
    fn watched(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What people should know, though there is a certificate.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Somebody wants new ones soon: what failed is tried again, and with `anew` what is good is replaced as well.
    fn renew(&mut self, _anew: bool) {}

    /// A look before long: what was found was not complete.
    fn is_waiting(&self) -> bool {
        false
    }
}

/// The sources in their order.
pub struct Survey {
    origins: Vec<Box<dyn Origin>>,
    chosen: Option<Source>,
    /// What those lacked at the last look that come before the one that had something.
    lacks: Vec<String>,
}

impl Survey {
    /// `chosen`: only this one is asked.
    pub fn new(origins: Vec<Box<dyn Origin>>, chosen: Option<Source>) -> Survey {
        Survey {
            origins,
            chosen,
            lacks: Vec::new(),
        }
    }

    /// The first that has something.
    ///
    /// # Errors
    /// With what each of them lacks.
    pub fn look(&mut self, request: &Request<'_>, live: Option<&Live>) -> Result<Offer, String> {
        let (found, mut lacks) = self.ask(request, live);
        if let Some(offer) = found {
            self.lacks = lacks;
            return Ok(offer);
        }
        self.lacks.clear();
        if lacks.is_empty() {
            let source = self
                .chosen
                .map_or("none".to_owned(), |chosen| chosen.to_string());
            lacks.push(format!("no source is set up ({source})"));
        }
        Err(lacks.join("; "))
    }

    /// What the sources before the one that has something lack, though they are set up.
    pub fn lacks(&self) -> &[String] {
        &self.lacks
    }

    fn ask(&mut self, request: &Request<'_>, live: Option<&Live>) -> (Option<Offer>, Vec<String>) {
        let mut lacks = Vec::new();
        let chosen = self.chosen;
        let origins = self.origins.iter_mut();
        for origin in origins.filter(|origin| chosen.is_none_or(|one| one == origin.source())) {
            let source = origin.source();
            let is_others = live.is_some_and(|live| live.found.source != Source::SelfSigned);
            if chosen.is_none() && source == Source::SelfSigned && is_others {
                break;
            }
            match origin.look(request) {
                Have::Pairs(pairs) if !pairs.is_empty() => {
                    return (Some(Offer { source, pairs }), lacks);
                }
                Have::Nothing(why) => lacks.push(format!("{source}: {why}")),
                Have::Pairs(_) | Have::NotSetUp => {}
            }
        }
        (None, lacks)
    }

    pub fn watched(&self) -> Vec<PathBuf> {
        let origins = self.origins.iter();
        origins.flat_map(|origin| origin.watched()).collect()
    }

    pub fn notes(&self) -> Vec<String> {
        let origins = self.origins.iter();
        origins.flat_map(|origin| origin.notes()).collect()
    }

    pub fn renew(&mut self, anew: bool) {
        for origin in &mut self.origins {
            origin.renew(anew);
        }
    }

    pub fn is_waiting(&self) -> bool {
        self.origins.iter().any(|origin| origin.is_waiting())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::keeper::Found;
    use crate::certs::testing::{Authority, NOW};
    use crate::certs::validate::examine;

    struct Fixed(Source, Have);

    impl Origin for Fixed {
        fn source(&self) -> Source {
            self.0
        }

        fn look(&mut self, _request: &Request<'_>) -> Have {
            self.1.clone()
        }
    }

    fn pairs() -> Have {
        let issued = Authority::new("Test").issue(&["pbx.example.com"], -1, 89);
        Have::Pairs(vec![examine(&issued.chain, &issued.private_key()).unwrap()])
    }

    fn look(
        origins: Vec<Fixed>,
        chosen: Option<Source>,
        live: Option<Source>,
    ) -> Result<Source, String> {
        let live = live.map(|source| Live {
            generation: "gen-000001".to_owned(),
            found: Found {
                source,
                digest: "old".to_owned(),
                facts: Vec::new(),
            },
        });
        let origins = origins.into_iter().map(|origin| Box::new(origin) as _);
        let mut survey = Survey::new(origins.collect(), chosen);
        let request = Request {
            wanted: &[],
            now: NOW,
        };
        survey
            .look(&request, live.as_ref())
            .map(|offer| offer.source)
    }

    #[test]
    fn the_first_that_has_something_is_taken_and_a_chosen_one_alone_is_asked() {
        let all = |traefik: Have| {
            vec![
                Fixed(Source::Files, Have::NotSetUp),
                Fixed(Source::Traefik, traefik),
                Fixed(Source::SelfSigned, pairs()),
            ]
        };
        assert_eq!(look(all(pairs()), None, None), Ok(Source::Traefik));
        let empty = || Have::Nothing("it is empty".to_owned());
        assert_eq!(look(all(empty()), None, None), Ok(Source::SelfSigned));
        let lacks = look(all(empty()), Some(Source::Traefik), None);
        assert_eq!(lacks, Err("traefik: it is empty".to_owned()));
    }

    #[test]
    fn a_real_certificate_is_not_replaced_by_a_self_signed_one() {
        let all = || {
            vec![
                Fixed(Source::Traefik, Have::Nothing("it has expired".to_owned())),
                Fixed(Source::SelfSigned, pairs()),
            ]
        };
        let kept = look(all(), None, Some(Source::Traefik));
        assert_eq!(kept, Err("traefik: it has expired".to_owned()));
        let again = look(all(), None, Some(Source::SelfSigned));
        assert_eq!(again, Ok(Source::SelfSigned));
        let ordered = look(all(), Some(Source::SelfSigned), Some(Source::Traefik));
        assert_eq!(ordered, Ok(Source::SelfSigned));
    }
}
