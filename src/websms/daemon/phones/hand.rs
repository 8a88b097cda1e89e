//! Hands copies to Asterisk, one after the other, and tells what it said.
//!
//! The text is read from the spool when its turn comes: what waits needs no memory. When Asterisk cannot be reached, what is
//! in the queue hears so without being tried. Invariant: every copy that was asked for is answered, well or not.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinError;

use super::super::Office;
use super::super::media::links;
use super::dialplan;
use crate::asterisk::ari::{Ari, AriError, Door, Text};
use crate::websms::config::AstQueue;
use crate::websms::hep::TOKEN_HEADER;
use crate::websms::media::with_links;
use crate::websms::spool::{Id, Message, SpoolError};

/// What is to be handed over, or asked.
#[derive(Debug)]
pub enum Task {
    Copy {
        id: Id,
        token: String,
        /// `ENDPOINT/URI`, or the endpoint alone.
        contact: String,
        from: String,
    },
    /// A message for the dialplan.
    File { id: Id, token: String },
    /// What the dialplan wants, and whether it joins long texts.
    Queue(Box<AstQueue>, bool),
    /// Another place, or another password.
    Door(Door),
    /// Whether an endpoint is there, when the manager is not.
    Endpoint(String),
    /// Whether copies can be handed over again.
    Knock,
}

/// What became of it.
#[derive(Debug)]
pub enum Told {
    Copy {
        token: String,
        result: Result<(), AriError>,
    },
    Endpoint {
        name: String,
        result: Result<Option<bool>, AriError>,
    },
    /// Whether copies can be handed over.
    Knocked(Result<(), AriError>),
}

/// Works until nobody asks.
pub async fn run(
    office: Arc<Office>,
    mut tasks: UnboundedReceiver<Task>,
    told: UnboundedSender<Told>,
) {
    let mut hand = Hand {
        office,
        ari: None,
        files: None,
        shut: None,
    };
    while let Some(task) = tasks.recv().await {
        let Some(answer) = hand.take(task).await else {
            continue;
        };
        if told.send(answer).is_err() {
            return;
        }
    }
}

struct Hand {
    office: Arc<Office>,
    ari: Option<Ari>,
    /// What the dialplan wants, and whether it joins long texts, if messages go there.
    files: Option<(AstQueue, bool)>,
    /// Why nothing can be handed over.
    shut: Option<AriError>,
}

impl Hand {
    async fn take(&mut self, task: Task) -> Option<Told> {
        match task {
            Task::Door(door) => {
                (self.ari, self.files, self.shut) = (Some(Ari::new(door)), None, None);
                None
            }
            Task::Queue(queue, joins) => {
                (self.files, self.shut) = (Some((*queue, joins)), None);
                None
            }
            Task::File { id, token } => {
                let result = match self.shut.clone() {
                    Some(why) => Err(why),
                    None => self.file(id).await,
                };
                Some(self.tell(token, result))
            }
            Task::Copy {
                id,
                token,
                contact,
                from,
            } => {
                let result = match self.shut.clone() {
                    Some(why) => Err(why),
                    None => self.copy(id, &token, &contact, &from).await,
                };
                Some(self.tell(token, result))
            }
            Task::Endpoint(name) => {
                let result = match &mut self.ari {
                    Some(ari) => ari.is_there(&name).await,
                    None => Err(unknown()),
                };
                Some(Told::Endpoint { name, result })
            }
            Task::Knock => {
                let result = self.knock().await;
                self.shut = result.clone().err();
                Some(Told::Knocked(result))
            }
        }
    }

    fn tell(&mut self, token: String, result: Result<(), AriError>) -> Told {
        self.shut = result.clone().err().filter(closes);
        Told::Copy { token, result }
    }

    async fn knock(&mut self) -> Result<(), AriError> {
        match (&self.files, &mut self.ari) {
            (Some((queue, _)), _) => {
                let outgoing = self.office.paths.at(&queue.outgoingdir);
                let staging = staging(&self.office);
                let at = outgoing.display().to_string();
                let tried =
                    tokio::task::spawn_blocking(move || dialplan::try_out(&staging, &outgoing));
                at_place(at, tried.await)
            }
            // Any answer about any endpoint will do.
            (None, Some(ari)) => ari.is_there("websms").await.map(drop),
            (None, None) => Err(unknown()),
        }
    }

    async fn copy(
        &mut self,
        id: Id,
        token: &str,
        contact: &str,
        from: &str,
    ) -> Result<(), AriError> {
        let ari = self.ari.as_mut().ok_or_else(unknown)?;
        // The spool cannot be read now, or people have erased it.
        let Ok(Some(message)) = whole(&self.office, id).await else {
            return Err(AriError::NotThere);
        };
        // Its text was erased when another phone had it: nobody is sent an empty one.
        if message.body.is_empty() && !message.state.is_open() {
            return Err(AriError::NotThere);
        }
        let text = Text {
            to: &format!("pjsip:{contact}"),
            from,
            body: &message.body,
            headers: &[(TOKEN_HEADER, token)],
        };
        ari.send_message(&text).await
    }

    /// Writes a message's call files.
    async fn file(&self, id: Id) -> Result<(), AriError> {
        let (queue, joins) = self.files.as_ref().ok_or_else(unknown)?;
        let outgoing = self.office.paths.at(&queue.outgoingdir);
        let Ok(Some(message)) = whole(&self.office, id).await else {
            return Err(AriError::NotThere);
        };
        let Some(files) = dialplan::call_files(&message, queue, *joins) else {
            return Err(AriError::NotThere);
        };
        let at = outgoing.display().to_string();
        let staging = staging(&self.office);
        let written = tokio::task::spawn_blocking(move || {
            dialplan::put(&id.to_string(), &files, &staging, &outgoing)
        });
        at_place(at, written.await)
    }
}

/// A message as phones get it: with the links of its media below its text.
async fn whole(office: &Office, id: Id) -> Result<Option<Message>, SpoolError> {
    let read = office.spool.read(move |reader| {
        let message = reader.get(id)?;
        message
            .map(|message| {
                let kept = match message.media.is_empty() {
                    true => Vec::new(),
                    false => reader.media(id)?,
                };
                Ok((message, kept))
            })
            .transpose()
    });
    let found = read.await?;
    Ok(found.map(|(mut message, kept)| {
        let links = links(&office.config(), &kept, &message.media);
        message.body = with_links(&message.body, &links);
        message
    }))
}

/// Whether what happened to one copy would happen to all.
pub fn closes(error: &AriError) -> bool {
    match error {
        AriError::Unreachable { .. } | AriError::Denied { .. } => true,
        AriError::NotThere | AriError::Status(_) => false,
    }
}

fn unknown() -> AriError {
    AriError::Unreachable {
        at: "ari.conf".to_owned(),
        why: "no user is known".to_owned(),
    }
}

/// Where call files are made.
fn staging(office: &Office) -> PathBuf {
    office.paths.state().join("websms")
}

fn at_place(at: String, done: Result<io::Result<()>, JoinError>) -> Result<(), AriError> {
    let why = match done {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(AriError::Unreachable { at, why })
}
