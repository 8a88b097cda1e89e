//! Another program's run, as the keeper's one worker waits for it: what it said and how it ended, within a time.
//!
//! The thread that asks is held up meanwhile. Invariant: no child outlives its time, nor does what it has started.

use std::time::Duration;

use crate::sys::{environment, process, program};
use crate::units::exit::Exit;

/// How it went.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    /// What it said, on its standard output and error.
    pub lines: Vec<String>,
}

/// Runs a program of PATH with our own environment and these variables besides.
///
/// # Errors
/// If it cannot be started or does not end in time.
pub fn run(
    program: &str,
    arguments: &[&str],
    more: &[(String, String)],
    patience: Duration,
) -> Result<Ended, String> {
    let mut variables = environment::all();
    // That is between us and PID 1.
    variables.remove("NOTIFY_SOCKET");
    variables.extend(more.iter().cloned());
    let path = variables.get("PATH").cloned();
    let found = process::resolve(program, path.as_deref().unwrap_or("/usr/bin:/bin"));
    let found = found.ok_or_else(|| format!("there is no program `{program}`"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot wait for `{program}`: {e}"))?;
    let mut lines = Vec::new();
    let hear = |line: &str| lines.push(line.to_owned());
    let variables = variables.into_iter().collect();
    let ended = runtime.block_on(program::run(&found, arguments, variables, patience, hear));
    let exit = ended.map_err(|error| format!("`{program}`: {error}"))?;
    Ok(Ended { exit, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_and_exit_code_come_back() {
        let ended = run(
            "sh",
            &["-c", "echo $WORD; exit 3"],
            &[("WORD".into(), "hello".into())],
            LONG,
        );
        let ended = ended.unwrap();
        assert_eq!(
            (ended.exit, ended.lines),
            (Exit::Code(3), vec!["hello".to_owned()])
        );
    }

    #[test]
    fn one_that_does_not_end_is_ended_with_what_it_has_started() {
        let script = "sleep 600 & sleep 600";
        let error = run("sh", &["-c", script], &[], Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("took longer"), "{error}");
        assert!(run("no-such-program", &[], &[], LONG).is_err());
    }
}
