//! One order to the PBX to read a part of its configuration again, over its console.
//!
//! It retries only what the PBX has put off itself. Invariant: when it returns without an error the PBX has read it, or had
//! more than a minute for it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::control::{self, CtlError};
use crate::sys::clock;

/// How long it may take for one command.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the PBX may take to start before it is called down.
const START: Duration = Duration::from_secs(60);
/// Between two tries while another reload goes on.
const PAUSE: Duration = Duration::from_millis(50);

/// Has a reload done, not only noted down, and returns what the console said: while the PBX starts it takes requests and carries them out afterwards, and
/// its listeners meanwhile show what they have read before.
///
/// # Errors
/// If the PBX is down or does not answer.
pub fn ordered(console: &Path, command: &str) -> Result<String, CtlError> {
    let end = Instant::now() + START;
    loop {
        let answer = control::run(console, command, PATIENCE)?;
        if !is_put_off(&answer) || Instant::now() >= end {
            return Ok(answer);
        }
        let left = end.saturating_duration_since(Instant::now());
        control::run(console, "core waitfullybooted", left)?;
        clock::pause(PAUSE);
    }
}

/// What the console says of a reload that it has not done (main/cli.c, handle_reload).
fn is_put_off(answer: &str) -> bool {
    ["request queued", "already in progress"]
        .iter()
        .any(|words| answer.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_was_put_off_is_told_from_one_that_was_done() {
        assert!(is_put_off(
            "Asterisk cannot reload a module yet; request queued\n"
        ));
        assert!(is_put_off(
            "A module reload request is already in progress; please be patient\n"
        ));
        assert!(!is_put_off(
            "Module 'res_pjsip.so' reloaded successfully.\n"
        ));
    }
}
