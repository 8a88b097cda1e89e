//! Starting services by timers: asking when each is due, waiting for it, remembering what lasts.
//!
//! Wall time may jump, so that the loop looks at the clock again at least every minute while a timer is
//! armed. Invariant: a timer is asked for its next moment only after a start or an end of its service.

use std::path::PathBuf;
use std::time::Duration;

use time::OffsetDateTime;

use super::Supervisor;
use crate::init::resume::TimerState;
use crate::init::shutdown::Phase;
use crate::logd::syslog::{INFO, WARNING};
use crate::sys::clock::{from_nanos, local_offset, to_nanos, wall_now};
use crate::sys::file::{Owner, write_atomic};
use crate::units::timer::{History, TimerSpec};

/// The longest sleep while a timer is armed: how late a jump of the clock is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A timer under supervision.
#[derive(Debug, Clone)]
pub struct Timer {
    spec: TimerSpec,
    service: usize,
    due: Option<OffsetDateTime>,
    last_start: Option<OffsetDateTime>,
    last_end: Option<OffsetDateTime>,
}

impl Timer {
    pub fn new(spec: TimerSpec, service: usize) -> Timer {
        Timer {
            spec,
            service,
            due: None,
            last_start: None,
            last_end: None,
        }
    }

    /// What a next binary of PID 1 needs of it.
    pub fn state(&self) -> TimerState {
        TimerState {
            name: self.spec.name.clone(),
            due: self.due.map(to_nanos),
            last_start: self.last_start.map(to_nanos),
            last_end: self.last_end.map(to_nanos),
        }
    }

    /// The same timer with its service in another place.
    pub fn moved_to(&self, service: usize) -> Timer {
        Timer {
            service,
            ..self.clone()
        }
    }

    /// Whether this is what the timer was made of.
    pub fn is_defined_by(&self, spec: &TimerSpec) -> bool {
        self.spec == *spec
    }
}

impl Supervisor {
    /// Begins every timer; once, when the services start.
    pub(super) fn begin_timers(&mut self) {
        for index in 0..self.timers.len() {
            self.begin_timer(index);
        }
    }

    /// Reads what lasts of a timer and arms it.
    pub(super) fn begin_timer(&mut self, index: usize) {
        let remembered = self.timer_file(index).and_then(|file| {
            let text = std::fs::read_to_string(file).ok()?;
            OffsetDateTime::from_unix_timestamp(text.trim().parse().ok()?).ok()
        });
        if let Some(timer) = self.timers.get_mut(index) {
            timer.last_start = remembered;
        }
        if remembered.is_none() {
            // From now on a moment that is missed is made up for.
            self.remember_timer(index, wall_now());
        }
        self.arm(index);
    }

    /// Where the last start of a persistent timer is kept.
    fn timer_file(&self, index: usize) -> Option<PathBuf> {
        let timer = self
            .timers
            .get(index)
            .filter(|timer| timer.spec.persistent)?;
        Some(
            self.paths
                .state()
                .join(format!("timer-{}", timer.spec.name)),
        )
    }

    /// Makes the timers again that an earlier binary of PID 1 had.
    pub(super) fn resume_timers(&mut self, states: &[TimerState]) {
        for spec in self.definitions.timers.clone() {
            let Some(service) = self.place_of(&spec.service) else {
                continue;
            };
            let mut timer = Timer::new(spec, service);
            if let Some(state) = states.iter().find(|state| state.name == timer.spec.name) {
                timer.due = state.due.map(from_nanos);
                timer.last_start = state.last_start.map(from_nanos);
                timer.last_end = state.last_end.map(from_nanos);
            }
            self.timers.push(timer);
        }
    }

    fn remember_timer(&mut self, index: usize, moment: OffsetDateTime) {
        let Some(file) = self.timer_file(index) else {
            return;
        };
        let text = format!("{}\n", moment.unix_timestamp());
        let keep = Owner::Keep {
            new_file_mode: 0o644,
        };
        if let Err(e) = write_atomic(&file, text.as_bytes(), keep) {
            self.journal
                .say(WARNING, format!("a timer cannot be remembered: {e}"));
        }
    }

    fn arm(&mut self, index: usize) {
        let now = wall_now();
        let Some(timer) = self.timers.get_mut(index) else {
            return;
        };
        let history = History {
            now,
            booted: self.booted,
            last_start: timer.last_start,
            last_end: timer.last_end,
        };
        let mut random = [0u8; 4];
        // Without random numbers the delay is none: late is worse than together.
        let _ = getrandom::getrandom(&mut random);
        timer.due = timer
            .spec
            .due(&history, local_offset(now), u32::from_ne_bytes(random));
    }

    /// How long the loop may wait for the next timer.
    pub(super) fn time_to_next_timer(&self) -> Option<Duration> {
        if self.shutdown.phase() != Phase::Serving {
            return None;
        }
        let now = wall_now();
        let waits = self.timers.iter().filter_map(|timer| {
            let wait = timer.due? - now;
            Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
        });
        waits.min().map(|wait| wait.min(LONGEST_WAIT))
    }

    /// Starts what is due.
    pub(super) fn timers_due(&mut self) {
        if self.shutdown.phase() != Phase::Serving {
            return;
        }
        let now = wall_now();
        for index in 0..self.timers.len() {
            let Some(timer) = self.timers.get_mut(index) else {
                continue;
            };
            if timer.due.is_none_or(|due| due > now) {
                continue;
            }
            let (service, name) = (timer.service, timer.spec.name.clone());
            timer.due = None;
            let Some(unit) = self.units.get_mut(service) else {
                continue;
            };
            if unit.life.is_alive() {
                // Its end arms the timer again.
                continue;
            }
            unit.start_pending = true;
            let text = format!("{}: started by timer {name}", unit.spec.name);
            self.journal.say(INFO, text);
        }
    }

    /// A service was started; its timers count from here.
    pub(super) fn timers_see_start(&mut self, service: usize) {
        let now = wall_now();
        for index in self.timers_of(service) {
            if let Some(timer) = self.timers.get_mut(index) {
                timer.last_start = Some(now);
                timer.last_end = None;
            }
            self.remember_timer(index, now);
            self.arm(index);
        }
    }

    pub(super) fn timers_see_end(&mut self, service: usize) {
        let now = wall_now();
        for index in self.timers_of(service) {
            if let Some(timer) = self.timers.get_mut(index) {
                timer.last_end = Some(now);
            }
            self.arm(index);
        }
    }

    fn timers_of(&self, service: usize) -> Vec<usize> {
        let of = |timer: &Timer| timer.service == service;
        let found = self
            .timers
            .iter()
            .enumerate()
            .filter(|(_, timer)| of(timer));
        found.map(|(index, _)| index).collect()
    }
}
