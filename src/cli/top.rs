//! `switchhook top`: the services live, every second and at each event, with keys to restart, stop and start them.
//!
//! It reads /proc itself; PID 1 gives only what it knows. Invariant: the terminal is left as it was found.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::RootArgs;
use super::events::{Lines, line};
use super::output::{Exit, Output};
use super::processes::{Census, Process, census, machine_ticks};
use super::reach::{PATIENCE, reach};
use super::status::span;
use super::tree::{colour, cut};
use crate::init::control::{Reply, Request, Status, ask, open};
use crate::sys::clock::Stopwatch;
use crate::sys::signal::{self, Signals};
use crate::sys::terminal::{self, Keys};

/// Between two frames when nothing happens.
const INTERVAL: Duration = Duration::from_secs(1);
/// Events come in bursts: no more frames than this.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct TopArgs {
    /// Print one frame and end; CPU is then the mean since each process began
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// Exit code 0, 1 when there is no terminal, 2 when PID 1 does not answer.
pub fn run(args: &TopArgs) -> ExitCode {
    let out = Output::new(false);
    let socket = args.root.paths().control_socket();
    let outcome = if args.once {
        reach(&socket).map(|status| {
            let rows = rows(&status, &census(&status), &Meter::default());
            let width = terminal::size().map_or(80, |(columns, _)| columns);
            out.picture(&frame(&status, &rows, &View::new(width, usize::MAX, &out)));
            Exit::Ok
        })
    } else {
        watch(&socket, &out)
    };
    match outcome {
        Ok(exit) => out.finish(exit),
        Err(problem) => {
            out.problem(&problem, None);
            out.finish(Exit::Failed)
        }
    }
}

/// CPU time of each process at the last look, so that the next can tell the share.
#[derive(Debug, Default)]
struct Meter {
    at: u64,
    ticks: HashMap<i32, (u64, u64)>,
}

impl Meter {
    fn of(census: &Census) -> Meter {
        let all = census.services.iter().flatten();
        Meter {
            at: machine_ticks(),
            ticks: all.map(|p| (p.pid, (p.started, p.ticks))).collect(),
        }
    }

    /// Tenths of a percent of one CPU, since the last look or since the process began.
    fn share(&self, process: &Process, now: u64) -> u64 {
        let (since, used) = match self.ticks.get(&process.pid) {
            Some((started, ticks)) if *started == process.started => {
                (self.at, process.ticks.saturating_sub(*ticks))
            }
            _ => (process.started, process.ticks),
        };
        used * 1000 / now.saturating_sub(since).max(1)
    }
}

/// What one line shows of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    name: String,
    state: String,
    pid: Option<i32>,
    /// Tenths of a percent.
    cpu: u64,
    memory: u64,
    threads: u64,
    descriptors: usize,
    restarts: u64,
    since: Duration,
    last: String,
}

fn rows(status: &Status, census: &Census, meter: &Meter) -> Vec<Row> {
    let now = machine_ticks();
    let services = status.services.iter().zip(&census.services);
    services
        .map(|(service, processes)| Row {
            name: service.name.clone(),
            state: service.state.clone(),
            pid: service.pid,
            cpu: processes.iter().map(|p| meter.share(p, now)).sum(),
            memory: processes.iter().map(|p| p.memory).sum(),
            threads: processes.iter().map(|p| p.threads).sum(),
            descriptors: processes.iter().filter_map(|p| p.descriptors).sum(),
            restarts: service.restarts,
            since: Duration::from_millis(service.state_for_ms),
            last: service.last_event.as_ref().map_or(String::new(), |event| {
                format!("{} {}", event.what.name(), event.detail)
            }),
        })
        .collect()
}

/// How a frame is drawn.
struct View {
    width: usize,
    height: usize,
    colour: bool,
    unicode: bool,
    selected: Option<usize>,
    message: String,
}

impl View {
    fn new(width: usize, height: usize, out: &Output) -> View {
        View {
            width,
            height,
            colour: out.colour(),
            unicode: out.unicode(),
            selected: None,
            message: String::new(),
        }
    }
}

