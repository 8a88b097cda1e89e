//! runit service directories to `ServiceSpec` (runsv(8), chpst(8), sv(8)).
//!
//! Pure: the directory arrives as a description. What `runsv` does by itself is done here too, and `env/`
//! besides, as `chpst -e` would. Invariant: a spec comes out only when `run` can be executed.

use std::collections::BTreeMap;

use super::directives::{self, Treatment};
use super::service_file;
use super::spec::{CommandLine, Finding, KillMode, Readiness, Restart, ServiceSpec, Severity};

/// The letters that `control/` may name (runsv(8)), `o` excepted: it is `u`.
const LETTERS: [char; 12] = ['u', 'd', 't', 'k', 'p', 'c', 'h', 'a', 'i', 'q', '1', '2'];

/// A file with its permission bits and its bytes; a reader may cut long ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunitFile {
    pub mode: u32,
    pub bytes: Vec<u8>,
}

/// A service directory, or one inside it, as found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunitDirectory {
    /// Where it is; the program is run from here.
    pub path: String,
    /// The same place as the appliance knows it, below its root.
    pub home: String,
    pub files: BTreeMap<String, RunitFile>,
    pub directories: BTreeMap<String, RunitDirectory>,
}

/// Whether a directory is a service at all: it has a `run`, or it was meant to have one.
pub fn is_service(directory: &RunitDirectory) -> bool {
    let known = ["run", "finish", "check", "down", "notification-fd"];
    known.iter().any(|name| directory.files.contains_key(*name))
}

/// Reads the service `name`.
pub fn read(name: &str, directory: &RunitDirectory) -> (Option<ServiceSpec>, Vec<Finding>) {
    let mut findings = Vec::new();
    check_program(directory, "run", &mut findings);
    let program = |file: &str| vec![format!("{}/{file}", directory.path)];
    let mut spec = ServiceSpec::new(name, program("run"));
    spec.restart = Restart::Always;
    // runsv signals the process that it started, not its group.
    spec.kill_mode = KillMode::Mixed;
    spec.working_directory = Some(directory.home.clone());
    spec.starts = !directory.files.contains_key("down");
    spec.is_installed = spec.starts;
    for (file, field) in [("finish", &mut spec.finish), ("check", &mut spec.check)] {
        let Some(found) = directory.files.get(file) else {
            continue;
        };
        if is_executable(found) {
            *field = Some(program(file));
        } else {
            let text = format!("`{file}` is not executable and is not run; `chmod +x` makes it so");
            findings.push(finding(directory, file, 0, Severity::Ignored, text));
        }
    }
    if let Some(variables) = directory.directories.get("env") {
        read_environment(&mut spec, variables, &mut findings);
    }
    if let Some(control) = directory.directories.get("control") {
        read_control(&mut spec, control, &mut findings);
    }
    // runsv and s6-supervise wait for readiness as long as it takes.
    if let Some(file) = directory.files.get("notification-fd") {
        let text = String::from_utf8_lossy(&file.bytes);
        match service_file::notification_descriptor(text.trim()) {
            Ok(number) => {
                spec.notification_descriptor = Some(number);
                spec.readiness = Readiness::Notify;
                spec.start_timeout = None;
            }
            Err(text) => {
                findings.push(finding(
                    directory,
                    "notification-fd",
                    1,
                    Severity::Error,
                    text,
                ));
            }
        }
    } else if spec.check.is_some() {
        spec.readiness = Readiness::Check;
        spec.start_timeout = None;
    }
    if directory.directories.contains_key("log") {
        spec.log_service = Some(log_name(name));
        spec.after.push(log_name(name));
    }
    let usable = !findings.iter().any(|f| f.severity == Severity::Error);
    (usable.then_some(spec), findings)
}

/// Reads the companion in `log/`, whose standard input is the service's standard output. `None` twice over
/// when there is no such directory.
pub fn read_log(
    name: &str,
    directory: &RunitDirectory,
) -> Option<(Option<ServiceSpec>, Vec<Finding>)> {
    let log = directory.directories.get("log")?;
    let (mut spec, findings) = read(&log_name(name), log);
    if let Some(spec) = &mut spec {
        spec.description = format!("log of {name}");
    }
    Some((spec, findings))
}

