//! What Asterisk's console and the kernel's tables say, as values.
//!
//! Pure: texts in. The forms are those of Asterisk 22.10.1. Invariant: a line of another form is passed over.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::evidence::{Contact, Modules};
use crate::asterisk::listeners::{Settings, is_true};
use crate::config::ports::Ports;

/// `rtp show settings`.
#[must_use]
pub fn ports(text: &str) -> Option<Ports> {
    let number = |name: &str| {
        let mut lines = text.lines().map(str::trim);
        lines
            .find_map(|line| line.strip_prefix(name))?
            .trim()
            .parse()
            .ok()
    };
    Some(Ports {
        first: number("Port start:")?,
        last: number("Port end:")?,
    })
}

/// `database show registrar/contact`: a key, and an object of JSON whose `uri` says where the phone is.
#[must_use]
pub fn contacts(text: &str) -> Vec<Contact> {
    let contact = |line: &str| {
        let (key, value) = line.split_once(": {")?;
        let account = key.trim().strip_prefix("/registrar/contact/")?;
        let value: serde_json::Value = serde_json::from_str(&format!("{{{}", value.trim())).ok()?;
        let uri = value.get("uri")?.as_str()?;
        let (_, host) = uri.rsplit_once('@').or_else(|| uri.split_once(':'))?;
        let host = host.split([';', '?', '>']).next()?;
        let address = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?.0,
            None => host.split(':').next()?,
        };
        Some(Contact {
            account: account.split([';', '^']).next()?.to_owned(),
            address: address.parse::<IpAddr>().ok()?,
        })
    };
    text.lines().filter_map(contact).collect()
}

/// `dialplan show`: the names of contexts.
#[must_use]
pub fn contexts(text: &str) -> Vec<String> {
    let context = |line: &str| {
        let rest = line.trim().strip_prefix("[ Context '")?;
        Some(rest.split_once('\'')?.0.to_owned())
    };
    text.lines().filter_map(context).collect()
}

/// `module show`, against `modules.conf` with its includes in place and the files that are installed.
#[must_use]
pub fn modules(shown: &str, conf: &str, installed: &[String]) -> Modules {
    let mut running = BTreeSet::new();
    let mut declined = BTreeSet::new();
    for line in shown.lines() {
        let Some(name) = line.split_whitespace().next() else {
            continue;
        };
        if !name.ends_with(".so") {
            continue;
        }
        match line.contains(" Not Running ") {
            true => declined.insert(name.to_owned()),
            false => running.insert(name.to_owned()),
        };
    }
    let settings = Settings::read(conf, "modules");
    let named = |keys: &[&str]| -> BTreeSet<String> {
        let names = settings.all(keys);
        names.map(file_name).collect()
    };
    let wanted = named(&["load", "preload", "require", "preload-require"]);
    let refused = named(&["noload"]);
    let wanted: Vec<String> = wanted.difference(&running).cloned().collect();
    let mut absent = Vec::new();
    if settings.last(&["autoload"]).is_some_and(is_true) {
        let is_absent = |name: &&String| {
            !running.contains(*name)
                && !declined.contains(*name)
                && !refused.contains(*name)
                && !wanted.contains(name)
        };
        absent.extend(installed.iter().filter(is_absent).cloned());
    }
    declined.retain(|name| !wanted.contains(name));
    Modules {
        wanted,
        absent,
        declined: declined.into_iter().collect(),
    }
}

/// Names may stand without `.so` (main/loader.c, `resource_name_match`).
fn file_name(name: &str) -> String {
    let name = name.trim();
    match name.ends_with(".so") {
        true => name.to_owned(),
        false => format!("{name}.so"),
    }
}

