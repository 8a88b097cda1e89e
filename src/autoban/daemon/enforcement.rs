//! How bans are enforced: by the kernel, else by Asterisk's own list ([`super::fallback`]), or not at all.
//!
//! Invariant: what the kernel lost or refused is put there again from the ledger, never read back from the kernel.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::voice::{ERROR, NOTICE, WARNING, say};
use crate::autoban::cidr::Cidr;
use crate::autoban::config::Config;
use crate::autoban::firewall::{Firewall, FirewallError};
use crate::autoban::key::Change;
use crate::autoban::ruleset::{Caps, Settings};

/// Repairs that follow one another come no faster than this, and each time half as often: two programs that remove each
/// other's table would take all of the machine.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so long in peace the next repair comes at once.
const PEACE: Duration = Duration::from_secs(600);

/// What others removed.
#[derive(Debug, Default)]
pub struct Lost {
    /// Bans, and who it was in words; told once until they are there again.
    pub bans: Option<String>,
    pub lists: bool,
}

#[derive(Debug)]
pub enum Enforcement {
    Kernel(Box<Kernel>),
    /// The kernel does not, for this reason: Asterisk has to.
    Acl(FirewallError),
    /// Only told, not done.
    DryRun,
    Off,
}

#[derive(Debug)]
pub struct Kernel {
    firewall: Firewall,
    watched: AsyncFd<OwnedFd>,
    /// The table must be put there again, and why.
    broken: Option<String>,
    repaired: Option<Instant>,
    /// Since when the table stands, without an interruption.
    since: Instant,
    /// What must go by since then before the next repair.
    pause: Duration,
    /// Bans that had no room.
    pub refused: u64,
}

/// The table's settings of a configuration and the lists in force.
pub fn settings(config: &Config, white: &[Cidr], black: &[Cidr]) -> Settings {
    let most = config.policy.maxjail;
    Settings {
        sip_ports: config.sipports.iter().copied().collect(),
        // Elements that are over leave the kernel a little later than the ledger.
        caps: Caps {
            jail: most.saturating_mul(2),
            weak: most.saturating_mul(2),
            networks: most,
        },
        white: white.to_vec(),
        black: black.to_vec(),
    }
}

impl Enforcement {
    /// Opens the kernel's firewall and puts the table there.
    pub fn open(settings: &Settings, bans: Vec<Change>) -> Enforcement {
        match Kernel::open(settings, bans) {
            Ok(kernel) => Enforcement::Kernel(Box::new(kernel)),
            Err(error) => Enforcement::Acl(error),
        }
    }

