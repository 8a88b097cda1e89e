//! The journal's file, written by a thread of its own: no ban waits for a disk.
//!
//! What comes while the disk is busy goes with the next write, so that a flood costs few of them. Invariant: facts reach the
//! file in the order in which they were given, and a snapshot takes the old file's place at once or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::autoban::journal;
use crate::autoban::ledger::Fact;
use crate::sys::file::{Owner, write_atomic};

/// The file within the state directory.
const NAME: &str = "journal";
/// The largest journal that is read, in bytes: some millions of facts.
const LARGEST: u64 = 1 << 30;
/// Orders that wait for the disk. More are not kept: a snapshot makes up for them.
const QUEUE: usize = 4096;
/// Facts of one write, about: what waits behind it waits for so many, however far the disk is behind.
const GROUP: usize = 4096;
/// A journal is made anew when it has grown by this many bytes, or by its snapshot's size if that is more.
const GROWTH: usize = 1 << 20;

/// What is called once all that was ordered before it is on disk, or with the problem that kept it from there.
pub type Then = Box<dyn FnOnce(Option<&str>) + Send>;

enum Order {
    Append(Vec<Fact>, i64),
    Snapshot(Vec<Fact>, i64),
    Then(Then),
}

/// The writer's side.
#[derive(Debug)]
pub struct Books {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    /// Problems of the disk, in words.
    problems: Receiver<Option<String>>,
    appended: usize,
    /// What the last snapshot was, in facts.
    snapshot: usize,
    /// Facts were not taken.
    lost: bool,
}

