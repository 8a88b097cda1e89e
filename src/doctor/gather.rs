//! Looks at everything that the checks want to know.
//!
//! It judges nothing, and changes nothing. Invariant: it ends within some ten seconds, whatever does not answer, and what
//! cannot be seen is left out.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::evidence::{
    Disk, Evidence, Files, Limit, Need, Obstacle, Pbx, Reach, Tls, Unresolved, Zone,
};
use super::{configuration, console, volume};
use crate::asterisk::control;
use crate::asterisk::generate;
use crate::asterisk::generate::includes::Includes;
use crate::config;
use crate::config::accounts::Account;
use crate::config::external::{External, Known, can_be_reached};
use crate::config::paths::Paths;
use crate::init::control::{Reply, Request, ServiceStatus, ask};
use crate::nat::transports::{rtp_ports, transports};
use crate::nat::{ask as stun, daemon, look};
use crate::seed::plan::{Owner, PLACES};
use crate::seed::volume::classify;
use crate::sys::clock::unix_now;
use crate::sys::{account, environment};

/// How long the PBX, PID 1 and the keeper may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most names that are looked up, all at once.
const MOST_NAMES: usize = 32;

/// The files that Asterisk's modules read by name; others are read only where one of these includes them.
const FILES: [&str; 22] = [
    "acl.conf",
    "ari.conf",
    "asterisk.conf",
    "ccss.conf",
    "cdr.conf",
    "cel.conf",
    "cli_aliases.conf",
    "extensions.conf",
    "features.conf",
    "hep.conf",
    "http.conf",
    "indications.conf",
    "logger.conf",
    "manager.conf",
    "minivm.conf",
    "modules.conf",
    "musiconhold.conf",
    "pjproject.conf",
    "pjsip.conf",
    "pjsip_notify.conf",
    "pjsip_wizard.conf",
    "rtp.conf",
];

/// Gathers all; `is_offline` leaves out what is asked of others over the network.
#[must_use]
pub fn gather(paths: &Paths, is_offline: bool) -> Evidence {
    let around = look::surroundings();
    let mut evidence = Evidence::default();
    match config::read(&environment::all()) {
        Err(mistakes) => evidence.mistakes = mistakes.iter().map(ToString::to_string).collect(),
        Ok(config) => {
            let reach = &config.reach;
            let ask = || daemon::by_stun(&reach.stun_servers, Known::default(), &around);
            let named = match &reach.external {
                Some(External::Name(name)) if !is_offline => Some(addresses(name)),
                _ => None,
            };
            evidence.reach = Reach {
                external: reach.external.clone(),
                stun: (!is_offline).then(ask),
                named,
                ports: Some(reach.rtp_ports),
                ports_given: reach.rtp_ports_given,
            };
        }
    }
    evidence.around = around;
    evidence.files = files(paths, is_offline);
    evidence.pbx = pbx(paths);
    evidence.tls = tls(paths);
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo");
    let at = paths.volume();
    evidence.volume = mountinfo
        .ok()
        .map(|text| classify(&text, &at.to_string_lossy()));
    evidence.disk = disk(&at);
    evidence.obstacles = obstacles(paths, &evidence.files);
    let status = std::fs::read_to_string("/proc/1/status").unwrap_or_default();
    evidence.capabilities = console::capabilities(&status);
    let services = match ask(&paths.control_socket(), &Request::Status, PATIENCE) {
        Ok(Reply::Status(status)) => status.services,
        Ok(_) => Vec::new(),
        Err(error) => {
            evidence.no_init = Some(error.to_string().replace("\nhint: ", "; "));
            Vec::new()
        }
    };
    evidence.limits = limits(&services);
    evidence.clock = built().map(|built| (unix_now(), built));
    evidence.zone = zone(paths);
    evidence
}

/// The addresses of a name, one of each family.
fn addresses(name: &str) -> Result<Known, String> {
    let found = stun::resolve(name)?;
    let found = found.into_iter().rev().filter(|one| can_be_reached(*one));
    let known = found.fold(Known::default(), Known::with);
    match known.is_empty() {
        true => Err("it has no address that others can reach".to_owned()),
        false => Ok(known),
    }
}

