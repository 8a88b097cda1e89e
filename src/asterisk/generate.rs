//! Writes the units that follow from the PBX's own configuration: its sockets, and what its program can do.
//!
//! To be run before the units are read. It reads what a user wrote, so every file is plain and bounded, and includes
//! end. Invariant: after a run the directory of generated units holds this run's units and nothing else.

pub mod includes;

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::arrange;
use super::listeners::{self, Plan, Settings, Texts, World};
use crate::config::paths::Paths;
use crate::config::pbx::Pbx;
use crate::sys::file::{Owner, write_unsynced};
use includes::{Includes, read_plain};

/// The longest program that is searched for what it can do.
const LONGEST_PROGRAM: u64 = 256 << 20;

/// What came of it.
#[derive(Debug, Default)]
pub struct Generated {
    /// One line on what holds for the PBX; empty where there is no PBX.
    pub promises: String,
    /// What could not be held, and why.
    pub notes: Vec<String>,
    /// What the PBX is shown in place of what its configuration names, and why.
    pub arranged: Vec<String>,
}

/// What the PBX's program can do with a supervisor, by the names in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Abilities {
    /// It says itself when it is ready.
    notifies: bool,
    /// It takes listeners that are passed to it.
    takes_sockets: bool,
}

/// Writes the generated units for `pbx`; what cannot be written is an error with its path.
pub fn generate(paths: &Paths, pbx: Pbx) -> Result<Generated, String> {
    let directory = paths.generated_units();
    match std::fs::remove_dir_all(&directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("cannot empty `{}`: {e}", directory.display()));
        }
        _ => {}
    }
    let mut units = Vec::new();
    let mut generated = Generated::default();
    if pbx != Pbx::default() {
        units.extend(renamed_units(paths, pbx)?);
    }
    let abilities = abilities(&paths.at(&pbx.program()));
    if let Some(abilities) = abilities
        && !abilities.notifies
    {
        let name = format!("{}.service.d/90-readiness.conf", pbx.name());
        let text = "# The program never says that it is ready.\n[Service]\nType=exec\n";
        units.push((name, text.to_owned()));
    }
    let (etc, texts) = read_texts(paths, pbx);
    if let Some(texts) = &texts
        && abilities.is_some()
    {
        let arranged =
            arrange::arrange(paths, pbx, &etc, texts.main.as_deref(), &paths.arranged())?;
        if let Some(text) = arranged.drop_in {
            units.push((
                format!("{}.service.d/10-directories.conf", pbx.name()),
                text,
            ));
        }
        generated.arranged = arranged.notes;
        if !arranged.left_out.is_empty() {
            generated.arranged.push(format!(
                "{} modules that modules.conf does not name and that could only report errors are not loaded; `switchhook migrate --dry-run` names them",
                arranged.left_out.len()
            ));
        }
    }
    let mut plan = Plan::default();
    if let Some(texts) = &texts {
        plan = plan_below(paths, pbx, texts);
    }
    if abilities.is_some_and(|abilities| !abilities.takes_sockets) {
        plan = Plan::default();
    }
    let account = account(pbx);
    for socket in &plan.sockets {
        let name = format!("{}-{}.socket", pbx.name(), socket.what);
        units.push((name, listeners::unit_text(socket, pbx, account)));
    }
    for (name, text) in &units {
        write(&directory.join(name), text)?;
    }
    if let Some(abilities) = abilities {
        generated.promises = promises(pbx, abilities, &plan);
    }
    generated.notes = plan.notes;
    Ok(generated)
}

/// Writes one more unit beside them, of a service whose socket depends on the environment.
pub fn add(paths: &Paths, name: &str, text: &str) -> Result<(), String> {
    write(&paths.generated_units().join(name), text)
}

/// Writes a file of ours that lies in memory.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .map_err(|e| format!("cannot make `{}`: {e}", parent.display()))?;
    }
    let owner = Owner::Keep {
        new_file_mode: 0o644,
    };
    // It lies in memory and is made anew at each start.
    write_unsynced(path, text.as_bytes(), owner).map_err(|e| e.to_string())
}

fn promises(pbx: Pbx, abilities: Abilities, plan: &Plan) -> String {
    let title = pbx.title();
    let ready = if abilities.notifies {
        "says itself when it is ready"
    } else {
        "cannot say when it is ready, so it counts as ready when its program runs"
    };
    if !abilities.takes_sockets {
        return format!(
            "{title} {ready}, and takes no sockets: clients are refused while it restarts"
        );
    }
    let held: Vec<String> = plan
        .sockets
        .iter()
        .map(|socket| format!("{} ({})", socket.listen, socket.what))
        .collect();
    if held.is_empty() {
        return format!("{title} {ready}; none of its sockets is held over its restarts");
    }
    format!(
        "{title} {ready}; held over its restarts: {}",
        held.join(", ")
    )
}

