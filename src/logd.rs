//! `logd`: everything that services say, filtered and printed to the container's output.
//!
//! Runs as a process of its own so that a slow reader of `docker logs` cannot hold PID 1. It takes
//! /dev/log and a channel from PID 1, over which come the read ends of the services' pipes. It reads whatever
//! becomes of its outputs: a reader who is slow, or gone, costs lines that are counted, and never
//! holds a service. Invariant: what was read before the end is printed, or counted, before the end.

pub mod asterisk_line;
pub mod evidence;
pub mod file;
pub mod fold;
pub mod intake;
pub mod lines;
pub mod outputs;
pub mod query;
pub mod queue;
pub mod readers;
pub mod ring;
pub mod severity;
pub mod sink;
pub mod style;
pub mod syslog;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::Config;
use crate::sys::clock::unix_millis;
use crate::sys::output::SharedOutput;
use crate::sys::signal::{Request, Signals};
use crate::sys::socket::passed_listeners;
use file::FileWriter;
use intake::{Intake, Sources};
use outputs::Outputs;
use query::{SourceStats, Stats};
use readers::Readers;
use sink::Sink;
pub use syslog::OWN_NAME;
use syslog::{ClientTime, INFO};

/// The name under which PID 1 passes the channel.
const CHANNEL: &str = "channel";
/// The socket unit whose listener is the query socket.
const QUERY: &str = "logd-query";
/// The one at which AutoBan asks, and gets no more than it needs.
const EVIDENCE: &str = "logd-evidence";

/// The service.
struct Daemon {
    intake: Intake,
    sources: Sources,
    outputs: Outputs,
    readers: Option<Readers>,
    judges: Option<Readers>,
    /// Names this life of the log service, in milliseconds since 1970.
    start: i64,
}

/// Runs until SIGTERM, or until PID 1 closes the channel.
pub fn run(config: &Config) -> io::Result<()> {
    let mut signals = Signals::install()?;
    let mut daemon = Daemon::new(config)?;
    crate::sys::notify::send_surely("READY=1");
    loop {
        let ready = daemon.wait(&signals)?;
        let stop = ready.contains(&signals.descriptor().as_raw_fd())
            && signals.pending().contains(&Request::Stop);
        daemon.turn(&ready);
        if stop || daemon.intake.channel.is_none() {
            daemon.finish();
            return Ok(());
        }
    }
}

impl Daemon {
    fn new(config: &Config) -> io::Result<Daemon> {
        let mut sources = Sources::default();
        let mut intake = Intake::new(if config.strip_client_times {
            ClientTime::Strip
        } else {
            ClientTime::Keep
        });
        let (mut readers, mut judges) = (None, None);
        for (name, fd) in passed_listeners() {
            match name.as_str() {
                CHANNEL => intake.channel = Some(fd),
                QUERY => readers = Some(Readers::new(fd)?),
                EVIDENCE => judges = Some(Readers::new(fd)?),
                _ => intake.devlog = Some(fd),
            }
        }
        let file = match &config.log_files {
            Some(settings) => {
                let (voice, tell) = own_voice()?;
                intake.add(OWN_NAME, INFO, voice, &mut sources);
                Some(FileWriter::start(settings, tell)?)
            }
            None => None,
        };
        let sink = Sink::new(SharedOutput::new(io::stdout().as_fd())?);
        Ok(Daemon {
            intake,
            sources,
            outputs: Outputs::new(config, sink, file),
            readers,
            judges,
            start: unix_millis(),
        })
    }

