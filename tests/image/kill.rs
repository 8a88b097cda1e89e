//! `kill -9` of any child at any time: the appliance heals, and nothing is left behind.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::docker::Volume;
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::stop::count;

/// Kills of one service in one container: the pauses between restarts grow with each.
const KILLS_A_CONTAINER: usize = 6;
const CONTAINERS_AT_ONCE: usize = 2;

/// Numbers that look random and can be had again. (Vigna's splitmix64.)
pub struct Dice(u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// What a round does. It is one script in the container: there, asking costs a millisecond, from outside a hundred.
const WORDS: &str = r#"
pid() { switchhook status --json | sed -n 's/.*"name":"'$1'"[^}]*"pid":\([0-9][0-9]*\).*/\1/p'; }
another() { while now=$(pid $1); [ -z "$now" ] || [ "$now" = "${2-}" ]; do sleep 0.02; done; echo $now; }
gone() { another $1 $2 >/dev/null; }
end() { kill -9 $2; gone $1 $2; }
well() { until switchhook health >/dev/null; do sleep 0.05; done; }
"#;

/// The scripts and how often each kills Asterisk.
const ROUNDS: [(&str, usize); 5] = [
    ("end asterisk $(another asterisk)", 1),
    ("end logd $(another logd)", 0),
    (
        "l=$(another logd); a=$(another asterisk); kill -9 $l $a; gone logd $l; gone asterisk $a",
        1,
    ),
    // Again as soon as there is a process: in the first moments of its start.
    (
        "end asterisk $(another asterisk); end asterisk $(another asterisk)",
        2,
    ),
    (
        "end logd $(another logd); end logd $(another logd); end asterisk $(another asterisk)",
        1,
    ),
];

fn pid(exchange: &Exchange, service: &str) -> i64 {
    exchange
        .pid_of(service)
        .unwrap_or_else(|| panic!("{service} has no process"))
}

/// Every child of PID 1 is a service's process, and no process is a zombie.
fn assert_no_leftover(exchange: &Exchange) {
    let services: BTreeSet<i64> = ["logd", "asterisk", "autoban", "certs", "mail", "websms"]
        .iter()
        .map(|service| pid(exchange, service))
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

/// Rounds in one container, from its first start to its end, until its share of kills is done or none is left.
fn rounds(left: &AtomicUsize, mut dice: Dice) {
    let volume = Volume::new();
    let exchange = Recipe::of("full").volume(&volume).start();
    let host_pid = exchange.inspect("{{.State.Pid}}");
    let link = format!("/proc/{host_pid}/ns/pid");
    let namespace = std::fs::read_link(&link)
        .unwrap_or_else(|e| panic!("the engine's processes cannot be seen, be root: {e}"));
    // Held open, or the next container's namespace may get the same number.
    let held = std::fs::File::open(&link).unwrap();
    assert!(!processes_in(&namespace).is_empty());
    let mut kills = 0;
    while kills < KILLS_A_CONTAINER && take_one(left) {
        let (script, count) = ROUNDS[dice.roll(ROUNDS.len() as u64) as usize];
        // Each leaves an orphan behind as well, which PID 1 has to bury.
        exchange.shell(&format!("{WORDS}(true &); {script}; well"));
        // Each round may kill the log service twice as well.
        kills += count.max(1);
    }
    assert_no_leftover(&exchange);
    assert_eq!(exchange.stop(), 0);
    let remaining = processes_in(&namespace);
    assert!(remaining.is_empty(), "left on the host: {remaining:?}");
    drop(held);
}

fn take_one(left: &AtomicUsize) -> bool {
    left.try_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
        count.checked_sub(1)
    })
    .is_ok()
}

/// What all is drawn from, printed so that it can be drawn again.
fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = count(
        "SWITCHHOOK_TEST_SEED",
        clock.unwrap().as_millis() as usize % 1_000_000,
    ) as u64;
    println!("SWITCHHOOK_TEST_SEED={seed}");
    seed
}

pub fn dice() -> Dice {
    Dice(seed())
}

#[test]
fn any_child_may_be_killed_at_any_time() {
    let seed = seed();
    let total = count("SWITCHHOOK_TEST_KILLS", 200);
    let left = AtomicUsize::new(total);
    std::thread::scope(|scope| {
        for lane in 0..CONTAINERS_AT_ONCE as u64 {
            let left = &left;
            scope.spawn(move || {
                let mut dice = Dice(seed ^ (lane << 32));
                while left.load(Ordering::Relaxed) > 0 {
                    rounds(left, Dice(dice.roll(u64::MAX)));
                }
            });
        }
    });
}

#[test]
fn what_escaped_from_a_killed_service_goes_with_it() {
    let volume = Volume::new();
    let family = "#!/bin/sh\nsetsid sh -c 'echo child $$; exec sleep 1000' &\nexec sleep 1000";
    volume.write("/srv/etc/family", "755", family);
    let unit = "[Service]\nRestart=always\nExecStart=/srv/etc/family";
    volume.write("/srv/etc/units/family.service", "644", unit);
    let exchange = Recipe::of("full").volume(&volume).start();
    let line = exchange.log.wait_for("family: child ");
    let child = line.rsplit(' ').next().unwrap();
    exchange.shell(&format!(
        "test -d /proc/{child}; kill -9 {}",
        pid(&exchange, "family")
    ));
    until("the child to go", || {
        match exchange
            .exec(&["test", "-d", &format!("/proc/{child}")])
            .code
        {
            0 => Err(format!("process {child} lives")),
            _ => Ok(()),
        }
    });
    exchange.wait_healthy();
    assert_eq!(exchange.stop(), 0);
}
