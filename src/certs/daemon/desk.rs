//! The control socket: questions and orders of the `cert` command.
//!
//! The socket is for root alone. One client after the other, each with so much patience. Invariant: a client that says
//! nothing delays others by no more than that, and the keeper not at all.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Sender, sync_channel};
use std::time::Duration;

use super::Wake;
use crate::certs::control::{Reply, Request, SOCKET};
use crate::config::paths::Paths;

/// The longest request, in bytes.
const LONGEST: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens at `path`; one that was left by an earlier run is replaced.
pub fn open(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Asks the keeper that runs, as its client.
///
/// # Errors
/// If none listens, or it does not answer in time.
pub fn ask(paths: &Paths, request: Request, patience: Duration) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(paths.at(SOCKET))?;
    stream.set_read_timeout(Some(patience))?;
    let line = serde_json::to_string(&request)? + "\n";
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// Serves for ever.
pub fn serve(listener: &UnixListener, to: &Sender<Wake>) {
    for stream in listener.incoming().flatten() {
        // Whoever goes away has had enough.
        let _ = attend(stream, to);
    }
}

fn attend(mut stream: UnixStream, to: &Sender<Wake>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(LONGEST)).read_line(&mut line)?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let (answer, answered) = sync_channel(1);
            let sent = to.send(Wake::Ask(request, answer)).ok();
            let report = sent.and_then(|()| answered.recv().ok());
            report.map_or_else(
                || Reply::Refused {
                    reason: "the keeper is about to end".to_owned(),
                },
                |report| Reply::Report(Box::new(report)),
            )
        }
        Err(error) => Reply::Refused {
            reason: format!("that is no request: {error}"),
        },
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}
