//! The house's rule: pure rooms import nothing but each other.

use std::path::Path;

/// Files that must stay pure, below src/.
const PURE: &[&str] = &[
    "asterisk/ami.rs",
    "asterisk/ami/action.rs",
    "asterisk/ami/address.rs",
    "asterisk/ami/event.rs",
    "asterisk/ami/frame.rs",
    "asterisk/ami/lines.rs",
    "asterisk/ami/md5.rs",
    "asterisk/conf.rs",
    "asterisk/conf/edit.rs",
    "asterisk/conf/resolve.rs",
    "asterisk/conf/scan.rs",
    "asterisk/listeners.rs",
    "asterisk/listeners/settings.rs",
    "autoban/acl.rs",
    "autoban/blocklist.rs",
    "autoban/blocklist/loading.rs",
    "autoban/cidr.rs",
    "autoban/config.rs",
    "autoban/config/value.rs",
    "autoban/control.rs",
    "autoban/evidence.rs",
    "autoban/journal.rs",
    "autoban/key.rs",
    "autoban/ledger.rs",
    "autoban/ledger/expiring.rs",
    "autoban/ledger/fact.rs",
    "autoban/ledger/hash.rs",
    "autoban/ledger/lasting.rs",
    "autoban/ledger/manual.rs",
    "autoban/ledger/report.rs",
    "autoban/ledger/watch.rs",
    "autoban/legacy.rs",
    "autoban/outbox.rs",
    "autoban/policy.rs",
    "autoban/ruleset.rs",
    "autoban/score.rs",
    "autoban/witness.rs",
    "autoban/witness/received.rs",
    "autoban/witness/senders.rs",
    "autoban/witness/verdict.rs",
    "certs/acme_json.rs",
    "certs/choose.rs",
    "certs/control.rs",
    "certs/doors.rs",
    "certs/keeper.rs",
    "certs/keeper/proof.rs",
    "certs/metrics.rs",
    "certs/names.rs",
    "certs/pair.rs",
    "certs/private_key.rs",
    "certs/report.rs",
    "certs/source.rs",
    "certs/source/survey.rs",
    "certs/validate.rs",
    "certs/acme/leaf.rs",
    "certs/acme/names.rs",
    "certs/acme/schedule.rs",
    "certs/acme/schedule/pause.rs",
    "certs/acme/settings.rs",
    "certs/acme/trouble.rs",
    "config.rs",
    "config/accounts.rs",
    "config/external.rs",
    "config/pbx.rs",
    "config/ports.rs",
    "config/registry.rs",
    "health.rs",
    "init/arguments.rs",
    "init/demand.rs",
    "init/events.rs",
    "init/flood.rs",
    "init/hooks.rs",
    "init/order.rs",
    "init/pulse.rs",
    "init/report.rs",
    "init/service.rs",
    "init/service/ending.rs",
    "init/service/restart.rs",
    "init/service/vocabulary.rs",
    "init/shutdown.rs",
    "logd/asterisk_line.rs",
    "logd/evidence.rs",
    "logd/fold.rs",
    "logd/lines.rs",
    "logd/query.rs",
    "logd/queue.rs",
    "logd/ring.rs",
    "logd/severity.rs",
    "logd/style.rs",
    "logd/syslog.rs",
    "nat/choose.rs",
    "nat/follow.rs",
    "nat/routes.rs",
    "nat/stun.rs",
    "nat/surroundings.rs",
    "nat/text.rs",
    "nat/transports.rs",
    "phone.rs",
    "phone/diff.rs",
    "phone/plan.rs",
    "phone/qr.rs",
    "seed/plan.rs",
    "seed/secret.rs",
    "seed/volume.rs",
    "units.rs",
    "units/calendar.rs",
    "units/calendar/field.rs",
    "units/calendar/text.rs",
    "units/capability.rs",
    "units/condition.rs",
    "units/diff.rs",
    "units/directives.rs",
    "units/exit.rs",
    "units/expand.rs",
    "units/runit.rs",
    "units/service_file.rs",
    "units/set.rs",
    "units/signal.rs",
    "units/socket_file.rs",
    "units/spec.rs",
    "units/syntax.rs",
    "units/timer.rs",
    "units/timer_file.rs",
    "units/unit_file.rs",
    "units/value.rs",
    "web/address.rs",
    "web/retry_after.rs",
    "websms/agi.rs",
    "websms/api.rs",
    "websms/api/access.rs",
    "websms/api/attempts.rs",
    "websms/api/draft.rs",
    "websms/api/problem.rs",
    "websms/api/route.rs",
    "websms/body.rs",
    "websms/body/form.rs",
    "websms/body/json.rs",
    "websms/body/multipart.rs",
    "websms/body/query.rs",
    "websms/choose.rs",
    "websms/config.rs",
    "websms/config/check.rs",
    "websms/config/clients.rs",
    "websms/config/incoming.rs",
    "websms/config/interface.rs",
    "websms/config/keys.rs",
    "websms/config/outgoing.rs",
    "websms/config/secret.rs",
    "websms/config/sections.rs",
    "websms/config/values.rs",
    "websms/control.rs",
    "websms/daemon/phones/copies.rs",
    "websms/daemon/phones/lines.rs",
    "websms/daemon/phones/routes.rs",
    "websms/delivery.rs",
    "websms/delivery/answer.rs",
    "websms/delivery/incoming.rs",
    "websms/delivery/line.rs",
    "websms/delivery/outbox.rs",
    "websms/delivery/outgoing.rs",
    "websms/delivery/pace.rs",
    "websms/document.rs",
    "websms/door.rs",
    "websms/extract.rs",
    "websms/extract/check.rs",
    "websms/extract/decode.rs",
    "websms/extract/keys.rs",
    "websms/hep.rs",
    "websms/hook.rs",
    "websms/ini.rs",
    "websms/ini/value.rs",
    "websms/media.rs",
    "websms/message.rs",
    "websms/number.rs",
    "websms/outgoing.rs",
    "websms/outgoing/answer.rs",
    "websms/outgoing/authorization.rs",
    "websms/outgoing/keys.rs",
    "websms/outgoing/php.rs",
    "websms/outgoing/template.rs",
    "websms/outgoing/verdict.rs",
    "websms/path.rs",
    "websms/profile.rs",
    "websms/profiles.rs",
    "websms/request.rs",
    "websms/segments.rs",
    "websms/source.rs",
    "websms/trial.rs",
    "websms/verify.rs",
    "websms/verify/certificate.rs",
    "websms/verify/jwt.rs",
    "websms/verify/password.rs",
    "websms/verify/plivo.rs",
    "websms/verify/secret.rs",
    "websms/verify/sign.rs",
    "websms/verify/signed.rs",
    "websms/verify/sns.rs",
    "websms/verify/twilio.rs",
    "websms/verify/url.rs",
    "websms/verify/vonage.rs",
];

/// What a pure room may not name.
const FOREIGN: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::time::Instant",
    "SystemTime",
    "std::thread",
    "std::net::Tcp",
    "crate::sys",
    "nix::",
    "libc::",
    "tokio",
    "tracing",
    "println!",
    "eprintln!",
];

#[test]
fn pure_rooms_name_nothing_foreign() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in PURE {
        let text =
            std::fs::read_to_string(src.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            // `std::os::unix::` is no `nix::`.
            let line = line.replace("std::os::unix::", "");
            for foreign in FOREIGN {
                assert!(!line.contains(foreign), "{file} names {foreign}: {line}");
            }
        }
    }
}

#[test]
fn only_one_module_forks_signals_or_waits() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![src.clone()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            if path.ends_with("sys/process.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in [
                "process::Command",
                "fork(",
                "waitpid(",
                "waitid(",
                "libc::kill",
            ] {
                assert!(!text.contains(call), "{} names {call}", path.display());
            }
        }
    }
}
