//! Cuts the bytes of a manager connection into frames, strictly.
//!
//! Pure. A frame is lines that end in CR LF, and an empty line (Asterisk, main/manager.c). SIP lets a stranger bring bytes
//! into the values of a security event, so a frame that is not exactly as Asterisk writes it is [`Frame::Hostile`], together
//! with what follows of the event that it tears apart. Invariant: the buffer never holds more than one frame's limit and
//! what was fed last, and every cut of the same bytes gives the same frames.
//!
//! The last line `RemoteAddress` of such a frame names its author only where `SessionID` and `LocalAddress` stand right
//! before it: those are Asterisk's own, and longer than what fits into a field.
//!
//! A short response, or an event without a privilege, can still be made up by a stranger. So an answer counts only with
//! an `ActionID` that nobody can guess.

use super::address::Peer;
use super::event::{self, SecurityEvent};
use super::lines::split;
pub use super::lines::{Lines, Suspicion};

/// The longest line, without its end, in bytes. What Asterisk writes of an honest request is far below.
pub const MAX_LINE: usize = 4096;

/// The longest frame in bytes.
pub const MAX_FRAME: usize = 64 * 1024;

/// What the stream holds next.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The first line of a connection, such as `Asterisk Call Manager/11.0.0`.
    Banner(&'a str),
    Security(SecurityEvent<'a>),
    /// A response, or an event of another kind.
    Other(Lines<'a>),
    Hostile(Hostile),
}

/// A frame that Asterisk did not mean to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hostile {
    pub suspicion: Suspicion,
    /// Who made it, where that is certain.
    pub author: Option<Peer>,
}

/// Cuts one connection's bytes. Feed it what was read, then take frames until there is none.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Where the current frame begins, and how far it is scanned.
    begin: usize,
    scanned: usize,
    /// Where the current frame's lines begin, counted from `begin`.
    starts: Vec<u32>,
    greeted: bool,
    /// What the current frame is already known for.
    suspicion: Option<Suspicion>,
    /// Its bytes are no longer kept.
    overflow: Overflow,
    /// An event was torn apart, and its own end has not come yet.
    torn: bool,
}

/// What is still looked for in a frame that is too long to be kept.
#[derive(Debug, Default)]
struct Overflow {
    active: bool,
    /// The bytes of the current line are thrown away.
    in_line: bool,
    tail: Tail,
}

/// How much of `SessionID`, `LocalAddress`, `RemoteAddress` has just gone by.
#[derive(Debug, Default, Clone, Copy)]
struct Tail {
    matched: u8,
    author: Option<Peer>,
}

impl Tail {
    fn line(&mut self, line: &[u8]) {
        if line.starts_with(b"SessionID: ") {
            self.matched = 1;
        } else if self.matched == 1
            && line
                .strip_prefix(b"LocalAddress: ")
                .is_some_and(|value| Peer::parse(value).is_some())
        {
            self.matched = 2;
        } else if let (2, Some(value)) = (self.matched, line.strip_prefix(b"RemoteAddress: ")) {
            self.matched = 0;
            self.author = Peer::parse(value).or(self.author);
        } else {
            self.matched = 0;
        }
    }
}

