//! The last lines in memory, for `switchhook logs`: all of them down to debug, whatever SYSLOG_LEVEL shows.
//!
//! Pure. Bounded by number and bytes; the oldest go first. Invariant: sequence numbers rise by one from
//! line to line, so that a reader who came too late knows how many lines he missed.

use std::collections::VecDeque;

use super::syslog::Record;

/// What a line costs beside its text.
const OVERHEAD: usize = 96;

/// One line and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1 since the start of the log service.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub time: i64,
    pub record: Record,
}

impl Entry {
    fn cost(&self) -> usize {
        OVERHEAD + self.record.text.len() + self.record.service.len()
    }
}

/// The last lines.
#[derive(Debug)]
pub struct Ring {
    most_lines: usize,
    most_bytes: usize,
    entries: VecDeque<Entry>,
    bytes: usize,
    next: u64,
}

impl Ring {
    pub fn new(most_lines: usize, most_bytes: usize) -> Ring {
        Ring {
            most_lines,
            most_bytes,
            entries: VecDeque::new(),
            bytes: 0,
            next: 1,
        }
    }

    pub fn push(&mut self, time: i64, record: Record) {
        let entry = Entry {
            sequence: self.next,
            time,
            record,
        };
        self.next += 1;
        self.bytes += entry.cost();
        self.entries.push_back(entry);
        while self.entries.len() > self.most_lines || self.bytes > self.most_bytes {
            match self.entries.pop_front() {
                Some(old) => self.bytes -= old.cost(),
                None => return,
            }
        }
    }

    /// The number that the next line gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest line that is kept; `next` when there is none.
    pub fn first(&self) -> u64 {
        self.entries.front().map_or(self.next, |e| e.sequence)
    }

    pub fn get(&self, sequence: u64) -> Option<&Entry> {
        let index = sequence.checked_sub(self.first())?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// From which number on the last `count` lines stand that `wanted` accepts.
    pub fn last(&self, count: usize, wanted: impl Fn(&Record) -> bool) -> u64 {
        let mut newest = self.entries.iter().rev().filter(|e| wanted(&e.record));
        match count.checked_sub(1) {
            None => self.next,
            Some(skip) => newest.nth(skip).map_or(self.first(), |e| e.sequence),
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// With what the lines cost beside their text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(service: &str, text: &str) -> Record {
        Record {
            service: service.to_owned(),
            severity: 6,
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_last_lines_of_one_service_are_found() {
        let mut ring = Ring::new(100, 1 << 20);
        for i in 0..10 {
            ring.push(i, record(if i % 2 == 0 { "a" } else { "b" }, "x"));
        }
        let is_a = |r: &Record| r.service == "a";
        assert_eq!(ring.last(2, is_a), 7);
        assert_eq!(ring.last(100, is_a), 1);
        assert_eq!(ring.last(0, is_a), 11);
        assert_eq!(ring.get(7).unwrap().time, 6);
        assert!(ring.get(11).is_none());
    }

    proptest::proptest! {
        #[test]
        fn it_is_bounded_and_keeps_the_end(sizes in proptest::collection::vec(0usize..3000, 0..200)) {
            let mut ring = Ring::new(50, 20_000);
            for (i, size) in sizes.iter().enumerate() {
                ring.push(i64::try_from(i).unwrap(), record("s", &"x".repeat(*size)));
                proptest::prop_assert!(ring.len() <= 50 && ring.bytes() <= 20_000);
                proptest::prop_assert_eq!(ring.next() - ring.first(), ring.len() as u64);
                for sequence in ring.first()..ring.next() {
                    proptest::prop_assert_eq!(ring.get(sequence).unwrap().sequence, sequence);
                }
            }
        }
    }
}
