//! The readers of the query socket: `switchhook logs` and whoever takes the numbers.
//!
//! A reader holds a place in the ring, not a copy of it: one who is slow misses what fell out meanwhile, and is told
//! how much. One who takes nothing at all for a minute is dropped. PID 1 has bound the socket for root alone.
//! Invariant: nothing here waits, and a reader costs at most `MOST_WAITING` bytes and a line.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::query::{DEFAULT_LINES, Filter, Line, Message, Request, SCHEMA, Selection, Stats};
use super::ring::{Entry, Ring};
use super::syslog::level_name;
use crate::sys::clock::rfc3339;

const LONGEST_REQUEST: usize = 4096;
const MOST_READERS: usize = 16;

/// Bytes that wait for one reader.
const MOST_WAITING: usize = 64 * 1024;

/// How long a reader may take nothing, or not say what he wants.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a reader follows.
struct Reading {
    filter: Filter,
    /// The number of the next line to look at.
    next: u64,
    /// Where it ends; `None` follows.
    end: Option<u64>,
}

struct Reader {
    stream: UnixStream,
    input: Vec<u8>,
    waiting: Vec<u8>,
    reading: Option<Reading>,
    /// Nothing more is added; the connection ends when all is taken.
    closing: bool,
    /// When he last took or said something.
    moved: Instant,
}

/// All of them.
pub struct Readers {
    listener: UnixListener,
    readers: BTreeMap<RawFd, Reader>,
    lost: u64,
}

impl Readers {
    /// The listener is PID 1's too, but nobody else accepts from it: its flags are ours to set.
    pub fn new(listener: OwnedFd) -> io::Result<Readers> {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Readers {
            listener,
            readers: BTreeMap::new(),
            lost: 0,
        })
    }

    /// What to wait for.
    pub fn waits_for(&self, ring: &Ring) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let newest = ring.next();
        let readers = self.readers.values().map(move |reader| {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, reader.has_more(newest));
            (reader.stream.as_fd(), flags)
        });
        std::iter::once((self.listener.as_fd(), PollFlags::POLLIN)).chain(readers)
    }

    /// Whether a reader's patience runs.
    pub fn has_pending(&self) -> bool {
        self.readers.values().any(Reader::is_pending)
    }

    pub fn len(&self) -> usize {
        self.readers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// Lines that slow readers missed.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes new readers and what the known ones ask.
    pub fn read(
        &mut self,
        ready: &[RawFd],
        ring: &Ring,
        start: i64,
        known: impl Fn(&str) -> bool,
        stats: impl Fn(&Readers) -> Stats,
    ) {
        if ready.contains(&self.listener.as_raw_fd()) {
            self.accept();
        }
        for fd in ready {
            let Some(reader) = self.readers.get_mut(fd) else {
                continue;
            };
            match reader.take_input() {
                Ok(None) => {}
                Ok(Some(Ok(Request::Stats))) => {
                    let stats = stats(self);
                    if let Some(reader) = self.readers.get_mut(fd) {
                        reader.put(&Message::Stats(stats));
                        reader.closing = true;
                    }
                }
                Ok(Some(Ok(Request::Logs(selection)))) => {
                    reader.begin(&selection, ring, start, &known);
                }
                Ok(Some(Err(reason))) => reader.refuse(reason),
                Err(_) => {
                    self.readers.remove(fd);
                }
            }
        }
    }

    /// Gives every reader what he has room for.
    pub fn serve(&mut self, ring: &Ring) {
        let now = Instant::now();
        let lost = &mut self.lost;
        self.readers.retain(|_, reader| {
            if reader.waiting.is_empty() && reader.reading.is_some() {
                reader.moved = now;
            }
            *lost += reader.fill(ring);
            reader.write(now) && !(reader.is_pending() && now >= reader.moved + PATIENCE)
        });
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let mut reader = Reader {
                stream,
                input: Vec::new(),
                waiting: Vec::new(),
                reading: None,
                closing: false,
                moved: Instant::now(),
            };
            if reader.stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.readers.len() >= MOST_READERS {
                reader.refuse(format!("there are {MOST_READERS} readers already"));
                reader.write(Instant::now());
                continue;
            }
            self.readers.insert(reader.stream.as_raw_fd(), reader);
        }
    }
}