impl Framer {
    #[must_use]
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Takes bytes as they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.begin > 0 {
            self.buffer.drain(..self.begin);
            self.scanned -= self.begin;
            self.begin = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` until more is fed.
    #[allow(clippy::should_implement_trait, reason = "a frame borrows the buffer")]
    pub fn next(&mut self) -> Option<Frame<'_>> {
        if !self.greeted {
            return self.banner();
        }
        loop {
            let line = self.line()?;
            match line {
                Line::Part => {}
                Line::End => break,
            }
        }
        let (begin, end) = (self.begin, self.scanned);
        self.begin = end;
        if self.overflow.active {
            let author = self.overflow.tail.author;
            self.overflow = Overflow::default();
            let suspicion = self.suspicion.take().unwrap_or(Suspicion::FrameTooLong);
            self.torn = self.torn && author.is_none();
            return Some(Frame::Hostile(Hostile { suspicion, author }));
        }
        let lines = Lines {
            bytes: self.buffer.get(begin..end).unwrap_or_default(),
            starts: &self.starts,
        };
        let suspicion = self.suspicion.take();
        Some(judge(lines, suspicion, &mut self.torn))
    }

    /// The first line.
    fn banner(&mut self) -> Option<Frame<'_>> {
        let unread = self.buffer.get(self.begin..).unwrap_or_default();
        let limit = unread.len().min(256);
        let Some(at) = unread.iter().take(limit).position(|b| *b == b'\n') else {
            if limit < 256 {
                return None;
            }
            self.greeted = true;
            return Some(Frame::Hostile(Hostile {
                suspicion: Suspicion::NoBanner,
                author: None,
            }));
        };
        self.greeted = true;
        let line = unread.get(..at).unwrap_or_default();
        let text = line
            .strip_suffix(b"\r")
            .and_then(|line| std::str::from_utf8(line).ok())
            .filter(|text| text.contains(" Call Manager/") && !text.contains(|c: char| c < ' '));
        self.begin += at + 1;
        self.scanned = self.begin;
        Some(text.map_or(
            Frame::Hostile(Hostile {
                suspicion: Suspicion::NoBanner,
                author: None,
            }),
            Frame::Banner,
        ))
    }

    /// Goes on to the end of the next line; `None` if it has not come yet.
    fn line(&mut self) -> Option<Line> {
        if self.scanned == self.begin && !self.overflow.active {
            self.starts.clear();
            self.starts.push(0);
        }
        let line_start = match self.overflow.active {
            true => self.begin,
            false => self.begin + self.starts.last().copied().unwrap_or(0) as usize,
        };
        let mut at = self.scanned;
        let mut bad = false;
        let found = loop {
            // Only the control bytes matter.
            let rest = self.buffer.get(at..).unwrap_or_default();
            let Some((offset, byte)) = next_control(rest) else {
                at += rest.len();
                break None;
            };
            at += offset + 1;
            match byte {
                b'\n' => {
                    let before = at.checked_sub(2).filter(|before| *before >= line_start);
                    match before.and_then(|before| self.buffer.get(before)) {
                        Some(b'\r') => break Some(at),
                        _ => bad = true,
                    }
                }
                // What comes after it is seen at once, or when the next byte is here.
                b'\r' => match self.buffer.get(at) {
                    Some(b'\n') => {}
                    Some(_) => bad = true,
                    None => {
                        at -= 1;
                        break None;
                    }
                },
                0 => bad = true,
                _ => {}
            }
        };
        self.scanned = at;
        if self.overflow.active {
            return self.overflowed_line(found, line_start);
        }
        let (line_limit, frame_limit) = (line_start + MAX_LINE + 2, self.begin + MAX_FRAME);
        if at > line_limit.min(frame_limit) {
            self.suspicion = Some(match line_limit < frame_limit {
                true => Suspicion::LineTooLong,
                false => Suspicion::FrameTooLong,
            });
            self.begin_overflow(line_start);
            return self.overflowed_line(found, line_start);
        }
        if bad {
            self.suspicion.get_or_insert(Suspicion::ControlByte);
        }
        let length = at - line_start;
        let end = found?;
        if length == 2 {
            return Some(Line::End);
        }
        self.starts.push((end - self.begin) as u32);
        Some(Line::Part)
    }

    /// From here on the frame is only looked through.
    fn begin_overflow(&mut self, line_start: usize) {
        let lines = Lines {
            bytes: self.buffer.get(self.begin..).unwrap_or_default(),
            starts: &self.starts,
        };
        let mut tail = Tail::default();
        for at in 0..lines.len() {
            tail.line(lines.line(at).unwrap_or_default());
        }
        self.overflow = Overflow {
            active: true,
            in_line: false,
            tail,
        };
        self.begin = line_start;
    }

    fn overflowed_line(&mut self, found: Option<usize>, line_start: usize) -> Option<Line> {
        let end = found.map_or(self.scanned, |end| end - 2);
        let line = self.buffer.get(line_start..end).unwrap_or_default();
        let is_end = line.is_empty() && !self.overflow.in_line;
        // The beginning of a line that is too long says which header it is.
        let kept = line.get(..MAX_LINE).unwrap_or(line);
        if !self.overflow.in_line && !is_end && (found.is_some() || line.len() > MAX_LINE) {
            self.overflow.tail.line(kept);
        }
        match found {
            Some(end) => {
                self.overflow.in_line = false;
                self.begin = end;
                Some(if is_end { Line::End } else { Line::Part })
            }
            None => {
                if line.len() > MAX_LINE || self.overflow.in_line {
                    self.overflow.in_line = true;
                    self.begin = self.scanned;
                }
                None
            }
        }
    }
}

/// The first byte up to CR, and where it is: eight bytes at a time are looked at together.
fn next_control(bytes: &[u8]) -> Option<(usize, u8)> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = ONES << 7;
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The top bit of each byte below 14; a borrow can only mark a byte above a true one.
        let below = word.wrapping_sub(ONES * 14) & !word & TOPS;
        if below != 0 {
            let place = below.trailing_zeros();
            let offset = index * 8 + (place / 8) as usize;
            return Some((offset, (word >> (place - 7)) as u8));
        }
    }
    let done = words.len() * 8;
    let rest = bytes.get(done..).unwrap_or_default();
    let offset = rest.iter().position(|b| *b <= b'\r')?;
    Some((done + offset, *rest.get(offset)?))
}

enum Line {
    Part,
    /// The empty line that ends a frame.
    End,
}

/// What a whole frame is.
fn judge<'a>(lines: Lines<'a>, suspicion: Option<Suspicion>, torn: &mut bool) -> Frame<'a> {
    let claimed = event::is_claimed(&lines);
    let suspicion = match suspicion {
        Some(suspicion) => suspicion,
        None if claimed => match event::read(&lines) {
            Ok(event) => {
                *torn = false;
                return Frame::Security(event);
            }
            Err(suspicion) => suspicion,
        },
        None => match other(&lines) {
            None if !*torn => return Frame::Other(lines),
            None => Suspicion::Continuation,
            Some(suspicion) => suspicion,
        },
    };
    let mut tail = Tail::default();
    for at in 0..lines.len() {
        tail.line(lines.line(at).unwrap_or_default());
    }
    // An event whose own end is missing was torn apart by a value; the end comes with a later frame.
    *torn = (*torn || claimed) && tail.author.is_none();
    let suspicion = match (suspicion, duplicate(&lines)) {
        (Suspicion::Place, true) => Suspicion::Duplicate,
        (suspicion, _) => suspicion,
    };
    Frame::Hostile(Hostile {
        suspicion,
        author: tail.author,
    })
}

/// What is wrong with a frame that claims to be no security event.
fn other(lines: &Lines<'_>) -> Option<Suspicion> {
    let Some(first) = lines.line(0) else {
        return Some(Suspicion::Incomplete);
    };
    let (name, _) = split(first);
    match name {
        b"Response" => {}
        b"Event" if lines.value(1, b"Privilege").is_some() || lines.get("ActionID").is_some() => {}
        b"Event" => return Some(Suspicion::Incomplete),
        _ => return Some(Suspicion::NoHeader),
    }
    // Only a security event ends so.
    let ends_as_security = (0..lines.len()).any(|at| {
        lines.value(at, b"SessionID").is_some()
            && lines.value(at + 1, b"LocalAddress").is_some()
            && lines.value(at + 2, b"RemoteAddress").is_some()
    });
    ends_as_security.then_some(Suspicion::Place)
}

/// Whether a header comes twice. Only hostile frames are asked, and those are short or few.
fn duplicate(lines: &Lines<'_>) -> bool {
    let name = |at| lines.line(at).map(|line| split(line).0);
    let count = lines.len().min(64);
    (1..count).any(|at| (0..at).any(|before| name(before) == name(at)))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