fn files(paths: &Paths, is_offline: bool) -> Files {
    let home = paths.asterisk_config();
    let mut files = Files::default();
    for name in FILES {
        let survey = Includes::at(paths, &home).survey(name);
        for (name, text) in survey.files {
            if !files.texts.iter().any(|(known, _)| *known == name) {
                files.texts.push((name, text));
            }
        }
        for included in survey.includes {
            if !files.includes.contains(&included) {
                files.includes.push(included);
            }
        }
    }
    let read = |name: &str| Includes::at(paths, &home).read(name);
    let pjsip = read("pjsip.conf").unwrap_or_default();
    files.transports = Some(transports(&pjsip)).filter(|found| !found.is_empty());
    files.ports = read("rtp.conf").and_then(|text| rtp_ports(&text));
    if !is_offline {
        files.unresolved = Some(unresolved(&files));
    }
    files
}

/// Every name of pjsip's files that has no address, wherever it stands.
fn unresolved(files: &Files) -> Vec<Unresolved> {
    let texts = files
        .texts
        .iter()
        .filter(|(name, _)| name.starts_with("pjsip"));
    let places: Vec<(&String, usize, String, String)> = texts
        .flat_map(|(file, text)| {
            let hosts = configuration::hosts(text).into_iter();
            hosts.map(move |(line, key, name)| (file, line, key, name))
        })
        .collect();
    let mut threads = BTreeMap::new();
    for (_, _, _, name) in &places {
        if threads.len() < MOST_NAMES && !threads.contains_key(name) {
            let asked = name.clone();
            let thread = std::thread::spawn(move || stun::resolve(&asked).err());
            threads.insert(name.clone(), thread);
        }
    }
    let why: BTreeMap<String, String> = threads
        .into_iter()
        .filter_map(|(name, thread)| Some((name, thread.join().ok()??)))
        .collect();
    let missing = places.into_iter().filter_map(|(file, line, key, name)| {
        Some(Unresolved {
            file: file.clone(),
            line,
            key,
            why: why.get(&name)?.clone(),
            name,
        })
    });
    missing.collect()
}

fn pbx(paths: &Paths) -> Pbx {
    let at = paths.asterisk_control();
    let run = |command: &str| control::run(&at, command, PATIENCE);
    let mut pbx = Pbx {
        foreign_ports: foreign_ports(paths),
        ..Pbx::default()
    };
    if let Err(error) = run("core show uptime") {
        pbx.answers = Some(Err(error.to_string()));
        return pbx;
    }
    pbx.answers = Some(Ok(()));
    pbx.ports = run("rtp show settings")
        .ok()
        .and_then(|text| console::ports(&text));
    pbx.contacts = run("database show registrar/contact")
        .ok()
        .map(|text| console::contacts(&text));
    pbx.contexts = run("dialplan show")
        .ok()
        .map(|text| console::contexts(&text));
    let conf = Includes::at(paths, &paths.asterisk_config()).read("modules.conf");
    if let (Ok(shown), Some(conf)) = (run("module show"), conf) {
        pbx.modules = Some(console::modules(&shown, &conf, &installed(paths)));
    }
    pbx
}

fn installed(paths: &Paths) -> Vec<String> {
    let directory = paths.at("usr/lib").join(paths.pbx().name()).join("modules");
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".so")).collect();
    names.sort();
    names
}

/// Sockets of everybody but the PBX.
fn foreign_ports(paths: &Paths) -> Vec<(u16, u32)> {
    let own = pbx_account(paths).map(|account| account.uid);
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut all = console::open_ports(&text("/proc/net/udp"));
    all.extend(console::open_ports(&text("/proc/net/udp6")));
    all.retain(|(_, uid)| Some(*uid) != own);
    all
}

fn pbx_account(paths: &Paths) -> Option<Account> {
    let name = generate::account(paths.pbx())?;
    account::user(name).ok().flatten()
}

