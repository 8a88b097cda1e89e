//! Self-signed certificates as a source: RSA for old phones and ECDSA beside it, made anew in time.
//!
//! It always has something. Ring makes no RSA keys, so that the image's `openssl` is asked for one
//! (docs/decisions/0016-rsa-keys.md); without it there is ECDSA alone. Invariant: a pair that fits is handed out
//! unchanged, over restarts too.

use super::survey::{Have, Origin, Request};
use crate::certs::key::{self, Bits, KeyKind};
use crate::certs::pair::{Algorithm, Pair, Source};
use crate::certs::self_signed;
use crate::certs::validate::{examine, in_time};

/// A pair with less of its lifetime than this is made anew, in thousandths: well before anybody is warned.
const DUE: i64 = 400;

/// Our own signature.
#[derive(Debug)]
pub struct Own {
    days: u32,
    bits: Bits,
    current: Vec<Pair>,
    /// No RSA key could be made, for this reason.
    no_rsa: Option<String>,
}

impl Own {
    /// `current`: the pairs in use, if they are of our own signature.
    pub fn new(days: u32, bits: Bits, current: Vec<Pair>) -> Own {
        Own {
            days,
            bits,
            current,
            no_rsa: None,
        }
    }

    fn fits(&self, request: &Request<'_>) -> bool {
        let is_fresh = |pair: &Pair| {
            in_time(&pair.facts, request.now).is_ok()
                && pair.facts.left(request.now) >= DUE
                && pair.facts.is_self_signed
                && request.wanted.iter().all(|name| pair.facts.covers(name))
        };
        let bits = self.bits.number();
        let has_rsa = self
            .current
            .first()
            .is_some_and(|pair| pair.facts.algorithm == Algorithm::Rsa && pair.facts.bits == bits);
        !self.current.is_empty()
            && self.current.iter().all(is_fresh)
            && (self.no_rsa.is_some() || (has_rsa && self.current.len() == 2))
    }

    fn make(&mut self, request: &Request<'_>) -> Result<Vec<Pair>, String> {
        let names: Vec<String> = request.wanted.iter().map(ToString::to_string).collect();
        let asked = self_signed::Request {
            names: &names,
            now: request.now,
            days: self.days,
        };
        let mut pairs = Vec::new();
        self.no_rsa = None;
        match key::make(KeyKind::Rsa(self.bits)) {
            Ok(key) => {
                let made = self_signed::sign(&asked, &key).map_err(|e| e.to_string())?;
                pairs.push(examine(&made.chain, &made.key).map_err(|e| e.to_string())?);
            }
            Err(why) => self.no_rsa = Some(why.to_string()),
        }
        let made = self_signed::with_new_key(&asked).map_err(|e| e.to_string())?;
        pairs.push(examine(&made.chain, &made.key).map_err(|e| e.to_string())?);
        Ok(pairs)
    }
}

impl Origin for Own {
    fn source(&self) -> Source {
        Source::SelfSigned
    }

    fn look(&mut self, request: &Request<'_>) -> Have {
        if !self.fits(request) {
            match self.make(request) {
                Ok(pairs) => self.current = pairs,
                Err(why) => return Have::Nothing(why),
            }
        }
        Have::Pairs(self.current.clone())
    }

    fn renew(&mut self, anew: bool) {
        if anew {
            self.current.clear();
        }
    }

    fn notes(&self) -> Vec<String> {
        let no_rsa = self.no_rsa.iter();
        no_rsa
            .map(|why| {
                format!("self-signed with ECDSA alone, which the oldest phones do not know: {why}")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::names::wanted;
    use crate::certs::testing::{DAY, NOW};

    fn look(own: &mut Own, host: &str, now: i64) -> Vec<Pair> {
        let (wanted, _) = wanted(host, "");
        let request = Request {
            wanted: &wanted,
            now,
        };
        match own.look(&request) {
            Have::Pairs(pairs) => pairs,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rsa_and_ecdsa_are_made_once_and_anew_in_time_or_for_another_name() {
        let mut own = Own::new(30, Bits::B2048, Vec::new());
        let first = look(&mut own, "pbx.example.com", NOW);
        let kinds: Vec<Algorithm> = first.iter().map(|pair| pair.facts.algorithm).collect();
        assert_eq!(kinds, [Algorithm::Rsa, Algorithm::Ecdsa]);
        assert_eq!(look(&mut own, "pbx.example.com", NOW + 17 * DAY), first);
        // Another process finds them in use.
        let mut again = Own::new(30, Bits::B2048, first.clone());
        assert_eq!(look(&mut again, "pbx.example.com", NOW), first);
        assert_ne!(look(&mut again, "pbx.example.org", NOW), first);
        assert_ne!(look(&mut own, "pbx.example.com", NOW + 19 * DAY), first);
        let mut longer = Own::new(30, Bits::B3072, first.clone());
        let longer = look(&mut longer, "pbx.example.com", NOW);
        assert_eq!(longer[0].facts.bits, 3072);
    }

    #[test]
    fn the_pair_of_the_first_start_which_has_no_rsa_gets_it() {
        let names = ["pbx.example.com".to_owned(), "example.com".to_owned()];
        let request = self_signed::Request {
            names: &names,
            now: NOW,
            days: 30,
        };
        let made = self_signed::with_new_key(&request).unwrap();
        let first = vec![examine(&made.chain, &made.key).unwrap()];
        let mut own = Own::new(30, Bits::B2048, first);
        assert_eq!(look(&mut own, "pbx.example.com", NOW).len(), 2);
    }
}
