//! `logd`: everything that services say, filtered and printed to the container's output.
//!
//! Runs as a process of its own so that a slow reader of `docker logs` cannot hold PID 1. It takes
//! /dev/log and a channel from PID 1, over which come the read ends of the services' pipes.
//! Invariant: what was read before the end is printed before the end.

pub mod asterisk_line;
pub mod lines;
pub mod queue;
pub mod ring;
pub mod syslog;

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::{Config, LogFormat};
use crate::sys::clock::wall_clock;
use crate::sys::signal::{Request, Signals};
use crate::sys::socket::{passed_listeners, receive_with_descriptors};
use syslog::{Folder, Record, is_shown, parse_datagram, parse_line, render};

/// The service name under which PID 1 itself speaks.
pub const OWN_NAME: &str = "switchhook";

/// What is shown of PID 1's own lines at the least: notices and worse.
const OWN_LEVEL: u8 = syslog::NOTICE + 1;

/// The longest line that is kept while its end has not come, in bytes.
const LONGEST_PARTIAL: usize = 64 * 1024;

/// A pipe of one service.
struct Stream {
    service: String,
    severity: u8,
    fd: OwnedFd,
    partial: Vec<u8>,
}

struct Daemon<W: Write> {
    level: u8,
    format: LogFormat,
    folder: Option<Folder>,
    streams: HashMap<RawFd, Stream>,
    devlog: Option<OwnedFd>,
    channel: Option<OwnedFd>,
    out: W,
}

/// Runs until SIGTERM, or until PID 1 closes the channel.
pub fn run(config: &Config) -> io::Result<()> {
    let mut signals = Signals::install()?;
    let mut daemon = Daemon {
        level: config.log_level,
        format: config.log_format,
        folder: config.fold_repeats.then(Folder::default),
        streams: HashMap::new(),
        devlog: None,
        channel: None,
        out: io::BufWriter::new(io::stdout()),
    };
    for (name, fd) in passed_listeners() {
        if name == "channel" {
            daemon.channel = Some(fd);
        } else {
            daemon.devlog = Some(fd);
        }
    }
    crate::sys::notify::send("READY=1");
    loop {
        let ready = daemon.wait(&signals)?;
        let stop = ready.contains(&signals.descriptor().as_raw_fd())
            && signals.pending().contains(&Request::Stop);
        daemon.read_all(&ready)?;
        if stop || daemon.channel.is_none() {
            return daemon.finish();
        }
    }
}