/// The image's unit of Asterisk in another PBX's names, and an empty file that switches Asterisk's off.
fn renamed_units(paths: &Paths, pbx: Pbx) -> Result<Vec<(String, String)>, String> {
    let first = Pbx::default();
    let [image, _, volume] = paths.units();
    let unit = |pbx: Pbx| format!("{}.service", pbx.name());
    let mut units = vec![(unit(first), String::new())];
    // Somebody's own unit of that name is whole; ours would only say the same at another place.
    if !volume.join(unit(pbx)).exists() {
        let template = image.join(unit(first));
        let text = read_plain(&template)
            .map_err(|e| format!("cannot read `{}`: {e}", template.display()))?;
        let mut text = pbx.rename(&text);
        if let Some(account) = account(pbx)
            && account != pbx.name()
        {
            for key in ["User", "Group"] {
                let (ours, theirs) = (
                    format!("{key}={}\n", pbx.name()),
                    format!("{key}={account}\n"),
                );
                text = text.replace(&ours, &theirs);
            }
        }
        units.push((unit(pbx), text));
    }
    Ok(units)
}

/// The account of the PBX's name, else Asterisk's, which the image has.
fn account(pbx: Pbx) -> Option<&'static str> {
    let exists = |name: &&str| matches!(crate::sys::account::user(name), Ok(Some(_)));
    [pbx.name(), Pbx::default().name()].into_iter().find(exists)
}

/// `None` when there is no such program.
fn abilities(program: &Path) -> Option<Abilities> {
    let meta = std::fs::metadata(program)
        .ok()
        .filter(std::fs::Metadata::is_file)?;
    if meta.len() > LONGEST_PROGRAM {
        return None;
    }
    let mut file = std::fs::File::open(program).ok()?;
    // A script may do anything with its environment: it gets the benefit of the doubt.
    let mut head = [0u8; 4];
    let is_elf = file.read_exact(&mut head).is_ok() && head == *b"\x7fELF";
    if !is_elf {
        return Some(Abilities {
            notifies: true,
            takes_sockets: true,
        });
    }
    // The library's functions by name, or the variables by which a program speaks the protocol itself.
    let words: [&[u8]; 4] = [
        b"sd_notify",
        b"NOTIFY_SOCKET",
        b"sd_listen_fds",
        b"LISTEN_FDS",
    ];
    let mut found = [false; 4];
    let mut window = Vec::new();
    let mut buffer = vec![0u8; 64 << 10];
    while let Ok(length @ 1..) = file.read(&mut buffer) {
        window.extend_from_slice(buffer.get(..length).unwrap_or_default());
        for (word, found) in words.iter().zip(&mut found) {
            *found = *found || contains(&window, word);
        }
        let [notify, notify_self, listen, listen_self] = found;
        if (notify || notify_self) && (listen || listen_self) {
            // The names stand near the beginning; the rest of some megabytes tells nothing more.
            break;
        }
        // A word may lie across two pieces.
        let keep = window.len().saturating_sub(16);
        window.drain(..keep);
    }
    let [notify, notify_self, listen, listen_self] = found;
    Some(Abilities {
        notifies: notify || notify_self,
        takes_sockets: listen || listen_self,
    })
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    let Some((first, _)) = word.split_first() else {
        return true;
    };
    let mut from = 0;
    while let Some(at) = text.iter().skip(from).position(|byte| byte == first) {
        let start = from + at;
        if text.get(start..start + word.len()) == Some(word) {
            return true;
        }
        from = start + 1;
    }
    false
}

fn plan_below(paths: &Paths, pbx: Pbx, texts: &Texts) -> Plan {
    let hosts = read_plain(&paths.at("etc/hosts")).unwrap_or_default();
    let holds = |file: &str, mark: &str| {
        file.starts_with('/') && read_plain(&paths.at(file)).is_ok_and(|text| text.contains(mark))
    };
    listeners::plan(
        pbx,
        texts,
        &World {
            hosts: &|name| addresses(&hosts, name),
            has_certificate: &|certificate, key| {
                holds(certificate, "-----BEGIN CERTIFICATE") && holds(key, "PRIVATE KEY-----")
            },
        },
    )
}

/// The addresses of a name in the text of hosts(5).
fn addresses(hosts: &str, name: &str) -> Vec<IpAddr> {
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let mut found: Vec<IpAddr> = lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words
                .any(|word| word.eq_ignore_ascii_case(name))
                .then_some(address)
        })
        .collect();
    found.dedup();
    found
}

