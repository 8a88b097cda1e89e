//! /srv: whether it lasts, has room, and can be used by those who must.
//!
//! Pure. Invariant: what is offered to be repaired changes who may use a file, and never what it holds.

use super::evidence::{Evidence, Need, Obstacle};
use super::{Answer, Finding, Fix, Severity};
use crate::seed::volume::Volume;

/// Below this the volume counts as full, as for health: 16 MiB.
const FULL: u64 = 16 << 20;
/// Below both of these it is told: a gigabyte, and a twentieth.
const SCARCE: u64 = 1 << 30;
/// So few more files can be made.
const FEW_FILES: u64 = 100;
/// The most files that are told one by one.
const MOST: usize = 20;

pub fn kind(evidence: &Evidence) -> Answer {
    let Some(volume) = &evidence.volume else {
        return Err("it was not looked at".to_owned());
    };
    let (severity, issue) = match volume {
        Volume::Named(_) | Volume::Bind(_) => return Ok(Vec::new()),
        Volume::Anonymous(_) => (
            Severity::Warning,
            "/srv is an anonymous volume: a new container does not find it again",
        ),
        Volume::Memory => (
            Severity::Error,
            "/srv is memory: configuration, voicemail and messages are lost at the next stop",
        ),
        Volume::ContainerLayer => (
            Severity::Error,
            "/srv is no volume: configuration, voicemail and messages are lost with this container",
        ),
    };
    Ok(vec![Finding::new(
        severity,
        issue,
        format!("/srv is {volume}"),
        "mount a named volume, as in `-v tele-conf:/srv`; copy what is there first: `docker cp CONTAINER:/srv .`",
    )])
}

pub fn disk(evidence: &Evidence) -> Answer {
    let Some(disk) = evidence.disk else {
        return Err("it was not looked at".to_owned());
    };
    let mut found = Vec::new();
    let room = format!(
        "{} MiB of {} MiB are free",
        disk.free >> 20,
        disk.total >> 20
    );
    let remedy = "free some room on the host's disk; in the volume voicemail and recordings are below /srv/var/spool/asterisk, and logs below /srv/var/log";
    if disk.free < FULL {
        found.push(Finding::new(
            Severity::Error,
            "/srv is full: no message, certificate or ban can be kept",
            room,
            remedy,
        ));
    } else if disk.free < SCARCE && disk.free < disk.total / 20 {
        found.push(Finding::new(
            Severity::Warning,
            "/srv is nearly full",
            room,
            remedy,
        ));
    }
    if disk.inodes > 0 && disk.inodes_free < FEW_FILES {
        found.push(Finding::new(
            Severity::Error,
            "/srv can take no more files, whatever their size",
            format!("{} of {} inodes are free", disk.inodes_free, disk.inodes),
            "remove small files that nobody needs, or make the file system with more inodes",
        ));
    }
    Ok(found)
}

pub fn permissions(evidence: &Evidence) -> Answer {
    let Some(obstacles) = &evidence.obstacles else {
        return Err("it was not looked at".to_owned());
    };
    let mut found: Vec<Finding> = obstacles.iter().take(MOST).map(obstacle).collect();
    if let (Some(rest @ 1..), Some(last)) = (obstacles.len().checked_sub(MOST), found.last_mut()) {
        last.evidence.push_str(&format!("; and {rest} more"));
    }
    Ok(found)
}

fn obstacle(one: &Obstacle) -> Finding {
    let (what, bits) = match one.need {
        Need::WriteDirectory => ("write to the directory", 0o700),
        Need::EnterDirectory => ("enter the directory", 0o700),
        Need::ReadFile => ("read the file", 0o600),
    };
    let fix = Fix::Own {
        path: one.path.clone(),
        uid: one.wanted_uid,
        gid: one.wanted_gid,
        bits,
    };
    Finding {
        fix: Some(fix),
        ..Finding::new(
            Severity::Error,
            format!("`{}` cannot {what} `{}`", one.account, one.path),
            format!(
                "it belongs to {}:{}, mode {:04o}, and `{}` is {}:{}",
                one.uid, one.gid, one.mode, one.account, one.wanted_uid, one.wanted_gid
            ),
            format!(
                "`switchhook doctor --fix`, or `chown {}:{} {}`",
                one.wanted_uid, one.wanted_gid, one.path
            ),
        )
    }
}

/// Whether somebody may do with a file what these bits say (4 to read, 2 to write, 1 to go through), by its mode alone.
#[must_use]
pub fn may(mode: u32, owner: (u32, u32), who: (u32, u32), bits: u32) -> bool {
    let shift = match (owner.0 == who.0, owner.1 == who.1) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    who.0 == 0 || (mode >> shift) & bits == bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::evidence::Disk;

    #[test]
    fn what_does_not_last_is_told() {
        let of = |volume| {
            let evidence = Evidence {
                volume: Some(volume),
                ..Evidence::default()
            };
            kind(&evidence).unwrap().pop().map(|one| one.severity)
        };
        assert_eq!(of(Volume::Named("x".to_owned())), None);
        assert_eq!(of(Volume::Bind("/x".to_owned())), None);
        assert_eq!(
            of(Volume::Anonymous("x".to_owned())),
            Some(Severity::Warning)
        );
        assert_eq!(of(Volume::Memory), Some(Severity::Error));
        assert_eq!(of(Volume::ContainerLayer), Some(Severity::Error));
    }

    #[test]
    fn room_and_files_are_told_apart() {
        let of = |free: u64, inodes_free| {
            let evidence = Evidence {
                disk: Some(Disk {
                    free: free << 20,
                    total: 40_000 << 20,
                    inodes_free,
                    inodes: 10_000,
                }),
                ..Evidence::default()
            };
            let found = disk(&evidence).unwrap();
            found.into_iter().map(|one| one.issue).collect::<Vec<_>>()
        };
        assert!(of(2000, 5000).is_empty());
        assert_eq!(of(900, 5000), ["/srv is nearly full"]);
        assert!(of(15, 5000)[0].contains("is full"));
        assert!(of(2000, 7)[0].contains("no more files"));
    }

    #[test]
    fn an_obstacle_offers_its_repair() {
        let one = Obstacle {
            path: "/srv/etc/asterisk/pjsip.conf".to_owned(),
            uid: 0,
            gid: 0,
            mode: 0o600,
            account: "asterisk".to_owned(),
            wanted_uid: 5060,
            wanted_gid: 5060,
            need: Need::ReadFile,
        };
        let evidence = Evidence {
            obstacles: Some(vec![one; 22]),
            ..Evidence::default()
        };
        let found = permissions(&evidence).unwrap();
        assert_eq!(found.len(), 20);
        assert!(found[19].evidence.ends_with("; and 2 more"));
        assert_eq!(
            found[0].fix.as_ref().unwrap().to_string(),
            "give `/srv/etc/asterisk/pjsip.conf` to user 5060 and group 5060, and add 0600 to its mode"
        );
    }

    #[test]
    fn who_may_is_said_by_the_first_that_fits() {
        let asterisk = (5060, 5060);
        assert!(may(0o640, (5060, 0), asterisk, 4) && may(0o640, (0, 5060), asterisk, 4));
        assert!(!may(0o640, (0, 0), asterisk, 4) && may(0o644, (0, 0), asterisk, 4));
        // The owner is not helped by what others may.
        assert!(!may(0o044, (5060, 5060), asterisk, 4));
        assert!(may(0, (1, 1), (0, 0), 7));
    }
}
