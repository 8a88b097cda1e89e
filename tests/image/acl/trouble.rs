//! What goes wrong is one sentence, and Asterisk's last good rules stay in force.

use super::house::{House, Kept};
use super::postgres::Postgres;
use crate::docker::{Network, Volume};

const OUT: &str = "127.7.0.1";
const IN: &str = "127.7.0.2";

/// A house that keeps out one address and lets in another.
fn closed(house: &House) {
    house.begin("house", "deny", OUT);
    as_before(house);
}

fn as_before(house: &House) {
    assert!(house.keeps_out(OUT), "{OUT} is let in");
    assert!(house.lets_in(IN), "{IN} is kept out");
}

/// The command fails with exactly one sentence and a hint.
fn refused(house: &House, code: i32, words: &[&str], sentence: &str) {
    let text = house.acl(code, words);
    let lines: Vec<&str> = text.trim().lines().collect();
    assert!(lines[0].starts_with("switchhook: "), "{text}");
    assert!(lines[0].contains(sentence), "{text}");
    assert!(lines.len() == 2 && lines[1].starts_with("hint: "), "{text}");
    as_before(house);
}

#[test]
fn bad_wishes_and_a_bad_file_change_nothing() {
    let house = House::start(&Kept::File);
    closed(&house);
    refused(
        &house,
        64,
        &["add", "house", "deny", "127.7.0.2/33"],
        "has a length that does not fit",
    );
    refused(
        &house,
        64,
        &["add", "house", "deny", "127.7.0.2, ::1"],
        "holds a blank",
    );
    refused(
        &house,
        1,
        &["add", "home", "deny", IN],
        "there is no list `home`",
    );
    refused(&house, 1, &["show", "home"], "there is no list `home`");
    refused(&house, 1, &["remove", "house", "--list"], "uses `house`");
    refused(
        &house,
        1,
        &["remove", "house", "--number", "7"],
        "has no rule 7",
    );
    // Somebody spoils the file by hand.
    house.exchange.shell("cp -p /srv/etc/asterisk/acl.conf /srv/good; printf '[x]\\npermit = office\\n' >>/srv/etc/asterisk/acl.conf");
    for words in [&["reload"][..], &["add", "house", "deny", IN]] {
        refused(&house, 78, words, "`office` is no address");
    }
    house.exchange.asterisk("module reload acl");
    as_before(&house);
    let verified = house.exchange.exec(&["switchhook", "verify"]).text;
    assert!(verified.contains("`office` is no address"), "{verified}");
    house
        .exchange
        .shell("cp -p /srv/good /srv/etc/asterisk/acl.conf");
    house.acl(0, &["reload"]);
    as_before(&house);
    let told = house.acl(0, &["remove", "house", "deny", OUT]);
    assert!(told.contains("manager user [watcher] has it"), "{told}");
    assert!(
        told.contains("PJSIP, each request, by [acl-house] has it"),
        "{told}"
    );
    assert!(house.lets_in(OUT));
}

#[test]
fn a_database_that_cannot_be_written_or_is_gone_changes_nothing() {
    let house = House::start(&Kept::Sqlite);
    closed(&house);
    let file = "/srv/var/lib/asterisk/lists.sqlite3";
    // A row that somebody spoilt by hand.
    super::house::sql(
        &house.volume,
        file,
        "INSERT INTO acls VALUES ('house', 9, 'deny', 'office')",
    );
    refused(&house, 78, &["reload"], "`office` is no address");
    super::house::sql(&house.volume, file, "DELETE FROM acls WHERE rule_order = 9");
    // It is gone while Asterisk runs.
    house.exchange.shell(&format!("mv {file} /srv/aside"));
    let gone = "there is no database";
    refused(&house, 2, &["add", "house", "deny", IN], gone);
    refused(&house, 2, &["reload"], gone);
    house.exchange.shell(&format!("mv /srv/aside {file}"));
    // The trap of the default: Asterisk would hold it locked.
    house.exchange.shell("sed -i s/^batch/%batch/ /srv/etc/asterisk/res_config_sqlite3.conf; sed -i 's/^%batch/;batch/' /srv/etc/asterisk/res_config_sqlite3.conf");
    refused(
        &house,
        78,
        &["add", "house", "deny", IN],
        "does not say `batch = 0`",
    );
    house
        .exchange
        .shell("sed -i 's/^;batch/batch/' /srv/etc/asterisk/res_config_sqlite3.conf");
    house.acl(0, &["add", "house", "deny", IN]);
    assert!(house.keeps_out(IN));
    // After a start of Asterisk the rules of the database are in force as well.
    house.exchange.shell("switchhook restart asterisk");
    house.exchange.wait_healthy();
    assert!(house.keeps_out(IN) && house.lets_in("127.7.0.3"));
}

#[test]
fn a_database_on_a_read_only_volume_is_told() {
    let volume = Volume::new();
    let table = super::house::TABLE;
    super::house::sql(
        &volume,
        "/srv/lists.sqlite3",
        &format!("{table} INSERT INTO acls VALUES ('house', 1, 'deny', '{OUT}')"),
    );
    volume.shell("chmod 644 /srv/lists.sqlite3; chmod 755 /srv");
    let kept = Kept::SqliteAt("/lists/lists.sqlite3");
    let mount = format!("--volume={}:/lists:ro", volume.name);
    let script = super::house::CONSUMERS;
    let house = House::prepared(&kept, Network::new(), script, |recipe| {
        recipe.option(&mount)
    });
    as_before(&house);
    refused(
        &house,
        2,
        &["add", "house", "deny", IN],
        "attempt to write a readonly database",
    );
}

#[test]
fn a_server_that_goes_away_changes_nothing() {
    let network = Network::new();
    let server = Postgres::start(&network.host4);
    let house = House::start_in(&Kept::Postgres(&server), network);
    closed(&house);
    server.stop();
    let silent = "does not answer";
    refused(&house, 2, &["add", "house", "deny", IN], silent);
    refused(&house, 2, &["reload"], silent);
    refused(&house, 2, &["show", "house"], silent);
    let verified = house.exchange.exec(&["switchhook", "verify"]);
    assert!(
        verified
            .text
            .contains("the lists of the database are not known"),
        "{}",
        verified.text
    );
    server.run();
    // The first question to a server that was away fails; nobody else may be kept out by it.
    house.acl(0, &["add", "house", "deny", IN]);
    assert!(house.keeps_out(IN) && house.keeps_out(OUT) && house.lets_in("127.7.0.3"));
    server.sql("pbx", "ALTER ROLE asterisk PASSWORD 'another'");
    let text = house.acl(2, &["add", "house", "deny", "127.7.0.9"]);
    assert!(text.contains("password authentication failed"), "{text}");
    assert!(!text.contains("its-secret"), "{text}");
}
