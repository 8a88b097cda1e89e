//! `.service` files to `ServiceSpec` (systemd.service(5), systemd.exec(5), the subset of `directives`).
//!
//! Pure. Invariant: a spec comes out only when no finding is an error.

use std::time::Duration;

use super::condition::Condition;
use super::spec::{
    CommandLine, CrashLoop, EnvironmentFile, Finding, KillMode, Limit, LimitResource, NotifyAccess,
    Output, ProbeSpec, Readiness, Restart, RuntimeDirectory, ServiceSpec, Severity,
};
use super::unit_file::{self, Assignment, Source};
use super::{capability, signal, value};

/// How often a service is asked whether it lives, when its unit does not say.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// How many questions in a row may stay unanswered.
const PROBE_FAILURES: u32 = 3;

/// Reads the unit `name` (without suffix) from its file and drop-ins, in order.
pub fn read(name: &str, sources: &[Source]) -> (Option<ServiceSpec>, Vec<Finding>) {
    let (assignments, mut findings) = unit_file::collect(sources, &["Unit", "Service", "Install"]);
    let mut spec = ServiceSpec::new(name, Vec::new());
    let mut directory_mode = 0o755;
    for assignment in &assignments {
        match assign(&mut spec, &mut directory_mode, assignment) {
            Err(text) if assignment.obeyed => findings.push(assignment.error(text)),
            // What has no effect cannot be wrong in a way that matters.
            Ok(()) | Err(_) => {}
        }
    }
    spec.is_installed = assignments.iter().any(|a| a.section == "Install");
    spec.expands = true;
    // Its other keys alone mean nothing.
    spec.probe = spec
        .probe
        .filter(|probe| !probe.path.is_empty() || !probe.command.is_empty());
    if spec.readiness != Readiness::Oneshot
        && let Some(last) = spec.then.pop()
    {
        spec.command = last.words;
        spec.may_fail = last.may_fail;
        spec.then.clear();
    }
    if spec.notification_descriptor.is_some() && spec.readiness == Readiness::Exec {
        spec.readiness = Readiness::Notify;
    }
    for directory in &mut spec.runtime_directories {
        directory.mode = directory_mode;
    }
    if spec.command.is_empty() && !findings.iter().any(|f| f.severity == Severity::Error) {
        findings.push(Finding {
            file: sources.first().map(|s| s.file.clone()).unwrap_or_default(),
            line: 0,
            severity: Severity::Error,
            text: "no `ExecStart=`: there is nothing to run".to_owned(),
        });
    }
    let usable = !findings.iter().any(|f| f.severity == Severity::Error);
    (usable.then_some(spec), findings)
}

