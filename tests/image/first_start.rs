//! The first start on an empty volume.

use std::collections::BTreeSet;

use crate::docker::{Volume, image, ok};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;

fn starts_healthy_and_in_silence(target: &str, services: u8) {
    let volume = Volume::new();
    let exchange = Recipe::of(target)
        .volume(&volume)
        .option("--health-interval=1s")
        .start();
    until("the engine to call it healthy", || {
        let health = exchange.inspect("{{.State.Health.Status}}");
        if health == "healthy" {
            Ok(())
        } else {
            Err(health)
        }
    });
    let health = exchange.exec(&["switchhook", "health"]);
    assert_eq!(
        (health.code, health.out.trim().to_owned()),
        (0, format!("ready: {services} services up"))
    );
    let status = exchange.exec(&["switchhook", "status", "--json"]).out;
    assert_eq!(status.matches(r#""schema":"#).count(), 1, "{status}");
    let named = format!("/srv is named volume `{}`", volume.name);
    exchange.log.wait_for(&named);
    assert_eq!(exchange.stop(), 0);
    exchange.log.wait_end();
    let complaints: Vec<String> = exchange
        .log
        .all()
        .into_iter()
        .filter(|line| {
            ["emerg ", "alert ", "crit ", "error ", "warning "]
                .iter()
                .any(|level| line.starts_with(level))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_full_image_starts_healthy_and_in_silence() {
    starts_healthy_and_in_silence("full", 6);
}

#[test]
fn the_mini_image_starts_healthy_and_in_silence() {
    starts_healthy_and_in_silence("mini", 2);
}

/// Every secret that seeding made for a volume.
fn secrets_of(exchange: &Exchange) -> BTreeSet<String> {
    let script =
        r"sed -n 's/^\(secret\|password\|inbound_auth.password\) *= *//p' /srv/etc/asterisk/*.conf";
    let found: BTreeSet<String> = exchange
        .shell(script)
        .lines()
        .map(|line| line.split(';').next().unwrap_or_default().trim().to_owned())
        .collect();
    assert!(
        found.len() >= 3,
        "two phones and a manager user: {} secrets",
        found.len()
    );
    assert!(
        found
            .iter()
            .all(|secret| secret.len() >= 16 && !secret.contains('@')),
        "a placeholder or a short secret"
    );
    found
}

#[test]
fn secrets_are_of_one_volume_and_in_no_log() {
    let volumes = [Volume::new(), Volume::new()];
    let [one, two] = volumes.each_ref().map(|volume| {
        let exchange = Recipe::of("mini").volume(volume).start();
        let secrets = secrets_of(&exchange);
        assert_eq!(exchange.stop(), 0);
        exchange.log.wait_end();
        let log = exchange.log_text();
        assert!(
            !secrets.iter().any(|secret| log.contains(secret)),
            "a secret is in the log"
        );
        secrets
    });
    assert!(one.is_disjoint(&two), "two volumes share a secret");
    // The sample configuration in the image holds places for secrets only.
    let image = image("full");
    let script = r"sed -n 's/^\(secret\|password\|inbound_auth.password\) *= *//p' /usr/share/switchhook/seed-config/etc/asterisk/*.conf";
    let shipped = ok(&[
        "run",
        "--rm",
        "--network=none",
        "--entrypoint=/bin/sh",
        &image,
        "-c",
        script,
    ]);
    assert!(shipped.lines().count() >= 3, "{shipped}");
    for line in shipped.lines() {
        assert!(
            line.starts_with("@secret:"),
            "the image ships a secret: {line}"
        );
    }
}

#[test]
fn a_volume_that_does_not_last_is_warned_of() {
    let exchange = Recipe::of("mini").option("--tmpfs=/srv:size=64m").start();
    let line = exchange.log.wait_for("do not outlive this container");
    assert!(
        line.starts_with("warning switchhook: /srv is tmpfs"),
        "{line}"
    );
}
