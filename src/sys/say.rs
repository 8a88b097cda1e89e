//! Lines of our services, on stderr with a level in front (sd-daemon(3)); the log service takes them from there.
//!
//! Invariant: no character of a stranger's reaches a terminal or begins a line.

use std::io::Write;

pub const ERROR: u8 = 3;
pub const WARNING: u8 = 4;
pub const NOTICE: u8 = 5;
pub const INFO: u8 = 6;

/// Says a text, its hint on a line of its own. A reader who is gone is no error of ours.
pub fn say(level: u8, text: &str) {
    let mut out = String::new();
    for line in text.lines() {
        let shown: String = line.chars().flat_map(visible).collect();
        out.push_str(&format!("<{level}>{shown}\n"));
    }
    let _ = std::io::stderr().lock().write_all(out.as_bytes());
}

fn visible(c: char) -> Vec<char> {
    if c.is_control() {
        c.escape_default().collect()
    } else {
        vec![c]
    }
}
