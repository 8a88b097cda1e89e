//! The table of unit directives: which we honour, which we ignore and why, which we refuse.
//!
//! This is the single place: the parser, the start-up notes and the reference page all read it.
//! Invariant: a directive whose absence would weaken security is never in the ignored list.

/// What we do with a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    Honoured,
    /// Has no effect here; the text says why that does no harm.
    Ignored(&'static str),
    /// Would weaken security or change meaning if it were ignored; the text says what to do.
    Refused(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    pub section: &'static str,
    pub name: &'static str,
    pub treatment: Treatment,
}

const fn honoured(section: &'static str, name: &'static str) -> Directive {
    Directive {
        section,
        name,
        treatment: Treatment::Honoured,
    }
}
const fn ignored(section: &'static str, name: &'static str, why: &'static str) -> Directive {
    Directive {
        section,
        name,
        treatment: Treatment::Ignored(why),
    }
}
const fn refused(section: &'static str, name: &'static str, what: &'static str) -> Directive {
    Directive {
        section,
        name,
        treatment: Treatment::Refused(what),
    }
}

const CONTAINER: &str = "the container is the sandbox";
const NOT_YET_SANDBOX: &str = "not available here; take it out or confine the container instead";

/// Every directive that we know, by section; the section `runit` lists the files of a service directory.
pub const DIRECTIVES: &[Directive] = &[
    honoured("Unit", "Description"),
    ignored("Unit", "Documentation", "for readers only"),
    honoured("Unit", "After"),
    honoured("Unit", "Requires"),
    honoured("Unit", "Before"),
    ignored("Unit", "Wants", "every unit here is wanted"),
    ignored(
        "Unit",
        "Requisite",
        "nothing is started only because another unit asks",
    ),
    honoured("Unit", "StartLimitIntervalSec"),
    honoured("Unit", "StartLimitBurst"),
    honoured("Unit", "ConditionPathExists"),
    honoured("Unit", "ConditionEnvironment"),
    honoured("Service", "Type"),
    honoured("Service", "ExecStart"),
    honoured("Service", "ExecReload"),
    honoured("Service", "X-Drain"),
    honoured("Service", "X-Role"),
    honoured("Service", "X-CrashLoop"),
    honoured("Service", "User"),
    honoured("Service", "Group"),
    honoured("Service", "SupplementaryGroups"),
    honoured("Service", "Environment"),
    honoured("Service", "WorkingDirectory"),
    honoured("Service", "RuntimeDirectory"),
    honoured("Service", "RuntimeDirectoryMode"),
    honoured("Service", "Restart"),
    honoured("Service", "RestartSec"),
    honoured("Service", "TimeoutStartSec"),
    honoured("Service", "TimeoutStopSec"),
    honoured("Service", "TimeoutSec"),
    honoured("Service", "LimitCORE"),
    honoured("Service", "LimitNOFILE"),
    honoured("Service", "LimitNPROC"),
    honoured("Service", "LimitMEMLOCK"),
    honoured("Service", "LimitAS"),
    honoured("Service", "LimitSTACK"),
    honoured("Service", "NoNewPrivileges"),
    honoured("Service", "AmbientCapabilities"),
    honoured("Service", "CapabilityBoundingSet"),
    honoured("Service", "UMask"),
    honoured("Service", "StandardOutput"),
    honoured("Service", "StandardError"),
    honoured("Service", "Sockets"),
    honoured("Service", "NotifyAccess"),
    honoured("Service", "WatchdogSec"),
    honoured("Service", "X-NotificationFd"),
    honoured("Service", "X-Probe"),
    honoured("Service", "X-ProbeIntervalSec"),
    honoured("Service", "X-ProbeFailures"),
    honoured("Service", "TimeoutAbortSec"),
    honoured("Service", "RemainAfterExit"),
    honoured("Service", "SuccessExitStatus"),
    honoured("Service", "RestartPreventExitStatus"),
    honoured("Service", "RestartForceExitStatus"),
    honoured("Service", "StartLimitInterval"),
    honoured("Service", "StartLimitBurst"),
    honoured("Service", "KillSignal"),
    honoured("Service", "KillMode"),
    honoured("Service", "SendSIGHUP"),
    ignored(
        "Service",
        "FinalKillSignal",
        "what does not end in its grace is ended by SIGKILL",
    ),
    ignored(
        "Service",
        "SendSIGKILL",
        "a stop always ends, by SIGKILL if need be",
    ),
    honoured("Service", "FileDescriptorStoreMax"),
    honoured("Service", "PassEnvironment"),
    honoured("Service", "UnsetEnvironment"),
    honoured("Service", "OOMScoreAdjust"),
    ignored("Service", "StandardInput", "input is always /dev/null"),
    ignored(
        "Service",
        "SyslogIdentifier",
        "the log shows the unit's name",
    ),
    ignored("Service", "PrivateTmp", CONTAINER),
    ignored("Service", "ProtectSystem", CONTAINER),
    ignored("Service", "ProtectHome", CONTAINER),
    ignored("Service", "PrivateDevices", CONTAINER),
    honoured("Service", "Nice"),
    refused("Service", "DynamicUser", "name a user with `User=`"),
    refused("Service", "RootDirectory", NOT_YET_SANDBOX),
    refused("Service", "SystemCallFilter", NOT_YET_SANDBOX),
    refused("Service", "RestrictAddressFamilies", NOT_YET_SANDBOX),
    refused("Service", "InaccessiblePaths", NOT_YET_SANDBOX),
    refused("Service", "ReadOnlyPaths", NOT_YET_SANDBOX),
    refused("Service", "IPAddressDeny", NOT_YET_SANDBOX),
    refused("Service", "SecureBits", NOT_YET_SANDBOX),
    honoured("Service", "ExecStartPre"),
    honoured("Service", "ExecStartPost"),
    honoured("Service", "ExecStop"),
    honoured("Service", "ExecStopPost"),
    honoured("Service", "EnvironmentFile"),
    honoured("Socket", "ListenStream"),
    honoured("Socket", "ListenDatagram"),
    honoured("Socket", "ListenSequentialPacket"),
    honoured("Socket", "Service"),
    honoured("Socket", "SocketUser"),
    honoured("Socket", "SocketGroup"),
    honoured("Socket", "SocketMode"),
    honoured("Socket", "FreeBind"),
    honoured("Socket", "Backlog"),
    honoured("Socket", "Accept"),
    honoured("Socket", "ReusePort"),
    honoured("Socket", "RemoveOnStop"),
    honoured("Socket", "FileDescriptorName"),
    honoured("Socket", "TriggerLimitIntervalSec"),
    honoured("Socket", "TriggerLimitBurst"),
    honoured("Socket", "X-Role"),
    honoured("Timer", "OnCalendar"),
    honoured("Timer", "OnBootSec"),
    honoured("Timer", "OnStartupSec"),
    honoured("Timer", "OnActiveSec"),
    honoured("Timer", "OnUnitActiveSec"),
    honoured("Timer", "OnUnitInactiveSec"),
    honoured("Timer", "RandomizedDelaySec"),
    honoured("Timer", "Persistent"),
    honoured("Timer", "Unit"),
    ignored("Timer", "AccuracySec", "a timer is exact"),
    ignored("Timer", "WakeSystem", "a container does not sleep"),
    honoured("Install", "WantedBy"),
    honoured("Install", "RequiredBy"),
    ignored("Install", "Alias", "a unit has one name"),
    honoured("runit", "run"),
    honoured("runit", "down"),
    honoured("runit", "env/"),
    honoured("runit", "finish"),
    honoured("runit", "check"),
    honoured("runit", "log/run"),
    honoured("runit", "control/"),
    honoured("runit", "notification-fd"),
];

/// Whether `name` in `section` has its effect.
pub fn is_honoured(section: &str, name: &str) -> bool {
    find(section, name).is_some_and(|row| row.treatment == Treatment::Honoured)
}

/// The row of `name` in `section`, if we know it.
pub fn find(section: &str, name: &str) -> Option<&'static Directive> {
    DIRECTIVES
        .iter()
        .find(|d| d.section == section && d.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_directive_stands_twice() {
        for (i, a) in DIRECTIVES.iter().enumerate() {
            assert!(
                !DIRECTIVES[i + 1..]
                    .iter()
                    .any(|b| a.section == b.section && a.name == b.name),
                "{} {}",
                a.section,
                a.name
            );
        }
    }
}
