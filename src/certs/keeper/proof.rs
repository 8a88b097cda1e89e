//! What the listeners show, and what that says of a switch.
//!
//! Pure. A listener counts against a new certificate only when it showed the old one before: one that was closed, broken
//! or somebody else's all the time has another reason. Invariant: without any open listener there is no verdict.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::certs::pair::Algorithm;

/// A listener that should show our certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Who listens: `sips`, `https`, `amis`, `websms`.
    pub what: String,
    pub address: SocketAddr,
    /// Both algorithms are served there.
    pub is_dual: bool,
}

/// What came of one handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It showed the certificate of this fingerprint, and proved that it has its key.
    Shown(String),
    /// Nobody listens there.
    Closed,
    /// Somebody does, and there was no handshake.
    Failed(String),
}

/// One handshake with ourselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub what: String,
    pub address: SocketAddr,
    /// What the client could do; `None`: everything.
    pub asked: Option<Algorithm>,
    pub outcome: Outcome,
}

impl Proof {
    pub fn is_open(&self) -> bool {
        self.outcome != Outcome::Closed
    }

    /// Whether it is as it should be; a closed listener does not show anything wrong.
    pub fn shows(&self, fingerprints: &[String]) -> bool {
        match &self.outcome {
            Outcome::Shown(shown) => fingerprints.contains(shown),
            Outcome::Closed => true,
            Outcome::Failed(_) => false,
        }
    }

    pub fn is_same_question(&self, other: &Proof) -> bool {
        (&self.what, self.address, self.asked) == (&other.what, other.address, other.asked)
    }

    /// What is wrong with it, in a sentence.
    pub fn complaint(&self) -> String {
        let asked = self.asked.map(|asked| format!(" for {asked}"));
        let place = format!(
            "{} at {}{}",
            self.what,
            self.address,
            asked.unwrap_or_default()
        );
        match &self.outcome {
            Outcome::Shown(shown) => {
                let short: String = shown.chars().take(16).collect();
                format!("{place} serves another certificate ({short}...) than the one in use")
            }
            Outcome::Closed => format!("{place} is closed"),
            Outcome::Failed(why) => format!("{place} makes no handshake: {why}"),
        }
    }
}

/// What the listeners say of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Each that showed the old one shows the new one, and at least one shows it.
    Good,
    /// Nobody listens who could say anything.
    Silent,
    Bad(String),
}

/// Weighs what was shown after a switch from `old` to `new` against what was shown before.
pub fn judge(new: &[String], old: &[String], before: &[Proof], after: &[Proof]) -> Verdict {
    let mut is_shown = false;
    for proof in after {
        if let Outcome::Shown(shown) = &proof.outcome
            && new.contains(shown)
        {
            is_shown = true;
            continue;
        }
        let earlier = before.iter().find(|other| other.is_same_question(proof));
        let had_old = match earlier.map(|earlier| &earlier.outcome) {
            Some(Outcome::Shown(shown)) => old.contains(shown),
            Some(Outcome::Closed | Outcome::Failed(_)) => false,
            // A question that was not asked before: the pair there is new, too.
            None => proof.is_open() && !old.is_empty(),
        };
        if had_old {
            return Verdict::Bad(proof.complaint());
        }
    }
    let is_open = after.iter().any(Proof::is_open);
    match (is_shown, is_open) {
        (true, _) => Verdict::Good,
        (false, false) => Verdict::Silent,
        // Open, and not ours before or after: for a first certificate that is its own failure.
        (false, true) => match after.iter().find(|proof| proof.is_open()) {
            Some(proof) if old.is_empty() => Verdict::Bad(proof.complaint()),
            _ => Verdict::Silent,
        },
    }
}

