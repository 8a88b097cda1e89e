//! The desk for programs of this machine: the control socket, and FastAGI for the dialplan (`fastagi`).
//!
//! By the kernel's word on who they are, root and the daemon's own user are heard, and the PBX's user when it hands a message
//! in; nobody else is. Each connection is a task of its own; their number, their lines and their patience are bounded.
//! Invariant: who hears that a message is queued hears it after the commit.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Office;
use crate::sys::account;
use crate::sys::say::{WARNING, say};
use crate::websms::control::{LONGEST, LONGEST_LINE, Reply, Request, SOCKET};

pub mod answers;
pub mod fastagi;
mod rows;

/// Connections at once.
const CLIENTS: usize = 64;
/// How long a client may take for a line.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom we hear.
#[derive(Debug, Clone, Copy)]
pub struct Guests {
    own: u32,
    /// The PBX's user.
    pbx: Option<u32>,
}

/// What somebody may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    All,
    HandIn,
    None,
}

impl Guests {
    pub fn of(office: &Office) -> Guests {
        let user = account::user(office.paths.pbx().name());
        Guests {
            own: nix::unistd::geteuid().as_raw(),
            pbx: user.ok().flatten().map(|user| user.uid),
        }
    }

    pub fn rights(&self, user: u32) -> Rights {
        match user {
            0 => Rights::All,
            user if user == self.own => Rights::All,
            user if Some(user) == self.pbx => Rights::HandIn,
            _ => Rights::None,
        }
    }
}

/// Listens, for our user and the PBX's group.
pub fn open(office: &Office) -> io::Result<UnixListener> {
    let path = office.paths.at(SOCKET);
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    let group = account::group(office.paths.pbx().name()).ok().flatten();
    let group = group.filter(|group| {
        let given = std::os::unix::fs::chown(&path, None, Some(*group));
        if let Err(error) = &given {
            let name = office.paths.pbx().name();
            say(
                WARNING,
                &format!("`{}` cannot be given to the group {name}: {error}\nhint: is WebSMS's user in it?", path.display()),
            );
        }
        given.is_ok()
    });
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Serves until the office closes.
pub async fn serve(listener: UnixListener, office: Arc<Office>) {
    let guests = Guests::of(&office);
    let dialplan = fastagi::serve(Arc::clone(&office), guests);
    tokio::select! {
        () = office.closed() => {}
        () = take(listener, &office, guests) => {}
        () = dialplan => {}
    }
}

async fn take(listener: UnixListener, office: &Arc<Office>, guests: Guests) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        // Who comes when all places are taken waits.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let office = Arc::clone(office);
                tokio::spawn(async move {
                    // A client that goes away has had its answer.
                    let _ = attend(stream, &office, guests).await;
                    drop(place);
                });
            }
            // Out of descriptors, for one.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn attend(stream: UnixStream, office: &Office, guests: Guests) -> io::Result<()> {
    let rights = guests.rights(stream.peer_cred()?.uid());
    let (read, mut write) = stream.into_split();
    if rights == Rights::None {
        let reason = "only root, the PBX's user and WebSMS's own are heard here";
        return answer(&mut write, &Reply::refused(reason)).await;
    }
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let most = match rights {
            Rights::All => LONGEST_LINE,
            Rights::HandIn | Rights::None => LONGEST,
        };
        let mut one = (&mut read).take(most);
        let count = timeout(PATIENCE, one.read_until(b'\n', &mut line)).await??;
        if count == 0 {
            return Ok(());
        }
        let reply = match serde_json::from_slice(&line) {
            Ok(Request::Send(message)) => answers::hand_in(office, &message).await,
            Ok(_) if rights != Rights::All => {
                Reply::refused("this user may hand messages in, and nothing else")
            }
            Ok(request) => answers::answer(office, request).await,
            Err(_) if !line.ends_with(b"\n") => Reply::refused("the request is too long"),
            // Its text may stand in the error.
            Err(_) => Reply::refused("that is no request"),
        };
        answer(&mut write, &reply).await?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
    }
}

async fn answer(to: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(PATIENCE, to.write_all(&line)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pbx_may_hand_in_and_strangers_nothing() {
        let guests = Guests {
            own: 103,
            pbx: Some(101),
        };
        let rights = [0, 103, 101, 1000].map(|user| guests.rights(user));
        assert_eq!(
            rights,
            [Rights::All, Rights::All, Rights::HandIn, Rights::None]
        );
        let alone = Guests {
            pbx: None,
            ..guests
        };
        assert_eq!(alone.rights(101), Rights::None);
    }
}
