//! `sv`: runit's words, output and exit codes (sv(8) of runit 2.1.2) over our control socket.
//!
//! Whoever scripted the predecessor's `sv restart asterisk` goes on as before. The exit code is the
//! number of services that did not get there, at most 99; 100 for wrong usage. What the real `sv` says and does is
//! the measure: tests/it/sv.rs runs both.

mod word;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::output::Output;
use super::processes;
use super::reach::{PATIENCE, reach};
use crate::config::paths::Paths;
use crate::init::control::{Reply, Request, ServiceStatus, Status, ask};
use crate::sys::clock::{Stopwatch, pause};
use word::{Action, Goal, Word};

const USAGE: u8 = 100;
const USAGE_TEXT: &str = "usage: sv [-v] [-w sec] command service ...\n";
/// How long sv(8) waits for a goal when nobody says.
const USUAL_WAIT: u64 = 7;
/// How often PID 1 is asked meanwhile.
const INTERVAL: Duration = Duration::from_millis(20);
/// The real one looks this often, so that it waits at least so long whatever `-w` says.
const SHORTEST_WAIT: Duration = Duration::from_millis(420);

/// The words before the services.
struct Invocation {
    word: Word,
    /// Wait and report even where the word alone does not.
    verbose: bool,
    wait: Duration,
    services: Vec<String>,
}

/// Runs `sv` with its words.
pub fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let out = Output::new(false);
    let environment = crate::sys::environment::all();
    let variable = |name: &str| environment.get(name).map(String::as_str);
    let wait = leading_number(variable("SVWAIT").unwrap_or_default()).unwrap_or(USUAL_WAIT);
    let invocation = match parse(words.collect(), wait) {
        Ok(invocation) => invocation,
        Err(problem) => {
            out.complain(&format!("{problem}{USAGE_TEXT}"));
            return ExitCode::from(USAGE);
        }
    };
    let paths = Paths::under(variable("SVROOT").unwrap_or("/"));
    let directory = paths.at(variable("SVDIR").unwrap_or("/etc/service"));
    ExitCode::from(carry_out(&out, &paths, &directory, &invocation).min(99))
}

fn parse(mut words: Vec<String>, mut wait: u64) -> Result<Invocation, String> {
    let mut verbose = false;
    while words
        .first()
        .is_some_and(|word| word.len() > 1 && word.starts_with('-'))
    {
        let option = words.remove(0);
        if option == "--" {
            break;
        }
        let mut letters = option.chars().skip(1);
        while let Some(letter) = letters.next() {
            match letter {
                'v' => verbose = true,
                'w' => {
                    let glued: String = letters.by_ref().collect();
                    let seconds = match (glued.is_empty(), words.is_empty()) {
                        (false, _) => glued,
                        (true, false) => words.remove(0),
                        (true, true) => {
                            return Err("sv: option requires an argument -- w\n".to_owned());
                        }
                    };
                    // What is no number changes nothing; `-w` also reports.
                    wait = leading_number(&seconds).unwrap_or(wait);
                    verbose = true;
                }
                letter => return Err(format!("sv: illegal option -- {letter}\n")),
            }
        }
    }
    if words.len() < 2 {
        return Err(String::new());
    }
    let word = word::parse(&words.remove(0)).ok_or_else(String::new)?;
    Ok(Invocation {
        word,
        verbose,
        wait: Duration::from_secs(wait),
        services: words,
    })
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.get(..end.unwrap_or(text.len()))?.parse().ok()
}

/// One service as it was named and as it was before the order.
struct Target {
    shown: String,
    name: String,
    before: ServiceStatus,
}

