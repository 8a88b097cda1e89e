//! Lines that something says over time, kept whole, with a bounded wait for the one that matters.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long an event may take on a machine with much else to do. Nothing is measured by it: it ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

/// What was said so far, shared with the thread that reads it.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Said>, Condvar)>);

impl Lines {
    /// Reads lines in a thread of its own until the source ends.
    pub fn follow(source: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(source);
            let mut raw = Vec::new();
            while matches!(reader.read_until(b'\n', &mut raw), Ok(count) if count > 0) {
                writer.push(String::from_utf8_lossy(&raw).trim_end().to_owned());
                raw.clear();
            }
            writer.end();
        });
        lines
    }

    pub fn push(&self, line: String) {
        let (said, changed) = &*self.0;
        said.lock().unwrap().lines.push(line);
        changed.notify_all();
    }

    pub fn end(&self) {
        let (said, changed) = &*self.0;
        said.lock().unwrap().ended = true;
        changed.notify_all();
    }

    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap().lines.len()
    }

    /// The first line from `start` on that is wanted, and the number of the line after it.
    pub fn wait_from(
        &self,
        start: usize,
        what: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> (String, usize) {
        let deadline = Instant::now() + PATIENCE;
        let (said, changed) = &*self.0;
        let mut said = said.lock().unwrap();
        let mut seen = start;
        loop {
            while seen < said.lines.len() {
                seen += 1;
                if wanted(&said.lines[seen - 1]) {
                    return (said.lines[seen - 1].clone(), seen);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.ended || left.is_zero() {
                let why = if said.ended { "it ended" } else { "time is up" };
                let tail = said.lines.len().saturating_sub(60);
                let lines = said.lines[tail..].join("\n");
                // A poisoned lock would hide what was said from whoever looks next.
                drop(said);
                panic!("waited for {what}, but {why}; it said:\n{lines}");
            }
            said = changed.wait_timeout(said, left).unwrap().0;
        }
    }

    pub fn wait_for(&self, text: &str) -> String {
        self.wait_from(0, text, |line| line.contains(text)).0
    }

    /// Waits until nothing more will be said.
    pub fn wait_end(&self) {
        let (said, changed) = &*self.0;
        let said = said.lock().unwrap();
        let (said, timeout) = changed
            .wait_timeout_while(said, PATIENCE, |said| !said.ended)
            .unwrap();
        drop(said);
        assert!(!timeout.timed_out(), "it did not come to its end in time");
    }
}

/// Asks until the answer is there; the pause only spares the machine.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(answer) if Instant::now() >= deadline => {
                panic!("waited for {what}, and the last answer was: {answer}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
