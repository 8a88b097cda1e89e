//! One verdict on the exchange from the facts that were gathered.
//!
//! Pure. Ready implies live. Invariant: every verdict carries its reason in one line.

use crate::config::pbx::Pbx;
use crate::init::control::Status;

/// What was found out.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// PID 1's answer, or why there was none.
    pub status: Option<Status>,
    pub no_status: String,
    /// Why the PBX did not answer on its control socket; `None` when it did or is not expected to.
    pub pbx_silent: Option<String>,
    /// Free bytes of the volume.
    pub volume_free: Option<u64>,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Would a restart help? Only a dead supervisor or a silent PBX says so.
    Live,
    /// May calls be sent here?
    Ready,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub healthy: bool,
    pub reason: String,
}

/// Below this the volume counts as full: 16 MiB.
const LEAST_FREE: u64 = 16 << 20;

/// Weighs the facts; the worst reason comes first.
pub fn verdict(facts: &Facts, question: Question) -> Verdict {
    let no = |reason: String| Verdict {
        healthy: false,
        reason,
    };
    let Some(status) = &facts.status else {
        return no(format!(
            "the supervisor does not answer: {}",
            facts.no_status
        ));
    };
    if let Some(problem) = &facts.pbx_silent
        && status.phase == "serving"
        && pbx_is_up(status)
    {
        return no(format!("the PBX does not answer: {problem}"));
    }
    if question == Question::Live {
        return Verdict {
            healthy: true,
            reason: format!("live: {}", status.phase),
        };
    }
    if status.phase != "serving" {
        return no(format!("not ready: {}", status.phase));
    }
    let down: Vec<String> = status
        .services
        .iter()
        .filter(|service| !service.up && (service.wanted || !service.by_order))
        .map(|service| match (&service.last_exit, service.wanted) {
            (_, false) => format!("{} was stopped by order", service.name),
            (Some(exit), _) => format!(
                "{} is {} ({exit}; {} restarts)",
                service.name, service.state, service.restarts
            ),
            (None, _) => format!("{} is {}", service.name, service.state),
        })
        .collect();
    if !down.is_empty() {
        return no(down.join("; "));
    }
    let mut reason = format!("ready: {} services up", status.services.len());
    for service in &status.services {
        if let Some(word) = service.status.as_deref()
            && word.starts_with("degraded: ")
        {
            reason.push_str(&format!("; {}: {word}", service.name));
        }
    }
    if facts.volume_free.is_some_and(|free| free < LEAST_FREE) {
        reason.push_str("; degraded: the volume /srv is full");
    }
    Verdict {
        healthy: true,
        reason,
    }
}

fn pbx_is_up(status: &Status) -> bool {
    status
        .services
        .iter()
        .any(|service| Pbx::WORDS.contains(&service.name.as_str()) && service.up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::control::ServiceStatus;

    fn serving() -> Facts {
        let service = |name: &str| ServiceStatus {
            name: name.into(),
            state: "running".into(),
            up: true,
            wanted: true,
            pid: Some(7),
            by_order: false,
            state_for_ms: 0,
            restarts: 0,
            ..ServiceStatus::default()
        };
        let status = Status {
            phase: "serving".into(),
            ready: true,
            services: vec![service("logd"), service("asterisk")],
            ..Status::default()
        };
        Facts {
            status: Some(status),
            ..Facts::default()
        }
    }

    #[test]
    fn all_up_is_ready() {
        let verdict = verdict(&serving(), Question::Ready);
        assert_eq!(
            verdict,
            Verdict {
                healthy: true,
                reason: "ready: 2 services up".into()
            }
        );
    }

    #[test]
    fn a_crash_loop_is_told_with_its_reason() {
        let mut facts = serving();
        let service = &mut facts.status.as_mut().unwrap().services[1];
        service.up = false;
        service.state = "pausing".into();
        service.restarts = 4;
        service.last_exit = Some("ended with exit code 1".into());
        let verdict = verdict(&facts, Question::Ready);
        assert!(!verdict.healthy);
        assert_eq!(
            verdict.reason,
            "asterisk is pausing (ended with exit code 1; 4 restarts)"
        );
    }

    #[test]
    fn a_service_that_does_less_than_it_should_is_told() {
        let mut facts = serving();
        let service = &mut facts.status.as_mut().unwrap().services[1];
        service.status = Some("degraded: no NET_ADMIN".into());
        let verdict = verdict(&facts, Question::Ready);
        assert!(verdict.healthy);
        assert_eq!(
            verdict.reason,
            "ready: 2 services up; asterisk: degraded: no NET_ADMIN"
        );
    }

    #[test]
    fn draining_is_live_and_not_ready() {
        let mut facts = serving();
        facts.status.as_mut().unwrap().phase = "draining".into();
        assert!(verdict(&facts, Question::Live).healthy);
        assert!(!verdict(&facts, Question::Ready).healthy);
    }

    #[test]
    fn a_silent_pbx_is_neither() {
        let mut facts = serving();
        facts.pbx_silent = Some("timed out".into());
        assert!(!verdict(&facts, Question::Live).healthy);
    }

    #[test]
    fn no_supervisor_no_health() {
        let facts = Facts {
            no_status: "refused".into(),
            ..Facts::default()
        };
        assert_eq!(
            verdict(&facts, Question::Live).reason,
            "the supervisor does not answer: refused"
        );
    }
}
