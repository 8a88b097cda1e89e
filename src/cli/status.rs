//! `switchhook status`: the exchange and its services, or one service in detail, for people or as JSON.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::RootArgs;
use super::output::{Exit, Output};
use super::reach::reach;
use crate::init::control::{ServiceStatus, Status, TimerStatus};
use crate::sys::clock::{rfc3339, unix_millis};

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this service, in detail
    service: Option<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// Exit code 0 when the exchange is ready (the service is up), 1 when it is not, 2 when it does not answer.
pub fn run(args: &StatusArgs) -> ExitCode {
    let out = Output::new(args.json);
    let status = match reach(&args.root.paths().control_socket()) {
        Ok(status) => status,
        Err(problem) => {
            out.problem(&problem, None);
            return out.finish(Exit::Failed);
        }
    };
    let is_well = match &args.service {
        None => {
            if out.is_json() {
                // It carries its schema number itself, as on the control socket.
                out.text(&serde_json::to_string(&status).unwrap_or_default());
            } else {
                out.text(&table(&status, unix_millis()));
            }
            status.ready
        }
        Some(name) => {
            let Some(service) = status.services.iter().find(|s| s.name == *name) else {
                let known: Vec<&str> = status.services.iter().map(|s| s.name.as_str()).collect();
                let hint = format!("there are {}", known.join(", "));
                out.problem(&format!("there is no service `{name}`"), Some(&hint));
                return out.finish(Exit::No);
            };
            if out.is_json() {
                out.json(service);
            } else {
                out.text(&detail(&status, service, unix_millis()));
            }
            service.up
        }
    };
    out.finish(if is_well { Exit::Ok } else { Exit::No })
}

fn table(status: &Status, now_ms: i64) -> String {
    let up = Duration::from_millis(status.uptime_ms);
    let sockets: usize = status.services.iter().map(|s| s.sockets.len()).sum();
    let mut text = format!(
        "switchhook {}: {}, up {}, /srv is {}\n\
         containment by {}, {} held, {}\n",
        status.version,
        if status.ready { "ready" } else { &status.phase },
        span(up),
        status.volume,
        status.containment,
        counted(sockets, "socket"),
        counted(status.timers.len(), "timer"),
    );
    text.push_str(&format!(
        "{:<14} {:<9} {:>7} {:>8}  {:<20} {}\n",
        "SERVICE", "STATE", "PID", "RESTARTS", "STARTED BY", "LAST END"
    ));
    for service in &status.services {
        let pid = service.pid.map_or("-".to_owned(), |pid| pid.to_string());
        let end = last_end(service).unwrap_or("-");
        text.push_str(&format!(
            "{:<14} {:<9} {:>7} {:>8}  {:<20} {}\n",
            service.name,
            service.state,
            pid,
            service.restarts,
            started_by(service),
            end
        ));
    }
    if !status.timers.is_empty() {
        text.push_str(&format!(
            "{:<14} {:<14} {:<25} {}\n",
            "TIMER", "STARTS", "NEXT", "LAST"
        ));
    }
    for timer in &status.timers {
        let last = timer.last_start_ms.map_or("-".to_owned(), rfc3339);
        let due = due_in(timer.due_ms, now_ms);
        text.push_str(&format!(
            "{:<14} {:<14} {due:<25} {last}\n",
            timer.name, timer.service
        ));
    }
    for service in &status.services {
        for socket in service.sockets.iter().filter(|socket| socket.unused) {
            text.push_str(&format!(
                "{}: connections wait on {} ({}.socket), and it does not take them\n",
                service.name, socket.address, socket.unit
            ));
        }
    }
    text
}

/// How it ended last, in the words of the heading.
fn last_end(service: &ServiceStatus) -> Option<&str> {
    let text = service.last_exit.as_deref()?;
    Some(text.strip_prefix("ended with ").unwrap_or(text))
}

/// The reason of the last start without who, how and where, which stand beside it or in the detail.
fn started_by(service: &ServiceStatus) -> &str {
    let reason = service.start_reason.as_deref().unwrap_or("-");
    if reason.starts_with("socket ") {
        return "socket";
    }
    let end = [" by ", " after "]
        .iter()
        .filter_map(|word| reason.find(word))
        .min();
    reason.get(..end.unwrap_or(reason.len())).unwrap_or(reason)
}

fn detail(status: &Status, service: &ServiceStatus, now_ms: i64) -> String {
    let ago = |ms: u64| span(Duration::from_millis(ms));
    let mut text = format!(
        "{}: {} for {}{}\n",
        service.name,
        service.state,
        ago(service.state_for_ms),
        service
            .pid
            .map_or(String::new(), |pid| format!(", pid {pid}"))
    );
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<13} {value}\n"));
        }
    };
    if service.description != service.name {
        line("description", service.description.clone());
    }
    if let (Some(reason), Some(ms)) = (&service.start_reason, service.started_ms) {
        line("last start", format!("{} ago: {reason}", ago(ms)));
    }
    line("restarts", service.restarts.to_string());
    line("last end", last_end(service).unwrap_or_default().to_owned());
    line("says", service.status.clone().unwrap_or_default());
    line("waits for", service.waits_for.join(", "));
    if service.by_order {
        let connection = if service.sockets.is_empty() {
            ""
        } else {
            "a connection, "
        };
        line("starts", format!("by {connection}an order or a timer only"));
    }
    if service.once {
        line("once", "is not started again when it ends".to_owned());
    }
    line(
        "log goes to",
        service.log_service.clone().unwrap_or_default(),
    );
    for socket in &service.sockets {
        line("socket", format!("{}: {}", socket.name, socket.address));
    }
    for timer in timers_of(status, service) {
        line(
            "timer",
            format!("{}: {}", timer.name, due_in(timer.due_ms, now_ms)),
        );
    }
    if let Some(ms) = service.watchdog_ms {
        let left = service.watchdog_due_in_ms.unwrap_or(0);
        line(
            "watchdog",
            format!("every {} at least, {} left", ago(ms), ago(left)),
        );
    }
    if service.stored_descriptors > 0 {
        line("stored", counted(service.stored_descriptors, "descriptor"));
    }
    line("containment", status.containment.clone());
    if let Some(event) = &service.last_event {
        line(
            "last event",
            format!("{} {}", rfc3339(event.time_ms), super::events::line(event)),
        );
    }
    text
}

