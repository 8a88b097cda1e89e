//! Orders to the PBX to read its configuration again, over its console: a part of it, or all of it.
//!
//! It retries only what the PBX has put off itself, and orders one thing at a time. Invariant: when an order returns without
//! an error the PBX has read that part, or had more than a minute for it.
//!
//! All of it is read module by module, not by `core reload`: that one goes on from the lists to PJSIP while those who listen
//! for lists still read, and with changed endpoints it has left Asterisk 22.10.1 without an answer to any SIP request.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;

use super::control::{self, CtlError};
use super::tasks::{Tasks, tasks};
use crate::sys::clock;

/// How long it may take for one command.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the PBX may take to start before it is called down.
const START: Duration = Duration::from_secs(60);
/// Between two tries while another reload goes on.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at work that takes some milliseconds.
const BLINK: Duration = Duration::from_millis(2);

/// Has a reload done, not only noted down, and returns what the console said: while the PBX starts it takes requests and
/// carries them out afterwards, and its listeners meanwhile show what they have read before. What the listeners for lists make
/// of it is done too.
///
/// # Errors
/// If the PBX is down or does not answer, or does not come to the end of an earlier reload.
pub fn ordered(console: &Path, command: &str) -> Result<String, CtlError> {
    let _turn = turn(console)?;
    order(console, command)
}

/// Waits until nothing of this PBX is reloaded any more, and keeps our other processes from it until it is dropped.
///
/// Asterisk 22.10.1 does not bear two at once: a list's change has res_pjsip_config_wizard read all of PJSIP's objects in a
/// thread of its own, and when res_pjsip reads them at the same time, each can wait for the other for ever, holding the
/// transports that every SIP request asks for.
fn turn(console: &Path) -> Result<Flock<File>, CtlError> {
    let directory = console.parent().unwrap_or(Path::new("/"));
    let failed = |error: Errno| match error {
        Errno::ENOENT => CtlError::NotRunning(console.to_owned()),
        error => CtlError::Io {
            path: directory.to_owned(),
            source: error.into(),
        },
    };
    let end = Instant::now() + START;
    loop {
        let held = nix::fcntl::open(
            directory,
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        match Flock::lock(
            File::from(held.map_err(failed)?),
            FlockArg::LockExclusiveNonblock,
        ) {
            Ok(turn) => {
                // Somebody else may have had a list reloaded: by hand, or over AMI.
                settle(console, START)?;
                return Ok(turn);
            }
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < end => {
                clock::pause(PAUSE)
            }
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => return Err(CtlError::Busy(START)),
            Err((_, error)) => return Err(failed(error)),
        }
    }
}

/// One order, by who has the turn.
fn order(console: &Path, command: &str) -> Result<String, CtlError> {
    let end = Instant::now() + START;
    loop {
        let answer = control::run(console, command, PATIENCE)?;
        if !is_put_off(&answer) || Instant::now() >= end {
            settle(console, START)?;
            return Ok(answer);
        }
        let left = end.saturating_duration_since(Instant::now());
        control::run(console, "core waitfullybooted", left)?;
        clock::pause(PAUSE);
    }
}

/// Waits until those who listen for changes of lists have worked off what has come to them so far.
///
/// A list's reload returns when its change is handed to them (main/named_acl.c); what they make of it is done when their
/// task processors have done as many tasks as they had done and waiting then.
fn settle(console: &Path, patience: Duration) -> Result<(), CtlError> {
    let end = Instant::now() + patience;
    let ask = || control::run(console, LISTENERS, PATIENCE);
    let mut waited_for = tasks(&ask()?);
    waited_for.retain(|tasks| tasks.waiting > 0);
    while !waited_for.is_empty() {
        if Instant::now() >= end {
            return Err(CtlError::Busy(patience));
        }
        clock::pause(BLINK);
        let now = tasks(&ask()?);
        let works = |before: &Tasks| {
            let of = |now: &Tasks| now.of == before.of && now.done < before.done + before.waiting;
            now.iter().any(of)
        };
        waited_for.retain(works);
    }
    Ok(())
}

/// The task processors of those who subscribe to the topic on which changes of lists come (main/security_events.c).
const LISTENERS: &str = "core show taskprocessors like stasis/m:security";

/// A module that did not take its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub module: String,
    /// The console's words.
    pub said: String,
}

