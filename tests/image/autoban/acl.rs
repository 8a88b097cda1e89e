//! Bans by the real Asterisk's own list, in a container without NET_ADMIN.

use super::{Attacker, is_answered, with};
use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::sip;

fn without_net_admin() -> Recipe {
    Recipe::of("full").without("NET_ADMIN")
}

/// Refused at once, without a challenge that would weigh a password.
fn is_refused(exchange: &Exchange, attacker: &Attacker, transport: &str) -> bool {
    let wire = attacker.knocking(exchange, transport, "nobody", "1");
    wire.contains("SIP/2.0 403 ") && !wire.contains("SIP/2.0 401 ")
}

fn until_refused(exchange: &Exchange, attacker: &Attacker) {
    until("a refusal", || match is_refused(exchange, attacker, "t1") {
        true => Ok(()),
        false => Err(exchange.asterisk("acl show autoban")),
    });
}

fn until_answered(exchange: &Exchange, attacker: &Attacker) {
    until("an answer", || {
        match is_answered(exchange, attacker, "t1") {
            true => Ok(()),
            false => Err(exchange.asterisk("acl show autoban")),
        }
    });
}

fn until_health_says(exchange: &Exchange, text: &str) {
    until(text, || {
        let ended = exchange.exec(&["switchhook", "health"]);
        match ended.code == 0 && ended.text.contains(text) {
            true => Ok(()),
            false => Err(ended.text),
        }
    });
}

#[test]
fn without_net_admin_asterisk_refuses_who_is_banned_and_nobody_else() {
    with(without_net_admin(), "", |exchange, network| {
        exchange.log.wait_for("the capability NET_ADMIN is missing");
        until_health_says(
            exchange,
            "autoban: degraded: bans are enforced by Asterisk's ACL",
        );
        until_health_says(exchange, "`cap_add: [NET_ADMIN]`");
        let [guesser, office, other, phone] = [(); 4].map(|()| Attacker::enter(network));
        let password = exchange.password("alice");
        phone.registers(exchange, "alice", &password);
        let white = format!("whitelist = {}", office.address);
        let ended = exchange.exec(&["autoban", "add", &white]);
        assert_eq!(ended.code, 0, "{}", ended.text);

        let wire = guesser.knocking(exchange, "t1", "nobody", "60");
        exchange
            .log
            .wait_for(&format!("jailed {}", guesser.address));
        let answered = wire.matches("SIP/2.0 401 ").count();
        assert!((10..60).contains(&answered), "{answered} were answered");
        assert!(wire.contains("SIP/2.0 403 "), "{wire}");
        assert!(is_refused(exchange, &guesser, "u1"));

        assert!(is_answered(exchange, &other, "t1"));
        assert_eq!(office.knocks(exchange, "t1", "nobody", "20"), 20);
        phone.registers(exchange, "alice", &password);
        // The dialplan is asked, and Bob is away.
        let call = sip::CALL_REFUSED.replace("@STATUS@", "480");
        phone.plays(exchange, ("alice", &password), "102", &call);

        let free = format!("all = {}", guesser.address);
        let ended = exchange.exec(&["autoban", "del", &free]);
        assert_eq!(ended.code, 0, "{}", ended.text);
        until_answered(exchange, &guesser);
    });
}

#[test]
fn a_ban_by_asterisk_ends_when_its_time_is_over() {
    let conf = "maxcount = 3\njailtime = 20s";
    with(without_net_admin(), conf, |exchange, network| {
        let guesser = Attacker::enter(network);
        guesser.knocks(exchange, "t1", "nobody", "4");
        exchange
            .log
            .wait_for(&format!("jailed {} for 20s", guesser.address));
        until_refused(exchange, &guesser);
        until_answered(exchange, &guesser);
    });
}

#[test]
fn a_ban_by_asterisk_survives_asterisk_and_ends_with_autoban() {
    with(without_net_admin(), "maxcount = 3", |exchange, network| {
        let guesser = Attacker::enter(network);
        guesser.knocks(exchange, "t1", "nobody", "4");
        until_refused(exchange, &guesser);
        exchange.shell("switchhook restart asterisk");
        exchange.log.wait_for("again, after a gap of");
        until_refused(exchange, &guesser);
        // Nobody would be left to end the ban.
        exchange.shell("switchhook stop autoban");
        until_answered(exchange, &guesser);
        exchange.shell("switchhook start autoban");
        until_refused(exchange, &guesser);
    });
}

#[test]
fn an_older_volume_stays_open_and_says_what_it_lacks() {
    let (network, volume) = (Network::new(), Volume::new());
    let recipe = without_net_admin().volume(&volume).network(&network);
    let exchange = recipe.start();
    assert_eq!(exchange.stop(), 0);
    drop(exchange);
    volume.shell(
        "cd /srv/etc/asterisk; sed -i '/^.autoban]/,$d' acl.conf; sed -i '/^.acl-autoban]/,/^acl/d' pjsip.conf; \
         sed -i 's/^write = system/write =/' manager.conf",
    );
    let exchange = recipe.start();
    exchange.log.wait_for("acl.conf` has no section [autoban]");
    let other = Attacker::enter(&network);
    other.knocks(&exchange, "t1", "nobody", "12");
    exchange.log.wait_for(&format!("jailed {}", other.address));
    assert!(is_answered(&exchange, &other, "t1"));
    // As the hints have it, in their order.
    exchange.shell(
        "cd /srv/etc/asterisk; printf '[autoban]\n#tryinclude /run/autoban/acl.conf\n' >>acl.conf; switchhook reload autoban",
    );
    exchange.log.wait_for("pjsip.conf` uses the list [autoban]");
    exchange.log.wait_for("Permission denied");
    exchange.shell(
        "cd /srv/etc/asterisk; printf '\n[acl-autoban]\ntype = acl\nacl = autoban\n' >>pjsip.conf; \
         sed -i '/^read = security,system/,/^write =/s/^write =.*/write = system/' manager.conf; \
         asterisk -rx 'module reload acl'; asterisk -rx 'module reload res_pjsip.so'; asterisk -rx 'manager reload'; switchhook reload autoban",
    );
    until_refused(&exchange, &other);
    assert!(is_answered(&exchange, &Attacker::enter(&network), "t1"));
}

#[test]
fn no_state_of_the_file_closes_the_exchange() {
    // With the kernel at hand nobody but this test writes it.
    with(Recipe::of("full"), "", |exchange, network| {
        let caller = Attacker::enter(network);
        for text in [
            "",
            "[autob",
            "[autoban](+)\\nden",
            "[autoban](+)\\ndeny = 0.0.0.0/0\\n",
        ] {
            exchange.shell(&format!(
                "printf '{text}' >/run/autoban/acl.conf; chmod 644 /run/autoban/acl.conf; asterisk -rx 'module reload acl'"
            ));
            let is_closed = text.contains("0.0.0.0");
            // The last one shows that it is read at all.
            until(text, || {
                match is_answered(exchange, &caller, "t1") != is_closed {
                    true => Ok(()),
                    false => Err(exchange.asterisk("acl show autoban")),
                }
            });
        }
        exchange.shell("printf '[autob' >/run/autoban/acl.conf; switchhook restart asterisk");
        until_answered(exchange, &caller);
        // A list that is gone while PJSIP asks it.
        exchange.shell(
            "echo '; mine' >/srv/etc/asterisk/acl.conf; asterisk -rx 'module reload acl'; switchhook reload autoban",
        );
        exchange.log.wait_for("Asterisk denies everybody");
        assert!(is_refused(exchange, &caller, "t1"));
    });
}
