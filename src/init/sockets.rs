//! The listening sockets of the units, bound once by PID 1 and held over restarts of their services.
//!
//! Invariant: a descriptor here is bound for as long as PID 1 runs; services get copies.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::paths::Paths;
use crate::sys::socket::{BindOptions, bind_listener};
use crate::units::spec::{Listen, SocketSpec};

/// A bound listener of a service.
#[derive(Debug)]
pub struct Bound {
    pub service: String,
    /// The socket unit, without suffix; with `address` it says which listener this is.
    pub unit: String,
    pub address: Listen,
    /// What `LISTEN_FDNAMES` says.
    pub name: String,
    pub fd: OwnedFd,
    /// A connection starts the service when that is down.
    pub activates: bool,
    pub trigger_interval: Duration,
    pub trigger_burst: u32,
    /// The path to unlink at the end.
    pub remove: Option<PathBuf>,
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
            reuse_port: socket.reuse_port,
            backlog: socket.backlog,
        };
        for address in &socket.listeners {
            let place = below_root(address, paths);
            match bind_listener(&place, options) {
                Ok(fd) => bound.push(Bound {
                    service: socket.service.clone(),
                    unit: socket.name.clone(),
                    address: address.clone(),
                    name: socket
                        .descriptor_name
                        .clone()
                        .unwrap_or(socket.name.clone()),
                    fd,
                    activates: !socket.is_generated,
                    trigger_interval: socket.trigger_interval,
                    trigger_burst: socket.trigger_burst,
                    remove: place
                        .path()
                        .filter(|path| socket.remove_on_stop && path.starts_with('/'))
                        .map(PathBuf::from),
                }),
                Err(e) => problems.push(format!(
                    "{}.socket: cannot bind {}: {e}; `{}` starts without it",
                    socket.name,
                    quoted(&place),
                    socket.service
                )),
            }
        }
    }
    (bound, problems)
}

/// The kernel keeps a name as it was given, and services compare it: links on the way are followed, not replaced.
fn below_root(listener: &Listen, paths: &Paths) -> Listen {
    let move_path = |path: &str| match path.starts_with('@') {
        true => path.to_owned(),
        false if paths.root() == Path::new("/") => path.to_owned(),
        false => paths.at(path).to_string_lossy().into_owned(),
    };
    match listener {
        Listen::UnixStream(path) => Listen::UnixStream(move_path(path)),
        Listen::UnixDatagram(path) => Listen::UnixDatagram(move_path(path)),
        Listen::UnixSequential(path) => Listen::UnixSequential(move_path(path)),
        net => net.clone(),
    }
}

fn quoted(place: &Listen) -> String {
    match place.path() {
        Some(path) => format!("`{path}`"),
        None => place.to_string(),
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
