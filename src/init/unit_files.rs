//! Finds the units on disk and checks them as a whole: what the start and `switchhook verify` both do.
//!
//! Never fails: what cannot be read is a finding. Only plain files of a bounded size are opened, so that
//! nothing in the volume can block or bloat PID 1.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::{identity, order};
use crate::units::runit::{self, RunitDirectory, RunitFile};
use crate::units::spec::{Finding, ServiceSpec, Severity, SocketSpec};
use crate::units::unit_file::Source;
use crate::units::{Origins, UnitSet, UnitText, read_all};

/// The longest file that is taken for a unit.
const LONGEST: u64 = 1 << 20;
/// What is read of a program: enough to see whether the kernel would run it.
const HEAD: u64 = 256;
const NOT_PLAIN: &str = "it is no plain file";

/// What lies on disk.
#[derive(Debug, Default)]
pub struct Found {
    /// In name order.
    pub units: Vec<UnitText>,
    pub runit: BTreeMap<String, RunitDirectory>,
    /// What could not be read.
    pub findings: Vec<Finding>,
}

/// What became of it.
#[derive(Debug)]
pub struct Checked {
    pub set: UnitSet,
    /// The places of the set's services in start order; empty when they wait for each other in a ring.
    pub order: Vec<usize>,
    pub findings: Vec<Finding>,
}

impl Checked {
    pub fn has_errors(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }
}

/// One directory of unit files, as it was read.
#[derive(Debug, Default)]
pub struct Shelf {
    /// By name.
    files: Vec<(String, Sheet)>,
    /// By the name of the unit that they add to.
    drop_ins: Vec<(String, Vec<Sheet>)>,
    /// Directories that could not be read.
    findings: Vec<Finding>,
}

/// One file: what is in it, or why it cannot be read. Another of the same name may stand in its place.
#[derive(Debug)]
struct Sheet {
    path: PathBuf,
    source: Result<Source, String>,
}

/// The service directories, as they were read.
#[derive(Debug, Default)]
pub struct Services(Found);

impl Shelf {
    /// What is not there is no mistake.
    pub fn read(directory: &Path) -> Shelf {
        let mut found = Found::default();
        let mut shelf = Shelf::default();
        for (name, path) in found.list(directory) {
            if let Some(unit) = name.strip_suffix(".d").filter(|unit| is_unit_name(unit)) {
                let parts = found.list(&path).into_iter();
                let parts = parts.filter(|(part, _)| part.ends_with(".conf"));
                let parts = parts.map(|(_, path)| Sheet::read(path)).collect();
                shelf.drop_ins.push((unit.to_owned(), parts));
            } else if is_unit_name(&name) {
                shelf.files.push((name, Sheet::read(path)));
            }
        }
        shelf.findings = found.findings;
        shelf
    }
}

