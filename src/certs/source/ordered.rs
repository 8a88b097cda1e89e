//! Certificates that we order of an authority, as a source.
//!
//! Ordering takes seconds or days and is done by another thread (`daemon::orders`); what it has got, or what went wrong,
//! lies on the [`Counter`] between the two. It does not decide when to order. Invariant: looking never waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::survey::{Have, Origin, Request};
use crate::certs::acme;
use crate::certs::key::{Bits, KeyKind};
use crate::certs::pair::{Algorithm, Pair, Source};
use crate::certs::validate::in_time;
use crate::sys::clock::rfc3339;

/// What lies between those who look and the one who orders.
#[derive(Debug, Default)]
pub struct Counter {
    inside: Mutex<Inside>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    /// RSA before ECDSA.
    pairs: Vec<Pair>,
    trouble: Option<Trouble>,
    call: Option<Call>,
    /// When somebody looked last, in seconds since 1970.
    looked_at: Option<i64>,
}

/// Who was not looked at for so many seconds is not needed: a source before it has something.
const FORGOTTEN: i64 = 120;

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub text: String,
    /// When it is tried again, in seconds since 1970; `None`: not before somebody changes something.
    pub again_at: Option<i64>,
}

/// What somebody wants of the one who orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A certificate is needed from now on.
    Begin,
    /// Not to wait after a failure.
    Retry,
    /// A new certificate, though there is a good one.
    Anew,
}

