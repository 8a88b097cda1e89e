//! Carrying out hook runs: finding the programs, running them, taking over the variables that they pass on.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::unit::{PATH, duplicate, set};
use super::{Role, Supervisor};
use crate::init::hooks::{self, Effect, Failure, HookRun};
use crate::init::service::{Exit, Moment};
use crate::init::{EXIT_FAILED, shutdown};
use crate::logd::syslog::{DEBUG, ERROR, WARNING};
use crate::sys::process::{self, Launch};

/// The most that one exit hook may take: Docker's patience is running.
const EXIT_HOOK_LIMIT: Duration = Duration::from_secs(10);

impl Supervisor {
    pub(super) fn begin_entry_hooks(&mut self) {
        let mut found = self.find_hooks(
            &self.config.entry_dir.clone(),
            &self.paths.user_entry_hooks(),
        );
        // What they write may be what the PBX's sockets follow from, and these are bound already.
        let sockets = self.paths.sockets_hook();
        if !found.is_empty() && sockets.exists() {
            found.push(sockets);
        }
        self.begin(HookRun::new(
            found,
            self.config.hook_timeout,
            Failure::EndsTheStart,
        ));
    }

    pub(super) fn begin_exit_hooks(&mut self) {
        let found = self.find_hooks(&self.config.exit_dir.clone(), &self.paths.user_exit_hooks());
        let limit = self.config.hook_timeout.min(EXIT_HOOK_LIMIT);
        self.begin(HookRun::new(found, limit, Failure::IsReported));
    }

    fn begin(&mut self, mut run: HookRun) {
        let effects = run.start(self.now());
        self.hooks = Some(run);
        self.carry_out_hooks(effects);
    }

    /// The image's hooks, then the volume's, each in name order; files without run bit are named and skipped.
    fn find_hooks(&mut self, image: &str, volume: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for directory in [self.paths.at(image), volume.to_path_buf()] {
            let Ok(entries) = std::fs::read_dir(&directory) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect();
            paths.sort();
            for path in paths {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let Ok(metadata) = std::fs::metadata(&path) else {
                    continue;
                };
                if !metadata.is_file() || !hooks::is_hook_name(&name) {
                    continue;
                }
                if metadata.permissions().mode() & 0o111 == 0 {
                    let text = format!(
                        "hook `{}` is skipped: it has no run bit (chmod +x)",
                        path.display()
                    );
                    self.journal.say(WARNING, text);
                    continue;
                }
                found.push(path);
            }
        }
        found
    }

    fn carry_out_hooks(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Run(hook) => self.run_hook(&hook),
                Effect::Kill => {
                    let running = self
                        .roles
                        .iter()
                        .find(|(_, role)| **role == Role::Hook)
                        .map(|(pid, _)| *pid);
                    if let Some(pid) = running {
                        process::signal_group(nix::unistd::Pid::from_raw(pid), libc::SIGKILL);
                    }
                }
                Effect::Say(report) => {
                    let severity = if report.fatal { ERROR } else { WARNING };
                    self.journal.say(severity, report.to_string());
                }
                Effect::Finished => {
                    self.hooks = None;
                    let event = match self.shutdown.phase() {
                        shutdown::Phase::EntryHooks => shutdown::Event::EntryHooksDone,
                        _ => shutdown::Event::ExitHooksDone,
                    };
                    self.phase_event(event);
                }
                Effect::Aborted => {
                    self.hooks = None;
                    self.exit_code = EXIT_FAILED;
                    let hint = "hint: repair it, or let its name end in `.optional` so that a failure only warns";
                    self.journal
                        .say(ERROR, format!("the start ends here\n{hint}"));
                    self.phase_event(shutdown::Event::StartAborted);
                }
            }
        }
    }

    fn run_hook(&mut self, hook: &Path) {
        self.journal
            .say(DEBUG, format!("running hook `{}`", hook.display()));
        match self.launch_hook(hook) {
            Ok(child) => {
                // The hook run keeps its own time.
                self.remember(child, Role::Hook, Moment::MAX);
            }
            Err(problem) => {
                let now = self.now();
                let effects = self
                    .hooks
                    .as_mut()
                    .map(|run| run.not_run(problem, now))
                    .unwrap_or_default();
                self.carry_out_hooks(effects);
            }
        }
    }

    fn launch_hook(&self, hook: &Path) -> Result<process::Child, String> {
        let passed = self.paths.hook_environment();
        // Only for root: what hooks pass on may be secret.
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&passed)
            .map_err(|e| format!("cannot empty `{}`: {e}", passed.display()))?;
        let mut environment = self.environment.clone();
        set(
            &mut environment,
            "SWITCHHOOK_HOOK_ENV",
            &passed.to_string_lossy(),
        );
        if !environment.iter().any(|(name, _)| name == "PATH") {
            set(&mut environment, "PATH", PATH);
        }
        // A script without an interpreter line is run by the shell, as a shell would do it.
        let starts_with = |magic: &[u8]| {
            let mut head = vec![0u8; magic.len()];
            let read = std::fs::File::open(hook)
                .and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head));
            read.is_ok() && head == magic
        };
        let hook_text = hook.to_string_lossy().into_owned();
        let (program, arguments) = if starts_with(b"#!") || starts_with(b"\x7fELF") {
            (hook.to_path_buf(), vec![])
        } else {
            (PathBuf::from("/bin/sh"), vec![hook_text])
        };
        let output = if self.log_unit().is_some() {
            duplicate(&self.hook_pipe.write)?
        } else {
            std::os::fd::AsFd::as_fd(&std::io::stderr())
                .try_clone_to_owned()
                .map_err(|e| e.to_string())?
        };
        let launch = Launch {
            program,
            arguments,
            environment,
            stderr: Some(duplicate(&output)?),
            stdout: Some(output),
            ..Launch::default()
        };
        process::spawn(&launch).map_err(|e| e.to_string())
    }

    pub(super) fn hook_ended(&mut self, exit: Exit) {
        let mut effects = Vec::new();
        let now = self.now();
        match self.take_passed_variables() {
            Ok(()) => effects.extend(
                self.hooks
                    .as_mut()
                    .map(|run| run.exited(exit, now))
                    .unwrap_or_default(),
            ),
            Err(problem) => {
                effects.extend(
                    self.hooks
                        .as_mut()
                        .map(|run| run.not_run(problem, now))
                        .unwrap_or_default(),
                );
            }
        }
        self.carry_out_hooks(effects);
    }

    /// Adds what the hook wrote into `SWITCHHOOK_HOOK_ENV` to the environment of all that follow.
    fn take_passed_variables(&mut self) -> Result<(), String> {
        let file = self.paths.hook_environment();
        let Ok(text) = std::fs::read_to_string(&file) else {
            return Ok(());
        };
        for (name, value) in hooks::parse_passed_variables(&file, &text)? {
            set(&mut self.environment, &name, &value);
        }
        Ok(())
    }

    pub(super) fn hook_deadline(&mut self, now: Moment) {
        if let Some(run) = &mut self.hooks
            && run.deadline().is_some_and(|at| at <= now)
        {
            let effects = run.deadline_passed();
            self.carry_out_hooks(effects);
        }
    }

    pub(super) fn cut_hooks(&mut self) {
        let effects = self
            .hooks
            .as_mut()
            .map(HookRun::cut_short)
            .unwrap_or_default();
        self.carry_out_hooks(effects);
    }
}