/// The first that is not as it should be. A listener that serves ours to one kind of client need not serve the other:
/// whoever allows only ciphers of RSA means it.
pub fn lost<'a>(fingerprints: &[String], proofs: &'a [Proof]) -> Option<&'a Proof> {
    let serves = |address| {
        let mut same = proofs.iter().filter(|proof| proof.address == address);
        same.any(
            |proof| matches!(&proof.outcome, Outcome::Shown(shown) if fingerprints.contains(shown)),
        )
    };
    proofs.iter().find(|proof| match &proof.outcome {
        Outcome::Failed(_) => !serves(proof.address),
        _ => !proof.shows(fingerprints),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(port: u16, outcome: Outcome) -> Proof {
        Proof {
            what: "sips".to_owned(),
            address: ([127, 0, 0, 1], port).into(),
            asked: None,
            outcome,
        }
    }

    fn shown(port: u16, what: &str) -> Proof {
        proof(port, Outcome::Shown(what.to_owned()))
    }

    fn failed(port: u16) -> Proof {
        proof(port, Outcome::Failed("reset".to_owned()))
    }

    fn closed(port: u16) -> Proof {
        proof(port, Outcome::Closed)
    }

    fn verdict(before: &[Proof], after: &[Proof]) -> Verdict {
        judge(&["new".to_owned()], &["old".to_owned()], before, after)
    }

    fn is_bad(before: &[Proof], after: &[Proof]) -> bool {
        matches!(verdict(before, after), Verdict::Bad(_))
    }

    #[test]
    fn good_is_when_all_that_had_the_old_one_have_the_new_one() {
        let before = [shown(1, "old"), shown(2, "old")];
        assert_eq!(
            verdict(&before, &[shown(1, "new"), shown(2, "new")]),
            Verdict::Good
        );
        assert!(is_bad(&before, &[shown(1, "new"), shown(2, "old")]));
        assert!(is_bad(&before, &[shown(1, "new"), failed(2)]));
        assert!(is_bad(&before, &[shown(1, "new"), closed(2)]));
    }

    #[test]
    fn who_was_broken_or_somebody_elses_before_is_not_blamed_on_the_new_one() {
        let before = [shown(1, "old"), failed(2), shown(3, "theirs"), closed(4)];
        let after = [shown(1, "new"), failed(2), shown(3, "theirs"), closed(4)];
        assert_eq!(verdict(&before, &after), Verdict::Good);
    }

    #[test]
    fn nobody_listening_is_no_verdict() {
        assert_eq!(verdict(&[], &[]), Verdict::Silent);
        assert_eq!(verdict(&[closed(1)], &[closed(1)]), Verdict::Silent);
    }

    #[test]
    fn a_first_certificate_that_is_not_served_is_bad() {
        let first = |after: &[Proof]| judge(&["new".to_owned()], &[], &[], after);
        assert!(matches!(first(&[failed(1)]), Verdict::Bad(_)));
        assert_eq!(first(&[shown(1, "new")]), Verdict::Good);
    }

    #[test]
    fn a_listener_for_one_kind_of_client_alone_has_lost_nothing() {
        let of = |asked, outcome| Proof {
            asked: Some(asked),
            ..proof(1, outcome)
        };
        let ours = ["new".to_owned()];
        let rsa_alone = [
            of(Algorithm::Rsa, Outcome::Shown("new".to_owned())),
            of(Algorithm::Ecdsa, Outcome::Failed("no cipher".to_owned())),
        ];
        assert_eq!(lost(&ours, &rsa_alone), None);
        let [_, none] = &rsa_alone;
        assert_eq!(lost(&ours, std::slice::from_ref(none)), Some(none));
        let foreign = shown(1, "theirs");
        assert_eq!(lost(&ours, std::slice::from_ref(&foreign)), Some(&foreign));
    }

    #[test]
    fn complaints_name_the_listener() {
        assert_eq!(
            failed(5061).complaint(),
            "sips at 127.0.0.1:5061 makes no handshake: reset"
        );
        let other = shown(8089, &"ab".repeat(32)).complaint();
        assert_eq!(
            other,
            "sips at 127.0.0.1:8089 serves another certificate (abababababababab...) than the one in use"
        );
    }
}
