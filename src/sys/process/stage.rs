//! The steps of a child's set-up, and how a failing one is told.

use std::io;

/// The step of the child's set-up at which it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Session,
    Descriptors,
    Cgroup,
    Limits,
    Priority,
    Groups,
    User,
    Capabilities,
    NoNewPrivileges,
    WorkingDirectory,
    Execute,
}

impl Stage {
    pub(super) const ALL: [Stage; 11] = [
        Stage::Session,
        Stage::Descriptors,
        Stage::Cgroup,
        Stage::Limits,
        Stage::Priority,
        Stage::Groups,
        Stage::User,
        Stage::Capabilities,
        Stage::NoNewPrivileges,
        Stage::WorkingDirectory,
        Stage::Execute,
    ];

    fn text(self) -> &'static str {
        match self {
            Stage::Session => "starting a session",
            Stage::Descriptors => "arranging its descriptors",
            Stage::Cgroup => "entering its cgroup",
            Stage::Limits => "setting its limits",
            Stage::Priority => "setting its priorities",
            Stage::Groups => "setting its groups",
            Stage::User => "becoming its user",
            Stage::Capabilities => "setting its capabilities",
            Stage::NoNewPrivileges => "giving up new privileges",
            Stage::WorkingDirectory => "entering its working directory",
            Stage::Execute => "executing its program",
        }
    }
}

/// Why a child did not become its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed at {}: {}", .stage.text(), io::Error::from_raw_os_error(*.errno))]
pub struct SetupError {
    pub stage: Stage,
    pub errno: i32,
}

/// The error of the last system call.
pub fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A result below zero as the failure of `stage`.
pub fn check(stage: Stage, result: libc::c_int) -> Result<libc::c_int, (Stage, i32)> {
    if result < 0 {
        Err((stage, errno()))
    } else {
        Ok(result)
    }
}
