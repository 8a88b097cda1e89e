//! The real processes below each service, read from /proc by the command, never by PID 1.
//!
//! A process belongs to a service when its main process is above it, or when it carries the service's mark
//! (`sys::containment`): it then escaped, and PID 1 became its parent. Processes may end while they are looked at;
//! what is gone is left out.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use serde::Serialize;

use crate::init::control::Status;
use crate::sys::containment::Containment;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// The letter of /proc/PID/stat: `R`, `S`, `D`, `T`, `Z`.
    pub state: char,
    /// Program and arguments, or the name in brackets when it has none left.
    pub command: String,
    /// User and system time, in clock ticks.
    pub ticks: u64,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
    pub threads: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Open descriptors; absent when we may not look.
    pub descriptors: Option<usize>,
}

/// The processes of every service, in the order of `status.services`, and those of nobody below PID 1.
#[derive(Debug, Default)]
pub struct Census {
    pub services: Vec<Vec<Process>>,
    pub others: Vec<Process>,
}

/// Looks at everything below PID 1.
pub fn census(status: &Status) -> Census {
    let all = read_all(Path::new("/proc"));
    let mains: HashMap<i32, usize> = status
        .services
        .iter()
        .enumerate()
        .filter_map(|(index, service)| Some((service.pid?, index)))
        .collect();
    let tier = match status.containment.as_str() {
        "group" => Some(Containment::Group),
        "variable" => Some(Containment::Variable),
        _ => None,
    };
    let marked = |pid: i32| {
        let cgroup = || fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let cgroup = if tier.is_none() {
            cgroup()
        } else {
            String::new()
        };
        (0..status.services.len()).find(|index| {
            let name = status.services.get(*index).map_or("", |s| s.name.as_str());
            match &tier {
                Some(tier) => tier.marks(Pid::from_raw(pid), *index, name),
                None => cgroup.trim_end().ends_with(&format!("/switchhook/{name}")),
            }
        })
    };
    let mut found = Census {
        services: vec![Vec::new(); status.services.len()],
        others: Vec::new(),
    };
    for process in all.values() {
        let owner = match owner(process.pid, &all, &mains, status.pid) {
            Above::Service(index) => Some(index),
            Above::Init => marked(process.pid),
            Above::Stranger => continue,
        };
        let list = owner.and_then(|index| found.services.get_mut(index));
        list.unwrap_or(&mut found.others).push(process.clone());
    }
    found
}

/// Where the chain of parents leads first.
enum Above {
    Service(usize),
    /// To PID 1, past no main process.
    Init,
    /// Past both: not of this exchange, or PID 1 itself.
    Stranger,
}

fn owner(pid: i32, all: &BTreeMap<i32, Process>, mains: &HashMap<i32, usize>, init: i32) -> Above {
    let mut at = pid;
    // A chain is no longer than there are processes; numbers that are reused meanwhile end it here.
    for _ in 0..all.len() {
        if let Some(index) = mains.get(&at) {
            return Above::Service(*index);
        }
        match all.get(&at) {
            Some(process) if process.parent == init && at != init => return Above::Init,
            Some(process) => at = process.parent,
            None => return Above::Stranger,
        }
    }
    Above::Stranger
}

fn read_all(proc: &Path) -> BTreeMap<i32, Process> {
    let Ok(entries) = fs::read_dir(proc) else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let directory: PathBuf = entry.ok()?.path();
            let pid = directory.file_name()?.to_str()?.parse().ok()?;
            let stat = fs::read_to_string(directory.join("stat")).ok()?;
            let mut process = parse(pid, &stat)?;
            let line = fs::read(directory.join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line
                .split(|byte| *byte == 0)
                .filter(|word| !word.is_empty())
                .map(String::from_utf8_lossy)
                .collect();
            if !words.is_empty() {
                process.command = words.join(" ");
            }
            process.descriptors = fs::read_dir(directory.join("fd")).ok().map(Iterator::count);
            Some((pid, process))
        })
        .collect()
}

/// The letter of its state; `None` when it is gone.
pub fn state_of(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(parse(pid, &stat)?.state)
}

/// The fields of /proc/PID/stat that are wanted (proc(5)); the name in it may hold anything.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first field after the name is the third of the manual's count.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    Some(Process {
        pid,
        parent: field(4)?.parse().ok()?,
        state: field(3)?.chars().next()?,
        command: format!("[{name}]"),
        ticks: number(14)? + number(15)?,
        threads: number(20)?,
        started: number(22)?,
        memory: number(24)? * page_size(),
        descriptors: None,
    })
}

fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// Clock ticks a second.
pub fn ticks_per_second() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| u64::try_from(ticks).ok())
        .filter(|ticks| *ticks > 0)
        .unwrap_or(100)
}

/// How long the machine has been up, in clock ticks.
pub fn machine_ticks() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0.0);
    // Far below what a float holds exactly.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let centis = (seconds * 100.0) as u64;
    centis * ticks_per_second() / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 3 0 9000 1000000 250 18446744073709551615";
        let process = parse(17, stat).unwrap();
        assert_eq!(process.parent, 1);
        assert_eq!(process.state, 'S');
        assert_eq!(process.command, "[a) b (c]");
        assert_eq!((process.ticks, process.threads), (11, 3));
        assert_eq!(process.started, 9000);
        assert_eq!(process.memory, 250 * page_size());
        assert!(parse(17, "nonsense").is_none());
        assert!(parse(17, "17 (x) S").is_none());
    }

    #[test]
    fn we_see_ourselves() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let all = read_all(Path::new("/proc"));
        let me = &all[&pid];
        assert!(me.threads >= 1 && me.memory > 0 && me.descriptors > Some(2));
        assert!(me.started <= machine_ticks() + ticks_per_second());
    }
}
