//! What AutoBan asks of the manager and hears from it, over the client that all parts share.
//!
//! Invariant: the access lists are asked for once at a time, and whoever asks hears of it, or of the loss of the connection.

use crate::asterisk::ami::action::Action;
use crate::asterisk::ami::client::{self, Client};
use crate::asterisk::ami::event::SecurityEvent;
use crate::asterisk::ami::frame::{Hostile, Lines};

pub use crate::asterisk::ami::client::Door;

/// What the connection has to tell.
pub enum News<'a> {
    Security(SecurityEvent<'a>),
    Hostile(Hostile),
    Other(Lines<'a>),
    /// Security events come from now on.
    Connected,
    /// It ended, or never came about.
    Lost(String),
    /// The manager does not let us in; its words.
    Denied(String),
    /// Asterisk has read its access lists again, or says why not.
    Reloaded(Result<(), String>),
}

/// The client.
#[derive(Default)]
pub struct Manager {
    client: Client,
    /// The question by which the access lists are read again.
    reload: Option<u64>,
}

impl Manager {
    /// Begins anew, as with another configuration.
    pub fn restart(&mut self) {
        self.reload = None;
        self.client.restart();
    }

    /// Lets go of the connection, if there is one.
    pub fn rest(&mut self) {
        self.client.rest();
    }

    /// Lets Asterisk read its access lists again. [`News::Reloaded`] tells what became of it, unless the connection is lost.
    pub fn reload(&mut self) {
        let question = Box::new(|id: &str| Action::reload(id, "acl"));
        self.reload = Some(self.client.ask(question));
    }

    /// Waits until `turn` has something to do. Can be given up at any time.
    pub async fn wait(&mut self) {
        self.client.wait().await;
    }

    /// Does what is due. `door` is asked for when a connection is to be made.
    pub fn turn(
        &mut self,
        door: impl FnOnce() -> Result<Door, String>,
        tell: &mut impl FnMut(News<'_>),
    ) {
        let reload = &mut self.reload;
        self.client.turn(door, &mut |news| {
            tell(match news {
                client::News::Answer(number, lines) => {
                    if *reload != Some(number) {
                        return;
                    }
                    *reload = None;
                    News::Reloaded(reloaded(&lines))
                }
                client::News::Lost(why) => {
                    *reload = None;
                    News::Lost(why)
                }
                client::News::Denied(why) => {
                    *reload = None;
                    News::Denied(why)
                }
                client::News::Security(event) => News::Security(event),
                client::News::Hostile(hostile) => News::Hostile(hostile),
                client::News::Other(lines) => News::Other(lines),
                client::News::Connected => News::Connected,
            });
        });
    }
}

fn reloaded(lines: &Lines<'_>) -> Result<(), String> {
    match lines.value(0, b"Response") {
        Some(b"Success") => Ok(()),
        _ => {
            let why = lines.get("Message").unwrap_or_default();
            Err(String::from_utf8_lossy(why).into_owned())
        }
    }
}
