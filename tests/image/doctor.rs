//! `switchhook doctor` before set-ups that are sound and such as are broken, each in one way.
//!
//! A broken one must be named by its own check and by no other, so that each test is one of the others' silence, too. The
//! STUN server is coturn, in a container's network of the test's own; the router between is the kernel's own translation of
//! addresses, in the exchange's network.

use serde_json::Value;

use crate::abroad::Abroad;
use crate::calls::{alice, bob};
use crate::docker::{Network, Volume, ok, unique};
use crate::exchange::{Exchange, Recipe};

/// An address outside that no test has.
const OUTSIDE: &str = "203.0.113.7";

/// What a household should have: a named volume, and its address outside. Nobody answers to STUN.
fn sound(target: &str, volume: &Volume) -> Recipe {
    Recipe::of(target)
        .volume(volume)
        .option("--ulimit=nofile=16384:16384")
        // Nothing asks name servers but those who must, and they get a refusal.
        .option("--dns=127.0.0.1")
        .variable("SWITCHHOOK_STUN_SERVERS", "127.0.0.1:9")
        .variable("SWITCHHOOK_EXTERNAL_ADDRESS", OUTSIDE)
        .variable("TZ", "Europe/Stockholm")
}

/// What it says, and how it ends.
fn doctor(exchange: &Exchange, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["switchhook", "doctor", "--json"];
    all.extend(arguments);
    let ended = exchange.exec(&all);
    let report = serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}", ended.text));
    (ended.code, report)
}

/// Everything that has to be done: check, issue, evidence.
fn troubles(report: &Value) -> Vec<(String, String, String)> {
    let checks = report["checks"].as_array().unwrap();
    let mut found = Vec::new();
    for check in checks {
        for finding in check["findings"].as_array().unwrap() {
            if finding["severity"] != "note" {
                let text = |key: &str| finding[key].as_str().unwrap().to_owned();
                assert!(!text("remedy").is_empty(), "{finding}");
                let name = check["name"].as_str().unwrap().to_owned();
                found.push((name, text("issue"), text("evidence")));
            }
        }
    }
    found
}

/// There is one cause, of this check, with these words; the value is its evidence.
fn names_the_cause(exchange: &Exchange, check: &str, words: &str) -> String {
    let (code, report) = doctor(exchange, &[]);
    let mut found = troubles(&report);
    assert_eq!(code, 1, "{report}");
    assert_eq!(found.len(), 1, "{found:#?}");
    let (name, issue, evidence) = found.remove(0);
    assert_eq!(name, check, "{issue}");
    assert!(issue.contains(words), "{issue}");
    evidence
}

fn finds_nothing(exchange: &Exchange) {
    let (code, report) = doctor(exchange, &[]);
    assert_eq!((code, troubles(&report)), (0, vec![]), "{report}");
    assert_eq!(report["well"], true);
}

fn is_well(target: &str, unknown: &[&str]) {
    let volume = Volume::new();
    let exchange = sound(target, &volume).start();
    exchange.wait_healthy();
    finds_nothing(&exchange);
    let (_, report) = doctor(&exchange, &[]);
    let checks = report["checks"].as_array().unwrap().iter();
    let open: Vec<&str> = checks
        .filter(|check| check["state"] == "unknown")
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    assert_eq!(open, unknown, "{report}");
}

#[test]
fn a_sound_set_up_is_well() {
    is_well("full", &[]);
}

#[test]
fn a_sound_set_up_of_mini_is_well() {
    is_well("mini", &["tls"]);
}

#[test]
fn phones_that_are_told_the_address_inside() {
    let abroad = Abroad::new();
    let volume = Volume::new();
    let recipe = sound("full", &volume)
        .network(&abroad.network)
        .variable("SWITCHHOOK_EXTERNAL_ADDRESS", "")
        .variable("SWITCHHOOK_STUN_SERVERS", &abroad.server());
    let exchange = recipe.start();
    let router = abroad.router(&exchange);
    router.translate_to(OUTSIDE);
    let seen = names_the_cause(&exchange, "nat", "told our address inside");
    let own = exchange.address4();
    assert!(seen.contains(OUTSIDE) && seen.contains(&own), "{seen}");
}

