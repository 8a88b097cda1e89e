//! The kernel's side of AutoBan: one table, written over one netlink socket in batches.
//!
//! Nothing here decides who is banned, and nothing reads a set: the kernel needs a minute to list a million elements, and
//! six microseconds to add one. Invariant: a batch that was answered stands in the kernel, but for what `Outcome` names.

mod lists;
mod protocol;
mod transaction;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

pub use lists::PIECE;
pub use protocol::Count;
pub use watch::ByOthers;

use self::lists::Lists;
use self::protocol::Element;
use self::transaction::{Answers, BEGIN, Connection};
use self::watch::Watch;
use super::key::Change;
use super::ruleset::{
    Key, Kind, Ruleset, SetSpec, Settings, TABLE, element, element_of_network, set_of,
    set_of_network,
};
use crate::sys::netlink::message::{Writer, attribute, attributes, number, text};

/// Changes in one batch. All of a batch waits for its last, and a larger one is no faster.
const BATCH: usize = 1000;
/// The most that one restore may ask the kernel's memory for, in bytes: 1,600,000 elements.
const LONGEST: usize = 64 << 20;
/// The name of the table in which the self-test happens.
const TEST_TABLE: &str = "autoban_test";

/// Why the kernel does not do what AutoBan needs.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    #[error(
        "cannot write the kernel's firewall: the capability NET_ADMIN is missing\nhint: start the container with `--cap-add NET_ADMIN`, in a compose file `cap_add: [NET_ADMIN]`"
    )]
    NoPrivilege,
    #[error(
        "cannot write the kernel's firewall: this kernel has no nf_tables for IPv4 and IPv6\nhint: load the module nf_tables on the host, or use a kernel of version 5.4 or newer"
    )]
    Unsupported,
    #[error(
        "the table `inet {TABLE}` is not there\nhint: it was removed by another program; it is built again from memory"
    )]
    Gone,
    #[error("cannot {doing}: {source}")]
    Kernel {
        doing: &'static str,
        source: io::Error,
    },
}

impl FirewallError {
    fn new(doing: &'static str) -> impl Fn(io::Error) -> FirewallError {
        move |source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => FirewallError::NoPrivilege,
            Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
                FirewallError::Unsupported
            }
            _ => FirewallError::Kernel { doing, source },
        }
    }
}

/// What became of changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Stand in the kernel, or were not there to be removed.
    pub applied: usize,
    /// Bans for which their set had no room.
    pub refused: Vec<Change>,
}

#[derive(Debug)]
pub struct Firewall {
    connection: Connection,
    watch: Watch,
    ruleset: Ruleset,
    /// The kernel gives an element another time when it is added again (Linux 6.12).
    updates: bool,
    /// The longest batch, in bytes.
    longest: usize,
    /// As they were last read.
    counts: BTreeMap<String, Count>,
    lists: Lists,
}

impl Firewall {
    /// Opens the sockets and proves, in a table of its own, that an element can be added, be given another time, and be
    /// removed. The table `inet autoban` of an earlier process goes on dropping, untouched: `restore` puts ours in its place,
    /// and comes before the first `apply`.
    pub fn open(settings: &Settings) -> Result<Firewall, FirewallError> {
        let failed = FirewallError::new("open a socket to the kernel's firewall");
        let connection = Connection::open().map_err(&failed)?;
        let watch = Watch::open(connection.socket.port()).map_err(&failed)?;
        let mut firewall = Firewall {
            connection,
            watch,
            ruleset: Ruleset::new(settings),
            updates: false,
            longest: LONGEST,
            counts: BTreeMap::new(),
            lists: Lists::default(),
        };
        firewall.find_lists()?;
        firewall.updates = firewall.test_itself()?;
        Ok(firewall)
    }

    /// Another table from the next `restore` on; until then the one that stands goes on dropping.
    pub fn change(&mut self, settings: &Settings) {
        self.ruleset = Ruleset::new(settings);
    }

    /// Behaves as on a kernel before 6.12. For tests.
    #[doc(hidden)]
    pub fn without_updates(mut self) -> Firewall {
        self.updates = false;
        self
    }

    /// Behaves as where the kernel takes no longer batch than this. For tests.
    #[doc(hidden)]
    pub fn in_pieces_of(mut self, bytes: usize) -> Firewall {
        self.longest = bytes;
        self
    }

