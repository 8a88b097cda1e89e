//! `switchhook tree`: the services in the order of what waits for what, with their sockets, timers and real processes.
//!
//! A service stands below the last of those that it waits for; the others are named beside it. Lines for people are
//! cut at 80 columns, or at the terminal's width when that is more.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::RootArgs;
use super::output::{Exit, Output};
use super::processes::{Census, Process, census};
use super::reach::reach;
use super::status::{due_in, span};
use crate::init::control::{ServiceStatus, Status};
use crate::sys::clock::unix_millis;
use crate::sys::terminal;

const WIDTH: usize = 80;

#[derive(Debug, Args)]
pub struct TreeArgs {
    /// One JSON object instead of a picture
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Serialize)]
struct Shown<'a> {
    phase: &'a str,
    containment: &'a str,
    services: Vec<ShownService<'a>>,
    /// Processes below PID 1 that are no service's.
    others: &'a [Process],
}

#[derive(Serialize)]
struct ShownService<'a> {
    name: &'a str,
    state: &'a str,
    pid: Option<i32>,
    waits_for: &'a [String],
    sockets: &'a [crate::init::control::SocketStatus],
    timers: Vec<&'a str>,
    processes: &'a [Process],
}

/// Exit code 0, 2 when PID 1 does not answer.
pub fn run(args: &TreeArgs) -> ExitCode {
    let out = Output::new(args.json);
    let status = match reach(&args.root.paths().control_socket()) {
        Ok(status) => status,
        Err(problem) => {
            out.problem(&problem, None);
            return out.finish(Exit::Failed);
        }
    };
    let census = census(&status);
    if out.is_json() {
        out.json(&shown(&status, &census));
    } else {
        let width = terminal::size().map_or(WIDTH, |(columns, _)| columns.max(WIDTH));
        let style = Style {
            width,
            colour: out.colour(),
            unicode: out.unicode(),
        };
        out.picture(&picture(&status, &census, unix_millis(), style));
    }
    out.finish(Exit::Ok)
}

fn shown<'a>(status: &'a Status, census: &'a Census) -> Shown<'a> {
    let services = status.services.iter().zip(&census.services);
    Shown {
        phase: &status.phase,
        containment: &status.containment,
        services: services
            .map(|(service, processes)| ShownService {
                name: &service.name,
                state: &service.state,
                pid: service.pid,
                waits_for: &service.waits_for,
                sockets: &service.sockets,
                timers: timers_of(status, service)
                    .map(|timer| timer.name.as_str())
                    .collect(),
                processes,
            })
            .collect(),
        others: &census.others,
    }
}

fn timers_of<'a>(
    status: &'a Status,
    service: &'a ServiceStatus,
) -> impl Iterator<Item = &'a crate::init::control::TimerStatus> {
    let timers = status.timers.iter();
    timers.filter(|timer| timer.service == service.name)
}

/// How a picture is drawn.
#[derive(Debug, Clone, Copy)]
struct Style {
    width: usize,
    colour: bool,
    unicode: bool,
}

/// A line with what hangs below it; `state` colours the line.
struct Node {
    text: String,
    state: Option<String>,
    below: Vec<Node>,
}

impl Node {
    fn leaf(text: String) -> Node {
        Node {
            text,
            state: None,
            below: Vec::new(),
        }
    }
}

fn picture(status: &Status, census: &Census, now_ms: i64, style: Style) -> String {
    let head = format!(
        "switchhook {} (pid {}): {}, containment {}",
        status.version,
        status.pid,
        if status.ready { "ready" } else { &status.phase },
        status.containment
    );
    let mut root = Node::leaf(head);
    for (index, service) in status.services.iter().enumerate() {
        if parent(status, service).is_none() {
            root.below.push(node(status, census, now_ms, index));
        }
    }
    if !census.others.is_empty() {
        let mut others = Node::leaf("of no service".to_owned());
        others.below = process_nodes(&census.others);
        root.below.push(others);
    }
    let mut text = String::new();
    draw(&root, "", None, style, &mut text);
    text
}

/// The service below which this one hangs: the last in start order of those that it waits for.
fn parent(status: &Status, service: &ServiceStatus) -> Option<usize> {
    let named = service.waits_for.iter();
    let places = named.filter_map(|name| status.services.iter().position(|s| s.name == *name));
    places.max()
}

fn node(status: &Status, census: &Census, now_ms: i64, index: usize) -> Node {
    let Some(service) = status.services.get(index) else {
        return Node::leaf(String::new());
    };
    let mut text = format!("{}  {}", service.name, service.state);
    if service.started_ms.is_some() || service.pid.is_some() {
        let since = std::time::Duration::from_millis(service.state_for_ms);
        text.push_str(&format!(" {}", span(since)));
    }
    if let Some(pid) = service.pid {
        text.push_str(&format!(", pid {pid}"));
    }
    let above = parent(status, service).and_then(|index| status.services.get(index));
    let also: Vec<&str> = service
        .waits_for
        .iter()
        .filter(|name| above.is_none_or(|above| above.name != **name))
        .map(String::as_str)
        .collect();
    if !also.is_empty() {
        text.push_str(&format!(", also after {}", also.join(", ")));
    }
    let mut below = Vec::new();
    for socket in &service.sockets {
        below.push(Node::leaf(format!(
            "socket {}  {}",
            socket.name, socket.address
        )));
    }
    for timer in timers_of(status, service) {
        let due = due_in(timer.due_ms, now_ms);
        below.push(Node::leaf(format!("timer {}  {due}", timer.name)));
    }
    below.extend(process_nodes(
        census.services.get(index).map_or(&[], Vec::as_slice),
    ));
    for (other, candidate) in status.services.iter().enumerate() {
        if parent(status, candidate) == Some(index) {
            below.push(node(status, census, now_ms, other));
        }
    }
    Node {
        text,
        state: Some(service.state.clone()),
        below,
    }
}

