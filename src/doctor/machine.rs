//! What the container was given: rights, limits, clock and time zone.
//!
//! Pure. Invariant: each right that is missing is told with what it is for.

use super::evidence::Evidence;
use super::{Answer, Finding, Severity};

/// The rights that the demo gives: bit (linux/capability.h), name, what does not work without it, and how bad that is.
const CAPABILITIES: [(u32, &str, &str, Severity); 8] = [
    (
        0,
        "CHOWN",
        "services cannot be given their directories on the volume",
        Severity::Error,
    ),
    (
        1,
        "DAC_OVERRIDE",
        "files on the volume that belong to services cannot be read and mended",
        Severity::Error,
    ),
    (
        3,
        "FOWNER",
        "modes of such files cannot be set",
        Severity::Error,
    ),
    (
        5,
        "KILL",
        "services that run as other users cannot be stopped",
        Severity::Error,
    ),
    (
        6,
        "SETGID",
        "services cannot get their groups",
        Severity::Error,
    ),
    (
        7,
        "SETUID",
        "services cannot become their users",
        Severity::Error,
    ),
    (
        8,
        "SETPCAP",
        "services keep rights that they should give up",
        Severity::Warning,
    ),
    (
        12,
        "NET_ADMIN",
        "AutoBan cannot let the kernel drop packets; it bans by Asterisk's own list, which costs more and hides less",
        Severity::Warning,
    ),
];

/// A process needs some files for each call.
const FEWEST: u64 = 4096;
/// Above this a program that walks over all descriptors takes minutes.
const MOST: u64 = 1 << 20;
/// The program may have been built on a machine whose clock is a little ahead.
const DAY: i64 = 86_400;

pub fn capabilities(evidence: &Evidence) -> Answer {
    let Some(held) = evidence.capabilities else {
        return Err("PID 1 cannot be looked at".to_owned());
    };
    let missing = CAPABILITIES
        .iter()
        .filter(|(bit, ..)| held & (1 << bit) == 0);
    let present = CAPABILITIES
        .iter()
        .filter(|(bit, ..)| held & (1 << bit) != 0);
    let present: Vec<&str> = present.map(|(_, name, ..)| *name).collect();
    let seen = match present.as_slice() {
        [] => "PID 1 holds none of those that the demo gives".to_owned(),
        some => format!(
            "of those that the demo gives, PID 1 holds {}",
            some.join(", ")
        ),
    };
    let found = missing.map(|(_, name, what, severity)| {
        Finding::new(
            *severity,
            format!("the container has no {name}: {what}"),
            seen.clone(),
            format!("`cap_add: [{name}]`, or `--cap-add={name}`"),
        )
    });
    Ok(found.collect())
}

pub fn descriptors(evidence: &Evidence) -> Answer {
    if evidence.limits.is_empty() {
        return Err("no process can be looked at".to_owned());
    }
    let mut found = Vec::new();
    for limit in &evidence.limits {
        let seen = format!("{} may open {} files", limit.who, limit.soft);
        if limit.soft < FEWEST {
            found.push(Finding::new(
                Severity::Warning,
                "few files may be open: each call takes some, and without any left Asterisk spins",
                seen,
                "`ulimits: nofile: 16384` in the compose file, or `--ulimit nofile=16384`",
            ));
        } else if limit.soft > MOST {
            found.push(Finding::new(
                Severity::Warning,
                "so many files may be open that programs which walk over all of them take minutes to start",
                seen,
                "`ulimits: nofile: 16384` in the compose file, or LimitNOFILE= in the unit",
            ));
        }
    }
    // It is one cause, and PID 1, whose children inherit it, comes first.
    found.truncate(1);
    Ok(found)
}