/// Gives the order to every service, then waits for all of them. The value is how many did not get there.
fn carry_out(out: &Output, paths: &Paths, directory: &Path, invocation: &Invocation) -> u8 {
    let Invocation {
        word,
        verbose,
        wait,
        services,
    } = invocation;
    let socket = paths.control_socket();
    let mut failed = 0u8;
    let mut fail = |text: String| {
        out.text(&text);
        failed = failed.saturating_add(1);
    };
    let status = match reach(&socket) {
        Ok(status) => status,
        Err(problem) => {
            out.problem(&problem, None);
            for shown in services {
                fail(format!("fail: {shown}: runsv not running"));
            }
            return failed;
        }
    };
    let mut waiting = Vec::new();
    for shown in services {
        let Some(before) = find(&status, shown) else {
            fail(unknown(shown, paths, directory));
            continue;
        };
        let target = Target {
            shown: shown.clone(),
            name: before.name.clone(),
            before: before.clone(),
        };
        match request(word.action, &target) {
            None if word.action == Action::Status => {
                out.text(&line_with_log(&status, shown, before))
            }
            None => waiting.push(target),
            Some(request) => match ask(&socket, &request, PATIENCE) {
                Ok(Reply::Refused { reason }) => {
                    let reason = reason.lines().next().unwrap_or_default().to_owned();
                    fail(format!("fail: {shown}: {reason}"));
                }
                Ok(_) => waiting.push(target),
                Err(error) => fail(format!("fail: {shown}: {error}")),
            },
        }
    }
    if !(word.waits || *verbose) || word.action == Action::Status {
        return failed;
    }
    let began = Stopwatch::start();
    while !waiting.is_empty() {
        let status = reach(&socket);
        waiting.retain(|target| {
            let now = status.as_ref().ok().and_then(|s| by_name(s, &target.name));
            let Some(now) = now else {
                fail(format!("fail: {}: runsv not running", target.shown));
                return false;
            };
            if has_arrived(word.goal, &target.before, now) {
                out.text(&format!("ok: {}", line(&target.shown, now)));
                return false;
            }
            if began.elapsed() < (*wait).max(SHORTEST_WAIT) {
                return true;
            }
            let verdict = if word.force { "kill" } else { "timeout" };
            fail(format!("{verdict}: {}", line(&target.shown, now)));
            if word.force {
                let service = target.name.clone();
                let _ = ask(&socket, &Request::Kill { service }, PATIENCE);
            }
            false
        });
        if !waiting.is_empty() {
            pause(INTERVAL);
        }
    }
    failed
}

fn request(action: Action, target: &Target) -> Option<Request> {
    let service = target.name.clone();
    match action {
        Action::Status | Action::Check => None,
        Action::Up => Some(Request::Start { service }),
        Action::Down => Some(Request::Stop { service }),
        Action::Once => Some(Request::Once { service }),
        Action::Restart => Some(Request::Restart { service }),
        // What is down stays down; what runs its last time is only told to end.
        Action::TryRestart => match (target.before.pid, is_wanted(&target.before)) {
            (None, _) => None,
            (Some(_), true) => Some(Request::Restart { service }),
            (Some(_), false) => Some(Request::Signal {
                service,
                signal: libc::SIGTERM,
            }),
        },
        Action::Signal(signal) => Some(Request::Signal { service, signal }),
    }
}

fn has_arrived(goal: Goal, before: &ServiceStatus, now: &ServiceStatus) -> bool {
    let is_down = now.pid.is_none() && !is_wanted(now);
    match goal {
        Goal::Nothing => true,
        Goal::Up => now.up,
        Goal::Down => is_down,
        Goal::UpIfAlive => now.pid.is_none() || now.up,
        Goal::Again => is_down || (now.up && now.pid != before.pid),
        Goal::Once => is_down || (now.pid.is_some() && now.once),
    }
}

/// It is meant to run on: not told to stop, not running its last time, not given up.
fn is_wanted(service: &ServiceStatus) -> bool {
    let is_over = matches!(service.state.as_str(), "failed" | "done" | "stopped");
    service.wanted && !service.once && !is_over
}

fn by_name<'a>(status: &'a Status, name: &str) -> Option<&'a ServiceStatus> {
    status.services.iter().find(|service| service.name == name)
}

/// The service that a name or a path means: the last part counts, and `x/log` is the log service of `x`.
fn find<'a>(status: &'a Status, shown: &str) -> Option<&'a ServiceStatus> {
    let mut parts = shown.split('/').filter(|part| !part.is_empty()).rev();
    let last = parts.next()?;
    let of_log = || {
        let above = by_name(status, parts.next().filter(|_| last == "log")?)?;
        by_name(status, above.log_service.as_deref()?)
    };
    by_name(status, last).or_else(of_log)
}

/// What the real one says of a service that is not there.
fn unknown(shown: &str, paths: &Paths, directory: &Path) -> String {
    let place = if shown.starts_with(['/', '.']) {
        paths.at(shown)
    } else {
        directory.join(shown)
    };
    if place.is_dir() {
        format!("warning: {shown}: unable to open supervise/ok: file does not exist")
    } else {
        format!("fail: {shown}: unable to change to service directory: file does not exist")
    }
}

