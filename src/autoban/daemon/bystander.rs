//! Follows the log's lines about requests that failed, in a thread of its own, and tells what they say against whom.
//!
//! It asks the kernel over whose connection a request can have come, and never makes the daemon wait: what the daemon does not take in time is dropped and counted. A log service that restarts
//! is waited for. Invariant: a line is told with whether it is young, by the log service's clock and ours, which are one.

mod sight;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::autoban::witness::{Pairs, Seen, Witnessed};
use crate::logd::query::{Line, Message, Place, Request, Selection};
use crate::sys::clock::{pause, rfc3339, unix_millis};
use sight::Sight;

/// What waits for the daemon at most.
const WAITING: usize = 4096;
/// Between attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// More than a line of the log service's can be, in bytes.
const LONGEST: u64 = 256 * 1024;
/// How old a line may be that is told as young, in milliseconds.
const YOUNG: i64 = 1000;

/// What it has to tell.
#[derive(Debug)]
pub enum Heard {
    Against {
        witnessed: Witnessed,
        /// It was said within the last second.
        is_young: bool,
    },
    /// It listens.
    Listening,
    /// It does not, and why.
    Deaf(String),
}

/// What it has seen, by number.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that failed.
    pub failed: AtomicU64,
    /// Of events that are missing, those that nobody can be held to.
    pub nobody: AtomicU64,
    /// And those that several can have brought about.
    pub several: AtomicU64,
    /// Lines that came too fast for us.
    pub lost: AtomicU64,
}

/// Starts it.
pub fn watch(socket: PathBuf) -> std::io::Result<(Receiver<Heard>, Arc<Tally>)> {
    let (sender, receiver) = channel(WAITING);
    let tally = Arc::new(Tally::default());
    let mut bystander = Bystander {
        socket,
        to: sender,
        tally: Arc::clone(&tally),
        place: None,
        is_told: false,
        sight: Sight::new(),
    };
    std::thread::Builder::new()
        .name("bystander".to_owned())
        .spawn(move || {
            // The daemon that would hear it is at its end.
            while !bystander.to.is_closed() {
                bystander.attend();
                pause(PAUSE);
            }
        })?;
    Ok((receiver, tally))
}

struct Bystander {
    socket: PathBuf,
    to: Sender<Heard>,
    tally: Arc<Tally>,
    /// Behind which line it goes on after an interruption.
    place: Option<Place>,
    /// That it does not listen was told.
    is_told: bool,
    sight: Sight,
}

impl Bystander {
    /// Follows the log until the connection ends.
    fn attend(&mut self) {
        let why = match connect(&self.socket, self.place) {
            Ok(stream) => self.follow(stream),
            Err(e) => e.to_string(),
        };
        if !std::mem::replace(&mut self.is_told, true) {
            self.tell(Heard::Deaf(why));
        }
    }

    /// The value is why it ended.
    fn follow(&mut self, stream: UnixStream) -> String {
        let mut pairs = Pairs::default();
        if let Err(e) = stream.set_read_timeout(Some(sight::REST)) {
            return e.to_string();
        }
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            self.sight.rest();
            let room = LONGEST.saturating_sub(line.len() as u64);
            match (&mut lines).take(room).read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => {}
                Ok(_) => return "the log service ended".to_owned(),
                // A part of a line waits for the rest.
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                Err(e) => return e.to_string(),
            }
            let line = std::mem::take(&mut line);
            match serde_json::from_slice(&line) {
                Ok(Message::Start { start, .. }) => {
                    let is_same = |place: &Place| place.start == start;
                    let anew = Place { start, sequence: 0 };
                    self.place = Some(self.place.filter(is_same).unwrap_or(anew));
                    self.is_told = false;
                    self.tell(Heard::Listening);
                }
                Ok(Message::Line(line)) => self.take(&line, &mut pairs),
                Ok(Message::Lost { lines }) => {
                    self.tally.lost.fetch_add(lines, Ordering::Relaxed);
                    pairs.forget();
                }
                Ok(Message::Refused { reason }) => return reason,
                Ok(Message::Stats(_)) => {}
                Err(e) => return format!("that is no log service: {e}"),
            }
        }
    }

    fn take(&mut self, line: &Line, pairs: &mut Pairs) {
        if let Some(place) = &mut self.place {
            place.sequence = line.sequence;
        }
        match pairs.take(&line.message) {
            Seen::Against(mut witnessed) => {
                // Both are of one form, in UTC: their order is that of the moments.
                let is_young = line.time >= rfc3339(unix_millis() - YOUNG);
                if !witnessed.is_alone {
                    self.tally.several.fetch_add(1, Ordering::Relaxed);
                }
                self.sight.mark(&mut witnessed, &line.time);
                self.tell(Heard::Against {
                    witnessed,
                    is_young,
                });
            }
            Seen::Nobody => {
                self.tally.nobody.fetch_add(1, Ordering::Relaxed);
            }
            Seen::Failed => {
                self.tally.failed.fetch_add(1, Ordering::Relaxed);
            }
            Seen::Nothing => {}
        }
    }

    fn tell(&self, heard: Heard) {
        if self.to.try_send(heard).is_err() {
            self.tally.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn connect(socket: &Path, after: Option<Place>) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    let request = Request::Logs(Selection {
        lines: Some(0),
        follow: true,
        after,
        ..Selection::default()
    });
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(stream)
}