/// What a journal's file holds; nothing if there is none.
pub fn read(state: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match File::open(state.join(NAME)) {
        Ok(file) => {
            file.take(LARGEST).read_to_end(&mut text)?;
            Ok(text)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(text),
        Err(e) => Err(e),
    }
}

impl Books {
    /// Starts the writer with a snapshot of what is known.
    pub fn open(state: &Path, facts: Vec<Fact>, at: i64) -> io::Result<Books> {
        let (orders, queue) = sync_channel(QUEUE);
        let (tell, problems) = std::sync::mpsc::channel();
        let path = state.join(NAME);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                let mut writer = Writer {
                    path,
                    file: None,
                    problem: None,
                };
                while let Ok(first) = queue.recv() {
                    let problem = writer.write(group(first, &queue));
                    // The daemon that would hear it may be at its end.
                    let _ = tell.send(problem);
                }
            })?;
        let mut books = Books {
            orders: Some(orders),
            thread: Some(thread),
            problems,
            appended: 0,
            snapshot: 0,
            lost: false,
        };
        books.snapshot(facts, at);
        Ok(books)
    }

    /// Takes facts that came about at a moment.
    pub fn append(&mut self, facts: Vec<Fact>, at: i64) {
        if facts.is_empty() {
            return;
        }
        self.appended += facts.len();
        self.order(Order::Append(facts, at));
    }

    /// Calls this when all that was taken before is on disk. It is called in any case, and in another thread.
    pub fn then(&mut self, then: Then) {
        if self.lost {
            return then(Some("the disk is behind"));
        }
        match self
            .orders
            .as_ref()
            .map(|orders| orders.try_send(Order::Then(then)))
        {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(order) | TrySendError::Disconnected(order))) => {
                if let Order::Then(then) = order {
                    then(Some("the disk is behind"));
                }
            }
            None => {}
        }
    }

    /// Whether the journal should be made anew.
    pub fn wants_snapshot(&self) -> bool {
        // A fact is some 200 bytes.
        self.lost || self.appended * 200 > GROWTH.max(self.snapshot * 200)
    }

    pub fn snapshot(&mut self, facts: Vec<Fact>, at: i64) {
        (self.appended, self.snapshot, self.lost) = (0, facts.len(), false);
        self.order(Order::Snapshot(facts, at));
    }

    fn order(&mut self, order: Order) {
        let sent = self.orders.as_ref().map(|orders| orders.try_send(order));
        match sent {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                self.lost = true;
            }
        }
    }

    /// What became of the last writes: `Some(None)` all is well, `Some(Some(problem))` not.
    pub fn news(&mut self) -> Option<Option<String>> {
        let last = self.problems.try_iter().last();
        if matches!(last, Some(Some(_))) {
            self.lost = true;
        }
        last
    }

    /// The last snapshot, and the end of the writer. Waits for the disk.
    pub fn close(mut self, facts: Vec<Fact>, at: i64) {
        if let Some(orders) = self.orders.take() {
            // The queue may be full; here it may be waited for.
            let _ = orders.send(Order::Snapshot(facts, at));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An order, and those that wait behind it, as many as go with one write.
fn group(first: Order, queue: &Receiver<Order>) -> Vec<Order> {
    let size = |order: &Order| match order {
        Order::Append(facts, _) | Order::Snapshot(facts, _) => facts.len(),
        Order::Then(_) => 0,
    };
    let mut facts = size(&first);
    let mut orders = vec![first];
    while facts < GROUP
        && let Ok(order) = queue.try_recv()
    {
        facts += size(&order);
        orders.push(order);
    }
    orders
}

struct Writer {
    path: PathBuf,
    file: Option<File>,
    /// Of the last write.
    problem: Option<String>,
}

impl Writer {
    /// Writes, tells who waits for it, and says what the problem was.
    fn write(&mut self, orders: Vec<Order>) -> Option<String> {
        let (waiting, orders): (Vec<Order>, Vec<Order>) = orders
            .into_iter()
            .partition(|order| matches!(order, Order::Then(_)));
        if !orders.is_empty() {
            let done = self.write_down(orders);
            self.problem = done.err().map(|problem| problem.to_string());
        }
        for order in waiting {
            if let Order::Then(then) = order {
                then(self.problem.as_deref());
            }
        }
        self.problem.clone()
    }

    fn write_down(&mut self, orders: Vec<Order>) -> io::Result<()> {
        let mut text = Vec::new();
        let mut anew = false;
        for order in orders {
            match order {
                Order::Then(_) => {}
                Order::Append(facts, at) => journal::write(&mut text, &facts, at),
                Order::Snapshot(facts, at) => {
                    // It says all that was said before.
                    text = journal::HEADER.as_bytes().to_vec();
                    journal::write(&mut text, &facts, at);
                    anew = true;
                }
            }
        }
        if anew {
            self.file = None;
            let owner = Owner::Keep {
                new_file_mode: 0o640,
            };
            return write_atomic(&self.path, &text, owner).map_err(io::Error::other);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o640)
                    .open(&self.path)?,
            ),
        };
        file.write_all(&text)?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoban::ledger::{Ledger, Manual};
    use crate::autoban::policy::Policy;

    const START: i64 = 1_800_000_000_000;

    #[test]
    fn what_was_appended_is_there_and_a_torn_tail_costs_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::new(Policy::default());
        let mut books = Books::open(state.path(), ledger.facts(), START).unwrap();
        for n in 0..50u8 {
            let address = format!("192.0.2.{n}").parse().unwrap();
            let out = ledger.manual(&Manual::ban(address, None, ""), START);
            books.append(out.facts, START);
        }
        let expected = ledger.facts();
        // Without a last snapshot, as after SIGKILL.
        drop(books.orders.take());
        books.thread.take().unwrap().join().unwrap();
        let mut text = read(state.path()).unwrap();
        text.extend_from_slice(b"0123");
        let mut again = Ledger::new(Policy::default());
        let found = journal::replay(&mut again, &text).unwrap();
        assert!(found.torn && found.damaged == 0);
        assert_eq!(again.facts(), expected);
    }

    #[test]
    fn a_disk_that_fails_is_told_and_asks_for_a_snapshot() {
        let state = tempfile::tempdir().unwrap();
        let gone = state.path().join("gone");
        let mut books = Books::open(&gone, vec![], START).unwrap();
        drop(books.orders.take());
        books.thread.take().unwrap().join().unwrap();
        assert!(matches!(books.news(), Some(Some(_))));
        assert!(books.wants_snapshot());
    }
}
