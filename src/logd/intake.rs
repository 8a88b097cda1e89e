//! What comes in: /dev/log, the services' pipes, and the channel over which PID 1 hands them on.
//!
//! In one turn each pipe is read once and /dev/log a bounded number of times, so that whoever floods waits his
//! turn like everybody. Invariant: memory is bounded by the number of pipes, and nothing is read that is
//! not handed on.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use super::fold::Said;
use super::lines::Splitter;
use super::syslog::{ClientTime, INFO, OWN_NAME, Record, parse_datagram, read_line};
use crate::sys::socket::receive_with_descriptors;

/// The source that is everybody's who speaks to /dev/log.
pub const DEVLOG: &str = "syslog";
/// The most of one pipe in one turn.
const READ: usize = 16 * 1024;
/// The most of /dev/log in one turn; the largest datagram is no larger than a socket's send buffer.
const DATAGRAMS: usize = 256;
const DATAGRAM_BYTES: usize = 256 * 1024;
/// The longest datagram that is read whole.
const LONGEST_DATAGRAM: usize = 64 * 1024;
/// More pipes than any appliance has; each costs a descriptor, and a process has 1024.
const MOST_STREAMS: usize = 512;
/// What is read from each at the end: a pipe holds at most 1 MiB (/proc/sys/fs/pipe-max-size).
const TURNS_AT_THE_END: usize = (1 << 20) / READ;

/// Who speaks: a service by its pipes, or everybody by /dev/log.
#[derive(Debug)]
pub struct Source {
    pub service: String,
    pub lines: u64,
    pub bytes: u64,
}

