//! `switchhook status`: the exchange and its services, for people or as JSON.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::RootArgs;
use super::output::{Exit, Output};
use crate::init::control::{Reply, Request, Status, ask};

/// How long PID 1 may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(4);

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// Exit code 0 when the exchange is ready, 1 when it is not, 2 when it does not answer.
pub fn run(args: &StatusArgs) -> ExitCode {
    let out = Output::new(args.json);
    match ask(
        &args.root.paths().control_socket(),
        &Request::Status,
        PATIENCE,
    ) {
        Ok(Reply::Status(status)) => {
            if out.is_json() {
                // It carries its schema number itself, as on the control socket.
                out.text(&serde_json::to_string(&status).unwrap_or_default());
            } else {
                out.text(&table(&status));
            }
            out.finish(if status.ready { Exit::Ok } else { Exit::No })
        }
        Ok(_) => {
            out.problem("the exchange gave an unexpected answer", None);
            out.finish(Exit::Failed)
        }
        Err(error) => {
            out.problem(&error.to_string(), None);
            out.finish(Exit::Failed)
        }
    }
}

fn table(status: &Status) -> String {
    let up = Duration::from_millis(status.uptime_ms);
    let mut text = format!(
        "switchhook {}: {}, up {}, /srv is {}\n",
        status.version,
        if status.ready { "ready" } else { &status.phase },
        span(up),
        status.volume
    );
    text.push_str(&format!(
        "{:<14} {:<10} {:>7} {:>9}  {}\n",
        "SERVICE", "STATE", "PID", "RESTARTS", "LAST END"
    ));
    for service in &status.services {
        let pid = service.pid.map_or("-".to_owned(), |pid| pid.to_string());
        let end = service.last_exit.as_deref().unwrap_or("-");
        text.push_str(&format!(
            "{:<14} {:<10} {:>7} {:>9}  {}\n",
            service.name, service.state, pid, service.restarts, end
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

/// `3d 4h`, `5m 6s`: the two largest parts.
fn span(duration: Duration) -> String {
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
    use crate::init::control::ServiceStatus;

    #[test]
    fn the_table_is_readable() {
        let status = Status {
            version: "1.2.3".into(),
            phase: "serving".into(),
            ready: true,
            uptime_ms: 3_725_000,
            volume: "named volume `tele-conf`".into(),
            services: vec![ServiceStatus {
                name: "asterisk".into(),
                state: "running".into(),
                up: true,
                wanted: true,
                pid: Some(17),
                by_order: false,
                state_for_ms: 1000,
                restarts: 1,
                last_exit: Some("signal 9".into()),
                status: None,
                sockets: vec![],
            }],
            ..Status::default()
        };
        insta::assert_snapshot!(table(&status), @r"
        switchhook 1.2.3: ready, up 1h 2m, /srv is named volume `tele-conf`
        SERVICE        STATE          PID  RESTARTS  LAST END
        asterisk       running         17         1  signal 9
        ");
    }
}
