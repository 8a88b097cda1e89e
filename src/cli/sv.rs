//! `sv`: runit's words, output and exit codes (sv(8)) over our control socket.
//!
//! Whoever scripted the predecessor's `sv restart asterisk` goes on as before. The exit code is the
//! number of services that did not get there, at most 99; 100 for wrong usage.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::output::Output;
use super::status::PATIENCE;
use crate::config::paths::Paths;
use crate::init::control::{AskError, Reply, Request, ServiceStatus, ask};
use crate::sys::clock::pause;

const USAGE: u8 = 100;
const USAGE_TEXT: &str = "usage: sv [-v] [-w SECONDS] COMMAND SERVICE...\n\
    commands: status up down once exit start stop restart shutdown reload try-restart check\n\
    force-stop force-reload force-restart force-shutdown\n\
    pause cont hup alarm interrupt quit 1 2 term kill";

/// What is waited for, and what happens when it does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Nothing,
    Up,
    Down,
    /// Another process than before, and up.
    Again,
}

/// One word of sv(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    action: Action,
    goal: Goal,
    /// Ends with SIGKILL when the time is over.
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Status,
    Up,
    Down,
    Once,
    Restart,
    /// Restart, but only what runs.
    TryRestart,
    Check,
    Signal(i32),
}

/// The words, as sv(8) names them; a command may be cut to its first letter where that is the manual's.
fn word(text: &str) -> Option<Word> {
    let plain = |action, goal| {
        Some(Word {
            action,
            goal,
            force: false,
        })
    };
    let force = |action, goal| {
        Some(Word {
            action,
            goal,
            force: true,
        })
    };
    let signal = |number| plain(Action::Signal(number), Goal::Nothing);
    match text {
        "status" | "s" => plain(Action::Status, Goal::Nothing),
        "up" | "u" => plain(Action::Up, Goal::Nothing),
        "down" | "d" | "exit" | "x" | "e" => plain(Action::Down, Goal::Nothing),
        "once" | "o" => plain(Action::Once, Goal::Nothing),
        "start" => plain(Action::Up, Goal::Up),
        "stop" | "shutdown" => plain(Action::Down, Goal::Down),
        "restart" => plain(Action::Restart, Goal::Again),
        "try-restart" => plain(Action::TryRestart, Goal::Again),
        "check" => plain(Action::Check, Goal::Up),
        "force-stop" | "force-shutdown" => force(Action::Down, Goal::Down),
        "force-restart" | "force-reload" => force(Action::Restart, Goal::Again),
        "reload" | "hup" | "h" => signal(1),
        "interrupt" | "i" => signal(2),
        "quit" | "q" => signal(3),
        "kill" | "k" => signal(9),
        "1" => signal(10),
        "2" => signal(12),
        "alarm" | "a" => signal(14),
        "term" | "t" => signal(15),
        "cont" | "c" => signal(18),
        "pause" | "p" => signal(19),
        _ => None,
    }
}

/// Runs `sv` with its words.
pub fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let out = Output::new(false);
    let environment = crate::sys::environment::all();
    let mut patience = environment
        .get("SVWAIT")
        .and_then(|text| text.parse().ok())
        .unwrap_or(7u64);
    let paths = Paths::under(environment.get("SVROOT").map_or("/", String::as_str));
    let mut rest: Vec<String> = words.collect();
    while rest.first().is_some_and(|word| word.starts_with('-')) {
        let option = rest.remove(0);
        let seconds = match option.strip_prefix("-w") {
            Some("") if !rest.is_empty() => rest.remove(0),
            Some(glued) => glued.to_owned(),
            None if option == "-v" => continue,
            None => String::new(),
        };
        match seconds.parse() {
            Ok(seconds) => patience = seconds,
            Err(_) => return usage(&out),
        }
    }
    let Some((command, services)) = rest.split_first() else {
        return usage(&out);
    };
    let (Some(word), false) = (word(command), services.is_empty()) else {
        return usage(&out);
    };
    let mut failed = 0u8;
    for service in services {
        // A path such as /etc/service/asterisk names the service too.
        let name = service
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or(service);
        if !one(&out, &paths, word, name, Duration::from_secs(patience)) {
            failed = failed.saturating_add(1).min(99);
        }
    }
    ExitCode::from(failed)
}

fn usage(out: &Output) -> ExitCode {
    out.problem(USAGE_TEXT, None);
    ExitCode::from(USAGE)
}

