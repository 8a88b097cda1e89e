//! The listening sockets of the units, bound once by PID 1 and held over restarts of their services.

use std::os::fd::OwnedFd;

use crate::config::paths::Paths;
use crate::sys::socket::{BindOptions, bind_listener};
use crate::units::spec::{Listen, SocketSpec};

/// A bound listener of a service; `name` is what LISTEN_FDNAMES says.
#[derive(Debug)]
pub struct Bound {
    pub service: String,
    /// The socket unit, without suffix.
    pub unit: String,
    pub address: Listen,
    pub name: String,
    pub fd: OwnedFd,
}

/// Binds every listener. What cannot be bound is told and left out: the service then binds its own.
pub fn bind_all(sockets: &[SocketSpec], paths: &Paths) -> (Vec<Bound>, Vec<String>) {
    let mut bound = Vec::new();
    let mut problems = Vec::new();
    for socket in sockets {
        let owner = match owner(socket) {
            Ok(owner) => owner,
            Err(problem) => {
                problems.push(format!("{}.socket: {problem}", socket.name));
                continue;
            }
        };
        let options = BindOptions {
            mode: socket.mode,
            owner,
            free_bind: socket.free_bind,
            backlog: socket.backlog,
        };
        for listener in &socket.listeners {
            let listener = below_root(listener, paths);
            match bind_listener(&listener, options) {
                Ok(fd) => bound.push(Bound {
                    service: socket.service.clone(),
                    unit: socket.name.clone(),
                    address: listener,
                    name: socket.name.clone(),
                    fd,
                }),
                Err(e) => problems.push(format!(
                    "{}.socket: cannot bind {}: {e}",
                    socket.name,
                    text(&listener)
                )),
            }
        }
    }
    (bound, problems)
}

fn below_root(listener: &Listen, paths: &Paths) -> Listen {
    let move_path = |path: &str| paths.at(path).to_string_lossy().into_owned();
    match listener {
        Listen::UnixStream(path) => Listen::UnixStream(move_path(path)),
        Listen::UnixDatagram(path) => Listen::UnixDatagram(move_path(path)),
        Listen::UnixSequential(path) => Listen::UnixSequential(move_path(path)),
        net => net.clone(),
    }
}

fn text(listener: &Listen) -> String {
    match listener {
        Listen::UnixStream(path) | Listen::UnixDatagram(path) | Listen::UnixSequential(path) => {
            format!("`{path}`")
        }
        Listen::Tcp(address) => format!("tcp {address}"),
        Listen::Udp(address) => format!("udp {address}"),
    }
}

fn owner(socket: &SocketSpec) -> Result<Option<(u32, u32)>, String> {
    let uid = match &socket.user {
        Some(name) => super::identity::user(name)?.uid,
        None => nix::unistd::geteuid().as_raw(),
    };
    let gid = match &socket.group {
        Some(name) => super::identity::group(name)?,
        None => nix::unistd::getegid().as_raw(),
    };
    Ok((socket.user.is_some() || socket.group.is_some()).then_some((uid, gid)))
}