#[cfg(feature = "services")]
fn tls(paths: &Paths) -> Option<Result<Tls, String>> {
    use crate::certs::control::{Reply, Request};
    use crate::certs::report::Level;

    let answer = match crate::certs::daemon::ask(paths, Request::Show, PATIENCE) {
        Ok(Reply::Report(report)) => Ok(Tls {
            is_critical: report.level == Level::Critical,
            problems: report.problems,
        }),
        Ok(Reply::Refused { reason }) => Err(reason),
        Err(error) => Err(format!("nobody answers at its socket: {error}")),
    };
    Some(answer)
}

#[cfg(not(feature = "services"))]
fn tls(_paths: &Paths) -> Option<Result<Tls, String>> {
    None
}

fn disk(at: &Path) -> Option<Disk> {
    let found = nix::sys::statvfs::statvfs(at).ok()?;
    Some(Disk {
        free: found
            .blocks_available()
            .saturating_mul(found.fragment_size()),
        total: found.blocks().saturating_mul(found.fragment_size()),
        inodes_free: found.files_available(),
        inodes: found.files(),
    })
}

/// Directories that their services cannot write to, and files that the PBX cannot read. Links are passed over: where they
/// lead, somebody else may have said.
fn obstacles(paths: &Paths, files: &Files) -> Option<Vec<Obstacle>> {
    let pbx = pbx_account(paths)?;
    let name = generate::account(paths.pbx())?;
    let mut found = Vec::new();
    for place in PLACES {
        let owner = match place.owner {
            Owner::Asterisk => Some((name, pbx.clone())),
            Owner::Log => service_account("log"),
            Owner::Autoban => service_account("autoban"),
            Owner::Websms => service_account("websms"),
            _ => None,
        };
        let Some((name, owner)) = owner else {
            continue;
        };
        let path = paths.volume().join(paths.pbx().rename(place.path));
        // Its configuration and its keys it reads; the keeper of certificates takes the latter to itself.
        let need = match place.path.starts_with("etc/") {
            true => Need::EnterDirectory,
            false => Need::WriteDirectory,
        };
        found.extend(obstacle(&path, name, &owner, need));
    }
    let home = paths.asterisk_config();
    for (file, _) in &files.texts {
        found.extend(obstacle(&home.join(file), name, &pbx, Need::ReadFile));
    }
    Some(found)
}

fn service_account(name: &'static str) -> Option<(&'static str, Account)> {
    let account = account::user(name).ok().flatten()?;
    Some((name, account))
}

fn obstacle(path: &Path, name: &str, who: &Account, need: Need) -> Option<Obstacle> {
    let meta = path.symlink_metadata().ok()?;
    if meta.is_symlink() {
        return None;
    }
    let owner = (meta.uid(), meta.gid());
    let bits = match need {
        Need::ReadFile => 4,
        Need::EnterDirectory => 5,
        Need::WriteDirectory => 7,
    };
    let is_free = volume::may(meta.mode(), owner, (who.uid, who.gid), bits);
    (!is_free).then(|| Obstacle {
        path: path.display().to_string(),
        uid: owner.0,
        gid: owner.1,
        mode: meta.mode() & 0o7777,
        account: name.to_owned(),
        wanted_uid: who.uid,
        wanted_gid: who.gid,
        need,
    })
}

/// Of PID 1 and the services, those first that pass theirs on.
fn limits(services: &[ServiceStatus]) -> Vec<Limit> {
    let mut all = vec![("PID 1".to_owned(), 1)];
    let pids = services
        .iter()
        .filter_map(|one| Some((one.name.clone(), one.pid?)));
    all.extend(pids);
    let limit = |(who, pid): (String, i32)| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        Some(Limit {
            who,
            soft: console::open_files(&text)?,
        })
    };
    all.into_iter().filter_map(limit).collect()
}

/// When this program was made, by its file.
fn built() -> Option<i64> {
    let program = std::env::current_exe().ok()?;
    Some(program.metadata().ok()?.mtime())
}

fn zone(paths: &Paths) -> Option<Zone> {
    let name = std::env::var("TZ").ok().filter(|name| !name.is_empty())?;
    let plain = name.strip_prefix(':').unwrap_or(&name);
    let file = match plain.starts_with('/') {
        true => paths.at(plain),
        false => paths.at("usr/share/zoneinfo").join(plain),
    };
    Some(Zone {
        has_file: file.is_file(),
        name,
    })
}
