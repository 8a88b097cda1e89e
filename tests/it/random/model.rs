//! What the random test believes of each service: where it must come to rest, written from docs/reference.

use nix::sys::signal::Signal;

/// What a service's unit says about its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    Always,
    OnFailure,
    No,
}

/// One service of the test. The services before it in the list that it waits for are `after`.
pub struct Plan {
    pub name: &'static str,
    pub policy: Policy,
    pub after: &'static [usize],
    pub directives: &'static str,
    pub has_reload: bool,
    /// The unit gives no pause: the second failure in a row would wait longer each time.
    pub backs_off: bool,
    pub escapes: bool,
    pub notifies: bool,
}

pub const ENDLESS: &str = "StartLimitBurst=1000000\nStartLimitIntervalSec=1\n";

pub const PLANS: [Plan; 6] = [
    Plan {
        name: "a",
        policy: Policy::Always,
        after: &[],
        directives: "Restart=always\nRestartSec=5ms",
        has_reload: true,
        backs_off: false,
        escapes: false,
        notifies: false,
    },
    Plan {
        name: "b",
        policy: Policy::OnFailure,
        after: &[0],
        directives: "Restart=on-failure\nRestartSec=5ms",
        has_reload: false,
        backs_off: false,
        escapes: true,
        notifies: false,
    },
    Plan {
        name: "c",
        policy: Policy::No,
        after: &[1],
        directives: "Restart=no",
        has_reload: false,
        backs_off: false,
        escapes: false,
        notifies: false,
    },
    Plan {
        name: "d",
        policy: Policy::Always,
        after: &[],
        directives: "Restart=always",
        has_reload: false,
        backs_off: true,
        escapes: false,
        notifies: false,
    },
    Plan {
        name: "e",
        policy: Policy::Always,
        after: &[0],
        directives: "Type=notify\nRestart=always\nRestartSec=1ms",
        has_reload: true,
        backs_off: false,
        escapes: false,
        notifies: true,
    },
    Plan {
        name: "f",
        policy: Policy::No,
        after: &[4],
        directives: "Type=exec\nRestart=no\nSuccessExitStatus=3",
        has_reload: false,
        backs_off: false,
        escapes: true,
        notifies: false,
    },
];

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    Code(i32),
    Signal(Signal),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    Start,
    Stop,
    Restart,
    Kill,
    Once,
    Reload,
    /// SIGUSR1 by the control socket.
    Usr1,
    /// It ends, by its own will or somebody else's.
    Ends(End),
    /// SIGKILL to each replacement as soon as it is there.
    Burst(usize),
    /// SIGKILL and, without waiting, an order.
    EndsAndStop,
    EndsAndRestart,
    /// Two orders without waiting.
    StopAndStart,
    StartAndStop,
    // Operations on PID 1 itself, which concern no single service, belong into `whole_appliance`.
}

/// Where a service must come to rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rest {
    Running,
    Stopped,
    Done,
    Failed,
}

/// What is believed of one service.
#[derive(Debug, Clone)]
pub struct Belief {
    pub rest: Rest,
    /// A start was ordered and waits for what it comes after.
    pub waits: bool,
    pub once: bool,
    /// The last process that was seen; it must be another one now if `changes`.
    pub pid: Option<i64>,
    pub changes: bool,
    /// At least and at most: where an order races with an end, both outcomes are right.
    pub restarts: (u64, u64),
    /// Ends that nobody ordered since the last start from rest.
    pub failures: u32,
    pub reloads: usize,
    pub signals: usize,
}

impl Belief {
    pub fn is_up(&self) -> bool {
        matches!(self.rest, Rest::Running | Rest::Done)
    }

    /// What the status says.
    pub fn word(&self) -> &'static str {
        match self.rest {
            Rest::Running => "running",
            _ if self.waits => "waiting",
            Rest::Stopped => "stopped",
            Rest::Done => "done",
            Rest::Failed => "failed",
        }
    }
}

pub struct Model {
    pub beliefs: Vec<Belief>,
}

impl Model {
    pub fn new() -> Model {
        let fresh = Belief {
            rest: Rest::Running,
            waits: false,
            once: false,
            pid: None,
            changes: false,
            restarts: (0, 0),
            failures: 0,
            reloads: 0,
            signals: 0,
        };
        Model {
            beliefs: vec![fresh; PLANS.len()],
        }
    }

    pub fn running(&self, index: usize) -> bool {
        self.beliefs[index].rest == Rest::Running
    }

