//! `switchhook start|stop|restart|reload|kill SERVICE`: orders to PID 1, and the wait for their end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::RootArgs;
use super::output::{Exit, Output};
use super::reach::PATIENCE;
use crate::init::control::{AskError, Reply, Request, ServiceStatus, ask};
use crate::sys::clock::pause;

#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Name of the service, as `switchhook status` shows it
    service: String,
    /// Return at once instead of waiting for the service to get there
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Start,
    Stop,
    Restart,
    Reload,
    Kill,
}

/// How long a service may take before the command stops waiting, without taking the order back.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// How often PID 1 is asked meanwhile.
const INTERVAL: Duration = Duration::from_millis(20);

/// Exit code 0 when done, 1 when refused, 2 when the service did not get there, or its reload command failed.
pub fn run(args: &ServiceArgs, order: Order) -> ExitCode {
    let out = Output::new(false);
    let socket = args.root.paths().control_socket();
    let service = args.service.clone();
    let request = match order {
        Order::Start => Request::Start { service },
        Order::Stop => Request::Stop { service },
        Order::Restart => Request::Restart { service },
        Order::Reload => Request::Reload { service },
        Order::Kill => Request::Kill { service },
    };
    let look = || -> Result<Option<ServiceStatus>, AskError> {
        let reply = ask(&socket, &Request::Status, PATIENCE)?;
        let Reply::Status(status) = reply else {
            return Ok(None);
        };
        Ok(status.services.into_iter().find(|s| s.name == args.service))
    };
    let outcome = (|| {
        let before = look()?.and_then(|service| service.pid);
        if let Reply::Refused { reason } = ask(&socket, &request, PATIENCE)? {
            out.problem(&reason, None);
            return Ok(Exit::No);
        }
        if args.no_wait {
            return Ok(Exit::Ok);
        }
        let began = Instant::now();
        loop {
            let now = look()?;
            match now {
                Some(ServiceStatus {
                    reload: Some(end), ..
                }) if order == Order::Reload && end != "running" && end != "done" => {
                    out.problem(
                        &format!(
                            "{} did not take all of its configuration ({end})",
                            args.service
                        ),
                        Some(&format!("`switchhook logs {}` says what", args.service)),
                    );
                    return Ok(Exit::Failed);
                }
                Some(service) if has_arrived(&service, order, before) => return Ok(Exit::Ok),
                Some(service) if service.state == "failed" || began.elapsed() > LONGEST_WAIT => {
                    let end = service.last_exit.unwrap_or_default();
                    out.problem(
                        &format!("{} is {} ({end})", args.service, service.state),
                        Some("`switchhook status` and the log say more"),
                    );
                    return Ok(Exit::Failed);
                }
                _ => pause(INTERVAL),
            }
        }
    })();
    match outcome {
        Ok(exit) => out.finish(exit),
        Err(error) => {
            let error: AskError = error;
            out.problem(&error.to_string(), None);
            out.finish(Exit::Failed)
        }
    }
}

fn has_arrived(service: &ServiceStatus, order: Order, before: Option<i32>) -> bool {
    match order {
        Order::Stop => service.pid.is_none() && !service.wanted,
        Order::Start => service.up,
        Order::Restart | Order::Kill => service.up && service.pid != before,
        Order::Reload => service.reload.as_deref() != Some("running"),
    }
}
