//! The carriers' door: webhooks in, answers out.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use super::{Office, Options};
use crate::sys::socket::passed_listeners;

/// The sockets that PID 1 has passed, or one of our own.
pub fn open(options: &Options) -> io::Result<Vec<TcpListener>> {
    let mut doors: Vec<TcpListener> = passed_listeners()
        .into_iter()
        .map(|(_, socket)| TcpListener::from(socket))
        .collect();
    if let (true, Some(address)) = (doors.is_empty(), options.listen) {
        doors.push(TcpListener::bind(address)?);
    }
    for door in &doors {
        door.set_nonblocking(true)?;
    }
    Ok(doors)
}

/// Serves until the office closes.
pub async fn serve(_doors: Vec<TcpListener>, office: Arc<Office>) {
    office.closed().await;
}
