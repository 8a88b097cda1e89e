//! When an ended service is started again, and after what pause.
//!
//! Pure: counts failures and starts. Invariant: at most `CRASH_LOOP` quick failures in a row before a pause
//! that leaves the appliance answerable.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Exit, Moment};
use crate::units::exit::ExitSet;
use crate::units::spec::{CrashLoop, Restart, ServiceSpec};

/// The first pause of the back-off; the very first restart has none.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause of the back-off.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many failures in a row, none of them after a stable time, are a crash loop.
const CRASH_LOOP: u32 = 20;
/// The pause in a crash loop: the appliance stays answerable, and a mended cause is still found.
const CRASH_LOOP_PAUSE: Duration = Duration::from_secs(300);
/// After this time in service earlier failures are forgotten.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// From so many failures in a row on a service is not expected back soon.
const OFTEN: u32 = 5;

/// A service's restart directives and what it needs to remember for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    restart: Restart,
    pause: Option<Duration>,
    success: ExitSet,
    prevent: ExitSet,
    force: ExitSet,
    start_limit: Option<(u32, Duration)>,
    crash_loop: CrashLoop,
    starts: Vec<Moment>,
    failures: u32,
}

/// What follows an end after which the service is to be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Start(Duration),
    GiveUp { ends_appliance: bool },
}

/// The next step; `is_news` when it is the first of a crash loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub what: Next,
    pub is_news: bool,
}

impl Policy {
    pub fn new(spec: &ServiceSpec) -> Policy {
        Policy {
            restart: spec.restart,
            pause: spec.restart_pause,
            success: spec.success_exit.clone(),
            prevent: spec.prevent_restart.clone(),
            force: spec.force_restart.clone(),
            start_limit: spec.start_limit_burst.zip(spec.start_limit_interval),
            crash_loop: spec.crash_loop,
            starts: Vec::new(),
            failures: 0,
        }
    }

    /// These directives, with what the earlier ones had counted.
    pub fn remembering(self, earlier: &Policy) -> Policy {
        Policy {
            starts: earlier.starts.clone(),
            failures: earlier.failures,
            ..self
        }
    }

    pub fn is_success(&self, exit: Exit) -> bool {
        exit.is_success() || self.success.contains(exit)
    }

    pub fn forget_failures(&mut self) {
        self.failures = 0;
    }

    pub fn fails_often(&self) -> bool {
        self.failures >= OFTEN
    }

    pub fn restarts_after(&self, exit: Exit) -> bool {
        if self.prevent.contains(exit) {
            return false;
        }
        if self.force.contains(exit) {
            return true;
        }
        match self.restart {
            Restart::No => false,
            Restart::Always => true,
            Restart::OnSuccess => self.is_success(exit),
            Restart::OnFailure => !self.is_success(exit),
            Restart::OnAbnormal | Restart::OnAbort => matches!(exit, Exit::Signal(_)),
        }
    }

    /// Counts an end after which it is to be started again. `jitter` is -20..=20 percent.
    pub fn next(
        &mut self,
        started_at: Moment,
        in_service_since: Option<Moment>,
        jitter: i8,
        now: Moment,
    ) -> Decision {
        let was_stable =
            in_service_since.is_some_and(|since| now.saturating_sub(since) >= STABLE_AFTER);
        if was_stable {
            self.failures = 0;
            self.starts.clear();
        }
        if !self.is_over_start_limit(started_at, now) {
            let what = Next::Start(self.next_pause(jitter));
            return Decision {
                what,
                is_news: false,
            };
        }
        let is_news = self.failures <= CRASH_LOOP;
        self.failures = self.failures.max(CRASH_LOOP).saturating_add(1);
        self.starts.clear();
        let what = match self.crash_loop {
            CrashLoop::Retry => Next::Start(CRASH_LOOP_PAUSE),
            CrashLoop::Stop => Next::GiveUp {
                ends_appliance: false,
            },
            CrashLoop::Exit => Next::GiveUp {
                ends_appliance: true,
            },
        };
        Decision { what, is_news }
    }

    /// `StartLimitBurst=` within `StartLimitIntervalSec=`, or a crash loop by our own measure.
    fn is_over_start_limit(&mut self, started_at: Moment, now: Moment) -> bool {
        let Some((burst, interval)) = self.start_limit else {
            return self.failures >= CRASH_LOOP;
        };
        self.starts.push(started_at);
        self.starts
            .retain(|start| now.saturating_sub(*start) <= interval);
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX) > burst
    }

    /// None for the first failure after a stable time, then 100 ms doubling up to 30 s.
    fn next_pause(&mut self, jitter: i8) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if let Some(fixed) = self.pause {
            return fixed;
        }
        if self.failures == 1 {
            return Duration::ZERO;
        }
        let doublings = (self.failures - 2).min(16);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        let percent = u32::try_from(100 + i32::from(jitter.clamp(-20, 20))).unwrap_or(100);
        pause * percent / 100
    }
}