impl Reader {
    fn is_pending(&self) -> bool {
        !self.waiting.is_empty() || (self.reading.is_none() && !self.closing)
    }

    /// Something waits for him, or could.
    fn has_more(&self, newest: u64) -> bool {
        let unread = |reading: &Reading| reading.next < newest;
        !self.waiting.is_empty() || self.reading.as_ref().is_some_and(unread)
    }

    /// A request when its line is whole; an error when the reader is gone.
    fn take_input(&mut self) -> io::Result<Option<Result<Request, String>>> {
        let mut buffer = [0u8; 1024];
        let length = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        if self.closing || self.reading.is_some() {
            // One request a connection; what comes later is not read.
            return Ok(None);
        }
        self.moved = Instant::now();
        self.input
            .extend_from_slice(buffer.get(..length).unwrap_or_default());
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
            if self.input.len() > LONGEST_REQUEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            return Ok(None);
        };
        let line = self.input.get(..end).unwrap_or_default();
        let request =
            serde_json::from_slice(line).map_err(|e| format!("the request is not understood: {e}"));
        self.input.clear();
        Ok(Some(request))
    }

    fn begin(
        &mut self,
        selection: &Selection,
        ring: &Ring,
        start: i64,
        known: &impl Fn(&str) -> bool,
    ) {
        let filter = match Filter::new(selection) {
            Ok(filter) => filter,
            Err(reason) => return self.refuse(reason),
        };
        // One who comes back after a restart may be faster than the service's next word.
        if let Some(service) = &selection.service
            && selection.after.is_none()
            && !known(service)
        {
            return self.refuse(format!("`{service}` has said nothing that is kept"));
        }
        let next = match selection.after {
            Some(place) if place.start == start => place.sequence.saturating_add(1),
            // A new life of the log service: all that it knows comes later.
            Some(_) => ring.first(),
            None => ring.last(selection.lines.unwrap_or(DEFAULT_LINES), |record| {
                filter.accepts(record)
            }),
        };
        self.put(&Message::Start {
            schema: SCHEMA,
            start,
        });
        self.reading = Some(Reading {
            filter,
            next,
            end: (!selection.follow).then(|| ring.next()),
        });
    }

    fn refuse(&mut self, reason: String) {
        self.put(&Message::Refused { reason });
        self.closing = true;
    }

    fn put(&mut self, message: &Message) {
        if serde_json::to_writer(&mut self.waiting, message).is_ok() {
            self.waiting.push(b'\n');
        }
    }

    /// Takes lines from the ring while there is room; gives how many were missed.
    fn fill(&mut self, ring: &Ring) -> u64 {
        let Some(mut reading) = self.reading.take() else {
            return 0;
        };
        let end = reading.end.unwrap_or(u64::MAX);
        let missed = ring.first().min(end).saturating_sub(reading.next);
        if missed > 0 {
            self.put(&Message::Lost { lines: missed });
            reading.next += missed;
        }
        while self.waiting.len() < MOST_WAITING && reading.next < end {
            let Some(entry) = ring.get(reading.next) else {
                break;
            };
            if reading.filter.accepts(&entry.record) {
                self.put(&Message::Line(line(entry)));
            }
            reading.next += 1;
        }
        if reading.next >= end {
            self.closing = true;
        } else {
            self.reading = Some(reading);
        }
        missed
    }

    /// False when this was the last of it.
    fn write(&mut self, now: Instant) -> bool {
        if self.waiting.is_empty() {
            return !self.closing;
        }
        match self.stream.write(&self.waiting) {
            Ok(count) => {
                self.waiting.drain(..count);
                self.moved = now;
                !(self.closing && self.waiting.is_empty())
            }
            Err(e) => matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
    }
}

fn line(entry: &Entry) -> Line {
    Line {
        sequence: entry.sequence,
        time: rfc3339(entry.time),
        service: entry.record.service.clone(),
        level: level_name(entry.record.severity).to_owned(),
        message: entry.record.text.clone(),
    }
}
