//! Telling our own supervisor how we are (sd_notify(3)): one datagram to `NOTIFY_SOCKET`.

use std::os::unix::net::UnixDatagram;

/// Sends `state` (`READY=1`, `STOPPING=1`, ...). Without a supervisor nothing happens.
pub fn send(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    send_to(std::path::Path::new(&path), state);
}

/// Sends `state` to the socket at `path`. A supervisor that does not listen is no error of ours.
pub fn send_to(path: &std::path::Path, state: &str) {
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(state.as_bytes(), path);
    }
}
