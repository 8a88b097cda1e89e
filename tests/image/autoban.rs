//! AutoBan with the real Asterisk: attackers with addresses of their own in the exchange's network.

mod acl;

use crate::docker::{Network, Volume, ok, run, unique};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::phone::{Family, Transport};
use crate::sip::{self, Request};

/// Asks to be registered, again and again; whether it is answered does not matter to it.
const KNOCK: &str = include_str!("sipp/knock.xml");

/// A container whose network namespace is an attacker's; sipp is the host's own.
struct Attacker {
    name: String,
    address: String,
    messages: tempfile::TempDir,
}

impl Attacker {
    fn enter(network: &Network) -> Attacker {
        let name = unique("attacker");
        let messages = tempfile::tempdir().unwrap();
        let place = messages.path().display().to_string();
        std::fs::write(messages.path().join("knock.xml"), KNOCK).unwrap();
        ok(&[
            "run",
            "--detach",
            "--name",
            &name,
            "--network",
            &network.name,
            "--volume=/:/host:ro",
            &format!("--volume={place}:/host{place}"),
            "--entrypoint=/bin/sleep",
            &crate::docker::image("full"),
            "1000",
        ]);
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = ok(&["inspect", "--format", format, &name]);
        Attacker {
            name,
            address: address.trim().to_owned(),
            messages,
        }
    }

    /// Knocks `times`, ten times a second and not before the last answer; how often it was answered.
    fn knocks(&self, exchange: &Exchange, transport: &str, user: &str, times: &str) -> usize {
        let text = self.knocking(exchange, transport, user, times);
        text.matches("SIP/2.0 401 ").count()
    }

    /// The same; the value is what went over the wire.
    fn knocking(&self, exchange: &Exchange, transport: &str, user: &str, times: &str) -> String {
        let place = |name: &str| self.messages.path().join(name).display().to_string();
        let file = place("messages");
        let _ = std::fs::remove_file(&file);
        let remote = format!("{}:5060", exchange.address4());
        let (scenario, calls) = (place("knock.xml"), ["-m", times, "-r", "10", "-l", "1"]);
        let mut arguments = vec!["exec", &self.name, "chroot", "/host", "sipp", &remote];
        arguments.extend(["-sf", &scenario, "-t", transport, "-i", &self.address]);
        arguments.extend(["-key", "user", user, "-nostdin", "-timeout", "30s"]);
        arguments.extend(["-trace_msg", "-message_file", &file]);
        arguments.extend(calls);
        // Its exit code says only that somebody did not answer; over TCP a jailed one does not even get to ask.
        let ended = run("docker", &arguments);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(ended.text.contains("Scenario Screen"), "{}", ended.text);
        text
    }
}

impl Attacker {
    /// Registers over UDP, with the right password.
    fn registers(&self, exchange: &Exchange, user: &str, password: &str) {
        self.plays(exchange, (user, password), user, sip::REGISTER);
    }

    /// Plays a scenario over UDP as a user with his password, to its end.
    fn plays(
        &self,
        exchange: &Exchange,
        (user, password): (&str, &str),
        to: &str,
        scenario_text: &str,
    ) {
        let scenario = self.messages.path().join("scenario.xml");
        std::fs::write(&scenario, scenario_text).unwrap();
        let scenario = scenario.display().to_string();
        let remote = format!("{}:5060", exchange.address4());
        let mut arguments = vec!["exec", &self.name, "chroot", "/host", "sipp", &remote];
        arguments.extend(["-sf", &scenario, "-t", "u1", "-i", &self.address, "-s", to]);
        arguments.extend(["-key", "user", user, "-au", user, "-ap", password]);
        arguments.extend(["-m", "1", "-nostdin", "-timeout", "30s", "-timeout_error"]);
        let ended = run("docker", &arguments);
        assert_eq!(ended.code, 0, "{}", ended.text);
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        run("docker", &["rm", "--force", &self.name]);
    }
}

fn with_exchange(conf: &str, test: impl FnOnce(&Exchange, &Network)) {
    with(Recipe::of("full"), conf, test);
}

fn with(recipe: Recipe, conf: &str, test: impl FnOnce(&Exchange, &Network)) {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = recipe.volume(&volume).network(&network).start();
    exchange.log.wait_for("listening to security events");
    if !conf.is_empty() {
        exchange.shell(&format!(
            "echo '{conf}' >>/srv/etc/asterisk/autoban.conf; switchhook reload autoban"
        ));
        exchange.log.wait_for("autoban.conf was read again");
    }
    test(&exchange, &network);
}

fn is_answered(exchange: &Exchange, attacker: &Attacker, transport: &str) -> bool {
    attacker.knocks(exchange, transport, "nobody", "1") > 0
}

#[test]
fn who_guesses_over_tcp_is_jailed_after_exactly_maxcount() {
    with_exchange("", |exchange, network| {
        let attacker = Attacker::enter(network);
        let answered = attacker.knocks(exchange, "t1", "nobody", "15");
        let line = format!("jailed {} for 20m: unknown account", attacker.address);
        exchange.log.wait_for(&line);
        // The eleventh may be on its way while the tenth is weighed.
        assert!((10..=11).contains(&answered), "{answered} were answered");
        assert!(!is_answered(exchange, &attacker, "u1"));
        assert!(is_answered(exchange, &Attacker::enter(network), "t1"));
    });
}

