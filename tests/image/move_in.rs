//! A volume of the predecessor: made of its sample configuration, owned by the numbers of its distribution.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::docker::{Ended, Network, Volume, docker, image};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::media::assert_hears;
use crate::phone::{Family, Phone, Settings, Transport};

const JOHN: f64 = 440.0;
const JANE: f64 = 1000.0;

/// The fixture as a script that writes it.
fn configuration() -> String {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/predecessor");
    let mut script = String::new();
    let mut pending = vec![home.clone()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let below = path.strip_prefix(&home).unwrap().display().to_string();
            let text = std::fs::read_to_string(&path).unwrap();
            script.push_str(&format!(
                "mkdir -p $(dirname /srv/{below})\ncat >/srv/{below} <<'END_OF_FILE'\n{text}END_OF_FILE\n"
            ));
        }
    }
    script
}

/// A volume with the fixture, as Alpine's Asterisk (100:101) and root left it; `more` is done before the owners are set.
fn volume(more: &str) -> Volume {
    let volume = Volume::new();
    let script = configuration()
        + "cd /srv; mkdir -p var/spool/asterisk/outgoing var/spool/asterisk/staging var/lib/asterisk/moh var/log/asterisk \
           var/spool/asterisk/voicemail/example.com/john.doe etc/ssl/asterisk var/lib/asterisk/documentation\n\
           echo greeting >var/spool/asterisk/voicemail/example.com/john.doe/greet.gsm\n\
           echo '<docs/>' >var/lib/asterisk/documentation/core-en_US.xml\n\
           cd etc/ssl/asterisk\n\
           openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=tele.example.com -days 30 -keyout priv_key.pem -out cert.pem 2>/dev/null\n\
           chmod 600 priv_key.pem; cd /srv\n"
        + more
        + "\nchmod -R go-w /srv; chown -hR 100:101 etc/asterisk var; chown -hR 0:0 etc/ssl";
    volume.shell(&script);
    volume
}

/// Every name below /srv/etc and the spool with owner, mode, target and checksum; no times, which a way back cannot keep.
fn print(volume: &Volume) -> String {
    volume.shell(
        "cd /srv; find etc var/spool/asterisk ! -type l -exec stat -c '%n %u:%g %a' {} + | sort; \
         find etc var/spool/asterisk -type f -exec md5sum {} + | sort; \
         find etc var/spool/asterisk -type l -exec stat -c '%N %u:%g' {} + | sort",
    )
}

fn migrate(volume: &Volume, word: &str) -> Ended {
    let mount = format!("--volume={}:/srv", volume.name);
    let image = image("full");
    let mut arguments = vec!["run", "--rm", "--network=none", &mount, "--tmpfs=/run"];
    arguments.extend(["--entrypoint=/usr/bin/switchhook", &image, "migrate", word]);
    docker(&arguments)
}

/// What somebody who moves in would be frightened by.
fn complaints(exchange: &Exchange) -> Vec<String> {
    let levels = ["emerg ", "alert ", "crit ", "error ", "warning "];
    let mut lines = exchange.log.all();
    lines.retain(|line| levels.iter().any(|level| line.starts_with(level)));
    lines
}

fn starts_in_silence(recipe: &Recipe) -> Exchange {
    let exchange = recipe.start();
    exchange.wait_healthy();
    // The last to speak: it has looked at each listener.
    until("the certificate to be proven", || {
        let shown = exchange.exec(&["switchhook", "cert", "check"]);
        if shown.code == 0 {
            Ok(())
        } else {
            Err(shown.text)
        }
    });
    assert_eq!(complaints(&exchange), Vec::<String>::new());
    exchange
}

fn phone(exchange: &Exchange, network: &Network, user: &str, password: &str, tone: f64) -> Phone {
    let settings = Settings {
        user,
        password,
        transport: Transport::Udp,
        family: Family::Four,
        tone,
    };
    Phone::register(exchange, network, &settings)
}

