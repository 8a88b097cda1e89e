//! The certificates' state as numbers for a monitoring system, in the text form of Prometheus (version 0.0.4).
//!
//! Pure. What is told: for each certificate until when it lasts and how much of its life is left, what each listener
//! shows, and what became of the switches. Invariant: labels hold no key, and are escaped.

use std::fmt::Write;

use super::keeper::{Outcome, Record, What};
use super::pair::Source;
use super::report::{Level, Report};

/// All of it, a line each.
pub fn metrics(report: &Report, history: &[Record]) -> String {
    let mut page = Page::default();
    page.family(
        "switchhook_tls_not_after_seconds",
        "The end of the certificate in use, in seconds since 1970.",
    );
    for one in &report.certificates {
        let labels = [("alg", one.facts.algorithm.to_string())];
        page.value(&labels, one.facts.not_after);
    }
    page.family(
        "switchhook_tls_lifetime_left_ratio",
        "What is left of its lifetime, from 1 to 0; below a third it should have been renewed, below a sixth it is urgent.",
    );
    for one in &report.certificates {
        let labels = [("alg", one.facts.algorithm.to_string())];
        page.text(&labels, &format!("0.{:03}", one.left.min(999)));
    }
    page.family(
        "switchhook_tls_listener_ok",
        "1: the listener shows a certificate in use. 0: it shows another one, or none.",
    );
    for proof in &report.listeners {
        let asked = proof
            .asked
            .map_or("any".to_owned(), |asked| asked.to_string());
        let labels = [
            ("listener", proof.what.clone()),
            ("address", proof.address.to_string()),
            ("alg", asked),
        ];
        let is_ours = |print: &str| {
            let mut known = report.certificates.iter();
            known.any(|one| one.facts.fingerprint == print)
        };
        let is_ok = matches!(&proof.outcome, Outcome::Shown(print) if is_ours(print));
        page.value(&labels, i64::from(is_ok));
    }
    page.family(
        "switchhook_tls_source",
        "1 for the source of the certificate in use.",
    );
    for source in Source::ALL {
        let labels = [("source", source.to_string())];
        page.value(&labels, i64::from(report.source == Some(source)));
    }
    page.family(
        "switchhook_tls_problems",
        "How many things are not well, by how bad it is as a whole.",
    );
    let level = match report.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Critical => "critical",
    };
    let count = i64::try_from(report.problems.len()).unwrap_or(i64::MAX);
    page.value(&[("level", level.to_owned())], count);
    page.family(
        "switchhook_tls_history",
        "Switches of the certificate that the history remembers, by what became of them.",
    );
    for (what, result) in [
        (What::Proven, "proven"),
        (What::Switched, "unproven"),
        (What::RolledBack, "rolled-back"),
        (What::Kept, "not-served"),
        (What::Failed, "failed"),
        (What::Healed, "healed"),
    ] {
        let count = history.iter().filter(|record| record.what == what).count();
        let labels = [("result", result.to_owned())];
        page.value(&labels, i64::try_from(count).unwrap_or(i64::MAX));
    }
    page.out
}

#[derive(Default)]
struct Page {
    out: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, help: &str) {
        self.name = name;
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn value(&mut self, labels: &[(&str, String)], value: i64) {
        self.text(labels, &value.to_string());
    }

    fn text(&mut self, labels: &[(&str, String)], value: &str) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let _ = writeln!(self.out, "{}{{{}}} {value}", self.name, labels.join(","));
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::keeper::Proof;
    use crate::certs::report::{State, report};
    use crate::certs::testing::{Authority, DAY, NOW};
    use crate::certs::validate::examine;

    #[test]
    fn a_page_tells_ends_listeners_source_and_switches() {
        let issued = Authority::new("Test").issue(&["pbx.example.com"], -45, 45);
        let pair = examine(&issued.chain, &issued.private_key()).unwrap();
        let proof = |outcome| Proof {
            what: "sip \"1\"".to_owned(),
            address: "127.0.0.1:5061".parse().unwrap(),
            asked: None,
            outcome,
        };
        let listeners = [
            proof(Outcome::Shown(pair.facts.fingerprint.clone())),
            proof(Outcome::Closed),
        ];
        let facts = [pair.facts];
        let state = State {
            source: Some(Source::Traefik),
            facts: &facts,
            listeners: &listeners,
            ..State::default()
        };
        let page = metrics(&report(&state, NOW), &[]);
        let end = NOW + 45 * DAY;
        for line in [
            &format!("switchhook_tls_not_after_seconds{{alg=\"ECDSA\"}} {end}"),
            "switchhook_tls_lifetime_left_ratio{alg=\"ECDSA\"} 0.500",
            "switchhook_tls_listener_ok{listener=\"sip \\\"1\\\"\",address=\"127.0.0.1:5061\",alg=\"any\"} 1",
            "switchhook_tls_listener_ok{listener=\"sip \\\"1\\\"\",address=\"127.0.0.1:5061\",alg=\"any\"} 0",
            "switchhook_tls_source{source=\"traefik\"} 1",
            "switchhook_tls_source{source=\"acme\"} 0",
            "switchhook_tls_problems{level=\"ok\"} 0",
            "switchhook_tls_history{result=\"proven\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in {page}");
        }
    }
}
