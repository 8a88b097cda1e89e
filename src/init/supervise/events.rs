//! Keeping what happens in the ring of events, and telling the followers.

use super::Supervisor;
use crate::init::control::Reply;
use crate::init::events::{Occurrence, Reason, What};
use crate::init::service::Note;
use crate::sys::clock::unix_millis;

impl Supervisor {
    /// Keeps an event of a service, or of the exchange without one.
    pub(super) fn record(&mut self, index: Option<usize>, what: What, detail: &str) {
        let unit = index.and_then(|index| self.units.get(index));
        self.events.push(Occurrence {
            time_ms: unix_millis(),
            service: unit.map(|unit| unit.spec.name.clone()),
            what,
            detail: detail.to_owned(),
            pid: unit
                .and_then(|unit| unit.process.as_ref())
                .map(|(pid, _)| pid.as_raw()),
        });
        if self.control.has_followers()
            && let Some(event) = self.events.newest()
        {
            self.control.publish(&Reply::Event(event.clone()));
        }
    }

    /// A process was made: keeps why.
    pub(super) fn record_start(&mut self, index: usize) {
        let now = self.now();
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let reason = unit.next_start.clone();
        let text = reason.to_string();
        unit.last_start = Some((reason, now));
        self.record(Some(index), What::Started, &text);
    }

    /// What the service's machine says; a start is kept by `record_start`, when its process is known.
    pub(super) fn record_note(&mut self, index: usize, note: Note) {
        let seconds = |duration: std::time::Duration| format!("{:.3} s", duration.as_secs_f64());
        let (what, detail) = match note {
            Note::Started => return,
            Note::Ready { after } => (What::Ready, format!("after {}", seconds(after))),
            Note::Ended { exit, expected } => {
                if let Some(unit) = self.units.get_mut(index).filter(|_| !expected) {
                    unit.next_start = Reason::Restart(exit.to_string());
                }
                let by_whom = if expected {
                    ""
                } else {
                    ", nobody asked for it"
                };
                (What::Ended, format!("{exit}{by_whom}"))
            }
            Note::Restarting { pause } if pause.is_zero() => (What::Restarting, "now".to_owned()),
            Note::Restarting { pause } => (What::Restarting, format!("in {}", seconds(pause))),
            Note::NotReadyInTime => (What::NotReadyInTime, String::new()),
            Note::DrainedOut => (What::DrainedOut, String::new()),
            Note::DrainBudgetSpent => (What::DrainBudgetSpent, String::new()),
            Note::Killing => (What::Killed, "it did not end in its grace".to_owned()),
            Note::WatchdogMissed => (What::WatchdogMissed, String::new()),
            Note::StageFailed { stage, exit } => {
                (What::CommandFailed, format!("{}: {exit}", stage.name()))
            }
            Note::CrashLoop => (What::CrashLoop, "it fails again and again".to_owned()),
            Note::GivenUp => (What::GivenUp, "it is not started again".to_owned()),
        };
        self.record(Some(index), what, &detail);
    }
}
