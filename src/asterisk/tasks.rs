//! The PBX's task processors: queues of work, each with one worker at a time.
//!
//! Pure. Read from `core show taskprocessors` (main/taskprocessor.c of Asterisk 22.10.1).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one task processor has done and still has to do. The task that runs is in neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tasks {
    pub of: String,
    pub done: u64,
    pub waiting: u64,
}

/// The rows `NAME PROCESSED IN-QUEUE ...` of the console's table.
pub fn tasks(table: &str) -> Vec<Tasks> {
    let rows = table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let of = words.next().filter(|name| name.contains('/'))?;
        Some(Tasks {
            of: of.to_owned(),
            done: words.next()?.parse().ok()?,
            waiting: words.next()?.parse().ok()?,
        })
    });
    rows.collect()
}

/// Whether its work is SIP: the serializers of PJSIP, and the workers of its pool (res/res_pjsip.c).
pub fn is_sip(tasks: &Tasks) -> bool {
    tasks.of.starts_with("pjsip/") || tasks.of.starts_with("taskpool/s:pjsip")
}

/// Since when a PBX has SIP work waiting of which it finishes nothing.
///
/// What waits for a database holds up one worker; while any of them finishes anything, the PBX lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standstill {
    /// The PBX's process, whose numbers these are.
    pid: u32,
    done: u64,
    /// On the clock that goes on in suspend and is never set.
    since: Option<Duration>,
}

impl Standstill {
    /// What is known with another look at `now`, by what was known before.
    pub fn look(self, pid: u32, sip: &[Tasks], now: Duration) -> Standstill {
        let done = sip.iter().map(|tasks| tasks.done).sum();
        let waits = sip.iter().any(|tasks| tasks.waiting > 0);
        let is_same = self.pid == pid && self.done == done;
        Standstill {
            pid,
            done,
            since: match self.since {
                Some(since) if waits && is_same => Some(since),
                _ => waits.then_some(now),
            },
        }
    }

    /// For how long it has stood still.
    pub fn lasts(self, now: Duration) -> Duration {
        let since = self.since.unwrap_or(now);
        now.saturating_sub(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serializers_and_workers_of_sip_are_told_from_others() {
        let of = |of: &str| Tasks {
            of: of.to_owned(),
            done: 0,
            waiting: 0,
        };
        assert!(is_sip(&of("pjsip/distributor-00000027")));
        assert!(is_sip(&of("taskpool/s:pjsip-00000011")));
        assert!(!is_sip(&of("taskpool/s:stasis-00000000")));
        assert!(!is_sip(&of("stasis/m:security:all-0000001d")));
    }

    fn distributor(number: u32, done: u64, waiting: u64) -> Tasks {
        Tasks {
            of: format!("pjsip/distributor-{number:08x}"),
            done,
            waiting,
        }
    }

    #[test]
    fn the_work_of_a_task_processor_is_read_from_the_table() {
        let table = "\nProcessor     Processed   In Queue  Max Depth  Low water High water\n\
            stasis/m:security:all-0000000b        8          1          1        450        500\n\n1 taskprocessors\n";
        let expected = Tasks {
            of: "stasis/m:security:all-0000000b".to_owned(),
            done: 8,
            waiting: 1,
        };
        assert_eq!(tasks(table), [expected]);
    }

    #[test]
    fn who_has_work_waiting_and_finishes_none_stands_still() {
        let second = Duration::from_secs;
        let looks = [
            // Nothing waits.
            (7, [distributor(1, 5, 0), distributor(2, 0, 0)], second(10)),
            (7, [distributor(1, 5, 1), distributor(2, 0, 0)], second(20)),
            (7, [distributor(1, 5, 1), distributor(2, 0, 3)], second(30)),
            // One finishes a request while the other waits.
            (7, [distributor(1, 5, 1), distributor(2, 1, 2)], second(40)),
            (7, [distributor(1, 5, 1), distributor(2, 1, 2)], second(50)),
            // Another process, the same numbers.
            (8, [distributor(1, 5, 1), distributor(2, 1, 2)], second(60)),
            (8, [distributor(1, 5, 0), distributor(2, 1, 0)], second(70)),
        ];
        let mut state = Standstill::default();
        let mut lasted = Vec::new();
        for (pid, sip, now) in &looks {
            state = state.look(*pid, sip, *now);
            lasted.push(state.lasts(*now).as_secs());
        }
        assert_eq!(lasted, [0, 0, 10, 0, 10, 0, 0]);
    }
}