fn frame(status: &Status, rows: &[Row], view: &View) -> String {
    let up = span(Duration::from_millis(status.uptime_ms));
    let word = if status.ready { "ready" } else { &status.phase };
    let head = format!("switchhook {}: {word}, up {up}", status.version);
    let names = format!(
        "{:<14} {:<8} {:>7} {:>5} {:>6} {:>4} {:>4} {:>4} {:>7}  {}",
        "SERVICE", "STATE", "PID", "CPU%", "MEM", "THR", "FD", "RST", "FOR", "LAST EVENT"
    );
    let mut lines = vec![
        cut(&head, view.width, view.unicode),
        cut(&names, view.width, view.unicode),
    ];
    // The selected line stays in view.
    let room = view.height.saturating_sub(4).max(1);
    let first = view.selected.map_or(0, |at| (at + 1).saturating_sub(room));
    for (index, row) in rows.iter().enumerate().skip(first).take(room) {
        let mut text = format!(
            "{:<14} {:<8} {:>7} {:>5} {:>6} {:>4} {:>4} {:>4} {:>7}  ",
            cut(&row.name, 14, view.unicode),
            cut(&row.state, 8, view.unicode),
            row.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            format!("{}.{}", row.cpu / 10, row.cpu % 10),
            size(row.memory),
            row.threads,
            row.descriptors,
            row.restarts,
            span(row.since).replace(' ', ""),
        );
        // The event's details where there is room for them, else its name alone.
        let room = view.width.saturating_sub(text.chars().count());
        text.push_str(match row.last.split_once(' ') {
            Some((name, _)) if row.last.chars().count() > room => name,
            _ => &row.last,
        });
        let text = cut(text.trim_end(), view.width, view.unicode);
        lines.push(match (view.selected == Some(index), view.colour) {
            (true, true) => format!("\x1b[7m{text}\x1b[0m"),
            (true, false) => format!(">{}", text.chars().skip(1).collect::<String>()),
            (false, true) => format!("\x1b[{}m{text}\x1b[0m", colour(&row.state)),
            (false, false) => text,
        });
    }
    if !view.message.is_empty() {
        lines.push(cut(&view.message, view.width, view.unicode));
    }
    lines.join("\n") + "\n"
}

/// `512K`, `3.5M`, `1.2G`: at most six characters.
fn size(bytes: u64) -> String {
    let kib = bytes / 1024;
    let tenth = |n: u64, unit: u64| format!("{}.{}", n / unit, n % unit * 10 / unit);
    match kib {
        0..1024 => format!("{kib}K"),
        1024..1_048_576 => format!("{}M", tenth(kib, 1024)),
        _ => format!("{}G", tenth(kib, 1_048_576)),
    }
}

/// A key as it came from the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Up,
    Down,
    Letter(u8),
}

fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut out = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        bytes = rest;
        match (*first, rest) {
            (0x1b, [b'[' | b'O', b'A', rest @ ..]) => {
                out.push(Key::Up);
                bytes = rest;
            }
            (0x1b, [b'[' | b'O', b'B', rest @ ..]) => {
                out.push(Key::Down);
                bytes = rest;
            }
            // Another sequence of the terminal's: its letters are no orders.
            (0x1b, [b'[' | b'O', ..]) => break,
            (b'k', _) => out.push(Key::Up),
            (b'j', _) => out.push(Key::Down),
            (letter, _) => out.push(Key::Letter(letter)),
        }
    }
    out
}

/// What the person at the keys sees and has asked for.
struct Session<'a> {
    socket: &'a Path,
    selected: usize,
    /// An order that waits for `y`.
    pending: Option<(char, String)>,
    message: String,
}

const HELP: &str = "q quit   arrows select   r restart   s stop   a start";

