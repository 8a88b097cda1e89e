//! The messages on disk: what was acknowledged is here, once, whatever ends the process or fills the disk.
//!
//! One SQLite database, one thread that writes it, many orders in one transaction (`writer`); who asks gets the answer after
//! the commit. Who reads has a connection of its own (`reader`). It decides nothing about a message's life: states come from
//! `delivery`. Invariant: `store` answers well only for what is on disk, and a repeat of the same message is stored once.

mod book;
mod erase;
mod id;
mod journal;
mod media;
mod parts;
mod reader;
mod receipts;
mod schema;
mod submit;
mod writer;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Notify, oneshot, watch};

use super::delivery::{DAY, HOUR, Leg, Moment, State};
use super::message::{Part, Receipt};
pub use id::{Id, NoId};
pub use journal::{Happening, Mark};
pub use media::{Due, Media, MediaChange, MediaState};
pub use reader::{Counts, Filter, History, Message, Reader};
use writer::{Following, Order, Writer};

/// The file within WebSMS's directory of state.
pub const NAME: &str = "spool.db";
/// Ids are kept at least so long: the most patient carrier repeats for a day.
pub const SHORTEST_HISTORY: i64 = 3 * DAY;

/// How much is kept, and how long. Times in milliseconds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Messages that wait; more are refused.
    pub waiting: u64,
    /// Orders that wait for the disk; more are refused.
    pub queue: usize,
    /// Orders in one transaction.
    pub batch: usize,
    /// Messages at rest are erased when they are so old, at least `SHORTEST_HISTORY`.
    pub history: i64,
    /// The text of a message is erased when it is delivered or taken back, of all others at rest after `SHORTEST_HISTORY`.
    pub redact: bool,
    /// Receipts for messages that nobody knows.
    pub receipts: i64,
    /// A long message that is not whole by then is delivered as it is.
    pub parts: i64,
    /// The last requests of carriers.
    pub requests: usize,
    /// How often old things are looked for.
    pub tick: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            waiting: 100_000,
            queue: 4096,
            batch: 512,
            history: 90 * DAY,
            redact: false,
            receipts: 6 * HOUR,
            parts: 10 * 60_000,
            requests: 500,
            tick: Duration::from_secs(10),
        }
    }
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a carrier to a phone.
    In,
    /// From a phone to a carrier.
    Out,
}

impl Direction {
    pub fn word(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }

    /// The state in which a message of this direction begins.
    pub fn first(self) -> State {
        match self {
            Direction::In => State::Received,
            Direction::Out => State::Queued,
        }
    }
}

/// A message to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    pub direction: Direction,
    pub interface: String,
    /// The carrier's id of an incoming message: a repeat bears the same.
    pub provider_id: Option<String>,
    /// The idempotency key of who sends it, unique in all of the spool.
    pub key: Option<String>,
    pub from: String,
    pub to: String,
    pub body: String,
    pub media: Vec<String>,
    /// Now, by our clock.
    pub received: Moment,
    pub part: Option<Part>,
}

/// It is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub id: Id,
    /// Not a repeat.
    pub is_new: bool,
    /// Not the part of a long message of which others are missing.
    pub is_whole: bool,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    pub id: Id,
    pub state: State,
    pub at: Moment,
    /// When the next step is due; of no meaning for a state at rest.
    pub next: Option<Moment>,
    pub tries: u32,
    /// Those legs that changed.
    pub legs: Vec<Leg>,
    /// The carrier's id, once it is known.
    pub provider_id: Option<String>,
    pub endpoint: Option<String>,
    /// The interface that takes an outgoing message over.
    pub interface: Option<String>,
    /// For people: the response, the carrier's word.
    pub detail: String,
}

impl Transition {
    pub fn new(id: Id, state: State, at: Moment) -> Transition {
        Transition {
            id,
            state,
            at,
            next: None,
            tries: 0,
            legs: Vec::new(),
            provider_id: None,
            endpoint: None,
            interface: None,
            detail: String::new(),
        }
    }
}

/// A carrier's request and what we made of it. Neither text nor secret: of the address the path only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub at: Moment,
    pub interface: Option<String>,
    pub peer: String,
    pub method: String,
    pub path: String,
    /// Our status.
    pub status: u16,
    pub reason: String,
}