    /// Whether an element that is added again gets its new time.
    fn test_itself(&mut self) -> Result<bool, FirewallError> {
        const ASKED: u64 = 20_000;
        let failed = FirewallError::new("add and remove an element of the kernel's firewall");
        let name = "test";
        let spec = SetSpec {
            name,
            key: Key::V4,
            kind: Kind::Timed { size: 2 },
        };
        let element = |timeout| Element {
            set: name,
            key: Key::V4,
            value: 0x7f00_0001,
            timeout,
            left: timeout,
        };
        let found = (name, Key::V4, element(ASKED).value);
        self.whole(&failed, |w| {
            protocol::table(w, protocol::NEWTABLE, protocol::CREATE, 1, TEST_TABLE);
            protocol::table(w, protocol::DELTABLE, 0, 1, TEST_TABLE);
            protocol::table(w, protocol::NEWTABLE, protocol::CREATE, 1, TEST_TABLE);
            protocol::set(w, 1, TEST_TABLE, 1, &spec);
            protocol::add_elements(w, protocol::ACK, 2, TEST_TABLE, &[element(ASKED / 2)]);
        })?;
        self.whole(&failed, |w| {
            protocol::add_elements(w, protocol::ACK, 1, TEST_TABLE, &[element(ASKED)])
        })?;
        let mut timeout = None;
        let question = |w: &mut Writer| {
            protocol::name_element(w, (protocol::GETSETELEM, 0), 1, TEST_TABLE, found);
        };
        let answer = |_, body: &[u8]| {
            let list = protocol::inet_body(body)
                .and_then(|body| attribute(body, protocol::ATTRIBUTE_ELEMENTS));
            let first = list.and_then(|list| attributes(list).next());
            let value =
                first.and_then(|(_, item)| attribute(item, protocol::ATTRIBUTE_ELEMENT_TIMEOUT));
            timeout = timeout.or(value.and_then(number));
        };
        self.connection.ask(question, answer).map_err(&failed)?;
        self.whole(&failed, |w| {
            protocol::name_element(w, (protocol::DELSETELEM, 0), 1, TEST_TABLE, found);
            protocol::table(w, protocol::DELTABLE, protocol::ACK, 2, TEST_TABLE);
        })?;
        // In milliseconds, but counted in ticks of the kernel.
        Ok(timeout.is_some_and(|timeout| timeout.abs_diff(ASKED) < 100))
    }