#[test]
fn an_address_outside_that_is_no_longer_ours() {
    let abroad = Abroad::new();
    let volume = Volume::new();
    let recipe = sound("full", &volume)
        .network(&abroad.network)
        .variable("SWITCHHOOK_STUN_SERVERS", &abroad.server());
    let exchange = recipe.start();
    let router = abroad.router(&exchange);
    router.translate_to(OUTSIDE);
    finds_nothing(&exchange);
    router.translate_to("203.0.113.99");
    let seen = names_the_cause(&exchange, "nat", "the address outside is wrong");
    assert!(seen.contains("203.0.113.99"), "{seen}");
}

#[test]
fn ports_of_sound_that_are_not_those_that_are_published() {
    let volume = Volume::new();
    volume.write(
        "/srv/etc/entry.d/10-rtp",
        "755",
        "#!/bin/sh\nsed -i '/general/a rtpstart = 20000\\nrtpend = 20099' /srv/etc/asterisk/rtp.conf",
    );
    let exchange = sound("full", &volume)
        .variable("SWITCHHOOK_RTP_PORTS", "10000-10099")
        .start();
    let seen = names_the_cause(
        &exchange,
        "rtp",
        "other ports than those that are published",
    );
    assert!(seen.contains("rtp.conf says 20000-20099"), "{seen}");
}

#[test]
fn phones_whose_addresses_the_engine_hides() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = sound("full", &volume).network(&network).start();
    // The host, where these phones run, is the gateway: so they look as all phones do behind the engine's proxy. Bob comes
    // over IPv6, whose gateway it is as well.
    let _alice = alice(&exchange, &network);
    let _bob = bob(&exchange, &network);
    let seen = names_the_cause(&exchange, "sources", "the addresses of phones are hidden");
    assert!(
        seen.contains("2 of 2 phones") && seen.contains("alice"),
        "{seen}"
    );
}

#[test]
fn a_certificate_that_is_not_there() {
    let volume = Volume::new();
    let exchange = sound("full", &volume)
        .variable("SWITCHHOOK_CERT_SOURCE", "files")
        .variable("SWITCHHOOK_CERT_FILE", "/srv/none.pem")
        .start();
    exchange.wait_healthy();
    let seen = names_the_cause(&exchange, "tls", "TLS is not well");
    assert!(seen.contains("/srv/none.pem"), "{seen}");
}

#[test]
fn a_volume_without_a_name() {
    let volume = Volume::new();
    let mut recipe = sound("full", &volume);
    recipe = recipe.without_option("--volume=").option("--volume=/srv");
    let exchange = recipe.start();
    let seen = names_the_cause(&exchange, "volume", "an anonymous volume");
    assert!(seen.contains("/srv is anonymous volume"), "{seen}");
}

#[test]
fn a_full_disk() {
    let name = unique("small");
    let create = ["volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs"];
    ok(&[&create[..], &["--opt=o=size=40m", &name]].concat());
    let volume = Volume { name };
    let exchange = sound("full", &volume).start();
    exchange.shell("dd if=/dev/zero of=/srv/fill bs=1M count=39 2>/dev/null || true");
    let (code, report) = doctor(&exchange, &[]);
    let found = troubles(&report);
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    // Such a small disk is easily made of memory only, which is told too, and rightly.
    assert_eq!((code, names), (1, vec!["volume", "disk"]), "{report}");
    assert!(found[1].1.contains("/srv is full"), "{found:?}");
    exchange.shell("rm /srv/fill");
    assert_eq!(troubles(&doctor(&exchange, &[]).1).len(), 1);
}