/// Why the spool did not do it. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpoolError {
    #[error("too many orders wait for the disk")]
    Busy,
    #[error("{waiting} messages wait already")]
    Full { waiting: u64 },
    #[error("the disk of the spool is full")]
    NoSpace,
    #[error("the spool cannot be written: {0}")]
    Broken(String),
    #[error("there is no message {0}")]
    Unknown(Id),
    #[error("the key was used before, for another message")]
    KeyUsed,
    #[error("the spool is closed")]
    Closed,
}

impl SpoolError {
    /// After how many seconds another try may succeed. None if it will not.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            SpoolError::Busy => Some(1),
            SpoolError::Full { .. } | SpoolError::NoSpace | SpoolError::Broken(_) => Some(30),
            SpoolError::Closed => Some(5),
            SpoolError::Unknown(_) | SpoolError::KeyUsed => None,
        }
    }

    pub fn hint(&self) -> Option<&'static str> {
        match self {
            SpoolError::Full { .. } => Some("are the phones away, or does the carrier refuse?"),
            SpoolError::NoSpace => Some("free some space on the file system of /srv"),
            SpoolError::Broken(_) => Some("is /srv mounted writable, and the disk sound?"),
            SpoolError::KeyUsed => Some("a new message has a key of its own"),
            SpoolError::Busy | SpoolError::Unknown(_) | SpoolError::Closed => None,
        }
    }
}

/// Why it could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the spool `{}` has schema {found}, and this program knows {known}\nhint: run the version that wrote it, or a newer one", path.display())]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("cannot open the spool `{}`: {why}\nhint: may its owner write there, and is there room?", path.display())]
    Broken { path: PathBuf, why: String },
}

/// Says a line to people: a spool that was set aside, a disk that fails.
pub type Tell = Box<dyn Fn(&str) + Send>;

/// The spool, for all who need it.
#[derive(Debug, Clone)]
pub struct Spool {
    orders: SyncSender<Order>,
    path: Arc<PathBuf>,
    news: Arc<Notify>,
    /// Readers that nobody uses now.
    readers: Arc<Mutex<Vec<Reader>>>,
    /// Requests that the writer has not fetched yet, and the most of them.
    requests: Arc<Mutex<VecDeque<Request>>>,
    most_requests: usize,
    following: Following,
}

/// The end of the writer.
#[derive(Debug)]
pub struct Handle {
    orders: SyncSender<Order>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Does what was ordered before, and closes the database. Waits for the disk.
    pub fn close(self) {
        // A writer that is gone is what we want.
        let _ = self.orders.send(Order::Close);
        let _ = self.thread.join();
    }
}