#[test]
fn what_can_be_forged_closes_only_sip_over_udp() {
    with_exchange("", |exchange, network| {
        let attacker = Attacker::enter(network);
        let answered = attacker.knocks(exchange, "u1", "nobody", "12");
        let line = format!("closed SIP over UDP to {} for 2m", attacker.address);
        exchange.log.wait_for(&line);
        assert!((10..=11).contains(&answered), "{answered} were answered");
        assert!(!is_answered(exchange, &attacker, "u1"));
        assert!(is_answered(exchange, &attacker, "t1"));
    });
}

#[test]
fn the_white_list_wins_and_survives_the_container() {
    let (network, volume) = (Network::new(), Volume::new());
    let recipe = Recipe::of("full").volume(&volume).network(&network);
    let attacker = Attacker::enter(&network);
    let exchange = recipe.start();
    exchange.log.wait_for("listening to security events");
    assert_eq!(attacker.knocks(&exchange, "t1", "nobody", "9"), 9);
    exchange.shell(&format!(
        "echo 'whitelist = {}' >/tmp/line; sed -i '/^enabled/r /tmp/line' /srv/etc/asterisk/autoban.conf; switchhook reload autoban",
        attacker.address
    ));
    exchange.log.wait_for("autoban.conf was read again");
    assert_eq!(attacker.knocks(&exchange, "t1", "nobody", "20"), 20);
    let other = Attacker::enter(&network);
    other.knocks(&exchange, "t1", "nobody", "12");
    exchange.log.wait_for(&format!("jailed {}", other.address));
    assert_eq!(exchange.stop(), 0);
    drop(exchange);
    // A new container, and the same volume.
    let exchange = recipe.start();
    exchange.log.wait_for("1 bans are in force again");
    exchange.log.wait_for("listening to security events");
    assert!(!is_answered(&exchange, &other, "t1"));
    assert!(is_answered(&exchange, &attacker, "t1"));
}

#[test]
fn who_logged_in_is_not_banned_by_what_can_be_forged() {
    with_exchange("", |exchange, network| {
        let phone = Attacker::enter(network);
        phone.registers(exchange, "alice", &exchange.password("alice"));
        // As by somebody who writes the phone's address into his packets.
        assert_eq!(phone.knocks(exchange, "u1", "nobody", "30"), 30);
        exchange
            .log
            .wait_for(&format!("{} is trusted and is not banned", phone.address));
    });
}

#[test]
fn a_gateway_that_hides_the_clients_is_never_banned_and_told() {
    with_exchange("", |exchange, network| {
        let request = |password| Request {
            user: "alice",
            password,
            to: "alice",
            transport: Transport::Udp,
            family: Family::Four,
        };
        // The host is the network's gateway, as Docker's proxy is for published ports.
        let password = exchange.password("alice");
        sip::play(exchange, network, &request(&password), sip::REGISTER).unwrap();
        exchange.log.wait_for("all clients come from the gateway");
        for _ in 0..12 {
            sip::play(exchange, network, &request("wrong"), sip::REGISTER_REFUSED).unwrap();
        }
        sip::play(exchange, network, &request(&password), sip::REGISTER).unwrap();
    });
}

#[test]
fn a_secret_that_asterisk_refuses_is_told_and_the_bans_stay() {
    with_exchange("maxcount = ten", |exchange, network| {
        let line = exchange.log.wait_for("autoban.conf:");
        assert!(line.contains("maxcount = ten: "), "{line}");
        let attacker = Attacker::enter(network);
        attacker.knocks(exchange, "t1", "nobody", "12");
        exchange
            .log
            .wait_for(&format!("jailed {}", attacker.address));
        let secret = "[asmanager]\\nsecret = not-this-one";
        exchange.shell(&format!(
            "printf '{secret}\\n' >>/srv/etc/asterisk/autoban.conf; switchhook reload autoban"
        ));
        let line = exchange
            .log
            .wait_for("the manager does not let in the user `autoban`: Authentication failed");
        let number =
            exchange.shell("grep -n '^secret' /srv/etc/asterisk/autoban.conf | cut -d: -f1");
        assert!(line.contains(&format!("autoban.conf:{number}: ")), "{line}");
        exchange
            .log
            .wait_for("hint: write the secret that manager.conf has for [autoban]");
        until("degraded health", || {
            let ended = exchange.exec(&["switchhook", "health"]);
            match ended.code == 0 && ended.text.contains("does not let in") {
                true => Ok(()),
                false => Err(ended.text),
            }
        });
        // It is deaf, and holds what it has.
        assert!(!is_answered(exchange, &attacker, "t1"));
        let seen = exchange.log.count();
        exchange
            .shell("sed -i '/^secret/d' /srv/etc/asterisk/autoban.conf; switchhook reload autoban");
        let again = |line: &str| line.contains("listening to security events");
        exchange.log.wait_from(seen, "the manager again", again);
        assert!(!exchange.log_text().contains("not-this-one"));
        let other = Attacker::enter(network);
        other.knocks(exchange, "t1", "nobody", "12");
        exchange.log.wait_for(&format!("jailed {}", other.address));
    });
}