#[test]
fn a_file_that_the_pbx_cannot_read_is_named_and_mended() {
    let volume = Volume::new();
    let exchange = sound("full", &volume).start();
    let file = "/srv/etc/asterisk/pjsip_endpoint.conf";
    exchange.shell(&format!("chown root:root {file}; chmod 600 {file}"));
    let before = exchange.shell(&format!("md5sum {file}"));
    let seen = names_the_cause(&exchange, "permissions", file);
    assert!(seen.contains("belongs to 0:0, mode 0600"), "{seen}");
    let ended = exchange.exec(&["switchhook", "doctor", "--fix"]);
    let fixed = format!("fix: give `{file}` to user 5060 and group 5060");
    assert!(
        ended.code == 0 && ended.out.starts_with(&fixed),
        "{}",
        ended.text
    );
    finds_nothing(&exchange);
    let now = exchange.shell(&format!("md5sum {file}; stat -c '%U:%G %a' {file}"));
    assert_eq!(now, format!("{before}\nasterisk:asterisk 600"));
}

#[test]
fn a_right_that_was_not_given() {
    let volume = Volume::new();
    let exchange = sound("full", &volume).without("NET_ADMIN").start();
    names_the_cause(&exchange, "capabilities", "the container has no NET_ADMIN");
}

#[test]
fn too_few_open_files() {
    let volume = Volume::new();
    let exchange = sound("full", &volume)
        .without_option("--ulimit=")
        .option("--ulimit=nofile=1024:1024")
        .start();
    let seen = names_the_cause(&exchange, "descriptors", "few files may be open");
    assert_eq!(seen, "PID 1 may open 1024 files");
}

#[test]
fn a_time_zone_that_does_not_exist() {
    let volume = Volume::new();
    let exchange = sound("full", &volume)
        .variable("TZ", "Europe/Nowhere")
        .start();
    names_the_cause(&exchange, "zone", "`Europe/Nowhere` is not known");
}

#[test]
fn a_trunk_whose_name_has_no_address() {
    let volume = Volume::new();
    let exchange = sound("full", &volume).start();
    exchange.shell(
        "printf '\\n[trunk:itsp](tpl_trunkout)\\nremote_hosts = sip.nowhere.invalid\\n' >>/srv/etc/asterisk/pjsip_endpoint.conf",
    );
    let seen = names_the_cause(&exchange, "names", "`sip.nowhere.invalid` has no address");
    assert!(seen.starts_with("pjsip_endpoint.conf:"), "{seen}");
}

#[test]
fn a_module_that_is_not_in_the_image() {
    let volume = Volume::new();
    volume.write(
        "/srv/etc/entry.d/10-module",
        "755",
        "#!/bin/sh\necho 'load = codec_nowhere.so' >>/srv/etc/asterisk/modules.conf",
    );
    let exchange = sound("full", &volume).start();
    let seen = names_the_cause(&exchange, "modules", "modules.conf names does not run");
    assert!(seen.contains("codec_nowhere.so"), "{seen}");
}

#[test]
fn a_file_that_is_included_and_not_there() {
    let volume = Volume::new();
    let exchange = sound("full", &volume).start();
    exchange.shell("echo '#include mine.conf' >>/srv/etc/asterisk/extensions_local.conf");
    let seen = names_the_cause(&exchange, "includes", "refuses extensions_local.conf");
    assert!(seen.ends_with("`#include mine.conf`"), "{seen}");
}

#[test]
fn a_context_that_is_included_and_not_there() {
    let volume = Volume::new();
    let exchange = sound("full", &volume).start();
    exchange.shell(
        "printf '\\n[mine]\\ninclude => nowhere\\n' >>/srv/etc/asterisk/extensions_local.conf",
    );
    names_the_cause(
        &exchange,
        "includes",
        "a context that is not there: `nowhere`",
    );
}

#[test]
fn a_line_at_which_asterisk_gives_up() {
    let volume = Volume::new();
    let exchange = sound("full", &volume).start();
    exchange.shell("echo '[broken' >>/srv/etc/asterisk/pjsip_endpoint.conf");
    let seen = names_the_cause(&exchange, "syntax", "pjsip_endpoint.conf");
    assert!(seen.ends_with("no closing `]`"), "{seen}");
}

#[test]
fn a_pbx_that_is_down() {
    let volume = Volume::new();
    let exchange = sound("full", &volume).start();
    exchange.shell("switchhook stop asterisk");
    names_the_cause(&exchange, "pbx", "does not answer");
}