    /// The word of the control socket.
    pub fn word(&self) -> &'static str {
        match self {
            Enforcement::Kernel(_) => "kernel",
            Enforcement::DryRun => "dry-run",
            Enforcement::Acl(_) => "acl",
            Enforcement::Off => "off",
        }
    }

    pub fn is_acl(&self) -> bool {
        matches!(self, Enforcement::Acl(_))
    }

    /// Why it does less than it should. `works` says whether Asterisk does its part where it has to.
    pub fn problem(&self, works: bool) -> Option<String> {
        match self {
            Enforcement::Kernel(kernel) => kernel.broken.clone(),
            Enforcement::Acl(why) if !works => Some(why.to_string()),
            Enforcement::Acl(why) => {
                let remedy = match why {
                    FirewallError::NoPrivilege => {
                        "`cap_add: [NET_ADMIN]` lets the kernel drop all of it".to_owned()
                    }
                    other => other.to_string(),
                };
                Some(format!(
                    "bans are enforced by Asterisk's ACL, which covers SIP alone and nobody who was seen over UDP only; {remedy}"
                ))
            }
            Enforcement::DryRun | Enforcement::Off => None,
        }
    }

    /// Whether every ban of the last so long is in the kernel, without an interruption.
    pub fn is_whole_for(&self, time: Duration) -> bool {
        match self {
            Enforcement::Kernel(kernel) => {
                kernel.broken.is_none() && kernel.refused == 0 && kernel.since.elapsed() >= time
            }
            _ => false,
        }
    }

    /// One batch. What fails is repaired by `mend`.
    pub fn apply(&mut self, changes: &[Change]) {
        if let Enforcement::Kernel(kernel) = self
            && kernel.broken.is_none()
            && !changes.is_empty()
        {
            match kernel.firewall.apply(changes) {
                Ok(outcome) => kernel.refused += outcome.refused.len() as u64,
                Err(error) => kernel.fail(&error),
            }
        }
    }

    /// Another table, with these bans.
    pub fn rebuild(&mut self, settings: &Settings, bans: Vec<Change>) {
        if let Enforcement::Kernel(kernel) = self {
            kernel.firewall.change(settings);
            kernel.restore(bans);
        }
    }

    /// Puts the table there again if it is broken, not too often. `bans` is asked for those in force.
    pub fn mend(&mut self, bans: impl FnOnce() -> Vec<Change>) {
        if let Enforcement::Kernel(kernel) = self
            && kernel.broken.is_some()
            && kernel
                .repaired
                .is_none_or(|at| at.elapsed() >= kernel.pause)
        {
            kernel.restore(bans());
        }
    }

    /// Waits until somebody changed a table of the kernel.
    pub async fn touched(&self) {
        match self {
            Enforcement::Kernel(kernel) => {
                if let Ok(mut guard) = kernel.watched.readable().await {
                    guard.clear_ready();
                }
            }
            _ => std::future::pending().await,
        }
    }

    /// Looks at what others did, and says who removed something.
    pub fn look(&mut self) -> Lost {
        let mut lost = Lost::default();
        let Enforcement::Kernel(kernel) = self else {
            return lost;
        };
        match kernel.firewall.changed_by_others() {
            Ok(seen) if seen.needs_repair() => {
                lost.lists = seen.needs_lists();
                let who = seen.program.as_deref().unwrap_or("another program");
                let text = format!("`{who}` removed bans from the kernel's firewall");
                if kernel.broken.is_none() {
                    let then = match kernel.pause {
                        FIRST_PAUSE => "they are put there again".to_owned(),
                        pause => format!(
                            "they are put there again within {} s\nhint: it does so repeatedly; run one AutoBan in a network namespace",
                            pause.as_secs()
                        ),
                    };
                    say(WARNING, &format!("{text}; {then}"));
                    lost.bans = Some(text.clone());
                }
                kernel.broken = Some(text);
            }
            Ok(seen) if seen.needs_lists() => {
                lost.lists = true;
                let who = seen.program.as_deref().unwrap_or("another program");
                say(
                    WARNING,
                    &format!(
                        "`{who}` removed block lists from the kernel's firewall; they are loaded again"
                    ),
                );
            }
            Ok(_) => {}
            Err(error) => kernel.fail(&error),
        }
        lost
    }

    /// The kernel's firewall, if bans are enforced there.
    pub fn firewall(&mut self) -> Option<&mut Firewall> {
        match self {
            Enforcement::Kernel(kernel) => Some(&mut kernel.firewall),
            _ => None,
        }
    }

    /// The table goes, and with it every ban.
    pub fn take_down(&mut self) {
        if let Enforcement::Kernel(kernel) = self
            && let Err(error) = kernel.firewall.take_down()
        {
            say(ERROR, &error.to_string());
        }
        *self = Enforcement::Off;
    }

    /// Packets and bytes that each rule dropped or let pass, by the name of its set.
    pub fn counters(&mut self) -> Vec<(String, u64)> {
        match self {
            Enforcement::Kernel(kernel) => {
                let refused = ("kernel full".to_owned(), kernel.refused);
                let counts = kernel.firewall.counters();
                let packets = counts.into_iter().flatten();
                let named = packets.map(|(name, count)| (format!("packets {name}"), count.packets));
                named.chain([refused]).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Kernel {
    fn open(settings: &Settings, bans: Vec<Change>) -> Result<Kernel, FirewallError> {
        let failed = |source| FirewallError::Kernel {
            doing: "watch the kernel's firewall",
            source,
        };
        let mut firewall = Firewall::open(settings)?;
        let refused = firewall.restore(bans)?.refused.len() as u64;
        let watched = firewall.watched().try_clone_to_owned().map_err(failed)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, for descriptors that go away; an OwnedFd does not"
        )]
        let watched = AsyncFd::new(watched).map_err(failed)?;
        Ok(Kernel {
            watched,
            firewall,
            broken: None,
            repaired: None,
            since: Instant::now(),
            pause: FIRST_PAUSE,
            refused,
        })
    }

    fn fail(&mut self, error: &FirewallError) {
        if self.broken.is_none() {
            say(ERROR, &error.to_string());
        }
        self.broken = Some(error.to_string());
    }

    fn restore(&mut self, bans: Vec<Change>) {
        let peace = self.repaired.is_none_or(|at| at.elapsed() >= PEACE);
        self.pause = match (peace, self.broken.is_some()) {
            (true, _) => FIRST_PAUSE,
            (false, true) => (self.pause * 2).min(LONGEST_PAUSE),
            (false, false) => self.pause,
        };
        self.repaired = Some(Instant::now());
        self.since = Instant::now();
        match self.firewall.restore(bans) {
            Ok(outcome) => {
                self.refused += outcome.refused.len() as u64;
                if self.broken.take().is_some() {
                    let count = outcome.applied;
                    say(
                        NOTICE,
                        &format!("the kernel's table is there again, with {count} bans"),
                    );
                }
            }
            Err(error) => self.fail(&error),
        }
    }
}