    /// Carries the changes out, in their order, in batches. What the sets have no room for is told; a source that is to be
    /// freed and is not there is no error.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Outcome, FirewallError> {
        let mut outcome = Outcome::default();
        for changes in changes.chunks(BATCH) {
            self.apply_batch(changes, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// One batch, again without what the kernel refused. Each turn leaves at least one message out, so that it ends.
    fn apply_batch(
        &mut self,
        changes: &[Change],
        outcome: &mut Outcome,
    ) -> Result<(), FirewallError> {
        let failed = FirewallError::new("write bans into the kernel's firewall");
        let mut steps = self.steps(changes);
        let mut full = 0;
        while let Some(last) = steps.len().checked_sub(1) {
            let answers = self
                .connection
                .transact(|w| {
                    for (index, (_, step)) in steps.iter().enumerate() {
                        let flags = if index == last { protocol::ACK } else { 0 };
                        step.write(w, flags, u32::try_from(index + 1).unwrap_or(u32::MAX));
                    }
                })
                .map_err(&failed)?;
            if answers.errors.is_empty() {
                settle(&answers).map_err(&failed)?;
                break;
            }
            let mut left_out = vec![false; steps.len()];
            for (sequence, error) in answers.errors {
                let index = sequence.checked_sub(1).map(|index| index as usize);
                let step = index.and_then(|index| steps.get(index));
                match (step, error) {
                    (Some((_, Step::Remove(..))), libc::ENOENT) => {}
                    (Some((_, Step::Add(_))), libc::ENOENT) => return Err(FirewallError::Gone),
                    (Some((change, Step::Add(_))), libc::ENFILE) => {
                        outcome.refused.push(*change);
                        full += 1;
                    }
                    _ => return Err(failed(io::Error::from_raw_os_error(error))),
                }
                if let Some(place) = index.and_then(|index| left_out.get_mut(index)) {
                    *place = true;
                }
            }
            let mut left_out = left_out.into_iter();
            steps.retain(|_| left_out.next() == Some(false));
        }
        outcome.applied += changes.len() - full;
        Ok(())
    }

    fn steps(&self, changes: &[Change]) -> Vec<(Change, Step)> {
        let mut steps = Vec::with_capacity(changes.len() * 2);
        for change in changes {
            let (set, key, value) = place_of(change);
            let ban = element_of(change);
            if ban.is_none() || !self.updates {
                steps.push((*change, Step::Remove(set, key, value)));
            }
            steps.extend(ban.map(|element| (*change, Step::Add(element))));
        }
        steps
    }

    /// Puts the table there, with these bans and no others, in place of what stood there. It happens at once, unless the bans
    /// are more than the kernel takes in one piece from a process without privilege over the machine; then the rest follows
    /// in pieces. Changes that are no bans, and bans whose time is over, are passed over.
    pub fn restore(
        &mut self,
        bans: impl IntoIterator<Item = Change>,
    ) -> Result<Outcome, FirewallError> {
        let failed = FirewallError::new("build the table of the kernel's firewall");
        let mut outcome = Outcome::default();
        let mut sets: BTreeMap<&'static str, Vec<Element>> = BTreeMap::new();
        for change in bans {
            let Some(element) = element_of(&change) else {
                continue;
            };
            let elements = sets.entry(element.set).or_default();
            if elements.len() < self.ruleset.cap(element.set) as usize {
                elements.push(element);
                outcome.applied += 1;
            } else {
                outcome.refused.push(change);
            }
        }
        // What was dropped so far is not forgotten; a table that is not there has nothing to tell.
        let _ = self.counters();
        let pieces: Vec<&[Element]> = sets
            .values()
            .flat_map(|elements| elements.chunks(protocol::ELEMENTS_PER_MESSAGE))
            .collect();
        let mut writer = Writer::default();
        for piece in &pieces {
            protocol::add_elements(&mut writer, 0, 1, TABLE, piece);
        }
        // The table itself takes less than 32 KiB, but for the fixed lists.
        let needed = (writer.len() + (1 << 20)).clamp(transaction::BUFFER, LONGEST);
        self.connection.socket.resize(needed).map_err(&failed)?;
        let mut table = Writer::default();
        let counts = std::mem::take(&mut self.counts);
        let count = |name: &str| counts.get(name).copied().unwrap_or_default();
        protocol::rebuild(&mut table, 1, &self.ruleset, count);
        self.counts = counts;
        let longest = self
            .connection
            .socket
            .longest()
            .map_err(&failed)?
            .min(self.longest);
        let frame = 256;
        if table.len() + writer.len() + frame <= longest {
            return self
                .confirmed(&failed, &[&table, &writer])
                .map(|()| outcome);
        }
        self.confirmed(&failed, &[&table])?;
        for piece in pieces.chunks(2) {
            writer.clear();
            for elements in piece {
                protocol::add_elements(&mut writer, 0, 1, TABLE, elements);
            }
            self.confirmed(&failed, &[&writer])?;
        }
        Ok(outcome)
    }

    /// Sends these messages as one batch, with one more that asks for a confirmation.
    fn confirmed(
        &mut self,
        failed: &impl Fn(io::Error) -> FirewallError,
        parts: &[&Writer],
    ) -> Result<(), FirewallError> {
        self.whole(failed, |w| {
            for part in parts {
                w.raw(part.as_bytes());
            }
            protocol::table(w, protocol::NEWTABLE, protocol::ACK, 2, TABLE);
        })
    }

    /// Sends a batch that must succeed as a whole.
    fn whole(
        &mut self,
        failed: &impl Fn(io::Error) -> FirewallError,
        body: impl FnOnce(&mut Writer),
    ) -> Result<(), FirewallError> {
        let answers = self.connection.transact(body).map_err(failed)?;
        settle(&answers).map_err(failed)
    }

    /// Readable when somebody changed a table of the kernel; `changed_by_others` then says whether it was ours.
    pub fn watched(&self) -> BorrowedFd<'_> {
        self.watch.socket.as_fd()
    }

    /// What others did to the table since the last question. Never waits.
    pub fn changed_by_others(&mut self) -> Result<ByOthers, FirewallError> {
        self.watch.read().map_err(FirewallError::new(
            "read what others change in the kernel's firewall",
        ))
    }

    /// What each rule met, by the name of its counter. They go on over a restore.
    pub fn counters(&mut self) -> Result<&BTreeMap<String, Count>, FirewallError> {
        let own = self.counters_of(TABLE)?;
        self.counts.extend(own);
        self.count_lists()?;
        Ok(&self.counts)
    }

    fn counters_of(&mut self, table: &str) -> Result<Vec<(String, Count)>, FirewallError> {
        let mut counts = Vec::new();
        let note = |kind, body: &[u8]| {
            if protocol::kind_of(kind) != Some(protocol::NEWOBJ) {
                return;
            }
            let Some(body) = protocol::inet_body(body) else {
                return;
            };
            let name = attribute(body, protocol::ATTRIBUTE_OBJECT_NAME).map(text);
            let data = attribute(body, protocol::ATTRIBUTE_OBJECT_DATA).unwrap_or_default();
            let of = |kind| attribute(data, kind).and_then(number).unwrap_or_default();
            let count = Count {
                packets: of(protocol::ATTRIBUTE_COUNTER_PACKETS),
                bytes: of(protocol::ATTRIBUTE_COUNTER_BYTES),
            };
            counts.extend(name.map(|name| (name, count)));
        };
        self.connection
            .ask(|w| protocol::list_counters(w, 1, table), note)
            .map_err(|source| match source.raw_os_error() {
                Some(libc::ENOENT) => FirewallError::Gone,
                _ => FirewallError::new("read the counters of the kernel's firewall")(source),
            })?;
        Ok(counts)
    }

    /// Removes the tables: nobody is banned any more.
    pub fn take_down(&mut self) -> Result<(), FirewallError> {
        self.remove_lists()?;
        let failed = FirewallError::new("remove the table of the kernel's firewall");
        self.whole(&failed, |w| {
            protocol::table(w, protocol::NEWTABLE, protocol::CREATE, 1, TABLE);
            protocol::table(w, protocol::DELTABLE, protocol::ACK, 2, TABLE);
        })
    }
}

/// One message of a batch of changes.
#[derive(Debug)]
enum Step {
    Add(Element),
    Remove(&'static str, Key, u128),
}

impl Step {
    fn write(&self, writer: &mut Writer, flags: u16, sequence: u32) {
        match self {
            Step::Add(element) => {
                protocol::add_elements(
                    writer,
                    flags,
                    sequence,
                    TABLE,
                    std::slice::from_ref(element),
                );
            }
            Step::Remove(set, key, value) => {
                let place = (*set, *key, *value);
                protocol::name_element(
                    writer,
                    (protocol::DELSETELEM, flags),
                    sequence,
                    TABLE,
                    place,
                );
            }
        }
    }
}

/// An error if the batch was not done.
fn settle(answers: &Answers) -> io::Result<()> {
    // What is told of the batch as a whole says more than what it cost single messages.
    let error = answers
        .errors
        .iter()
        .min_by_key(|(sequence, _)| *sequence != BEGIN);
    match error {
        Some((_, error)) => Err(io::Error::from_raw_os_error(*error)),
        None if answers.confirmed => Ok(()),
        None => Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
    }
}

fn place_of(change: &Change) -> (&'static str, Key, u128) {
    match change {
        Change::Ban { set, source, .. } | Change::Free { set, source } => {
            let (key, value) = element(*source);
            (set_of(*set, *source), key, value)
        }
        Change::BanNetwork { network, .. } | Change::FreeNetwork { network } => {
            let (key, value) = element_of_network(*network);
            (set_of_network(*network), key, value)
        }
    }
}

/// The element that a ban asks for. `None`: it is no ban, or its time is over.
fn element_of(change: &Change) -> Option<Element> {
    let (Change::Ban { timeout, left, .. } | Change::BanNetwork { timeout, left, .. }) = change
    else {
        return None;
    };
    let (set, key, value) = place_of(change);
    let left = milliseconds(*left);
    (left > 0).then(|| Element {
        set,
        key,
        value,
        timeout: milliseconds(*timeout).max(left),
        left,
    })
}

/// At most a hundred years, which the kernel's clock can add up.
fn milliseconds(duration: Duration) -> u64 {
    const MOST: u64 = 100 * 365 * 86_400_000;
    u64::try_from(duration.as_millis()).map_or(MOST, |ms| ms.min(MOST))
}
