//! What is told of requests: a row each in the spool, and a line in the log for those that were refused.
//!
//! Invariant: neither holds a text, a secret or a query, and a flood of requests is no flood of lines.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::sys::clock;
use crate::sys::say::{ERROR, NOTICE, WARNING, say};
use crate::websms::spool::{Request, Spool};

use super::answer::Verdict;

/// Lines between two breaths.
const LINES: u32 = 10;
/// Of a path and of a method, in characters.
const LONGEST_PATH: usize = 256;
const LONGEST_METHOD: usize = 16;

/// Whose request it was.
#[derive(Debug)]
pub struct Asked<'a> {
    pub interface: Option<String>,
    pub sender: String,
    pub method: &'a str,
    pub path: &'a str,
}

#[derive(Debug, Default)]
pub struct Protocol {
    said: AtomicU32,
    left_out: AtomicU64,
}

impl Protocol {
    pub fn note(&self, spool: &Spool, asked: Asked<'_>, verdict: &Verdict) {
        let path: String = asked.path.chars().take(LONGEST_PATH).collect();
        let method: String = asked.method.chars().take(LONGEST_METHOD).collect();
        if !verdict.is_taken() {
            self.tell(&asked, &method, &path, verdict);
        }
        spool.request(Request {
            at: clock::unix_millis(),
            interface: asked.interface,
            peer: asked.sender,
            method,
            path,
            status: verdict.status,
            reason: verdict.reason.clone(),
        });
    }

    fn tell(&self, asked: &Asked<'_>, method: &str, path: &str, verdict: &Verdict) {
        if self.said.fetch_add(1, Ordering::Relaxed) >= LINES {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Strangers knock all day; what a carrier loses is another matter.
        let level = match &asked.interface {
            Some(_) => WARNING,
            None => NOTICE,
        };
        let (sender, status, reason) = (&asked.sender, verdict.status, &verdict.reason);
        let of = asked.interface.as_ref().map(|name| format!(" of {name}"));
        let of = of.unwrap_or_default();
        say(
            level,
            &format!("{method} `{path}`{of} from {sender}: {status}, {reason}"),
        );
    }

    /// Some time went by.
    pub fn breathe(&self) {
        self.said.store(0, Ordering::Relaxed);
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            say(WARNING, &format!("{left_out} more requests were refused"));
        }
    }
}

pub fn cannot_listen(error: &io::Error) {
    say(ERROR, &format!("cannot listen to carriers: {error}"));
}
