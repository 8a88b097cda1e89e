//! The lines of one frame, and what can be wrong with them.
//!
//! Pure. Shared by the framer and the reader of events.

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suspicion {
    /// CR or LF alone, or a NUL byte.
    ControlByte,
    /// A line that is no `Name: value`.
    NoHeader,
    Duplicate,
    /// A header that is not where Asterisk puts it.
    Place,
    /// A header that Asterisk always writes is not there.
    Incomplete,
    /// A value that Asterisk does not write.
    Value,
    LineTooLong,
    FrameTooLong,
    /// The rest of an event that the frame before it tore apart.
    Continuation,
    /// The connection does not begin as a manager's.
    NoBanner,
}

impl Suspicion {
    /// A fixed word for logs and counters.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Suspicion::ControlByte => "control byte",
            Suspicion::NoHeader => "no header",
            Suspicion::Duplicate => "duplicate header",
            Suspicion::Place => "header out of place",
            Suspicion::Incomplete => "header missing",
            Suspicion::Value => "value out of form",
            Suspicion::LineTooLong => "line too long",
            Suspicion::FrameTooLong => "frame too long",
            Suspicion::Continuation => "rest of a torn event",
            Suspicion::NoBanner => "no banner",
        }
    }
}

/// The lines of one frame, without their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines<'a> {
    pub(super) bytes: &'a [u8],
    /// Where each line begins, and after the last one.
    pub(super) starts: &'a [u32],
}

impl<'a> Lines<'a> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One line, without its end.
    pub(super) fn line(&self, at: usize) -> Option<&'a [u8]> {
        let (start, next) = (*self.starts.get(at)?, *self.starts.get(at + 1)?);
        self.bytes.get(start as usize..next as usize - 2)
    }

    /// The value of the header at a place, if it is that header.
    #[must_use]
    pub fn value(&self, at: usize, header: &[u8]) -> Option<&'a [u8]> {
        self.line(at)?.strip_prefix(header)?.strip_prefix(b": ")
    }

    /// The names and values in their order. A line without `: ` (the output of a command) has an empty name.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let lines = *self;
        (0..lines.len()).filter_map(move |at| lines.line(at).map(split))
    }

    /// The first value of a header; names are compared without regard to case.
    #[must_use]
    pub fn get(&self, header: &str) -> Option<&'a [u8]> {
        self.headers()
            .find(|(name, _)| name.eq_ignore_ascii_case(header.as_bytes()))
            .map(|(_, value)| value)
    }
}

pub(super) fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|b| *b == b':') {
        Some(at) if at > 0 => {
            let (name, rest) = line.split_at(at);
            match rest.strip_prefix(b": ").or(rest.strip_prefix(b":")) {
                Some(value) => (name, value),
                None => (b"", line),
            }
        }
        _ => (b"", line),
    }
}