/// A list of processes as trees by their parents.
fn process_nodes(processes: &[Process]) -> Vec<Node> {
    let is_root = |process: &&Process| processes.iter().all(|p| p.pid != process.parent);
    let roots = processes.iter().filter(is_root);
    roots
        .map(|process| process_node(process, processes))
        .collect()
}

fn process_node(process: &Process, all: &[Process]) -> Node {
    let children = all.iter().filter(|p| p.parent == process.pid);
    Node {
        text: format!("{} {}", process.pid, process.command),
        state: None,
        below: children.map(|child| process_node(child, all)).collect(),
    }
}

fn draw(node: &Node, indent: &str, last: Option<bool>, style: Style, out: &mut String) {
    let (branch, corner, bar) = if style.unicode {
        ("├─ ", "└─ ", "│  ")
    } else {
        ("|- ", "`- ", "|  ")
    };
    let lead = match last {
        None => "",
        Some(true) => corner,
        Some(false) => branch,
    };
    let room = style
        .width
        .saturating_sub(indent.chars().count() + lead.chars().count());
    let text = cut(&node.text, room, style.unicode);
    let colour = node.state.as_deref().filter(|_| style.colour).map(colour);
    match colour {
        Some(code) => out.push_str(&format!("{indent}{lead}\x1b[{code}m{text}\x1b[0m\n")),
        None => out.push_str(&format!("{indent}{lead}{text}\n")),
    }
    let below = match last {
        None => String::new(),
        Some(true) => format!("{indent}   "),
        Some(false) => format!("{indent}{bar}"),
    };
    let count = node.below.len();
    for (index, child) in node.below.iter().enumerate() {
        draw(child, &below, Some(index + 1 == count), style, out);
    }
}

/// The escape code of a state.
pub fn colour(state: &str) -> &'static str {
    match state {
        "running" | "done" => "32",
        "failed" | "pausing" => "31",
        "stopped" => "2",
        _ => "33",
    }
}

/// At most `room` columns, without control characters: command lines are not ours.
pub fn cut(text: &str, room: usize, unicode: bool) -> String {
    let shown: Vec<char> = text
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if shown.len() <= room {
        return shown.into_iter().collect();
    }
    let mark = if unicode { '…' } else { '>' };
    let kept = shown.into_iter().take(room.saturating_sub(1));
    kept.chain([mark]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::control::{SocketStatus, TimerStatus};

    fn service(name: &str, pid: i32, waits_for: &[&str]) -> ServiceStatus {
        ServiceStatus {
            name: name.into(),
            state: "running".into(),
            pid: Some(pid),
            state_for_ms: 61_000,
            waits_for: waits_for.iter().map(ToString::to_string).collect(),
            ..ServiceStatus::default()
        }
    }

    fn process(pid: i32, parent: i32, command: &str) -> Process {
        Process {
            pid,
            parent,
            state: 'S',
            command: command.into(),
            ticks: 0,
            started: 0,
            threads: 1,
            memory: 0,
            descriptors: None,
        }
    }

    #[test]
    fn the_tree_is_readable() {
        let mut asterisk = service("asterisk", 20, &["certs", "logd"]);
        asterisk.sockets.push(SocketStatus {
            name: "asterisk-cli".into(),
            address: "unix /run/asterisk/asterisk.ctl".into(),
            ..SocketStatus::default()
        });
        let mut backup = service("backup", 0, &[]);
        backup.pid = None;
        backup.state = "stopped".into();
        let status = Status {
            version: "1.2.3".into(),
            pid: 1,
            ready: true,
            containment: "group".into(),
            services: vec![
                service("logd", 10, &[]),
                service("certs", 11, &["logd"]),
                asterisk,
                backup,
            ],
            timers: vec![TimerStatus {
                name: "backup".into(),
                service: "backup".into(),
                due_ms: Some(3_600_000),
                last_start_ms: None,
            }],
            ..Status::default()
        };
        let long = format!("asterisk -f {}", "x".repeat(100));
        let census = Census {
            services: vec![
                vec![process(10, 1, "switchhook logd")],
                vec![process(11, 1, "switchhook certs")],
                vec![process(20, 1, &long), process(21, 20, "sh -c \x1b[31m")],
                vec![],
            ],
            others: vec![process(99, 1, "hook")],
        };
        let style = Style {
            width: 60,
            colour: false,
            unicode: true,
        };
        insta::assert_snapshot!(picture(&status, &census, 0, style), @r"
        switchhook 1.2.3 (pid 1): ready, containment group
        ├─ logd  running 1m 1s, pid 10
        │  ├─ 10 switchhook logd
        │  └─ certs  running 1m 1s, pid 11
        │     ├─ 11 switchhook certs
        │     └─ asterisk  running 1m 1s, pid 20, also after logd
        │        ├─ socket asterisk-cli  unix /run/asterisk/asteris…
        │        └─ 20 asterisk -f xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        │           └─ 21 sh -c ?[31m
        ├─ backup  stopped
        │  └─ timer backup  due in 1h 0m
        └─ of no service
           └─ 99 hook
        ");
        let plain = Style {
            width: 40,
            colour: true,
            unicode: false,
        };
        let text = picture(&status, &census, 0, plain);
        assert!(text.contains("|- \x1b[32mlogd  running"), "{text}");
    }
}
