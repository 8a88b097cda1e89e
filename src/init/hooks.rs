//! Running hooks one after the other, as an explicit machine, and the variables that they pass on.
//!
//! Pure. A hook is a program of its own with a timeout; the order is that of the names, the image's
//! directory before the volume's. Rule: a failing entry hook ends the start, unless its name ends in
//! `.optional`; a failing exit hook is only reported.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::service::{Exit, Moment};

/// What a hook's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    EndsTheStart,
    IsReported,
}

/// Something to do for the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Run(PathBuf),
    /// Kill the running hook's process group.
    Kill,
    Say(Report),
    /// All are done.
    Finished,
    /// A fatal failure; the rest is not run.
    Aborted,
}

/// What is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub hook: String,
    pub problem: Problem,
    pub fatal: bool,
}

/// How a hook failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    Exit(Exit),
    TimedOut(Duration),
    NotRun(String),
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.problem {
            Problem::Exit(exit) => write!(f, "hook `{}` failed with {exit}", self.hook),
            Problem::TimedOut(limit) => {
                write!(
                    f,
                    "hook `{}` was killed after {} s",
                    self.hook,
                    limit.as_secs_f64()
                )
            }
            Problem::NotRun(reason) => write!(f, "hook `{}` could not be run: {reason}", self.hook),
        }
    }
}

/// A run through a list of hooks.
#[derive(Debug)]
pub struct HookRun {
    waiting: std::collections::VecDeque<PathBuf>,
    current: Option<(PathBuf, Moment)>,
    timed_out: bool,
    limit: Duration,
    failure: Failure,
}

impl HookRun {
    pub fn new(hooks: Vec<PathBuf>, limit: Duration, failure: Failure) -> HookRun {
        HookRun {
            waiting: hooks.into(),
            current: None,
            timed_out: false,
            limit,
            failure,
        }
    }

    /// Starts the first hook, or says that there is none.
    pub fn start(&mut self, now: Moment) -> Vec<Effect> {
        self.next(now)
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.current
            .as_ref()
            .filter(|_| !self.timed_out)
            .map(|(_, until)| *until)
    }

    pub fn exited(&mut self, exit: Exit, now: Moment) -> Vec<Effect> {
        let problem = match (std::mem::take(&mut self.timed_out), exit.is_success()) {
            (true, _) => Some(Problem::TimedOut(self.limit)),
            (false, true) => None,
            (false, false) => Some(Problem::Exit(exit)),
        };
        self.ended(problem, now)
    }

    pub fn not_run(&mut self, reason: String, now: Moment) -> Vec<Effect> {
        self.ended(Some(Problem::NotRun(reason)), now)
    }

    pub fn deadline_passed(&mut self) -> Vec<Effect> {
        self.timed_out = true;
        vec![Effect::Kill]
    }

    /// Forgets what waits and kills what runs; `exited` then finishes the run.
    pub fn cut_short(&mut self) -> Vec<Effect> {
        self.waiting.clear();
        if self.current.is_some() {
            vec![Effect::Kill]
        } else {
            vec![Effect::Finished]
        }
    }

    fn ended(&mut self, problem: Option<Problem>, now: Moment) -> Vec<Effect> {
        let Some((hook, _)) = self.current.take() else {
            return vec![];
        };
        let mut effects = Vec::new();
        if let Some(problem) = problem {
            let name = hook.to_string_lossy().into_owned();
            let fatal = self.failure == Failure::EndsTheStart && !name.ends_with(".optional");
            effects.push(Effect::Say(Report {
                hook: name,
                problem,
                fatal,
            }));
            if fatal {
                self.waiting.clear();
                effects.push(Effect::Aborted);
                return effects;
            }
        }
        effects.extend(self.next(now));
        effects
    }

    fn next(&mut self, now: Moment) -> Vec<Effect> {
        match self.waiting.pop_front() {
            Some(hook) => {
                self.current = Some((hook.clone(), now.saturating_add(self.limit)));
                vec![Effect::Run(hook)]
            }
            None => vec![Effect::Finished],
        }
    }
}

/// Whether a directory entry counts as a hook: editors' and packagers' leftovers do not.
pub fn is_hook_name(name: &str) -> bool {
    let leftover = [
        ".bak",
        ".orig",
        ".rej",
        ".swp",
        ".dpkg-dist",
        ".dpkg-old",
        ".dpkg-new",
        "~",
    ];
    !name.starts_with('.')
        && name != "README"
        && name != "README.md"
        && !leftover.iter().any(|s| name.ends_with(s))
}

/// Variables that hooks passed on: lines `NAME=value`; blank lines and `#` comments are skipped.
pub fn parse_passed_variables(file: &Path, text: &str) -> Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = line
            .split_once('=')
            .filter(|(name, _)| is_variable_name(name));
        let Some((name, value)) = parsed else {
            return Err(format!(
                "{}:{}: `{line}` is not NAME=value",
                file.display(),
                index + 1
            ));
        };
        out.push((name.to_owned(), value.to_owned()));
    }
    Ok(out)
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn run(names: &[&str], failure: Failure) -> HookRun {
        HookRun::new(names.iter().map(PathBuf::from).collect(), 10 * S, failure)
    }

    #[test]
    fn hooks_run_one_after_the_other() {
        let mut r = run(&["a", "b"], Failure::EndsTheStart);
        assert_eq!(r.start(S), [Effect::Run("a".into())]);
        assert_eq!(r.deadline(), Some(11 * S));
        assert_eq!(r.exited(Exit::Code(0), 2 * S), [Effect::Run("b".into())]);
        assert_eq!(r.exited(Exit::Code(0), 3 * S), [Effect::Finished]);
    }

    #[test]
    fn a_failing_entry_hook_ends_the_start() {
        let mut r = run(&["a", "b"], Failure::EndsTheStart);
        r.start(S);
        let effects = r.exited(Exit::Code(3), 2 * S);
        assert_eq!(effects.last(), Some(&Effect::Aborted));
    }

    #[test]
    fn an_optional_hook_only_warns() {
        let mut r = run(&["a.optional", "b"], Failure::EndsTheStart);
        r.start(S);
        assert_eq!(
            r.exited(Exit::Signal(11), 2 * S).last(),
            Some(&Effect::Run("b".into()))
        );
    }

    #[test]
    fn a_hanging_hook_is_killed_and_says_so() {
        let mut r = run(&["a"], Failure::IsReported);
        r.start(S);
        assert_eq!(r.deadline_passed(), [Effect::Kill]);
        assert_eq!(r.deadline(), None);
        let effects = r.exited(Exit::Signal(9), 12 * S);
        let Effect::Say(report) = &effects[0] else {
            panic!("{effects:?}")
        };
        assert_eq!(report.to_string(), "hook `a` was killed after 10 s");
        assert_eq!(effects[1], Effect::Finished);
    }

    #[test]
    fn passed_variables_are_checked() {
        let file = Path::new("/run/x");
        let good = parse_passed_variables(file, "# c\nA=1\n\nB_2=x=y\n").unwrap();
        assert_eq!(
            good,
            [("A".into(), "1".into()), ("B_2".into(), "x=y".into())]
        );
        assert_eq!(
            parse_passed_variables(file, "A=1\n2B=3\n").unwrap_err(),
            "/run/x:2: `2B=3` is not NAME=value"
        );
    }

    #[test]
    fn leftovers_are_no_hooks() {
        assert!(is_hook_name("50-greet"));
        for name in [".hidden", "a~", "a.bak", "README.md", "a.dpkg-dist"] {
            assert!(!is_hook_name(name), "{name}");
        }
    }
}