    /// Whether the operation has one outcome, and one that does not take long.
    pub fn allows(&self, index: usize, operation: Operation) -> bool {
        let belief = &self.beliefs[index];
        let may_fail = !PLANS[index].backs_off || belief.failures == 0;
        match operation {
            // What it should do to one that runs is asked by `an_order_to_start_what_runs_changes_nothing`.
            Operation::Start => !self.running(index),
            Operation::Usr1 => self.running(index),
            Operation::Reload => self.running(index) || !PLANS[index].has_reload,
            Operation::Ends(_) | Operation::EndsAndStop => self.running(index) && may_fail,
            Operation::EndsAndRestart => self.running(index) && may_fail && !belief.once,
            Operation::Burst(_) => {
                self.running(index)
                    && !PLANS[index].backs_off
                    && PLANS[index].policy != Policy::No
                    && !belief.once
            }
            Operation::StartAndStop => !self.running(index),
            Operation::StopAndStart => {
                let after = PLANS[index].after.iter();
                self.running(index) && after.into_iter().all(|other| self.beliefs[*other].is_up())
            }
            Operation::Stop | Operation::Restart | Operation::Kill | Operation::Once => true,
        }
    }

    fn begins(&mut self, index: usize) {
        let belief = &mut self.beliefs[index];
        belief.rest = Rest::Running;
        belief.waits = false;
        belief.changes = true;
    }

    /// From rest: its failures are forgotten.
    fn begins_anew(&mut self, index: usize) {
        self.beliefs[index].failures = 0;
        self.beliefs[index].once = false;
        self.begins(index);
    }

    /// By order.
    fn rests(&mut self, index: usize) {
        self.beliefs[index].rest = Rest::Stopped;
        self.beliefs[index].waits = false;
    }

    fn ends(&mut self, index: usize, end: End) {
        let is_good = match end {
            End::Code(code) => code == 0 || (PLANS[index].name == "f" && code == 3),
            // systemd.service(5), SuccessExitStatus=: these count as a clean end.
            End::Signal(Signal::SIGTERM | Signal::SIGHUP | Signal::SIGINT | Signal::SIGPIPE) => {
                true
            }
            End::Signal(_) => false,
        };
        let policy = PLANS[index].policy;
        let comes_back = !self.beliefs[index].once
            && (policy == Policy::Always || policy == Policy::OnFailure && !is_good);
        if comes_back {
            let belief = &mut self.beliefs[index];
            belief.restarts = (belief.restarts.0 + 1, belief.restarts.1 + 1);
            belief.failures += 1;
            self.begins(index);
        } else {
            self.beliefs[index].rest = if is_good { Rest::Done } else { Rest::Failed };
        }
    }

    pub fn apply(&mut self, index: usize, operation: Operation) {
        let is_running = self.running(index);
        match operation {
            Operation::Start => self.beliefs[index].waits = true,
            Operation::Stop | Operation::StartAndStop => self.rests(index),
            Operation::Restart | Operation::StopAndStart if is_running => {
                if operation == Operation::StopAndStart {
                    self.beliefs[index].once = false;
                }
                self.begins(index);
            }
            Operation::Restart | Operation::StopAndStart => self.begins_anew(index),
            Operation::Kill if is_running => self.begins(index),
            // It forgets how it ended; what waits goes on waiting.
            Operation::Kill => self.beliefs[index].rest = Rest::Stopped,
            Operation::Once => {
                if !is_running {
                    self.begins_anew(index);
                }
                self.beliefs[index].once = true;
            }
            Operation::Reload if PLANS[index].has_reload => self.beliefs[index].reloads += 1,
            Operation::Reload => {}
            Operation::Usr1 => self.beliefs[index].signals += 1,
            Operation::Ends(end) => self.ends(index, end),
            Operation::Burst(times) => {
                (0..times).for_each(|_| self.ends(index, End::Signal(Signal::SIGKILL)));
            }
            Operation::EndsAndStop => {
                self.beliefs[index].restarts.1 += 1;
                self.rests(index);
            }
            Operation::EndsAndRestart => {
                self.beliefs[index].restarts.1 += 1;
                self.beliefs[index].failures += 1;
                self.begins(index);
            }
        }
    }

    /// What waits begins when all that it waits for is up.
    pub fn settle(&mut self) {
        for (index, plan) in PLANS.iter().enumerate() {
            let is_due = plan.after.iter().all(|other| self.beliefs[*other].is_up());
            if self.beliefs[index].waits && is_due {
                self.begins_anew(index);
            }
        }
    }
}
