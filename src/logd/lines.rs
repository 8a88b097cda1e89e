//! Bytes of a pipe to lines: bounded, whatever is written.
//!
//! Pure. A line longer than `LONGEST_LINE` is cut there and the rest of it dropped up to its end. Invariant: never more
//! than that is kept.

/// The longest line that is kept whole, in bytes.
pub const LONGEST_LINE: usize = 8 * 1024;

/// Added to a line that was cut.
pub const CUT: &str = " [cut]";

/// The line whose end has not come yet.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
    /// The line was cut; its rest is dropped.
    skipping: bool,
}

impl Splitter {
    /// Hands every line that `bytes` complete to `take`, without its end.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        let mut parts = bytes.split(|byte| *byte == b'\n');
        // The last part has no end yet; an empty one when `bytes` end with a line end.
        let last = parts.next_back().unwrap_or_default();
        for part in parts {
            self.keep(part, &mut take);
            if !self.skipping {
                take(&self.partial);
            }
            self.partial.clear();
            self.skipping = false;
        }
        self.keep(last, &mut take);
    }

    /// The line whose end never came.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        self.skipping = false;
        Some(std::mem::take(&mut self.partial)).filter(|line| !line.is_empty())
    }

    /// A line is handed on as soon as it is cut: its end may never come.
    fn keep(&mut self, part: &[u8], take: &mut impl FnMut(&[u8])) {
        if self.skipping {
            return;
        }
        let room = LONGEST_LINE - self.partial.len();
        match part.get(..room.saturating_add(1)) {
            None => self.partial.extend_from_slice(part),
            Some(_) => {
                self.partial
                    .extend_from_slice(part.get(..room).unwrap_or_default());
                self.partial.extend_from_slice(CUT.as_bytes());
                take(&self.partial);
                self.partial.clear();
                self.skipping = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for part in parts {
            splitter.feed(part, |line| lines.push(line.to_vec()));
            assert!(splitter.partial.len() <= LONGEST_LINE);
        }
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn a_line_without_end_is_cut_once_and_the_next_one_is_whole() {
        let long = vec![b'x'; 3 * LONGEST_LINE];
        let lines = lines_of(&[&long, &long, b"rest\nnext\n"]);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), LONGEST_LINE + CUT.len());
        assert_eq!(lines[1], b"next");
    }

    #[test]
    fn a_line_of_just_the_longest_length_is_whole() {
        let mut long = vec![b'x'; LONGEST_LINE];
        long.extend(b"\nb\n");
        assert_eq!(lines_of(&[&long])[0].len(), LONGEST_LINE);
    }

    proptest::proptest! {
        #[test]
        fn where_reads_end_makes_no_difference(bytes: Vec<u8>, at: proptest::sample::Index) {
            let (a, b) = bytes.split_at(at.index(bytes.len() + 1));
            let whole = lines_of(&[&bytes]);
            proptest::prop_assert_eq!(&whole, &lines_of(&[a, b]));
            let mut text: Vec<u8> = whole.join(&b'\n');
            if bytes.ends_with(b"\n") {
                text.push(b'\n');
            }
            proptest::prop_assert_eq!(text, bytes);
        }
    }
}