fn assign(spec: &mut ServiceSpec, directory_mode: &mut u32, a: &Assignment) -> Result<(), String> {
    if a.section == "Install" {
        // That there is such a section is what counts; targets mean nothing here.
        return Ok(());
    }
    let text = value::specifiers(&a.value, &spec.name, ".service")?;
    let text = text.as_str();
    match a.key.as_str() {
        "Description" => spec.description = text.to_owned(),
        "After" => extend_or_reset(&mut spec.after, names(text)),
        "Before" => extend_or_reset(&mut spec.before, names(text)),
        "Requires" => extend_or_reset(&mut spec.requires, names(text)),
        "Sockets" => extend_or_reset(&mut spec.sockets, names(text)),
        "Type" => {
            spec.readiness = match text {
                "simple" | "exec" => Readiness::Exec,
                "notify" => Readiness::Notify,
                "oneshot" => Readiness::Oneshot,
                other => {
                    return Err(format!(
                        "`{other}` is not supported; write simple, exec, notify or oneshot"
                    ));
                }
            }
        }
        "ExecStart" => main_command(spec, text)?,
        "ExecStartPre" => add_command(&mut spec.before_start, text)?,
        "ExecStartPost" => add_command(&mut spec.after_start, text)?,
        "ExecStop" => add_command(&mut spec.stop, text)?,
        "ExecStopPost" => add_command(&mut spec.after_end, text)?,
        "ExecReload" => spec.reload = Some(command(text)?).filter(|c| !c.is_empty()),
        "X-Drain" => spec.drain = Some(command(text)?).filter(|c| !c.is_empty()),
        "X-CrashLoop" => {
            spec.crash_loop = match text {
                "retry" => CrashLoop::Retry,
                "stop" => CrashLoop::Stop,
                "exit" => CrashLoop::Exit,
                other => return Err(format!("`{other}` is not retry, stop or exit")),
            }
        }
        "X-Role" if text == "log" => spec.is_log = true,
        "X-Role" => return Err(format!("`{text}` is not a role; the only one is `log`")),
        "User" => spec.user = Some(text.to_owned()).filter(|t| !t.is_empty()),
        "Group" => spec.group = Some(text.to_owned()).filter(|t| !t.is_empty()),
        "SupplementaryGroups" => {
            extend_or_reset(
                &mut spec.supplementary_groups,
                text.split_whitespace().map(str::to_owned).collect(),
            );
        }
        "Environment" => environment(&mut spec.environment, text)?,
        "WorkingDirectory" => spec.working_directory = Some(text.to_owned()),
        "RuntimeDirectory" => {
            for name in text.split_whitespace() {
                if name.starts_with('/')
                    || name.split('/').any(|part| part == ".." || part.is_empty())
                {
                    return Err(format!("`{name}` must be a plain name below /run"));
                }
                spec.runtime_directories.push(RuntimeDirectory {
                    name: name.to_owned(),
                    mode: 0o755,
                });
            }
        }
        "RuntimeDirectoryMode" => *directory_mode = octal(text)?,
        "UMask" => spec.umask = Some(octal(text)?),
        "Restart" => {
            spec.restart = match text {
                "no" => Restart::No,
                "always" => Restart::Always,
                "on-success" => Restart::OnSuccess,
                "on-failure" => Restart::OnFailure,
                "on-abnormal" => Restart::OnAbnormal,
                "on-abort" => Restart::OnAbort,
                other => {
                    return Err(format!(
                        "`{other}` is not a restart policy such as `always` or `on-failure`"
                    ));
                }
            }
        }
        "RestartSec" => spec.restart_pause = value::time_span(text)?,
        "TimeoutStartSec" => spec.start_timeout = value::time_span(text)?,
        "TimeoutStopSec" => spec.stop_timeout = value::time_span(text)?.unwrap_or(Duration::MAX),
        "TimeoutAbortSec" => {
            spec.abort_timeout = Some(value::time_span(text)?.unwrap_or(Duration::MAX));
        }
        "TimeoutSec" => {
            spec.start_timeout = value::time_span(text)?;
            spec.stop_timeout = value::time_span(text)?.unwrap_or(Duration::MAX);
        }
        "LimitCORE" => limit(spec, LimitResource::Core, text)?,
        "LimitNOFILE" => limit(spec, LimitResource::OpenFiles, text)?,
        "LimitNPROC" => limit(spec, LimitResource::Processes, text)?,
        "LimitMEMLOCK" => limit(spec, LimitResource::LockedMemory, text)?,
        "LimitAS" => limit(spec, LimitResource::AddressSpace, text)?,
        "LimitSTACK" => limit(spec, LimitResource::Stack, text)?,
        "NoNewPrivileges" => spec.no_new_privileges = value::boolean(text)?,
        "AmbientCapabilities" => {
            spec.capabilities = text
                .split_whitespace()
                .map(capability::number)
                .collect::<Result<_, _>>()?;
        }
        "CapabilityBoundingSet" => {
            let named = text
                .split_whitespace()
                .map(capability::number)
                .collect::<Result<_, _>>()?;
            spec.bounding_set = Some(named);
        }
        "StandardOutput" => spec.stdout = output(text)?,
        "StandardError" => spec.stderr = output(text)?,
        _ => return assign_life(spec, a, text),
    }
    Ok(())
}

