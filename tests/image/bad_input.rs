//! Bad input at the start: one clear sentence, a hint, an exit code, and nothing is lost.

use crate::docker::{Ended, Volume, docker, image, ok, unique};
use crate::exchange::Recipe;

/// `EX_CONFIG` of sysexits.
const CONFIGURATION: i32 = 78;
const FAILED: i32 = 2;

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, sentences: &[&str]) {
    assert_eq!(ended.code, code, "{}", ended.text);
    for sentence in sentences.iter().chain(&["hint: "]) {
        assert!(
            ended.text.contains(sentence),
            "no `{sentence}` in:\n{}",
            ended.text
        );
    }
    assert!(!ended.text.contains("panicked"), "{}", ended.text);
}

#[test]
fn a_misspelt_variable_is_refused_and_nothing_is_touched() {
    let volume = Volume::new();
    let ended = Recipe::of("mini")
        .volume(&volume)
        .variable("SWITCHHOOK_DRAIN_TIMOUT", "5")
        .run_to_end();
    let sentence = "SWITCHHOOK_DRAIN_TIMOUT is not a variable";
    assert_refused(
        &ended,
        CONFIGURATION,
        &[sentence, "SWITCHHOOK_DRAIN_TIMEOUT"],
    );
    assert_eq!(volume.shell("ls -A /srv"), "");
}

#[test]
fn all_bad_values_are_told_at_once() {
    let volume = Volume::new();
    let ended = Recipe::of("mini")
        .volume(&volume)
        .variable("SWITCHHOOK_DRAIN_TIMEOUT", "soon")
        .variable("SYSLOG_LEVEL", "9")
        .run_to_end();
    let sentences = [
        "SWITCHHOOK_DRAIN_TIMEOUT=soon is not valid",
        "SYSLOG_LEVEL=9 is not valid",
    ];
    assert_refused(&ended, CONFIGURATION, &sentences);
    assert_eq!(volume.shell("ls -A /srv"), "");
}

#[test]
fn a_broken_unit_is_refused_with_its_line() {
    let volume = Volume::new();
    let unit = "[Service]\nExecStart=/bin/true\nTimeoutStartSec=soon";
    volume.write("/srv/etc/units/broken.service", "644", unit);
    let ended = Recipe::of("mini").volume(&volume).run_to_end();
    assert_refused(&ended, CONFIGURATION, &["broken.service:3"]);
}

#[test]
fn a_failing_entry_hook_ends_the_start() {
    let volume = Volume::new();
    volume.write("/srv/etc/entry.d/10-fail", "755", "#!/bin/sh\nexit 3");
    let ended = Recipe::of("mini").volume(&volume).run_to_end();
    let sentence = "hook `/srv/etc/entry.d/10-fail` failed with exit code 3";
    assert_refused(&ended, FAILED, &[sentence]);
    assert!(!ended.text.contains("asterisk: started"), "{}", ended.text);
}

#[test]
fn a_failing_optional_entry_hook_is_a_warning() {
    let volume = Volume::new();
    volume.write(
        "/srv/etc/entry.d/10-fail.optional",
        "755",
        "#!/bin/sh\nexit 3",
    );
    let exchange = Recipe::of("mini").volume(&volume).start();
    let line = exchange.log.wait_for("10-fail.optional` failed");
    assert!(line.starts_with("warning switchhook: "), "{line}");
    assert_eq!(exchange.stop(), 0);
}

#[test]
fn a_hanging_entry_hook_is_killed_with_all_its_children() {
    let volume = Volume::new();
    let hook = "#!/bin/sh\nsleep 1000 &\nsleep 1000";
    volume.write("/srv/etc/entry.d/10-hang", "755", hook);
    let ended = Recipe::of("mini")
        .volume(&volume)
        .variable("SWITCHHOOK_HOOK_TIMEOUT", "1s")
        .run_to_end();
    let sentence = "hook `/srv/etc/entry.d/10-hang` was killed after 1 s";
    assert_refused(&ended, FAILED, &[sentence]);
}

#[test]
fn a_failing_or_hanging_exit_hook_is_reported_and_the_stop_goes_on() {
    let volume = Volume::new();
    volume.write("/srv/etc/exit.d/10-fail", "755", "#!/bin/sh\nexit 3");
    volume.write("/srv/etc/exit.d/20-hang", "755", "#!/bin/sh\nsleep 1000");
    volume.write(
        "/srv/etc/exit.d/30-last",
        "755",
        "#!/bin/sh\necho the last hook",
    );
    let exchange = Recipe::of("mini")
        .volume(&volume)
        .variable("SWITCHHOOK_HOOK_TIMEOUT", "1s")
        .start();
    assert_eq!(exchange.stop(), 0);
    exchange.log.wait_end();
    exchange
        .log
        .wait_for("hook `/srv/etc/exit.d/10-fail` failed with exit code 3");
    exchange
        .log
        .wait_for("hook `/srv/etc/exit.d/20-hang` was killed after 1 s");
    exchange.log.wait_for("the last hook");
}

