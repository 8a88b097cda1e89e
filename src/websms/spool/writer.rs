//! The one thread that writes the database.
//!
//! It takes all orders that wait, does them in one transaction and answers after the commit. When the disk fails the callers
//! hear of it, nothing of the transaction stands, and the next orders try again: with the same connection if the disk was
//! full, with a new one otherwise. Invariant: an answer is given after the commit, never before.

use std::collections::VecDeque;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{Notify, oneshot, watch};

use super::book::{Book, Done, Memory, Problem};
use super::erase::{self, Tended};
use super::journal::{self, Mark};
use super::media::{self, MediaChange};
use super::schema::{self, Failure};
use super::{Id, Limits, New, OpenError, Request, SpoolError, Stored, Tell, Transition, submit};
use crate::sys::clock;
use crate::websms::delivery::{Moment, State};
use crate::websms::message::Receipt;

type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

/// What is asked of the writer.
pub enum Order {
    Store(New, Reply<Stored>),
    StoreTest(New, Reply<Stored>),
    /// With its key and a print of what came with it.
    Submit(New, String, Reply<Stored>),
    /// A hook has followed so far.
    Mark(Mark, Reply<()>),
    Record(Vec<Transition>, Reply<Vec<State>>),
    Receipt {
        interface: String,
        receipt: Receipt,
        at: Moment,
        answer: Reply<Option<(Id, State)>>,
    },
    /// There are requests to be fetched.
    Requests,
    Tend(Moment, Option<Reply<bool>>),
    Media(MediaChange, Reply<()>),
    /// All messages of a number, by its spellings.
    Erase(Vec<String>, Reply<u64>),
    /// How long messages are kept, in milliseconds, and whether texts are.
    Keep {
        history: i64,
        redact: bool,
        answer: Reply<()>,
    },
    Close,
}

/// What an order led to, while the commit is still to come.
enum Outcome {
    Stored(Result<Stored, SpoolError>),
    Recorded(Result<Vec<State>, SpoolError>),
    Receipt(Result<Option<(Id, State)>, SpoolError>),
    Tended(Tended),
    Erased(u64),
    Media,
    Kept,
    Marked,
    Nothing,
}

/// The pause between two steps of erasing, when there is much.
const NEXT_STEP: Duration = Duration::from_millis(100);

/// What those share with the writer who follow the journal.
#[derive(Debug, Clone)]
pub struct Following {
    /// Somebody may follow.
    pub is_on: Arc<AtomicBool>,
    /// The last line that is on disk.
    pub end: watch::Sender<Id>,
}

impl Default for Following {
    fn default() -> Following {
        Following {
            is_on: Arc::default(),
            end: watch::Sender::new(Id::of_number(0)),
        }
    }
}

pub struct Writer {
    path: PathBuf,
    limits: Limits,
    news: Arc<Notify>,
    tell: Tell,
    connection: Option<Connection>,
    memory: Memory,
    redacted: Option<Id>,
    following: Following,
    /// Where callers put requests.
    asked: Arc<Mutex<VecDeque<Request>>>,
    /// Requests that were fetched and are not written yet.
    requests: VecDeque<Request>,
    slot: i64,
    tend_at: Instant,
    /// The last transaction failed, and that was told.
    is_broken: bool,
}

impl Writer {
    pub fn open(
        path: &Path,
        limits: Limits,
        news: Arc<Notify>,
        asked: Arc<Mutex<VecDeque<Request>>>,
        following: Following,
        tell: Tell,
    ) -> Result<Writer, OpenError> {
        let mut writer = Writer {
            path: path.to_owned(),
            tend_at: Instant::now() + limits.tick,
            limits,
            news,
            tell,
            connection: None,
            memory: Memory::default(),
            redacted: None,
            following,
            asked,
            requests: VecDeque::new(),
            slot: 0,
            is_broken: false,
        };
        writer.connect().map_err(|failure| match failure {
            Failure::Newer(found) => OpenError::Newer {
                path: path.to_owned(),
                found,
                known: schema::VERSION,
            },
            other => OpenError::Broken {
                path: path.to_owned(),
                why: other.to_string(),
            },
        })?;
        Ok(writer)
    }