impl Sheet {
    fn read(path: PathBuf) -> Sheet {
        // A link to /dev/null switches a unit off, as an empty file does (systemd.unit(5)).
        let is_null = std::fs::read_link(&path).is_ok()
            && std::fs::canonicalize(&path).is_ok_and(|end| end == Path::new("/dev/null"));
        let bytes = if is_null {
            Ok(Vec::new())
        } else {
            read_plain(&path, LONGEST)
        };
        let source = bytes.map(|bytes| Source {
            file: path.display().to_string(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        });
        Sheet { path, source }
    }
}

impl Services {
    /// The service directories in `runit`. `root` is taken off the working directories.
    pub fn read(runit: Option<&Path>, root: &Path) -> Services {
        let mut found = Found::default();
        for (name, path) in runit.map_or(Vec::new(), |runit| found.list(runit)) {
            if !name.starts_with('.') && path.is_dir() && !is_drop_in(&name) {
                found.service_directory(&name, &path, root);
            }
        }
        Services(found)
    }
}

/// Reads the unit files of `directories`, where later ones replace those of the same name, and the service
/// directories in `runit`. What is not there is no mistake. `root` is taken off the working directories.
pub fn find(directories: &[PathBuf], runit: Option<&Path>, root: &Path) -> Found {
    let shelves: Vec<Shelf> = directories.iter().map(|dir| Shelf::read(dir)).collect();
    let shelves: Vec<&Shelf> = shelves.iter().collect();
    assemble(&shelves, &Services::read(runit, root))
}

/// The units of several directories, where later ones replace those of the same name, and the service directories.
pub fn assemble(shelves: &[&Shelf], services: &Services) -> Found {
    let mut found = Found::default();
    let mut files: BTreeMap<&str, &Sheet> = BTreeMap::new();
    let mut drop_ins: BTreeMap<&str, Vec<&Sheet>> = BTreeMap::new();
    for shelf in shelves {
        found.findings.extend(shelf.findings.iter().cloned());
        for (unit, parts) in &shelf.drop_ins {
            drop_ins.entry(unit).or_default().extend(parts);
        }
        files.extend(shelf.files.iter().map(|(name, sheet)| (&**name, sheet)));
    }
    for (file_name, sheet) in files {
        let more = drop_ins.remove(file_name).unwrap_or_default();
        let Some(source) = found.source(sheet) else {
            continue;
        };
        if source.text.is_empty() {
            let text = format!("`{file_name}` is empty and so switched off");
            found.say(&sheet.path, Severity::Ignored, text);
            continue;
        }
        let mut sources = vec![source];
        for part in more {
            sources.extend(found.source(part));
        }
        let file_name = file_name.to_owned();
        found.units.push(UnitText { file_name, sources });
    }
    for sheet in drop_ins.into_values().flatten() {
        let text = "there is no unit that this adds to".to_owned();
        found.say(&sheet.path, Severity::Ignored, text);
    }
    found.findings.extend(services.0.findings.iter().cloned());
    found.runit = services.0.runit.clone();
    found
}

/// Reads one service directory.
pub fn find_service_directory(path: &Path, root: &Path) -> Found {
    let mut found = Found::default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    found.service_directory(&name, path, root);
    found
}

pub fn is_unit_name(name: &str) -> bool {
    [".service", ".socket", ".timer"].iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|stem| !stem.is_empty())
    })
}

/// `asterisk.service.d` and the like.
fn is_drop_in(name: &str) -> bool {
    name.strip_suffix(".d").is_some_and(is_unit_name)
}

impl Found {
    fn say(&mut self, path: &Path, severity: Severity, text: String) {
        self.findings.push(Finding {
            file: path.display().to_string(),
            line: 0,
            severity,
            text,
        });
    }

    /// Names and paths in a directory, in name order.
    fn list(&mut self, directory: &Path) -> Vec<(String, PathBuf)> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(e) => {
                self.say(directory, Severity::Error, format!("cannot be read: {e}"));
                return Vec::new();
            }
        };
        let mut all: Vec<_> = entries
            .filter_map(Result::ok)
            .map(|entry| {
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.path(),
                )
            })
            .collect();
        all.sort();
        all
    }

    fn source(&mut self, sheet: &Sheet) -> Option<Source> {
        match &sheet.source {
            Ok(source) => Some(source.clone()),
            Err(problem) => {
                let text = format!("cannot be read: {problem}");
                self.say(&sheet.path, Severity::Error, text);
                None
            }
        }
    }

    fn service_directory(&mut self, name: &str, path: &Path, root: &Path) {
        let directory = self.describe(path, root);
        if runit::is_service(&directory) {
            self.runit.insert(name.to_owned(), directory);
        }
    }

    /// The files that mean something to runit, with the beginnings of programs and the whole of variables.
    fn describe(&mut self, path: &Path, root: &Path) -> RunitDirectory {
        let home = path.strip_prefix(root).unwrap_or(path);
        let mut directory = RunitDirectory {
            path: path.display().to_string(),
            home: Path::new("/").join(home).display().to_string(),
            ..RunitDirectory::default()
        };
        for name in ["run", "finish", "check", "down", "notification-fd"] {
            let file = path.join(name);
            if file.exists()
                && let Some(file) = self.file(&file, HEAD)
            {
                directory.files.insert(name.to_owned(), file);
            }
        }
        for name in ["env", "log", "control"] {
            let below = path.join(name);
            if !below.is_dir() {
                continue;
            }
            let described = match name {
                "log" => self.describe(&below, root),
                _ => self.variables(&below),
            };
            directory.directories.insert(name.to_owned(), described);
        }
        directory
    }

    fn variables(&mut self, path: &Path) -> RunitDirectory {
        let mut files = BTreeMap::new();
        for (name, path) in self.list(path) {
            if path.is_file()
                && let Some(file) = self.file(&path, LONGEST)
            {
                files.insert(name, file);
            }
        }
        RunitDirectory {
            path: path.display().to_string(),
            files,
            ..RunitDirectory::default()
        }
    }

    fn file(&mut self, path: &Path, most: u64) -> Option<RunitFile> {
        let mode = std::fs::metadata(path).map(|meta| meta.permissions().mode());
        let read = mode.map_err(|e| e.to_string()).and_then(|mode| {
            let bytes = match most {
                HEAD => read_head(path).map_err(|e| e.to_string())?,
                most => read_plain(path, most)?,
            };
            Ok(RunitFile { mode, bytes })
        });
        match read {
            Ok(file) => Some(file),
            Err(problem) => {
                self.say(path, Severity::Error, format!("cannot be read: {problem}"));
                None
            }
        }
    }
}

