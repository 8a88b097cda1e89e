//! Folding of repeats: a line that comes again and again is printed once, with how often it came.
//!
//! Pure. Invariant: the weights of what comes out add up to those of what went in.

use super::syslog::Record;

/// A line on its way to an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whose loss it is when it finds no room.
    pub source: usize,
    /// How many lines it stands for.
    pub weight: u64,
    pub record: Record,
}

/// Folds a line that repeats the one before it.
#[derive(Debug, Default)]
pub struct Folder {
    last: Option<Said>,
    repeats: u64,
}

impl Folder {
    /// Gives `print` what is to be printed for `said`: nothing while it repeats.
    pub fn take(&mut self, said: Said, mut print: impl FnMut(Said)) {
        if let Some(last) = &self.last
            && last.source == said.source
            && last.record == said.record
        {
            self.repeats += said.weight;
            return;
        }
        if let Some(told) = self.flush() {
            print(told);
        }
        self.last = Some(said.clone());
        print(said);
    }

    /// Tells of repeats that were held back. Called on silence and at the end.
    pub fn flush(&mut self) -> Option<Said> {
        let repeats = std::mem::take(&mut self.repeats);
        let last = self.last.as_ref().filter(|_| repeats > 0)?;
        let s = if repeats == 1 { "" } else { "s" };
        Some(Said {
            source: last.source,
            weight: repeats,
            record: Record {
                service: last.record.service.clone(),
                severity: last.record.severity,
                text: format!("the last line came {repeats} more time{s}"),
            },
        })
    }

    pub fn holds_repeats(&self) -> bool {
        self.repeats > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logd::syslog::INFO;

    fn said(source: usize, text: &str) -> Said {
        Said {
            source,
            weight: 1,
            record: Record {
                service: "a".into(),
                severity: INFO,
                text: text.into(),
            },
        }
    }

    #[test]
    fn repeats_are_folded_and_counted() {
        let mut folder = Folder::default();
        let mut out = Vec::new();
        for text in ["x", "x", "x", "y"] {
            folder.take(said(0, text), |said| out.push(said.record.text));
        }
        assert_eq!(out, ["x", "the last line came 2 more times", "y"]);
        assert_eq!(folder.flush(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_folded_away_uncounted(texts in proptest::collection::vec((0usize..2, "[xy]"), 0..50)) {
            let mut folder = Folder::default();
            let mut total = 0;
            for (source, text) in &texts {
                folder.take(said(*source, text), |said| total += said.weight);
            }
            total += folder.flush().map_or(0, |said| said.weight);
            proptest::prop_assert_eq!(total, texts.len() as u64);
        }
    }
}
