//! What each process may do: read from the kernel, in a container with the demo's rights.

use std::collections::HashMap;

use crate::docker::Volume;
use crate::exchange::{Exchange, Recipe, granted_capabilities};

/// Bits of capabilities(7).
const CAPABILITIES: &[(&str, u32)] = &[
    ("CHOWN", 0),
    ("DAC_OVERRIDE", 1),
    ("FOWNER", 3),
    ("KILL", 5),
    ("SETGID", 6),
    ("SETUID", 7),
    ("SETPCAP", 8),
    ("NET_ADMIN", 12),
];

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

/// The fields of /proc/PID/status.
fn status_of(exchange: &Exchange, pid: i64) -> HashMap<String, String> {
    let text = exchange.shell(&format!("cat /proc/{pid}/status"));
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim().replace('\t', " ")))
        .collect()
}

fn assert_confined(exchange: &Exchange, service: &str, id: &str) {
    let status = status_of(exchange, exchange.pid_of(service).unwrap());
    let all_four = [id; 4].join(" ");
    assert_eq!(status["Uid"], all_four, "{service}");
    assert_eq!(status["Gid"], all_four, "{service}");
    assert!(
        !status["Groups"].split(' ').any(|group| group == "0"),
        "{service} is in root's group"
    );
    for set in SETS {
        assert_eq!(status[set], "0000000000000000", "{service}: {set}");
    }
    assert_eq!(status["NoNewPrivs"], "1", "{service}");
    assert_eq!(status["SigBlk"], "0000000000000000", "{service}");
}

#[test]
fn every_process_holds_what_is_documented_and_no_more() {
    let volume = Volume::new();
    let exchange = Recipe::of("mini").volume(&volume).start();
    assert_confined(&exchange, "asterisk", "5060");
    assert_confined(&exchange, "logd", "5061");
    let bits = granted_capabilities().into_iter().map(|name| {
        let known = CAPABILITIES.iter().find(|(known, _)| *known == name);
        known.unwrap_or_else(|| panic!("which bit is {name}?")).1
    });
    let granted = format!("{:016x}", bits.fold(0u64, |sum, bit| sum | 1 << bit));
    let init = status_of(&exchange, 1);
    assert_eq!(init["Uid"], "0 0 0 0");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(init[set], granted, "PID 1: {set}");
    }
    assert_eq!(init["NoNewPrivs"], "1");
}

#[test]
fn only_the_volume_and_memory_are_written() {
    let volume = Volume::new();
    let exchange = Recipe::of("mini").volume(&volume).start();
    for place in ["/", "/etc", "/usr/bin", "/var/lib", "/opt"] {
        let written = exchange.exec(&["/bin/sh", "-c", &format!("echo > {place}/written")]);
        assert_ne!(written.code, 0, "{place} can be written");
    }
    for place in ["/srv", "/run", "/tmp"] {
        exchange.shell(&format!("echo > {place}/written"));
    }
    // What Asterisk keeps is on the volume, wherever it thinks that it writes.
    exchange.keep("key", "value");
    assert_eq!(
        exchange.shell("readlink -f /var/lib/asterisk"),
        "/srv/var/lib/asterisk"
    );
    exchange.shell("test -s /srv/var/lib/asterisk/astdb.sqlite3");
}
