//! Telling our own supervisor how we are (sd_notify(3)): one datagram to `NOTIFY_SOCKET`.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// How long a full queue is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends `state` (`READY=1`, `STOPPING=1`, ...). Without a supervisor nothing happens.
pub fn send(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    send_to(std::path::Path::new(&path), state);
}

/// As `send`, for a service: waits while the supervisor's queue is full, for a word that is lost is never asked for
/// again. Up to 5 s: a supervisor that hangs is not to hang us too. Not for PID 1.
pub fn send_surely(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_write_timeout(Some(PATIENCE));
        let _ = socket.send_to(state.as_bytes(), path);
    }
}

/// Sends `state` to the socket at `path`. A supervisor that does not listen is no error of ours.
pub fn send_to(path: &std::path::Path, state: &str) {
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(state.as_bytes(), path);
    }
}
