//! How the certificates do, for people, for programs, and for health.
//!
//! Pure. Expiry is weighed by the lifetime: a third left is early for one of ninety days and late for one of six.
//! Invariant: a report holds no key.

use serde::{Deserialize, Serialize};

use super::keeper::{Proof, Refused};
use super::pair::{Facts, Source};

/// Below this part of its lifetime a certificate should have been renewed, and below that one it is urgent; in thousandths.
const WARN: i64 = 333;
const CRITICAL: i64 = 167;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Ok,
    Warning,
    Critical,
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub level: Level,
    /// Why it is not well, worst first.
    pub problems: Vec<String>,
    pub source: Option<Source>,
    pub generation: Option<String>,
    /// The names that are looked for.
    pub wanted: Vec<String>,
    pub certificates: Vec<Certificate>,
    /// What each listener showed last.
    pub listeners: Vec<Proof>,
    /// How changes are noticed.
    pub watching: String,
    pub notes: Vec<String>,
    pub refused: Vec<Refused>,
}

/// One certificate in use, with what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub days_left: i64,
    /// Of its lifetime, in thousandths.
    pub left: i64,
    #[serde(flatten)]
    pub facts: Facts,
}

/// What a report is made of.
#[derive(Debug, Clone, Default)]
pub struct State<'a> {
    pub source: Option<Source>,
    pub generation: Option<&'a str>,
    pub wanted: Vec<String>,
    pub facts: &'a [Facts],
    pub listeners: &'a [Proof],
    /// Why there is nothing newer.
    pub nothing: Option<&'a str>,
    pub trouble: Option<&'a str>,
    /// Sources that are set up and have nothing, while another one has.
    pub lacks: &'a [String],
    pub notes: Vec<String>,
    pub watching: String,
    pub refused: &'a [Refused],
}

/// Weighs everything.
pub fn report(state: &State<'_>, now: i64) -> Report {
    let mut problems: Vec<(Level, String)> = Vec::new();
    if state.facts.is_empty() {
        let why = state.nothing.unwrap_or("none was found");
        problems.push((Level::Critical, format!("there is no certificate: {why}")));
    }
    for facts in state.facts {
        problems.extend(expiry(facts, now));
    }
    if let Some(trouble) = state.trouble {
        problems.push((Level::Critical, trouble.to_owned()));
    }
    if let (Some(nothing), false) = (state.nothing, state.facts.is_empty()) {
        problems.push((
            Level::Warning,
            format!("nothing to take, what is in use stays: {nothing}"),
        ));
    }
    let lacks = state.lacks.iter();
    problems
        .extend(lacks.map(|lack| (Level::Warning, format!("a source has nothing yet: {lack}"))));
    let stale = state.notes.iter().filter(|note| note.contains("is stale"));
    problems.extend(stale.map(|note| (Level::Critical, note.clone())));
    problems.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let level = problems.first().map_or(Level::Ok, |(level, _)| *level);
    Report {
        level,
        problems: problems.into_iter().map(|(_, text)| text).collect(),
        source: state.source,
        generation: state.generation.map(str::to_owned),
        wanted: state.wanted.clone(),
        certificates: state
            .facts
            .iter()
            .map(|facts| Certificate {
                days_left: (facts.not_after - now).div_euclid(86_400),
                left: facts.left(now),
                facts: facts.clone(),
            })
            .collect(),
        listeners: state.listeners.to_vec(),
        watching: state.watching.clone(),
        notes: state.notes.clone(),
        refused: state.refused.to_vec(),
    }
}

fn expiry(facts: &Facts, now: i64) -> Option<(Level, String)> {
    let name = facts.names.first().map_or("?", String::as_str);
    let what = format!("the {} certificate for {name}", facts.algorithm);
    if now < facts.not_before {
        let text = format!("{what} is not valid yet; is the clock right?");
        return Some((Level::Critical, text));
    }
    let days = (facts.not_after - now).div_euclid(86_400);
    match facts.left(now) {
        0 => Some((
            Level::Critical,
            format!("{what} has expired {} days ago; is the clock right?", -days),
        )),
        left if left < CRITICAL => Some((
            Level::Critical,
            format!("{what} ends in {days} days, with less than a sixth of its time left"),
        )),
        left if left < WARN => Some((
            Level::Warning,
            format!("{what} ends in {days} days, with less than a third of its time left"),
        )),
        _ => None,
    }
}

impl Report {
    /// One line for the supervisor.
    pub fn line(&self) -> String {
        if let Some(problem) = self.problems.first() {
            return format!("degraded: {problem}");
        }
        let first = self.certificates.first();
        let name = first.and_then(|one| one.facts.names.first());
        let kinds: Vec<String> = self
            .certificates
            .iter()
            .map(|one| one.facts.algorithm.to_string())
            .collect();
        format!(
            "{} ({}), {}, {} days left",
            name.map_or("?", String::as_str),
            kinds.join(" and "),
            self.source.map_or("?", Source::name),
            first.map_or(0, |one| one.days_left)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::pair::Algorithm;

    const NOW: i64 = 1_000_000_000;
    const DAY: i64 = 86_400;

    fn facts(from: i64, until: i64) -> Facts {
        Facts {
            fingerprint: String::new(),
            algorithm: Algorithm::Rsa,
            bits: 2048,
            names: vec!["pbx.example.com".to_owned()],
            issuer: String::new(),
            serial: String::new(),
            not_before: NOW + from * DAY,
            not_after: NOW + until * DAY,
            is_self_signed: false,
            is_staging: false,
            chain: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn of(facts: &[Facts]) -> Report {
        let state = State {
            source: Some(Source::Traefik),
            facts,
            ..State::default()
        };
        report(&state, NOW)
    }

    #[test]
    fn expiry_is_weighed_by_the_lifetime() {
        let level = |from, until| of(&[facts(from, until)]).level;
        assert_eq!(level(-59, 31), Level::Ok);
        assert_eq!(level(-61, 29), Level::Warning);
        assert_eq!(level(-76, 14), Level::Critical);
        // Of six days two and a half are enough.
        assert_eq!(level(-3, 3), Level::Ok);
        assert_eq!(level(-91, -1), Level::Critical);
        assert_eq!(level(10, 100), Level::Critical);
    }

    #[test]
    fn the_line_says_the_worst_or_that_all_is_well() {
        assert_eq!(
            of(&[facts(-1, 89)]).line(),
            "pbx.example.com (RSA), traefik, 89 days left"
        );
        assert_eq!(
            of(&[facts(-76, 14)]).line(),
            "degraded: the RSA certificate for pbx.example.com ends in 14 days, with less than a sixth of its time left"
        );
        assert!(
            of(&[])
                .line()
                .starts_with("degraded: there is no certificate")
        );
        let state = State {
            facts: &[facts(-61, 29)],
            trouble: Some("sips at 127.0.0.1:5061 is closed"),
            nothing: Some("traefik: it ends in the middle"),
            notes: vec!["the mount of `/acme/acme.json` is stale: x".to_owned()],
            ..State::default()
        };
        let report = report(&state, NOW);
        assert_eq!(report.level, Level::Critical);
        assert_eq!(report.problems.len(), 4, "{:?}", report.problems);
        assert!(report.problems[0].contains("is closed"));
    }

    #[test]
    fn a_report_survives_its_way_over_the_socket() {
        let report = of(&[facts(-1, 89)]);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