/// The directives of a service's life besides its program: starts, ends, signals, surroundings.
fn assign_life(spec: &mut ServiceSpec, a: &Assignment, text: &str) -> Result<(), String> {
    match a.key.as_str() {
        "RemainAfterExit" => spec.remain_after_exit = value::boolean(text)?,
        "SuccessExitStatus" => spec.success_exit.extend(text)?,
        "RestartPreventExitStatus" => spec.prevent_restart.extend(text)?,
        "RestartForceExitStatus" => spec.force_restart.extend(text)?,
        "WatchdogSec" => spec.watchdog = value::time_span(text)?.filter(|t| !t.is_zero()),
        "NotifyAccess" => {
            spec.notify_access = match text {
                "none" => NotifyAccess::None,
                "main" => NotifyAccess::Main,
                "exec" => NotifyAccess::Exec,
                "all" => NotifyAccess::All,
                other => return Err(format!("`{other}` is not none, main, exec or all")),
            }
        }
        "KillSignal" => spec.kill_signal = signal::number(text)?,
        "KillMode" => {
            spec.kill_mode = match text {
                "control-group" => KillMode::ControlGroup,
                "mixed" => KillMode::Mixed,
                "process" => KillMode::Process,
                "none" => {
                    return Err("a stop that ends nothing is not supported; write `process`, and `ExecStop=` for how it ends".to_owned());
                }
                other => {
                    return Err(format!("`{other}` is not control-group, mixed or process"));
                }
            }
        }
        "SendSIGHUP" => spec.sends_hangup = value::boolean(text)?,
        "X-NotificationFd" => spec.notification_descriptor = Some(notification_descriptor(text)?),
        "X-Probe" | "X-ProbeIntervalSec" | "X-ProbeFailures" => probe(spec, &a.key, text)?,
        "EnvironmentFile" if text.is_empty() => spec.environment_files.clear(),
        "EnvironmentFile" => {
            let path = text.strip_prefix('-').unwrap_or(text);
            if !path.starts_with('/') {
                return Err(format!("`{path}` is not an absolute path"));
            }
            spec.environment_files.push(EnvironmentFile {
                path: path.to_owned(),
                optional: text.starts_with('-'),
            });
        }
        "PassEnvironment" => {
            let words = value::words(text)?;
            if let Some(bad) = words.iter().find(|word| !value::is_variable_name(word)) {
                return Err(format!("`{bad}` is not the name of a variable"));
            }
            extend_or_reset(&mut spec.pass_environment, words);
        }
        "UnsetEnvironment" => extend_or_reset(&mut spec.unset_environment, value::words(text)?),
        "OOMScoreAdjust" => spec.oom_score_adjust = Some(value::number(text, -1000, 1000)?),
        "Nice" => spec.nice = Some(value::number(text, -20, 19)?),
        // systemd's older name stands in [Service].
        "StartLimitIntervalSec" | "StartLimitInterval" => {
            spec.start_limit_interval = value::time_span(text)?.filter(|t| !t.is_zero());
        }
        "StartLimitBurst" => spec.start_limit_burst = Some(value::number(text, 0, u32::MAX)?),
        "ConditionPathExists" | "ConditionEnvironment" if text.is_empty() => {
            spec.conditions.clear();
        }
        "ConditionPathExists" => spec.conditions.push(Condition::path_exists(text)?),
        "ConditionEnvironment" => spec.conditions.push(Condition::environment(text)?),
        "FileDescriptorStoreMax" => spec.descriptor_store = value::number(text, 0, 4096)?,
        other => {
            return Err(format!(
                "`{other}=` does not belong into section [{}]",
                a.section
            ));
        }
    }
    Ok(())
}

/// The program's commands: an empty one takes back those before it.
fn main_command(spec: &mut ServiceSpec, text: &str) -> Result<(), String> {
    let mut all = Vec::new();
    if !spec.command.is_empty() {
        all.push(CommandLine {
            words: std::mem::take(&mut spec.command),
            may_fail: spec.may_fail,
        });
    }
    all.append(&mut spec.then);
    add_command(&mut all, text)?;
    let mut all = all.into_iter();
    if let Some(first) = all.next() {
        spec.command = first.words;
        spec.may_fail = first.may_fail;
    }
    spec.then = all.collect();
    Ok(())
}

