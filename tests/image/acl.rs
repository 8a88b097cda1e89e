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

/// How long the answer at the door took, which is to be this one, at the first question.
fn expect(house: &House, from: &str, wanted: bool, what: &str) -> Duration {
    let began = Instant::now();
    assert_eq!(house.answer(from), Some(wanted), "{what}: {from}");
    began.elapsed()
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
    let before = (house.restarts(), house.exchange.pid_of("asterisk"));
    // Alone first: from the order to the answer of both at the door.
    let mut alone = Vec::new();
    for round in 1..=20 {
        let from = format!("127.9.9.{round}");
        for (order, wanted) in [("add", false), ("remove", true)] {
            let began = Instant::now();
            house.acl(0, &[order, "house", "deny", &from]);
            let order = began.elapsed();
            let took = expect(house, &from, wanted, "alone");
            alone.push(order + took.saturating_sub(pause(wanted)));
        }
    }
    let (alone, alone_longest) = figures(&mut alone);
    let writers = house.writers(WRITERS);
    let (mut orders, mut answers) = (Vec::new(), Vec::new());
    for round in 0..rounds() {
        let from = format!("127.7.0.{}", round % 200 + 1);
        expect(house, &from, true, "before");
        for (order, wanted) in [("add", false), ("remove", true)] {
            let began = Instant::now();
            house.acl(0, &[order, "house", "deny", &from]);
            orders.push(began.elapsed());
            let took = expect(house, &from, wanted, order);
            answers.push(took.saturating_sub(pause(wanted)));
        }
    }
    let (written, said) = writers.finish(LEFT);
    let (order, order_longest) = figures(&mut orders);
    let (answer, answer_longest) = figures(&mut answers);
    println!(
        "acl {}: alone in force after {alone:?}, at the longest {alone_longest:?}; {} rounds beside {WRITERS} writers with {written} \
         changes: each order took {order:?}, at the longest {order_longest:?}, and was in force at the first question, answered within \
         {answer:?}, at the longest {answer_longest:?}",
        house.kept,
        rounds(),
    );
    assert_eq!(said, [""; 0], "every command succeeds");
    let after = (house.restarts(), house.exchange.pid_of("asterisk"));
    assert_eq!(after, before, "Asterisk goes on");
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
