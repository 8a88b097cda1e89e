//! `kill -9` of any child at any time: the appliance heals, and nothing is left behind.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::docker::Volume;
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::stop::count;

/// Rounds in one container: the pauses between restarts grow with each kill.
const ROUNDS_A_CONTAINER: usize = 8;
const CONTAINERS_AT_ONCE: usize = 3;

/// Numbers that look random and can be had again. (Marsaglia's xorshift64.)
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn pid(exchange: &Exchange, service: &str) -> Result<i64, String> {
    exchange
        .pid_of(service)
        .ok_or_else(|| format!("{service} has no process"))
}

/// Kills a service's process and returns its id, once it has one.
fn kill(exchange: &Exchange, service: &str) -> i64 {
    until("a process to kill", || {
        let victim = pid(exchange, service)?;
        let killed = exchange.exec(&["kill", "-9", &victim.to_string()]);
        if killed.code == 0 {
            Ok(victim)
        } else {
            Err(killed.text)
        }
    })
}

fn round(exchange: &Exchange, dice: &mut Dice) {
    let mut victims = vec![];
    match dice.roll(4) {
        0 => victims.push(("asterisk", kill(exchange, "asterisk"))),
        1 => victims.push(("logd", kill(exchange, "logd"))),
        2 => {
            victims.push(("logd", kill(exchange, "logd")));
            victims.push(("asterisk", kill(exchange, "asterisk")));
        }
        // Again in the middle of its start.
        _ => {
            let first = kill(exchange, "asterisk");
            until("the next process", || match pid(exchange, "asterisk")? {
                next if next != first => Ok(()),
                _ => Err("still the old one".to_owned()),
            });
            victims.push(("asterisk", kill(exchange, "asterisk")));
        }
    }
    for (service, victim) in victims {
        until("a new process", || match pid(exchange, service)? {
            next if next != victim => Ok(()),
            _ => Err(format!("{service} is still process {victim}")),
        });
    }
    exchange.wait_healthy();
}

/// Every child of PID 1 is a service's process, and no process is a zombie.
fn assert_no_leftover(exchange: &Exchange) {
    let services: BTreeSet<i64> = ["logd", "asterisk"]
        .iter()
        .map(|service| pid(exchange, service).unwrap())
        .collect();
    let processes = exchange.shell("cat /proc/[0-9]*/stat 2>/dev/null || true");
    let mut children = BTreeSet::new();
    for process in processes.lines() {
        // `PID (NAME) STATE PARENT`; the name may hold anything (proc_pid_stat(5)).
        let (head, tail) = process.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = tail.split(' ').collect();
        assert_ne!(fields[0], "Z", "a zombie: {process}");
        if fields[1] == "1" {
            children.insert(head.split(' ').next().unwrap().parse::<i64>().unwrap());
        }
    }
    assert_eq!(children, services, "{processes}");
}

/// The host's processes that live in a namespace of process ids.
fn processes_in(namespace: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            std::fs::read_link(process.join("ns/pid")).is_ok_and(|found| found == namespace)
        })
        .map(|process| process.display().to_string())
        .collect()
}

/// Some rounds in one container, from its first start to its end.
fn rounds(rounds: usize, mut dice: Dice) {
    let volume = Volume::new();
    let exchange = Recipe::of("mini").volume(&volume).start();
    let host_pid = exchange.inspect("{{.State.Pid}}");
    let link = format!("/proc/{host_pid}/ns/pid");
    let cannot = |e| panic!("the engine's processes cannot be seen, be root: {e}");
    let namespace = std::fs::read_link(&link).unwrap_or_else(cannot);
    // Held open, or the next container's namespace may get the same number.
    let held = std::fs::File::open(&link).unwrap();
    assert!(!processes_in(&namespace).is_empty());
    for _ in 0..rounds {
        round(&exchange, &mut dice);
    }
    assert_no_leftover(&exchange);
    assert_eq!(exchange.stop(), 0);
    let left = processes_in(&namespace);
    assert!(left.is_empty(), "left on the host: {left:?}");
    drop(held);
}

#[test]
fn any_child_may_be_killed_at_any_time() {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = count(
        "SWITCHHOOK_TEST_SEED",
        clock.unwrap().as_millis() as usize % 1_000_000,
    ) as u64;
    println!("SWITCHHOOK_TEST_SEED={seed}");
    let total = count("SWITCHHOOK_TEST_KILLS", 200);
    let batches: Vec<usize> = (0..total.div_ceil(ROUNDS_A_CONTAINER))
        .map(|batch| ROUNDS_A_CONTAINER.min(total - batch * ROUNDS_A_CONTAINER))
        .collect();
    let next = Mutex::new(batches.into_iter().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..CONTAINERS_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((batch, share)) = next.lock().unwrap().next() else {
                        break;
                    };
                    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (batch as u64 + 1);
                    rounds(share, Dice(mixed | 1));
                }
            });
        }
    });
}
