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
use super::tasks::tasks;
use crate::sys::clock;

/// How long it may take for one command.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the PBX may take to start before it is called down.
const START: Duration = Duration::from_secs(60);
/// Between two tries while another reload goes on.
const PAUSE: Duration = Duration::from_millis(50);

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
            if command == LISTS {
                settle(console, START)?;
            }
            return Ok(answer);
        }
        let left = end.saturating_duration_since(Instant::now());
        control::run(console, "core waitfullybooted", left)?;
        clock::pause(PAUSE);
    }
}

/// Waits until those who listen for changes of lists have worked off what has come to them so far.
///
/// A list's reload returns when its change is handed to them (main/named_acl.c). What is at work in a task processor is not
/// counted in its queue any more, nor among what is done; so a ping is put behind it (main/taskprocessor.c, cli_tps_ping).
fn settle(console: &Path, patience: Duration) -> Result<(), CtlError> {
    let end = Instant::now() + patience;
    let shown = control::run(console, LISTENERS, PATIENCE)?;
    for tasks in tasks(&shown) {
        let command = format!("core ping taskprocessor {}", tasks.of);
        // One that is gone meanwhile has nothing to take.
        while ping_time(&control::run(console, &command, PING)?).is_some_and(|it| it >= PING_LOST) {
            if Instant::now() >= end {
                return Err(CtlError::Busy(patience));
            }
        }
    }
    Ok(())
}

/// `stasis/m:security:all-0000000b ping time: 0.000112 sec`; `None` where there was nobody to ask.
fn ping_time(answer: &str) -> Option<Duration> {
    let (_, time) = answer.split_once("ping time: ")?;
    let seconds: f64 = time.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The task processors of those who subscribe to the topic on which changes of lists come (main/security_events.c).
const LISTENERS: &str = "core show taskprocessors like stasis/m:security";
/// Asterisk waits 5 s for the answer to a ping, and then ends as if it had come.
const PING_LOST: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(8);
/// The order that tells its listeners that lists have changed.
pub const LISTS: &str = "module reload acl";

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

    const ROWS: &str = "stasis/m:security:all-0000000b 7 0 1 450 500\n\
                        stasis/m:security:all-0000000c 0 0 0 450 500\n";
    const PING_B: &str = "core ping taskprocessor stasis/m:security:all-0000000b";
    const PING_C: &str = "core ping taskprocessor stasis/m:security:all-0000000c";

    /// A console with two listeners. The first answers pings after these seconds, one after another, the last for ever; the
    /// second is gone.
    fn console(times: &'static [&str]) -> (tempfile::TempDir, Receiver<String>) {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("ctl")).unwrap();
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            let mut times = times.iter().peekable();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.write_all(b"host/1/22.10.1\n").unwrap();
                let mut bytes = [0; 512];
                let count = stream.read(&mut bytes).unwrap();
                let sent = String::from_utf8_lossy(&bytes[..count]).into_owned();
                let command = sent.trim_end_matches('\0');
                let command = command.strip_prefix(control::PREFIX).unwrap_or(command);
                let answer = match command {
                    LISTENERS => ROWS.to_owned(),
                    PING_B => {
                        let time = *times.peek().unwrap();
                        if times.len() > 1 {
                            times.next();
                        }
                        format!("\tstasis/m:security:all-0000000b ping time: {time} sec\n")
                    }
                    PING_C => "ping failed: not found\n".to_owned(),
                    _ => "done\n".to_owned(),
                };
                stream.write_all(answer.as_bytes()).unwrap();
                if sender.send(command.to_owned()).is_err() {
                    return;
                }
            }
        });
        (directory, heard)
    }

    #[test]
    fn each_listener_has_answered_before_and_after_lists_are_reloaded() {
        let (directory, heard) = console(&["0.000112", "5.000087", "0.000112"]);
        ordered(&directory.path().join("ctl"), LISTS).unwrap();
        let said: Vec<String> = heard.try_iter().collect();
        let before = [LISTENERS, PING_B, PING_C, LISTS];
        let after = [LISTENERS, PING_B, PING_B, PING_C];
        assert_eq!(said, [before, after].concat());
    }

    #[test]
    fn what_tells_no_listener_is_not_waited_for() {
        let (directory, heard) = console(&["0.000112"]);
        ordered(&directory.path().join("ctl"), "module reload cdr").unwrap();
        let said: Vec<String> = heard.try_iter().collect();
        assert_eq!(said, [LISTENERS, PING_B, PING_C, "module reload cdr"]);
    }

    #[test]
    fn a_listener_that_does_not_come_to_an_end_is_told() {
        let (directory, _heard) = console(&["5.000087"]);
        let settled = settle(&directory.path().join("ctl"), Duration::ZERO);
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