/// Where the configuration is; `None` when there is none of this PBX at all.
fn read_texts(paths: &Paths, pbx: Pbx) -> (PathBuf, Option<Texts>) {
    let volume = paths
        .at("srv")
        .join(pbx.configuration().trim_start_matches('/'));
    let home = Some(paths.at(&pbx.configuration())).filter(|home| home.is_dir());
    let home = home.unwrap_or(volume);
    let main = Includes::at(paths, &home).read(&pbx.main_file());
    let etc = main
        .as_deref()
        .map(|text| Settings::read(text, "directories"));
    let etc = etc.and_then(|settings| settings.last(&["astetcdir"]).map(|etc| paths.at(etc)));
    let etc = etc.unwrap_or(home);
    let texts = Texts {
        main,
        manager: Includes::at(paths, &etc).read("manager.conf"),
        http: Includes::at(paths, &etc).read("http.conf"),
    };
    let is_one = texts.main.is_some() || texts.manager.is_some() || texts.http.is_some();
    (etc, is_one.then_some(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Paths) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let paths = Paths::under(directory.path());
        (directory, paths)
    }

    fn written(paths: &Paths) -> Vec<String> {
        let entries = std::fs::read_dir(paths.generated_units())
            .into_iter()
            .flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn units_follow_the_configuration_with_its_includes() {
        let (_directory, paths) = root(&[
            (
                "etc/asterisk/asterisk.conf",
                "[directories]\nastrundir => /run/asterisk\n",
            ),
            (
                "etc/asterisk/manager.conf",
                "[general]\n#include more/*.conf\nport = 6000\n",
            ),
            (
                "etc/asterisk/more/a.conf",
                "enabled = yes\n[x]\nsecret = y\n",
            ),
            ("etc/asterisk/more/.b.conf", "port = 1\n"),
            (
                "etc/asterisk/http.conf",
                "[general]\nenabled=no\n#tryinclude /etc/asterisk/http.conf\n",
            ),
        ]);
        let generated = generate(&paths, Pbx::Asterisk).unwrap();
        assert_eq!(generated.notes, Vec::<String>::new());
        assert_eq!(
            written(&paths),
            ["asterisk-ami.socket", "asterisk-cli.socket"]
        );
        let ami = paths.generated_units().join("asterisk-ami.socket");
        assert!(
            std::fs::read_to_string(ami)
                .unwrap()
                .contains("ListenStream=[::]:6000\n")
        );
        // The next start forgets what no longer holds.
        std::fs::remove_dir_all(paths.at("etc/asterisk")).unwrap();
        generate(&paths, Pbx::Asterisk).unwrap();
        assert_eq!(written(&paths), Vec::<String>::new());
    }

    #[test]
    fn another_pbx_gets_the_same_unit_in_its_own_names() {
        let unit = "[Service]\nExecStart=/usr/sbin/asterisk -f\nUser=daemon\n";
        let (_directory, paths) = root(&[
            ("usr/lib/switchhook/units/asterisk.service", unit),
            ("etc/gabpbx/gabpbx.conf", ""),
        ]);
        generate(&paths, Pbx::Gabpbx).unwrap();
        assert_eq!(
            written(&paths),
            ["asterisk.service", "gabpbx-cli.socket", "gabpbx.service"]
        );
        let read =
            |name: &str| std::fs::read_to_string(paths.generated_units().join(name)).unwrap();
        assert_eq!(read("asterisk.service"), "");
        assert!(read("gabpbx.service").contains("ExecStart=/usr/sbin/gabpbx -f\n"));
        assert!(read("gabpbx-cli.socket").contains("ListenStream=/var/run/gabpbx/gabpbx.ctl\n"));
    }

    #[test]
    fn a_program_without_the_protocol_gets_no_sockets() {
        let (_directory, paths) = root(&[
            ("usr/sbin/asterisk", "\x7fELF and nothing of note"),
            ("etc/asterisk/asterisk.conf", ""),
        ]);
        let generated = generate(&paths, Pbx::Asterisk).unwrap();
        assert_eq!(written(&paths), ["asterisk.service.d"]);
        assert!(
            generated.promises.contains("takes no sockets"),
            "{}",
            generated.promises
        );
        let padding = "x".repeat((64 << 10) - 4 - 5);
        let text = format!("\x7fELF{padding}sd_notify sd_listen_fds");
        std::fs::write(paths.at("usr/sbin/asterisk"), text).unwrap();
        let generated = generate(&paths, Pbx::Asterisk).unwrap();
        assert_eq!(written(&paths), ["asterisk-cli.socket"]);
        assert!(
            generated
                .promises
                .contains("held over its restarts: /var/run/asterisk/asterisk.ctl (cli)"),
            "{}",
            generated.promises
        );
    }

    #[test]
    fn names_come_from_the_table_of_hosts() {
        let hosts = "127.0.0.1 localhost a # b\n::1 localhost\n10.0.0.2 tele\n";
        assert_eq!(addresses(hosts, "localhost").len(), 2);
        assert_eq!(
            addresses(hosts, "TELE"),
            ["10.0.0.2".parse::<IpAddr>().unwrap()]
        );
        assert!(addresses(hosts, "b").is_empty());
    }
}