impl Spool {
    /// Opens the database `path`, or makes it; its directory must be there. One that is damaged is set aside beside it.
    ///
    /// # Errors
    /// If it is of a newer version, or cannot be written.
    pub fn open(path: &Path, limits: Limits, tell: Tell) -> Result<(Spool, Handle), OpenError> {
        let (orders, queue) = sync_channel(limits.queue.max(1));
        let news = Arc::new(Notify::new());
        let requests = Arc::new(Mutex::new(VecDeque::new()));
        let most_requests = limits.requests.max(1);
        let following = Following::default();
        let (heard, asked) = (Arc::clone(&news), Arc::clone(&requests));
        let writer = Writer::open(path, limits, heard, asked, following.clone(), tell)?;
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| OpenError::Broken {
                path: path.to_owned(),
                why: error.to_string(),
            })?;
        let spool = Spool {
            orders: orders.clone(),
            path: Arc::new(path.to_owned()),
            news,
            readers: Arc::default(),
            requests,
            most_requests,
            following,
        };
        Ok((spool, Handle { orders, thread }))
    }

    /// Stores a message and answers when it is on disk.
    ///
    /// # Errors
    /// If it is not there; the carrier should hear 503 and repeat it.
    pub async fn store(&self, message: New) -> Result<Stored, SpoolError> {
        self.ask(|answer| Order::Store(message, answer)).await
    }

    /// Stores a message at rest, as one that was taken back: nobody delivers it.
    ///
    /// # Errors
    /// If it is not on disk.
    pub async fn store_test(&self, message: New) -> Result<Stored, SpoolError> {
        self.ask(|answer| Order::StoreTest(message, answer)).await
    }

    /// Stores a message that has a key, unless it is there. `print` is a digest of all that makes a repeat the same.
    ///
    /// # Errors
    /// If it is not there, or its key stands for another message.
    pub async fn submit(&self, message: New, print: String) -> Result<Stored, SpoolError> {
        self.ask(|answer| Order::Submit(message, print, answer))
            .await
    }

    /// Whether what happens is written into the journal, for those who follow.
    pub fn keep_journal(&self, keeps: bool) {
        self.following.is_on.store(keeps, Ordering::Relaxed);
    }

    /// The last line of the journal; it tells of each that is new.
    pub fn journal(&self) -> watch::Receiver<Id> {
        self.following.end.subscribe()
    }

    /// Writes down how far a hook has followed.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn mark(&self, mark: Mark) -> Result<(), SpoolError> {
        self.ask(|answer| Order::Mark(mark, answer)).await
    }

    /// Writes down what became of messages, all or nothing. The answer is the state of each: receipts that came before the
    /// carrier's id was known are taken into account.
    ///
    /// # Errors
    /// If a message is not known, or the disk fails.
    pub async fn record(&self, changes: Vec<Transition>) -> Result<Vec<State>, SpoolError> {
        self.ask(|answer| Order::Record(changes, answer)).await
    }

    /// Takes a carrier's receipt: the message that it is about and its new state, or nothing if none is known by that id yet.
    /// Then it is kept until one is.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn receipt(
        &self,
        interface: String,
        receipt: Receipt,
        at: Moment,
    ) -> Result<Option<(Id, State)>, SpoolError> {
        self.ask(|answer| Order::Receipt {
            interface,
            receipt,
            at,
            answer,
        })
        .await
    }

    /// Remembers a request. The last ones are written down about once a second: of a thousand a second most would be
    /// replaced at once.
    pub fn request(&self, request: Request) {
        let Ok(mut requests) = self.requests.lock() else {
            return;
        };
        let is_first = requests.is_empty();
        if requests.len() >= self.most_requests {
            requests.pop_front();
        }
        requests.push_back(request);
        drop(requests);
        if is_first {
            // If it is busy it comes by anyway.
            let _ = self.orders.try_send(Order::Requests);
        }
    }

    /// Erases a step of what is old, delivers what waited too long for its parts. The writer does it by itself from time to
    /// time. Answers whether there is more.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn tend(&self, now: Moment) -> Result<bool, SpoolError> {
        self.ask(|answer| Order::Tend(now, Some(answer))).await
    }

    /// Erases all messages from and to a number, in each of its spellings, and what of them the files hold; how many.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn erase(&self, number: Vec<String>) -> Result<u64, SpoolError> {
        self.ask(|answer| Order::Erase(number, answer)).await
    }

    /// How long messages are kept from now on, and whether texts are.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn keep(&self, history: i64, redact: bool) -> Result<(), SpoolError> {
        self.ask(|answer| Order::Keep {
            history,
            redact,
            answer,
        })
        .await
    }

    /// Writes down what became of a message's media.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn record_media(&self, change: MediaChange) -> Result<(), SpoolError> {
        self.ask(|answer| Order::Media(change, answer)).await
    }

    /// Waits until messages were stored since the last call. For one caller.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Reads, on a thread for such work.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let (path, readers) = (Arc::clone(&self.path), Arc::clone(&self.readers));
        let work = move || {
            let idle = readers.lock().ok().and_then(|mut readers| readers.pop());
            let reader = match idle.filter(|reader| reader.is_of(&path)) {
                Some(reader) => reader,
                None => Reader::open(&path)?,
            };
            let answer = question(&reader)?;
            if let Ok(mut readers) = readers.lock()
                && readers.len() < 2
            {
                readers.push(reader);
            }
            Ok(answer)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| SpoolError::Closed)?
            .map_err(|error| writer::meaning_of(&error))
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, SpoolError>>) -> Order,
    ) -> Result<T, SpoolError> {
        let (sender, answer) = oneshot::channel();
        match self.orders.try_send(order(sender)) {
            Ok(()) => answer.await.unwrap_or(Err(SpoolError::Closed)),
            Err(TrySendError::Full(_)) => Err(SpoolError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(SpoolError::Closed),
        }
    }
}

#[cfg(test)]
mod tests;