    /// Opens the database; a damaged one is set aside for a new one.
    fn connect(&mut self) -> Result<(), Failure> {
        match self.try_connect() {
            Err(failure) if schema::is_damage(&failure) => {
                self.set_aside(&failure.to_string())?;
                self.try_connect()
            }
            other => other,
        }
    }

    fn try_connect(&mut self) -> Result<(), Failure> {
        let connection = schema::open(&self.path, self.limits.redact)?;
        self.memory = Memory::read(&connection)?;
        self.tell_followers();
        let last = "SELECT slot FROM request ORDER BY at DESC, slot DESC LIMIT 1";
        let last = connection.query_row(last, [], |row| row.get::<_, i64>(0));
        self.slot = last.map_or(0, |slot| slot + 1);
        self.connection = Some(connection);
        Ok(())
    }

    fn tell_followers(&self) {
        if let Some(end) = self.memory.journal {
            let tell = |known: &mut Id| std::mem::replace(known, end) != end;
            self.following.end.send_if_modified(tell);
        }
    }

    fn set_aside(&mut self, why: &str) -> Result<(), Failure> {
        self.connection = None;
        let aside = schema::set_aside(&self.path, clock::unix_millis())?;
        (self.tell)(&format!(
            "the spool is damaged ({why}): it is now `{}`, and a new one is begun; messages that waited in it are not delivered\nhint: sqlite3 can often read it: `.recover`",
            aside.display()
        ));
        Ok(())
    }