/// All that ever spoke, by their place in the list. Pipes of one service are one source.
#[derive(Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    pub fn find_or_add(&mut self, service: &str) -> usize {
        let known = self.0.iter().position(|source| source.service == service);
        known.unwrap_or_else(|| {
            self.0.push(Source {
                service: service.to_owned(),
                lines: 0,
                bytes: 0,
            });
            self.0.len() - 1
        })
    }

    pub fn name(&self, source: usize) -> &str {
        self.0
            .get(source)
            .map_or(OWN_NAME, |source| source.service.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    fn count(&mut self, source: usize, bytes: usize) {
        if let Some(source) = self.0.get_mut(source) {
            source.lines += 1;
            source.bytes += bytes as u64;
        }
    }
}

/// A pipe of one service.
struct Stream {
    source: usize,
    service: String,
    severity: u8,
    fd: OwnedFd,
    lines: Splitter,
}

/// The descriptors that are read.
pub struct Intake {
    pub devlog: Option<OwnedFd>,
    pub channel: Option<OwnedFd>,
    streams: BTreeMap<RawFd, Stream>,
    time: ClientTime,
    buffer: Vec<u8>,
}

impl Intake {
    pub fn new(time: ClientTime) -> Intake {
        Intake {
            devlog: None,
            channel: None,
            streams: BTreeMap::new(),
            time,
            buffer: vec![0; LONGEST_DATAGRAM],
        }
    }

    /// What to wait for.
    pub fn waits_for(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let streams = self.streams.values().map(|stream| stream.fd.as_fd());
        self.devlog
            .iter()
            .chain(&self.channel)
            .map(AsFd::as_fd)
            .chain(streams)
    }

    /// Reads once from everything that is ready.
    pub fn read(
        &mut self,
        ready: &[RawFd],
        sources: &mut Sources,
        mut take: impl FnMut(&Sources, Said),
    ) {
        let is_ready = |fd: &Option<OwnedFd>| {
            fd.as_ref()
                .is_some_and(|fd| ready.contains(&fd.as_raw_fd()))
        };
        if is_ready(&self.channel) {
            self.read_channel(sources, &mut take);
        }
        if is_ready(&self.devlog) {
            self.read_devlog(sources, &mut take);
        }
        for fd in ready {
            self.read_stream(*fd, sources, &mut take);
        }
    }

    /// Reads what still waits everywhere. Bounded: somebody may go on writing for ever.
    pub fn read_the_rest(&mut self, sources: &mut Sources, mut take: impl FnMut(&Sources, Said)) {
        for _ in 0..TURNS_AT_THE_END {
            let waiting = self.waiting();
            if waiting.is_empty() {
                break;
            }
            self.read(&waiting, sources, &mut take);
        }
        for stream in self.streams.values_mut() {
            if let Some(line) = stream.lines.finish() {
                hand_on(stream, self.time, &line, sources, &mut take);
            }
        }
    }

    /// Listens to a pipe; false when there are too many.
    pub fn add(&mut self, service: &str, severity: u8, fd: OwnedFd, sources: &mut Sources) -> bool {
        if self.streams.len() >= MOST_STREAMS {
            return false;
        }
        let stream = Stream {
            source: sources.find_or_add(service),
            service: service.to_owned(),
            severity,
            fd,
            lines: Splitter::default(),
        };
        self.streams.insert(stream.fd.as_raw_fd(), stream);
        true
    }

    fn waiting(&self) -> Vec<RawFd> {
        let mut fds: Vec<PollFd<'_>> = self
            .waits_for()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        if poll(&mut fds, PollTimeout::ZERO).is_err() {
            return Vec::new();
        }
        let has_input = |fd: &&PollFd<'_>| {
            fd.revents()
                .is_some_and(|got| got.contains(PollFlags::POLLIN))
        };
        fds.iter()
            .filter(has_input)
            .map(|fd| fd.as_fd().as_raw_fd())
            .collect()
    }

    /// A message `SERVICE SEVERITY` with the read end of a pipe. An empty one means that PID 1 is gone.
    fn read_channel(&mut self, sources: &mut Sources, take: &mut impl FnMut(&Sources, Said)) {
        let Some(raw) = self.channel.as_ref().map(AsRawFd::as_raw_fd) else {
            return;
        };
        loop {
            let (text, fds) = match receive_with_descriptors(raw) {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(_) => {
                    self.channel = None;
                    return;
                }
            };
            if text.is_empty() {
                self.channel = None;
                return;
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            let (service, severity) = text.split_once(' ').unwrap_or((&text, "6"));
            for fd in fds {
                if !self.add(service, severity.parse().unwrap_or(INFO), fd, sources) {
                    let text = format!("there are too many pipes: {service} is not heard");
                    let source = sources.find_or_add(OWN_NAME);
                    take(sources, said(source, super::style::own(text)));
                }
            }
        }
    }

    fn read_devlog(&mut self, sources: &mut Sources, take: &mut impl FnMut(&Sources, Said)) {
        let Some(raw) = self.devlog.as_ref().map(AsRawFd::as_raw_fd) else {
            return;
        };
        let source = sources.find_or_add(DEVLOG);
        let mut total = 0;
        for _ in 0..DATAGRAMS {
            let Ok(length) = recv(raw, &mut self.buffer, MsgFlags::MSG_DONTWAIT) else {
                return;
            };
            let datagram = self.buffer.get(..length).unwrap_or_default();
            let record = parse_datagram(datagram, self.time);
            if !record.text.is_empty() {
                sources.count(source, length);
                take(sources, said(source, record));
            }
            total += length;
            if total > DATAGRAM_BYTES {
                return;
            }
        }
    }

    fn read_stream(
        &mut self,
        fd: RawFd,
        sources: &mut Sources,
        take: &mut impl FnMut(&Sources, Said),
    ) {
        let Some(stream) = self.streams.get_mut(&fd) else {
            return;
        };
        let buffer = self.buffer.get_mut(..READ).unwrap_or_default();
        let length = match nix::unistd::read(&stream.fd, buffer) {
            Ok(length) if length > 0 => length,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return,
            Ok(_) | Err(_) => {
                if let Some(mut stream) = self.streams.remove(&fd)
                    && let Some(line) = stream.lines.finish()
                {
                    hand_on(&stream, self.time, &line, sources, take);
                }
                return;
            }
        };
        let mut splitter = std::mem::take(&mut stream.lines);
        splitter.feed(self.buffer.get(..length).unwrap_or_default(), |line| {
            hand_on(stream, self.time, line, sources, take);
        });
        stream.lines = splitter;
    }
}

/// Empty lines say nothing and are left out.
fn hand_on(
    stream: &Stream,
    time: ClientTime,
    line: &[u8],
    sources: &mut Sources,
    take: &mut impl FnMut(&Sources, Said),
) {
    let record = read_line(&stream.service, stream.severity, line, time);
    if !record.text.is_empty() {
        sources.count(stream.source, line.len());
        take(sources, said(stream.source, record));
    }
}

fn said(source: usize, record: Record) -> Said {
    Said {
        source,
        weight: 1,
        record,
    }
}