fn read_head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.is_file() {
        std::fs::File::open(path)?
            .take(HEAD)
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn read_plain(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    // Not blocking: a pipe in the place of the file must not stop us.
    let flags = (OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|e| match e.raw_os_error() {
        // A socket (open(2)).
        Some(libc::ENXIO) => NOT_PLAIN.to_owned(),
        _ => e.to_string(),
    })?;
    let meta = file.metadata().map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err(NOT_PLAIN.to_owned());
    }
    if meta.len() > most {
        return Err(format!("it is longer than {most} bytes"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len() + 1).unwrap_or_default());
    let read = file.take(most).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|e| e.to_string())
}

/// Parses what was found, looks up accounts, and puts the services in order.
pub fn check(found: &Found) -> Checked {
    let origins = Origins {
        units: &found.units,
        runit: &found.runit,
    };
    let (set, parsed) = read_all(origins);
    let mut findings = found.findings.clone();
    findings.extend(parsed);
    for service in &set.services {
        findings.extend(missing_account(origins, service));
    }
    for socket in &set.sockets {
        findings.extend(missing_owner(origins, socket));
    }
    let order = order::start_order(&set.services).unwrap_or_else(|cycle| {
        findings.push(ring(origins, &cycle));
        Vec::new()
    });
    Checked {
        set,
        order,
        findings,
    }
}

fn missing_account(origins: Origins<'_>, service: &ServiceSpec) -> Option<Finding> {
    let problem = identity::of(service).err()?;
    let names = service.user.iter().chain(&service.group);
    let word = names
        .chain(&service.supplementary_groups)
        .find(|name| problem.contains(&format!("`{name}`")));
    let keys = ["User", "Group", "SupplementaryGroups"];
    let word = word.map_or("", String::as_str);
    let file = format!("{}.service", service.name);
    Some(origins.finding(&file, &keys, word, Severity::Error, problem))
}

/// Without its owner a socket is not bound, and the service binds its own.
fn missing_owner(origins: Origins<'_>, socket: &SocketSpec) -> Option<Finding> {
    let user = socket
        .user
        .as_ref()
        .map(|name| (name, identity::user(name).map(|_| ())));
    let group = socket
        .group
        .as_ref()
        .map(|name| (name, identity::group(name).map(|_| ())));
    let (name, problem) = [user, group]
        .into_iter()
        .flatten()
        .find_map(|(name, looked_up)| Some((name, looked_up.err()?)))?;
    let keys = ["SocketUser", "SocketGroup"];
    let text = format!("{problem}; the socket is not bound");
    let file = format!("{}.socket", socket.name);
    Some(origins.finding(&file, &keys, name, Severity::Ignored, text))
}

fn ring(origins: Origins<'_>, cycle: &order::Cycle) -> Finding {
    let name = |index: usize| cycle.0.get(index).map_or("", String::as_str);
    let file = format!("{}.service", name(0));
    let text = format!("{cycle}; take one `After=`, `Before=` or `Requires=` out of it");
    let keys = ["After", "Requires"];
    origins.finding(&file, &keys, name(1), Severity::Error, text)
}
