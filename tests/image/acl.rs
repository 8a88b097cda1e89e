//! Named ACLs: what the command writes, Asterisk and its parts take at once; what it says of an address, Asterisk does.

mod house;
mod oracle;
mod postgres;
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

fn comes_and_goes(house: &House) {
    let place = house.begin("house", "permit", "127.0.0.0/8");
    house.begin("crowd", "permit", "127.0.0.0/8");
    assert_eq!(place, house.kept);
    // Alone first: how long the command itself takes, to the end.
    let mut alone = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        house.acl(0, &["add", "house", "deny", "127.9.9.9"]);
        alone.push(began.elapsed());
        house.acl(0, &["remove", "house", "deny", "127.9.9.9"]);
    }
    alone.sort_unstable();
    assert!(alone[5] < SOON, "{alone:?}");
    let writers = house.writers(WRITERS);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds() {
        let from = format!("127.7.0.{}", round % 200 + 1);
        assert!(house.lets_in(&from), "round {round}: {from} before");
        house.acl(0, &["add", "house", "deny", &from]);
        let began = Instant::now();
        assert!(house.keeps_out(&from), "round {round}: {from} denied");
        slowest = slowest.max(began.elapsed().saturating_sub(house::LOGIN_PAUSE));
        house.acl(0, &["remove", "house", "deny", &from]);
        let began = Instant::now();
        assert!(
            house.lets_in(&from),
            "round {round}: {from} permitted again"
        );
        slowest = slowest.max(began.elapsed());
    }
    let (written, answers) = writers.finish(LEFT);
    for answer in &answers {
        assert!(!answer.contains("locked"), "{answer}");
    }
    assert_eq!(answers, [""; 0], "every command succeeds");
    let crowd = house.rules("crowd");
    assert_eq!(
        crowd.len(),
        1 + WRITERS * LEFT,
        "no rule is lost: {crowd:?}"
    );
    assert_eq!(house.shown("crowd"), crowd.len());
    assert_eq!(house.rules("house").len(), 1);
    println!(
        "acl {}: {} rounds beside {WRITERS} writers with {written} changes, in force within {slowest:?}; the command alone takes {:?}",
        house.kept,
        rounds(),
        alone[5]
    );
    assert!(slowest < SOON, "{slowest:?}");
}
