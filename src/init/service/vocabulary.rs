//! The words of a service's life: where it is, what happens to it, what is to be done and told.
//!
//! Pure values. Invariant: plain numbers and enums, so that a state can be written down and read back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Exit;

/// A point in time: the duration since PID 1 started.
pub type Moment = Duration;

/// The commands around a service's program (systemd.service(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// `ExecStartPre=`: all must succeed before the program is started.
    Before,
    /// `ExecStartPost=`: all must succeed before it counts as in service.
    After,
    /// `ExecStop=`: asks it to stop; the stop signal follows.
    Stop,
    /// `ExecStopPost=` and runit's `finish`: after each end; nothing starts before they have ended.
    Finish,
}

/// Where a service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Nothing runs and nothing is pending.
    Idle,
    /// `Stage::Before` runs; the program does not yet.
    Preparing { ready_by: Option<Moment> },
    /// A process runs and has not said that it is ready.
    Starting { ready_by: Option<Moment> },
    /// It is ready, or a oneshot is done, and `Stage::After` runs.
    Completing { ready_by: Option<Moment> },
    /// In service.
    Running { since: Moment },
    /// Takes no new work; may finish what it has until the budget ends.
    Draining { until: Moment },
    /// `Stage::Stop` runs; the stop signal follows, at the latest at `until`.
    Asking { until: Moment },
    /// SIGTERM was sent.
    Stopping {
        kill_at: Moment,
        repeat_at: Option<Moment>,
    },
    /// SIGKILL was sent.
    Killed,
    /// The process has ended and `Stage::Finish` runs.
    Finishing { exit: Exit },
    /// Waits before the next start.
    Pausing { until: Moment },
    /// Ended for good: a oneshot that is done, or a service that is not to be restarted.
    Finished { ok: bool },
}

/// What happens to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Start,
    /// As `Start`, but its end is then final.
    Once,
    /// Its conditions do not hold: it is done without having run.
    Skip,
    /// Stop now: SIGTERM, grace, SIGKILL.
    Stop,
    /// Take no new work, then stop; `budget` bounds the wait for the work to end.
    Drain {
        budget: Duration,
    },
    /// End at once: SIGKILL.
    Kill,
    /// Stop with the usual grace, then start.
    Restart,
    /// The program was executed.
    Executed,
    /// The child could not become the program.
    ExecFailed,
    /// `READY=1`, or a newline on the notification descriptor.
    Ready,
    /// The command that `Effect::Check` asked for has ended.
    Checked {
        ok: bool,
    },
    /// The commands of the stage that runs have ended: all well, or with the failure of one. `jitter` as in
    /// `Exited`.
    StageEnded {
        exit: Exit,
        jitter: i8,
    },
    /// The process was reaped. `jitter` is -20..=20 percent, for the back-off.
    Exited {
        exit: Exit,
        jitter: i8,
    },
    /// `WATCHDOG=1`: it lives.
    Watchdog,
    /// `WATCHDOG_USEC`: from now on it speaks at least this often.
    WatchdogInterval(Duration),
    /// It does not live, by its own word or a probe's.
    WatchdogFailed,
    /// `EXTEND_TIMEOUT_USEC`: it needs this much longer to start or to stop.
    ExtendTimeout(Duration),
    /// The moment of `deadline()` has come.
    Deadline,
}

/// What the supervisor has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start the program: the command at `Service::position()`.
    Spawn,
    /// Run the commands of a stage and report `Event::StageEnded`.
    Run(Stage),
    /// Run the check and report `Event::Checked`.
    Check,
    /// Kill what `Run` and `Check` asked for, if it still runs; it is not to be reported.
    CutHelpers,
    /// The stop signal.
    Terminate,
    /// SIGABRT: it does not answer, a core may tell why.
    Abort,
    Kill,
    Drain,
    /// The service cannot be kept up and its unit says that the container ends then.
    EndAppliance,
    Note(Note),
}

/// What is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    Started,
    Ready { after: Duration },
    Ended { exit: Exit, expected: bool },
    Restarting { pause: Duration },
    NotReadyInTime,
    DrainedOut,
    DrainBudgetSpent,
    Killing,
    WatchdogMissed,
    StageFailed { stage: Stage, exit: Exit },
    CrashLoop,
    GivenUp,
}