pub fn clock(evidence: &Evidence) -> Answer {
    let Some((now, built)) = evidence.clock else {
        return Err("the program's age is not known".to_owned());
    };
    if now >= built.saturating_sub(DAY) {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::new(
        Severity::Error,
        "the clock is wrong: certificates seem not to be valid yet, and call records bear wrong times",
        format!(
            "it stands {} days before this program was built",
            (built - now) / DAY
        ),
        "set the host's clock (NTP); a container has none of its own",
    )])
}

pub fn zone(evidence: &Evidence) -> Answer {
    let Some(zone) = &evidence.zone else {
        return Ok(Vec::new());
    };
    if zone.has_file || is_rule(&zone.name) {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::new(
        Severity::Warning,
        format!(
            "the time zone `{}` is not known, so that times are in UTC",
            zone.name
        ),
        format!(
            "TZ={}, and there is no /usr/share/zoneinfo/{}",
            zone.name, zone.name
        ),
        "name it as in `TZ=Europe/Stockholm`",
    )])
}

/// A zone that says itself how it is, as `CET-1CEST` or `<+03>-3` (tzset(3)).
fn is_rule(text: &str) -> bool {
    let text = text.strip_prefix(':').unwrap_or(text);
    let (name, rest) = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').unwrap_or_default(),
        None => {
            let end = text.find(|c: char| !c.is_ascii_alphabetic());
            text.split_at(end.unwrap_or(text.len()))
        }
    };
    let offset = rest.trim_start_matches(['+', '-']);
    name.len() >= 3 && offset.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::evidence::{Limit, Zone};

    #[test]
    fn each_missing_right_is_named() {
        let mut evidence = Evidence::default();
        assert!(capabilities(&evidence).is_err());
        // What the demo gives, and more.
        evidence.capabilities = Some(0x11eb | 1 << 21);
        assert!(capabilities(&evidence).unwrap().is_empty());
        evidence.capabilities = Some(0x01eb);
        let found = capabilities(&evidence).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].issue.contains("NET_ADMIN") && found[0].severity == Severity::Warning);
        assert!(found[0].evidence.ends_with("SETUID, SETPCAP"));
    }

    #[test]
    fn the_limit_of_open_files_can_be_too_low_and_too_high() {
        let of = |soft: &[u64]| {
            let limit = |soft: &u64| Limit {
                who: "PID 1".to_owned(),
                soft: *soft,
            };
            let evidence = Evidence {
                limits: soft.iter().map(limit).collect(),
                ..Evidence::default()
            };
            descriptors(&evidence)
        };
        assert!(of(&[]).is_err());
        assert!(of(&[16_384, 65_536, 1 << 20]).unwrap().is_empty());
        assert!(of(&[1024, 1024]).unwrap()[0].issue.contains("few files"));
        assert!(
            of(&[1 << 30, 65_536]).unwrap()[0]
                .issue
                .contains("take minutes")
        );
    }

    #[test]
    fn a_clock_before_the_program_is_wrong() {
        let of = |now| {
            let evidence = Evidence {
                clock: Some((now, 1_000 * DAY)),
                ..Evidence::default()
            };
            clock(&evidence).unwrap()
        };
        assert!(of(1_000 * DAY - 3600).is_empty() && of(2_000 * DAY).is_empty());
        assert!(of(990 * DAY)[0].evidence.contains("10 days before"));
    }

    #[test]
    fn a_zone_has_a_file_or_a_rule() {
        let of = |name: &str, has_file| {
            let evidence = Evidence {
                zone: Some(Zone {
                    name: name.to_owned(),
                    has_file,
                }),
                ..Evidence::default()
            };
            zone(&evidence).unwrap().len()
        };
        assert_eq!(of("Europe/Stockholm", true), 0);
        for rule in ["CET-1CEST,M3.5.0,M10.5.0/3", "UTC0", "<+03>-3", ":EST5EDT"] {
            assert_eq!(of(rule, false), 0, "{rule}");
        }
        for wrong in ["Europe/Nowhere", "Stockholm", "CE-1", "CET-"] {
            assert_eq!(of(wrong, false), 1, "{wrong}");
        }
    }
}
