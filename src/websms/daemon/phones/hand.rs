//! Hands copies to Asterisk, one after the other, and tells what it said.
//!
//! The text is read from the spool when its turn comes: what waits needs no memory. Invariant: every copy that was asked for
//! is answered, well or not.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

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
}

/// Works until nobody asks.
pub async fn run(
    office: Arc<Office>,
    mut tasks: UnboundedReceiver<Task>,
    told: UnboundedSender<Told>,
) {
    let mut ari: Option<Ari> = None;
    let mut queue = (AstQueue::default(), false);
    while let Some(task) = tasks.recv().await {
        let unknown = || AriError::Unreachable {
            at: "ari.conf".to_owned(),
            why: "no user is known".to_owned(),
        };
        let answer = match task {
            Task::Door(door) => {
                ari = Some(Ari::new(door));
                continue;
            }
            Task::Queue(wanted, joins) => {
                queue = (*wanted, joins);
                continue;
            }
            Task::File { id, token } => {
                let result = file(&office, id, &queue.0, queue.1).await;
                Told::Copy { token, result }
            }
            Task::Endpoint(name) => {
                let result = match &mut ari {
                    Some(ari) => ari.is_there(&name).await,
                    None => Err(unknown()),
                };
                Told::Endpoint { name, result }
            }
            Task::Copy {
                id,
                token,
                contact,
                from,
            } => {
                let found = whole(&office, id).await;
                let result = match (&mut ari, found) {
                    (None, _) => Err(unknown()),
                    // Its text was erased when another phone had it: nobody is sent an empty one.
                    (Some(_), Ok(Some(message)))
                        if message.body.is_empty() && !message.state.is_open() =>
                    {
                        Err(AriError::NotThere)
                    }
                    (Some(ari), Ok(Some(message))) => {
                        let text = Text {
                            to: &format!("pjsip:{contact}"),
                            from: &from,
                            body: &message.body,
                            headers: &[(TOKEN_HEADER, &token)],
                        };
                        ari.send_message(&text).await
                    }
                    // The spool cannot be read now, or people have erased it.
                    (Some(_), Ok(None) | Err(_)) => Err(AriError::NotThere),
                };
                Told::Copy { token, result }
            }
        };
        if told.send(answer).is_err() {
            return;
        }
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

/// Writes a message's call files.
async fn file(office: &Office, id: Id, queue: &AstQueue, joins: bool) -> Result<(), AriError> {
    let outgoing = office.paths.at(&queue.outgoingdir);
    let Ok(Some(message)) = whole(office, id).await else {
        return Err(AriError::NotThere);
    };
    let Some(files) = dialplan::call_files(&message, queue, joins) else {
        return Err(AriError::NotThere);
    };
    let place = outgoing.display().to_string();
    let staging = office.paths.state().join("websms");
    let written = tokio::task::spawn_blocking(move || {
        dialplan::put(&id.to_string(), &files, &staging, &outgoing)
    });
    let why = match written.await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(AriError::Unreachable { at: place, why })
}
