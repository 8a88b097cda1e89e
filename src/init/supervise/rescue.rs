//! What PID 1 does when its own code fails: the turn of the loop is lost, the exchange is not.
//!
//! A panic is told and counted, and the loop goes on. When turn after turn fails, PID 1 goes down to what must never
//! end: it reaps, it passes a stop on, and it ends when its last child has ended. Calls in progress survive both.

use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Supervisor;
use crate::init::EXIT_FAILED;
use crate::logd::syslog::ERROR;
use crate::sys::process;
use crate::sys::signal::Request;

/// So many turns in a row that fail are more than one bad event.
const MOST_FAILED_TURNS: u32 = 8;

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps a panic's text for the log instead of printing it: standard error may be full, and a print would wait.
pub(super) fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        LAST_PANIC.with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = panic.to_string().replace('\n', " ");
            }
        });
    }));
}

impl Supervisor {
    /// Turns until the end; the value is the container's exit code.
    pub fn go_on(mut self) -> i32 {
        keep_panics();
        let mut failed = 0;
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(Some(code)) => return code,
                Ok(None) => failed = 0,
                Err(_) => {
                    failed += 1;
                    self.journal.release_all();
                    let what = LAST_PANIC.with(|last| last.borrow().clone());
                    let text = format!("a defect of switchhook, please report it: {what}");
                    self.journal.say(ERROR, text);
                    if failed >= MOST_FAILED_TURNS {
                        return self.rescue();
                    }
                }
            }
        }
    }

    /// Reaps and passes a stop on, and no more, until nothing is left.
    fn rescue(&mut self) -> i32 {
        self.journal.say(
            ERROR,
            "no more orders can be taken: services run on unsupervised until the container is stopped",
        );
        let mut orders = 0;
        let mut told = HashSet::new();
        loop {
            while let Some((pid, _)) = process::peek_ended() {
                process::reap(pid);
                told.remove(&pid);
            }
            let children = process::children();
            if children.is_empty() {
                return EXIT_FAILED;
            }
            // Not reaped yet, so each number is still its own. Orphans of the stopped come to us, and are told too.
            for pid in children {
                match orders {
                    0 => {}
                    1 if !told.insert(pid) => {}
                    1 => process::signal_one(pid, libc::SIGTERM),
                    _ => process::signal_one(pid, libc::SIGKILL),
                }
            }
            self.signals.wait();
            let pending = self.signals.pending();
            if pending.contains(&Request::Stop) {
                orders += 1;
                // The log service ends with its channel.
                self.log_channel = None;
            }
        }
    }
}