/// Adds to a list of commands; an empty assignment empties it.
fn add_command(list: &mut Vec<CommandLine>, text: &str) -> Result<(), String> {
    let words = command(text)?;
    if words.is_empty() {
        list.clear();
        return Ok(());
    }
    list.push(CommandLine {
        words,
        may_fail: text.starts_with('-'),
    });
    Ok(())
}

/// The number of a descriptor that a service may be given: 0, 1 and 2 are its input and outputs.
pub fn notification_descriptor(text: &str) -> Result<i32, String> {
    value::number(text, 3, 255)
}

/// `X-Probe=unix:/path` or `X-Probe=exec:/program argument...`, and what belongs to it, in whatever order they stand.
fn probe(spec: &mut ServiceSpec, key: &str, text: &str) -> Result<(), String> {
    let probe = spec.probe.get_or_insert_with(|| ProbeSpec {
        path: String::new(),
        command: Vec::new(),
        interval: PROBE_INTERVAL,
        failures: PROBE_FAILURES,
    });
    match key {
        "X-Probe" => {
            let is_absolute = |rest: &&str| rest.starts_with('/');
            let path = text.strip_prefix("unix:").filter(is_absolute);
            let program = text.strip_prefix("exec:").filter(is_absolute);
            (probe.path, probe.command) = match (path, program) {
                (Some(path), _) => (path.to_owned(), Vec::new()),
                (_, Some(program)) => (String::new(), command(program)?),
                _ => {
                    return Err(format!(
                        "`{text}` is neither `unix:/path/of/a/socket` nor `exec:/path/of/a/program`"
                    ));
                }
            };
        }
        "X-ProbeIntervalSec" => {
            let interval = value::time_span(text)?.filter(|span| !span.is_zero());
            probe.interval = interval.ok_or("the interval between two probes must have an end")?;
        }
        _ => probe.failures = value::number(text, 1, 1000)?,
    }
    Ok(())
}

/// A command line; a leading `-` (failure is no failure) is taken off for reload and drain commands.
fn command(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim_start_matches('-');
    if text.starts_with(['@', '+', '!', ':', '|']) {
        return Err("the prefixes @ + ! : and | are not supported".to_owned());
    }
    value::words(text)
}

fn environment(into: &mut Vec<(String, String)>, text: &str) -> Result<(), String> {
    if text.is_empty() {
        into.clear();
    }
    for word in value::words(text)? {
        let (name, value) = word
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| format!("`{word}` is not NAME=value"))?;
        into.retain(|(known, _)| known != name);
        into.push((name.to_owned(), value.to_owned()));
    }
    Ok(())
}

fn limit(spec: &mut ServiceSpec, resource: LimitResource, text: &str) -> Result<(), String> {
    let (soft, hard) = match text.split_once(':') {
        Some((soft, hard)) => (value::size(soft)?, value::size(hard)?),
        None => (value::size(text)?, value::size(text)?),
    };
    spec.limits.retain(|known| known.resource != resource);
    spec.limits.push(Limit {
        resource,
        soft,
        hard,
    });
    Ok(())
}

fn output(text: &str) -> Result<Output, String> {
    match text {
        "null" => Ok(Output::Null),
        "journal" | "syslog" | "inherit" | "journal+console" => Ok(Output::Log),
        other => Err(format!(
            "`{other}` is not supported; write `journal` or `null`"
        )),
    }
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("`{text}` is not an octal mode such as 0755"))
}

/// Unit names without the suffixes `.service`, `.socket` and `.target`; targets are dropped, they do not exist here.
fn names(text: &str) -> Vec<String> {
    text.split_whitespace()
        .filter(|name| !name.ends_with(".target"))
        .map(|name| {
            name.trim_end_matches(".service")
                .trim_end_matches(".socket")
                .to_owned()
        })
        .collect()
}

/// An empty assignment empties a list, as in systemd.
fn extend_or_reset(list: &mut Vec<String>, more: Vec<String>) {
    if more.is_empty() {
        list.clear();
    }
    list.extend(more);
}

#[cfg(test)]
mod tests;