impl Counter {
    /// `pairs`: those in use, if they were ordered.
    pub fn new(pairs: Vec<Pair>) -> Counter {
        let counter = Counter::default();
        counter.inside().pairs = pairs;
        counter
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays down what was issued, in the place of those with the same kind of key.
    pub fn put(&self, new: Vec<Pair>) {
        let mut inside = self.inside();
        let is_replaced = |old: &Pair| {
            new.iter()
                .any(|pair| pair.facts.algorithm == old.facts.algorithm)
        };
        inside.pairs.retain(|old| !is_replaced(old));
        inside.pairs.extend(new);
        inside
            .pairs
            .sort_by_key(|pair| pair.facts.algorithm != Algorithm::Rsa);
        inside.trouble = None;
    }

    pub fn fail(&self, trouble: Trouble) {
        self.inside().trouble = Some(trouble);
    }

    /// The chains that are there for `names`, by the kind of their keys.
    pub fn have(&self, names: &[acme::names::Name]) -> acme::Have {
        let inside = self.inside();
        let mut have = BTreeMap::new();
        for pair in &inside.pairs {
            let kind = match pair.facts.algorithm {
                Algorithm::Rsa => KeyKind::Rsa(Bits::at_least(pair.facts.bits)),
                Algorithm::Ecdsa => KeyKind::P256,
                Algorithm::Ed25519 => continue,
            };
            let has = |name: &acme::names::Name| pair.facts.names.contains(&name.to_string());
            if names.iter().all(has) {
                have.insert(kind, pair.chain.clone());
            }
        }
        have
    }

    /// Whether anybody needs what is ordered.
    pub fn is_needed(&self, now: i64) -> bool {
        self.inside().is_needed(now)
    }

    pub fn call(&self, call: Call) {
        let mut inside = self.inside();
        inside.call = inside.call.max(Some(call));
        self.called.notify_all();
    }

    /// Waits for a call.
    pub fn wait(&self, patience: Duration) -> Option<Call> {
        let inside = self.inside();
        let waited = self
            .called
            .wait_timeout_while(inside, patience, |inside| inside.call.is_none());
        let (mut inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inside.call.take()
    }
}

impl Inside {
    fn is_needed(&self, now: i64) -> bool {
        self.looked_at
            .is_some_and(|at| (0..FORGOTTEN).contains(&now.saturating_sub(at)))
    }
}

/// The origin.
#[derive(Debug)]
pub struct Ordered(Arc<Counter>);

impl Ordered {
    pub fn new(counter: Arc<Counter>) -> Ordered {
        Ordered(counter)
    }
}

impl Origin for Ordered {
    fn source(&self) -> Source {
        Source::Acme
    }

    fn look(&mut self, request: &Request<'_>) -> Have {
        let mut inside = self.0.inside();
        if !inside.is_needed(request.now) {
            inside.call = inside.call.max(Some(Call::Begin));
            self.0.called.notify_all();
        }
        inside.looked_at = Some(request.now);
        let is_good = |pair: &Pair| in_time(&pair.facts, request.now).is_ok();
        if !inside.pairs.is_empty() && inside.pairs.iter().all(is_good) {
            return Have::Pairs(inside.pairs.clone());
        }
        Have::Nothing(match &inside.trouble {
            Some(trouble) => trouble.told(),
            None => "the first certificate is being ordered".to_owned(),
        })
    }

    fn notes(&self) -> Vec<String> {
        let inside = self.0.inside();
        let is_renewal = !inside.pairs.is_empty();
        let trouble = inside.trouble.iter().filter(|_| is_renewal);
        trouble
            .map(|trouble| format!("it could not be renewed yet: {}", trouble.told()))
            .collect()
    }

    fn renew(&mut self, anew: bool) {
        self.0.call(if anew { Call::Anew } else { Call::Retry });
    }
}

impl Trouble {
    fn told(&self) -> String {
        match self.again_at {
            Some(at) => format!(
                "{}; tried again at {}",
                self.text,
                rfc3339(at.saturating_mul(1000))
            ),
            None => self.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::names::wanted;
    use crate::certs::testing::{Authority, DAY, NOW};
    use crate::certs::validate::examine;

    fn pair(names: &[&str]) -> Pair {
        let issued = Authority::new("Test").issue(names, -1, 89);
        examine(&issued.chain, &issued.private_key()).unwrap()
    }

    fn look(counter: &Arc<Counter>, now: i64) -> Have {
        let (wanted, _) = wanted("pbx.example.com", "");
        let request = Request {
            wanted: &wanted,
            now,
        };
        Ordered::new(Arc::clone(counter)).look(&request)
    }

    #[test]
    fn it_has_nothing_then_says_why_not_then_has_what_was_laid_down_until_it_is_over() {
        let counter = Arc::new(Counter::default());
        let first = Have::Nothing("the first certificate is being ordered".to_owned());
        assert_eq!(look(&counter, NOW), first);
        counter.fail(Trouble {
            text: "it does not answer".to_owned(),
            again_at: Some(60),
        });
        let why = "it does not answer; tried again at 1970-01-01T00:01:00.000Z".to_owned();
        assert_eq!(look(&counter, NOW), Have::Nothing(why));
        let one = pair(&["pbx.example.com"]);
        counter.put(vec![one.clone()]);
        assert_eq!(look(&counter, NOW), Have::Pairs(vec![one]));
        assert!(matches!(look(&counter, NOW + 90 * DAY), Have::Nothing(_)));
    }

    #[test]
    fn a_failed_renewal_is_a_note_while_there_is_a_certificate() {
        let counter = Arc::new(Counter::new(vec![pair(&["pbx.example.com"])]));
        let origin = Ordered::new(Arc::clone(&counter));
        assert_eq!(origin.notes(), Vec::<String>::new());
        counter.fail(Trouble {
            text: "the authority is down".to_owned(),
            again_at: None,
        });
        let note = "it could not be renewed yet: the authority is down";
        assert_eq!(origin.notes(), [note]);
    }

    #[test]
    fn a_certificate_without_one_of_the_names_counts_as_none() {
        let counter = Counter::new(vec![pair(&["pbx.example.com", "sip.example.com"])]);
        let names = |text: &[&str]| -> Vec<acme::names::Name> {
            let parsed = text.iter().map(|name| acme::names::Name::parse(name));
            parsed.map(Result::unwrap).collect()
        };
        assert_eq!(counter.have(&names(&["sip.example.com"])).len(), 1);
        let more = names(&["sip.example.com", "other.example.com"]);
        assert_eq!(counter.have(&more).len(), 0);
    }

    #[test]
    fn nothing_is_ordered_while_nobody_looks() {
        let counter = Arc::new(Counter::default());
        assert!(!counter.is_needed(NOW));
        look(&counter, NOW);
        assert_eq!(counter.wait(Duration::ZERO), Some(Call::Begin));
        look(&counter, NOW + 30);
        assert_eq!(counter.wait(Duration::ZERO), None);
        assert!(counter.is_needed(NOW + 60));
        assert!(!counter.is_needed(NOW + 30 + FORGOTTEN));
    }

    #[test]
    fn the_strongest_call_is_heard_once() {
        let counter = Counter::default();
        assert_eq!(counter.wait(Duration::ZERO), None);
        counter.call(Call::Anew);
        counter.call(Call::Retry);
        assert_eq!(counter.wait(Duration::ZERO), Some(Call::Anew));
        assert_eq!(counter.wait(Duration::ZERO), None);
    }
}