#[test]
fn a_read_only_volume_is_refused() {
    let volume = Volume::new();
    let ended = Recipe::of("mini")
        .option(&format!("--volume={}:/srv:ro", volume.name))
        .run_to_end();
    assert_refused(
        &ended,
        FAILED,
        &["cannot write to the volume /srv", "writable volume"],
    );
}

/// A small volume in memory, kept over the containers that use it, and its keeper.
struct SmallVolume {
    volume: Volume,
    keeper: String,
}

impl SmallVolume {
    fn new(size: &str) -> SmallVolume {
        let volume = Volume {
            name: unique("small"),
        };
        let size = format!("o=size={size}");
        let mut arguments = vec!["volume", "create", "--opt", "type=tmpfs"];
        arguments.extend(["--opt", "device=tmpfs", "--opt", &size, &volume.name]);
        ok(&arguments);
        let (keeper, mount) = (unique("keeper"), format!("{}:/srv", volume.name));
        let image = image("mini");
        let mut arguments = vec!["run", "--detach", "--init", "--network=none"];
        arguments.extend(["--name", &keeper, "--volume", &mount]);
        arguments.extend(["--entrypoint", "/bin/sleep", &image, "1000"]);
        ok(&arguments);
        SmallVolume { volume, keeper }
    }

    fn shell(&self, script: &str) -> String {
        ok(&["exec", &self.keeper, "/bin/sh", "-euc", script])
    }

    /// Leaves so many KiB free.
    fn fill_up_to(&self, free: usize) {
        self.shell(&format!(
            "free=$(df -Pk /srv | awk 'NR == 2 {{ print $4 }}'); \
             dd if=/dev/zero of=/srv/ballast bs=1k count=$((free - {free})) 2>/dev/null"
        ));
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.keeper]);
    }
}

/// The names of all files of a seeded volume, without those that appear with use.
const LIST: &str = "cd /srv && find etc -type f | sort";

#[test]
fn a_full_volume_is_refused_and_with_space_the_start_is_completed() {
    let whole = Volume::new();
    assert_eq!(Recipe::of("mini").volume(&whole).start().stop(), 0);
    let wanted = whole.shell(LIST);
    // Full from the beginning, and full in the middle of the seeding.
    for free in [0, 60] {
        let small = SmallVolume::new("24m");
        small.fill_up_to(free);
        let recipe = Recipe::of("mini").volume(&small.volume);
        let ended = recipe.run_to_end();
        assert_refused(&ended, FAILED, &["the disk is full"]);
        small.shell("rm /srv/ballast");
        let exchange = recipe.start();
        exchange.wait_healthy();
        assert_eq!(exchange.stop(), 0);
        assert_eq!(small.shell(LIST), wanted, "with {free} KiB free before");
        let unfilled = small.shell("grep -rl '@secret:' /srv/etc/asterisk || true");
        assert_eq!(unfilled, "");
    }
}

#[test]
fn a_volume_of_a_newer_schema_is_refused_and_nothing_is_changed() {
    let volume = Volume::new();
    assert_eq!(Recipe::of("mini").volume(&volume).start().stop(), 0);
    volume.write("/srv/var/lib/switchhook/schema", "644", "999");
    let before = volume.fingerprint("/srv");
    let ended = Recipe::of("mini").volume(&volume).run_to_end();
    assert_refused(&ended, CONFIGURATION, &["the volume has schema 999"]);
    assert_eq!(volume.fingerprint("/srv"), before);
}

#[test]
fn an_existing_configuration_is_never_touched() {
    let volume = Volume::new();
    assert_eq!(Recipe::of("mini").volume(&volume).start().stop(), 0);
    // As a volume that another program set up: no state of ours, files changed, missing and added.
    volume.shell(
        "rm -r /srv/var/lib/switchhook; cd /srv/etc/asterisk; \
         echo '; mine' >>extensions_local.conf; rm cdr.conf; echo '; more' >more.conf",
    );
    // The one that Asterisk would miss is added, and nothing else.
    let bytes = "cd /srv/etc/asterisk && md5sum * | grep -v ' cdr.conf$' | sort";
    let before = volume.shell(bytes);
    let exchange = Recipe::of("mini").volume(&volume).start();
    exchange.wait_healthy();
    assert_eq!(exchange.stop(), 0);
    assert_eq!(volume.shell(bytes), before);
    // From the second start on not even owners, modes and times.
    let before = volume.fingerprint("/srv/etc");
    assert_eq!(Recipe::of("mini").volume(&volume).start().stop(), 0);
    assert_eq!(volume.fingerprint("/srv/etc"), before);
}
