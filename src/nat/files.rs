//! The files that the PBX includes, and the unit of the service that follows an address which may change.
//!
//! They lie in memory and are made anew at each start. Invariant: a file is whole or as it was before, and none of them is a
//! user's.

use std::os::unix::fs::chown;
use std::path::Path;

use super::surroundings::{Mode, Surroundings};
use super::text;
use super::transports::{rtp_ports, transports};
use crate::asterisk::generate::includes::Includes;
use crate::config::Reach;
use crate::config::accounts::Account;
use crate::config::external::{External, Known};
use crate::config::paths::Paths;
use crate::config::ports::Ports;
use crate::sys::file::{Owner, write_unsynced};

/// More ports than this are not published one by one.
const MOST_BRIDGED: u32 = 1000;

/// The name of the unit.
pub const UNIT: &str = "nat.service";

/// A range that cannot be published from here, with its hint.
///
/// # Errors
/// If it is too large for a bridge.
pub fn check_ports(ports: Ports, mode: &Mode) -> Result<(), String> {
    if !mode.is_bridge() || ports.count() <= MOST_BRIDGED {
        return Ok(());
    }
    Err(format!(
        "SWITCHHOOK_RTP_PORTS={ports} has {} ports, and {mode}; there the engine starts a process for each port that is published\n\
         hint: {MOST_BRIDGED} ports are enough for {} calls; for more run in the host's network (`network_mode: host`)",
        ports.count(),
        MOST_BRIDGED / 4
    ))
}

/// Writes what is known before the PBX starts.
///
/// # Errors
/// With the path that cannot be written.
pub fn prepare(
    paths: &Paths,
    reach: &Reach,
    around: &Surroundings,
    account: Option<&Account>,
) -> Result<(), String> {
    let directory = paths.nat();
    std::fs::create_dir_all(&directory)
        .map_err(|e| format!("cannot make `{}`: {e}", directory.display()))?;
    if let Some(account) = account {
        // The service that follows an address is no root.
        chown(&directory, Some(account.uid), Some(account.gid))
            .map_err(|e| format!("cannot give `{}` away: {e}", directory.display()))?;
    }
    write(&paths.at(text::RTP), &text::ports(reach.rtp_ports))?;
    match &reach.external {
        None => addresses(paths, Known::default(), around),
        Some(External::Addresses(known)) => addresses(paths, *known, around),
        // What was found before a restart holds until it is found anew.
        Some(External::Auto | External::Name(_)) => Ok(()),
    }
}

/// Writes the addresses of both families.
///
/// # Errors
/// With the path that cannot be written.
pub fn addresses(paths: &Paths, outside: Known, around: &Surroundings) -> Result<(), String> {
    for (name, text) in text::addresses(outside, around) {
        write(&paths.at(name), &text)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let owner = Owner::Keep {
        new_file_mode: 0o644,
    };
    write_unsynced(path, text.as_bytes(), owner).map_err(|e| e.to_string())
}

/// The unit of the service, where there is something to follow. `account` is the PBX's.
#[must_use]
pub fn unit(reach: &Reach, account: &str) -> Option<String> {
    matches!(reach.external, Some(External::Auto | External::Name(_))).then(|| {
        format!(
            "# Made at each start from SWITCHHOOK_EXTERNAL_ADDRESS; a file of the same name in /srv/etc/units replaces it.\n\
             [Unit]\nDescription=address outside\nAfter=logd.service\n\
             [Service]\nType=notify\nExecStart=/usr/bin/switchhook natd\nExecReload=/bin/kill -HUP $MAINPID\n\
             User={account}\nGroup={account}\nNoNewPrivileges=yes\nUMask=0022\nRestart=always\nTimeoutStopSec=5\nLimitCORE=0\n"
        )
    })
}

/// What the user's files say otherwise: they come first, and so the variable does not hold.
#[must_use]
pub fn conflicts(paths: &Paths, reach: &Reach) -> Vec<String> {
    let home = paths.asterisk_config();
    let read = |name: &str| Includes::at(paths, &home).read(name);
    let mut found = Vec::new();
    if reach.rtp_ports_given
        && let Some(text) = read("rtp.conf")
        && rtp_ports(&text) != Some(reach.rtp_ports)
    {
        found.push(format!(
            "rtp.conf has ports of its own, so that SWITCHHOOK_RTP_PORTS={} does not hold\n\
             hint: put `#tryinclude {}` in their place",
            reach.rtp_ports,
            text::RTP
        ));
    }
    if reach.external.is_some()
        && let Some(text) = read("pjsip.conf")
    {
        let transports = transports(&text);
        let includes = |name: &str| mentions(paths, name);
        let own = transports.iter().any(|transport| transport.media.is_some());
        if !transports.is_empty() && !own && !includes(text::IPV4) && !includes(text::IPV6) {
            found.push(format!(
                "no transport takes the address outside, so that SWITCHHOOK_EXTERNAL_ADDRESS does not hold\n\
                 hint: put `#tryinclude {}` into the transports of pjsip_transport.conf, and {} into those of IPv6",
                text::IPV4,
                text::IPV6
            ));
        }
    }
    found
}

/// Whether a file that PJSIP reads names this one.
fn mentions(paths: &Paths, name: &str) -> bool {
    let home = paths.asterisk_config();
    let survey = Includes::at(paths, &home).survey("pjsip.conf");
    survey
        .includes
        .iter()
        .any(|included| included.argument == name)
}