impl Session<'_> {
    /// False: quit.
    fn press(&mut self, key: Key, status: &Status) -> bool {
        let count = status.services.len();
        let is_sure = key == Key::Letter(b'y');
        if let Some((order, service)) = self.pending.take() {
            self.message = if is_sure {
                self.order(order, service)
            } else {
                "left as it is".to_owned()
            };
            return key != Key::Letter(b'q');
        }
        match key {
            Key::Up => self.selected = self.selected.saturating_sub(1),
            Key::Down => self.selected = (self.selected + 1).min(count.saturating_sub(1)),
            Key::Letter(b'q') => return false,
            Key::Letter(letter @ (b'r' | b's' | b'a')) => {
                if let Some(service) = status.services.get(self.selected) {
                    let verb = verb(char::from(letter));
                    self.message = format!("{verb} {}? y/n", service.name);
                    self.pending = Some((char::from(letter), service.name.clone()));
                }
            }
            Key::Letter(_) => self.message = HELP.to_owned(),
        }
        true
    }

    fn order(&self, order: char, service: String) -> String {
        let text = format!("{} of {service} is ordered", verb(order));
        let request = match order {
            'r' => Request::Restart { service },
            's' => Request::Stop { service },
            _ => Request::Start { service },
        };
        match ask(self.socket, &request, PATIENCE) {
            Ok(Reply::Refused { reason }) => reason.lines().next().unwrap_or_default().to_owned(),
            Ok(_) => text,
            Err(error) => error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

fn verb(order: char) -> &'static str {
    match order {
        'r' => "restart",
        's' => "stop",
        _ => "start",
    }
}

/// Draws until `q`, Ctrl-C or the end of the exchange.
fn watch(socket: &Path, out: &Output) -> Result<Exit, String> {
    let mut signals = Signals::install().map_err(|e| e.to_string())?;
    let Some(keyboard) = Keys::new().ok().filter(|_| terminal::size().is_some()) else {
        out.problem(
            "there is no terminal to draw on",
            Some("`docker exec -it`, or `switchhook top --once` for one frame"),
        );
        return Ok(Exit::No);
    };
    let follow = Request::Events {
        last: 0,
        after: 0,
        follow: true,
    };
    let stream = open(socket, &follow).map_err(|e| e.to_string())?;
    let mut lines = Lines::new(stream);
    let mut session = Session {
        socket,
        selected: 0,
        pending: None,
        message: HELP.to_owned(),
    };
    // The other screen, without a cursor; both are put back below, whatever happens between.
    out.picture("\x1b[?1049h\x1b[?25l");
    let ended = draw_until_quit(&mut session, &mut lines, &mut signals, &keyboard, out);
    out.picture("\x1b[?25h\x1b[?1049l");
    ended.map(|()| Exit::Ok)
}

fn draw_until_quit(
    session: &mut Session<'_>,
    lines: &mut Lines,
    signals: &mut Signals,
    keyboard: &Keys,
    out: &Output,
) -> Result<(), String> {
    let mut meter = Meter::default();
    let stdin = std::io::stdin();
    loop {
        let status = reach(session.socket)?;
        let census = census(&status);
        let rows = rows(&status, &census, &meter);
        meter = Meter::of(&census);
        let (width, height) = terminal::size().unwrap_or((80, 24));
        session.selected = session.selected.min(rows.len().saturating_sub(1));
        let drawn = Stopwatch::start();
        let mut is_new = false;
        loop {
            let mut view = View::new(width, height, out);
            view.selected = Some(session.selected);
            view.message.clone_from(&session.message);
            let picture = frame(&status, &rows, &view).replace('\n', "\x1b[K\r\n");
            out.picture(&format!("\x1b[H{picture}\x1b[J"));
            if out.is_broken() {
                return Ok(());
            }
            let until = if is_new { SHORTEST_INTERVAL } else { INTERVAL };
            let left = until.saturating_sub(drawn.elapsed());
            if left.is_zero() {
                break;
            }
            let mut fds = [
                PollFd::new(signals.descriptor(), PollFlags::POLLIN),
                PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
                PollFd::new(lines.stream().as_fd(), PollFlags::POLLIN),
            ];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno.to_string()),
            }
            let has = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(false));
            let (typed, told) = (has(1), has(2));
            if signals.pending().contains(&signal::Request::Stop) {
                return Ok(());
            }
            if typed {
                let Some(bytes) = keyboard.read(stdin.as_fd()) else {
                    return Ok(());
                };
                for key in keys(&bytes) {
                    if !session.press(key, &status) {
                        return Ok(());
                    }
                }
            }
            if told {
                let replies = lines.read().map_err(|e| e.to_string())?;
                let Some(replies) = replies else {
                    return Err("the exchange ended the conversation".to_owned());
                };
                for reply in replies {
                    match reply {
                        Reply::Event(event) => {
                            is_new = true;
                            if session.pending.is_none() {
                                session.message = line(&event);
                            }
                        }
                        Reply::Refused { reason } => return Err(reason),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::control::ServiceStatus;

    fn status() -> Status {
        let service = |name: &str| ServiceStatus {
            name: name.into(),
            ..ServiceStatus::default()
        };
        Status {
            version: "1.2.3".into(),
            ready: true,
            uptime_ms: 61_000,
            services: vec![service("a"), service("b")],
            ..Status::default()
        }
    }

    fn row(name: &str) -> Row {
        Row {
            name: name.into(),
            state: "running".into(),
            pid: Some(17),
            cpu: 123,
            memory: 5_500_000,
            threads: 42,
            descriptors: 60,
            restarts: 1,
            since: Duration::from_secs(3725),
            last: "ready after 0.800 s".into(),
        }
    }

    #[test]
    fn a_frame_fits_into_its_terminal() {
        let mut view = View {
            width: 80,
            height: 24,
            colour: false,
            unicode: true,
            selected: None,
            message: String::new(),
        };
        let rows = [row("asterisk"), row("b")];
        insta::assert_snapshot!(frame(&status(), &rows, &view), @r"
        switchhook 1.2.3: ready, up 1m 1s
        SERVICE        STATE        PID  CPU%    MEM  THR   FD  RST     FOR  LAST EVENT
        asterisk       running       17  12.3   5.2M   42   60    1    1h2m  ready
        b              running       17  12.3   5.2M   42   60    1    1h2m  ready
        ");
        view.width = 100;
        let wide = frame(&status(), &rows, &view);
        assert!(wide.contains("1h2m  ready after 0.800 s\n"), "{wide}");
        view.width = 80;
        view.height = 5;
        view.selected = Some(1);
        let text = frame(&status(), &rows, &view);
        assert!(!text.contains("asterisk") && text.contains("> "), "{text}");
    }

    #[test]
    fn the_share_is_that_since_the_last_look() {
        let mut process = Process {
            pid: 1,
            parent: 0,
            state: 'S',
            command: String::new(),
            ticks: 50,
            started: 100,
            threads: 1,
            memory: 0,
            descriptors: None,
        };
        let mut meter = Meter::default();
        assert_eq!(meter.share(&process, 200), 500);
        meter.at = 200;
        meter.ticks.insert(1, (100, 40));
        assert_eq!(meter.share(&process, 300), 100);
        // The number is another process's now.
        process.started = 250;
        assert_eq!(meter.share(&process, 300), 1000);
    }

    #[test]
    fn an_order_needs_a_yes() {
        let mut session = Session {
            socket: Path::new("/nowhere"),
            selected: 0,
            pending: None,
            message: String::new(),
        };
        let status = status();
        assert!(session.press(Key::Down, &status) && session.press(Key::Down, &status));
        assert_eq!(session.selected, 1);
        assert!(session.press(Key::Letter(b's'), &status));
        assert_eq!(session.message, "stop b? y/n");
        assert!(session.press(Key::Letter(b'n'), &status));
        assert_eq!(session.message, "left as it is");
        session.press(Key::Letter(b'r'), &status);
        session.press(Key::Letter(b'y'), &status);
        assert!(session.message.contains("/nowhere"), "{}", session.message);
        assert!(!session.press(Key::Letter(b'q'), &status));
    }

    #[test]
    fn arrows_are_keys_and_other_sequences_are_nothing() {
        assert_eq!(keys(b"\x1b[A\x1bOBj"), [Key::Up, Key::Down, Key::Down]);
        assert_eq!(keys(b"r\x1b[15~s"), [Key::Letter(b'r')]);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(512 * 1024), "512K");
        assert_eq!(size(3_670_016), "3.5M");
        assert_eq!(size(1_288_490_189), "1.1G");
    }
}
