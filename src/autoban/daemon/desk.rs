//! The control socket: orders and questions of the `autoban` command.
//!
//! Root and the daemon's own user are heard, by the kernel's word on who they are. Each connection is a task of its own that
//! hands requests to the daemon and writes its replies; their number, their lines and their patience are bounded.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::autoban::control::{Reply, Request};

/// Connections at once.
const CLIENTS: usize = 16;
/// The longest request, in bytes.
const LONGEST: u64 = 64 * 1024;
/// How long a client may take for a line.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request and where its reply goes.
pub type Asked = (Request, oneshot::Sender<Reply>);

/// Listens at `path`, for this user alone. `None`: a daemon that lives listens there already.
pub fn open(path: &Path) -> io::Result<Option<UnixListener>> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Ok(None);
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(Some(listener))
}

/// Takes connections for ever.
pub async fn serve(listener: UnixListener, to: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        // Whoever comes as the seventeenth waits.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let to = to.clone();
                tokio::spawn(async move {
                    // A client that goes away has had its answer.
                    let _ = attend(stream, to).await;
                    drop(place);
                });
            }
            // Out of descriptors, for one.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn attend(stream: UnixStream, to: mpsc::Sender<Asked>) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    let (read, mut write) = stream.into_split();
    if user != 0 && user != nix::unistd::geteuid().as_raw() {
        let reason = "only root and AutoBan's own user are heard here".to_owned();
        return answer(&mut write, &Reply::Refused { reason }).await;
    }
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut one = (&mut read).take(LONGEST);
        let count = timeout(PATIENCE, one.read_until(b'\n', &mut line)).await??;
        if count == 0 {
            return Ok(());
        }
        let reply = match serde_json::from_slice(&line) {
            Ok(request) => {
                let (sender, receiver) = oneshot::channel();
                let sent = to.send((request, sender)).await;
                let answer = match sent {
                    Ok(()) => receiver.await.ok(),
                    Err(_) => None,
                };
                answer.unwrap_or_else(|| Reply::Refused {
                    reason: "AutoBan is about to end".to_owned(),
                })
            }
            Err(e) => Reply::Refused {
                reason: format!("that is no request: {e}"),
            },
        };
        answer(&mut write, &reply).await?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
    }
}

async fn answer(to: &mut tokio::net::unix::OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(PATIENCE, to.write_all(&line)).await?
}