/// Carries out one word on one service; says how it went, as sv(8) says it.
fn one(out: &Output, paths: &Paths, word: Word, name: &str, patience: Duration) -> bool {
    let socket = paths.control_socket();
    let look = || -> Result<Option<ServiceStatus>, AskError> {
        match ask(&socket, &Request::Status, PATIENCE)? {
            Reply::Status(status) => Ok(status.services.into_iter().find(|s| s.name == name)),
            _ => Ok(None),
        }
    };
    let before = match look() {
        Ok(Some(service)) => service,
        Ok(None) => {
            out.text(&format!(
                "fail: {name}: unable to change to service directory: file does not exist"
            ));
            return false;
        }
        Err(error) => {
            out.problem(&error.to_string(), None);
            return false;
        }
    };
    let service = name.to_owned();
    let request = match word.action {
        Action::Status => {
            out.text(&line(&before));
            return true;
        }
        Action::Check => None,
        Action::TryRestart if before.pid.is_none() => None,
        Action::Up => Some(Request::Start { service }),
        Action::Down => Some(Request::Stop { service }),
        Action::Once => Some(Request::Once { service }),
        Action::Restart | Action::TryRestart => Some(Request::Restart { service }),
        Action::Signal(signal) => Some(Request::Signal { service, signal }),
    };
    let is_order = request.is_some();
    if let Some(request) = request {
        match ask(&socket, &request, PATIENCE) {
            Ok(Reply::Refused { reason }) => {
                out.text(&format!("fail: {name}: {reason}"));
                return false;
            }
            Ok(_) => {}
            Err(error) => {
                out.problem(&error.to_string(), None);
                return false;
            }
        }
    }
    if word.goal == Goal::Nothing || (word.action == Action::TryRestart && !is_order) {
        return true;
    }
    wait(out, &look, word, &before, patience, &|| {
        let service = name.to_owned();
        let _ = ask(&socket, &Request::Kill { service }, PATIENCE);
    })
}

fn wait(
    out: &Output,
    look: &dyn Fn() -> Result<Option<ServiceStatus>, AskError>,
    word: Word,
    before: &ServiceStatus,
    patience: Duration,
    kill: &dyn Fn(),
) -> bool {
    let began = Instant::now();
    let mut killed = false;
    loop {
        let now = match look() {
            Ok(Some(now)) => now,
            _ => return false,
        };
        let arrived = match word.goal {
            Goal::Nothing => true,
            Goal::Up => now.up,
            Goal::Down => now.pid.is_none() && !now.wanted,
            Goal::Again => now.up && now.pid != before.pid,
        };
        if arrived {
            let verdict = if killed { "kill" } else { "ok" };
            out.text(&format!("{verdict}: {}", line(&now)));
            return true;
        }
        if began.elapsed() >= patience {
            if !word.force || killed {
                out.text(&format!("timeout: {}", line(&now)));
                return false;
            }
            kill();
            killed = true;
        }
        pause(Duration::from_millis(20));
    }
}

/// `run: asterisk: (pid 8) 123s` or `down: asterisk: 5s, normally up`.
fn line(service: &ServiceStatus) -> String {
    let seconds = service.state_for_ms / 1000;
    let mut text = match service.pid {
        Some(pid) => format!("run: {}: (pid {pid}) {seconds}s", service.name),
        None => format!("down: {}: {seconds}s, normally up", service.name),
    };
    match (service.pid.is_some(), service.wanted) {
        (true, false) => text.push_str(", want down"),
        (false, true) => text.push_str(", want up"),
        _ => {}
    }
    if service.state == "stopping" {
        text.push_str(", got TERM");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(pid: Option<i32>, wanted: bool) -> ServiceStatus {
        ServiceStatus {
            name: "asterisk".into(),
            state: "running".into(),
            up: true,
            wanted,
            pid,
            by_order: false,
            state_for_ms: 61_500,
            restarts: 0,
            last_exit: None,
            status: None,
            sockets: vec![],
        }
    }

    #[test]
    fn status_lines_are_runits() {
        assert_eq!(line(&service(Some(8), true)), "run: asterisk: (pid 8) 61s");
        assert_eq!(
            line(&service(None, false)),
            "down: asterisk: 61s, normally up"
        );
        assert_eq!(
            line(&service(None, true)),
            "down: asterisk: 61s, normally up, want up"
        );
        assert_eq!(
            line(&service(Some(8), false)),
            "run: asterisk: (pid 8) 61s, want down"
        );
    }

    #[test]
    fn every_word_of_the_manual_is_known() {
        let words = "status up down once exit start stop restart shutdown reload try-restart check force-stop \
                     force-reload force-restart force-shutdown pause cont hup alarm interrupt quit 1 2 term kill";
        for text in words.split_whitespace() {
            assert!(word(text).is_some(), "{text}");
        }
        assert!(word("dance").is_none());
    }
}
