//! Another program's run: its output and how it ended, within a time.
//!
//! For the keeper, which has one worker and so one child at a time. Invariant: no child outlives its time, nor does what
//! it has started.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

use crate::sys::environment;
use crate::sys::process::{self, Launch};
use crate::units::exit::Exit;

/// More output than this is not kept.
const LONGEST: usize = 64 * 1024;
/// How long one that was killed may take to go.
const FAREWELL: Duration = Duration::from_secs(5);

/// How it went.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    /// What it wrote to its standard output.
    pub output: Vec<u8>,
}

/// Runs a program of PATH with our own environment and these variables besides. What it says on stderr goes to ours.
///
/// # Errors
/// If it cannot be started or does not end in time.
pub fn run(
    program: &str,
    arguments: &[&str],
    more: &[(String, String)],
    patience: Duration,
) -> Result<Ended, String> {
    let end = Instant::now() + patience;
    let mut variables = environment::all();
    // That is between us and PID 1.
    variables.remove("NOTIFY_SOCKET");
    variables.extend(more.iter().cloned());
    let path = variables.get("PATH").cloned();
    let found = process::resolve(program, path.as_deref().unwrap_or("/usr/bin:/bin"));
    let found = found.ok_or_else(|| format!("there is no program `{program}`"))?;
    let (mut output, input) = pipe2(OFlag::O_CLOEXEC)
        .map(|(read, write)| (std::fs::File::from(read), write))
        .map_err(|e| format!("cannot open a pipe: {e}"))?;
    let launch = Launch {
        program: found,
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        environment: variables.into_iter().collect(),
        stdout: Some(input),
        stderr: io::stderr().as_fd().try_clone_to_owned().ok(),
        ..Launch::default()
    };
    let child = process::spawn(&launch).map_err(|e| format!("cannot run `{program}`: {e}"))?;
    drop(launch);
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut wanted = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, wait) {
            Ok(0) => break,
            Err(nix::Error::EINTR) => continue,
            _ => {}
        }
        match output.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                let room = LONGEST.saturating_sub(kept.len());
                kept.extend_from_slice(piece.get(..count.min(room)).unwrap_or_default());
            }
        }
    }
    let left = end.saturating_duration_since(Instant::now());
    if let Some(exit) = process::wait_for(&child, left) {
        return Ok(Ended { exit, output: kept });
    }
    // It leads a session of its own, and what it has started is with it.
    process::signal_group(child.pid, nix::libc::SIGKILL);
    let _ = process::wait_for(&child, FAREWELL);
    Err(format!(
        "`{program}` did not end within {} s",
        patience.as_secs()
    ))
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
            (ended.exit, ended.output),
            (Exit::Code(3), b"hello\n".to_vec())
        );
    }

    #[test]
    fn one_that_does_not_end_is_ended_with_what_it_has_started() {
        let script = "sleep 600 & sleep 600";
        let error = run("sh", &["-c", script], &[], Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("did not end"), "{error}");
        assert!(run("no-such-program", &[], &[], LONG).is_err());
    }
}
