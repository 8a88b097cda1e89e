//! `.service` files to `ServiceSpec` (systemd.service(5), systemd.exec(5), the subset of `directives`).
//!
//! Pure. Invariant: a spec comes out only when no finding is an error.

use std::time::Duration;

use super::spec::{
    Finding, Limit, LimitResource, Output, Readiness, Restart, RuntimeDirectory, ServiceSpec,
    Severity,
};
use super::unit_file::{self, Assignment, Source};
use super::{capability, value};

/// The grace between SIGTERM and SIGKILL when a unit names none.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The time a service may take to become ready when a unit names none.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Reads the unit `name` (without suffix) from its file and drop-ins, in order.
pub fn read(name: &str, sources: &[Source]) -> (Option<ServiceSpec>, Vec<Finding>) {
    let (assignments, mut findings) = unit_file::collect(sources, &["Unit", "Service", "Install"]);
    let mut spec = ServiceSpec {
        name: name.to_owned(),
        description: name.to_owned(),
        readiness: Readiness::Exec,
        command: Vec::new(),
        reload: None,
        drain: None,
        is_log: false,
        user: None,
        group: None,
        supplementary_groups: Vec::new(),
        environment: Vec::new(),
        working_directory: None,
        runtime_directories: Vec::new(),
        restart: Restart::No,
        restart_pause: None,
        start_timeout: Some(START_TIMEOUT),
        stop_timeout: STOP_TIMEOUT,
        limits: Vec::new(),
        no_new_privileges: false,
        capabilities: Vec::new(),
        bounding_set: None,
        umask: None,
        stdout: Output::Log,
        stderr: Output::Log,
        after: Vec::new(),
        requires: Vec::new(),
        sockets: Vec::new(),
    };
    let mut directory_mode = 0o755;
    for assignment in &assignments {
        if let Err(text) = assign(&mut spec, &mut directory_mode, assignment) {
            findings.push(assignment.error(text));
        }
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
    let text = value::specifiers(&a.value, &spec.name, ".service")?;
    let text = text.as_str();
    match a.key.as_str() {
        "Description" => spec.description = text.to_owned(),
        "After" => extend_or_reset(&mut spec.after, names(text)),
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
        "ExecStart" => spec.command = command(text)?,
        "ExecReload" => spec.reload = Some(command(text)?).filter(|c| !c.is_empty()),
        "X-Drain" => spec.drain = Some(command(text)?).filter(|c| !c.is_empty()),
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
        other => {
            return Err(format!(
                "`{other}=` does not belong into section [{}]",
                a.section
            ));
        }
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
mod tests {
    use super::*;

    fn source(text: &str) -> Vec<Source> {
        vec![Source {
            file: "a.service".to_owned(),
            text: text.to_owned(),
        }]
    }

    #[test]
    fn a_full_unit_becomes_a_spec() {
        let (spec, findings) = read(
            "asterisk",
            &source(
                "[Unit]\nAfter=network.target logd.service\n[Service]\nType=notify\nUser=asterisk\n\
                 ExecStart=/usr/sbin/asterisk -f -C '/etc/a b'\nRestart=always\nLimitCORE=infinity\n\
                 RuntimeDirectory=asterisk\nRuntimeDirectoryMode=0750\nTimeoutStopSec=5\nStandardOutput=null\n",
            ),
        );
        let spec = spec.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(spec.command, ["/usr/sbin/asterisk", "-f", "-C", "/etc/a b"]);
        assert_eq!(spec.after, ["logd"]);
        assert_eq!(spec.readiness, Readiness::Notify);
        assert_eq!(spec.stop_timeout, Duration::from_secs(5));
        assert_eq!(spec.runtime_directories[0].mode, 0o750);
        assert_eq!(spec.stdout, Output::Null);
    }

    #[test]
    fn what_would_weaken_security_is_an_error_and_the_rest_is_named() {
        let (spec, findings) = read(
            "a",
            &source("[Service]\nExecStart=/bin/a\nDynamicUser=yes\nPrivateTmp=yes\nFrobnicate=1\n"),
        );
        assert!(spec.is_none());
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        a.service:3: `DynamicUser=` is refused: name a user with `User=`
        a.service:4: `PrivateTmp=` is ignored: the container is the sandbox
        a.service:5: `Frobnicate=` is not a directive that we know; ignored
        ");
    }

    #[test]
    fn a_unit_without_a_command_is_an_error() {
        let (spec, findings) = read("a", &source("[Service]\nType=notify\n"));
        assert!(spec.is_none());
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn a_drop_in_overrides_the_file() {
        let mut sources = source("[Service]\nExecStart=/bin/a\nRestart=no\nEnvironment=A=1 B=2\n");
        sources.push(Source {
            file: "a.service.d/x.conf".to_owned(),
            text: "[Service]\nRestart=always\nEnvironment=A=3\n".to_owned(),
        });
        let spec = read("a", &sources).0.unwrap();
        assert_eq!(spec.restart, Restart::Always);
        assert_eq!(
            spec.environment,
            [("B".into(), "2".into()), ("A".into(), "3".into())]
        );
    }
}