impl<W: Write> Daemon<W> {
    /// Waits for input; after a second of silence held-back repeats are told.
    fn wait(&mut self, signals: &Signals) -> io::Result<Vec<RawFd>> {
        let holds = self.folder.as_ref().is_some_and(Folder::holds_repeats);
        let timeout = if holds {
            PollTimeout::from(1000u16)
        } else {
            PollTimeout::NONE
        };
        let mut fds = vec![PollFd::new(signals.descriptor(), PollFlags::POLLIN)];
        fds.extend(
            self.devlog
                .iter()
                .chain(&self.channel)
                .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
        );
        fds.extend(
            self.streams
                .values()
                .map(|s| PollFd::new(s.fd.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<RawFd> = fds
            .iter()
            .filter(|fd| fd.any().unwrap_or(false))
            .map(|fd| fd.as_fd().as_raw_fd())
            .collect();
        if ready.is_empty() && holds {
            let records = self.folder.as_mut().map(Folder::flush).unwrap_or_default();
            self.print(&records)?;
        }
        Ok(ready)
    }

    fn read_all(&mut self, ready: &[RawFd]) -> io::Result<()> {
        let is_ready = |fd: &Option<OwnedFd>| {
            fd.as_ref()
                .is_some_and(|fd| ready.contains(&fd.as_raw_fd()))
        };
        if is_ready(&self.channel) {
            self.read_channel()?;
        }
        if is_ready(&self.devlog) {
            self.read_devlog()?;
        }
        for fd in ready {
            if self.streams.contains_key(fd) {
                self.read_stream(*fd)?;
            }
        }
        self.out.flush()
    }

    /// A message `SERVICE SEVERITY` with the read end of a pipe. An empty one means that PID 1 is gone.
    fn read_channel(&mut self) -> io::Result<()> {
        let Some(channel) = &self.channel else {
            return Ok(());
        };
        let raw = channel.as_raw_fd();
        while let Some((text, fds)) = receive_with_descriptors(raw)? {
            if text.is_empty() {
                self.channel = None;
                return Ok(());
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            let (service, severity) = text.split_once(' ').unwrap_or((&text, "6"));
            for fd in fds {
                let stream = Stream {
                    service: service.to_owned(),
                    severity: severity.parse().unwrap_or(syslog::INFO),
                    fd,
                    partial: Vec::new(),
                };
                self.streams.insert(stream.fd.as_raw_fd(), stream);
            }
        }
        Ok(())
    }

    fn read_devlog(&mut self) -> io::Result<()> {
        let Some(devlog) = &self.devlog else {
            return Ok(());
        };
        let raw = devlog.as_raw_fd();
        let mut buffer = vec![0u8; 64 * 1024];
        // Bounded, so that a flood on /dev/log does not starve the pipes.
        for _ in 0..256 {
            match nix::sys::socket::recv(raw, &mut buffer, nix::sys::socket::MsgFlags::MSG_DONTWAIT)
            {
                Ok(length) => {
                    self.take(parse_datagram(buffer.get(..length).unwrap_or_default()))?
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn read_stream(&mut self, fd: RawFd) -> io::Result<()> {
        let mut buffer = [0u8; 16 * 1024];
        let Some(stream) = self.streams.get_mut(&fd) else {
            return Ok(());
        };
        let length = match nix::unistd::read(&stream.fd, &mut buffer) {
            Ok(0) => {
                self.streams.remove(&fd);
                return Ok(());
            }
            Ok(length) => length,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(()),
            Err(_) => {
                self.streams.remove(&fd);
                return Ok(());
            }
        };
        stream
            .partial
            .extend_from_slice(buffer.get(..length).unwrap_or_default());
        let mut lines: Vec<Vec<u8>> = Vec::new();
        while let Some(end) = stream.partial.iter().position(|byte| *byte == b'\n') {
            lines.push(stream.partial.drain(..=end).collect());
        }
        if stream.partial.len() > LONGEST_PARTIAL {
            lines.push(std::mem::take(&mut stream.partial));
        }
        let records: Vec<Record> = lines
            .iter()
            .map(|line| parse_line(&stream.service, stream.severity, line))
            .collect();
        for record in records {
            self.take(record)?;
        }
        Ok(())
    }

    fn take(&mut self, record: Record) -> io::Result<()> {
        let level = if record.service == OWN_NAME && self.level > 0 {
            self.level.max(OWN_LEVEL)
        } else {
            self.level
        };
        if record.text.is_empty() || !is_shown(&record, level) {
            return Ok(());
        }
        let records = match &mut self.folder {
            Some(folder) => folder.take(record),
            None => vec![record],
        };
        self.print(&records)
    }

    fn print(&mut self, records: &[Record]) -> io::Result<()> {
        for record in records {
            writeln!(self.out, "{}", render(record, self.format, &wall_clock()))?;
        }
        Ok(())
    }

    /// Prints what still waits in the sockets and pipes.
    fn finish(&mut self) -> io::Result<()> {
        self.read_devlog()?;
        let fds: Vec<RawFd> = self.streams.keys().copied().collect();
        for fd in fds {
            while self.has_input(fd) {
                self.read_stream(fd)?;
            }
        }
        let partials: Vec<Record> = self
            .streams
            .values()
            .filter(|s| !s.partial.is_empty())
            .map(|s| parse_line(&s.service, s.severity, &s.partial))
            .collect();
        for record in partials {
            self.take(record)?;
        }
        let records = self.folder.as_mut().map(Folder::flush).unwrap_or_default();
        self.print(&records)?;
        self.out.flush()
    }

    fn has_input(&self, fd: RawFd) -> bool {
        let Some(stream) = self.streams.get(&fd) else {
            return false;
        };
        let mut fds = [PollFd::new(stream.fd.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
            && fds[0]
                .revents()
                .is_some_and(|got| got.contains(PollFlags::POLLIN))
    }
}