/// The line of a service and, behind it, that of its log service.
fn line_with_log(status: &Status, shown: &str, service: &ServiceStatus) -> String {
    let mut text = line(shown, service);
    let log = service.log_service.as_deref();
    if let Some(log) = log.and_then(|name| by_name(status, name)) {
        text.push_str("; ");
        text.push_str(&line("log", log));
    }
    text
}

/// `run: asterisk: (pid 8) 123s` or `down: asterisk: 5s, normally up`.
fn line(shown: &str, service: &ServiceStatus) -> String {
    let is_paused = |pid| processes::state_of(pid) == Some('T');
    line_of(shown, service, service.pid.is_some_and(is_paused))
}

fn line_of(shown: &str, service: &ServiceStatus, is_paused: bool) -> String {
    let Some(pid) = service.pid else {
        let mut text = format!("down: {shown}: {}s", service.state_for_ms / 1000);
        if !service.by_order {
            text.push_str(", normally up");
        }
        if is_wanted(service) {
            text.push_str(", want up");
        }
        return text;
    };
    let verb = if service.state == "finishing" {
        "finish"
    } else {
        "run"
    };
    let age = service.started_ms.unwrap_or(service.state_for_ms) / 1000;
    let mut text = format!("{verb}: {shown}: (pid {pid}) {age}s");
    let mut add = |holds: bool, words: &str| {
        if holds {
            text.push_str(words);
        }
    };
    add(service.by_order, ", normally down");
    add(is_paused, ", paused");
    add(!is_wanted(service), ", want down");
    add(service.state == "stopping", ", got TERM");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(pid: Option<i32>, state: &str) -> ServiceStatus {
        ServiceStatus {
            name: "asterisk".into(),
            state: state.into(),
            up: state == "running",
            wanted: true,
            pid,
            state_for_ms: 61_500,
            started_ms: Some(70_000),
            ..ServiceStatus::default()
        }
    }

    #[test]
    fn status_lines_are_runits() {
        let shown = |service: &ServiceStatus, paused| line_of("x", service, paused);
        let mut it = service(Some(8), "running");
        assert_eq!(shown(&it, false), "run: x: (pid 8) 70s");
        assert_eq!(shown(&it, true), "run: x: (pid 8) 70s, paused");
        it.once = true;
        it.by_order = true;
        assert_eq!(
            shown(&it, false),
            "run: x: (pid 8) 70s, normally down, want down"
        );
        let mut it = service(Some(8), "stopping");
        assert_eq!(shown(&it, false), "run: x: (pid 8) 70s, got TERM");
        it.wanted = false;
        assert_eq!(
            shown(&it, false),
            "run: x: (pid 8) 70s, want down, got TERM"
        );
        let mut it = service(None, "pausing");
        assert_eq!(shown(&it, false), "down: x: 61s, normally up, want up");
        it.state = "failed".into();
        assert_eq!(shown(&it, false), "down: x: 61s, normally up");
        it.by_order = true;
        assert_eq!(shown(&it, false), "down: x: 61s");
    }

    #[test]
    fn a_log_service_stands_behind_its_service_and_has_a_path() {
        let mut main = service(Some(8), "running");
        main.log_service = Some("asterisk-log".into());
        let mut log = service(Some(9), "running");
        log.name = "asterisk-log".into();
        let status = Status {
            services: vec![main, log],
            ..Status::default()
        };
        let found = |text: &str| find(&status, text).map(|service| service.pid.unwrap());
        assert_eq!(found("asterisk"), Some(8));
        assert_eq!(found("/etc/service/asterisk/"), Some(8));
        assert_eq!(found("/etc/service/asterisk/log"), Some(9));
        assert_eq!(found("log"), None);
        assert_eq!(found("/"), None);
        assert_eq!(
            line_with_log(&status, "asterisk", &status.services[0]),
            "run: asterisk: (pid 8) 70s; run: log: (pid 9) 70s"
        );
    }

    #[test]
    fn options_are_read_as_getopt_does() {
        let read = |text: &str| parse(text.split_whitespace().map(str::to_owned).collect(), 7);
        let wait = |text: &str| read(text).ok().map(|it| (it.wait.as_secs(), it.verbose));
        assert_eq!(wait("up a"), Some((7, false)));
        assert_eq!(wait("-v up a"), Some((7, true)));
        assert_eq!(wait("-vw3 up a b"), Some((3, true)));
        assert_eq!(wait("-w 0 up a"), Some((0, true)));
        assert_eq!(wait("-w x up a"), Some((7, true)));
        assert_eq!(wait("-- up a"), Some((7, false)));
        for bad in ["", "up", "-w", "-h up a", "fly a", "-w 3"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