/// The name of the companion; `sv` knows it as `NAME/log`.
pub fn log_name(name: &str) -> String {
    format!("{name}-log")
}

fn finding(
    directory: &RunitDirectory,
    file: &str,
    line: usize,
    severity: Severity,
    text: String,
) -> Finding {
    let file = if file.is_empty() {
        directory.path.clone()
    } else {
        format!("{}/{file}", directory.path)
    };
    Finding {
        file,
        line,
        severity,
        text,
    }
}

fn is_executable(file: &RunitFile) -> bool {
    file.mode & 0o111 != 0
}

/// Tells why the kernel would not run the program.
fn check_program(directory: &RunitDirectory, name: &str, findings: &mut Vec<Finding>) {
    let error = |line, text: &str| finding(directory, name, line, Severity::Error, text.to_owned());
    let Some(file) = directory.files.get(name) else {
        findings.push(error(0, "there is no such file: there is nothing to run"));
        return;
    };
    if !is_executable(file) {
        findings.push(error(0, "not executable; `chmod +x` makes it so"));
    }
    let first_line = file.bytes.split(|byte| *byte == b'\n').next();
    let first_line = first_line.unwrap_or_default();
    if file.bytes.starts_with(b"#!") {
        if first_line.ends_with(b"\r") {
            findings.push(error(
                1,
                "the line ends in a carriage return, which the kernel takes for a part of the program's name",
            ));
        }
    } else if !file.bytes.starts_with(b"\x7fELF") {
        findings.push(error(
            1,
            "neither a program nor a script that begins with `#!`",
        ));
    }
}

/// `control/`: what is executable stands in for the signal of its letter; `u` is run before each start, and
/// its failure means nothing (runsv(8)).
fn read_control(spec: &mut ServiceSpec, control: &RunitDirectory, findings: &mut Vec<Finding>) {
    for (name, file) in &control.files {
        let mut letters = name.chars();
        let letter = letters.next().filter(|letter| LETTERS.contains(letter));
        let Some(letter) = letter.filter(|_| letters.next().is_none()) else {
            let text = "there is no such control; ignored".to_owned();
            findings.push(finding(control, name, 0, Severity::Ignored, text));
            continue;
        };
        if !is_executable(file) {
            let text = "not executable and not run; `chmod +x` makes it so".to_owned();
            findings.push(finding(control, name, 0, Severity::Ignored, text));
            continue;
        }
        let words = vec![format!("{}/{name}", control.path)];
        if letter == 'u' {
            spec.before_start.push(CommandLine {
                words,
                may_fail: true,
            });
        } else {
            spec.control.push((letter, words));
        }
    }
}

/// `env/` as `chpst -e` reads it: the file's name is the variable, its first line the value without blanks at
/// its end, NUL stands for a line end; an empty file takes the variable away.
fn read_environment(
    spec: &mut ServiceSpec,
    variables: &RunitDirectory,
    findings: &mut Vec<Finding>,
) {
    for (name, file) in &variables.files {
        if name.starts_with('.') {
            continue;
        }
        if name.contains('=') {
            let text = "a variable's name cannot hold `=`; ignored".to_owned();
            findings.push(finding(variables, name, 0, Severity::Ignored, text));
        } else if file.bytes.is_empty() {
            spec.unset_environment.push(name.clone());
            if let Some(Treatment::Refused(what)) =
                directives::find("Service", "UnsetEnvironment").map(|row| row.treatment)
            {
                let text = format!("an empty file takes `{name}` away: {what}");
                findings.push(finding(variables, name, 0, Severity::Error, text));
            }
        } else {
            let line = file.bytes.split(|byte| *byte == b'\n').next();
            let value = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
            let value = value.trim_end_matches([' ', '\t']).replace('\0', "\n");
            spec.environment.push((name.clone(), value));
        }
    }
}

#[cfg(test)]
mod tests;
