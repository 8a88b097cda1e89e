//! What PID 1 itself says: straight to the container's output at first, through `logd` once that runs.
//!
//! Never blocks: a full pipe costs the line, and the next line that fits tells how many were lost. Lines that are held
//! keep their order.

use std::os::fd::{AsFd, OwnedFd};

use crate::config::LogFormat;
use crate::logd::OWN_NAME;
use crate::logd::syslog::{NOTICE, Record, is_shown, render};
use crate::sys::clock::wall_clock;
use crate::sys::output::{SharedOutput, Written};

/// PID 1's own voice.
#[derive(Debug)]
pub struct Journal {
    pipe: Option<OwnedFd>,
    level: u8,
    format: LogFormat,
    lost: u64,
    /// Standard error, from the first line on; `None` before it, and when it is closed.
    direct: Option<SharedOutput>,
    /// While it is above 0, lines are kept for later.
    holds: u32,
    held: Vec<(u8, String)>,
}

impl Journal {
    /// Speaks straight to standard error; `level` as in `SYSLOG_LEVEL`.
    pub fn direct(level: u8, format: LogFormat) -> Journal {
        let level = if level == 0 { 0 } else { level.max(NOTICE + 1) };
        Journal {
            pipe: None,
            level,
            format,
            lost: 0,
            direct: None,
            holds: 0,
            held: Vec::new(),
        }
    }

    /// From now on lines wait until as many calls of `release`: what is urgent comes before the telling.
    pub fn hold(&mut self) {
        self.holds += 1;
    }

    /// The end of one `hold`; after the last one the lines are written, in their order.
    pub fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
        if self.holds == 0 {
            for (severity, line) in std::mem::take(&mut self.held) {
                self.write_line(severity, &line);
            }
        }
    }

    /// The end of every `hold`, for when a turn of the loop was lost.
    pub fn release_all(&mut self) {
        self.holds = 0;
        self.release();
    }

    /// From now on lines go into this pipe, which must not block.
    pub fn switch_to(&mut self, pipe: OwnedFd) {
        self.pipe = Some(pipe);
    }

    /// Back to standard error, for when `logd` is gone.
    pub fn switch_to_direct(&mut self) {
        self.pipe = None;
    }

    /// Prints somebody else's line, if the level shows it.
    pub fn relay(&mut self, record: &Record, level: u8) {
        let level = if record.service == OWN_NAME {
            self.level
        } else {
            level
        };
        if is_shown(record, level) {
            self.print(&render(record, self.format, &wall_clock()));
        }
    }

    pub fn say(&mut self, severity: u8, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            self.say_line(severity, line);
        }
    }

    fn say_line(&mut self, severity: u8, line: &str) {
        if self.holds > 0 {
            self.held.push((severity, line.to_owned()));
        } else {
            self.write_line(severity, line);
        }
    }

    fn print(&mut self, line: &str) {
        if self.direct.is_none() {
            self.direct = SharedOutput::new(std::io::stderr().as_fd()).ok();
        }
        if let Some(output) = &mut self.direct {
            print_line(output, line);
        }
    }

    fn write_line(&mut self, severity: u8, line: &str) {
        let Some(pipe) = &self.pipe else {
            if severity < self.level {
                let record = Record {
                    service: OWN_NAME.to_owned(),
                    severity,
                    text: line.to_owned(),
                };
                self.print(&render(&record, self.format, &wall_clock()));
            }
            return;
        };
        if self.lost > 0 {
            let told = format!("<4>{} lines of this process were lost\n", self.lost);
            if nix::unistd::write(pipe.as_fd(), told.as_bytes()).is_ok() {
                self.lost = 0;
            }
        }
        // A write of at most PIPE_BUF bytes is whole or not at all (pipe(7)).
        let mut text = format!("<{severity}>{line}");
        let mut end = text.len().min(4000);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('\n');
        if nix::unistd::write(pipe.as_fd(), text.as_bytes()).is_err() {
            self.lost += 1;
        }
    }
}

/// One line on standard error. One that is gone, or full because nobody reads it, is no reason to end or wait.
pub fn print_direct(line: &str) {
    if let Ok(mut output) = SharedOutput::new(std::io::stderr().as_fd()) {
        print_line(&mut output, line);
    }
}

fn print_line(output: &mut SharedOutput, line: &str) {
    let text = format!("{line}\n");
    let mut rest = text.as_bytes();
    while let Written::Some(length) = output.write(rest) {
        rest = rest.get(length..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
    }
}