    /// Waits until something can be done; nothing ready means silence.
    fn wait(&self, signals: &Signals) -> io::Result<Vec<RawFd>> {
        let mut fds = vec![PollFd::new(signals.descriptor(), PollFlags::POLLIN)];
        fds.extend(
            self.intake
                .waits_for()
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        );
        fds.extend(
            self.outputs
                .sink
                .waits_for()
                .map(|fd| PollFd::new(fd, PollFlags::POLLOUT)),
        );
        let readers = self
            .readers
            .iter()
            .flat_map(|readers| readers.waits_for(&self.outputs.ring));
        let judges = self
            .judges
            .iter()
            .flat_map(|judges| judges.waits_for(&self.outputs.evidence));
        fds.extend(
            readers
                .chain(judges)
                .map(|(fd, flags)| PollFd::new(fd, flags)),
        );
        match poll(&mut fds, self.timeout()) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        Ok(fds
            .iter()
            .filter(|fd| fd.any().unwrap_or(false))
            .map(|fd| fd.as_fd().as_raw_fd())
            .collect())
    }

    fn timeout(&self) -> PollTimeout {
        let repeats = self.outputs.holds_repeats().then_some(outputs::SILENCE);
        let all = [&self.readers, &self.judges];
        let pending = all.into_iter().flatten().any(Readers::has_pending);
        let patience = pending.then_some(readers::PATIENCE);
        // Rounded up, or a rest of less than a millisecond would be no wait at all.
        let rest = self
            .outputs
            .sink
            .rest()
            .map(|rest| rest + Duration::from_millis(1));
        [repeats, patience, rest]
            .into_iter()
            .flatten()
            .min()
            .map_or(PollTimeout::NONE, |wait| {
                PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
            })
    }

    fn turn(&mut self, ready: &[RawFd]) {
        let outputs = &mut self.outputs;
        outputs.begin_turn();
        self.intake.read(ready, &mut self.sources, |sources, said| {
            outputs.take(sources, said);
        });
        outputs.end_turn(&self.sources, ready.is_empty());
        if let Some(readers) = &mut self.readers {
            let (sources, outputs, start) = (&self.sources, &self.outputs, self.start);
            let known = |service: &str| {
                sources.iter().any(|source| source.service == service)
                    || outputs
                        .ring
                        .entries()
                        .any(|entry| entry.record.service == service)
            };
            readers.read(ready, &outputs.ring, start, known, |readers| {
                stats(start, sources, outputs, readers)
            });
            readers.serve(&outputs.ring);
        }
        if let Some(judges) = &mut self.judges {
            let (evidence, start) = (&self.outputs.evidence, self.start);
            // Numbers of other services are none of theirs.
            let stats = |_: &Readers| Stats::default();
            judges.read(ready, evidence, start, |_| true, stats);
            judges.serve(evidence);
        }
    }

    /// Takes what still waits in the sockets and pipes, and prints everything.
    fn finish(&mut self) {
        let outputs = &mut self.outputs;
        outputs.begin_turn();
        self.intake
            .read_the_rest(&mut self.sources, |sources, said| {
                outputs.take(sources, said);
            });
        outputs.finish(&mut self.sources);
        if let Some(readers) = &mut self.readers {
            readers.serve(&outputs.ring);
        }
        if let Some(judges) = &mut self.judges {
            judges.serve(&outputs.evidence);
        }
    }
}

fn stats(start: i64, sources: &Sources, outputs: &Outputs, readers: &Readers) -> Stats {
    let queue = &outputs.sink.queue;
    let sources = sources
        .iter()
        .enumerate()
        .map(|(index, source)| SourceStats {
            service: source.service.clone(),
            lines: source.lines,
            bytes: source.bytes,
            lost: queue.lost(index),
        });
    Stats {
        schema: query::SCHEMA,
        start,
        sources: sources.collect(),
        waiting_bytes: queue.held() as u64,
        lost: queue.lost_in_all(),
        ring_lines: outputs.ring.len() as u64,
        ring_bytes: outputs.ring.bytes() as u64,
        file_lost: outputs.file.as_ref().map(FileWriter::lost),
        readers: readers.len() as u64,
        readers_lost: readers.lost(),
    }
}

/// A pipe by which the file's thread says what is wrong, like any service.
fn own_voice() -> io::Result<(OwnedFd, impl Fn(&str) + Send + 'static)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let tell = move |text: &str| {
        // Full: it said a lot already.
        let _ = nix::unistd::write(&write, format!("{text}\n").as_bytes());
    };
    Ok((read, tell))
}