    /// Works until it is told to close, or nobody is left.
    pub fn run(mut self, queue: &Receiver<Order>) {
        let mut orders = Vec::with_capacity(self.limits.batch);
        let mut outcomes = Vec::with_capacity(self.limits.batch);
        loop {
            let wait = self.tend_at.saturating_duration_since(Instant::now());
            match queue.recv_timeout(wait) {
                Ok(first) => {
                    orders.push(first);
                    orders.extend(queue.try_iter().take(self.limits.batch.saturating_sub(1)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= self.tend_at {
                self.tend_at = Instant::now() + self.limits.tick;
                orders.push(Order::Tend(clock::unix_millis(), None));
            }
            let is_end = orders.iter().any(|order| matches!(order, Order::Close));
            self.work(&mut orders, &mut outcomes);
            if is_end {
                break;
            }
        }
        self.fetch_requests();
        if !self.requests.is_empty() {
            orders.push(Order::Tend(clock::unix_millis(), None));
            self.work(&mut orders, &mut outcomes);
        }
    }

    /// Does the orders in one transaction, and answers them.
    fn work(&mut self, orders: &mut Vec<Order>, outcomes: &mut Vec<Outcome>) {
        self.keep_requests(orders);
        self.obey(orders);
        if orders.is_empty() {
            return;
        }
        match self.transact(orders, outcomes) {
            Ok(()) => self.answer(orders, outcomes),
            // One of them may be what the database does not take. The others are not to suffer for it.
            Err(failure) if orders.len() > 1 && is_of_order(&failure) => {
                for order in mem::take(orders) {
                    let mut alone = vec![order];
                    match self.transact(&alone, outcomes) {
                        Ok(()) => self.answer(&mut alone, outcomes),
                        Err(failure) => self.fail(&mut alone, &failure),
                    }
                }
            }
            Err(failure) => self.fail(orders, &failure),
        }
    }

    fn fail(&mut self, orders: &mut Vec<Order>, failure: &Failure) {
        let error = meaning(failure);
        // Once for each time of trouble.
        if !is_of_order(failure) && !mem::replace(&mut self.is_broken, true) {
            let hint = error.hint().map(|hint| format!("\nhint: {hint}"));
            let hint = hint.unwrap_or_default();
            (self.tell)(&format!("no message is taken: {error}{hint}"));
        }
        refuse(orders, &error);
    }

    /// Takes out what is for this thread alone. Requests are fetched when the spool is tended, soon after the first of them.
    fn keep_requests(&mut self, orders: &mut Vec<Order>) {
        let is_asked = orders.iter().any(|order| matches!(order, Order::Requests));
        orders.retain(|order| !matches!(order, Order::Requests | Order::Close));
        if orders.iter().any(|order| matches!(order, Order::Tend(..))) {
            self.fetch_requests();
        }
        if is_asked || !self.requests.is_empty() {
            let soon = Instant::now() + Duration::from_secs(1);
            self.tend_at = self.tend_at.min(soon);
        }
    }

    /// Takes new limits over, and has SQLite overwrite what is erased where that is wanted.
    fn obey(&mut self, orders: &[Order]) {
        for order in orders {
            if let Order::Keep {
                history, redact, ..
            } = order
            {
                self.limits.history = *history;
                if mem::replace(&mut self.limits.redact, *redact) != *redact {
                    self.redacted = None;
                }
            }
        }
        let is_erase = orders.iter().any(|order| matches!(order, Order::Erase(..)));
        let is_keep = orders.iter().any(|o| matches!(o, Order::Keep { .. }));
        if let (true, Some(connection)) = (is_erase || is_keep, &self.connection) {
            // A connection that cannot is found out by the order itself.
            let _ = schema::overwrite(connection, is_erase || self.limits.redact);
        }
    }

    /// Writes the database anew and brings the log into it, so that nothing of what was erased stands anywhere: a row that
    /// has grown leaves its old place as it was.
    fn empty_log(&self) {
        if let Some(connection) = &self.connection {
            // Without room for a second one it stays as it is; what can be found by asking is gone all the same.
            let _ = connection.execute_batch("VACUUM");
            // Who reads just now holds it up; then it is done with the next pages.
            let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            let _ = schema::overwrite(connection, self.limits.redact);
        }
    }

    fn fetch_requests(&mut self) {
        if let Ok(mut asked) = self.asked.lock() {
            self.requests.append(&mut asked);
        }
        let excess = self.requests.len().saturating_sub(self.limits.requests);
        self.requests.drain(..excess);
    }

    fn transact(&mut self, orders: &[Order], outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        outcomes.clear();
        let first = self.attempt(orders, outcomes);
        match first {
            Err(failure) if schema::is_damage(&failure) => {
                self.set_aside(&failure.to_string())?;
                outcomes.clear();
                self.attempt(orders, outcomes)
            }
            other => other,
        }
    }

    fn attempt(&mut self, orders: &[Order], outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        if self.connection.is_none() {
            self.connect()?;
        }
        let Some(connection) = &self.connection else {
            return Err(Failure::Database(rusqlite::Error::InvalidQuery));
        };
        let mut memory = self.memory;
        let mut redacted = self.redacted;
        let mut book = Book {
            connection,
            memory: &mut memory,
            limits: &self.limits,
            keeps_journal: self.following.is_on.load(Ordering::Relaxed),
        };
        let ring = i64::try_from(self.limits.requests.max(1)).unwrap_or(i64::MAX);
        let done = begin(connection)
            .and_then(|()| {
                for (slot, request) in (self.slot..).zip(&self.requests) {
                    book.request(slot % ring, request)?;
                }
                for order in orders {
                    outcomes.push(perform(&mut book, &mut redacted, order)?);
                }
                Ok(())
            })
            .and_then(|()| commit(connection));
        match done {
            Ok(()) => {
                let written = i64::try_from(self.requests.len()).unwrap_or(0);
                self.slot = (self.slot + written) % ring;
                self.requests.clear();
                self.memory = memory;
                self.tell_followers();
                self.redacted = redacted;
                if mem::take(&mut self.is_broken) {
                    (self.tell)("the spool is written again");
                }
                Ok(())
            }
            Err(error) => {
                let is_back =
                    connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
                let is_full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
                let failure = Failure::Database(error);
                if !is_back || !(is_full || is_of_order(&failure)) {
                    self.connection = None;
                }
                Err(failure)
            }
        }
    }

    fn answer(&mut self, orders: &mut Vec<Order>, outcomes: &mut Vec<Outcome>) {
        let mut has_new = false;
        // Whom an answer does not reach has gone away.
        for (order, outcome) in orders.drain(..).zip(outcomes.drain(..)) {
            match (order, outcome) {
                (
                    Order::Store(_, answer) | Order::Submit(_, _, answer),
                    Outcome::Stored(stored),
                ) => {
                    has_new |= matches!(&stored, Ok(stored) if stored.is_new && stored.is_whole);
                    let _ = answer.send(stored);
                }
                (Order::StoreTest(_, answer), Outcome::Stored(stored)) => {
                    let _ = answer.send(stored);
                }
                (Order::Mark(_, answer), Outcome::Marked) => {
                    let _ = answer.send(Ok(()));
                }
                (Order::Record(_, answer), Outcome::Recorded(states)) => {
                    let _ = answer.send(states);
                }
                (Order::Receipt { answer, .. }, Outcome::Receipt(known)) => {
                    let _ = answer.send(known);
                }
                (Order::Tend(_, answer), Outcome::Tended(tended)) => {
                    has_new |= tended.has_new;
                    if tended.has_more {
                        self.tend_at = self.tend_at.min(Instant::now() + NEXT_STEP);
                    }
                    if let Some(answer) = answer {
                        let _ = answer.send(Ok(tended.has_more));
                    }
                }
                (Order::Erase(_, answer), Outcome::Erased(count)) => {
                    // What was erased stands in the log, until it is brought into the database.
                    self.empty_log();
                    let _ = answer.send(Ok(count));
                }
                (Order::Keep { answer, .. }, Outcome::Kept)
                | (Order::Media(_, answer), Outcome::Media) => {
                    let _ = answer.send(Ok(()));
                }
                _ => {}
            }
        }
        if has_new {
            self.news.notify_one();
        }
    }
}

fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    Ok(())
}

fn commit(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

fn perform(
    book: &mut Book<'_>,
    redacted: &mut Option<Id>,
    order: &Order,
) -> rusqlite::Result<Outcome> {
    Ok(match order {
        Order::Store(new, _) => Outcome::Stored(own(book.store(new))?),
        Order::StoreTest(new, _) => Outcome::Stored(own(book.store_test(new))?),
        Order::Submit(new, print, _) => Outcome::Stored(own(submit::store(book, new, print))?),
        Order::Mark(mark, _) => {
            journal::mark(book.connection, mark)?;
            Outcome::Marked
        }
        Order::Record(changes, _) => Outcome::Recorded(own(book.record(changes))?),
        Order::Receipt {
            interface,
            receipt,
            at,
            ..
        } => Outcome::Receipt(own(book.receipt(interface, receipt, *at))?),
        Order::Tend(now, _) => Outcome::Tended(erase::step(book, redacted, *now)?),
        Order::Erase(names, _) => Outcome::Erased(erase::number(book, names)?),
        Order::Keep { .. } => Outcome::Kept,
        Order::Media(change, _) => {
            media::change(book.connection, change)?;
            Outcome::Media
        }
        Order::Requests | Order::Close => Outcome::Nothing,
    })
}

/// An error of the order is its answer, one of the database is everybody's.
fn own<T>(done: Done<T>) -> rusqlite::Result<Result<T, SpoolError>> {
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(Problem::Order(error)) => Ok(Err(error)),
        Err(Problem::Database(error)) => Err(error),
    }
}

fn refuse(orders: &mut Vec<Order>, error: &SpoolError) {
    for order in orders.drain(..) {
        // Whom it does not reach has gone away.
        match order {
            Order::Store(_, answer) | Order::StoreTest(_, answer) | Order::Submit(_, _, answer) => {
                drop(answer.send(Err(error.clone())));
            }
            Order::Mark(_, answer) => drop(answer.send(Err(error.clone()))),
            Order::Record(_, answer) => drop(answer.send(Err(error.clone()))),
            Order::Receipt { answer, .. } => drop(answer.send(Err(error.clone()))),
            Order::Tend(_, Some(answer)) => drop(answer.send(Err(error.clone()))),
            Order::Erase(_, answer) => drop(answer.send(Err(error.clone()))),
            Order::Keep { answer, .. } | Order::Media(_, answer) => {
                drop(answer.send(Err(error.clone())));
            }
            Order::Tend(_, None) | Order::Requests | Order::Close => {}
        }
    }
}

/// The disk and the file are sound: the values were not.
fn is_of_order(failure: &Failure) -> bool {
    let Failure::Database(error) = failure else {
        return false;
    };
    matches!(
        error.sqlite_error_code(),
        None | Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}

fn meaning(failure: &Failure) -> SpoolError {
    match failure {
        Failure::Database(error) => meaning_of(error),
        Failure::File(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            SpoolError::NoSpace
        }
        other => SpoolError::Broken(other.to_string()),
    }
}

/// What an error of the database means to who asked.
pub fn meaning_of(error: &rusqlite::Error) -> SpoolError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => SpoolError::NoSpace,
        _ => SpoolError::Broken(error.to_string()),
    }
}
