//! What happens to messages, told as it happens: server-sent events.
//!
//! Each reader has a place in the spool's journal and is told from there, so that nothing waits in memory for who reads slowly,
//! and who comes back names the last event that it has and misses nothing. Invariant: at most one page of events is held for a
//! reader, and one that does not take it in time loses its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::guests::Seat;
use super::{Answer, Call, answer};
use crate::sys::clock;
use crate::sys::say::{NOTICE, say};
use crate::websms::api::access::Client;
use crate::websms::api::problem::Problem;
use crate::websms::body::query;
use crate::websms::daemon::{Office, shapes};
use crate::websms::spool::{Happening, Id, Message, SHORTEST_HISTORY};

/// Readers at once, of all clients.
const MOST: usize = 32;
/// Events of one look into the journal.
const PAGE: u32 = 64;
/// Between two looks; what happens meanwhile goes together.
const BREATH: Duration = Duration::from_millis(50);
/// A word when nothing happens, so that nobody between us takes the connection for dead.
const STILL_HERE: Duration = Duration::from_secs(15);
/// For a reader to take what is written.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a disk that could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// The seats of readers.
#[derive(Debug)]
pub struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Readers {
        Readers(Arc::new(Semaphore::new(MOST)))
    }
}

/// Marks an answer that goes on after its head.
#[derive(Debug, Clone, Copy)]
pub struct Streaming;

/// The body of an answer, as it comes.
struct Stream {
    pieces: mpsc::Receiver<Bytes>,
    seat: Arc<Seat>,
    _place: OwnedSemaphorePermit,
}

impl axum::body::HttpBody for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.pieces.poll_recv(cx);
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.seat.has_answer();
    }
}

pub fn follow(call: &Call<'_>) -> Answer {
    call.may_read()?;
    let wrong = |why: &str| Problem::new(400, "wrong-query", why);
    let mut after = None;
    let no_event = || wrong("that is no id of an event");
    for (name, value) in query::read(call.request.target).map_err(|e| wrong(&e.to_string()))? {
        match name.as_str() {
            "after" => after = Some(read(&value).ok_or_else(no_event)?),
            _ => return Err(wrong("the only field of the query is `after`")),
        }
    }
    // Who comes back knows better than the address with which it began.
    if let Some(value) = call
        .request
        .header("Last-Event-ID")
        .filter(|v| !v.is_empty())
    {
        after = Some(read(value).ok_or_else(no_event)?);
    }
    let place = Arc::clone(&call.counter.api.readers.0).try_acquire_owned();
    let place = place.map_err(|_| {
        Problem::new(
            429,
            "too-many-readers",
            format!("{MOST} clients read events already"),
        )
        .later(30)
    })?;
    let (sender, pieces) = mpsc::channel(1);
    let seat = Arc::clone(&call.peer.seat);
    let feeder = Feeder {
        office: Arc::clone(call.office),
        client: call.client.clone(),
        seat: Arc::clone(&seat),
        sender,
        position: after.unwrap_or(*call.office.spool.journal().borrow()),
    };
    tokio::spawn(feeder.feed(after.is_some()));
    let stream = Stream {
        pieces,
        seat,
        _place: place,
    };
    let mut response = answer(200, "text/event-stream", Body::new(stream));
    response.extensions_mut().insert(Streaming);
    Ok(response)
}

/// An id as events have it.
fn read(text: &str) -> Option<Id> {
    text.strip_prefix("evt_")?.parse().ok()
}

/// Brings a reader what happens.
struct Feeder {
    office: Arc<Office>,
    client: Client,
    seat: Arc<Seat>,
    sender: mpsc::Sender<Bytes>,
    position: Id,
}

/// Why it ends: the reader is gone, or is to go.
struct End;

impl Feeder {
    async fn feed(mut self, comes_back: bool) {
        // However it ends the reader comes back by itself.
        let _ = self.tell_all(comes_back).await;
    }

    async fn tell_all(&mut self, comes_back: bool) -> Result<(), End> {
        let office = Arc::clone(&self.office);
        let mut journal = office.spool.journal();
        let mut configs = office.configs();
        let closed = office.closed();
        tokio::pin!(closed);
        let mut greeting = "retry: 2000\n\n".to_owned();
        let oldest = clock::unix_millis().saturating_sub(SHORTEST_HISTORY);
        if comes_back && self.position.moment() < oldest {
            greeting.push_str("event: reset\ndata: {\"detail\":\"events are kept for three days; older ones are not told\"}\n\n");
        }
        self.give(greeting).await?;
        loop {
            journal.borrow_and_update();
            let looked = Instant::now();
            while self.page().await? {}
            tokio::select! {
                () = &mut closed => return Err(End),
                () = self.sender.closed() => return Err(End),
                changed = configs.changed() => {
                    changed.map_err(|_| End)?;
                    let config = configs.borrow_and_update().clone();
                    // Its token is taken back, or its rights are others.
                    if !config.clients.contains(&self.client) {
                        return Err(End);
                    }
                }
                changed = journal.changed() => {
                    changed.map_err(|_| End)?;
                    sleep_until(looked + BREATH).await;
                }
                () = sleep(STILL_HERE) => self.give(": still here\n\n".to_owned()).await?,
            }
        }
    }

    /// Tells a page; whether there may be another.
    async fn page(&mut self) -> Result<bool, End> {
        let (after, scope) = (self.position, self.client.scope.clone());
        let look = self.office.spool.read(move |reader| {
            let page = reader.journal(after, PAGE)?;
            let (is_full, last) = (page.len() >= PAGE as usize, page.last().map(|h| h.number));
            let mut told: Vec<(Happening, Option<Message>)> = Vec::new();
            for happening in page {
                let message = reader.get(happening.message)?;
                let is_seen = scope.as_ref().is_none_or(|scope| {
                    let message = message.as_ref();
                    message.is_some_and(|message| scope.sees(&message.from, &message.to))
                });
                if is_seen {
                    told.push((happening, message));
                }
            }
            Ok((told, last, is_full))
        });
        let Ok((told, last, is_full)) = look.await else {
            sleep(PAUSE).await;
            return Ok(!self.sender.is_closed());
        };
        for (happening, message) in told {
            let id = shapes::event_id(&happening);
            let text = shapes::event(&happening, message, true);
            self.give(format!("id: {id}\nevent: message\ndata: {text}\n\n"))
                .await?;
        }
        self.position = last.unwrap_or(self.position);
        Ok(is_full)
    }

    async fn give(&mut self, text: String) -> Result<(), End> {
        match timeout(PATIENCE, self.sender.send(Bytes::from(text))).await {
            Ok(sent) => sent.map_err(|_| End),
            Err(_) => {
                let name = &self.client.name;
                say(
                    NOTICE,
                    &format!("the client {name} takes its events too slowly and is cut off"),
                );
                self.seat.cut();
                Err(End)
            }
        }
    }
}
