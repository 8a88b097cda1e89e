//! Reaching PID 1: how long a command waits for it, and the question that most begin with.

use std::path::Path;
use std::time::Duration;

use crate::init::control::{Reply, Request, Status, ask};

/// How long PID 1 may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// Asks PID 1 how it is.
pub fn reach(socket: &Path) -> Result<Status, String> {
    match ask(socket, &Request::Status, PATIENCE) {
        Ok(Reply::Status(status)) => Ok(status),
        Ok(Reply::Refused { reason }) => Err(reason),
        Ok(_) => Err("the exchange gave an unexpected answer".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