fn timers_of<'a>(
    status: &'a Status,
    service: &'a ServiceStatus,
) -> impl Iterator<Item = &'a TimerStatus> {
    let timers = status.timers.iter();
    timers.filter(|timer| timer.service == service.name)
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// When a timer starts its service next, in words.
pub fn due_in(due_ms: Option<i64>, now_ms: i64) -> String {
    match due_ms {
        None => "not due".to_owned(),
        Some(due) => match u64::try_from(due.saturating_sub(now_ms)) {
            Ok(wait @ 1..) => format!("due in {}", span(Duration::from_millis(wait))),
            _ => "due now".to_owned(),
        },
    }
}

/// `3d 4h`, `5m 6s`: the two largest parts.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        ("d", seconds / 86_400),
        ("h", seconds / 3600 % 24),
        ("m", seconds / 60 % 60),
        ("s", seconds % 60),
    ];
    let shown: Vec<String> = parts
        .iter()
        .skip_while(|(_, n)| *n == 0)
        .take(2)
        .map(|(unit, n)| format!("{n}{unit}"))
        .collect();
    if shown.is_empty() {
        "0s".to_owned()
    } else {
        shown.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::control::SocketStatus;
    use crate::init::events::{Event, What};

    fn status() -> Status {
        Status {
            version: "1.2.3".into(),
            phase: "serving".into(),
            ready: true,
            uptime_ms: 3_725_000,
            volume: "named volume `tele-conf`".into(),
            containment: "group".into(),
            timers: vec![TimerStatus {
                name: "tidy".into(),
                service: "tidy".into(),
                due_ms: Some(90_000),
                last_start_ms: Some(0),
            }],
            services: vec![ServiceStatus {
                name: "asterisk".into(),
                state: "running".into(),
                up: true,
                wanted: true,
                pid: Some(17),
                state_for_ms: 61_000,
                restarts: 1,
                last_exit: Some("signal 9".into()),
                status: Some("two calls".into()),
                description: "The PBX".into(),
                waits_for: vec!["logd".into()],
                start_reason: Some("restart after signal 9".into()),
                started_ms: Some(62_000),
                sockets: vec![SocketStatus {
                    name: "asterisk-cli".into(),
                    address: "unix /run/asterisk/asterisk.ctl".into(),
                    ..SocketStatus::default()
                }],
                watchdog_ms: Some(30_000),
                watchdog_due_in_ms: Some(12_000),
                last_event: Some(Event {
                    sequence: 9,
                    time_ms: 1000,
                    service: Some("asterisk".into()),
                    what: What::Ready,
                    detail: "after 0.800 s".into(),
                    pid: Some(17),
                }),
                ..ServiceStatus::default()
            }],
            ..Status::default()
        }
    }

    #[test]
    fn the_table_is_readable() {
        insta::assert_snapshot!(table(&status(), 0), @r"
        switchhook 1.2.3: ready, up 1h 2m, /srv is named volume `tele-conf`
        containment by group, 1 socket held, 1 timer
        SERVICE        STATE         PID RESTARTS  STARTED BY           LAST END
        asterisk       running        17        1  restart              signal 9
        TIMER          STARTS         NEXT                      LAST
        tidy           tidy           due in 1m 30s             1970-01-01T00:00:00.000Z
        ");
    }

    #[test]
    fn columns_hold_the_shortest_words() {
        let mut service = status().services.remove(0);
        service.start_reason = Some("socket tcp 127.0.0.1:8081".into());
        service.last_exit = Some("ended with exit code 1".into());
        assert_eq!(started_by(&service), "socket");
        assert_eq!(last_end(&service), Some("exit code 1"));
        service.by_order = true;
        let text = detail(&status(), &service, 0);
        let line = "starts        by a connection, an order or a timer only";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn one_service_is_shown_in_detail() {
        let status = status();
        insta::assert_snapshot!(detail(&status, &status.services[0], 0), @r"
        asterisk: running for 1m 1s, pid 17
          description   The PBX
          last start    1m 2s ago: restart after signal 9
          restarts      1
          last end      signal 9
          says          two calls
          waits for     logd
          socket        asterisk-cli: unix /run/asterisk/asterisk.ctl
          watchdog      every 30s at least, 12s left
          containment   group
          last event    1970-01-01T00:00:01.000Z asterisk[17] ready: after 0.800 s
        ");
    }

    #[test]
    fn a_timer_that_is_late_is_due_now() {
        assert_eq!(due_in(Some(5), 10), "due now");
        assert_eq!(due_in(None, 10), "not due");
    }
}
