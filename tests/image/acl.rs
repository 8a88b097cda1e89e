//! Named ACLs: what the command writes, Asterisk and its parts take at once; what it says of an address, Asterisk does.

mod house;
mod oracle;
mod postgres;
mod reloads;
mod trouble;

use std::time::{Duration, Instant};

use house::{House, Kept};
use postgres::Postgres;

/// How often a rule comes and goes.
fn rounds() -> usize {
    let set = std::env::var("SWITCHHOOK_TEST_ACL_ROUNDS");
    set.map_or(50, |text| text.parse().unwrap())
}

/// How many write at once meanwhile.
const WRITERS: usize = 20;
/// How many rules each of them leaves at the end.
const LEFT: usize = 5;

/// What is written shall be in force within this.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn a_rule_of_acl_conf_keeps_out_and_lets_in_under_writers() {
    comes_and_goes(&House::start(&Kept::File));
}

#[test]
fn a_rule_of_sqlite_keeps_out_and_lets_in_under_writers() {
    comes_and_goes(&House::start(&Kept::Sqlite));
}

#[test]
fn a_rule_of_postgresql_keeps_out_and_lets_in_under_writers() {
    let network = crate::docker::Network::new();
    let server = Postgres::start(&network.host4);
    comes_and_goes(&House::start_in(&Kept::Postgres(&server), network));
}

#[test]
fn one_list_serves_asterisk_and_the_kernel() {
    let script = "sed -i 's/^enabled = yes/enabled = yes\\nblacklist_acl = unwanted/' /srv/etc/asterisk/autoban.conf";
    let network = crate::docker::Network::new();
    let house = House::prepared(&Kept::File, network, script, |recipe| recipe);
    let is_dropped = |address: &str| house.exchange.exec(&["autoban", "why", address]).code == 0;
    house.begin("unwanted", "deny", "198.51.100.0/24");
    let told = house.acl(0, &["add", "unwanted", "permit", "198.51.100.7"]);
    assert!(told.contains("AutoBan's black list has it"), "{told}");
    crate::lines::until("the kernel's list", || {
        let (dropped, spared) = (is_dropped("198.51.100.8"), is_dropped("198.51.100.7"));
        match dropped && !spared {
            true => Ok(()),
            false => Err(format!("{dropped} {spared}")),
        }
    });
    let table = house.exchange.shell("nft list ruleset");
    assert!(
        table.contains("198.51.100.8") && table.contains("198.51.100.0"),
        "{table}"
    );
    // What means everybody is no black list.
    house.acl(0, &["add", "unwanted", "deny", "0.0.0.0/0"]);
    house
        .exchange
        .log
        .wait_for("the list [unwanted] denies everybody");
}

/// The median and the longest.
fn figures(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}

/// What is asked at the door while Asterisk may come to harm over a reload, as 22.10.1 does now and then (docs/reference/acl.md).
struct Door<'a> {
    house: &'a House,
    restarts: u64,
    /// Questions that had to be asked again, because it had ended.
    again: usize,
    /// How often its SIP stood for good, so that it was started anew.
    stood: usize,
}

impl Door<'_> {
    /// Asks once, and again only where Asterisk was started again meanwhile; how long the answer took, if it was not.
    fn expect(&mut self, from: &str, wanted: bool, what: &str) -> Option<Duration> {
        let began = Instant::now();
        if self.house.answer(from) == Some(wanted) {
            return Some(began.elapsed());
        }
        let mut is_new = self.house.sip_stands();
        if is_new {
            self.stood += 1;
            self.house
                .exchange
                .exec(&["switchhook", "restart", "asterisk"]);
        }
        loop {
            self.house.exchange.wait_healthy();
            let restarts = self.house.restarts();
            assert!(is_new || restarts > self.restarts, "{what}: {from}");
            (self.restarts, is_new) = (restarts, false);
            self.again += 1;
            if self.house.answer(from) == Some(wanted) {
                return None;
            }
        }
    }
}

/// How long the manager waits before it says no.
fn pause(wanted: bool) -> Duration {
    match wanted {
        true => Duration::ZERO,
        false => house::LOGIN_PAUSE,
    }
}

fn comes_and_goes(house: &House) {
    let place = house.begin("house", "permit", "127.0.0.0/8");
    house.begin("crowd", "permit", "127.0.0.0/8");
    assert_eq!(place, house.kept);
    let mut door = Door {
        house,
        restarts: house.restarts(),
        again: 0,
        stood: 0,
    };
    // Alone first: from the order to the answer of both at the door.
    let mut alone = Vec::new();
    for round in 1..=20 {
        let from = format!("127.9.9.{round}");
        for (order, wanted) in [("add", false), ("remove", true)] {
            let began = Instant::now();
            house.acl(0, &[order, "house", "deny", &from]);
            let order = began.elapsed();
            let took = door.expect(&from, wanted, "alone");
            alone.extend(took.map(|took| order + took.saturating_sub(pause(wanted))));
        }
    }
    let (alone, alone_longest) = figures(&mut alone);
    let writers = house.writers(WRITERS);
    let before = house.restarts();
    let (mut orders, mut answers) = (Vec::new(), Vec::new());
    for round in 0..rounds() {
        let from = format!("127.7.0.{}", round % 200 + 1);
        door.restarts = house.restarts();
        door.expect(&from, true, "before");
        for (order, wanted) in [("add", false), ("remove", true)] {
            let began = Instant::now();
            house.acl(0, &[order, "house", "deny", &from]);
            orders.push(began.elapsed());
            let took = door.expect(&from, wanted, order);
            answers.extend(took.map(|took| took.saturating_sub(pause(wanted))));
        }
    }
    let (again, stood) = (door.again, door.stood);
    let (written, said) = writers.finish(LEFT);
    house.exchange.wait_healthy();
    let restarts = house.restarts() - before;
    let (order, order_longest) = figures(&mut orders);
    let (answer, answer_longest) = figures(&mut answers);
    println!(
        "acl {}: alone in force after {alone:?}, at the longest {alone_longest:?}; {} rounds beside {WRITERS} writers with {written} \
         changes: each order took {order:?}, at the longest {order_longest:?}, and was in force at the first question, answered within \
         {answer:?}, at the longest {answer_longest:?}; Asterisk was started again {restarts} times, {stood} of them because its SIP stood, and {again} questions were asked again for it",
        house.kept,
        rounds(),
    );
    for text in &said {
        assert!(!text.contains("locked"), "{text}");
    }
    if stood == 0 {
        assert_eq!(said, [""; 0], "every command succeeds");
    }
    let crowd = house.rules("crowd");
    assert_eq!(
        crowd.len(),
        1 + WRITERS * LEFT,
        "no rule is lost: {crowd:?}"
    );
    assert_eq!(house.shown("crowd"), crowd.len());
    assert_eq!(house.rules("house").len(), 1);
    assert!(alone < SOON, "{alone:?}");
    assert!(answer_longest < SOON, "{answer_longest:?}");
}