/// /proc/net/udp or udp6: port and user of each socket that takes packets of anybody.
#[must_use]
pub fn open_ports(text: &str) -> Vec<(u16, u32)> {
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = words.get(1)?.rsplit_once(':')?;
        let is_open = words.get(2)?.bytes().all(|b| b == b'0' || b == b':');
        let port = u16::from_str_radix(port, 16).ok()?;
        let uid = words.get(7)?.parse().ok()?;
        is_open.then_some((port, uid))
    };
    text.lines().skip(1).filter_map(socket).collect()
}

/// The soft limit of open files in /proc/PID/limits.
#[must_use]
pub fn open_files(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// What a process of /proc/PID/status has, and may pass on.
#[must_use]
pub fn capabilities(text: &str) -> Option<u64> {
    let set = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(value.trim(), 16).ok()
    };
    Some(set("CapEff:")? & set("CapBnd:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_understood() {
        let text = "General Settings:\n----\n  Port start:      10000\n  Port end:        10099\n";
        assert_eq!(ports(text).unwrap(), Ports::DEFAULT);
        assert_eq!(ports(""), None);
        let text = "[ Context 'dp_lookup' created by 'pbx_config' ]\n  '101' => hint: PJSIP/alice\n\n[ Context 'x' created by 'y' ]\n";
        assert_eq!(contexts(text), ["dp_lookup", "x"]);
    }

    #[test]
    fn phones_are_where_their_contacts_say() {
        let text = concat!(
            "/registrar/contact/alice;@0f1e2d  : {\"via_addr\":\"192.168.1.20\",\"uri\":\"sip:alice@172.17.0.1:5060;x-ast-orig-host=1.2.3.4:1\",\"path\":\"\"}\n",
            "/registrar/contact/bob;@aa: {\"uri\":\"sip:bob@[2001:db8::1]:5060;transport=TLS\"}\n",
            "/registrar/contact/carol;@bb: {\"uri\":\"sip:carol@phone.example.com\"}\n",
            "/registrar/contact/dave;@cc: {broken\n2 results found.\n"
        );
        let found: Vec<(String, String)> = contacts(text)
            .into_iter()
            .map(|contact| (contact.account, contact.address.to_string()))
            .collect();
        let expected = [("alice", "172.17.0.1"), ("bob", "2001:db8::1")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn modules_are_sorted_by_how_they_do() {
        let shown = "Module   Description  Use Count  Status      Support Level\n\
            acl      Named ACLs   2  Running  core\n\
            a.so     A            0          Running              core\n\
            b.so     B            0          Not Running          extended\n\
            2 modules loaded\n";
        let conf = "[modules]\nautoload = yes\nload = gone\nrequire = a.so\nnoload = d.so\n";
        let installed = ["a.so", "b.so", "c.so", "d.so"].map(str::to_owned);
        let found = modules(shown, conf, &installed);
        assert_eq!(found.wanted, ["gone.so"]);
        assert_eq!(found.absent, ["c.so"]);
        assert_eq!(found.declined, ["b.so"]);
        let found = modules(shown, "[modules]\nautoload=no\nload=b\n", &installed);
        assert_eq!(
            (found.wanted, found.absent.len(), found.declined.len()),
            (vec!["b.so".to_owned()], 0, 0)
        );
    }

    #[test]
    fn the_kernels_tables_are_understood() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n \
            1157: 0100007F:2364 00000000:0000 07 00000000:00000000 00:00000000 00000000  5063        0 1812713 2\n \
            1158: 0100007F:2365 0100007F:0001 07 00000000:00000000 00:00000000 00000000  5063        0 1812713 2\n";
        assert_eq!(open_ports(text), [(9060, 5063)]);
        let text = "Limit   Soft Limit  Hard Limit  Units\nMax open files            20000                30000                files\n";
        assert_eq!(open_files(text), Some(20_000));
        assert_eq!(
            capabilities("CapEff:\t00000000000011eb\nCapBnd:\t00000000000001eb\n"),
            Some(0x1eb)
        );
        assert_eq!(capabilities(""), None);
    }
}