/// Posts a carrier's form to the webhook of the fixture; the status line.
fn post(exchange: &Exchange, form: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((exchange.address4().as_str(), 80))?;
    write!(
        stream,
        "POST /webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn a_predecessors_volume_boots_in_silence_calls_texts_and_stays_as_it_is() {
    let (network, volume) = (Network::new(), volume(""));
    let sums = "cd /srv/etc; md5sum $(find asterisk nftables.d -type f | sort)";
    let before = volume.shell(sums);
    let recipe = Recipe::of("full").volume(&volume).network(&network);
    let exchange = starts_in_silence(&recipe);
    exchange
        .log
        .wait_for("carried over 3 entries of autoban.nft");
    let music = exchange.asterisk("moh show files");
    assert!(music.contains("macroform"), "{music}");
    let mut john = phone(&exchange, &network, "john.doe", "a-first-password", JOHN);
    let jane = phone(&exchange, &network, "jane.doe", "a-second-password", JANE);
    john.command("dial", "+12025550183");
    john.wait_event(0, "CALL_ESTABLISHED");
    jane.wait_event(0, "CALL_ESTABLISHED");
    john.wait_sound();
    jane.wait_sound();
    john.command("hangup", "");
    jane.wait_event(0, "CALL_CLOSED");
    john.wait_event(0, "CALL_CLOSED");
    assert_hears(&john.recording(), JANE, JOHN);
    assert_hears(&jane.recording(), JOHN, JANE);
    until("the bridge to take a text", || {
        match post(
            &exchange,
            "To=%2B12025550160&From=%2B46700000001&Body=from+a+carrier",
        ) {
            Ok(status) if status.contains(" 200 ") => Ok(()),
            Ok(status) => Err(status),
            Err(error) => Err(error.to_string()),
        }
    });
    john.console.wait_for("from a carrier");
    drop((john, jane));
    assert_eq!(exchange.stop(), 0);
    drop(exchange);
    let after = volume.shell(sums);
    for line in before.lines() {
        assert!(after.contains(line), "{line} was changed: {after}");
    }
    let first =
        volume.fingerprint("/srv/etc") + &volume.fingerprint("/srv/var/lib/switchhook/backup");
    let exchange = starts_in_silence(&recipe);
    assert!(!exchange.log_text().contains("moves in"));
    assert_eq!(exchange.stop(), 0);
    drop(exchange);
    let second =
        volume.fingerprint("/srv/etc") + &volume.fingerprint("/srv/var/lib/switchhook/backup");
    assert_eq!(second, first);
}

#[test]
fn a_dry_run_names_every_step_and_the_way_back_gives_all_bytes_and_owners() {
    let volume = volume("");
    let before = print(&volume);
    let shown = migrate(&volume, "--dry-run");
    assert_eq!(shown.code, 0, "{}", shown.text);
    for step in [
        "would give ",
        "of 100:101 in /srv/etc/asterisk, ",
        "would give /srv/etc/ssl/asterisk/priv_key.pem to root and group 5060, mode 0640: ",
        "would set the mode of /srv/var/spool/asterisk/outgoing to 0775: ",
        "would add /srv/etc/asterisk/acl.conf: ",
        "at each start: modules that modules.conf does not name",
        "res_fax_spandsp (it needs res_fax)",
    ] {
        assert!(shown.out.contains(step), "{step}: {}", shown.out);
    }
    assert_eq!(print(&volume), before);
    let exchange = starts_in_silence(&Recipe::of("full").volume(&volume));
    for step in shown
        .out
        .lines()
        .filter(|line| line.starts_with("would add "))
    {
        let said = step.replace("would add ", "added ");
        assert!(exchange.log_text().contains(&said), "{said}");
    }
    assert_eq!(exchange.stop(), 0);
    drop(exchange);
    assert_ne!(print(&volume), before);
    let undone = migrate(&volume, "--undo");
    assert_eq!(undone.code, 0, "{}", undone.text);
    assert!(!undone.out.contains("stays"), "{}", undone.out);
    assert_eq!(print(&volume), before, "{}", undone.out);
}

#[test]
fn a_pair_that_links_lead_to_is_served() {
    let volume = volume(
        "mkdir -p etc/ssl/acme/certs etc/ssl/acme/private; cd etc/ssl/asterisk\n\
         mv cert.pem ../acme/certs/tele.crt; mv priv_key.pem ../acme/private/tele.key\n\
         ln -s /etc/ssl/acme/certs/tele.crt cert.pem; ln -s /etc/ssl/acme/private/tele.key priv_key.pem; cd /srv",
    );
    let before = print(&volume);
    let exchange = starts_in_silence(&Recipe::of("full").volume(&volume));
    let shown = exchange.exec(&["switchhook", "cert", "show"]).out;
    assert!(shown.contains("source      files"), "{shown}");
    assert_eq!(exchange.stop(), 0);
    drop(exchange);
    let undone = migrate(&volume, "--undo");
    assert_eq!(undone.code, 0, "{}", undone.text);
    assert_eq!(print(&volume), before, "{}", undone.out);
}

#[test]
fn directories_and_users_of_alpine_and_links_that_lead_nowhere_are_no_hindrance() {
    let more = "cat >>/srv/etc/asterisk/asterisk.conf <<'END_OF_FILE'\n\
        runuser = asterisk\nrungroup = asterisk\n\
        [directories]\nastetcdir => /etc/asterisk\nastmoddir => /usr/lib/asterisk/modules\nastvarlibdir => /var/lib/asterisk\n\
        astdbdir => /var/lib/asterisk\nastkeydir => /var/lib/asterisk\nastdatadir => /var/lib/asterisk\n\
        astagidir => /var/lib/asterisk/agi-bin\nastspooldir => /var/spool/asterisk\nastrundir => /var/run/asterisk\n\
        astlogdir => /var/log/asterisk\nastsbindir => /usr/sbin\nEND_OF_FILE\n\
        mkdir -p var/lib/asterisk/sounds/en; echo mine >var/lib/asterisk/sounds/en/mine.gsm\n\
        cd etc/ssl/asterisk; rm -f *; ln -s /etc/ssl/acme/certs/tele.example.com.crt cert.pem\n\
        ln -s /etc/ssl/acme/private/tele.example.com.key priv_key.pem; cd /srv";
    let volume = volume(more);
    let before = print(&volume);
    let exchange = starts_in_silence(&Recipe::of("full").volume(&volume));
    let settings = exchange.asterisk("core show settings");
    assert!(settings.contains("/run/switchhook/pbx/data"), "{settings}");
    let prompts = "/run/switchhook/pbx/data/sounds/en";
    assert_eq!(exchange.shell(&format!("cat {prompts}/mine.gsm")), "mine");
    exchange.shell(&format!("test -s {prompts}/vm-goodbye.gsm"));
    assert_eq!(exchange.stop(), 0);
    drop(exchange);
    let undone = migrate(&volume, "--undo");
    assert_eq!(undone.code, 0, "{}", undone.text);
    assert_eq!(print(&volume), before, "{}", undone.out);
}
