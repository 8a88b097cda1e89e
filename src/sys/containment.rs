//! Which processes belong to a service, however they forked: the marks by which escaped ones are found.
//!
//! Three tiers, the best that the container allows: a cgroup for each service (cgroup v2, where it can be
//! written), a supplementary group that an unprivileged process cannot lay down, or a variable in the
//! environment. Invariant: a process is only signalled when it is below us, and after its mark was seen
//! while its pidfd was held.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::process::ProcessHandle;

/// The first of the group numbers that mark services; far from those that Debian gives out.
const FIRST_GROUP: u32 = 61_000;
/// The variable that marks services when nothing better can be had.
pub const VARIABLE: &str = "SWITCHHOOK_SERVICE";
/// How often /proc is walked until nothing new is found: children may be born meanwhile.
const MOST_WALKS: usize = 8;

/// How services are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Containment {
    /// Below this directory of cgroup v2.
    Cgroup(PathBuf),
    Group,
    Variable,
}

impl Containment {
    /// The best tier; `cgroups` is /sys/fs/cgroup.
    pub fn detect(cgroups: &Path) -> Containment {
        let ours = cgroups.join("switchhook");
        if cgroups.join("cgroup.controllers").exists() && fs::create_dir_all(&ours).is_ok() {
            // What can be made can still be refused to be entered or killed: old kernels, odd mounts.
            let probe = ours.join("probe");
            let works = fs::create_dir_all(&probe).is_ok() && probe.join("cgroup.kill").exists();
            let _ = fs::remove_dir(&probe);
            if works {
                return Containment::Cgroup(ours);
            }
        }
        if nix::unistd::geteuid().is_root() && holds_setgid() {
            Containment::Group
        } else {
            Containment::Variable
        }
    }

    /// The word that `switchhook status` shows.
    pub fn name(&self) -> &'static str {
        match self {
            Containment::Cgroup(_) => "cgroup",
            Containment::Group => "group",
            Containment::Variable => "variable",
        }
    }

    /// The group that marks the service with this number, in the tier that uses groups.
    pub fn group(&self, index: usize) -> Option<u32> {
        let offset = u32::try_from(index).ok()?;
        (*self == Containment::Group).then_some(FIRST_GROUP + offset)
    }

    /// The file into which a child of the service writes `0` to enter its cgroup.
    pub fn entrance(&self, service: &str) -> io::Result<Option<OwnedFd>> {
        let Containment::Cgroup(ours) = self else {
            return Ok(None);
        };
        let directory = ours.join(service);
        fs::create_dir_all(&directory)?;
        let file = File::options()
            .write(true)
            .open(directory.join("cgroup.procs"))?;
        Ok(Some(file.into()))
    }

    /// Kills what is left of a service, wherever it went, except the processes in `spared`. Returns how many.
    pub fn kill_all(&self, index: usize, service: &str, spared: &dyn Fn(Pid) -> bool) -> usize {
        if let Containment::Cgroup(ours) = self {
            let file = ours.join(service).join("cgroup.kill");
            let _ = File::options()
                .write(true)
                .open(file)
                .and_then(|mut f| f.write_all(b"1"));
            return 0;
        }
        let mut killed = Vec::new();
        for _ in 0..MOST_WALKS {
            let found: Vec<Pid> = descendants()
                .into_iter()
                .filter(|pid| {
                    !spared(*pid) && !killed.contains(pid) && self.marks(*pid, index, service)
                })
                .collect();
            if found.is_empty() {
                break;
            }
            for pid in found {
                // Looked at again through the handle: the number may have become another's.
                if let Ok(handle) = ProcessHandle::open(pid)
                    && self.marks(pid, index, service)
                    && handle.signal(libc::SIGKILL).is_ok()
                {
                    killed.push(pid);
                }
            }
        }
        killed.len()
    }

    /// Whether the process carries the service's mark.
    pub fn marks(&self, pid: Pid, index: usize, service: &str) -> bool {
        let proc = Path::new("/proc").join(pid.to_string());
        match self {
            Containment::Cgroup(_) => false,
            Containment::Group => {
                let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
                let group = self.group(index);
                group.is_some_and(|group| has_group(&status, group))
            }
            Containment::Variable => {
                let environment = fs::read(proc.join("environ")).unwrap_or_default();
                let wanted = format!("{VARIABLE}={service}");
                environment
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == wanted.as_bytes())
            }
        }
    }
}

/// Whether the text of /proc/PID/status names the group and the process is no zombie.
fn has_group(status: &str, group: u32) -> bool {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let is_zombie = line("State:").is_some_and(|state| state.trim_start().starts_with('Z'));
    let wanted = group.to_string();
    !is_zombie
        && line("Groups:").is_some_and(|groups| groups.split_whitespace().any(|g| g == wanted))
}

/// CAP_SETGID is effective, so that groups can be given.
fn holds_setgid() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << 6) != 0)
}

/// Every process below us. Others may carry the same mark: a second exchange in the same namespace.
fn descendants() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let parents: BTreeMap<i32, i32> = numbers
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect();
    let ours = nix::unistd::getpid().as_raw();
    let is_below = |pid: &i32| {
        let mut above = parents.get(pid);
        // A chain is no longer than there are processes; pids that are reused meanwhile end it here.
        for _ in 0..parents.len() {
            match above {
                Some(parent) if *parent == ours => return true,
                Some(parent) => above = parents.get(parent),
                None => return false,
            }
        }
        false
    };
    parents
        .keys()
        .copied()
        .filter(|pid| is_below(pid))
        .map(Pid::from_raw)
        .collect()
}

/// The parent's pid in the text of /proc/PID/stat; the name before it may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_a_whole_number_in_the_list() {
        let status = "Name:\tsleep\nState:\tS (sleeping)\nGroups:\t5060 61001 \n";
        assert!(has_group(status, 61_001));
        assert!(!has_group(status, 6100));
        assert!(!has_group("State:\tZ (zombie)\nGroups:\t61001 \n", 61_001));
    }

    #[test]
    fn a_parent_is_found_whatever_the_process_calls_itself() {
        assert_eq!(parent("17 (a) S 1 (b) R 42 17"), Some(42));
        assert_eq!(parent("17 (sh) S 1 17 17 0"), Some(1));
        assert_eq!(parent("nonsense"), None);
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!matches!(
            Containment::detect(dir.path()),
            Containment::Cgroup(_)
        ));
    }
}