/// What must be read before the others, in this order: where configuration comes from, and the lists that others refer to.
const FIRST: &[&str] = &["extconfig", "acl"];

/// Has every module read its configuration again, one after another, and returns those that did not take it.
///
/// # Errors
/// If the PBX is down or does not answer; the modules before that have read theirs.
pub fn all(console: &Path) -> Result<Vec<Refusal>, CtlError> {
    control::run(console, "core waitfullybooted", START)?;
    let _turn = turn(console)?;
    let names = control::run(
        console,
        "_command matchesarray \"module reload \" \"\"",
        PATIENCE,
    )?;
    let mut refusals = Vec::new();
    for module in in_order(&names) {
        let said = order(console, &format!("module reload {module}"))?;
        if is_refused(&said) {
            refusals.push(Refusal {
                module: module.to_owned(),
                said: said.trim().to_owned(),
            });
        }
    }
    Ok(refusals)
}

/// The names of the console's completion, each once.
fn in_order(names: &str) -> Vec<&str> {
    let mut modules: Vec<&str> = Vec::new();
    let known = |name: &&str| names.split_ascii_whitespace().any(|other| other == *name);
    let first = FIRST.iter().copied().filter(known);
    for name in first.chain(names.split_ascii_whitespace()) {
        if !modules.contains(&name) && name != END {
            modules.push(name);
        }
    }
    modules
}

/// The end of a completion (include/asterisk/cli.h, AST_CLI_COMPLETE_EOF).
const END: &str = "_EOF_";

/// What the console says of a module that could not read its configuration (main/cli.c, handle_reload).
pub fn is_refused(answer: &str) -> bool {
    ["reported a reload failure", "was not properly initialized"]
        .iter()
        .any(|words| answer.contains(words))
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
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::{Receiver, channel};

    /// A console that shows the queue of one listener as (done, waiting), one after another; the last for ever.
    fn console(looks: &'static [(u64, u64)]) -> (tempfile::TempDir, Receiver<String>) {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("ctl")).unwrap();
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            let mut looks = looks.iter().peekable();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.write_all(b"host/1/22.10.1\n").unwrap();
                let mut bytes = [0; 512];
                let count = stream.read(&mut bytes).unwrap();
                let command = String::from_utf8_lossy(&bytes[..count]).into_owned();
                if command.contains(LISTENERS) {
                    let (done, waiting) = looks.peek().unwrap();
                    let row =
                        format!("stasis/m:security:all-0000000b {done} {waiting} 1 450 500\n");
                    stream.write_all(row.as_bytes()).unwrap();
                    if looks.len() > 1 {
                        looks.next();
                    }
                }
                if sender.send(command).is_err() {
                    return;
                }
            }
        });
        (directory, heard)
    }

    #[test]
    fn what_waits_for_a_listener_is_waited_for_and_what_comes_later_is_not() {
        // At rest before the order; two wait after it, and while they are done others come.
        let (directory, heard) = console(&[(5, 0), (5, 2), (6, 2), (7, 1)]);
        ordered(&directory.path().join("ctl"), "module reload acl").unwrap();
        let said: Vec<String> = heard.try_iter().collect();
        let orders = said
            .iter()
            .position(|said| said.contains("module reload acl"));
        assert_eq!((said.len(), orders), (5, Some(1)), "{said:?}");
    }

    #[test]
    fn a_listener_that_does_not_come_to_an_end_is_told() {
        let (directory, _heard) = console(&[(5, 1)]);
        let settled = settle(&directory.path().join("ctl"), Duration::from_millis(50));
        assert!(matches!(settled, Err(CtlError::Busy(_))), "{settled:?}");
    }

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

    #[test]
    fn lists_are_read_before_who_refers_to_them_and_each_module_once() {
        let names = "acl cdr extconfig http res_pjsip.so cdr _EOF_\n";
        let order = ["extconfig", "acl", "cdr", "http", "res_pjsip.so"];
        assert_eq!(in_order(names), order);
        assert_eq!(in_order(" _EOF_"), [""; 0]);
    }

    #[test]
    fn a_module_that_refuses_its_configuration_is_told_from_one_that_took_it() {
        assert!(is_refused("The module 'cdr' reported a reload failure\n"));
        assert!(!is_refused(
            "Module 'res_pjsip.so' reloaded successfully.\n"
        ));
    }
}
